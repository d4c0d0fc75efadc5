//! Plain gradient descent of a line through one column: weight and bias stay in registers from step to step.

use std::hint::black_box;

use super::column_loss::{CHAINS, PIECE, PieceSums, SQUARED_ERROR_CHAINS};
use super::element::Element;
use super::lanes::Lanes;
use super::level::{self, Kernel};
use super::output_loss::OutputLoss;

/// Steps of one output `weight input + bias`, each over all rows.
pub struct ColumnDescent<'a, T> {
    pub inputs: &'a [T],
    /// As many as the inputs.
    pub targets: &'a [T],
    pub loss: OutputLoss<T>,
    /// What the rows count together.
    pub rows_weight: f64,
    pub lr: T,
    /// Weight and bias at the start; 0 for the bias that there is not.
    pub start: [T; 2],
    pub has_bias: bool,
}

/// Who is asked before each step, and told of it.
pub trait Supervisor {
    /// Begins a step from this mean loss, along a mean gradient whose norm has this square, or says that it is not to be taken.
    fn begin_step(&mut self, loss: f64, squared_norm: f64) -> bool;

    /// Hears that this step has been taken, and says whether to go on.
    fn step_taken(&mut self, loss: f64, squared_norm: f64) -> bool;
}

/// Where a descent has come to.
pub struct Descended<T> {
    /// Weight and bias.
    pub values: [T; 2],
    /// The mean gradient of the last step, 0 if there was none. What is there for a bias that there is not means nothing.
    pub gradient: [T; 2],
}

impl<T: Element> ColumnDescent<'_, T> {
    /// Whether the rows are few enough.
    pub fn is_short(&self) -> bool {
        self.inputs.len() <= PIECE
    }

    /// Goes on while the supervisor lets it. Sums, quotients and steps are to the bit those of
    /// [`linear_loss`](super::linear_loss()), [`quotient`](super::quotient) and [`add_scaled`](super::add_scaled).
    ///
    /// # Panics
    /// If the rows are not [few enough](ColumnDescent::is_short).
    pub fn run(self, supervisor: &mut impl Supervisor) -> Descended<T> {
        assert!(self.is_short(), "{} rows are too many", self.inputs.len());
        level::run(SupervisedSteps { descent: self, supervisor })
    }
}

struct SupervisedSteps<'a, 's, T, S> {
    descent: ColumnDescent<'a, T>,
    supervisor: &'s mut S,
}

impl<T: Element, S: Supervisor> Kernel<T> for SupervisedSteps<'_, '_, T, S> {
    type Output = Descended<T>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Descended<T> {
        let divisor = T::from_f64(self.descent.rows_weight);
        match self.descent.loss {
            // Its sums are half the gradient. Nothing is rounded by halving: the quotient is the same.
            OutputLoss::SquaredError => {
                self.steps::<V, SQUARED_ERROR_CHAINS>(OutputLoss::SquaredError, divisor / (T::one() + T::one()))
            }
            loss @ (OutputLoss::Huber { .. } | OutputLoss::Logistic { .. }) => self.steps::<V, CHAINS>(loss, divisor),
        }
    }
}

impl<T: Element, S: Supervisor> SupervisedSteps<'_, '_, T, S> {
    /// The loss is given by itself, that the compiler may know it, and what the sums of its gradient are divided by.
    #[inline(always)]
    fn steps<V: Lanes<Element = T>, const N: usize>(self, loss: OutputLoss<T>, divisor: T) -> Descended<T> {
        let SupervisedSteps { descent, supervisor } = self;
        let ColumnDescent { inputs, targets, rows_weight, lr, start, has_bias, .. } = descent;
        let bias_lr = if has_bias { lr } else { T::zero() };
        let (mut values, mut gradient) = (start, [T::zero(); 2]);
        let mut sums = PieceSums::of::<V, N>(inputs, targets, values, loss);
        loop {
            let mean = sums.gradient.map(|sum| sum / divisor);
            let mean_loss = sums.loss / rows_weight;
            let bias_square = if has_bias { (mean[1] * mean[1]).as_f64() } else { 0.0 };
            let squared_norm = (mean[0] * mean[0]).as_f64() + bias_square;
            if !supervisor.begin_step(mean_loss, squared_norm) {
                break;
            }
            gradient = mean;
            values[0] += -lr * mean[0];
            values[1] += -bias_lr * mean[1];
            // Added up before the step is told of: the processor does both at a time. Left to itself, the compiler puts the last
            // additions, which the next step waits for, behind it.
            sums = black_box(PieceSums::of::<V, N>(inputs, targets, values, loss));
            if !supervisor.step_taken(mean_loss, squared_norm) {
                break;
            }
        }
        Descended { values, gradient }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{numbers, on_every_level};
    use crate::kernels::{RowIndex, RowTargets, Rows, add_scaled, linear_loss, quotient, sum_of_squares};

    /// Lets so many steps be taken, and ends the descent before the next one, or as it hears of the last.
    struct Few {
        steps: usize,
        ends_before: bool,
        told: Vec<(f64, f64)>,
    }

    impl Supervisor for Few {
        fn begin_step(&mut self, _: f64, _: f64) -> bool {
            self.told.len() < self.steps
        }

        fn step_taken(&mut self, loss: f64, squared_norm: f64) -> bool {
            self.told.push((loss, squared_norm));
            self.ends_before || self.told.len() < self.steps
        }
    }

    #[test]
    fn steps_are_those_of_the_other_kernels_to_the_bit() {
        on_every_level(|| {
            for rows in [1, 2, 7, 8, 16, 33, 64, 100, PIECE] {
                for has_bias in [true, false] {
                    check::<f64>(rows, has_bias);
                    check::<f32>(rows, has_bias);
                }
            }
        });
    }

    fn check<T: Element + std::fmt::Debug>(rows: usize, has_bias: bool) {
        let (inputs, mut start): (Vec<T>, Vec<T>) = (numbers(rows, 1), numbers(2, 2));
        if !has_bias {
            start[1] = T::zero();
        }
        let targets: Vec<T> = (0..rows).map(|i| T::from_f64((i % 3) as f64 / 2.0)).collect();
        let logistic = OutputLoss::Logistic { pos_weight: T::from_f64(2.5) };
        let huber = OutputLoss::Huber { delta: T::from_f64(0.5) };
        for loss in [OutputLoss::SquaredError, huber, logistic] {
            for (steps, ends_before) in [(0, true), (1, true), (1, false), (5, true), (5, false)] {
                let descent = ColumnDescent {
                    inputs: &inputs,
                    targets: &targets,
                    loss,
                    rows_weight: rows as f64,
                    lr: T::from_f64(0.3),
                    start: [start[0], start[1]],
                    has_bias,
                };
                let mut few = Few { steps, ends_before, told: Vec::new() };
                let Descended { values, gradient } = descent.run(&mut few);

                let (mut weight, mut bias) = (vec![start[0]], vec![start[1]]);
                let (mut told, mut mean) = (Vec::new(), [T::zero(); 2]);
                for _ in 0..steps {
                    let matrix = Rows::new(&inputs, 1, RowIndex::range(0, rows));
                    let (mut of_weight, mut of_bias) = ([T::zero()], [T::zero()]);
                    let of_bias_if_any = if has_bias { &mut of_bias[..] } else { &mut [] };
                    let layer_bias = if has_bias { &bias[..] } else { &[] };
                    let sum = linear_loss(
                        &matrix,
                        [&weight, layer_bias],
                        RowTargets::new(&targets),
                        loss,
                        [&mut of_weight, of_bias_if_any],
                    );
                    let divisor = T::from_f64(rows as f64);
                    quotient(&mut mean[..1], &of_weight, divisor);
                    add_scaled(&mut weight, -T::from_f64(0.3), &mean[..1]);
                    let mut square = sum_of_squares(&mean[..1]).as_f64();
                    if has_bias {
                        quotient(&mut mean[1..], &of_bias, divisor);
                        add_scaled(&mut bias, -T::from_f64(0.3), &mean[1..]);
                        square += sum_of_squares(&mean[1..]).as_f64();
                    }
                    told.push((sum / rows as f64, square));
                }
                assert_eq!(few.told, told, "{loss:?} of {rows} rows");
                assert_eq!(values, [weight[0], bias[0]], "{loss:?} of {rows} rows, {steps} steps");
                assert_eq!(gradient[..1 + usize::from(has_bias)], mean[..1 + usize::from(has_bias)]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "1025 rows are too many")]
    fn too_many_rows_are_refused() {
        let many = vec![0.0; PIECE + 1];
        let descent = ColumnDescent {
            inputs: &many,
            targets: &many,
            loss: OutputLoss::SquaredError,
            rows_weight: 1.0,
            lr: 0.1,
            start: [0.0; 2],
            has_bias: true,
        };
        descent.run(&mut Few { steps: 0, ends_before: true, told: Vec::new() });
    }
}
