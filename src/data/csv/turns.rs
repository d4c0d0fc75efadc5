//! Work on several threads whose results are taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::kernels::SideBySide;

/// Takes items from `next` until it says there are no more, works on them on `threads` threads, and gives the results
/// to `take` in the items' order. Items and results are used again, and few are in memory at a time. Each thread calls
/// `between` after an item, when its result is handed in.
///
/// # Errors
/// The first, in order, of `next` and `take`; nothing is taken after it.
pub(crate) fn in_turn<I, R>(
    threads: usize,
    mut next: impl FnMut(&mut I) -> Result<bool> + Send,
    work: impl Fn(&I, &mut R) + Sync,
    mut take: impl FnMut(&R) -> Result<()> + Send,
    between: impl Fn() + Sync,
) -> Result<()>
where
    I: Default,
    R: Default + Send,
{
    if threads < 2 {
        let (mut item, mut result) = (I::default(), R::default());
        while next(&mut item)? {
            work(&item, &mut result);
            take(&result)?;
            between();
        }
        return Ok(());
    }
    let supply = Mutex::new(Supply { next, given: 0 });
    let turns = Turns {
        state: Mutex::new(State { take: Some(take), turn: 0, waiting: BTreeMap::new(), spare: Vec::new(), end: None }),
        moved: Condvar::new(),
        ahead: 2 * threads,
    };
    let side_by_side = SideBySide::new(threads);
    let worker = |thread| {
        let _alarm = Alarm(&turns);
        let mut item = I::default();
        loop {
            side_by_side.spread(thread);
            let (number, supplied) = lock(&supply).supply(&mut item);
            match supplied {
                Ok(true) => {
                    let mut result = lock(&turns.state).spare.pop().unwrap_or_default();
                    work(&item, &mut result);
                    turns.hand_in(number, Turn::Result(result));
                }
                Ok(false) => return turns.hand_in(number, Turn::End(Ok(()))),
                Err(error) => return turns.hand_in(number, Turn::End(Err(error))),
            }
            if lock(&turns.state).end.is_some() {
                return;
            }
            between();
        }
    };
    let worker = &worker;
    rayon::scope(|scope| (0..threads).for_each(|thread| scope.spawn(move |_| worker(thread))));
    lock(&turns.state).end.take().unwrap_or(Ok(()))
}

/// Where items come from.
struct Supply<N> {
    next: N,
    given: usize,
}

impl<N> Supply<N> {
    /// The next item's number, and whether there is one.
    fn supply<I>(&mut self, item: &mut I) -> (usize, Result<bool>)
    where
        N: FnMut(&mut I) -> Result<bool>,
    {
        self.given += 1;
        (self.given - 1, (self.next)(item))
    }
}

/// Where results are taken, one after another.
struct Turns<R, F> {
    state: Mutex<State<R, F>>,
    /// Told when a turn is over.
    moved: Condvar,
    /// How many turns a result may be ahead.
    ahead: usize,
}

struct State<R, F> {
    /// `None` while a thread is taking.
    take: Option<F>,
    /// Whose turn it is.
    turn: usize,
    /// What was handed in before its turn.
    waiting: BTreeMap<usize, Turn<R>>,
    /// Results to use again.
    spare: Vec<R>,
    /// How it all ended.
    end: Option<Result<()>>,
}

/// What a turn brings: a result, or the end of all.
enum Turn<R> {
    Result(R),
    End(Result<()>),
}

impl<R, F: FnMut(&R) -> Result<()>> Turns<R, F> {
    /// Hands in what has this number, and takes what has its turn unless another thread is doing that.
    fn hand_in(&self, number: usize, result: Turn<R>) {
        let mut state = lock(&self.state);
        // Who runs ahead of a thread that was held up waits for it.
        while state.end.is_none() && number > state.turn + self.ahead {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.insert(number, result);
        let Some(mut take) = state.take.take() else { return };
        while state.end.is_none() {
            let turn = state.turn;
            match state.waiting.remove(&turn) {
                None => break,
                Some(Turn::End(end)) => state.end = Some(end),
                Some(Turn::Result(result)) => {
                    drop(state);
                    let taken = take(&result);
                    state = lock(&self.state);
                    state.spare.push(result);
                    state.turn += 1;
                    state.end = taken.err().map(Err);
                    self.moved.notify_all();
                }
            }
        }
        state.take = Some(take);
        self.moved.notify_all();
    }
}

fn lock<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    // After a panic nothing that was computed is used; the panic goes on to the caller.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the other threads end when this one panics.
struct Alarm<'a, R, F>(&'a Turns<R, F>);

impl<R, F> Drop for Alarm<'_, R, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).end.get_or_insert(Ok(()));
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::error::Error;

    /// The squares of 1 to `count`, taken up to the first above `most`, and how often there was something between two.
    fn squares(threads: usize, count: u64, most: u64) -> (Vec<u64>, u64, Result<()>) {
        let (mut given, mut taken) = (0, Vec::new());
        let pauses = AtomicU64::new(0);
        let next = |item: &mut u64| {
            given += 1;
            *item = given;
            Ok(given <= count)
        };
        let take = |result: &u64| {
            if *result > most {
                return Err(Error::setting("square", format!("{result} is too large")));
            }
            taken.push(*result);
            Ok(())
        };
        let square = |item: &u64, result: &mut u64| *result = item * item;
        let outcome = in_turn(threads, next, square, take, || _ = pauses.fetch_add(1, Relaxed));
        (taken, pauses.into_inner(), outcome)
    }

    #[test]
    fn results_are_taken_in_the_order_of_the_items() {
        for threads in 1..5 {
            for count in [0, 1, 2, 100] {
                let (taken, pauses, outcome) = squares(threads, count, u64::MAX);
                assert_eq!(taken, (1..=count).map(|n| n * n).collect::<Vec<_>>());
                // After each item, but for those after which all are done.
                assert!((count.saturating_sub(threads as u64)..=count).contains(&pauses), "{pauses} of {count}");
                outcome.unwrap();
            }
        }
    }

    #[test]
    fn nothing_is_taken_after_the_first_error() {
        for threads in 1..5 {
            let (taken, _, outcome) = squares(threads, 100, 50);
            assert_eq!(taken.last(), Some(&49));
            assert_eq!(outcome.unwrap_err().to_string(), "square: 64 is too large");
        }
    }

    #[test]
    #[should_panic(expected = "36 is a bad number")]
    fn a_panic_ends_all_threads() {
        let mut given = 0;
        let next = |item: &mut u64| {
            given += 1;
            *item = given;
            Ok(given < 1000)
        };
        let work = |item: &u64, result: &mut u64| {
            *result = *item;
            assert!(*item != 36, "36 is a bad number");
        };
        let _ = in_turn(3, next, work, |_: &u64| Ok(()), || {});
    }
}
