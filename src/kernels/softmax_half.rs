//! Half of the columns of a linear layer with a softmax, which descends: weight and gradient lie together, apart from
//! those of the other half, so that what a processor asks for ahead of time is its own.

use std::ops::Range;

use super::aligned::Aligned;
use super::block_rows::{BlockRows, OutputGradient};
use super::element::Element;
use super::lanes::{GROUP, Lanes};
use super::level::Kernel;
use super::mean_step::{MeanStep, PlainStep, Summands};
use super::row_labels::RowLabels;
use super::rows::{Need, Rows};
use super::vector::SQUARES;

/// Some columns of the weight, all `[classes, columns]`.
#[derive(Debug)]
pub(super) struct Half<T> {
    columns: Range<usize>,
    classes: usize,
    value: Aligned<T>,
    /// After the step under way.
    next: Aligned<T>,
    /// What the rows so far add up to, and in the end the mean.
    gradient: Aligned<T>,
    /// What the squares of the mean gradient add up to, block by block.
    squares: Vec<T>,
}

impl<T: Element> Half<T> {
    /// Of zeros.
    pub fn new(columns: Range<usize>, classes: usize) -> Self {
        let numbers = || Aligned::zeros(columns.len() * classes);
        let (value, next, gradient) = (numbers(), numbers(), numbers());
        let squares = Vec::with_capacity(value.len().div_ceil(SQUARES));
        Half { columns, classes, value, next, gradient, squares }
    }

    /// Takes its columns of a weight `[classes, width]`.
    pub fn read(&mut self, weight: &[T]) {
        let width = weight.len() / self.classes;
        for (own, row) in self.value.chunks_exact_mut(self.columns.len()).zip(weight.chunks_exact(width)) {
            own.copy_from_slice(&row[self.columns.clone()]);
        }
    }

    /// Puts its columns into a weight `[classes, width]`.
    pub fn write(&self, weight: &mut [T]) {
        self.put(&self.value, weight);
    }

    /// Puts its columns of the last step's mean gradient into one of the weight.
    pub fn write_gradient(&self, gradient: &mut [T]) {
        self.put(&self.gradient, gradient);
    }

    fn put(&self, own: &[T], matrix: &mut [T]) {
        let width = matrix.len() / self.classes;
        for (own, row) in own.chunks_exact(self.columns.len()).zip(matrix.chunks_exact_mut(width)) {
            row[self.columns.clone()].copy_from_slice(own);
        }
    }

    /// Room for where these columns of a block of rows lie.
    pub fn block(&self) -> BlockRows<T> {
        BlockRows::from_column(self.columns.start)
    }

    /// Finds the rows of a piece, and writes what these columns add to their logits over `logits`, `[classes, room]`, with room
    /// for so many.
    ///
    /// # Safety
    /// Each row must have the columns, and the block must be of [these](Half::block).
    pub unsafe fn forward(&self, block: &mut BlockRows<T>, piece: PieceRows<'_, T>, logits: &mut [T], room: usize) {
        T::run_half_forward(HalfForward { half: self, block, piece, logits, room });
    }

    /// Adds what comes back to a block of rows to the gradient; `anew`, if it is the first.
    ///
    /// # Safety
    /// They must be those that `forward` has found, and `output_gradient` must be [of](OutputGradient::is_of) all rows.
    pub unsafe fn back(&mut self, block: &BlockRows<T>, output_gradient: OutputGradient<'_, T>, anew: bool) {
        assert!(output_gradient.outputs == self.classes, "a gradient of each class");
        T::run_half_back(HalfBack { half: self, block, output_gradient, anew });
    }

    /// Divides the gradient by a weight, and makes the next value. Returns what the squares of the mean add up to.
    pub fn make_step(&mut self, weight: T, lr: T) -> T {
        self.squares.clear();
        MeanStep {
            sum: Summands::Gradient,
            divisor: weight,
            gradient: &mut self.gradient,
            squares: &mut self.squares,
            step: Some(PlainStep { values: &self.value, lr, next: &mut self.next }),
        }
        .make();
        self.squares.iter().copied().sum()
    }

    /// Goes to the next value, or back.
    pub fn swap_values(&mut self) {
        std::mem::swap(&mut self.value, &mut self.next);
    }
}

/// Some rows of a batch.
pub(super) struct PieceRows<'a, T> {
    pub batch: Rows<'a, T>,
    pub places: Range<usize>,
    /// Rows between one that is read and one that is asked for meanwhile, with its label.
    pub distance: usize,
    pub labels: RowLabels<'a, T>,
}

/// [`Half::forward`], whose caller has made its promise.
pub struct HalfForward<'a, T> {
    half: &'a Half<T>,
    block: &'a mut BlockRows<T>,
    piece: PieceRows<'a, T>,
    logits: &'a mut [T],
    room: usize,
}

impl<T: Element> Kernel<T> for HalfForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        let HalfForward { half, block, piece, logits, room } = self;
        let PieceRows { batch, places, distance, labels } = piece;
        for &row in block.find(&batch, places.start, places.len(), distance) {
            labels.prefetch(row);
        }
        let write = |classes: Range<usize>, first: usize, before: bool, sums: &[[T; GROUP]]| {
            for (class, sums) in classes.zip(sums) {
                let logits = &mut logits[class * room + first..][..GROUP];
                for (logit, &sum) in logits.iter_mut().zip(sums) {
                    *logit = if before { *logit + sum } else { sum };
                }
            }
        };
        // SAFETY: the promise, and the value has as many columns for each class.
        unsafe { block.forward::<V>(&half.value, half.columns.len(), half.classes, Need::Soon, write) };
    }
}

/// [`Half::back`], whose caller has made its promise.
pub struct HalfBack<'a, T> {
    half: &'a mut Half<T>,
    block: &'a BlockRows<T>,
    output_gradient: OutputGradient<'a, T>,
    anew: bool,
}

impl<T: Element> Kernel<T> for HalfBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        let HalfBack { half, block, output_gradient, anew } = self;
        let block = block.back(half.columns.len(), Need::Soon, output_gradient, anew);
        // SAFETY: the promise, and the gradient has as many columns for each class.
        unsafe { block.add_all::<V>(&mut half.gradient) };
    }
}
