//! No false alarm: every loss with every option, over random cases of all sizes.

use gradus::check::{GradCheck, Mode, Verdict};
use gradus::loss::catalogue;
use gradus::{Linear, Loss, Model, Mse, Reduction, RowLoss, Scalar, Target, TargetKind, Targets};
use std::ops::Range;

use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 10 to a power between -6 and 6.
fn magnitude(rng: &mut ChaCha8Rng) -> f64 {
    10f64.powf(rng.random_range(-6.0..6.0))
}

fn random<T: Scalar>(rng: &mut ChaCha8Rng, shape: (usize, usize), scales: &[f64]) -> Array2<T> {
    Array2::from_shape_fn(shape, |(_, j)| T::from_f64(scales[j % scales.len()] * rng.random_range(-1.0..1.0)))
}

/// How large the outputs of the random models are.
#[derive(Clone, Copy, PartialEq)]
enum Outputs {
    /// As large as features and weights make them: up to 1e12.
    Any,
    /// Of the order of 1, whatever the features: single precision has 7 digits, and a loss of outputs of 1e6 none left.
    Moderate,
}

/// A loss that is not known in double precision, as one that a user wrote for single precision alone.
struct SinglePrecision<'a, T>(&'a dyn Loss<T>);

impl<T: Scalar> Loss<T> for SinglePrecision<'_, T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn target_kind(&self) -> TargetKind {
        self.0.target_kind()
    }
    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        self.0.row(logits, target, gradient)
    }
}

/// A random case: the verdict, and what was found.
fn verdict<T: Scalar>(seed: u64, size: Outputs, in_f64: bool) -> (Verdict, String) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let (rows, features) = (rng.random_range(1..8), rng.random_range(1..5));
    let outputs = rng.random_range(1..5);
    let losses = catalogue::<T>(outputs);
    let loss = &losses[seed as usize % losses.len()];
    let scales: Vec<f64> = (0..features).map(|_| magnitude(rng)).collect();
    let inputs = random::<T>(rng, (rows, features), &scales);
    let weight_scale = if size == Outputs::Any { magnitude(rng) } else { 1.0 };
    let weight_scales: Vec<f64> =
        scales.iter().map(|scale| if size == Outputs::Any { weight_scale } else { 1.0 / scale }).collect();
    let weight = random::<T>(rng, (outputs, features), &weight_scales);
    let bias: Array1<T> = random::<T>(rng, (outputs, 1), &[weight_scale]).column(0).to_owned();
    let with_bias = rng.random_bool(0.8);
    let mut model = Linear::from_parts(weight, with_bias.then_some(bias)).unwrap();

    let classes: Vec<usize> = (0..rows).map(|_| rng.random_range(0..outputs)).collect();
    let values = if loss.name() == "binary-cross-entropy" {
        Array2::from_shape_fn((rows, outputs), |_| T::from_f64(f64::from(rng.random_range(0..2))))
    } else {
        let scale = if size == Outputs::Any { magnitude(rng) } else { 1.0 };
        random::<T>(rng, (rows, outputs), &[scale])
    };
    let targets = match loss.target_kind() {
        TargetKind::Classes => Targets::classes(&classes),
        TargetKind::Values => Targets::values(&values),
    };
    let weights: Vec<T> = (0..rows).map(|_| T::from_f64(rng.random_range(0.1..3.0))).collect();
    let targets = if rng.random() { targets.weighted(&weights) } else { targets };
    let reduction = if rng.random() { Reduction::Mean } else { Reduction::Sum };
    let mode = if rng.random_bool(0.3) { Mode::Directions(2) } else { Mode::Entries };
    let check = GradCheck::new().reduction(reduction).mode(mode).seed(seed);
    let single = SinglePrecision(&**loss);
    let loss: &dyn Loss<T> = if in_f64 { &**loss } else { &single };
    let report = check.model(&mut model, loss, inputs.view(), &targets).unwrap();
    let worst = report.worst().map(|(_, entry)| entry.clone());
    let case = format!("case {seed}: {} {reduction:?} {mode:?}, loss {:e}", loss.name(), report.loss);
    (report.verdict, format!("{case}\n{report}\n{worst:?}"))
}

/// The cases with another verdict than `Correct`.
fn alarms<T: Scalar>(cases: Range<u64>, size: Outputs, in_f64: bool) -> Vec<(Verdict, String)> {
    let verdicts = cases.map(|seed| verdict::<T>(seed, size, in_f64));
    verdicts.filter(|(verdict, _)| *verdict != Verdict::Correct).collect()
}

fn all_correct<T: Scalar>(cases: Range<u64>, size: Outputs) {
    let alarms = alarms::<T>(cases, size, true);
    assert!(alarms.is_empty(), "{} not called correct\n{}", alarms.len(), alarms[0].1);
}

#[test]
fn ten_thousand_right_gradients_in_f64_are_correct() {
    all_correct::<f64>(0..10_000, Outputs::Any);
}

#[test]
fn a_thousand_right_gradients_in_f32_are_correct() {
    all_correct::<f32>(0..1_000, Outputs::Any);
}

#[test]
fn a_thousand_right_gradients_in_f32_of_moderate_outputs_are_correct() {
    all_correct::<f32>(0..1_000, Outputs::Moderate);
}

#[test]
fn a_right_gradient_of_a_loss_in_single_precision_alone_is_not_called_wrong() {
    for size in [Outputs::Any, Outputs::Moderate] {
        let alarms = alarms::<f32>(0..1_000, size, false);
        let wrong = alarms.iter().find(|(verdict, _)| *verdict == Verdict::Wrong);
        assert!(wrong.is_none(), "{}", wrong.unwrap().1);
        // About one in thirty: seven digits of a loss are few.
        assert!(alarms.len() < 50, "{} inconclusive", alarms.len());
    }
}

#[test]
fn the_gradient_of_weight_decay_is_correct_too() {
    for seed in 0..50 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let inputs = random::<f64>(&mut rng, (6, 3), &[1.0]);
        let values = random::<f64>(&mut rng, (6, 1), &[1.0]);
        let weight = random::<f64>(&mut rng, (1, 3), &[1.0]);
        let mut model = Linear::from_parts(weight, Some(Array1::zeros(1))).unwrap();
        model.parameters_mut()[1].set_decays(false);
        let check = GradCheck::new().weight_decay(0.3);
        let report = check.model(&mut model, &Mse, inputs.view(), &Targets::values(&values)).unwrap();
        assert_eq!(report.verdict, Verdict::Correct, "{report}");
    }
}

#[test]
fn a_frozen_parameter_has_no_gradient_to_check() {
    for mode in [Mode::Entries, Mode::Directions(2)] {
        let mut model = Linear::from_parts(Array2::from_elem((1, 2), 0.5_f32), Some(Array1::ones(1))).unwrap();
        model.parameters_mut()[1].set_frozen(true);
        let inputs = random::<f32>(&mut ChaCha8Rng::seed_from_u64(1), (5, 2), &[1.0]);
        let values = Array2::zeros((5, 1));
        let check = GradCheck::new().mode(mode);
        let report = check.model(&mut model, &Mse, inputs.view(), &Targets::values(&values)).unwrap();
        assert_eq!(report.verdict, Verdict::Correct, "{report}");
        assert_eq!((report.parameters[0].checked, report.parameters[1].checked), (2, 0));
    }
}

fn a_large_layer<T: Scalar>() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let inputs = random::<T>(&mut rng, (128, 784), &[1.0]);
    let classes: Vec<usize> = (0..128).map(|i| i % 10).collect();
    let weight = random::<T>(&mut rng, (10, 784), &[0.05]);
    let mut model = Linear::from_parts(weight.clone(), Some(Array1::zeros(10))).unwrap();
    let check = GradCheck::new().mode(Mode::Directions(2));
    let loss = gradus::CrossEntropy::new();
    let report = check.model(&mut model, &loss, inputs.view(), &Targets::classes(&classes)).unwrap();
    assert_eq!(report.verdict, Verdict::Correct, "{report}");
    assert!(report.evaluations < 100, "{report}");
    assert_eq!(model.weight(), weight, "the model comes back with its values");
    assert_eq!(model.zero_grad(), 0, "and with empty gradients");
}

#[test]
fn a_large_layer_takes_under_a_hundred_evaluations_along_directions() {
    a_large_layer::<f64>();
    a_large_layer::<f32>();
}
