//! Losses of many rows at once, each with its gradient: squared error and logistic loss for one output a row, softmax
//! cross-entropy for several.

use num_traits::{Float, One, Zero};

use super::element::Element;
use super::exponential::{exp, ln_1p};
use super::lanes::{Lanes, load, store};
use super::level::Kernel;
use super::rows::RowIndex;

/// A loss of one output and its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutputLoss<T> {
    /// `(p - y)^2`, with the derivative `2 (p - y)`.
    SquaredError,
    /// `pos_weight y ln(1+exp(-z)) + (1-y) ln(1+exp(z))` of a logit z.
    Logistic {
        /// What a row of target 1 counts.
        pos_weight: T,
    },
}

impl<T: Element> OutputLoss<T> {
    /// The losses of outputs and targets, and their derivatives.
    #[inline(always)]
    pub(super) fn of<V: Lanes<Element = T>>(self, output: V, target: V) -> (V, V) {
        match self {
            OutputLoss::SquaredError => {
                let error = output.sub(target);
                (error.mul(error), error.add(error))
            }
            OutputLoss::Logistic { pos_weight } => logistic(output, target, V::splat(pos_weight)),
        }
    }
}

/// The sum of the losses of rows of one output. Writes its derivative over `gradient`. `outputs` and `gradient` are
/// `[rows]`; `targets` holds the values of all rows that `rows` may name.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn output_loss<T: Element>(
    outputs: &[T],
    targets: &[T],
    rows: RowIndex<'_>,
    loss: OutputLoss<T>,
    gradient: &mut [T],
) -> f64 {
    assert!(outputs.len() == rows.len() && gradient.len() == rows.len(), "one output for each row");
    T::run_output_losses(SumOutputLoss { pairs: Pairs { outputs, targets, rows, gradient }, loss })
}

/// The sum of `ln(sum exp(z)) - z_label` over rows of several logits. Writes `softmax - onehot` over `gradient`. `logits`
/// and `gradient` are `[rows, classes]`; `labels` holds the classes of all rows that `rows` may name.
///
/// # Panics
/// If the lengths do not fit each other, or a label is not below the number of classes.
pub fn softmax_cross_entropy<T: Element>(
    logits: &[T],
    labels: &[usize],
    rows: RowIndex<'_>,
    gradient: &mut [T],
) -> f64 {
    assert_eq!(logits.len(), gradient.len(), "a gradient for each logit");
    if rows.is_empty() {
        return 0.0;
    }
    assert_eq!(logits.len() % rows.len(), 0, "as many logits for each row");
    T::run_softmax_cross_entropy(SoftmaxCrossEntropy { logits, labels, rows, gradient })
}

/// Rows of one output, their targets, and where the gradient goes.
pub(super) struct Pairs<'a, T> {
    /// `[rows]`, as is the gradient.
    pub outputs: &'a [T],
    /// The values of all rows.
    pub targets: &'a [T],
    pub rows: RowIndex<'a>,
    pub gradient: &'a mut [T],
}

impl<T: Element> Pairs<'_, T> {
    /// The sum of the losses.
    #[inline(always)]
    pub fn sum<V: Lanes<Element = T>>(self, loss: OutputLoss<T>) -> f64 {
        const { assert!(V::LANES <= MOST_LANES) };
        assert_eq!(self.outputs.len(), self.gradient.len());
        /// Pieces whose sum keeps the precision of its terms: more are added up in double precision.
        const TOGETHER: usize = 32;
        let Pairs { outputs, targets, rows, gradient } = self;
        let (mut total, mut sum, mut together) = (0.0, V::splat(T::zero()), 0);
        let mut place = 0;
        while place < outputs.len() {
            let count = (outputs.len() - place).min(V::LANES);
            let mut gathered = [T::zero(); MOST_LANES];
            let targets = match rows {
                RowIndex::Range { start, .. } => &targets[start + place..start + place + count],
                RowIndex::List(list) => {
                    for (target, &row) in gathered.iter_mut().zip(&list[place..place + count]) {
                        *target = targets[row as usize];
                    }
                    &gathered[..count]
                }
            };
            // SAFETY: from `place` on, outputs and gradient have `count` numbers, as do the targets here.
            unsafe {
                let output: V = load(outputs.as_ptr().add(place), count);
                let (value, derivative) = loss.of(output, load(targets.as_ptr(), count));
                store(derivative, gradient.as_mut_ptr().add(place), count);
                // What an unused lane holds is no row's loss.
                sum = sum.add(if count < V::LANES { value.first(count) } else { value });
            }
            place += count;
            together += 1;
            if together == TOGETHER {
                total += sum.sum().as_f64();
                (sum, together) = (V::splat(T::zero()), 0);
            }
        }
        total + sum.sum().as_f64()
    }
}

/// As many lanes as any register has.
pub(super) const MOST_LANES: usize = 16;

pub struct SumOutputLoss<'a, T> {
    pairs: Pairs<'a, T>,
    loss: OutputLoss<T>,
}

impl<T: Element> Kernel<T> for SumOutputLoss<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> f64 {
        self.pairs.sum::<V>(self.loss)
    }
}

/// `pos_weight y ln(1+exp(-z)) + (1-y) ln(1+exp(z))` and its derivative.
#[inline(always)]
fn logistic<V: Lanes>(z: V, y: V, pos_weight: V) -> (V, V) {
    let (zero, one) = (V::splat(V::Element::zero()), V::splat(V::Element::one()));
    let (positive, negative) = (pos_weight.mul(y), one.sub(y));
    // t = exp(-|z|): the smaller of sigmoid(z) and sigmoid(-z) is t / (1 + t), the other 1 / (1 + t).
    let opposite = zero.sub(z);
    let t = exp(zero.sub(z.max(opposite)));
    let larger = one.div(one.add(t));
    let smaller = t.mul(larger);
    let (sigmoid, complement) = (z.where_negative(smaller, larger), z.where_negative(larger, smaller));
    let softplus_0 = ln_1p(t);
    let softplus = zero.max(z).add(softplus_0);
    let softplus_opposite = zero.max(opposite).add(softplus_0);
    let loss = positive.mul(softplus_opposite).add(negative.mul(softplus));
    (loss, negative.mul(sigmoid).sub(positive.mul(complement)))
}

pub struct SoftmaxCrossEntropy<'a, T> {
    logits: &'a [T],
    labels: &'a [usize],
    rows: RowIndex<'a>,
    gradient: &'a mut [T],
}

impl<T: Element> Kernel<T> for SoftmaxCrossEntropy<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> f64 {
        let classes = self.logits.len() / self.rows.len();
        let mut sum = 0.0;
        let rows = self.logits.chunks_exact(classes).zip(self.gradient.chunks_exact_mut(classes));
        const { assert!(V::LANES <= MOST_LANES) };
        // The odds against the labels of some rows, whose logarithms are taken together.
        let mut odds = [T::zero(); MOST_LANES];
        let mut all_but_one = [T::one(); 2 * MOST_LANES];
        all_but_one[MOST_LANES] = T::zero();
        for (place, (logits, gradient)) in rows.enumerate() {
            let label = self.labels[self.rows.at(place)];
            let lane = place % V::LANES;
            odds[lane] = T::zero();
            let loss = if classes <= V::LANES {
                softmax_register::<V>(logits, label, gradient, &all_but_one)
            } else {
                softmax_row::<V>(logits, label, gradient)
            };
            match loss {
                LabelLoss::Odds(against) => odds[lane] = against,
                LabelLoss::Value(loss) => sum += loss.as_f64(),
            }
            if lane + 1 == V::LANES || place + 1 == self.rows.len() {
                odds[lane + 1..].fill(T::zero());
                // SAFETY: no register has more lanes than the array.
                sum += ln_1p(unsafe { V::load(odds.as_ptr()) }).sum().as_f64();
            }
        }
        sum
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
        let share = V::Element::one() / total;
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

/// One row: writes `softmax - onehot`, and returns the loss.
///
/// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
/// other classes' probabilities have them exactly.
#[inline(always)]
fn softmax_row<V: Lanes>(logits: &[V::Element], label: usize, gradient: &mut [V::Element]) -> LabelLoss<V::Element> {
    let (zero, one) = (V::Element::zero(), V::Element::one());
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
    let share = one / total;
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
    use crate::kernels::test_levels::{close, numbers, on_every_level};
    use crate::kernels::{sigmoid, softplus};

    fn indices(list: &[u32]) -> [RowIndex<'_>; 2] {
        [RowIndex::List(list), RowIndex::Range { start: 3, len: list.len() }]
    }

    #[test]
    fn losses_of_one_output_are_those_of_their_formulas_on_every_level() {
        on_every_level(|| {
            for count in [1, 7, 16, 35, 70] {
                one_output::<f64>(count, 1e-13);
                one_output::<f32>(count, 2e-5);
            }
        });
    }

    fn one_output<T: Element + std::fmt::Debug>(count: usize, tolerance: f64) {
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % 80).collect();
        let outputs: Vec<T> = numbers::<T>(count, 1).iter().map(|&z| z * T::from_f64(20.0)).collect();
        let targets: Vec<T> = numbers::<T>(80, 2).iter().map(|&y| if y > T::zero() { y } else { T::zero() }).collect();
        for rows in indices(&list) {
            let mut gradient = vec![T::nan(); count];
            let loss = output_loss(&outputs, &targets, rows, OutputLoss::SquaredError, &mut gradient);
            let pairs = || (0..count).map(|i| (outputs[i].as_f64(), targets[rows.at(i)].as_f64()));
            close(loss, pairs().map(|(p, y)| (p - y).powi(2)).sum(), tolerance);
            pairs().zip(&gradient).for_each(|((p, y), g)| close(g.as_f64(), 2.0 * (p - y), tolerance));

            let logistic = OutputLoss::Logistic { pos_weight: T::from_f64(2.5) };
            let loss = output_loss(&outputs, &targets, rows, logistic, &mut gradient);
            close(loss, pairs().map(|(z, y)| 2.5 * y * softplus(-z) + (1.0 - y) * softplus(z)).sum(), tolerance);
            for ((z, y), g) in pairs().zip(&gradient) {
                close(g.as_f64(), (1.0 - y) * sigmoid(z) - 2.5 * y * sigmoid(-z), tolerance);
            }
        }
    }

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
        for rows in indices(&list) {
            let mut gradient = vec![T::nan(); count * classes];
            let loss = softmax_cross_entropy(&logits, &labels, rows, &mut gradient);
            let mut expected = 0.0;
            for i in 0..count {
                let z: Vec<f64> = logits[i * classes..(i + 1) * classes].iter().map(|z| z.as_f64()).collect();
                let mut p = vec![0.0; classes];
                let log_sum_exp = crate::kernels::softmax(&z, &mut p);
                let label = labels[rows.at(i)];
                expected += log_sum_exp - z[label];
                for (class, p) in p.iter().enumerate() {
                    let onehot = if class == label { 1.0 } else { 0.0 };
                    close(gradient[i * classes + class].as_f64(), p - onehot, tolerance);
                }
            }
            close(loss, expected, tolerance);
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            let rows = RowIndex::Range { start: 0, len: 1 };
            let mut gradient = [0.0; 3];
            for bad in [f64::NAN, f64::INFINITY] {
                assert!(!softmax_cross_entropy(&[0.0, bad, 1.0], &[0], rows, &mut gradient).is_finite());
                let mut many = [0.5; 3 * 35];
                many[3 * 17] = bad;
                let rows_of_many = RowIndex::Range { start: 0, len: 35 };
                assert!(!softmax_cross_entropy(&many, &[0; 35], rows_of_many, &mut [0.0; 3 * 35]).is_finite());
                for loss in [OutputLoss::SquaredError, OutputLoss::Logistic { pos_weight: 1.0 }] {
                    assert!(!output_loss(&[bad], &[0.0], rows, loss, &mut gradient[..1]).is_finite());
                }
            }
        });
    }
}
