//! Threads that each take a share of one piece of work, and start on it at once.
//!
//! A training step lasts microseconds: threads that sleep between steps would wake too late. The team's threads look out
//! for the next piece for a moment before they go to sleep.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Looks at a flag between which a thread pauses, before it lets others run.
const SPINS: usize = 2_000;

/// Turns it lets others have, before it goes to sleep.
const YIELDS: usize = 20;

/// Small pieces that the caller does alone after a helper was late: at first, and at most.
const FEWEST_ALONE: usize = 4;
const MOST_ALONE: usize = 1 << 16;

/// A team of threads, the caller's among them.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Small pieces that the caller does alone before it calls on the helpers again.
    alone: usize,
    /// How many those will be the next time a helper is late.
    next_alone: usize,
    /// Whether the piece to come is a small one.
    brief: bool,
    /// The pieces so far.
    pieces: u64,
}

/// A piece of work: called with the number of the thread's share.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

#[derive(Debug)]
struct Shared {
    call: Call,
    /// The number of the last piece that each helper has done.
    done: Vec<Apart<AtomicU64>>,
    asleep: Vec<AtomicBool>,
    /// The processor on which the caller waits for a helper that is late; `NOWHERE` else.
    crowded: AtomicI32,
    panicked: AtomicBool,
    over: AtomicBool,
}

/// On cache lines of its own, so that one thread's writing does not disturb another's reading or writing of something else.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(128))]
pub struct Apart<T>(pub T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Apart<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// What the caller tells the helpers, together on a cache line: they learn both at once.
#[repr(align(128))]
struct Call {
    /// The last piece of work, as [`Piece`] packs it: another number means there is one.
    piece: AtomicU64,
    work: UnsafeCell<Option<&'static Work<'static>>>,
}

// SAFETY: the caller alone writes the work, while no helper is at it, and publishes it with `piece`; helpers read it only
// between seeing a new number there that calls them and saying that they have done it.
unsafe impl Sync for Call {}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.piece.fmt(f)
    }
}

impl Team {
    /// A team of `threads`, at least 1, of which the caller is one.
    ///
    /// # Errors
    /// If the system does not start them.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let helpers = threads.clamp(1, 1 << 12) - 1;
        let shared = Arc::new(Shared {
            call: Call { piece: AtomicU64::new(0), work: UnsafeCell::new(None) },
            done: (0..helpers).map(|_| Apart::default()).collect(),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            crowded: AtomicI32::new(NOWHERE),
            panicked: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut team =
            Team { shared, helpers: Vec::new(), alone: 0, next_alone: FEWEST_ALONE, brief: false, pieces: 0 };
        for helper in 0..helpers {
            let shared = Arc::clone(&team.shared);
            let name = format!("gradus-{}", helper + 1);
            team.helpers.push(thread::Builder::new().name(name).spawn(move || shared.help(helper))?);
        }
        Ok(team)
    }

    /// The threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Whether the helpers are worth calling on for a piece of a few microseconds. Where another program has their
    /// processors they come late, and the caller is faster alone: for a time, and a longer one each time they are late
    /// again.
    pub fn is_worth_calling(&mut self) -> bool {
        self.alone = self.alone.saturating_sub(1);
        self.brief = self.alone == 0;
        self.brief
    }

    /// Hands each of `states`, one for each thread, and a share of neighbouring `pieces` to a thread of its own: `work`
    /// gets both, and the number of the first piece. There may be at most as many states as threads.
    ///
    /// # Panics
    /// If `work` does, or there are more states than threads.
    pub fn share<S: Send, P: Send>(
        &mut self,
        states: &mut [S],
        pieces: &mut [P],
        work: &(impl Fn(&mut S, usize, &mut [P]) + Sync),
    ) {
        let (threads, count) = (states.len(), pieces.len());
        assert!(threads <= self.threads(), "{threads} states for {} threads", self.threads());
        let (states, pieces) = (Parts(states.as_mut_ptr()), Parts(pieces.as_mut_ptr()));
        // All that the helpers need is in one place: looking up where it is would take as long as a small piece.
        self.run(threads, &move |thread| {
            let [from, to] = [thread, thread + 1].map(|thread| (thread * count).div_ceil(threads));
            // SAFETY: `run` gives each thread another number, of which each has a state and pieces of its own, within the
            // slices; those are borrowed until it returns.
            let (state, pieces) =
                unsafe { (&mut *states.at(thread), slice::from_raw_parts_mut(pieces.at(from), to - from)) };
            work(state, from, pieces);
        });
    }

    /// Calls `work` once on each of `threads` threads, at most all, with numbers from 0 on, and returns when all are done.
    /// The caller takes number 0.
    ///
    /// # Panics
    /// If `work` does.
    pub fn run(&mut self, threads: usize, work: &Work<'_>) {
        let brief = std::mem::take(&mut self.brief);
        let called = threads.min(self.threads()) - 1;
        if called == 0 {
            return work(0);
        }
        // SAFETY: helpers use it until they say that they have done it, and this function, by `Finish`, does not end before.
        let forever = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let shared = &*self.shared;
        // Written to only where need be: the helpers read the line that this is on.
        if shared.panicked.load(Ordering::Relaxed) {
            shared.panicked.store(false, Ordering::Relaxed);
        }
        // SAFETY: no helper is at it, since `&mut self` was not given out by an earlier call.
        unsafe { *shared.call.work.get() = Some(forever) };
        self.pieces += 1;
        // Sequentially consistent, as is a helper's going to sleep: one of the two sees what the other did.
        shared.call.piece.store(Piece { number: self.pieces, called }.pack(), Ordering::SeqCst);
        let mut woken = false;
        for (asleep, helper) in shared.asleep.iter().zip(&self.helpers).take(called) {
            if asleep.load(Ordering::SeqCst) {
                helper.thread().unpark();
                woken = true;
            }
        }
        let mut late = false;
        {
            let _finish = Finish { shared, piece: self.pieces, called, late: &mut late };
            work(0);
        }
        // A helper that had to be woken has an excuse, and is awake for the next piece: were it left alone for longer than
        // it stays awake, it would be late again, and so for ever.
        if brief && late && !woken {
            self.alone = self.next_alone;
            self.next_alone = (self.next_alone * 2).min(MOST_ALONE);
        } else if brief && !late && self.next_alone > FEWEST_ALONE {
            // Trust comes back slowly.
            self.next_alone -= 1;
        }
        if shared.panicked.load(Ordering::Relaxed) {
            panic!("a thread of the team panicked");
        }
    }
}

/// A slice that is handed out in parts.
struct Parts<T>(*mut T);

impl<T> Parts<T> {
    /// Where the element of an index is, which must be within the slice.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}

// SAFETY: what is handed to a thread is handed to no other.
unsafe impl<T: Send> Sync for Parts<T> {}

/// A piece of work in one number: the helpers from the first on that are called, in the lower bits, and its own number.
#[derive(Clone, Copy)]
struct Piece {
    number: u64,
    called: usize,
}

impl Piece {
    const BITS: u32 = 16;

    fn pack(self) -> u64 {
        self.number << Self::BITS | self.called as u64
    }

    fn unpack(packed: u64) -> Self {
        Piece { number: packed >> Self::BITS, called: (packed & ((1 << Self::BITS) - 1)) as usize }
    }
}

/// Waits for the helpers that were called, also when the caller's own share panics. Notes whether that took longer than a
/// helper on a processor of its own would.
struct Finish<'a> {
    shared: &'a Shared,
    piece: u64,
    called: usize,
    late: &'a mut bool,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let Finish { shared, piece, called, .. } = *self;
        let mut looks = 0;
        for done in &shared.done[..called] {
            while done.0.load(Ordering::Acquire) != piece {
                // Before the first turn is given to others: the helper may take it, here, and be done by the end of it.
                if looks + 1 == SPINS {
                    shared.crowded.store(processor(), Ordering::Relaxed);
                }
                pause(&mut looks);
            }
        }
        if looks >= SPINS {
            // The helper that was late has seen it by the next piece, or was late for another reason.
            shared.crowded.store(NOWHERE, Ordering::Relaxed);
        }
        *self.late = looks >= SPINS;
    }
}

/// No processor.
const NOWHERE: i32 = -1;

/// The processor this thread runs on.
#[cfg(target_os = "linux")]
fn processor() -> i32 {
    // SAFETY: it takes nothing and changes nothing.
    unsafe { libc::sched_getcpu() }
}

/// Moves this thread to another processor, if it runs on this one. A system may start or wake a helper on the caller's own
/// processor and leave it there for milliseconds, a thousand steps: the two would take turns.
#[cfg(target_os = "linux")]
fn leave(number: i32) {
    let Ok(index) = usize::try_from(number) else { return };
    if processor() != number || index >= libc::CPU_SETSIZE as usize {
        return;
    }
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of no processors is one of all zeros, each call is told the size of the set it gets, and the index was
    // found to be within it.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size, &mut allowed) != 0 {
            return;
        }
        let mut others = allowed;
        libc::CPU_CLR(index, &mut others);
        if libc::CPU_COUNT(&others) > 0 && libc::sched_setaffinity(0, size, &others) == 0 {
            // It stays where it is now, and may be moved again as before. Were that refused, which no system does that
            // allowed the first, the helper would work all the same.
            libc::sched_setaffinity(0, size, &allowed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn processor() -> i32 {
    NOWHERE
}

#[cfg(not(target_os = "linux"))]
fn leave(_number: i32) {}

/// A pause that grows from nothing to letting others run.
fn pause(looks: &mut usize) {
    *looks += 1;
    if *looks < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
}

impl Shared {
    /// A helper's life.
    fn help(&self, helper: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_piece(helper, seen);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let piece = Piece::unpack(seen);
            // The caller does not wait for those it did not call: the next piece may be under way already.
            if helper >= piece.called {
                continue;
            }
            leave(self.crowded.load(Ordering::Relaxed));
            // SAFETY: this helper was called, and the caller waits until it has said that it is done.
            let work = unsafe { *self.call.work.get() }.expect("published with the number");
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(helper + 1))) {
                self.panicked.store(true, Ordering::Relaxed);
                // Dropping it might panic again.
                std::mem::forget(payload);
            }
            self.done[helper].0.store(piece.number, Ordering::Release);
        }
    }

    /// Waits for another number than the one seen.
    fn next_piece(&self, helper: usize, seen: u64) -> u64 {
        let mut looks = 0;
        loop {
            let pieces = self.call.piece.load(Ordering::Acquire);
            if pieces != seen {
                return pieces;
            }
            if looks < SPINS + YIELDS {
                pause(&mut looks);
                continue;
            }
            self.asleep[helper].store(true, Ordering::SeqCst);
            if self.call.piece.load(Ordering::SeqCst) == seen {
                thread::park();
            }
            self.asleep[helper].store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.call.piece.store(Piece { number: self.pieces + 1, called: 0 }.pack(), Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper does not panic: what it calls is caught.
            let _ = helper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_share_is_done_once_in_each_of_many_pieces() {
        for threads in [1, 2, 5] {
            let mut team = Team::new(threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for piece in 1..=2000 {
                team.run(threads, &|share| {
                    counts[share].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == piece), "{threads} threads");
                if piece % 500 == 0 {
                    // Long enough for the helpers to go to sleep.
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_crowded_thread_moves_and_may_go_where_it_might_before() {
        let allowed = || {
            // SAFETY: as in `leave`.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set), 0);
                (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect::<Vec<_>>()
            }
        };
        thread::spawn(move || {
            let before = allowed();
            // The system may move a thread at any time: once in twenty is enough.
            let moved = (0..20).any(|_| {
                let here = processor();
                leave(here);
                processor() != here
            });
            assert!(moved || before.len() == 1);
            for nowhere in [NOWHERE, i32::MAX] {
                leave(nowhere);
            }
            assert_eq!(allowed(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn every_piece_is_shared_out_once_with_a_state_of_its_own() {
        let mut team = Team::new(3).unwrap();
        for (threads, count) in [(1, 5), (3, 0), (3, 1), (3, 3), (2, 7), (3, 10)] {
            let (mut states, mut pieces) = (vec![0; threads], vec![0; count]);
            team.share(&mut states, &mut pieces, &|state, first, pieces| {
                *state += pieces.len();
                pieces.iter_mut().enumerate().for_each(|(i, piece)| *piece += 1 + first + i);
            });
            assert_eq!(pieces, (1..=count).collect::<Vec<_>>());
            assert!(states.iter().max() <= Some(&count.div_ceil(threads)), "{states:?}");
        }
        assert!(catch_unwind(AssertUnwindSafe(|| team.share(&mut [0; 4], &mut [0; 4], &|_, _, _| ()))).is_err());
    }

    #[test]
    fn only_those_who_are_called_come() {
        let mut team = Team::new(4).unwrap();
        let counts: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        for piece in 0..3000 {
            team.run(piece % 4 + 1, &|share| {
                counts[share].fetch_add(1, Ordering::Relaxed);
            });
        }
        let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [3000, 2250, 1500, 750]);
    }

    #[test]
    fn small_pieces_are_done_alone_for_a_time_when_a_helper_was_late() {
        let late = |share| thread::sleep(std::time::Duration::from_millis(if share == 1 { 20 } else { 0 }));
        let mut team = Team::new(2).unwrap();
        assert!(team.is_worth_calling());
        team.run(2, &late);
        let alone = (0..FEWEST_ALONE + 9).take_while(|_| !team.is_worth_calling()).count();
        assert_eq!(alone, FEWEST_ALONE - 1);
        // A helper that was asleep, and is awake now, is called on at once.
        while !team.shared.asleep[0].load(Ordering::Relaxed) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        while !team.is_worth_calling() {}
        team.run(2, &late);
        assert!(team.is_worth_calling());
        // A large piece, for which nobody asked, says nothing.
        let mut team = Team::new(2).unwrap();
        team.run(2, &late);
        assert!(team.is_worth_calling());
    }

    #[test]
    fn when_all_panic_the_next_piece_is_none_the_worse() {
        let mut team = Team::new(2).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| team.run(2, &|_| panic!("all")))).is_err());
        team.run(2, &|_| ());
    }

    #[test]
    fn a_panic_in_any_share_reaches_the_caller_and_the_team_goes_on() {
        let mut team = Team::new(3).unwrap();
        for bad in 0..3 {
            let outcome = catch_unwind(AssertUnwindSafe(|| team.run(3, &|share| assert_ne!(share, bad))));
            assert!(outcome.is_err(), "share {bad}");
        }
        let done = AtomicUsize::new(0);
        team.run(3, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }
}
