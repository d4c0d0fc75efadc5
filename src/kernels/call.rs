//! What a team's caller tells its helpers.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;

/// A piece of work: called with the number of the thread's share.
pub(super) type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What the caller tells the helpers, together on a cache line: they learn both at once.
#[repr(align(128))]
pub(super) struct Call {
    /// The last piece of work, as [`Piece`] packs it: another number means there is one.
    pub piece: AtomicU64,
    pub work: UnsafeCell<Option<&'static Work<'static>>>,
}

// SAFETY: the caller alone writes the work, while no helper is at it, and publishes it with `piece`; helpers read it only
// between seeing a new number there that calls them and saying that they have done it.
unsafe impl Sync for Call {}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.piece.fmt(f)
    }
}

impl Call {
    /// Nothing yet.
    pub fn nothing() -> Self {
        Call { piece: AtomicU64::new(0), work: UnsafeCell::new(None) }
    }
}

/// A piece of work in one number: the helpers from the first on that are called, in the lower bits, and its own number.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub number: u64,
    pub called: usize,
}

impl Piece {
    const BITS: u32 = 16;

    pub fn pack(self) -> u64 {
        self.number << Self::BITS | self.called as u64
    }

    pub fn unpack(packed: u64) -> Self {
        Piece { number: packed >> Self::BITS, called: (packed & ((1 << Self::BITS) - 1)) as usize }
    }
}
