//! Softmax cross-entropy of a linear layer and its gradient, in one pass over the rows: a piece of them goes forward and back
//! while it is in the cache, and its logits never are anything but a piece.

use std::ops::Range;

use super::block_rows::{BlockRows, NEAREST_BYTES};
use super::element::Element;
use super::lanes::{GROUP, Lanes};
use super::level::Kernel;
use super::loss_sum::LossSum;
use super::row_labels::RowLabels;
use super::rows::{Need, Rows};
use super::softmax_piece::{Piece, SoftmaxRoom, near_rows};

/// The sum of the rows' losses, the softmax cross-entropy of the outputs `weight row + bias`, and of their weights. Writes the
/// gradient over what `weight_gradient` and `bias_gradient` hold. `weight` is `[classes, width]`, `bias` `[classes]` or empty.
/// `None`, with nothing written, where there are so many classes that rows are better taken one by one.
///
/// # Panics
/// If the lengths do not fit each other, a label is not below the number of classes, or the smoothing is not from 0 to 1.
pub fn linear_softmax<T: Element>(
    rows: &Rows<'_, T>,
    classes: usize,
    [weight, bias]: [&[T]; 2],
    labels: RowLabels<'_, T>,
    [weight_gradient, bias_gradient]: [&mut [T]; 2],
    room: &mut SoftmaxRoom<T>,
) -> Option<LossSum> {
    let numbers = classes.checked_mul(rows.width());
    assert!(
        Some(weight.len()) == numbers && weight_gradient.len() == weight.len(),
        "a weight and a gradient for each class and column"
    );
    assert!(
        (bias.is_empty() || bias.len() == classes) && bias_gradient.len() == bias.len(),
        "a bias and its gradient for each class, or none"
    );
    labels.loss.check(classes);
    T::run_linear_softmax(LinearSoftmax { rows, classes, weight, bias, labels, weight_gradient, bias_gradient, room })
}

pub struct LinearSoftmax<'a, T> {
    rows: &'a Rows<'a, T>,
    classes: usize,
    weight: &'a [T],
    bias: &'a [T],
    labels: RowLabels<'a, T>,
    weight_gradient: &'a mut [T],
    bias_gradient: &'a mut [T],
    room: &'a mut SoftmaxRoom<T>,
}

impl<T: Element> Kernel<T> for LinearSoftmax<'_, T> {
    type Output = Option<LossSum>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Option<LossSum> {
        let most_rows = Piece::<V>::most_rows(self.classes)?;
        let row_bytes = self.rows.width() * size_of::<T>();
        let block = near_rows(most_rows, row_bytes) / GROUP * GROUP;
        Some(if block * row_bytes <= NEAREST_BYTES {
            self.sum::<V, true>(most_rows, block)
        } else {
            self.sum::<V, false>(most_rows, block)
        })
    }
}

impl<T: Element> LinearSoftmax<'_, T> {
    /// The sum of the losses, of `block` rows at a time, which are read `ONCE` from memory or further in.
    #[inline(always)]
    fn sum<V: Lanes<Element = T>, const ONCE: bool>(self, most_rows: usize, block: usize) -> LossSum {
        let (rows, width, classes) = (self.rows, self.rows.width(), self.classes);
        // Known to the compiler: the loops that fetch do not ask for each line.
        let need = if ONCE { Need::Once } else { Need::Soon };
        let ahead_rows = rows.distance_ahead(need).max(block.min(rows.len()));
        let mut block_rows = BlockRows::new();
        let mut piece = Piece::<V>::new(classes, most_rows, self.labels.loss, self.room);
        if rows.is_empty() {
            self.weight_gradient.fill(T::zero());
        }
        self.bias_gradient.fill(T::zero());
        let (mut sum, mut place) = (LossSum::default(), 0);
        while place < rows.len() {
            let count = (rows.len() - place).min(block);
            for &row in block_rows.find(rows, place, count, ahead_rows) {
                self.labels.prefetch(row);
            }
            let write = |classes: Range<usize>, first: usize, before: bool, sums: &[[T; GROUP]]| {
                for (class, sums) in classes.zip(sums) {
                    let bias = self.bias.get(class).copied().unwrap_or(T::zero());
                    let before = if before { piece.group(class, first) } else { [bias; GROUP] };
                    piece.set(class, first, std::array::from_fn(|row| before[row] + sums[row]));
                }
            };
            // SAFETY: `Rows::new` has found each row's `width` numbers to be there, and `linear_softmax` the weight's.
            unsafe { block_rows.forward::<V>(self.weight, width, classes, need, write) };
            sum += piece.replace_with_gradient(self.labels, rows.index().part(place, place + count));
            piece.add_bias_gradient(count, self.bias_gradient);
            let block = block_rows.back(width, need, piece.gradient(), place == 0);
            // SAFETY: `Rows::new` has found each row's numbers to be there, `linear_softmax` those of the weight's gradient, and
            // the piece has room for a block, which is at most `most_rows`.
            unsafe { block.add_all::<V>(self.weight_gradient) };
            place += count;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, numbers, on_every_level};
    use crate::kernels::{RowIndex, SoftmaxLoss, linear_backward, linear_forward, softmax_cross_entropy};

    /// Room in which an earlier pass has left what is no number.
    fn used<T: Element>() -> SoftmaxRoom<T> {
        SoftmaxRoom::full_of(T::nan())
    }

    #[test]
    fn one_pass_is_forward_loss_and_backward_on_odd_shapes() {
        on_every_level(|| {
            for classes in [1, 2, 3, 4, 5, 7, 10, 13, 33, 70] {
                for (count, width) in [(0, 5), (1, 0), (3, 1), (64, 2), (65, 17), (17, 33), (131, 100)] {
                    for bias in [true, false] {
                        check::<f64>(count, width, classes, bias, 1e-12);
                        check::<f32>(count, width, classes, bias, 2e-4);
                    }
                }
            }
            // Rows that are fetched within the batch, and such that only few of go through together.
            check::<f64>(600, 16, 3, true, 1e-11);
            check::<f32>(200, 1500, 10, true, 2e-3);
            check::<f32>(140, 784, 10, true, 2e-3);
            check::<f64>(70, 392, 20, true, 1e-11);
            check::<f64>(70, 3000, 3, true, 1e-11);
            // The narrowest that go forward some columns after the others, and such as have a few columns more than whole lines.
            check::<f64>(70, 413, 5, true, 1e-11);
            check::<f32>(70, 826, 5, false, 2e-3);
            check::<f32>(70, 1217, 12, true, 2e-3);
        });
    }

    fn check<T: Element + std::fmt::Debug>(count: usize, width: usize, classes: usize, bias: bool, tolerance: f64) {
        let all = count + 7;
        let (matrix, weight): (Vec<T>, Vec<T>) = (numbers(all * width, 1), numbers(classes * width, 2));
        let bias: Vec<T> = if bias { numbers(classes, 3) } else { Vec::new() };
        let classes_of_rows: Vec<usize> = (0..all).map(|i| i * 5 % classes).collect();
        let weights: Vec<T> = (0..all).map(|i| T::from_f64((i % 4) as f64)).collect();
        let class_weights: Vec<f64> = (0..classes).map(|class| 0.5 + (class % 3) as f64).collect();
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % all as u32).collect();
        for index in [RowIndex::list(&list), RowIndex::range(2, count)] {
            for weighted in [false, true] {
                let mut labels = RowLabels::new(&classes_of_rows);
                if weighted {
                    labels.weights = Some(&weights);
                    labels.loss = SoftmaxLoss { class_weights: Some(&class_weights), label_smoothing: 0.2 };
                }
                let rows = Rows::new(&matrix, width, index);
                let (mut logits, mut gradient) = (vec![T::zero(); count * classes], vec![T::zero(); count * classes]);
                linear_forward(&rows, &weight, &bias, &mut logits);
                let expected = softmax_cross_entropy(&logits, labels, index, &mut gradient);
                let (mut of_weight, mut of_bias) = (vec![T::zero(); weight.len()], vec![T::zero(); bias.len()]);
                linear_backward(&rows, &gradient, &mut of_weight, &mut of_bias);

                // What is there is written over.
                let (mut weight_gradient, mut bias_gradient): (Vec<T>, Vec<T>) =
                    (numbers(weight.len(), 4), numbers(bias.len(), 5));
                let rows = rows.ahead(RowIndex::list(&list[..count / 2]));
                let gradients = [&mut weight_gradient[..], &mut bias_gradient[..]];
                let Some(found) = linear_softmax(&rows, classes, [&weight, &bias], labels, gradients, &mut used())
                else {
                    assert!(classes > 64, "{classes} classes");
                    continue;
                };
                close(found.loss, expected.loss, tolerance);
                close(found.weight, expected.weight, tolerance);
                for (found, expected) in
                    weight_gradient.iter().chain(&bias_gradient).zip(of_weight.iter().chain(&of_bias))
                {
                    close(found.as_f64(), expected.as_f64(), tolerance);
                }
            }
        }
    }

    #[test]
    fn too_many_classes_are_left_alone() {
        on_every_level(|| {
            let (rows, weight) = (Rows::new(&[1.0; 2], 1, RowIndex::range(0, 2)), [0.5; 65]);
            let (labels, mut gradient) = (RowLabels::new(&[0; 2]), [7.0; 65]);
            assert_eq!(linear_softmax(&rows, 65, [&weight, &[]], labels, [&mut gradient, &mut []], &mut used()), None);
            assert_eq!(gradient, [7.0; 65]);
            assert!(
                linear_softmax(&rows, 64, [&weight[..64], &[]], labels, [&mut gradient[..64], &mut []], &mut used())
                    .is_some()
            );
        });
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            for bad in [f64::NAN, f64::INFINITY] {
                for place in [0, 17, 69] {
                    let mut matrix = vec![0.5; 70 * 3];
                    matrix[place * 3] = bad;
                    let rows = Rows::new(&matrix, 3, RowIndex::range(0, 70));
                    let (weight, mut gradient) = ([1.0; 6], [0.0; 6]);
                    let labels = RowLabels::new(&[1; 70]);
                    let found = linear_softmax(&rows, 2, [&weight, &[]], labels, [&mut gradient, &mut []], &mut used())
                        .unwrap();
                    assert!(!found.loss.is_finite(), "{bad} in row {place}: {found:?}");
                    assert!(gradient.iter().all(|g| !g.is_finite()));
                }
            }
        });
    }
}
