//! Loss and gradient of a linear layer with one output, in one pass over the rows: each block of them goes forward and
//! back while it is in the cache nearest to the processor.

use super::backward::add_bias;
use super::block_rows::{BlockRows, MOST_ROWS, NEAREST_BYTES, OutputGradient};
use super::column_loss::ColumnLoss;
use super::element::Element;
use super::forward::{GroupRows, WeightRows, tile};
use super::lanes::{GROUP, Lanes};
use super::level::Kernel;
use super::linear_squared_error::LinearSquaredError;
use super::output_loss::{OutputLoss, Pairs, RowTargets};
use super::rows::{Need, Rows};

/// The sum of the losses of rows of one output `weight row + bias`. Writes its gradient over `weight_gradient`, `[width]`,
/// and `bias_gradient`, `[1]` or empty as is `bias`. `weight` is `[width]`; `targets` holds those of all rows of the matrix.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn linear_loss<T: Element>(
    rows: &Rows<'_, T>,
    [weight, bias]: [&[T]; 2],
    targets: RowTargets<'_, T>,
    loss: OutputLoss<T>,
    [weight_gradient, bias_gradient]: [&mut [T]; 2],
) -> f64 {
    let width = rows.width();
    assert!(weight.len() == width && weight_gradient.len() == width, "a weight and a gradient for each column");
    assert!(bias.len() <= 1 && bias_gradient.len() == bias.len(), "one bias and its gradient, or none");
    if let ([weight], [weight_gradient], None) = (weight, &mut *weight_gradient, targets.weights)
        && let Some(place) = rows.index().as_range()
        && let Some(inputs) = rows.contiguous()
    {
        let targets = &targets.values[place];
        let bias = bias.first().copied().unwrap_or(T::zero());
        let weight = *weight;
        return T::run_column_loss(ColumnLoss { inputs, targets, weight, bias, loss, weight_gradient, bias_gradient });
    }
    in_blocks(LinearLoss { rows, weight, bias, targets, loss, weight_gradient, bias_gradient })
}

/// The same for rows of several columns, or rows in any order. A function of its own: what it needs on the stack would
/// slow down a single column.
#[inline(never)]
fn in_blocks<T: Element>(layer: LinearLoss<'_, T>) -> f64 {
    if layer.loss == OutputLoss::SquaredError && layer.targets.weights.is_none() {
        let LinearLoss { rows, weight, bias, targets: RowTargets { values: targets, .. }, .. } = layer;
        let sum = T::run_linear_squared_error(LinearSquaredError {
            rows,
            weight,
            bias,
            targets,
            weight_gradient: &mut *layer.weight_gradient,
            bias_gradient: &mut *layer.bias_gradient,
        });
        if let Some(sum) = sum {
            return sum;
        }
    }
    T::run_linear_loss(layer)
}

pub struct LinearLoss<'a, T> {
    rows: &'a Rows<'a, T>,
    weight: &'a [T],
    bias: &'a [T],
    targets: RowTargets<'a, T>,
    loss: OutputLoss<T>,
    weight_gradient: &'a mut [T],
    bias_gradient: &'a mut [T],
}

/// The fewest, as many as share a register of losses: rows of more than 1 KiB come back from the next cache.
const FEWEST_ROWS: usize = 16;

impl<T: Element> Kernel<T> for LinearLoss<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> f64 {
        let row_bytes = self.rows.width() * size_of::<T>();
        let block = (NEAREST_BYTES / row_bytes.max(1)).clamp(FEWEST_ROWS, MOST_ROWS) / GROUP * GROUP;
        // A block that the nearest cache has no room for waits in the next.
        if block * row_bytes <= NEAREST_BYTES { self.sum::<V, true>(block) } else { self.sum::<V, false>(block) }
    }
}

impl<T: Element> LinearLoss<'_, T> {
    /// The sum of the losses, of `block` rows at a time, which are read `ONCE` from memory or further in.
    #[inline(always)]
    fn sum<V: Lanes<Element = T>, const ONCE: bool>(self, block: usize) -> f64 {
        let (rows, width) = (self.rows, self.rows.width());
        // Known to the compiler: the loops that fetch do not ask for each line.
        let need = if ONCE { Need::Once } else { Need::Soon };
        let ahead_rows = rows.distance_ahead(need).max(block.min(rows.len()));
        let bias = self.bias.first().copied().unwrap_or(T::zero());
        let mut outputs = [T::zero(); MOST_ROWS];
        let mut gradient = [T::zero(); MOST_ROWS];
        let weight = WeightRows { first: self.weight.as_ptr(), step: width };
        let mut block_rows = BlockRows::new();
        if rows.is_empty() {
            self.weight_gradient.fill(T::zero());
        }
        self.bias_gradient.fill(T::zero());
        let (mut sum, mut place) = (0.0, 0);
        while place < rows.len() {
            let count = (rows.len() - place).min(block);
            for &row in block_rows.find(rows, place, count, ahead_rows) {
                self.targets.prefetch(row);
            }
            for first in block_rows.groups() {
                let GroupRows { inputs, next, .. } = block_rows.group(first, 0..width, need);
                // SAFETY: `Rows::new` has found each row's `width` numbers to be there, and `linear_loss` the weight's.
                let [sums] = unsafe { tile::<V, 1>(&inputs, &next, &[], need, weight, width) };
                for (output, sum) in outputs[first..].iter_mut().zip(sums) {
                    *output = sum + bias;
                }
            }
            let pairs = Pairs {
                outputs: &outputs[..count],
                targets: self.targets,
                rows: rows.index().part(place, place + count),
                gradient: &mut gradient[..count],
            };
            sum += pairs.sum::<V>(self.loss);
            add_bias::<V>(&gradient[..count], self.bias_gradient);
            let output_gradient = OutputGradient::by_row(&gradient[..count], 1);
            let block = block_rows.back(width, need, output_gradient, place == 0);
            // SAFETY: `Rows::new` has found each row's numbers to be there, `linear_loss` those of the weight's gradient, and
            // there is a number for each row of the only output.
            unsafe { block.add_output::<V>(0, self.weight_gradient) };
            place += count;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, numbers, on_every_level};
    use crate::kernels::{RowIndex, linear_backward, linear_forward, output_loss};

    #[test]
    fn one_pass_is_forward_loss_and_backward_on_odd_shapes() {
        on_every_level(|| {
            for width in [0, 1, 2, 3, 15, 16, 17, 32, 33, 40, 45, 56, 61, 64, 65, 70, 90, 100, 128, 129, 300] {
                for count in [0, 1, 2, 5, 16, 63, 64, 65, 131] {
                    for bias in [true, false] {
                        check::<f64>(count, width, bias, 1e-12);
                        check::<f32>(count, width, bias, 2e-4);
                    }
                }
            }
            // Rows that are fetched within the batch, from further on than the cache has room for.
            check::<f64>(1100, 40, true, 1e-11);
            check::<f32>(1100, 100, true, 1e-3);
            // Past a piece of a column.
            check::<f64>(2500, 1, true, 1e-11);
        });
    }

    #[test]
    fn what_is_not_finite_shows() {
        on_every_level(|| {
            for width in [1, 3, 40] {
                for bad in [f64::NAN, f64::INFINITY] {
                    for place in [0, 17, 34] {
                        let mut matrix = vec![0.5; 35 * width];
                        matrix[place * width] = bad;
                        let rows = Rows::new(&matrix, width, RowIndex::range(0, 35));
                        for loss in [
                            OutputLoss::SquaredError,
                            OutputLoss::Huber { delta: 1.0 },
                            OutputLoss::Logistic { pos_weight: 1.0 },
                        ] {
                            let mut gradient = vec![0.0; width];
                            let targets = RowTargets::new(&[0.5; 35]);
                            let weight = vec![1.0; width];
                            let found = linear_loss(&rows, [&weight, &[]], targets, loss, [&mut gradient, &mut []]);
                            assert!(!found.is_finite(), "{loss:?} of {bad} in row {place} of {width} columns: {found}");
                        }
                    }
                }
            }
        });
    }

    fn check<T: Element + std::fmt::Debug>(count: usize, width: usize, bias: bool, tolerance: f64) {
        let all = count + 7;
        let (matrix, weight): (Vec<T>, Vec<T>) = (numbers(all * width, 1), numbers(width, 2));
        let bias: Vec<T> = if bias { numbers(1, 3) } else { Vec::new() };
        let targets: Vec<T> = (0..all).map(|i| T::from_f64((i % 3) as f64 / 2.0)).collect();
        let weights: Vec<T> = (0..all).map(|i| T::from_f64((i % 4) as f64)).collect();
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % all as u32).collect();
        for index in [RowIndex::list(&list), RowIndex::range(2, count)] {
            let logistic = OutputLoss::Logistic { pos_weight: T::from_f64(2.5) };
            let huber = OutputLoss::Huber { delta: T::from_f64(0.5) };
            let losses = [OutputLoss::SquaredError, huber, logistic];
            for (loss, weighted) in losses.into_iter().flat_map(|loss| [(loss, false), (loss, true)]) {
                let targets = RowTargets { values: &targets, weights: weighted.then_some(&weights[..]) };
                let rows = Rows::new(&matrix, width, index);
                let (mut outputs, mut gradient) = (vec![T::zero(); count], vec![T::zero(); count]);
                linear_forward(&rows, &weight, &bias, &mut outputs);
                let expected = output_loss(&outputs, targets, index, loss, &mut gradient);
                let (mut of_weight, mut of_bias) = (vec![T::zero(); width], vec![T::zero(); bias.len()]);
                linear_backward(&rows, &gradient, &mut of_weight, &mut of_bias);

                // What is there is written over.
                let (mut weight_gradient, mut bias_gradient): (Vec<T>, Vec<T>) =
                    (numbers(width, 4), numbers(bias.len(), 5));
                let ahead = RowIndex::list(&list[..count / 2]);
                let gradients = [&mut weight_gradient[..], &mut bias_gradient[..]];
                let found = linear_loss(&rows.ahead(ahead), [&weight, &bias], targets, loss, gradients);
                close(found, expected, tolerance);
                for (found, expected) in
                    weight_gradient.iter().chain(&bias_gradient).zip(of_weight.iter().chain(&of_bias))
                {
                    close(found.as_f64(), expected.as_f64(), tolerance);
                }
            }
        }
    }
}
