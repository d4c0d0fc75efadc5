//! What two threads that descend together tell each other: logits, whether there is a next step and how long it is, and
//! what squares add up to.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::without_provenance;
use std::sync::atomic::{AtomicU64, Ordering};

use super::aligned::Aligned;
use super::apart::Apart;
use super::element::Element;
use super::rows::{Need, per_line, prefetch};
use super::team::Waiter;

/// Between two threads, of which the first is the caller. Steps have numbers from 1 on.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    /// Of each thread, those of steps of even and of odd numbers: the next are written while these are still read.
    logits: [[Logits<T>; 2]; 2],
    /// How many each has room for.
    room: usize,
    /// The caller's logits are there, and this is to be done with them.
    order: Apart<Notice>,
    /// The helper's logits are there.
    ready: Apart<Notice>,
    /// The helper has made its half of the step, the squares of whose gradient add up to this.
    made: Apart<Notice>,
}

/// A step's number, and what there is to say of it, together on a cache line.
#[derive(Debug, Default)]
struct Notice {
    step: AtomicU64,
    content: AtomicU64,
}

/// What a thread that will say nothing more says instead of a step's number.
const GONE: u64 = u64::MAX;

impl Notice {
    fn put(&self, step: u64, content: u64) {
        // The other has read what was there: nothing is said of a step before the last one has been answered.
        self.content.store(content, Ordering::Relaxed);
        self.step.store(step, Ordering::Release);
    }

    /// What is said of a step, or `None` if the other thread is gone.
    fn wait(&self, step: u64, waiter: &Waiter, is_caller: bool) -> Option<u64> {
        waiter.wait_until(|| self.step.load(Ordering::Acquire) >= step, is_caller);
        (self.step.load(Ordering::Relaxed) != GONE).then(|| self.content.load(Ordering::Relaxed))
    }
}

/// Logits that one thread writes and both read.
#[derive(Debug)]
struct Logits<T> {
    numbers: UnsafeCell<Aligned<T>>,
    /// Where the first lies: lines are asked for without borrowing numbers that another thread may be writing.
    address: usize,
}

impl<T: Element> Logits<T> {
    fn zeros(len: usize) -> Self {
        let numbers = Aligned::<T>::zeros(len);
        let address = numbers.as_ptr().addr();
        Logits { numbers: UnsafeCell::new(numbers), address }
    }
}

// SAFETY: `Exchange` says when who may use them.
unsafe impl<T: Send + Sync> Sync for Logits<T> {}

/// What the caller says of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// It is to be made, so long.
    Make { lr: f64 },
    /// There is none. The last one is taken, or it is not.
    Stop { takes_last: bool },
}

impl<T: Element> Exchange<T> {
    /// With room for so many logits of each thread.
    pub fn new(room: usize) -> Self {
        let logits = || Logits::zeros(room);
        Exchange {
            room,
            logits: [[logits(), logits()], [logits(), logits()]],
            order: Apart::default(),
            ready: Apart::default(),
            made: Apart::default(),
        }
    }

    /// Nothing has been said.
    pub fn restart(&mut self) {
        for notice in [&self.order, &self.ready, &self.made] {
            notice.put(0, 0);
        }
    }

    /// A thread's logits of a step: there are two, by turns.
    #[inline(always)]
    fn of_step(&self, thread: usize, step: u64) -> &Logits<T> {
        &self.logits[thread][(step % 2) as usize]
    }

    /// Asks for the lines of some of a thread's logits of a step, which it may be writing.
    #[inline(always)]
    pub fn ask_for(&self, thread: usize, step: u64, numbers: Range<usize>) {
        debug_assert!(numbers.end <= self.room, "{numbers:?} of {}", self.room);
        let first = without_provenance::<T>(self.of_step(thread, step).address);
        for number in numbers.step_by(per_line::<T>()) {
            prefetch(first.wrapping_add(number), Need::Now);
        }
    }

    /// A thread's logits of a step, to write.
    ///
    /// # Safety
    /// By that thread alone, before it says that these are there, and after the other has said that its own of the step before
    /// are: that one has then made the step before that, whose logits these are written over.
    #[expect(clippy::mut_from_ref, reason = "one of two threads writes at a time")]
    #[inline(always)]
    pub unsafe fn logits_mut(&self, thread: usize, step: u64) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.of_step(thread, step).numbers.get() }
    }

    /// A thread's logits of a step, to read.
    ///
    /// # Safety
    /// After that thread has said that they are there, and before the reading one says that its own of the next step are.
    #[inline(always)]
    pub unsafe fn logits(&self, thread: usize, step: u64) -> &[T] {
        // SAFETY: the caller's promise.
        unsafe { &*self.of_step(thread, step).numbers.get() }
    }

    /// Room for each thread's logits, for one thread that makes all: that of even steps.
    pub fn logits_of_both(&mut self) -> [&mut [T]; 2] {
        self.logits.each_mut().map(|[logits, _]| &mut logits.numbers.get_mut()[..])
    }

    /// The caller says that its logits of a step are there, unless it stops, and what is to be done.
    pub fn give(&self, step: u64, order: Order) {
        // No learning rate is such a number.
        let content = match order {
            Order::Make { lr } => lr.to_bits(),
            Order::Stop { takes_last } => STOP | u64::from(takes_last),
        };
        self.order.put(step, content);
    }

    /// The helper waits for it.
    pub fn order(&self, step: u64, waiter: &Waiter) -> Order {
        match self.order.wait(step, waiter, false) {
            None => Order::Stop { takes_last: false },
            Some(content) if content & !1 == STOP => Order::Stop { takes_last: content & 1 == 1 },
            Some(lr) => Order::Make { lr: f64::from_bits(lr) },
        }
    }

    /// The helper says that its logits of a step are there.
    pub fn say_ready(&self, step: u64) {
        self.ready.put(step, 0);
    }

    /// The caller waits for it; `None` if the helper is gone.
    pub fn wait_ready(&self, step: u64, waiter: &Waiter) -> Option<()> {
        self.ready.wait(step, waiter, true).map(|_| ())
    }

    /// The helper says what the squares of its half of a step's gradient add up to.
    pub fn say_made(&self, step: u64, square: f64) {
        self.made.put(step, square.to_bits());
    }

    /// The caller waits for it; `None` if the helper is gone.
    pub fn wait_made(&self, step: u64, waiter: &Waiter) -> Option<f64> {
        self.made.wait(step, waiter, true).map(f64::from_bits)
    }

    /// A thread that panics lets the other go on.
    pub fn leave(&self) {
        for notice in [&self.order, &self.ready, &self.made] {
            notice.step.store(GONE, Ordering::Release);
        }
    }
}

/// A NaN that no computation makes, and that with its last bit set.
const STOP: u64 = f64::NAN.to_bits() | 0x5709 << 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Team;

    #[test]
    fn what_is_said_of_a_step_is_heard() {
        let (mut exchange, waiter) = (Exchange::<f32>::new(4), Team::alone().waiter());
        for _ in 0..2 {
            let lrs = [0.1, 0.0, -0.0, 1e300, f64::INFINITY].map(|lr| Order::Make { lr });
            let stops = [true, false].map(|takes_last| Order::Stop { takes_last });
            for (step, order) in (1..).zip(lrs.into_iter().chain(stops)) {
                exchange.give(step, order);
                assert_eq!(exchange.order(step, &waiter), order);
                exchange.say_ready(step);
                assert_eq!(exchange.wait_ready(step, &waiter), Some(()));
                exchange.say_made(step, step as f64);
                assert_eq!(exchange.wait_made(step, &waiter), Some(step as f64));
            }
            exchange.restart();
            let notices = [&exchange.order, &exchange.ready, &exchange.made];
            assert!(notices.iter().all(|notice| notice.step.load(Ordering::Relaxed) == 0));
        }
        let nan = f64::from_bits(f64::NAN.to_bits() | 7);
        exchange.give(1, Order::Make { lr: nan });
        assert!(matches!(exchange.order(1, &waiter), Order::Make { lr } if lr.is_nan()));
    }

    #[test]
    fn nobody_waits_for_one_that_is_gone() {
        let (exchange, waiter) = (Exchange::<f32>::new(4), Team::alone().waiter());
        exchange.leave();
        assert_eq!(exchange.order(9, &waiter), Order::Stop { takes_last: false });
        assert_eq!((exchange.wait_ready(9, &waiter), exchange.wait_made(9, &waiter)), (None, None));
    }

    #[test]
    fn what_is_asked_for_is_where_the_logits_are_wherever_the_exchange_goes() {
        let mut exchange = Box::new(Exchange::<f64>::new(5));
        for (thread, step) in [(0, 4), (1, 4), (0, 5), (1, 5)] {
            // SAFETY: there is one thread, and no borrow is kept.
            let first = unsafe { exchange.logits(thread, step) }.as_ptr();
            assert_eq!(exchange.of_step(thread, step).address, first.addr());
        }
        for (thread, logits) in exchange.logits_of_both().into_iter().enumerate() {
            logits.fill(thread as f64 + 1.0);
        }
        for thread in [0, 1] {
            // SAFETY: as above.
            assert_eq!(unsafe { exchange.logits(thread, 2) }, [thread as f64 + 1.0; 5]);
        }
    }

    #[test]
    fn the_logits_of_two_steps_lie_apart() {
        let exchange = Exchange::<f32>::new(4);
        for (number, (thread, step)) in [(0, 1), (0, 2), (1, 1), (1, 2)].into_iter().enumerate() {
            // SAFETY: there is one thread, and no borrow is kept.
            unsafe { exchange.logits_mut(thread, step) }.fill(number as f32);
        }
        for (number, (thread, step)) in [(0, 3), (0, 4), (1, 3), (1, 4)].into_iter().enumerate() {
            // SAFETY: as above.
            assert_eq!(unsafe { exchange.logits(thread, step) }, [number as f32; 4]);
        }
    }
}
