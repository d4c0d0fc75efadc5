//! The gradient of a piece of logits of a softmax, of which two threads have made a half each.

use super::element::Element;
use super::lanes::Lanes;
use super::level::Kernel;
use super::loss_sum::LossSum;
use super::row_labels::RowLabels;
use super::rows::RowIndex;
use super::softmax_piece::{Piece, SoftmaxRoom};

/// The gradient of the logits of a piece of rows, of which there are two halves, and what the rows cost.
pub struct PieceGradient<'a, T> {
    /// Each `[classes, most_rows]`.
    pub logits: [&'a [T]; 2],
    /// `[classes]` or empty.
    pub bias: &'a [T],
    pub labels: RowLabels<'a, T>,
    pub rows: RowIndex<'a>,
    pub classes: usize,
    /// How many rows there is room for: registers full of them.
    pub most_rows: usize,
    /// Gets the [gradient](SoftmaxRoom::gradient).
    pub room: &'a mut SoftmaxRoom<T>,
    /// As long as the bias: its gradient is added to it.
    pub bias_gradient: &'a mut [T],
}

impl<T: Element> Kernel<T> for PieceGradient<'_, T> {
    type Output = LossSum;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> LossSum {
        let PieceGradient { logits, bias, labels, rows, classes, most_rows, room, bias_gradient } = self;
        let mut piece = Piece::<V>::new(classes, most_rows, labels.loss, room);
        piece.set_sums(logits, bias, rows.len());
        let cost = piece.replace_with_gradient(labels, rows);
        piece.add_bias_gradient(rows.len(), bias_gradient);
        cost
    }
}
