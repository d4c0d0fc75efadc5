//! Plain descent of a linear layer with a softmax, on batches of few wide rows: each of two threads takes half of the
//! columns of all rows, not half of the rows. They then tell each other logits, of which there are few, instead of sums
//! and weights, and half of the weight, of its gradient and of the rows stays with a processor from step to step.

use super::apart::Apart;
use super::block_rows::MOST_ROWS;
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::Exchange;
use super::lanes::Lanes;
use super::lone_steps::LoneSteps;
use super::loss_sum::LossSum;
use super::paired_steps::step_together;
use super::row_labels::RowLabels;
use super::rows::{RowIndex, Rows, per_line};
use super::softmax_half::Half;
use super::softmax_piece::{Piece, SoftmaxRoom, near_rows};
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

/// What each of two threads makes for itself of both halves of the logits.
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
            exchange: Exchange::new((rows + MOST_ROWS) * classes),
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
            return T::run_lone_steps(LoneSteps { halves, side: &mut sides[0], exchange, batches, supervisor });
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
    #[inline(always)]
    pub(super) fn batch(&self, step: u64) -> Rows<'a, T> {
        Rows::new(self.matrix, self.width, self.index(step)).ahead(self.index(step + 1))
    }

    /// Which rows a step is on: none after the last.
    #[inline(always)]
    pub(super) fn index(&self, step: u64) -> RowIndex<'a> {
        let end = step as usize * self.each;
        self.rows.part(end - self.each, end)
    }
}

/// The places of a batch at which pieces of so many rows begin, and their lengths.
#[inline(always)]
pub(super) fn pieces(all: usize, rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..all).step_by(rows).map(move |place| (place, (all - place).min(rows)))
}

/// Rows that go through together: those of one thread that has both halves stay in the next cache until they go back.
#[inline(always)]
pub(super) fn piece_rows<V: Lanes>(batches: &Batches<'_, V::Element>) -> usize {
    let row_bytes = batches.width * size_of::<V::Element>();
    let most = Piece::<V>::most_rows(batches.classes).expect("few classes");
    near_rows(most, row_bytes) / V::LANES * V::LANES
}

/// What a batch comes to while its pieces go through.
pub(super) struct UnderWay<'a, V: Lanes> {
    pub piece: Piece<'a, V>,
    labels: RowLabels<'a, V::Element>,
    bias: &'a [V::Element],
    next_bias: &'a mut [V::Element],
    bias_gradient: &'a mut [V::Element],
    cost: LossSum,
}

impl<'a, V: Lanes<Element = T>, T: Element> UnderWay<'a, V> {
    #[inline(always)]
    pub fn new(side: &'a mut Side<T>, batches: &Batches<'a, T>) -> Self {
        let Side { room, bias, next_bias, bias_gradient } = side;
        bias_gradient.fill(T::zero());
        let (classes, labels) = (batches.classes, batches.labels);
        let piece = Piece::new(classes, piece_rows::<V>(batches), labels.loss, room);
        UnderWay { piece, labels, bias, next_bias, bias_gradient, cost: LossSum::default() }
    }

    /// Makes the gradient of both halves of a piece's logits, `[classes, rows]`.
    #[inline(always)]
    pub fn take(&mut self, logits: [&[T]; 2], rows: RowIndex<'_>) {
        self.piece.set_sums(logits, self.bias, rows.len());
        self.cost += self.piece.replace_with_gradient(self.labels, rows);
        self.piece.add_bias_gradient(rows.len(), self.bias_gradient);
    }

    /// Makes the bias's part of the step. Returns what the batch costs, and the sum of the squares of the bias's gradient.
    #[inline(always)]
    pub fn make_step(self, lr: T) -> (LossSum, T) {
        let weight = T::from_f64(self.cost.weight);
        for ((mean, &value), next) in self.bias_gradient.iter_mut().zip(self.bias).zip(self.next_bias) {
            *mean /= weight;
            *next = value + -lr * *mean;
        }
        (self.cost, dot(self.bias_gradient, self.bias_gradient))
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
