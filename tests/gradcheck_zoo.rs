//! A zoo of wrong gradients: every one is caught, and its cause named where it has one.

#[path = "common/spoilt.rs"]
mod spoilt;

use gradus::check::{Cause, FactorMeaning, GradCheck, Mode, Report, Verdict};
use gradus::{CrossEntropy, Huber, Linear, Loss, Model, Mse, Reduction, Target, TargetKind, Targets};
use ndarray::{Array1, Array2, ArrayView2, array};
use spoilt::{GradientOf, Probabilities, Spoil, SpoiltBatch, SpoiltModel, SpoiltRow};

const ROWS: usize = 7;

/// Numbers without pattern between -1 and 1.
fn noise(seed: usize, shape: (usize, usize)) -> Array2<f64> {
    Array2::from_shape_fn(shape, |(i, j)| ((i * 17 + j * 7 + seed * 29) as f64 * 12.9898).sin())
}

fn linear(outputs: usize, inputs: usize) -> Linear<f64> {
    Linear::from_parts(noise(1, (outputs, inputs)), Some(noise(2, (outputs, 1)).column(0).to_owned())).unwrap()
}

/// A loss on seven rows of four features with three outputs.
fn with_loss(loss: &dyn Loss<f64>, reduction: Reduction) -> Report {
    check(&mut linear(3, 4), loss, &GradCheck::new().reduction(reduction))
}

fn with_model(spoil: Spoil, features: usize) -> Report {
    check(&mut SpoiltModel(linear(3, features), spoil), &Mse, &GradCheck::new())
}

fn check(model: &mut dyn Model<f64>, loss: &dyn Loss<f64>, check: &GradCheck) -> Report {
    let inputs = noise(3, (ROWS, model.inputs()));
    let values = match loss.name() {
        "probabilities" => noise(4, (ROWS, model.outputs())).mapv(|v| f64::from(v > 0.0)),
        _ => noise(4, (ROWS, model.outputs())) * 2.0,
    };
    let classes: Vec<usize> = (0..ROWS).map(|i| (i * 5 / 3) % model.outputs()).collect();
    let targets = match loss.target_kind() {
        TargetKind::Values => Targets::values(&values),
        TargetKind::Classes => Targets::classes(&classes),
    };
    check.model(model, loss, inputs.view(), &targets).unwrap()
}

fn mean(loss: impl Loss<f64>) -> Report {
    with_loss(&loss, Reduction::Mean)
}

fn function(f: impl FnMut(&[f64]) -> f64, at: &[f64], analytic: &[f64]) -> Report {
    GradCheck::new().function(f, at, analytic).unwrap()
}

/// What is expected of the cause.
enum Named {
    Exactly(Cause),
    /// A factor with this meaning among others.
    Factor(FactorMeaning),
    /// None of the usual ones.
    Nothing,
}

fn weight_and_bias(f: impl FnMut(&[f64]) -> f64, at: &[f64], analytic: &[f64]) -> Report {
    GradCheck::new().shapes(&[("weight", &[2, 3]), ("bias", &[2])]).function(f, at, analytic).unwrap()
}

fn zoo() -> Vec<(&'static str, Report, Named)> {
    use FactorMeaning::*;
    use Named::*;
    let bias = || Some("bias".to_owned());
    let decayed = |p: &[f64]| p.iter().map(|v| v.sin()).sum::<f64>() + 0.05 * p[..6].iter().map(|v| v * v).sum::<f64>();
    let at: Vec<f64> = (1..=8).map(|i| (i as f64 * 1.7).sin()).collect();
    let cosines: Vec<f64> = at.iter().map(|v| v.cos()).collect();
    let doubly: Vec<f64> =
        at.iter().enumerate().map(|(i, v)| v.cos() + if i < 6 { 0.1 * v + 0.3 * v } else { 0.0 }).collect();
    let softmax = SpoiltRow(CrossEntropy::new(), |_, target, g| g[target.class()] += 1.0);
    vec![
        ("mse without its 2", mean(SpoiltRow(Mse, |_, _, g| g.iter_mut().for_each(|g| *g /= 2.0))), Factor(Half)),
        ("mse with 2 twice", mean(SpoiltRow(Mse, |_, _, g| g.iter_mut().for_each(|g| *g *= 2.0))), Factor(Two)),
        (
            "target minus prediction",
            mean(SpoiltRow(Mse, |_, _, g| g.iter_mut().for_each(|g| *g = -*g))),
            Exactly(Cause::Sign { parameter: None }),
        ),
        (
            "onehot minus softmax",
            mean(SpoiltRow(CrossEntropy::new(), |_, _, g| g.iter_mut().for_each(|g| *g = -*g))),
            Exactly(Cause::Sign { parameter: None }),
        ),
        ("a mean over rows, not elements", mean(SpoiltBatch(Mse, |g| *g *= 3.0)), Factor(Outputs)),
        ("averaged over outputs twice", mean(SpoiltBatch(Mse, |g| *g /= 3.0)), Factor(OneOverOutputs)),
        ("times the batch", mean(SpoiltBatch(Mse, |g| *g *= ROWS as f64)), Factor(BatchSize)),
        ("averaged over the batch twice", mean(SpoiltBatch(Mse, |g| *g /= ROWS as f64)), Factor(OneOverBatchSize)),
        ("any factor", mean(SpoiltBatch(Mse, |g| *g *= 1.37)), Factor(Two)),
        (
            "gradient of the sum, loss a mean",
            mean(SpoiltBatch(CrossEntropy::new(), |g| *g *= ROWS as f64)),
            Exactly(Cause::SumAgainstMean),
        ),
        (
            "gradient of the mean, loss a sum",
            with_loss(&SpoiltBatch(CrossEntropy::new(), |g| *g /= ROWS as f64), Reduction::Sum),
            Exactly(Cause::MeanAgainstSum),
        ),
        (
            "classes from 1",
            mean(SpoiltRow(CrossEntropy::new(), |_, target, g| {
                g[target.class()] += 1.0;
                g[(target.class() + 1) % 3] -= 1.0;
            })),
            Exactly(Cause::ClassesShifted),
        ),
        ("softmax without onehot", mean(softmax), Nothing),
        (
            "Huber never linear",
            mean(GradientOf(Huber::with_delta(0.5).unwrap(), Huber::with_delta(1e9).unwrap())),
            Nothing,
        ),
        (
            "label smoothing left out",
            mean(GradientOf(CrossEntropy::new().with_label_smoothing(0.1).unwrap(), CrossEntropy::new())),
            Nothing,
        ),
        (
            "class weights left out",
            mean(GradientOf(CrossEntropy::new().with_class_weights(vec![1.0, 2.0, 0.5]).unwrap(), CrossEntropy::new())),
            Nothing,
        ),
        ("a sigmoid for a softmax", mean(GradientOf(CrossEntropy::new(), Probabilities)), Nothing),
        ("transposed, square", with_model(|_, _, w, _| *w = w.t().to_owned(), 3), transposed()),
        (
            "transposed, read as another shape",
            with_model(
                |_, _, w, _| {
                    let shape = w.dim();
                    *w = Array2::from_shape_vec(shape, w.t().iter().copied().collect()).unwrap();
                },
                4,
            ),
            transposed(),
        ),
        (
            "no bias gradient",
            with_model(|_, _, _, b| b.fill(0.0), 4),
            Exactly(Cause::Missing { parameter: "bias".into() }),
        ),
        ("bias averaged over rows", with_model(|_, _, _, b| *b /= ROWS as f64, 4), unsummed()),
        ("bias of the last row", with_model(|_, g, _, b| b.assign(&g.row(ROWS - 1)), 4), unsummed()),
        (
            "bias with the wrong sign",
            with_model(|_, _, _, b| *b *= -1.0, 4),
            Exactly(Cause::Sign { parameter: bias() }),
        ),
        (
            "the last row left out",
            with_model(|x, g, w, b| add_row(x, g, w, b, ROWS - 1, -1.0), 4),
            Exactly(Cause::RowMissing { row: ROWS - 1 }),
        ),
        (
            "the first row twice",
            with_model(|x, g, w, b| add_row(x, g, w, b, 0, 1.0), 4),
            Exactly(Cause::RowTwice { row: 0 }),
        ),
        (
            "inputs one row off",
            with_model(
                |x, g, w, _| {
                    let order: Vec<usize> = (0..ROWS).map(|i| (i + 1) % ROWS).collect();
                    *w = g.t().dot(&x.select(ndarray::Axis(0), &order));
                },
                4,
            ),
            Exactly(Cause::RowsShifted),
        ),
        (
            "an output left out",
            with_model(
                |_, _, w, b| {
                    w.row_mut(2).fill(0.0);
                    b[2] = 0.0;
                },
                4,
            ),
            Exactly(Cause::OutputMissing { output: 2 }),
        ),
        ("a feature left out", with_model(|_, _, w, _| w.column_mut(1).fill(0.0), 4), Nothing),
        ("one entry a little off", with_model(|_, _, w, _| w[[1, 2]] *= 1.000_01, 4), Nothing),
        ("penalty only in the loss", weight_and_bias(decayed, &at, &cosines), regulariser()),
        (
            "penalty too large in the gradient",
            weight_and_bias(decayed, &at, &doubly),
            Exactly(Cause::ExtraRegulariser { weight_decay: 0.3 }),
        ),
        ("x^2 with derivative x", function(|p| p[0] * p[0] + p[1] * p[1], &[3.0, -1.0], &[3.0, -1.0]), Factor(Half)),
        (
            "tanh with derivative 1 - tanh",
            function(|p| p[0].tanh() + p[1].tanh(), &[0.4, -1.0], &tanh_wrong()),
            Nothing,
        ),
        (
            "means of four micro-batches added up",
            GradCheck::new()
                .accumulate(4)
                .function(|p: &[f64]| p[0].exp() + p[1], &[0.5, 1.0], &[4.0 * 0.5f64.exp(), 4.0])
                .unwrap(),
            Factor(Accumulation),
        ),
    ]
}

fn transposed() -> Named {
    Named::Exactly(Cause::Transposed { parameter: "weight".into() })
}

fn unsummed() -> Named {
    Named::Exactly(Cause::UnsummedBias { parameter: "bias".into() })
}

fn regulariser() -> Named {
    Named::Exactly(Cause::MissingRegulariser { weight_decay: 0.1 })
}

fn tanh_wrong() -> [f64; 2] {
    [1.0 - 0.4f64.tanh(), 1.0 - (-1f64).tanh()]
}

fn add_row(
    x: ArrayView2<'_, f64>,
    g: ArrayView2<'_, f64>,
    weight: &mut Array2<f64>,
    bias: &mut Array1<f64>,
    row: usize,
    factor: f64,
) {
    for k in 0..g.ncols() {
        bias[k] += factor * g[[row, k]];
        for c in 0..x.ncols() {
            weight[[k, c]] += factor * g[[row, k]] * x[[row, c]];
        }
    }
}

fn same(found: &Cause, expected: &Cause) -> bool {
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
    match (found, expected) {
        (Cause::MissingRegulariser { weight_decay: a }, Cause::MissingRegulariser { weight_decay: b })
        | (Cause::ExtraRegulariser { weight_decay: a }, Cause::ExtraRegulariser { weight_decay: b }) => near(*a, *b),
        _ => found == expected,
    }
}

#[test]
fn every_wrong_gradient_is_caught_and_its_cause_named() {
    let zoo = zoo();
    assert!(zoo.len() >= 25);
    for (name, report, named) in zoo {
        assert_eq!(report.verdict, Verdict::Wrong, "{name}:\n{report}");
        match (named, &report.cause) {
            (Named::Nothing, cause) => assert_eq!(*cause, None, "{name}:\n{report}"),
            (Named::Factor(_), Some(Cause::Factor { factor, meanings, .. })) if name == "any factor" => {
                assert!((factor - 1.37).abs() < 1e-6 && meanings.is_empty(), "{name}:\n{report}");
            }
            (Named::Factor(meaning), Some(Cause::Factor { meanings, .. })) => {
                assert!(meanings.contains(&meaning), "{name}:\n{report}");
            }
            (Named::Exactly(expected), Some(found)) => assert!(same(found, &expected), "{name}:\n{report}"),
            _ => panic!("{name}:\n{report}"),
        }
    }
}

#[test]
fn a_stale_gradient_is_told_by_its_ledger() {
    let (x, y) = (noise(1, (5, 2)), noise(2, (5, 1)));
    let mut model = linear(1, 2);
    let targets = Targets::values(&y);
    let pass = |model: &mut Linear<f64>| {
        let logits = model.forward(x.view()).unwrap();
        let value = Mse.evaluate(logits.view(), &targets, Reduction::Mean).unwrap();
        model.backward(x.view(), value.gradient.view()).unwrap();
    };
    pass(&mut model);
    let right = GradCheck::new().standing(&mut model, &Mse, x.view(), &targets).unwrap();
    assert_eq!(right.verdict, Verdict::Correct, "{right}");
    let mut sgd = gradus::SgdConfig::new(0.1).build().unwrap();
    gradus::Optimizer::step(&mut sgd, model.parameters_mut()).unwrap();
    pass(&mut model);
    let stale = GradCheck::new().standing(&mut model, &Mse, x.view(), &targets).unwrap();
    assert_eq!(stale.verdict, Verdict::Wrong);
    assert_eq!(stale.cause, Some(Cause::StaleAccumulation { passes: 2 }));
    assert!(stale.to_string().contains("zero_grad"), "{stale}");
    model.zero_grad();
    assert!(GradCheck::new().standing(&mut model, &Mse, x.view(), &targets).is_err());
}

#[test]
fn directions_catch_what_entries_catch_and_then_name_the_entry() {
    let spoil: Spoil = |_, _, w, _| w[[1, 2]] += 0.5;
    let report = check(&mut SpoiltModel(linear(3, 4), spoil), &Mse, &GradCheck::new().mode(Mode::Directions(2)));
    let (parameter, entry) = report.worst().unwrap();
    assert_eq!((parameter.name.as_str(), entry.index.clone()), ("weight", Some(vec![1, 2])), "{report}");
    assert_eq!((parameter.wrong, report.parameters[1].wrong), (1, 0), "{report}");
}

#[test]
fn kinks_are_told_from_derivatives_that_exist() {
    let relu = |p: &[f64]| p[0].max(0.0);
    let abs = |p: &[f64]| p[0].abs();
    let verdict = |f: fn(&[f64]) -> f64, x: f64, analytic: f64| function(f, &[x], &[analytic]).verdict;
    assert_eq!(verdict(relu, 0.0, 0.0), Verdict::Kink);
    assert_eq!(verdict(relu, 0.0, 1.0), Verdict::Kink);
    assert_eq!(verdict(relu, 0.0, 2.0), Verdict::Wrong, "no subgradient");
    assert_eq!(verdict(abs, 0.0, 0.0), Verdict::Kink);
    assert_eq!(verdict(abs, 0.0, -1.5), Verdict::Wrong, "no subgradient");
    for x in [-2.0, -1e-3, 1e-3, 0.5, 3.0] {
        assert_eq!(verdict(relu, x, f64::from(u8::from(x > 0.0))), Verdict::Correct, "{x}");
        assert_eq!(verdict(abs, x, x.signum()), Verdict::Correct, "{x}");
        assert_eq!(verdict(abs, x, -x.signum()), Verdict::Wrong, "{x}");
    }
    // Huber's second derivative jumps at delta; its first does not.
    let huber = |p: &[f64]| {
        let mut gradient = [0.0];
        Huber::new().row(&[p[0]], Target::Values(&[0.0]), &mut gradient).loss
    };
    for x in [-1.0, 0.0, 0.3, 1.0, 1.0 + 1e-9, 5.0] {
        assert_eq!(verdict(huber, x, f64::clamp(x, -1.0, 1.0)), Verdict::Correct, "{x}");
    }
}

#[test]
fn what_rounding_hides_is_inconclusive_and_says_what_to_change() {
    // A sum of 1e14 and a sine keeps two decimals of the sine.
    let rough = |p: &[f64]| (1e14 + p[0].sin()) - 1e14;
    let report = function(rough, &[0.3], &[0.3f64.cos()]);
    assert_eq!(report.verdict, Verdict::Inconclusive, "{report} {report:?}");
    assert!(report.to_string().contains("check in f64") && !report.passed(), "{report}");
}

#[test]
fn a_report_reads_as_a_table_and_as_json() {
    let report = mean(SpoiltRow(Mse, |_, _, g| g.iter_mut().for_each(|g| *g /= 2.0)));
    let text = report.to_string();
    assert!(text.contains("WRONG") && text.contains("1/2 (a square's derivative without its 2)"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["verdict"], &json["cause"]["kind"]), (&"wrong".into(), &"factor".into()));
    assert_eq!(json["parameters"][1]["shape"], serde_json::json!([3]));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let f = |p: &[f64]| p[0];
    assert!(GradCheck::new().function(f, &[1.0], &[1.0, 2.0]).is_err());
    assert!(GradCheck::new().shapes(&[("w", &[2, 2])]).function(f, &[1.0], &[1.0]).is_err());
    assert!(GradCheck::new().function(|p: &[f64]| p[0].ln(), &[-1.0], &[1.0]).is_err());
    assert!(GradCheck::new().function(f, &[1.0], &[f64::NAN]).is_err());
    let empty = Array2::<f64>::zeros((0, 2));
    let targets = array![[1.0]];
    assert!(GradCheck::new().model(&mut linear(1, 2), &Mse, empty.view(), &Targets::values(&targets)).is_err());
}
