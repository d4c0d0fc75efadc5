//! Wrong gradients in single precision: as surely caught, and their causes named, whatever there is in double precision.

use gradus::check::{Cause, FactorMeaning, GradCheck, Report, Verdict};
use gradus::{
    CrossEntropy, Linear, Loss, Model, Mse, Parameter, Reduction, Result, RowLoss, Scalar, Target, TargetKind, Targets,
};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// What a spoilt loss or model gives for itself in double precision.
#[derive(Debug, Clone, Copy)]
enum Double {
    /// The same code, wrong too.
    Wrong,
    /// What is right.
    Right,
    Nothing,
}

/// What spoils a row's gradient, of a target with this class if it has one.
type SpoilRow = fn(Option<usize>, &mut [f64]);

/// A loss whose gradient is spoilt row by row.
struct SpoiltLoss<L>(L, SpoilRow, Double);

impl<T: Scalar, L: Loss<T> + Loss<f64> + Clone + 'static> Loss<T> for SpoiltLoss<L> {
    fn name(&self) -> &'static str {
        "spoilt"
    }
    fn target_kind(&self) -> TargetKind {
        Loss::<T>::target_kind(&self.0)
    }
    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        let value = self.0.row(logits, target, gradient);
        let class = match target {
            Target::Class(class) => Some(class),
            Target::Values(_) => None,
        };
        let mut spoilt: Vec<f64> = gradient.iter().map(|g| g.as_f64()).collect();
        (self.1)(class, &mut spoilt);
        for (g, spoilt) in gradient.iter_mut().zip(spoilt) {
            *g = T::from_f64(spoilt);
        }
        value
    }
    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        match self.2 {
            Double::Wrong => Some(Box::new(SpoiltLoss(self.0.clone(), self.1, self.2))),
            Double::Right => Some(Box::new(self.0.clone())),
            Double::Nothing => None,
        }
    }
}

/// What spoils a backward pass: inputs, gradient of the outputs, and the gradient of weight and bias to be changed.
type SpoilPass = fn(&Array2<f64>, &Array2<f64>, &mut Array2<f64>, &mut Array1<f64>);

/// A linear model whose backward pass over a batch is spoilt.
struct SpoiltModel<T>(Linear<T>, SpoilPass, Double);

impl<T: Scalar> Model<T> for SpoiltModel<T> {
    fn inputs(&self) -> usize {
        self.0.inputs()
    }
    fn outputs(&self) -> usize {
        self.0.outputs()
    }
    fn parameters(&self) -> &[Parameter<T>] {
        self.0.parameters()
    }
    fn parameters_mut(&mut self) -> &mut [Parameter<T>] {
        self.0.parameters_mut()
    }
    fn forward_row(&self, input: &[T], output: &mut [T]) {
        self.0.forward_row(input, output);
    }
    fn backward_row(&self, input: &[T], output_gradient: &[T], gradient: &mut [T]) {
        self.0.backward_row(input, output_gradient, gradient);
    }
    fn backward(&mut self, inputs: ArrayView2<'_, T>, output_gradient: ArrayView2<'_, T>) -> Result<()> {
        let mut weight = output_gradient.t().dot(&inputs).mapv(|v| v.as_f64());
        let mut bias = output_gradient.sum_axis(Axis(0)).mapv(|v| v.as_f64());
        let (inputs, output_gradient) = (inputs.mapv(|v| v.as_f64()), output_gradient.mapv(|v| v.as_f64()));
        (self.1)(&inputs, &output_gradient, &mut weight, &mut bias);
        let [w, b] = self.parameters_mut() else { panic!("two parameters") };
        w.accumulate(&weight.iter().map(|&g| T::from_f64(g)).collect::<Vec<_>>())?;
        b.accumulate(&bias.iter().map(|&g| T::from_f64(g)).collect::<Vec<_>>())
    }
    fn in_f64(&self) -> Option<Box<dyn Model<f64>>> {
        let weight = self.0.weight().mapv(|v| v.as_f64());
        let linear = Linear::from_parts(weight, self.0.bias().map(|bias| bias.mapv(|v| v.as_f64()))).unwrap();
        match self.2 {
            Double::Wrong => Some(Box::new(SpoiltModel(linear, self.1, self.2))),
            Double::Right => Some(Box::new(linear)),
            Double::Nothing => None,
        }
    }
}

const ROWS: usize = 7;
const OUTPUTS: usize = 3;

/// Numbers without pattern between -1 and 1.
fn noise(seed: usize, shape: (usize, usize)) -> Array2<f32> {
    Array2::from_shape_fn(shape, |(i, j)| ((i * 17 + j * 7 + seed * 29) as f64 * 12.9898).sin() as f32)
}

fn linear() -> Linear<f32> {
    Linear::from_parts(noise(1, (OUTPUTS, 4)), Some(noise(2, (OUTPUTS, 1)).column(0).to_owned())).unwrap()
}

fn check(model: &mut dyn Model<f32>, loss: &dyn Loss<f32>, reduction: Reduction) -> Report {
    let inputs = noise(3, (ROWS, model.inputs()));
    let values = noise(4, (ROWS, OUTPUTS)) * 2.0;
    let classes: Vec<usize> = (0..ROWS).map(|i| (i * 5 / 3) % OUTPUTS).collect();
    let targets = match loss.target_kind() {
        TargetKind::Values => Targets::values(&values),
        TargetKind::Classes => Targets::classes(&classes),
    };
    GradCheck::new().reduction(reduction).model(model, loss, inputs.view(), &targets).unwrap()
}

fn mse(spoil: SpoilRow, double: Double) -> Report {
    check(&mut linear(), &SpoiltLoss(Mse, spoil, double), Reduction::Mean)
}

fn cross_entropy(spoil: SpoilRow, reduction: Reduction, double: Double) -> Report {
    check(&mut linear(), &SpoiltLoss(CrossEntropy::new(), spoil, double), reduction)
}

fn pass(spoil: SpoilPass, double: Double) -> Report {
    check(&mut SpoiltModel(linear(), spoil, double), &Mse, Reduction::Mean)
}

fn scale(gradient: &mut [f64], factor: f64) {
    gradient.iter_mut().for_each(|g| *g *= factor);
}

fn add_row(x: &Array2<f64>, g: &Array2<f64>, w: &mut Array2<f64>, b: &mut Array1<f64>, row: usize, factor: f64) {
    for k in 0..OUTPUTS {
        b[k] += factor * g[[row, k]];
        w.row_mut(k).scaled_add(factor * g[[row, k]], &x.row(row));
    }
}

/// Whether a cause is the one that is expected.
type Named = fn(&Cause) -> bool;

/// Names, reports, and whether the cause is the right one.
fn zoo(double: Double) -> Vec<(&'static str, Report, Named)> {
    use FactorMeaning::*;
    const ROW_COUNT: f64 = ROWS as f64;
    fn factor(cause: &Cause, meaning: FactorMeaning) -> bool {
        matches!(cause, Cause::Factor { meanings, parameter: None, .. } if meanings.contains(&meaning))
    }
    fn parameter(name: &str) -> Option<String> {
        Some(name.to_owned())
    }
    let mean = Reduction::Mean;
    vec![
        ("half", mse(|_, g| scale(g, 0.5), double), |c| factor(c, Half)),
        ("twice", mse(|_, g| scale(g, 2.0), double), |c| factor(c, Two)),
        ("times the outputs", mse(|_, g| scale(g, 3.0), double), |c| factor(c, Outputs)),
        ("by the outputs", mse(|_, g| scale(g, 1.0 / 3.0), double), |c| factor(c, OneOverOutputs)),
        ("times the batch", mse(|_, g| scale(g, ROW_COUNT), double), |c| factor(c, BatchSize)),
        ("by the batch", mse(|_, g| scale(g, 1.0 / ROW_COUNT), double), |c| factor(c, OneOverBatchSize)),
        ("another sign", mse(|_, g| scale(g, -1.0), double), |c| *c == Cause::Sign { parameter: None }),
        ("the sum's", cross_entropy(|_, g| scale(g, ROW_COUNT), mean, double), |c| *c == Cause::SumAgainstMean),
        ("the mean's", cross_entropy(|_, g| scale(g, 1.0 / ROW_COUNT), Reduction::Sum, double), |c| {
            *c == Cause::MeanAgainstSum
        }),
        (
            "classes from 1",
            cross_entropy(
                |class, g| {
                    g[class.unwrap()] += 1.0;
                    g[(class.unwrap() + 1) % OUTPUTS] -= 1.0;
                },
                mean,
                double,
            ),
            |c| *c == Cause::ClassesShifted,
        ),
        (
            "read as another shape",
            pass(
                |_, _, w, _| {
                    let shape = w.dim();
                    *w = Array2::from_shape_vec(shape, w.t().iter().copied().collect()).unwrap();
                },
                double,
            ),
            |c| *c == Cause::Transposed { parameter: "weight".into() },
        ),
        ("no bias", pass(|_, _, _, b| b.fill(0.0), double), |c| *c == Cause::Missing { parameter: "bias".into() }),
        ("bias averaged", pass(|_, _, _, b| *b /= ROW_COUNT, double), |c| {
            *c == Cause::UnsummedBias { parameter: "bias".into() }
        }),
        ("bias of the last row", pass(|_, g, _, b| b.assign(&g.row(ROWS - 1)), double), |c| {
            *c == Cause::UnsummedBias { parameter: "bias".into() }
        }),
        ("bias negated", pass(|_, _, _, b| *b *= -1.0, double), |c| *c == Cause::Sign { parameter: parameter("bias") }),
        ("the last row left out", pass(|x, g, w, b| add_row(x, g, w, b, ROWS - 1, -1.0), double), |c| {
            *c == Cause::RowMissing { row: ROWS - 1 }
        }),
        ("the first row twice", pass(|x, g, w, b| add_row(x, g, w, b, 0, 1.0), double), |c| {
            *c == Cause::RowTwice { row: 0 }
        }),
        (
            "inputs one row off",
            pass(
                |x, g, w, _| {
                    let order: Vec<usize> = (0..ROWS).map(|i| (i + 1) % ROWS).collect();
                    *w = g.t().dot(&x.select(Axis(0), &order));
                },
                double,
            ),
            |c| *c == Cause::RowsShifted,
        ),
        (
            "an output left out",
            pass(
                |_, _, w, b| {
                    w.row_mut(2).fill(0.0);
                    b[2] = 0.0;
                },
                double,
            ),
            |c| *c == Cause::OutputMissing { output: 2 },
        ),
        (
            "an L2 penalty that the loss lacks",
            pass(|_, _, w, _| *w += &(noise(1, (OUTPUTS, 4)).mapv(f64::from) * 0.1), double),
            |c| matches!(c, Cause::ExtraRegulariser { weight_decay } if (weight_decay / 0.1 - 1.0).abs() < 1e-2),
        ),
    ]
}

#[test]
fn wrong_gradients_in_single_precision_are_caught_and_their_causes_named() {
    for double in [Double::Wrong, Double::Right, Double::Nothing] {
        let zoo = zoo(double);
        assert!(zoo.len() >= 20);
        for (name, report, named) in zoo {
            assert_eq!(report.verdict, Verdict::Wrong, "{name}, {double:?}:\n{report}");
            assert!(report.cause.as_ref().is_some_and(named), "{name}, {double:?}:\n{report}");
        }
    }
}

#[test]
fn an_error_that_only_double_precision_shows_is_found_through_it() {
    // An entry 0.1 permille off.
    let spoil: SpoilPass = |_, _, w, _| w[[1, 2]] *= 1.0001;
    for (double, verdict) in [(Double::Wrong, Verdict::Wrong), (Double::Right, Verdict::Wrong)] {
        let report = pass(spoil, double);
        assert_eq!(report.verdict, verdict, "{report}");
        assert_eq!(report.parameters[0].wrong, 1, "{report}");
    }
    let right = pass(|_, _, _, _| (), Double::Right);
    assert_eq!(right.verdict, Verdict::Correct, "{right}");
}

#[test]
fn the_gradient_of_a_loss_that_overflows_in_single_precision_is_no_verdict() {
    let targets = Array2::from_elem((1, 1), 1e30_f32);
    let inputs = Array2::from_elem((1, 1), 1.0_f32);
    let mut model = Linear::<f32>::new(1, 1);
    let result = GradCheck::new().model(&mut model, &Mse, inputs.view(), &Targets::values(&targets));
    assert!(result.unwrap_err().to_string().contains("it is inf"));
}
