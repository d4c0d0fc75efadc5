//! Softmax cross-entropy of many rows at once, each with its gradient.

use std::ops::{Add, AddAssign};

use num_traits::{Float, One, Zero};

use super::element::Element;
use super::exponential::exp;
use super::lanes::Lanes;
use super::level::Kernel;
use super::rows::{Need, RowIndex, prefetch};
use super::softmax_piece::Piece;

/// The cross-entropy of the outputs' softmax against a class index: `sum_c s_c (ln(sum exp(z)) - z_c)`, where `s_c` is the
/// share of class c: `w_c (onehot_c (1-e) + e/C)` with class weights w, label smoothing e and C classes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SoftmaxLoss<'a> {
    /// What each class counts, `[classes]`. `None`: once.
    pub class_weights: Option<&'a [f64]>,
    /// The share of the target that is spread over all classes, 0 to 1. Default: 0.
    pub label_smoothing: f64,
}

impl SoftmaxLoss<'_> {
    /// What a class counts.
    #[inline(always)]
    pub(super) fn class_weight<T: Element>(&self, class: usize) -> T {
        self.class_weights.map_or(T::one(), |weights| T::from_f64(weights[class]))
    }

    /// What a label's own class counts less for smoothing, and the share that goes to each of so many classes, if any does.
    #[inline(always)]
    pub(super) fn smoothing<T: Element>(&self, classes: usize) -> Option<(T, T)> {
        let spread = self.label_smoothing / classes as f64;
        (self.label_smoothing > 0.0).then(|| (T::from_f64(1.0 - self.label_smoothing), T::from_f64(spread)))
    }

    /// What so many classes count together.
    #[inline(always)]
    pub(super) fn total_class_weight<T: Element>(&self, classes: usize) -> T {
        T::from_f64(self.class_weights.map_or(classes as f64, |weights| weights.iter().sum()))
    }
}

/// A class for each row of a matrix, what each row counts, and the loss they are for.
#[derive(Debug, Clone, Copy)]
pub struct RowLabels<'a, T> {
    /// `[rows]`, those of all rows of the matrix, as are the weights.
    pub classes: &'a [usize],
    /// `None`: every row counts once.
    pub weights: Option<&'a [T]>,
    /// The loss, and what each class counts.
    pub loss: SoftmaxLoss<'a>,
}

impl<'a, T: Element> RowLabels<'a, T> {
    /// Classes, each of which counts once, for plain cross-entropy.
    pub fn new(classes: &'a [usize]) -> Self {
        RowLabels { classes, weights: None, loss: SoftmaxLoss::default() }
    }

    /// Asks for what a row will be asked for.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: usize) {
        prefetch(self.classes.as_ptr().wrapping_add(row), Need::Soon);
        if let Some(weights) = self.weights {
            prefetch(weights.as_ptr().wrapping_add(row), Need::Soon);
        }
    }

    /// The class of a row, and the row's own weight.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> (usize, T) {
        (self.classes[row], self.weights.map_or(T::one(), |weights| weights[row]))
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

/// The sum of the losses of rows of several logits, and that of their weights: each row's own times its class's. Writes the
/// gradient, without smoothing `w (softmax - onehot)`, over `gradient`. `logits` and `gradient` are `[rows, classes]`; `labels` holds those of all rows
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
            let (label, row_weight) = labels.at(row);
            let weight = labels.loss.class_weight::<T>(label) * row_weight;
            let loss = softmax_row::<V>(logits, label, [row_weight, weight], labels.loss, gradient);
            sum += LossSum { loss: loss.as_f64(), weight: weight.as_f64() };
        }
        sum
    }
}

/// One row of its own weight, and of that times its class's: writes the gradient, and returns the loss.
///
/// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
/// other classes' probabilities have them exactly.
#[inline(always)]
fn softmax_row<V: Lanes>(
    logits: &[V::Element],
    label: usize,
    [row_weight, weight]: [V::Element; 2],
    of: SoftmaxLoss<'_>,
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
    let (kept, spread) = of.smoothing(logits.len()).unwrap_or((V::Element::one(), zero));
    // The shares of the label's own and of what is spread.
    let (kept, spread) = (weight * kept, row_weight * spread);
    let spread_over_all = spread * of.total_class_weight(logits.len());
    let share = (kept + spread_over_all) / total;
    for piece in gradient.chunks_mut(V::LANES) {
        // SAFETY: as above.
        unsafe {
            let p = V::load_partial(piece.as_ptr(), piece.len()).mul(V::splat(share));
            p.store_partial(piece.as_mut_ptr(), piece.len());
        }
    }
    gradient[label] = (own * spread_over_all - others * kept) / total;
    let below = logits[label] - largest;
    let mut loss = kept * if others <= own { (others / own).ln_1p() } else { total.ln() - below };
    if spread > zero {
        for (class, (gradient, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
            let share = spread * of.class_weight(class);
            *gradient -= share;
            // A share of 0 must not meet an infinite difference.
            if share > zero {
                loss += share * (total.ln() - (logit - largest));
            }
        }
    }
    loss
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
        for (weights, class_weights) in [(None, None), (Some(&weights[..]), None), (None, Some(&class_weights[..]))] {
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
