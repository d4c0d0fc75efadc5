//! Warnings during training: each for the run it is meant for, none for sane ones; and the distance from least squares.

mod common;
#[path = "common/frame.rs"]
mod frame;

use common::{Folder, data as file, reference, succeed};
use frame::{Frame, NAMES};
use gradus::data::Standardizer;
use gradus::diagnose::{least_squares, spectrum};
use gradus::optim::{Clip, Momentum};
use gradus::train::{BatchSize, Observer, RunWarning, TrainConfig, Trainer, WarningCounts};
use gradus::{CrossEntropy, Dataset, Linear, Loss, Mse, Result, SgdConfig};
use nalgebra::{DMatrix, DVector};

/// Every warning that was told.
#[derive(Default)]
struct Told(Vec<RunWarning>);

impl Observer for Told {
    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        self.0.push(warning.clone());
        Ok(())
    }
}

impl Told {
    fn codes(&self) -> Vec<&str> {
        self.0.iter().map(|warning| warning.code).collect()
    }
}

fn standardised(name: &str) -> Dataset<f64> {
    let mut data = Frame::read(name).data;
    Standardizer::fit(&data).apply(&mut data).unwrap();
    data
}

fn full(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch_size: BatchSize::Full, threads: 1, ..TrainConfig::default() }
}

/// Trains, and returns what was told and counted; a run that diverged has no counts.
fn run(
    data: &Dataset<f64>,
    loss: &dyn Loss<f64>,
    outputs: usize,
    sgd: SgdConfig,
    config: TrainConfig,
) -> (Told, WarningCounts) {
    let mut told = Told::default();
    let mut model = Linear::new(data.features().ncols(), outputs);
    let mut sgd = sgd.build().unwrap();
    let report = Trainer::new(config).unwrap().observer(&mut told).fit(&mut model, loss, &mut sgd, data);
    let counts = report.map_or(WarningCounts::default(), |report| report.warnings);
    (told, counts)
}

/// The limit of a full batch without momentum.
fn limit(data: &Dataset<f64>) -> f64 {
    2.0 / spectrum(data, &Mse, 1, true).unwrap().largest
}

#[test]
fn oscillation_at_the_limit_is_told_with_a_rate_that_is_stable() {
    for name in ["iris", "wine", "diabetes"] {
        let data = standardised(name);
        let limit = limit(&data);
        for (share, momentum, by) in [
            (0.99, Momentum::None, 1.0),
            (0.9999, Momentum::Classic { momentum: 0.9, dampening: 0.0 }, 1.9),
            (0.9999, Momentum::Nesterov { momentum: 0.9 }, 1.9 / 2.8),
        ] {
            let lr = share * by * limit;
            let (told, counts) = run(&data, &Mse, 1, SgdConfig::new(lr).momentum(momentum), full(1000));
            assert!(told.codes().contains(&"oscillation"), "{name} {momentum:?}: {:?}", told.codes());
            let message = &told.0.iter().find(|warning| warning.code == "oscillation").unwrap().message;
            assert!(counts.of("oscillation") > 5, "{name} {momentum:?}: {counts:?}");
            let stable: f64 = message.split(' ').rev().nth(3).unwrap().parse().unwrap();
            assert!((stable / (by * limit / 2.0) - 1.0).abs() < 0.01, "{name}: {message}");
            let (told, _) = run(&data, &Mse, 1, SgdConfig::new(stable).momentum(momentum), full(1000));
            assert_eq!(told.codes(), [""; 0], "{name} {momentum:?}");
        }
    }
}

#[test]
fn a_loss_that_rises_is_told_before_the_run_has_diverged() {
    let data = standardised("diabetes");
    let (told, _) = run(&data, &Mse, 1, SgdConfig::new(1.01 * limit(&data)), full(2000));
    assert!(told.codes().contains(&"loss_rising") && told.codes().contains(&"oscillation"), "{:?}", told.codes());
    let rising = told.0.iter().find(|warning| warning.code == "loss_rising").unwrap();
    assert!(rising.step < 500 && rising.message.contains("lower the learning rate"), "{rising:?}");
}

#[test]
fn a_run_that_is_not_watched_takes_the_same_steps_and_warns_of_nothing() {
    let data = standardised("diabetes");
    let trained = |watch: bool| {
        let (mut told, mut model) = (Told::default(), Linear::new(10, 1));
        let mut sgd = SgdConfig::new(0.99 * limit(&data)).build().unwrap();
        let config = TrainConfig { watch, ..full(300) };
        let report = Trainer::new(config).unwrap().observer(&mut told).fit(&mut model, &Mse, &mut sgd, &data).unwrap();
        (model.weight().to_owned(), report.loss, told.0.len(), report.warnings.iter().count())
    };
    let (watched, unwatched) = (trained(true), trained(false));
    assert_eq!((&watched.0, watched.1), (&unwatched.0, unwatched.1));
    assert_eq!((watched.2, watched.3, unwatched.2, unwatched.3), (1, 1, 0, 0));
}

#[test]
fn gradients_that_are_nearly_always_clipped_are_told_and_counted_by_the_epoch() {
    let data = standardised("diabetes");
    for clip in [Clip::Norm(1e-3), Clip::Value(1e-3)] {
        let (told, counts) = run(&data, &Mse, 1, SgdConfig::new(0.1), TrainConfig { clip, ..full(210) });
        assert_eq!(told.codes().iter().filter(|code| **code == "gradients_clipped").count(), 1, "{clip:?}");
        assert_eq!(counts.of("gradients_clipped"), 11, "{clip:?}: epochs 200 to 210");
        assert!(told.0[0].message.starts_with("100 % of the gradients"), "{}", told.0[0].message);
    }
    for clip in [Clip::Norm(1e6), Clip::Value(1e6)] {
        assert_eq!(run(&data, &Mse, 1, SgdConfig::new(0.1), TrainConfig { clip, ..full(210) }).1.iter().count(), 0);
    }
}

#[test]
fn a_learning_rate_far_below_the_limit_is_told_at_the_end() {
    let data = standardised("diabetes");
    for (batch_size, lr) in [(BatchSize::Full, 1e-5), (BatchSize::Rows(32), 1e-7), (BatchSize::Full, 1e-12)] {
        let config = TrainConfig { batch_size, ..full(50) };
        let (told, _) = run(&data, &Mse, 1, SgdConfig::new(lr), config);
        assert_eq!(told.codes(), ["small_learning_rate"], "{batch_size:?} {lr}");
        let stated: f64 =
            told.0[0].message.split("at least ").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        assert!(stated > 100.0 * lr && stated < limit(&data), "{}", told.0[0].message);
    }
    // A run that has arrived may creep as it likes.
    assert_eq!(run(&data, &Mse, 1, SgdConfig::new(0.1), full(2000)).0.codes(), [""; 0]);
}

#[test]
fn separable_classes_are_told_only_where_nothing_holds_the_weights() {
    let frame = Frame::read("wine");
    let mut data = frame.with_classes(&frame.classes());
    Standardizer::fit(&data).apply(&mut data).unwrap();
    let told = |sgd: SgdConfig| run(&data, &CrossEntropy::new(), 3, sgd, full(300)).0;
    assert_eq!(told(SgdConfig::new(0.4)).codes(), ["separable_classes"]);
    assert_eq!(told(SgdConfig::new(0.4).weight_decay(0.001)).codes(), [""; 0]);
    // One row of a wrong class, and they are not.
    let mut classes = frame.classes();
    classes[0] = 2;
    let mut data = frame.with_classes(&classes);
    Standardizer::fit(&data).apply(&mut data).unwrap();
    assert_eq!(run(&data, &CrossEntropy::new(), 3, SgdConfig::new(0.4), full(300)).0.codes(), [""; 0]);
}

#[test]
fn a_validation_loss_that_rises_is_told_once_and_then_counted() {
    let folder = Folder::new();
    let wine = file("wine.csv");
    let arguments = ["train", &wine, "--validation", "0.25", "--json", "--log", "l.jsonl"];
    let run = succeed(&folder, &arguments);
    assert!(run.json()["warnings"]["validation_rising"].as_u64().unwrap() > 10, "{}", run.stdout);
    assert_eq!(run.stderr.matches("warning: the validation loss has risen since epoch").count(), 1, "{}", run.stderr);
    let log = folder.text("l.jsonl");
    assert_eq!(log.matches("\"code\":\"validation_rising\"").count(), 1);
    let table = succeed(&folder, &["train", &wine, "--validation", "0.25"]).stdout;
    assert!(table.contains("warnings    validation_rising (") && table.contains("separable_classes (1)"), "{table}");
}

#[test]
fn sane_runs_are_given_no_warning() {
    let folder = Folder::new();
    let sets: [(&str, &[&str]); 8] = [
        ("iris", &[]),
        ("wine", &[]),
        ("breast_cancer", &[]),
        ("digits", &["--loss", "cross-entropy"]),
        ("diabetes", &[]),
        ("lesson/line", &[]),
        ("lesson/plane", &[]),
        ("penguins", &["--target", "species", "--missing", "drop"]),
    ];
    let ways: [&[&str]; 9] = [
        &[],
        &["--weight-decay", "0.1"],
        &["--validation", "0.25", "--patience", "20"],
        &["--batch-size", "32"],
        &["--lr", "0.05"],
        &["--lr", "0.05", "--batch-size", "full", "--epochs", "300"],
        &["--lr", "0.01", "--momentum", "0.9"],
        &["--lr", "0.05", "--epochs", "5"],
        &["--lr", "0.02", "--clip-norm", "100", "--schedule", "exponential:0.999"],
    ];
    for (name, options) in sets {
        for way in ways {
            let path = file(&format!("{name}.csv"));
            let decay: &[&str] = if way.contains(&"--weight-decay") { &[] } else { &["--weight-decay", "0.01"] };
            let arguments = [&["train", &path, "--json", "--quiet", "--threads", "1"], options, way, decay].concat();
            let warnings = succeed(&folder, &arguments).json()["warnings"].clone();
            assert_eq!(warnings, serde_json::json!({}), "{name} {way:?}");
        }
    }
}

#[test]
fn least_squares_and_its_standard_errors_are_those_of_a_full_decomposition() {
    for name in NAMES.into_iter().filter(|name| *name != "digits") {
        let data = Frame::read(name).data;
        let (rows, width) = data.features().dim();
        let x = DMatrix::from_fn(rows, width + 1, |r, c| data.row(r).get(c).copied().unwrap_or(1.0));
        let y = DVector::from_fn(rows, |r, _| data.targets().row(r).values()[0]);
        let svd = x.clone().svd(true, true);
        let expected = svd.solve(&y, 0.0).unwrap();
        let mse = (&x * &expected - &y).norm_squared() / rows as f64;
        let inverse = svd.pseudo_inverse(0.0).unwrap();
        let solved = least_squares(&data, true).unwrap();
        assert!(solved.determined && (solved.mse / mse - 1.0).abs() < 1e-9, "{name}: {} {mse}", solved.mse);
        for i in 0..=width {
            let unit: Vec<f64> = (0..=width).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
            let variance = mse * rows as f64 / (rows - width - 1) as f64;
            let error = (variance * inverse.row(i).norm_squared()).sqrt();
            let found = solved.standard_error(&unit).unwrap();
            assert!((found / error - 1.0).abs() < 1e-6, "{name} {i}: {found} {error}");
            assert!((solved.parameters[i] - expected[i]).abs() < 1e-6 * error, "{name} {i}");
        }
    }
}

#[test]
fn a_regression_says_how_far_it_is_from_least_squares_in_its_own_units() {
    let folder = Folder::new();
    let optimum: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(reference("optimum.json")).unwrap()).unwrap();
    let diabetes = file("diabetes.csv");
    // statsmodels' OLS of the same columns.
    let errors = [("bmi", 0.717), ("s4", 5.959), ("s5", 15.670), ("bias", 67.455)];
    for options in [&[][..], &["--no-standardize", "--epochs", "50"], &["--lr", "0.1", "--batch-size", "16"]] {
        let run = succeed(&folder, &[&["train", &diabetes, "--json", "--quiet"], options].concat()).json();
        let solved = &run["least_squares"];
        assert!(
            (solved["mse"].as_f64().unwrap() / optimum["diabetes"]["objective"].as_f64().unwrap() - 1.0).abs() < 1e-9
        );
        let excess = run["metrics"]["mse"].as_f64().unwrap() - solved["mse"].as_f64().unwrap();
        assert!((solved["excess"].as_f64().unwrap() - excess).abs() < 1e-9 * excess.max(1.0) && excess > 0.0);
        let mut farthest: f64 = 0.0;
        for parameter in solved["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let value = |key: &str| parameter[key].as_f64().unwrap();
            let best =
                optimum["diabetes"]["weight"].get(name).unwrap_or(&optimum["diabetes"]["bias"]).as_f64().unwrap();
            assert!((value("least_squares") - best).abs() < 1e-8 * value("standard_error"), "{name} {options:?}");
            if let Some((_, error)) = errors.iter().find(|(n, _)| *n == name) {
                assert!((value("standard_error") - error).abs() < 1e-3, "{name}: {parameter}");
            }
            farthest = farthest.max((value("value") - best).abs() / value("standard_error"));
        }
        let stated = solved["farthest_in_standard_errors"].as_f64().unwrap();
        assert!((stated - farthest).abs() < 1e-6 * farthest.max(1e-3), "{stated} {farthest}");
    }
    let table = succeed(&folder, &["train", &diabetes]).stdout;
    assert!(table.contains("least sq.   MSE 2859.70, this run") && table.contains("standard error"), "{table}");
    let iris = file("iris.csv");
    assert!(succeed(&folder, &["train", &iris, "--json", "--quiet"]).json().get("least_squares").is_none());
    let one_hot = ["train", &file("penguins.csv"), "--target", "body_mass_g", "--missing", "drop"];
    let table = succeed(&folder, &one_hot).stdout;
    assert!(table.contains("\nspecies: Gentoo - Adelie ") && table.contains("\nsex: MALE - FEMALE "), "{table}");
    assert!(table.ends_with("the bias is for species=Adelie, island=Biscoe, sex=FEMALE\n"), "{table}");
    folder.write("open.csv", "x,x2,y\n1,2,1\n2,4,3\n3,6,2\n4,8,5\n");
    let open = succeed(&folder, &["train", "open.csv", "--json", "--quiet"]).json()["least_squares"].clone();
    assert_eq!(
        (&open["determined"], &open["parameters"][0]["standard_error"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let names: Vec<&str> =
        open["determined_sums"].as_array().unwrap().iter().map(|sum| sum["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bias"], "x and x2 are open");
    let page = succeed(&folder, &["train", "open.csv"]).stdout;
    assert!(page.ends_with("left open, since other columns make them up: x, x2\n"), "{page}");
}

/// One-hot columns beside the same data in treatment coding, which has full rank.
#[test]
fn differences_of_one_hot_columns_are_those_of_a_regression_without_the_first_values() {
    let folder = Folder::new();
    let noise = |i: usize| ((i * 7919 + i * i * 31) % 1009) as f64 / 1009.0;
    let rows: Vec<([usize; 2], f64, f64)> = (0..60)
        .map(|i| {
            let (group, side, x) = (i * 5 / 4 % 3, i / 7 % 2, 50.0 + 10.0 * noise(i));
            ([group, side], x, 3.0 * group as f64 - side as f64 + 0.5 * x + noise(3 * i + 1))
        })
        .collect();
    let mut text = String::from("group,x,side,y\n");
    for ([group, side], x, y) in &rows {
        text += &format!("{},{x},{},{y}\n", ["a", "b", "c"][*group], ["left", "right"][*side]);
    }
    folder.write("groups.csv", text);
    let found = succeed(&folder, &["train", "groups.csv", "--json", "--quiet"]).json()["least_squares"].clone();

    // group b, group c, x, side right, 1
    let design = |i: usize, c: usize| {
        let ([group, side], x, _) = rows[i];
        [f64::from(group == 1), f64::from(group == 2), x, side as f64, 1.0][c]
    };
    let design = DMatrix::from_fn(rows.len(), 5, design);
    let y = DVector::from_fn(rows.len(), |i, _| rows[i].2);
    let inverse = design.clone().svd(true, true).pseudo_inverse(0.0).unwrap();
    let best = &inverse * &y;
    let variance = (&design * &best - &y).norm_squared() / (rows.len() - 5) as f64;
    let names = ["group: b - a", "group: c - a", "x", "side: right - left", "bias"];
    for (at, sum) in found["determined_sums"].as_array().unwrap().iter().enumerate() {
        assert_eq!(sum["name"], names[at]);
        let error = (variance * inverse.row(at).norm_squared()).sqrt();
        let number = |key: &str| sum[key].as_f64().unwrap();
        assert!((number("standard_error") / error - 1.0).abs() < 1e-9, "{sum} {error}");
        assert!((number("least_squares") - best[at]).abs() < 1e-9 * error, "{sum} {}", best[at]);
        assert!((number("value") - best[at]).abs() < 0.1 * error, "{sum} {}", best[at]);
    }
    assert_eq!(found["determined_sums"].as_array().unwrap().len(), 5);
    assert!(found["farthest_in_standard_errors"].as_f64().is_some());
}
