//! Softmax cross-entropy of many rows at once, each with its gradient.

use super::element::Element;
use super::exponential::exp;
use super::lanes::Lanes;
use super::level::Kernel;
use super::loss_sum::LossSum;
use super::row_labels::{RowLabels, Smoothing, SoftmaxLoss};
use super::rows::RowIndex;
use super::softmax_piece::{Piece, SoftmaxRoom};

/// The sum of the losses of rows of several logits, and that of their weights: each row's own times its class's. Writes the
/// gradient over `gradient`: each row's weight times `softmax sum_c s_c - s`, with the shares s of [`SoftmaxLoss`]. `logits`
/// and `gradient` are `[rows, classes]`; `labels` holds those of all rows that `rows` may name.
///
/// # Panics
/// If the lengths do not fit each other, a label is not below the number of classes, or the smoothing is not from 0 to 1.
pub fn softmax_cross_entropy<T: Element>(
    logits: &[T],
    labels: RowLabels<'_, T>,
    rows: RowIndex<'_>,
    gradient: &mut [T],
) -> LossSum {
    assert_eq!(logits.len(), gradient.len(), "a gradient for each logit");
    if rows.is_empty() {
        return LossSum::default();
    }
    assert!(!logits.is_empty() && logits.len().is_multiple_of(rows.len()), "as many logits for each row, at least one");
    labels.loss.check(logits.len() / rows.len());
    T::run_softmax_cross_entropy(SoftmaxCrossEntropy { logits, labels, rows, gradient })
}

pub struct SoftmaxCrossEntropy<'a, T> {
    logits: &'a [T],
    labels: RowLabels<'a, T>,
    rows: RowIndex<'a>,
    gradient: &'a mut [T],
}

impl<T: Element> Kernel<T> for SoftmaxCrossEntropy<'_, T> {
    type Output = LossSum;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> LossSum {
        let SoftmaxCrossEntropy { logits, labels, rows, gradient } = self;
        let classes = logits.len() / rows.len();
        let mut sum = LossSum::default();
        if let Some(most_rows) = Piece::<V>::most_rows(classes) {
            let mut room = SoftmaxRoom::full_of(T::zero());
            let mut piece = Piece::<V>::new(classes, most_rows, labels.loss, &mut room);
            let numbers = most_rows * classes;
            let pieces = logits.chunks(numbers).zip(gradient.chunks_mut(numbers));
            for (number, (logits, gradient)) in pieces.enumerate() {
                let place = number * most_rows;
                piece.read_rows(logits);
                sum += piece.replace_with_gradient(labels, rows.part(place, place + most_rows));
                piece.write_rows(gradient);
            }
            return sum;
        }
        let smoothing = labels.loss.smoothing(classes);
        let each = rows.iter().zip(logits.chunks_exact(classes)).zip(gradient.chunks_exact_mut(classes));
        for ((row, logits), gradient) in each {
            let (label, row_weight) = labels.at(row);
            let weight = labels.loss.class_weight::<T>(label) * row_weight;
            let mut row = WideRow { logits, label, row_weight, weight, gradient };
            let loss = row.loss_and_gradient::<V>(labels.loss, smoothing);
            sum += LossSum { loss: loss.as_f64(), weight: weight.as_f64() };
        }
        sum
    }
}

/// A row of more classes than go through together.
struct WideRow<'a, T> {
    logits: &'a [T],
    label: usize,
    /// The row's own weight, and that times its class's.
    row_weight: T,
    weight: T,
    gradient: &'a mut [T],
}

impl<T: Element> WideRow<'_, T> {
    /// Writes the gradient, and returns the loss.
    ///
    /// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
    /// other classes' probabilities have them exactly.
    #[inline(always)]
    fn loss_and_gradient<V: Lanes<Element = T>>(&mut self, of: SoftmaxLoss<'_>, smoothing: Option<Smoothing<T>>) -> T {
        let (logits, label, gradient) = (self.logits, self.label, &mut *self.gradient);
        let nothing = V::splat(T::neg_infinity());
        let mut most = nothing;
        for piece in logits.chunks(V::LANES) {
            // SAFETY: a piece has `piece.len()` numbers, at most `LANES`.
            most = most.max(unsafe { V::load_partial_or(piece.as_ptr(), piece.len(), nothing) });
        }
        let largest = most.largest();
        for (piece, out) in logits.chunks(V::LANES).zip(gradient.chunks_mut(V::LANES)) {
            // SAFETY: as above, and as many places to write to.
            unsafe {
                let z = V::load_partial(piece.as_ptr(), piece.len());
                exp(z.sub(V::splat(largest))).store_partial(out.as_mut_ptr(), out.len());
            }
        }
        let own = std::mem::replace(&mut gradient[label], T::zero());
        let mut sum = V::splat(T::zero());
        for piece in gradient.chunks(V::LANES) {
            // SAFETY: as above.
            sum = sum.add(unsafe { V::load_partial(piece.as_ptr(), piece.len()) });
        }
        let others = sum.sum();
        let total = others + own;
        // A label that is more likely than not has the largest logit: its own term is 1.
        let logarithm = if others < own { others.ln_1p() } else { total.ln() };

        let (kept, spread, spread_over_all) = match smoothing {
            None => (self.weight, T::zero(), T::zero()),
            Some(of) => (self.weight * of.kept, self.row_weight * of.each, self.row_weight * of.all),
        };
        let shares = V::splat((kept + spread_over_all) / total);
        for piece in gradient.chunks_mut(V::LANES) {
            // SAFETY: as above.
            unsafe {
                let p = V::load_partial(piece.as_ptr(), piece.len()).mul(shares);
                p.store_partial(piece.as_mut_ptr(), piece.len());
            }
        }
        gradient[label] = (own * spread_over_all - others * kept) / total;
        let mut loss = kept * (logarithm - (logits[label] - largest));
        if smoothing.is_some() {
            for (class, (gradient, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
                let class_weight = of.class_weight::<T>(class);
                // What does not count must not meet an infinite difference.
                if class_weight > T::zero() {
                    *gradient -= spread * class_weight;
                    loss += spread * class_weight * (logarithm - (logit - largest));
                }
            }
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, listed_and_in_line, numbers, on_every_level};

    #[test]
    fn softmax_minus_onehot_and_its_loss_on_every_level() {
        on_every_level(|| {
            for (count, classes, scale) in
                [(1, 1, 1.0), (5, 2, 30.0), (4, 10, 3.0), (3, 17, 300.0), (2, 70, 1e6), (3, 300, 5.0)]
            {
                several::<f64>(count, classes, scale, 1e-13);
                several::<f32>(count, classes, scale, 1e-5);
            }
            // More rows than go through together.
            for (count, classes, scale) in [(64, 1, 1.0), (65, 3, 2.0), (75, 10, 9.0), (70, 20, 1.0), (35, 64, 4.0)] {
                several::<f64>(count, classes, scale, 1e-13);
                several::<f32>(count, classes, scale, 1e-5);
            }
        });
    }

    fn several<T: Element + std::fmt::Debug>(count: usize, classes: usize, scale: f64, tolerance: f64) {
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % 80).collect();
        let labels: Vec<usize> = (0..80).map(|i| (i * 5) % classes).collect();
        let logits: Vec<T> = numbers::<T>(count * classes, 1).iter().map(|&z| z * T::from_f64(scale)).collect();
        let weights: Vec<T> = (0..80).map(|i| T::from_f64((i % 4) as f64 / 2.0)).collect();
        let class_weights: Vec<f64> = (0..classes).map(|class| 1.0 + (class % 3) as f64).collect();
        let (weights, class_weights) = (Some(&weights[..]), Some(&class_weights[..]));
        for (weights, class_weights) in [(None, None), (weights, None), (None, class_weights), (weights, class_weights)]
        {
            for label_smoothing in [0.0, 0.1, 1.0] {
                let loss = SoftmaxLoss { class_weights, label_smoothing };
                let labels = RowLabels { classes: &labels, weights, loss };
                listed_and_in_line(&list).into_iter().for_each(|rows| several_rows(&logits, labels, rows, tolerance));
            }
        }
    }

    fn several_rows<T: Element + std::fmt::Debug>(
        logits: &[T],
        labels: RowLabels<'_, T>,
        rows: RowIndex<'_>,
        tolerance: f64,
    ) {
        let classes = logits.len() / rows.len();
        let mut gradient = vec![T::nan(); logits.len()];
        let sum = softmax_cross_entropy(logits, labels, rows, &mut gradient);
        let class_weight = |class: usize| labels.loss.class_weights.map_or(1.0, |weights| weights[class]);
        let smoothing = labels.loss.label_smoothing;
        let (mut expected, mut expected_weight) = (0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            let label = labels.classes[row];
            let weight = labels.weights.map_or(1.0, |weights| weights[row].as_f64());
            let z: Vec<f64> = logits[i * classes..(i + 1) * classes].iter().map(|z| z.as_f64()).collect();
            let mut p = vec![0.0; classes];
            let log_sum_exp = crate::kernels::softmax(&z, &mut p);
            let share = |class: usize| {
                let onehot = if class == label { 1.0 - smoothing } else { 0.0 };
                weight * class_weight(class) * (onehot + smoothing / classes as f64)
            };
            let total: f64 = (0..classes).map(share).sum();
            expected += (0..classes).map(|class| share(class) * (log_sum_exp - z[class])).sum::<f64>();
            for (class, p) in p.iter().enumerate() {
                close(gradient[i * classes + class].as_f64(), total * p - share(class), tolerance);
            }
            expected_weight += weight * class_weight(label);
        }
        close(sum.loss, expected, tolerance);
        close(sum.weight, expected_weight, tolerance);
    }

    /// Numbers of classes that go through together, and more.
    const FEW_AND_MANY: [usize; 3] = [3, 64, 300];

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        on_every_level(|| {
            for classes in (1..=70).chain([256, 300]) {
                let mut gradient = vec![0.0; classes];
                let labels = RowLabels::new(&[0]);
                let sum = softmax_cross_entropy(&vec![2.5; classes], labels, RowIndex::range(0, 1), &mut gradient);
                close(sum.loss, (classes as f64).ln(), 1e-15);
                close(gradient[0], 1.0 / classes as f64 - 1.0, 1e-15);
            }
        });
    }

    #[test]
    fn a_label_that_is_nearly_certain_keeps_its_digits() {
        fn check<T: Element>(distance: f64) {
            for classes in FEW_AND_MANY {
                for own in [0.0, 300.0] {
                    let mut logits = vec![T::from_f64(own - distance); classes];
                    logits[1] = T::from_f64(own);
                    let mut gradient = vec![T::zero(); classes];
                    let labels = RowLabels::new(&[1]);
                    let sum = softmax_cross_entropy(&logits, labels, RowIndex::range(0, 1), &mut gradient);
                    let expected = (classes - 1) as f64 * (-distance).exp();
                    let tolerance = 100.0 * T::epsilon().as_f64() * expected;
                    assert!((sum.loss - expected).abs() < tolerance, "{} is not {expected}", sum.loss);
                    assert!((gradient[1].as_f64() + expected).abs() < tolerance);
                }
            }
        }
        on_every_level(|| {
            check::<f64>(60.0);
            check::<f32>(30.0);
        });
    }

    #[test]
    fn a_class_that_does_not_count_may_be_impossible() {
        on_every_level(|| {
            for classes in FEW_AND_MANY {
                let mut class_weights = vec![1.0; classes];
                class_weights[1] = 0.0;
                let mut logits = vec![0.0; classes];
                logits[1] = f64::NEG_INFINITY;
                let loss = SoftmaxLoss { class_weights: Some(&class_weights), label_smoothing: 0.1 };
                let labels = RowLabels { classes: &[2], weights: None, loss };
                let mut gradient = vec![0.0; classes];
                let sum = softmax_cross_entropy(&logits, labels, RowIndex::range(0, 1), &mut gradient);
                // All others are as likely; their shares add up to 1 less that of class 1.
                let (others, shares) = ((classes - 1) as f64, 1.0 - 0.1 / classes as f64);
                close(sum.loss, shares * others.ln(), 1e-13);
                close(gradient[2], shares / others - 0.9 - 0.1 / classes as f64, 1e-13);
                assert_eq!(gradient[1], 0.0);
            }
        });
    }

    #[test]
    fn what_is_not_finite_shows() {
        fn check<T: Element>(bad: T, classes: usize, label_smoothing: f64) {
            for place in [0, 17, 34] {
                let mut logits = vec![T::from_f64(0.5); 35 * classes];
                logits[place * classes + 1] = bad;
                let loss = SoftmaxLoss { label_smoothing, ..SoftmaxLoss::default() };
                let labels = RowLabels { loss, ..RowLabels::new(&[0; 35]) };
                let mut gradient = vec![T::zero(); logits.len()];
                let sum = softmax_cross_entropy(&logits, labels, RowIndex::range(0, 35), &mut gradient);
                assert!(!sum.loss.is_finite());
                for (row, gradient) in gradient.chunks(classes).enumerate() {
                    assert_eq!(gradient.iter().all(|g| g.is_finite()), row != place, "row {row} of {classes} classes");
                }
            }
        }
        on_every_level(|| {
            for classes in FEW_AND_MANY {
                for smoothing in [0.0, 0.1] {
                    for bad in [f64::NAN, f64::INFINITY] {
                        check(bad, classes, smoothing);
                        check(bad as f32, classes, smoothing);
                    }
                }
            }
        });
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let refused = |loss: SoftmaxLoss<'_>| {
            let labels = RowLabels { loss, ..RowLabels::new(&[0]) };
            std::panic::catch_unwind(|| {
                softmax_cross_entropy(&[0.0; 3], labels, RowIndex::range(0, 1), &mut [0.0; 3]).loss
            })
            .is_err()
        };
        assert!(!refused(SoftmaxLoss::default()));
        assert!(refused(SoftmaxLoss { class_weights: Some(&[1.0; 4]), label_smoothing: 0.0 }));
        for label_smoothing in [-0.1, 1.1, f64::NAN] {
            assert!(refused(SoftmaxLoss { class_weights: None, label_smoothing }));
        }
    }
}
