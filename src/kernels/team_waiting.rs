//! How the threads of a piece of work wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::super::apart::Apart;
use super::super::call::Piece;
use super::super::processor::{NOWHERE, processor};
use super::{LOOKS_TO_WAKE, SPINS, Shared, Team, pause};

impl Shared {
    /// Waits for threads to have come so far with a piece.
    pub(super) fn wait_for(&self, threads: &[Apart<AtomicU64>], piece: u64, is_caller: bool) {
        let mut looks = 0;
        for thread in threads {
            self.wait_until(|| thread.load(Ordering::Acquire) == piece, is_caller, &mut looks);
        }
        self.note_looks(looks, is_caller);
    }

    /// Waits for something, and adds up how often it was looked for.
    fn wait_until(&self, is_there: impl Fn() -> bool, is_caller: bool, looks: &mut usize) {
        while !is_there() {
            if *looks == LOOKS_TO_WAKE && is_caller {
                fence(Ordering::SeqCst);
                self.wake(Piece::unpack(self.call.piece.load(Ordering::Relaxed)).called);
            }
            // Before the first turn is given to others: the helper may take it, here, and be done by the end of it.
            if *looks + 1 == SPINS && is_caller {
                self.crowded.store(processor(), Ordering::Relaxed);
            }
            pause(looks);
        }
    }

    /// The caller notes whether it has waited longer than for a helper on a processor of its own.
    fn note_looks(&self, looks: usize, is_caller: bool) {
        if looks >= SPINS && is_caller {
            // The helper that was late has seen it by the next piece, or was late for another reason.
            self.crowded.store(NOWHERE, Ordering::Relaxed);
            self.late.store(true, Ordering::Relaxed);
        }
    }
}

/// Where threads wait for each other in the middle of a piece.
#[derive(Debug)]
pub(in super::super) struct Waiter(Arc<Shared>);

impl Waiter {
    /// Waits for something that another thread of the piece will see to.
    pub fn wait_until(&self, is_there: impl Fn() -> bool, is_caller: bool) {
        let mut looks = 0;
        self.0.wait_until(is_there, is_caller, &mut looks);
        self.0.note_looks(looks, is_caller);
    }

    /// Whether the caller has waited longer for this piece than for helpers on processors of their own.
    pub fn was_late(&self) -> bool {
        self.0.late.load(Ordering::Relaxed)
    }
}

impl Team {
    /// For the next piece.
    pub(in super::super) fn waiter(&self) -> Waiter {
        Waiter(Arc::clone(&self.shared))
    }
}
