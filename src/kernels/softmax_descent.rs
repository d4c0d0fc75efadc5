//! Plain descent of a linear layer with a softmax, on batches of few wide rows: each of two threads takes half of the
//! columns of all rows, not half of the rows. They then tell each other logits, of which there are few, instead of sums
//! and weights, and half of the weight, of its gradient and of the rows stays with a processor from step to step.

use std::ops::Range;

use super::apart::Apart;
use super::block_rows::{MOST_ROWS, OutputGradient};
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::Exchange;
use super::lone_steps::LoneSteps;
use super::loss_sum::LossSum;
use super::paired_steps::step_together;
use super::piece_gradient::PieceGradient;
use super::row_labels::RowLabels;
use super::rows::{RowIndex, Rows, per_line};
use super::softmax_half::Half;
use super::softmax_piece::{SoftmaxRoom, piece_rows};
use super::team::Team;
use super::vector::dot;

/// A descent, and where it has come to.
#[derive(Debug)]
pub struct SoftmaxDescent<T> {
    /// Classes and columns of the weight.
    shape: [usize; 2],
    /// Rows of a batch that there is room for.
    rows: usize,
    halves: [Apart<Half<T>>; 2],
    sides: [Apart<Side<T>>; 2],
    exchange: Exchange<T>,
}

/// Batches to descend on.
#[derive(Debug, Clone, Copy)]
pub struct Batches<'a, T> {
    /// `[rows, width]`.
    pub matrix: &'a [T],
    pub width: usize,
    pub classes: usize,
    /// The rows of all batches, one after another.
    pub rows: RowIndex<'a>,
    /// Rows of a batch; the last may have fewer.
    pub each: usize,
    pub labels: RowLabels<'a, T>,
}

/// Who is asked for each step.
pub trait StepSupervisor {
    /// The learning rate of the step to come.
    fn lr(&mut self) -> f64;

    /// Takes note of a step from what a batch costs, along a mean gradient whose norm has this square, or refuses it.
    fn step(&mut self, cost: LossSum, squared_norm: f64) -> Decision;
}

/// How far a descent has come on batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps taken.
    pub steps: usize,
    /// Whether the supervisor has ended it.
    pub is_over: bool,
}

impl Progress {
    pub(super) const NONE: Progress = Progress { steps: 0, is_over: false };

    pub(super) fn count(&mut self, decision: Decision) {
        self.steps += usize::from(decision != Decision::Refused);
        self.is_over = decision != Decision::Taken;
    }
}

/// What each of two threads has for itself.
#[derive(Debug)]
pub(super) struct Side<T> {
    room: Box<SoftmaxRoom<T>>,
    bias: Vec<T>,
    next_bias: Vec<T>,
    bias_gradient: Vec<T>,
}

/// Where columns are cut: as near the middle as whole cache lines go, if rows are of such. Where a row has an odd number of
/// lines, the caller, who also decides, has fewer.
fn cut<T>(width: usize) -> usize {
    let line = per_line::<T>();
    (width.div_ceil(line) / 2).max(1) * line
}

impl<T: Element> SoftmaxDescent<T> {
    /// For batches of at most so many rows, of a layer of so many inputs and classes.
    ///
    /// # Panics
    /// If a row is so short that one half of it has no column. [`run`](SoftmaxDescent::run) does, if there are more than 64
    /// classes.
    pub fn new(rows: usize, width: usize, classes: usize) -> Self {
        let cut = cut::<T>(width);
        assert!(cut < width, "two halves of the columns");
        let half = |columns| Apart(Half::new(columns, classes));
        let side = || Side { room: Box::default(), bias: Vec::new(), next_bias: Vec::new(), bias_gradient: Vec::new() };
        SoftmaxDescent {
            shape: [classes, width],
            rows,
            halves: [half(0..cut), half(cut..width)],
            sides: [Apart(side()), Apart(side())],
            exchange: Exchange::new((rows + MOST_ROWS) * classes, [MOST_ROWS * classes, classes]),
        }
    }

    /// Begins at a weight `[classes, width]` and a bias, `[classes]` or empty.
    pub fn begin(&mut self, [weight, bias]: [&[T]; 2]) {
        self.halves.iter_mut().for_each(|half| half.read(weight));
        for side in &mut self.sides {
            let Side { bias: own, next_bias, bias_gradient, .. } = &mut **side;
            for numbers in [own, next_bias, bias_gradient] {
                numbers.clear();
                numbers.extend_from_slice(bias);
            }
        }
    }

    /// Puts weight and bias where they belong.
    pub fn write(&self, [weight, bias]: [&mut [T]; 2]) {
        self.halves.iter().for_each(|half| half.write(weight));
        bias.copy_from_slice(&self.sides[0].bias);
    }

    /// Puts the last step's mean gradient of the weight where it belongs, if none was refused after it.
    pub fn write_weight_gradient(&self, gradient: &mut [T]) {
        self.halves.iter().for_each(|half| half.write_gradient(gradient));
    }

    /// The same of the bias.
    pub fn write_bias_gradient(&self, gradient: &mut [T]) {
        gradient.copy_from_slice(&self.sides[0].bias_gradient);
    }

    /// Takes steps on one batch after another while the supervisor lets it: on two threads of a team, or on this one, which
    /// comes to the same bits. On two it pauses when one of them was late.
    ///
    /// # Panics
    /// If the batches are not of the columns and classes of the weight, or of more rows than there is room for, the team is
    /// of one thread, a label is none of the classes, or the smoothing is not from 0 to 1.
    pub fn run(
        &mut self,
        batches: &Batches<'_, T>,
        team: Option<&mut Team>,
        supervisor: &mut dyn StepSupervisor,
    ) -> Progress {
        let shape = [batches.classes, batches.width];
        let has_room = (1..=self.rows).contains(&batches.each);
        assert!(shape == self.shape && has_room, "batches that fit the weight, and for which there is room");
        batches.labels.loss.check(batches.classes);
        if batches.rows.is_empty() {
            return Progress::NONE;
        }
        let SoftmaxDescent { halves, sides, exchange, .. } = self;
        exchange.restart();
        let Some(team) = team else {
            return LoneSteps { halves, side: &mut sides[0], exchange, batches, supervisor }.run();
        };
        // The caller may have gone on alone.
        let [first, second] = sides;
        second.bias.copy_from_slice(&first.bias);
        step_together(team, halves, sides, exchange, batches, supervisor)
    }
}

impl<'a, T: Element> Batches<'a, T> {
    /// Steps on them.
    pub(super) fn count(&self) -> u64 {
        self.rows.len().div_ceil(self.each) as u64
    }

    /// The rows of a step, from 1 on, and those of the next ahead of them.
    pub(super) fn batch(&self, step: u64) -> Rows<'a, T> {
        Rows::new(self.matrix, self.width, self.index(step)).ahead(self.index(step + 1))
    }

    /// Which rows a step is on: none after the last.
    pub(super) fn index(&self, step: u64) -> RowIndex<'a> {
        let end = step as usize * self.each;
        self.rows.part(end - self.each, end)
    }
}

/// How a batch is cut into pieces of rows that go through together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces {
    /// Rows of the batch, and of a piece but for the last.
    all: usize,
    each: usize,
    classes: usize,
}

impl Pieces {
    /// Those of a step. One thread's that has both halves stay in the next cache until they go back.
    pub fn of_step<T: Element>(batches: &Batches<'_, T>, step: u64) -> Self {
        let (all, classes) = (batches.index(step).len(), batches.classes);
        let each = piece_rows(classes, batches.width * size_of::<T>());
        Pieces { all, each, classes }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.div_ceil(self.each)
    }

    /// Rows that each has room for.
    pub fn room(&self) -> usize {
        self.each
    }

    /// The places of a piece's rows in the batch.
    pub fn rows(&self, piece: usize) -> Range<usize> {
        let start = piece * self.each;
        start..(start + self.each).min(self.all)
    }

    /// Where a piece's logits lie, `[classes, room]`.
    pub fn numbers(&self, piece: usize) -> Range<usize> {
        let each = self.each * self.classes;
        piece * each..(piece + 1) * each
    }

    /// Whether each of two threads makes the gradient of one piece's logits for both: where there are two. Else each makes all
    /// for itself.
    pub fn are_shared(&self) -> bool {
        self.count() == 2
    }

    /// Whether a thread makes the gradient of a piece's logits.
    pub fn is_made_by(&self, thread: usize, piece: usize) -> bool {
        !self.are_shared() || piece == thread
    }

    /// The first whose gradient a thread makes.
    pub fn first_of(&self, thread: usize) -> usize {
        if self.are_shared() { thread } else { 0 }
    }

    /// The pieces, first those whose gradient a thread makes. What comes back of two pieces adds up to the same sum either way.
    pub fn own_first(self, thread: usize) -> impl Iterator<Item = usize> {
        let first = self.first_of(thread);
        (0..self.count()).map(move |piece| piece ^ first)
    }

    /// The gradient of a piece's logits, with which the numbers begin.
    pub fn gradient<'a, T>(&self, numbers: &'a [T]) -> OutputGradient<'a, T> {
        OutputGradient::by_output(&numbers[..self.classes * self.each], self.classes, self.each)
    }
}

/// What a batch comes to while its pieces go through.
pub(super) struct UnderWay<'a, T> {
    side: &'a mut Side<T>,
    labels: RowLabels<'a, T>,
    pieces: Pieces,
    cost: LossSum,
}

impl<'a, T: Element> UnderWay<'a, T> {
    pub fn new(side: &'a mut Side<T>, batches: &Batches<'a, T>, pieces: Pieces) -> Self {
        side.bias_gradient.fill(T::zero());
        UnderWay { side, labels: batches.labels, pieces, cost: LossSum::default() }
    }

    /// Makes the gradient of a piece's logits, of which both halves are `[classes, room]`.
    pub fn take(&mut self, logits: [&[T]; 2], rows: RowIndex<'_>) {
        let Side { room, bias, bias_gradient, .. } = &mut *self.side;
        let (classes, most_rows, labels) = (self.pieces.classes, self.pieces.each, self.labels);
        let piece = PieceGradient { logits, bias, labels, rows, classes, most_rows, room, bias_gradient };
        self.cost += T::run_piece_gradient(piece);
    }

    /// The gradient of the logits of the last piece taken.
    pub fn gradient(&self) -> OutputGradient<'_, T> {
        self.side.room.gradient(self.pieces.classes, self.pieces.each)
    }

    /// Writes the gradients of the only piece taken, of its logits and of the bias, over these. Returns what its rows cost.
    pub fn write(&self, [gradient, bias_gradient]: [&mut [T]; 2]) -> LossSum {
        for (to, own) in [(gradient, self.gradient().numbers), (bias_gradient, &self.side.bias_gradient[..])] {
            to[..own.len()].copy_from_slice(own);
        }
        self.cost
    }

    /// Adds what the other thread has made of the other piece.
    pub fn add(&mut self, cost: LossSum, bias_gradient: &[T]) {
        self.cost += cost;
        for (sum, &other) in self.side.bias_gradient.iter_mut().zip(bias_gradient) {
            *sum += other;
        }
    }

    /// Makes the bias's part of the step. Returns what the batch costs, and the sum of the squares of the bias's gradient.
    pub fn make_step(self, lr: T) -> (LossSum, T) {
        let Side { bias, next_bias, bias_gradient, .. } = self.side;
        let weight = T::from_f64(self.cost.weight);
        for ((mean, &value), next) in bias_gradient.iter_mut().zip(&*bias).zip(next_bias) {
            *mean /= weight;
            *next = value + -lr * *mean;
        }
        (self.cost, dot(bias_gradient, bias_gradient))
    }
}

impl<T> Side<T> {
    /// Goes to the next value, or back.
    pub fn swap_values(&mut self) {
        std::mem::swap(&mut self.bias, &mut self.next_bias);
    }
}

#[cfg(test)]
#[path = "softmax_descent_tests.rs"]
mod tests;
