//! What two threads that descend together tell each other: logits, the gradients of a piece of them and what it costs,
//! whether there is a next step and how long it is, and what squares add up to.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::without_provenance;
use std::sync::atomic::{AtomicU64, Ordering};

use super::aligned::Aligned;
use super::apart::Apart;
use super::element::Element;
use super::loss_sum::LossSum;
use super::rows::{Need, per_line, prefetch};
use super::team::Waiter;

/// Between two threads, of which the first is the caller. Steps have numbers from 1 on.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    /// Of each thread, those of steps of even and of odd numbers: the next are written while these are still read.
    logits: [[Shared<T>; 2]; 2],
    /// Of each thread, the gradients that it makes for both: of a piece of logits, and of the bias.
    gradients: [[Shared<T>; 2]; 2],
    /// The caller's logits are there, and this is to be done with them.
    order: Apart<Notice>,
    /// The helper's logits are there.
    ready: Apart<Notice>,
    /// Each thread's gradients are there, of rows that cost so much.
    costs: [Apart<Notice>; 2],
    /// The helper has made its half of the step, the squares of whose gradient add up to this.
    made: Apart<Notice>,
}

/// A step's number, and what there is to say of it, together on a cache line.
#[derive(Debug, Default)]
struct Notice {
    step: AtomicU64,
    content: [AtomicU64; 2],
}

/// What a thread that will say nothing more says instead of a step's number.
const GONE: u64 = u64::MAX;

impl Notice {
    fn put(&self, step: u64, content: [u64; 2]) {
        // The other has read what was there: nothing is said of a step before the last one has been answered.
        for (place, content) in self.content.iter().zip(content) {
            place.store(content, Ordering::Relaxed);
        }
        self.step.store(step, Ordering::Release);
    }

    /// What is said of a step, or `None` if the other thread is gone.
    fn wait(&self, step: u64, waiter: &Waiter, is_caller: bool) -> Option<[u64; 2]> {
        waiter.wait_until(|| self.step.load(Ordering::Acquire) >= step, is_caller);
        let content = || self.content.each_ref().map(|content| content.load(Ordering::Relaxed));
        (self.step.load(Ordering::Relaxed) != GONE).then(content)
    }
}

/// Numbers that one thread writes and both read.
#[derive(Debug)]
struct Shared<T> {
    numbers: UnsafeCell<Aligned<T>>,
    /// How many, and where the first lies: lines are asked for without borrowing numbers that another thread may be writing.
    len: usize,
    address: usize,
}

impl<T: Element> Shared<T> {
    fn zeros(len: usize) -> Self {
        let numbers = Aligned::<T>::zeros(len);
        let address = numbers.as_ptr().addr();
        Shared { numbers: UnsafeCell::new(numbers), len, address }
    }

    /// Asks for the lines of some of them.
    fn ask_for(&self, numbers: Range<usize>) {
        debug_assert!(numbers.end <= self.len, "{numbers:?} of {}", self.len);
        let first = without_provenance::<T>(self.address);
        for number in numbers.step_by(per_line::<T>()) {
            prefetch(first.wrapping_add(number), Need::Now);
        }
    }
}

// SAFETY: `Exchange` says when who may use them.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

/// What the caller says of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// It is to be made, so long.
    Make { lr: f64 },
    /// There is none. The last one is taken, or it is not.
    Stop { takes_last: bool },
}

impl<T: Element> Exchange<T> {
    /// With room for so many logits of each thread, and for so many of a piece and of its bias.
    pub fn new(logits: usize, [piece, bias]: [usize; 2]) -> Self {
        let logits = || Shared::zeros(logits);
        let gradients = || [Shared::zeros(piece), Shared::zeros(bias)];
        Exchange {
            logits: [[logits(), logits()], [logits(), logits()]],
            gradients: [gradients(), gradients()],
            order: Apart::default(),
            ready: Apart::default(),
            costs: Default::default(),
            made: Apart::default(),
        }
    }

    fn notices(&self) -> [&Notice; 5] {
        let [caller, helper] = &self.costs;
        [&self.order, &self.ready, caller, helper, &self.made]
    }

    /// Nothing has been said.
    pub fn restart(&mut self) {
        for notice in self.notices() {
            notice.put(0, [0; 2]);
        }
    }

    /// A thread's logits of a step: there are two, by turns.
    fn of_step(&self, thread: usize, step: u64) -> &Shared<T> {
        &self.logits[thread][(step % 2) as usize]
    }

    /// Asks for the lines of some of a thread's logits of a step, which it may be writing.
    pub fn ask_for_logits(&self, thread: usize, step: u64, numbers: Range<usize>) {
        self.of_step(thread, step).ask_for(numbers);
    }

    /// A thread's logits of a step, to write.
    ///
    /// # Safety
    /// By that thread alone, before it says that these are there, and after the other has said that its own of the step before
    /// are: that one has then made the step before that, whose logits these are written over.
    #[expect(clippy::mut_from_ref, reason = "one of two threads writes at a time")]
    pub unsafe fn logits_mut(&self, thread: usize, step: u64) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.of_step(thread, step).numbers.get() }
    }

    /// A thread's logits of a step, to read.
    ///
    /// # Safety
    /// After that thread has said that they are there, and before the reading one says that its own of the next step are.
    pub unsafe fn logits(&self, thread: usize, step: u64) -> &[T] {
        // SAFETY: the caller's promise.
        unsafe { &*self.of_step(thread, step).numbers.get() }
    }

    /// The gradients that a thread makes for both, of a piece of logits and of the bias, to write.
    ///
    /// # Safety
    /// By that thread alone, before it says what the rows cost, and after the other has said that its logits of this step are
    /// there: that one has then made the step before, whose gradients these are written over.
    #[expect(clippy::mut_from_ref, reason = "one of two threads writes at a time")]
    pub unsafe fn gradients_mut(&self, thread: usize) -> [&mut [T]; 2] {
        // SAFETY: the caller's promise.
        self.gradients[thread].each_ref().map(|shared| -> &mut [T] { unsafe { &mut *shared.numbers.get() } })
    }

    /// The same, to read.
    ///
    /// # Safety
    /// After that thread has said what the rows cost, and before the reading one says that its logits of the next step are
    /// there.
    pub unsafe fn gradients(&self, thread: usize) -> [&[T]; 2] {
        // SAFETY: the caller's promise.
        self.gradients[thread].each_ref().map(|shared| -> &[T] { unsafe { &*shared.numbers.get() } })
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
        self.order.put(step, [content, 0]);
    }

    /// The helper waits for it.
    pub fn order(&self, step: u64, waiter: &Waiter) -> Order {
        match self.order.wait(step, waiter, false) {
            None => Order::Stop { takes_last: false },
            Some([content, _]) if content & !1 == STOP => Order::Stop { takes_last: content & 1 == 1 },
            Some([lr, _]) => Order::Make { lr: f64::from_bits(lr) },
        }
    }

    /// The helper says that its logits of a step are there.
    pub fn say_ready(&self, step: u64) {
        self.ready.put(step, [0; 2]);
    }

    /// The caller waits for it; `None` if the helper is gone.
    pub fn wait_ready(&self, step: u64, waiter: &Waiter) -> Option<()> {
        self.ready.wait(step, waiter, true).map(|_| ())
    }

    /// A thread says that its gradients of a step are there, and what the rows cost.
    pub fn say_cost(&self, thread: usize, step: u64, LossSum { loss, weight }: LossSum) {
        self.costs[thread].put(step, [loss.to_bits(), weight.to_bits()]);
    }

    /// The other thread waits for it, and asks for so many numbers of the logits' gradient; `None` if that thread is gone.
    pub fn wait_cost(&self, thread: usize, step: u64, waiter: &Waiter, numbers: usize) -> Option<LossSum> {
        let [loss, weight] = self.costs[thread].wait(step, waiter, thread == 1)?.map(f64::from_bits);
        self.gradients[thread][0].ask_for(0..numbers);
        Some(LossSum { loss, weight })
    }

    /// The helper says what the squares of its half of a step's gradient add up to.
    pub fn say_made(&self, step: u64, square: f64) {
        self.made.put(step, [square.to_bits(), 0]);
    }

    /// The caller waits for it; `None` if the helper is gone.
    pub fn wait_made(&self, step: u64, waiter: &Waiter) -> Option<f64> {
        self.made.wait(step, waiter, true).map(|[square, _]| f64::from_bits(square))
    }

    /// A thread that panics lets the other go on.
    pub fn leave(&self) {
        for notice in self.notices() {
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
        let (mut exchange, waiter) = (Exchange::<f32>::new(4, [4, 2]), Team::alone().waiter());
        for _ in 0..2 {
            let lrs = [0.1, 0.0, -0.0, 1e300, f64::INFINITY].map(|lr| Order::Make { lr });
            let stops = [true, false].map(|takes_last| Order::Stop { takes_last });
            for (step, order) in (1..).zip(lrs.into_iter().chain(stops)) {
                exchange.give(step, order);
                assert_eq!(exchange.order(step, &waiter), order);
                exchange.say_ready(step);
                assert_eq!(exchange.wait_ready(step, &waiter), Some(()));
                for (thread, cost) in
                    [(0, 1.5), (1, f64::NAN)].map(|(thread, loss)| (thread, LossSum { loss, weight: 2.0 }))
                {
                    exchange.say_cost(thread, step, cost);
                    let heard = exchange.wait_cost(thread, step, &waiter, 4).unwrap();
                    assert_eq!(heard.loss.to_bits(), cost.loss.to_bits());
                    assert_eq!(heard.weight, cost.weight);
                }
                exchange.say_made(step, step as f64);
                assert_eq!(exchange.wait_made(step, &waiter), Some(step as f64));
            }
            exchange.restart();
            assert!(exchange.notices().iter().all(|notice| notice.step.load(Ordering::Relaxed) == 0));
        }
        let nan = f64::from_bits(f64::NAN.to_bits() | 7);
        exchange.give(1, Order::Make { lr: nan });
        assert!(matches!(exchange.order(1, &waiter), Order::Make { lr } if lr.is_nan()));
    }

    #[test]
    fn nobody_waits_for_one_that_is_gone() {
        let (exchange, waiter) = (Exchange::<f32>::new(4, [4, 2]), Team::alone().waiter());
        exchange.leave();
        assert_eq!(exchange.order(9, &waiter), Order::Stop { takes_last: false });
        assert_eq!((exchange.wait_ready(9, &waiter), exchange.wait_made(9, &waiter)), (None, None));
        assert_eq!([0, 1].map(|thread| exchange.wait_cost(thread, 9, &waiter, 4)), [None, None]);
    }

    #[test]
    fn what_is_asked_for_is_where_the_logits_are_wherever_the_exchange_goes() {
        let mut exchange = Box::new(Exchange::<f64>::new(5, [5, 2]));
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
    fn each_thread_has_gradients_of_its_own() {
        let exchange = Exchange::<f32>::new(4, [4, 2]);
        for thread in [0, 1] {
            // SAFETY: there is one thread, and no borrow is kept.
            let [gradient, bias_gradient] = unsafe { exchange.gradients_mut(thread) };
            gradient.fill(thread as f32);
            bias_gradient.fill(thread as f32 + 2.0);
        }
        for thread in [0, 1] {
            // SAFETY: as above.
            let [gradient, bias_gradient] = unsafe { exchange.gradients(thread) };
            assert_eq!(gradient, [thread as f32; 4]);
            assert_eq!(bias_gradient, [thread as f32 + 2.0; 2]);
        }
    }

    #[test]
    fn the_logits_of_two_steps_lie_apart() {
        let exchange = Exchange::<f32>::new(4, [4, 2]);
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
