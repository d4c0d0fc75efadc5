//! Plain gradient descent of a line through one column: weight and bias stay in registers from step to step.

use std::hint::black_box;

use super::column_loss::{PIECE, PieceSums, gradient_factor};
use super::element::Element;
use super::lanes::Lanes;
use super::level::Kernel;
use super::output_loss::OutputLoss;

/// Steps of one output `weight input + bias`, each over all rows.
pub struct ColumnDescent<'a, T> {
    /// Of each row, which all count once.
    pub inputs: &'a [T],
    /// As many as the inputs.
    pub targets: &'a [T],
    pub loss: OutputLoss<T>,
    pub lr: T,
    /// Where it begins.
    pub weight: T,
    pub bias: Option<T>,
}

/// Who is asked for each step.
pub trait Supervisor {
    /// Takes note of a step from this mean loss, along a mean gradient whose norm has this square, or refuses it.
    fn step(&mut self, loss: f64, squared_norm: f64) -> Decision;
}

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is not taken, and descent ends.
    Refused,
    /// It is taken, and descent ends.
    Last,
    /// It is taken, and descent goes on.
    Taken,
}

/// Where a descent has come to.
pub struct Descended<T> {
    /// Weight and bias, 0 where there is none.
    pub values: [T; 2],
    /// The mean gradient of the last step, 0 if there was none. What is there for a bias that there is not means nothing.
    pub gradient: [T; 2],
}

impl<'a, T: Element> ColumnDescent<'a, T> {
    /// Whether the rows are few enough.
    pub fn is_short(&self) -> bool {
        self.inputs.len() <= PIECE
    }

    /// Goes on while the supervisor lets it. Sums, quotients and steps are to the bit those of
    /// [`linear_loss`](super::linear_loss()), [`quotient`](super::quotient) and [`add_scaled`](super::add_scaled).
    ///
    /// # Panics
    /// If the rows are not [few enough](ColumnDescent::is_short).
    pub fn run(self, supervisor: &'a mut dyn Supervisor) -> Descended<T> {
        assert!(self.is_short(), "{} rows are too many", self.inputs.len());
        T::run_column_descent(SupervisedSteps { descent: self, supervisor })
    }
}

pub struct SupervisedSteps<'a, T> {
    descent: ColumnDescent<'a, T>,
    supervisor: &'a mut dyn Supervisor,
}

impl<T: Element> Kernel<T> for SupervisedSteps<'_, T> {
    type Output = Descended<T>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Descended<T> {
        let SupervisedSteps { descent, supervisor } = self;
        let ColumnDescent { inputs, targets, loss, lr, weight, bias } = descent;
        let (rows, has_bias) = (inputs.len() as f64, bias.is_some());
        // Nothing is rounded by halving a number of rows: the quotient is the same as of the whole gradient.
        let divisor = T::from_f64(rows) / gradient_factor(loss);
        let (mut values, bias_lr) = ([weight, bias.unwrap_or(T::zero())], if has_bias { lr } else { T::zero() });
        let mut gradient = [T::zero(); 2];
        let mut sums = PieceSums::of::<V>(inputs, targets, values, loss);
        loop {
            let mean = sums.gradient.map(|sum| sum / divisor);
            let mean_loss = sums.loss / rows;
            let bias_square = if has_bias { (mean[1] * mean[1]).as_f64() } else { 0.0 };
            let squared_norm = (mean[0] * mean[0]).as_f64() + bias_square;
            // Before it is known whether the step is taken, and before it is told of: the processor does both at a time, and
            // what the next step waits for goes through memory once. Without `black_box` the compiler puts the last additions
            // after the call.
            let next = [values[0] + -lr * mean[0], values[1] + -bias_lr * mean[1]];
            sums = black_box(PieceSums::of::<V>(inputs, targets, next, loss));
            let decision = supervisor.step(mean_loss, squared_norm);
            if decision != Decision::Refused {
                (values, gradient) = (next, mean);
            }
            if decision != Decision::Taken {
                return Descended { values, gradient };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{numbers, on_every_level};
    use crate::kernels::{RowIndex, RowTargets, Rows, add_scaled, linear_loss, quotient, sum_of_squares};

    /// Lets so many steps be taken, and ends the descent with the last or by refusing one more.
    struct Few {
        steps: usize,
        refuses: bool,
        told: Vec<(f64, f64)>,
    }

    impl Supervisor for Few {
        fn step(&mut self, loss: f64, squared_norm: f64) -> Decision {
            if self.told.len() == self.steps {
                return Decision::Refused;
            }
            self.told.push((loss, squared_norm));
            if self.told.len() < self.steps || self.refuses { Decision::Taken } else { Decision::Last }
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
            for (steps, refuses) in [(0, true), (1, true), (1, false), (5, true), (5, false)] {
                let descent = ColumnDescent {
                    inputs: &inputs,
                    targets: &targets,
                    loss,
                    lr: T::from_f64(0.3),
                    weight: start[0],
                    bias: has_bias.then_some(start[1]),
                };
                let mut few = Few { steps, refuses, told: Vec::new() };
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
                // As text, in which zeros have their signs.
                let numbers = 1 + usize::from(has_bias);
                let found = format!("{:?} {values:?} {:?}", few.told, &gradient[..numbers]);
                let expected = format!("{told:?} {:?} {:?}", [weight[0], bias[0]], &mean[..numbers]);
                assert_eq!(found, expected, "{loss:?} of {rows} rows, {steps} steps");
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
            lr: 0.1,
            weight: 0.0,
            bias: None,
        };
        descent.run(&mut Few { steps: 0, refuses: true, told: Vec::new() });
    }
}
