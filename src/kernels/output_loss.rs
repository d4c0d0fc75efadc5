//! Losses of one output a row, many rows at once, each with its derivative.

use num_traits::{One, Zero};

use super::element::Element;
use super::exponential::{exp, ln_1p};
use super::lanes::{Lanes, MOST_LANES, first_lanes, load, store};
use super::level::Kernel;
use super::rows::{RowIndex, prefetch_of_row};

/// A loss of one output and its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutputLoss<T> {
    /// `(p - y)^2`, with the derivative `2 (p - y)`.
    SquaredError,
    /// With `e = p - y`, `e^2 / 2` where `|e| <= delta`, and `delta (|e| - delta/2)` beyond.
    Huber {
        /// Where squared turns into linear.
        delta: T,
    },
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
            OutputLoss::Huber { delta } => huber(output.sub(target), V::splat(delta)),
            OutputLoss::Logistic { pos_weight } => logistic(output, target, V::splat(pos_weight)),
        }
    }
}

/// A value to predict for each row of a matrix, and what each row counts.
#[derive(Debug, Clone, Copy)]
pub struct RowTargets<'a, T> {
    /// `[rows]`, those of all rows of the matrix, as are the weights.
    pub values: &'a [T],
    /// What the loss of each row, and its gradient, are multiplied by. `None`: every row counts once.
    pub weights: Option<&'a [T]>,
}

impl<'a, T: Element> RowTargets<'a, T> {
    /// Values, each of which counts once.
    pub fn new(values: &'a [T]) -> Self {
        RowTargets { values, weights: None }
    }

    /// Asks for what a row will be asked for.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: usize) {
        prefetch_of_row(self.values, self.weights, row);
    }

    /// What rows count together.
    ///
    /// # Panics
    /// If a row has no weight.
    pub fn total_weight(&self, rows: RowIndex<'_>) -> f64 {
        match self.weights {
            Some(weights) => rows.iter().map(|row| weights[row].as_f64()).sum(),
            None => rows.len() as f64,
        }
    }
}

/// The sum of the losses of rows of one output. Writes its derivative over `gradient`. `outputs` and `gradient` are
/// `[rows]`; `targets` holds those of all rows that `rows` may name.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn output_loss<T: Element>(
    outputs: &[T],
    targets: RowTargets<'_, T>,
    rows: RowIndex<'_>,
    loss: OutputLoss<T>,
    gradient: &mut [T],
) -> f64 {
    assert!(outputs.len() == rows.len() && gradient.len() == rows.len(), "one output for each row");
    T::run_output_losses(SumOutputLoss { pairs: Pairs { outputs, targets, rows, gradient }, loss })
}

/// Rows of one output, their targets, and where the gradient goes.
pub(super) struct Pairs<'a, T> {
    /// `[rows]`, as is the gradient.
    pub outputs: &'a [T],
    /// Those of all rows.
    pub targets: RowTargets<'a, T>,
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
        let (mut values, mut weights) = ([T::zero(); MOST_LANES], [T::zero(); MOST_LANES]);
        let mut place = 0;
        while place < outputs.len() {
            let count = (outputs.len() - place).min(V::LANES);
            let values = rows.gather(place, targets.values, &mut values[..count]);
            let weights = targets.weights.map(|all| rows.gather(place, all, &mut weights[..count]));
            // SAFETY: from `place` on, outputs and gradient have `count` numbers, as have values and weights here.
            unsafe {
                let output: V = load(outputs.as_ptr().add(place), count);
                let (mut value, mut derivative) = loss.of(output, load(values.as_ptr(), count));
                if let Some(weights) = weights {
                    let weight: V = load(weights.as_ptr(), count);
                    (value, derivative) = (value.mul(weight), derivative.mul(weight));
                }
                store(derivative, gradient.as_mut_ptr().add(place), count);
                // What an unused lane holds is no row's loss.
                sum = sum.add(first_lanes(value, count));
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

/// Huber's loss of an error and its derivative, which is the error limited to `-delta ..= delta`.
#[inline(always)]
fn huber<V: Lanes>(error: V, delta: V) -> (V, V) {
    let zero = V::splat(V::Element::zero());
    // The smaller of two is the opposite of the larger of their opposites.
    let least = zero.sub(delta);
    let derivative = zero.sub(least.max(zero.sub(least.max(error))));
    let half = derivative.mul(V::splat(V::Element::from_f64(0.5)));
    (derivative.mul(error.sub(half)), derivative)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, listed_and_in_line, numbers, on_every_level};
    use crate::kernels::{sigmoid, softplus};

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
        let values: Vec<T> = numbers::<T>(80, 2).iter().map(|&y| if y > T::zero() { y } else { T::zero() }).collect();
        let weights: Vec<T> = (0..80).map(|i| T::from_f64((i % 4) as f64 / 2.0)).collect();
        let huber = |e: f64| if e.abs() <= 2.0 { e * e / 2.0 } else { 2.0 * (e.abs() - 1.0) };
        let logistic = |z: f64, y: f64| 2.5 * y * softplus(-z) + (1.0 - y) * softplus(z);
        let slope = |z: f64, y: f64| (1.0 - y) * sigmoid(z) - 2.5 * y * sigmoid(-z);
        type Formula<'a> = &'a dyn Fn(f64, f64) -> f64;
        let formulas: [(OutputLoss<f64>, Formula, Formula); 3] = [
            (OutputLoss::SquaredError, &|p, y| (p - y).powi(2), &|p, y| 2.0 * (p - y)),
            (OutputLoss::Huber { delta: 2.0 }, &|p, y| huber(p - y), &|p, y| (p - y).clamp(-2.0, 2.0)),
            (OutputLoss::Logistic { pos_weight: 2.5 }, &logistic, &slope),
        ];
        for (loss, value, derivative) in formulas {
            let loss = match loss {
                OutputLoss::SquaredError => OutputLoss::SquaredError,
                OutputLoss::Huber { delta } => OutputLoss::Huber { delta: T::from_f64(delta) },
                OutputLoss::Logistic { pos_weight } => OutputLoss::Logistic { pos_weight: T::from_f64(pos_weight) },
            };
            for (rows, weights) in
                listed_and_in_line(&list).into_iter().flat_map(|rows| [(rows, None), (rows, Some(&weights[..]))])
            {
                let targets = RowTargets { values: &values, weights };
                let mut gradient = vec![T::nan(); count];
                let found = output_loss(&outputs, targets, rows, loss, &mut gradient);
                let mut expected = 0.0;
                for (i, row) in rows.iter().enumerate() {
                    let (p, y) = (outputs[i].as_f64(), values[row].as_f64());
                    let weight = weights.map_or(1.0, |weights| weights[row].as_f64());
                    expected += weight * value(p, y);
                    close(gradient[i].as_f64(), weight * derivative(p, y), tolerance);
                }
                close(found, expected, tolerance);
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            let rows = RowIndex::range(0, 1);
            let mut gradient = [0.0];
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let (huber, logistic) = (OutputLoss::Huber { delta: 1.0 }, OutputLoss::Logistic { pos_weight: 1.0 });
                for loss in [OutputLoss::SquaredError, huber, logistic] {
                    let targets = RowTargets::new(&[0.5]);
                    assert!(!output_loss(&[bad], targets, rows, loss, &mut gradient).is_finite(), "{loss:?} of {bad}");
                }
            }
        });
    }
}
