//! Softmax cross-entropy of many rows at once, each with its gradient.

use std::ops::{Add, AddAssign};

use num_traits::{Float, Zero};

use super::element::Element;
use super::exponential::exp;
use super::lanes::Lanes;
use super::level::Kernel;
use super::rows::{Need, RowIndex, prefetch};
use super::softmax_piece::Piece;

/// The cross-entropy of the outputs' softmax against a class index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftmaxLoss<'a> {
    /// What the rows of each class count, `[classes]`. `None`: once.
    pub class_weights: Option<&'a [f64]>,
}

/// A class for each row of a matrix, and what each row counts: its own weight times that of its class.
#[derive(Debug, Clone, Copy)]
pub struct RowLabels<'a, T> {
    /// `[rows]`, those of all rows of the matrix, as are the weights.
    pub classes: &'a [usize],
    /// `None`: every row counts once.
    pub weights: Option<&'a [T]>,
    /// `[classes]`. `None`: every class counts once.
    pub class_weights: Option<&'a [f64]>,
}

impl<'a, T: Element> RowLabels<'a, T> {
    /// Classes, each of which counts once.
    pub fn new(classes: &'a [usize]) -> Self {
        RowLabels { classes, weights: None, class_weights: None }
    }

    /// The same with what each class counts for a loss.
    pub fn counted_by(self, loss: SoftmaxLoss<'a>) -> Self {
        RowLabels { class_weights: loss.class_weights, ..self }
    }

    /// Asks for what a row will be asked for.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: usize) {
        prefetch(self.classes.as_ptr().wrapping_add(row), Need::Soon);
        if let Some(weights) = self.weights {
            prefetch(weights.as_ptr().wrapping_add(row), Need::Soon);
        }
    }

    /// The class of a row, and what it counts.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> (usize, T) {
        let class = self.classes[row];
        let of_class = self.class_weights.map_or(T::one(), |weights| T::from_f64(weights[class]));
        (class, self.weights.map_or(of_class, |weights| of_class * weights[row]))
    }
}

/// What several rows cost, before any division.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// The sum of the rows' losses.
    pub loss: f64,
    /// The sum of their weights.
    pub weight: f64,
}

impl Add for LossSum {
    type Output = LossSum;

    fn add(self, other: LossSum) -> LossSum {
        LossSum { loss: self.loss + other.loss, weight: self.weight + other.weight }
    }
}

impl AddAssign for LossSum {
    fn add_assign(&mut self, other: LossSum) {
        *self = *self + other;
    }
}

/// The sum of `w (ln(sum exp(z)) - z_label)` over rows of several logits, and that of their weights w. Writes
/// `w (softmax - onehot)` over `gradient`. `logits` and `gradient` are `[rows, classes]`; `labels` holds those of all rows
/// that `rows` may name.
///
/// # Panics
/// If the lengths do not fit each other, or a label is not below the number of classes.
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
    assert_eq!(logits.len() % rows.len(), 0, "as many logits for each row");
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
        if let Some(mut piece) = Piece::of::<V>(classes) {
            let numbers = piece.rows() * classes;
            let pieces = logits.chunks(numbers).zip(gradient.chunks_mut(numbers));
            for (number, (logits, gradient)) in pieces.enumerate() {
                let place = number * piece.rows();
                piece.read_rows(logits);
                sum += piece.add_up::<V>(labels, rows.part(place, place + piece.rows()));
                piece.write_rows(gradient);
            }
            return sum;
        }
        let each = rows.iter().zip(logits.chunks_exact(classes)).zip(gradient.chunks_exact_mut(classes));
        for ((row, logits), gradient) in each {
            let (label, weight) = labels.at(row);
            let loss = softmax_row::<V>(logits, label, weight, gradient);
            sum += LossSum { loss: (weight * loss).as_f64(), weight: weight.as_f64() };
        }
        sum
    }
}

/// One row: writes `weight (softmax - onehot)`, and returns the loss, unweighted.
///
/// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
/// other classes' probabilities have them exactly.
#[inline(always)]
fn softmax_row<V: Lanes>(
    logits: &[V::Element],
    label: usize,
    weight: V::Element,
    gradient: &mut [V::Element],
) -> V::Element {
    let zero = V::Element::zero();
    let nothing = V::splat(V::Element::neg_infinity());
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
    let own = std::mem::replace(&mut gradient[label], zero);
    let mut sum = V::splat(zero);
    for piece in gradient.chunks(V::LANES) {
        // SAFETY: as above.
        sum = sum.add(unsafe { V::load_partial(piece.as_ptr(), piece.len()) });
    }
    let others = sum.sum();
    let total = others + own;
    let share = weight / total;
    for piece in gradient.chunks_mut(V::LANES) {
        // SAFETY: as above.
        unsafe {
            let p = V::load_partial(piece.as_ptr(), piece.len()).mul(V::splat(share));
            p.store_partial(piece.as_mut_ptr(), piece.len());
        }
    }
    gradient[label] = -(others * share);
    if others <= own { (others / own).ln_1p() } else { total.ln() - (logits[label] - largest) }
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
            let labels = RowLabels { classes: &labels, weights, class_weights };
            listed_and_in_line(&list).into_iter().for_each(|rows| several_rows(&logits, labels, rows, tolerance));
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
        let (mut expected, mut expected_weight) = (0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            let label = labels.classes[row];
            let weight = labels.weights.map_or(1.0, |weights| weights[row].as_f64())
                * labels.class_weights.map_or(1.0, |weights| weights[label]);
            let z: Vec<f64> = logits[i * classes..(i + 1) * classes].iter().map(|z| z.as_f64()).collect();
            let mut p = vec![0.0; classes];
            let log_sum_exp = crate::kernels::softmax(&z, &mut p);
            expected += weight * (log_sum_exp - z[label]);
            for (class, p) in p.iter().enumerate() {
                let onehot = if class == label { 1.0 } else { 0.0 };
                close(gradient[i * classes + class].as_f64(), weight * (p - onehot), tolerance);
            }
            expected_weight += weight;
        }
        close(sum.loss, expected, tolerance);
        close(sum.weight, expected_weight, tolerance);
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            let rows = RowIndex::range(0, 1);
            let mut gradient = [0.0; 3];
            for bad in [f64::NAN, f64::INFINITY] {
                let LossSum { loss, .. } =
                    softmax_cross_entropy(&[0.0, bad, 1.0], RowLabels::new(&[0]), rows, &mut gradient);
                assert!(!loss.is_finite());
                let mut many = [0.5; 3 * 35];
                many[3 * 17] = bad;
                let all = RowIndex::range(0, 35);
                let LossSum { loss, .. } =
                    softmax_cross_entropy(&many, RowLabels::new(&[0; 35]), all, &mut [0.0; 3 * 35]);
                assert!(!loss.is_finite());
            }
        });
    }
}
