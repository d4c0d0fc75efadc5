//! Steps of a softmax that two threads make together, half of the columns each.

use super::apart::Apart;
use super::block_rows::BlockRows;
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::{Exchange, Order};
use super::loss_sum::LossSum;
use super::softmax_descent::{Batches, Pieces, Progress, Side, StepSupervisor, UnderWay};
use super::softmax_half::{Half, PieceRows};
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
        *progress = PairedSteps { thread, half, side, exchange, waiter, batches, supervisor }.run();
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
struct PairedSteps<'a, T> {
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

impl<T: Element> PairedSteps<'_, T> {
    /// Takes them.
    fn run(mut self) -> Progress {
        let mut progress = Progress::NONE;
        let mut made = None;
        let most_pieces = Pieces::of_step(self.batches, 1).count();
        let mut blocks: Vec<_> = (0..most_pieces).map(|_| self.half.block()).collect();
        for step in 1.. {
            // Before it is known whether the last step is taken: what the other says of it comes meanwhile.
            if step <= self.batches.count() {
                self.forward(step, &mut blocks);
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
            let Some(this) = self.make(step, &blocks, lr) else {
                break;
            };
            if self.supervisor.is_none() {
                self.exchange.say_made(step, this.square.as_f64());
            }
            made = Some(this);
            self.swap_values();
        }
        progress
    }

    /// Writes this thread's logits of a step: first those that the other thread waits for.
    fn forward(&mut self, step: u64, blocks: &mut [BlockRows<T>]) {
        let (batch, pieces) = (self.batches.batch(step), Pieces::of_step(self.batches, step));
        let (this, other) = (self.thread, 1 - self.thread);
        // SAFETY: this thread has heard of the last step that the other's logits are there, unless this is the first.
        let logits = unsafe { self.exchange.logits_mut(this, step) };
        for piece in pieces.own_first(other) {
            let (block, logits) = (&mut blocks[piece], &mut logits[pieces.numbers(piece)]);
            let (places, labels) = (pieces.rows(piece), self.batches.labels);
            let rows = PieceRows { batch, places, distance: batch.len(), labels };
            // SAFETY: `Rows::new` has found each row's numbers to be there, and the block is of this half.
            unsafe { self.half.forward(block, rows, logits, pieces.room()) };
        }
        // The other has most likely made those that are wanted first, unless there is one piece: a line that it is about to
        // write would have to be fetched back, which costs time and nothing else.
        if pieces.count() > 1 {
            self.exchange.ask_for_logits(other, step, pieces.numbers(pieces.first_of(this)));
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

    /// Makes this thread's part of a step, for which all logits are there. `None` if the other thread is gone.
    fn make(&mut self, step: u64, blocks: &[BlockRows<T>], lr: T) -> Option<Made<T>> {
        let (rows, pieces) = (self.batches.index(step), Pieces::of_step(self.batches, step));
        let (this, other) = (self.thread, 1 - self.thread);
        // SAFETY: both threads have said so, and this one has not said so of the next step's.
        let logits = unsafe { [self.exchange.logits(0, step), self.exchange.logits(1, step)] };
        let mut under_way = UnderWay::new(self.side, self.batches, pieces);
        for (number, piece) in pieces.own_first(this).enumerate() {
            let (numbers, places) = (pieces.numbers(piece), pieces.rows(piece));
            let gradient = if pieces.is_made_by(this, piece) {
                if !pieces.are_shared() && piece + 1 < pieces.count() {
                    self.exchange.ask_for_logits(other, step, pieces.numbers(piece + 1));
                }
                under_way.take(logits.map(|logits| &logits[numbers.clone()]), rows.part(places.start, places.end));
                if pieces.are_shared() {
                    // SAFETY: the other has said that its logits of this step are there.
                    let cost = under_way.write(unsafe { self.exchange.gradients_mut(this) });
                    self.exchange.say_cost(this, step, cost);
                }
                under_way.gradient()
            } else {
                let cost = self.exchange.wait_cost(other, step, self.waiter, numbers.len())?;
                // SAFETY: the other has said so, and this thread has not said that its logits of the next step are there.
                let [gradient, bias_gradient] = unsafe { self.exchange.gradients(other) };
                under_way.add(cost, bias_gradient);
                pieces.gradient(gradient)
            };
            // SAFETY: `forward` has found these rows, and a piece has no more of them than it has room for.
            unsafe { self.half.back(&blocks[piece], gradient, number == 0) };
        }
        let (cost, bias_square) = under_way.make_step(lr);
        Some(Made { cost, square: self.half.make_step(T::from_f64(cost.weight), lr), bias_square })
    }

    /// Goes to the values after a step, or back.
    fn swap_values(&mut self) {
        self.half.swap_values();
        self.side.swap_values();
    }
}
