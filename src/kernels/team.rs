//! Threads that each take a share of one piece of work, and start on it at once.
//!
//! A training step lasts microseconds: threads that sleep between steps would wake too late. The team's threads look out
//! for the next piece for a moment before they go to sleep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use super::apart::Apart;
use super::call::{Call, Piece, Work};
use super::processor::{NOWHERE, leave};
use super::race::Race;
use super::trust::Trust;

/// Looks at a flag between which a thread pauses, before it lets others run.
const SPINS: usize = 2_000;

/// Turns it lets others have, before it goes to sleep.
const YIELDS: usize = 20;

/// Looks after which the caller asks once more whether a helper sleeps: more than it mostly takes them to be done, and too few
/// for one that was overlooked to count as late.
const LOOKS_TO_WAKE: usize = 200;

const _: () = assert!(LOOKS_TO_WAKE < SPINS);

/// A team of threads, the caller's among them.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    trust: Trust,
    race: Race,
    /// Whether the piece to come is a small one.
    brief: bool,
    /// The pieces so far, those that the caller did alone among them.
    pieces: u64,
}

#[derive(Debug)]
struct Shared {
    call: Call,
    /// The number of the last piece that each helper has done.
    done: Vec<Apart<AtomicU64>>,
    /// The number of the last piece of which each thread, the caller the first, has come to the middle.
    halfway: Vec<Apart<AtomicU64>>,
    asleep: Vec<AtomicBool>,
    /// The helpers, to be woken: known when all have been started.
    threads: OnceLock<Vec<Thread>>,
    /// Whether one had to be woken for this piece.
    woken: AtomicBool,
    /// The processor on which the caller waits for a helper that is late; `NOWHERE` else.
    crowded: AtomicI32,
    /// Whether the caller has waited for this piece longer than it would for a helper on a processor of its own.
    late: AtomicBool,
    panicked: AtomicBool,
    over: AtomicBool,
}

impl Team {
    /// A team of `threads`, at least 1, of which the caller is one.
    ///
    /// # Errors
    /// If the system does not start them.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let helpers = threads.clamp(1, 1 << 12) - 1;
        let shared = Arc::new(Shared {
            call: Call::nothing(),
            done: (0..helpers).map(|_| Apart::default()).collect(),
            halfway: (0..=helpers).map(|_| Apart::default()).collect(),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            threads: OnceLock::new(),
            woken: AtomicBool::new(false),
            crowded: AtomicI32::new(NOWHERE),
            late: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut team =
            Team { shared, helpers: Vec::new(), trust: Trust::NEW, race: Race::NEW, brief: false, pieces: 0 };
        for helper in 0..helpers {
            let shared = Arc::clone(&team.shared);
            let name = format!("gradus-{}", helper + 1);
            team.helpers.push(thread::Builder::new().name(name).spawn(move || shared.help(helper))?);
        }
        let threads = team.helpers.iter().map(|helper| helper.thread().clone()).collect();
        team.shared.threads.set(threads).expect("set once");
        Ok(team)
    }

    /// The caller alone.
    pub fn alone() -> Self {
        Team::new(1).expect("no thread to start")
    }

    /// The threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Whether the helpers are worth calling on for a piece of a few microseconds. Where another program has their
    /// processors they come late, and the caller is faster alone: for a time, and a longer one each time they are late
    /// again.
    pub fn is_worth_calling(&mut self) -> bool {
        self.brief = self.trust.calls();
        self.brief
    }

    /// The same for a piece that takes about as long as handing it over: whether it is done sooner together is found out by
    /// doing some of them alone, so all pieces of a team that are asked about should be alike.
    pub fn is_worth_calling_for_little(&mut self) -> bool {
        if self.is_worth_calling() {
            self.race.calls(Instant::now)
        } else {
            self.race.interrupt();
            false
        }
    }

    /// Takes note that helpers have come in time so often within a piece.
    pub(crate) fn note_in_time(&mut self, times: usize) {
        self.trust.note_in_time(times);
    }

    /// Hands each of `states`, one for each thread, and a share of neighbouring `pieces` to a thread of its own: `work`
    /// gets both, and the number of the first piece. There may be at most as many states as threads.
    ///
    /// # Panics
    /// If `work` does, or there is no state, or more of them than threads.
    pub fn share<S: Send, P: Send>(
        &mut self,
        states: &mut [S],
        pieces: &mut [P],
        work: &(impl Fn(&mut S, usize, &mut [P]) + Sync),
    ) {
        let (threads, count) = (self.threads_for(states), pieces.len());
        let (states, pieces) = (Parts(states.as_mut_ptr()), Parts(pieces.as_mut_ptr()));
        self.run(threads, &move |thread| {
            let [from, to] = share_of(thread, threads, count);
            // SAFETY: `run` gives each thread another number, of which each has a state and pieces of its own, within the
            // slices; those are borrowed until it returns.
            let (state, pieces) =
                unsafe { (&mut *states.at(thread), slice::from_raw_parts_mut(pieces.at(from), to - from)) };
            work(state, from, pieces);
        });
    }

    /// [`share`](Team::share), and when all pieces are done, a second half: `then` gets each state again, all pieces, and a
    /// share of neighbouring `results` from both slices, which are of one length. They are cut at multiples of `block`; the
    /// number is that of the share's first.
    ///
    /// # Panics
    /// As `share`, if `then` does, the results are not of one length, or `block` is 0.
    pub fn share_then<S: Send, P: Send + Sync, R: Send>(
        &mut self,
        states: &mut [S],
        pieces: &mut [P],
        work: &(impl Fn(&mut S, usize, &mut [P]) + Sync),
        results: [&mut [R]; 2],
        block: usize,
        then: &(impl Fn(&mut S, &[P], usize, [&mut [R]; 2]) + Sync),
    ) {
        let (threads, count, length) = (self.threads_for(states), pieces.len(), results[0].len());
        assert!(length == results[1].len() && block > 0, "results of one length, cut at blocks");
        let (states, pieces) = (Parts(states.as_mut_ptr()), Parts(pieces.as_mut_ptr()));
        let results = results.map(|results| Parts(results.as_mut_ptr()));
        // The number that `run` counts this piece by.
        let (shared, number) = (Arc::clone(&self.shared), self.pieces + 1);
        self.run(threads, &move |thread| {
            let [from, to] = share_of(thread, threads, count);
            {
                let _arrival = Arrival { at: &shared.halfway[thread], piece: number };
                // SAFETY: as in `share`. They are used no longer when this thread has arrived: what was bound before them is
                // dropped after them.
                let (state, pieces) =
                    unsafe { (&mut *states.at(thread), slice::from_raw_parts_mut(pieces.at(from), to - from)) };
                work(state, from, pieces);
            }
            shared.wait_for(&shared.halfway[..threads], number, thread == 0);
            let [from, to] = share_of(thread, threads, length.div_ceil(block)).map(|place| (place * block).min(length));
            // SAFETY: the state is this thread's, and so are the results of its share, which is within the slices. All have
            // arrived: nobody changes a piece.
            let (state, pieces, results) = unsafe {
                let part = |results: &Parts<R>| slice::from_raw_parts_mut(results.at(from), to - from);
                let results = [part(&results[0]), part(&results[1])];
                (&mut *states.at(thread), slice::from_raw_parts(pieces.at(0), count), results)
            };
            then(state, pieces, from, results);
        });
    }

    /// As many threads as there are states.
    ///
    /// # Panics
    /// If there is no state, or more of them than threads.
    fn threads_for<S>(&self, states: &[S]) -> usize {
        let threads = states.len();
        assert!((1..=self.threads()).contains(&threads), "{threads} states for {} threads", self.threads());
        threads
    }

    /// Calls `work` once on each of `threads` threads, at most all, with numbers from 0 on, and returns when all are done.
    /// The caller takes number 0.
    ///
    /// # Panics
    /// If `work` does, or `threads` is 0.
    pub fn run(&mut self, threads: usize, work: &Work<'_>) {
        assert!(threads > 0, "the caller takes a share");
        let brief = std::mem::take(&mut self.brief);
        self.pieces += 1;
        let called = threads.min(self.threads()) - 1;
        if called == 0 {
            return work(0);
        }
        // SAFETY: helpers use it until they say that they have done it, and this function, by `Finish`, does not end before.
        let forever = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let shared = &*self.shared;
        // Written to only where need be: the helpers read the line that these are on.
        for told in [&shared.panicked, &shared.late, &shared.woken] {
            if told.load(Ordering::Relaxed) {
                told.store(false, Ordering::Relaxed);
            }
        }
        // SAFETY: an earlier call ended only when every helper that it had called was done, and the others do not read it.
        unsafe { *shared.call.work.get() = Some(forever) };
        shared.call.piece.store(Piece { number: self.pieces, called }.pack(), Ordering::Release);
        // A helper that is about to sleep has seen the piece, or is seen to sleep, if the caller waits until the helpers have
        // given up the line. For a small piece that takes too long: such a helper is woken when the caller waits for it.
        if !brief {
            fence(Ordering::SeqCst);
        }
        shared.wake(called);
        {
            let _finish = Finish { shared, piece: self.pieces, called };
            work(0);
        }
        if brief {
            self.trust.learn(shared.late.load(Ordering::Relaxed), shared.woken.load(Ordering::Relaxed));
        }
        if shared.panicked.load(Ordering::Relaxed) {
            panic!("a thread of the team panicked");
        }
    }
}

/// Where the share of a thread begins and ends, of `count` neighbours that `threads` share.
fn share_of(thread: usize, threads: usize, count: usize) -> [usize; 2] {
    [thread, thread + 1].map(|thread| (thread * count).div_ceil(threads))
}

/// A slice that is handed out in parts.
struct Parts<T>(*mut T);

impl<T> Parts<T> {
    /// Where the element of an index is, or the end of the slice.
    ///
    /// # Safety
    /// The index must be at most the slice's length.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}

// SAFETY: what is handed to a thread is handed to no other.
unsafe impl<T: Send> Sync for Parts<T> {}

/// Waits for the helpers that were called, also when the caller's own share panics.
struct Finish<'a> {
    shared: &'a Shared,
    piece: u64,
    called: usize,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.shared.wait_for(&self.shared.done[..self.called], self.piece, true);
    }
}

/// Says that a thread has come so far, also when its share panics: the others do not wait for ever.
struct Arrival<'a> {
    at: &'a Apart<AtomicU64>,
    piece: u64,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.at.store(self.piece, Ordering::Release);
    }
}

/// A pause that grows from nothing to letting others run.
fn pause(looks: &mut usize) {
    *looks += 1;
    if *looks < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
}

impl Shared {
    /// Wakes those of the first helpers, so many as were called, that have gone to sleep.
    fn wake(&self, called: usize) {
        let threads = self.threads.get().expect("known before a team is handed out");
        for (asleep, thread) in self.asleep.iter().zip(threads).take(called) {
            if asleep.load(Ordering::Relaxed) {
                thread.unpark();
                self.woken.store(true, Ordering::Relaxed);
            }
        }
    }

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
            self.done[helper].store(piece.number, Ordering::Release);
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
            // Sequentially consistent, as are the caller's fences: either this sees the piece, or the caller that it sleeps.
            self.asleep[helper].store(true, Ordering::SeqCst);
            if self.call.piece.load(Ordering::SeqCst) == seen {
                thread::park();
            }
            self.asleep[helper].store(false, Ordering::Relaxed);
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

#[path = "team_waiting.rs"]
mod waiting;
pub(super) use waiting::Waiter;

#[cfg(test)]
#[path = "team_tests.rs"]
mod tests;
