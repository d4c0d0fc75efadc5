//! Half of the columns of a linear layer with a softmax, which descends: weight and gradient lie together, apart from
//! those of the other half, so that what a processor asks for ahead of time is its own.

use std::ops::Range;

use super::aligned::Aligned;
use super::block_rows::BlockRows;
use super::element::Element;
use super::lanes::{GROUP, Lanes};
use super::level::Kernel;
use super::mean_step::{MeanStep, PlainStep, Summands};
use super::rows::Need;
use super::softmax_piece::Piece;
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
    #[inline(always)]
    pub fn block(&self) -> BlockRows<T> {
        BlockRows::from_column(self.columns.start)
    }

    /// Writes what these columns add to the logits of a block of rows over `logits`, `[classes, rows]`, with room for so many.
    ///
    /// # Safety
    /// Each row must have the columns.
    #[inline(always)]
    pub unsafe fn forward<V: Lanes<Element = T>>(&self, block: &BlockRows<T>, logits: &mut [T], rows: usize) {
        let write = |classes: Range<usize>, first: usize, before: bool, sums: &[[T; GROUP]]| {
            for (class, sums) in classes.zip(sums) {
                let logits = &mut logits[class * rows + first..][..GROUP];
                for (logit, &sum) in logits.iter_mut().zip(sums) {
                    *logit = if before { *logit + sum } else { sum };
                }
            }
        };
        // SAFETY: the caller's promise, and the value has as many columns for each class.
        unsafe { block.forward::<V>(&self.value, self.columns.len(), self.classes, Need::Soon, write) };
    }

    /// Adds the gradient of a block of rows, whose logits' gradient the piece has; `anew`, if it is the first.
    ///
    /// # Safety
    /// Each row must have the columns, and the piece room for as many rows.
    #[inline(always)]
    pub unsafe fn back<V: Lanes<Element = T>>(&mut self, block: &BlockRows<T>, piece: &Piece<'_, V>, anew: bool) {
        let block = block.back(self.columns.len(), Need::Soon, piece.gradient(), anew);
        // SAFETY: the caller's promise, and the gradient has as many columns for each class.
        unsafe { block.add_all::<V>(&mut self.gradient) };
    }

    /// Divides the gradient by a weight, and makes the next value. Returns what the squares of the mean add up to.
    #[inline(always)]
    pub fn make_step<V: Lanes<Element = T>>(&mut self, weight: T, lr: T) -> T {
        self.squares.clear();
        MeanStep {
            sum: Summands::Gradient,
            divisor: weight,
            gradient: &mut self.gradient,
            squares: &mut self.squares,
            step: Some(PlainStep { values: &self.value, lr, next: &mut self.next }),
        }
        .run::<V>();
        self.squares.iter().copied().sum()
    }

    /// Goes to the next value, or back.
    #[inline(always)]
    pub fn swap_values(&mut self) {
        std::mem::swap(&mut self.value, &mut self.next);
    }
}
