//! Softmax cross-entropy of many rows at once, each with its gradient.

use num_traits::{Float, Zero};

use super::element::Element;
use super::exponential::{exp, ln_1p};
use super::lanes::{Lanes, MOST_LANES};
use super::level::Kernel;
use super::rows::RowIndex;

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

    /// The class of a row, and what it counts.
    #[inline(always)]
    fn at(&self, row: usize) -> (usize, T) {
        let class = self.classes[row];
        let of_class = self.class_weights.map_or(T::one(), |weights| T::from_f64(weights[class]));
        (class, self.weights.map_or(of_class, |weights| of_class * weights[row]))
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
) -> (f64, f64) {
    assert_eq!(logits.len(), gradient.len(), "a gradient for each logit");
    if rows.is_empty() {
        return (0.0, 0.0);
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
    type Output = (f64, f64);

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> (f64, f64) {
        let classes = self.logits.len() / self.rows.len();
        let (mut sum, mut total_weight) = (0.0, 0.0);
        let rows = self.logits.chunks_exact(classes).zip(self.gradient.chunks_exact_mut(classes));
        const { assert!(V::LANES <= MOST_LANES) };
        // The odds against the labels of some rows, whose logarithms are taken together, and the rows' weights.
        let mut odds = [T::zero(); MOST_LANES];
        let mut weights = [T::one(); MOST_LANES];
        let mut all_but_one = [T::one(); 2 * MOST_LANES];
        all_but_one[MOST_LANES] = T::zero();
        for (place, (logits, gradient)) in rows.enumerate() {
            let (label, weight) = self.labels.at(self.rows.at(place));
            let lane = place % V::LANES;
            (odds[lane], weights[lane]) = (T::zero(), weight);
            total_weight += weight.as_f64();
            let loss = if classes <= V::LANES {
                softmax_register::<V>(logits, label, weight, gradient, &all_but_one)
            } else {
                softmax_row::<V>(logits, label, weight, gradient)
            };
            match loss {
                LabelLoss::Odds(against) => odds[lane] = against,
                LabelLoss::Value(loss) => sum += (weight * loss).as_f64(),
            }
            if lane + 1 == V::LANES || place + 1 == self.rows.len() {
                odds[lane + 1..].fill(T::zero());
                // SAFETY: no register has more lanes than the arrays.
                let (odds, weights) = unsafe { (V::load(odds.as_ptr()), V::load(weights.as_ptr())) };
                sum += ln_1p(odds).mul(weights).sum().as_f64();
            }
        }
        (sum, total_weight)
    }
}

/// The loss of a row.
enum LabelLoss<T> {
    /// `ln(1 + odds)` of these odds against the label, at most 1.
    Odds(T),
    Value(T),
}

/// The same for a row that fits in a register. `all_but_one` has a 0 in its middle and 1 elsewhere: from `label` before the
/// middle on, it leaves out the label.
#[inline(always)]
fn softmax_register<V: Lanes>(
    logits: &[V::Element],
    label: usize,
    weight: V::Element,
    gradient: &mut [V::Element],
    all_but_one: &[V::Element; 2 * MOST_LANES],
) -> LabelLoss<V::Element> {
    let count = logits.len();
    assert!(label < count && count <= V::LANES && gradient.len() == count, "a label among the logits of a register");
    let mut terms = [V::Element::zero(); MOST_LANES];
    // SAFETY: logits and gradient have `count` numbers, at most a register; a register has no more lanes than `terms` or
    // half of `all_but_one`, and `label` is below that half.
    unsafe {
        let nothing = V::splat(V::Element::neg_infinity());
        let largest = V::load_partial_or(logits.as_ptr(), count, nothing).largest();
        // An unused lane has a term that is left out below; a tiny one, of -inf, would take a processor a hundred times as
        // long.
        let most = V::splat(largest);
        let exps = exp(V::load_partial_or(logits.as_ptr(), count, most).sub(most));
        exps.store(terms.as_mut_ptr());
        let others_only = exps.mul(V::load_partial(all_but_one.as_ptr().add(MOST_LANES - label), count));
        let (own, others) = (terms[label], others_only.sum());
        let total = others + own;
        let share = weight / total;
        others_only.mul(V::splat(share)).store_partial(gradient.as_mut_ptr(), count);
        gradient[label] = -(others * share);
        label_loss(own, others, logits[label] - largest)
    }
}

/// The loss of a label whose term is `own` and whose logit is `below` the largest by so much, at most 0.
#[inline(always)]
fn label_loss<T: Element>(own: T, others: T, below: T) -> LabelLoss<T> {
    if others <= own { LabelLoss::Odds(others / own) } else { LabelLoss::Value((others + own).ln() - below) }
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
) -> LabelLoss<V::Element> {
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
    label_loss(own, others, logits[label] - largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, listed_and_in_line, numbers, on_every_level};

    #[test]
    fn softmax_minus_onehot_and_its_loss_on_every_level() {
        on_every_level(|| {
            for (count, classes, scale) in
                [(1, 1, 1.0), (5, 2, 30.0), (4, 10, 3.0), (35, 3, 2.0), (3, 17, 300.0), (2, 70, 1e6)]
            {
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
        let (loss, total_weight) = softmax_cross_entropy(logits, labels, rows, &mut gradient);
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
        close(loss, expected, tolerance);
        close(total_weight, expected_weight, tolerance);
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            let rows = RowIndex::range(0, 1);
            let mut gradient = [0.0; 3];
            for bad in [f64::NAN, f64::INFINITY] {
                let (loss, _) = softmax_cross_entropy(&[0.0, bad, 1.0], RowLabels::new(&[0]), rows, &mut gradient);
                assert!(!loss.is_finite());
                let mut many = [0.5; 3 * 35];
                many[3 * 17] = bad;
                let all = RowIndex::range(0, 35);
                let (loss, _) = softmax_cross_entropy(&many, RowLabels::new(&[0; 35]), all, &mut [0.0; 3 * 35]);
                assert!(!loss.is_finite());
            }
        });
    }
}
