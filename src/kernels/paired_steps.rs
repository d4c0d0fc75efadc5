//! Steps of a softmax that two threads make together, half of the columns each.

use super::apart::Apart;
use super::block_rows::BlockRows;
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::{Exchange, Order};
use super::lanes::Lanes;
use super::level::Kernel;
use super::loss_sum::LossSum;
use super::softmax_descent::{Batches, Progress, Side, StepSupervisor, UnderWay, piece_rows, pieces};
use super::softmax_half::Half;
use super::team::{Team, Waiter};

/// Takes steps on two threads of a team, which come to the same values.
pub(super) fn step_together<T: Element>(
    team: &mut Team,
    halves: &mut [Apart<Half<T>>; 2],
    [first, second]: &mut [Apart<Side<T>>; 2],
    exchange: &Exchange<T>,
    batches: &Batches<'_, T>,
    supervisor: &mut dyn StepSupervisor,
) -> Progress {
    let waiter = &team.waiter();
    let caller = Seat { side: first, supervisor: Some(OnCaller(supervisor)), progress: Progress::NONE };
    let mut seats = [caller, Seat { side: second, supervisor: None, progress: Progress::NONE }];
    team.share(&mut seats, halves, &|seat, thread, halves| {
        let Seat { side, supervisor, progress } = seat;
        let [half] = halves else { unreachable!("a half for each of two threads") };
        let supervisor = supervisor.as_mut().map(|supervisor| &mut *supervisor.0 as &mut dyn StepSupervisor);
        let _leave = Leave(exchange);
        *progress = T::run_paired_steps(PairedSteps { thread, half, side, exchange, waiter, batches, supervisor });
    });
    seats[0].progress
}

/// What a thread has of its own.
struct Seat<'a, T> {
    side: &'a mut Side<T>,
    /// The caller's.
    supervisor: Option<OnCaller<'a>>,
    progress: Progress,
}

/// The supervisor, which stays with the thread it came from.
struct OnCaller<'a>(&'a mut dyn StepSupervisor);

// SAFETY: a team's first state is for the thread that calls.
unsafe impl Send for OnCaller<'_> {}

/// Lets the other thread go on when this one panics.
struct Leave<'a, T: Element>(&'a Exchange<T>);

impl<T: Element> Drop for Leave<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.leave();
        }
    }
}

/// Steps of one thread of two.
pub struct PairedSteps<'a, T> {
    thread: usize,
    half: &'a mut Half<T>,
    side: &'a mut Side<T>,
    exchange: &'a Exchange<T>,
    waiter: &'a Waiter,
    batches: &'a Batches<'a, T>,
    /// The caller's.
    supervisor: Option<&'a mut dyn StepSupervisor>,
}

/// A step that is made, and waits for what the other thread has made of it.
struct Made<T> {
    cost: LossSum,
    /// Sums of squares of the mean gradient: of this thread's half of the weight, and of the bias.
    square: T,
    bias_square: T,
}

impl<T: Element> Kernel<T> for PairedSteps<'_, T> {
    type Output = Progress;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(mut self) -> Progress {
        let mut progress = Progress::NONE;
        let mut made = None;
        let most_pieces = self.batches.each.div_ceil(piece_rows::<V>(self.batches));
        let mut blocks: Vec<_> = (0..most_pieces).map(|_| self.half.block()).collect();
        for step in 1.. {
            // Before it is known whether the last step is taken: what the other says of it comes meanwhile.
            if step <= self.batches.count() {
                self.forward::<V>(step, &mut blocks);
            }
            let order = if self.supervisor.is_some() {
                let order = self.decide(step, made.take(), &mut progress);
                self.exchange.give(step, order);
                order
            } else {
                self.exchange.say_ready(step);
                self.exchange.order(step, self.waiter)
            };
            let lr = match order {
                Order::Make { lr } => T::from_f64(lr),
                Order::Stop { takes_last } => {
                    if !takes_last && step > 1 {
                        self.swap_values();
                    }
                    break;
                }
            };
            if self.supervisor.is_some() && self.exchange.wait_ready(step, self.waiter).is_none() {
                break;
            }
            let this = self.make::<V>(step, &blocks, lr);
            if self.supervisor.is_none() {
                self.exchange.say_made(step, this.square.as_f64());
            }
            made = Some(this);
            self.swap_values();
        }
        progress
    }
}

impl<T: Element> PairedSteps<'_, T> {
    /// Writes this thread's logits of a step.
    #[inline(always)]
    fn forward<V: Lanes<Element = T>>(&mut self, step: u64, blocks: &mut [BlockRows<T>]) {
        let Batches { classes, labels, .. } = *self.batches;
        let rows = self.batches.batch(step);
        // SAFETY: this thread has heard of the last step that the other's logits are there, unless this is the first.
        let logits = unsafe { self.exchange.logits_mut(self.thread, step) };
        let piece_rows = piece_rows::<V>(self.batches);
        for ((place, count), block) in pieces(rows.len(), piece_rows).zip(blocks) {
            for &row in block.find(&rows, place, count, rows.len()) {
                labels.prefetch(row);
            }
            let logits = &mut logits[place * classes..][..piece_rows * classes];
            // SAFETY: `Rows::new` has found each row's numbers to be there.
            unsafe { self.half.forward::<V>(block, logits, piece_rows) };
        }
        // The other's first piece is most likely done by now, unless it is also its last: a line that it is about to write
        // would have to be fetched back, which costs time and nothing else.
        if rows.len() > piece_rows {
            self.exchange.ask_for(1 - self.thread, step, 0..piece_rows * classes);
        }
    }

    /// Asks the supervisor about the last step, if there was one, and says what is to be done about this one.
    fn decide(&mut self, step: u64, last: Option<Made<T>>, progress: &mut Progress) -> Order {
        let Some(supervisor) = &mut self.supervisor else { unreachable!("the caller decides") };
        if let Some(Made { cost, square, bias_square }) = last {
            let Some(other) = self.exchange.wait_made(step - 1, self.waiter) else {
                return Order::Stop { takes_last: false };
            };
            let squared_norm = (square + T::from_f64(other)).as_f64() + bias_square.as_f64();
            let decision = supervisor.step(cost, squared_norm);
            progress.count(decision);
            if progress.is_over || step > self.batches.count() || self.waiter.was_late() {
                return Order::Stop { takes_last: decision != Decision::Refused };
            }
        }
        Order::Make { lr: supervisor.lr() }
    }

    /// Makes this thread's part of a step, for which all logits are there.
    #[inline(always)]
    fn make<V: Lanes<Element = T>>(&mut self, step: u64, blocks: &[BlockRows<T>], lr: T) -> Made<T> {
        let (classes, rows) = (self.batches.classes, self.batches.index(step));
        // SAFETY: both threads have said so, and neither has said so of the next step's.
        let logits = unsafe { [self.exchange.logits(0, step), self.exchange.logits(1, step)] };
        let piece_rows = piece_rows::<V>(self.batches);
        let mut under_way = UnderWay::<V>::new(self.side, self.batches);
        for ((place, count), block) in pieces(rows.len(), piece_rows).zip(blocks) {
            let numbers_from = |place| place * classes..(place + piece_rows) * classes;
            let next = place + piece_rows;
            if next < rows.len() {
                self.exchange.ask_for(1 - self.thread, step, numbers_from(next));
            }
            let logits = logits.map(|logits| &logits[numbers_from(place)]);
            under_way.take(logits, rows.part(place, place + count));
            // SAFETY: `forward` has found each row's numbers to be there, and the piece has room for `piece_rows`.
            unsafe { self.half.back::<V>(block, &under_way.piece, place == 0) };
        }
        let (cost, bias_square) = under_way.make_step(lr);
        Made { cost, square: self.half.make_step::<V>(T::from_f64(cost.weight), lr), bias_square }
    }

    /// Goes to the values after a step, or back.
    fn swap_values(&mut self) {
        self.half.swap_values();
        self.side.swap_values();
    }
}
