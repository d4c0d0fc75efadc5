//! What `gradus doctor` and the library's `diagnose` say of data, held to references and to what really happens.

mod common;
#[path = "common/frame.rs"]
mod frame;
#[path = "common/steps.rs"]
mod steps;

use common::{Folder, data as file, gradus, gradus_with_input, succeed};
use frame::{Frame, NAMES};
use gradus::data::Standardizer;
use gradus::diagnose::{SuspectOptions, spectrum, stable_rates, suspects};
use gradus::optim::Momentum;
use gradus::train::{BatchSize, Curvature, TrainConfig, Trainer, mean_loss};
use gradus::{BinaryCrossEntropy, CrossEntropy, Dataset, ErrorKind, Linear, Loss, Mse, SgdConfig, Target};
use nalgebra::DMatrix;
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use steps::Steps;

fn standardised(data: &Dataset<f64>) -> Dataset<f64> {
    let mut data = data.clone();
    Standardizer::fit(&data).apply(&mut data).unwrap();
    data
}

/// The squares of the singular values of `[x 1] / sqrt(n)`, by nalgebra.
fn eigenvalues(data: &Dataset<f64>, bias: bool) -> Vec<f64> {
    let (rows, width) = data.features().dim();
    let x = DMatrix::from_fn(rows, width + usize::from(bias), |r, c| data.row(r).get(c).copied().unwrap_or(1.0));
    let singular = (x / (rows as f64).sqrt()).svd(false, false).singular_values;
    let mut values: Vec<f64> = singular.iter().map(|s| s * s).collect();
    values.sort_by(f64::total_cmp);
    values
}

#[test]
fn curvatures_and_condition_numbers_are_those_of_a_full_decomposition() {
    for name in NAMES {
        let raw = Frame::read(name).data;
        for (data, bias) in [(&raw, true), (&raw, false), (&standardised(&raw), true), (&standardised(&raw), false)] {
            let found = spectrum(data, &Mse, 1, bias).unwrap();
            let expected = eigenvalues(data, bias);
            let largest = expected[expected.len() - 1];
            let zero = largest * (f64::EPSILON * data.rows() as f64).powi(2);
            let flat = expected.iter().filter(|v| **v <= zero).count();
            let smallest = expected[flat];
            let agree = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-6;
            assert!(agree(found.largest, 2.0 * largest), "{name} {bias}: {found:?} {largest}");
            assert!(agree(found.smallest, 2.0 * smallest), "{name} {bias}: {found:?} {smallest:e}");
            assert!(agree(found.condition, largest / smallest), "{name} {bias}: {found:?}");
            assert_eq!((found.flat_directions, found.complete), (flat, true), "{name} {bias}");
        }
    }
}

#[test]
fn of_data_with_far_more_columns_than_rows_all_that_varies_is_measured() {
    let cell = |(i, j): (usize, usize)| ((i * 7919 + j * 104_729 + i * j * 31) % 2003) as f64 / 1001.0 - 1.0;
    let data =
        Dataset::with_values(ndarray::Array2::from_shape_fn((30, 500), cell), ndarray::Array2::zeros((30, 1))).unwrap();
    let found = spectrum(&data, &Mse, 1, true).unwrap();
    assert_eq!((found.complete, found.flat_directions), (true, 501 - 30));
    let expected = eigenvalues(&data, true);
    let (smallest, largest) = (expected[0], expected[29]);
    assert!((found.condition / (largest / smallest) - 1.0).abs() < 1e-6, "{found:?} {smallest} {largest}");
}

#[test]
fn the_condition_number_of_diabetes_standardised_is_numpys() {
    // NumPy's numpy.linalg.cond of X'X, X standardised, as tests/data/reference/optimum.json has it.
    let optimum: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(common::reference("optimum.json")).unwrap()).unwrap();
    let expected = optimum["diabetes"]["condition_number_standardised"].as_f64().unwrap();
    let data = standardised(&Frame::read("diabetes").data);
    for bias in [false, true] {
        let condition = spectrum(&data, &Mse, 1, bias).unwrap().condition;
        assert!((condition / expected - 1.0).abs() < 1e-9, "{condition} {expected}");
    }
}

/// Trains with this loss on a full batch; `None` if the run diverged, otherwise the loss before and after. What
/// converges swings no wider late than before.
fn train(data: &Dataset<f64>, loss: &dyn Loss<f64>, outputs: usize, lr: f64, momentum: Momentum) -> Option<(f64, f64)> {
    let mut model = Linear::new(data.features().ncols(), outputs);
    let before = mean_loss(&model, loss, data);
    let mut sgd = SgdConfig::new(lr).momentum(momentum).build().unwrap();
    let config = TrainConfig { epochs: 3000, batch_size: BatchSize::Full, threads: 1, ..TrainConfig::default() };
    let mut steps = Steps::default();
    match Trainer::new(config).unwrap().observer(&mut steps).fit(&mut model, loss, &mut sgd, data) {
        Ok(report) => {
            let highest = |from: usize| steps.epoch_losses[from..from + 500].iter().copied().fold(0.0, f64::max);
            assert!(highest(2500) <= (1.0 + 1e-9) * highest(1000), "it swings ever wider");
            Some((before, report.loss))
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Diverged { .. } | ErrorKind::NonFinite { .. }), "{error}");
            None
        }
    }
}

#[test]
fn the_stable_learning_rate_is_right_on_both_sides() {
    for name in ["iris", "wine", "diabetes", "line"] {
        let frame = Frame::read(name);
        for data in [frame.data.clone(), standardised(&frame.data)] {
            let l = spectrum(&data, &Mse, 1, true).unwrap().largest;
            let curvature = Curvature { full_batch: l, largest_row: l, rows: data.rows() };
            let rates = stable_rates(&curvature, data.rows(), 0.9, 0.0);
            let classic = Momentum::Classic { momentum: 0.9, dampening: 0.0 };
            let nesterov = Momentum::Nesterov { momentum: 0.9 };
            let kinds = [(rates.full_batch, Momentum::None), (rates.momentum, classic), (rates.nesterov, nesterov)];
            for (rate, momentum) in kinds {
                let below = train(&data, &Mse, 1, 0.99 * rate, momentum);
                assert!(below.is_some_and(|(before, after)| after < before), "{name} {momentum:?}: {below:?}");
                assert_eq!(train(&data, &Mse, 1, 1.01 * rate, momentum), None, "{name} {momentum:?}");
            }
        }
    }
}

#[test]
fn the_command_states_rates_that_are_right_on_both_sides() {
    let folder = Folder::new();
    let sets: [(&str, &[&str]); 4] = [
        ("lesson/line", &[]),
        ("diabetes", &[]),
        ("iris", &["--target", "petal_width", "--drop", "species"]),
        ("wine", &["--target", "proline", "--drop", "cultivar"]),
    ];
    for (name, options) in sets {
        let path = file(&format!("{name}.csv"));
        let stated = succeed(&folder, &[&["doctor", &path, "--rows", "1", "--json"], options].concat()).json();
        let rate = stated["standardized"]["stable_lr"]["full_batch"].as_f64().unwrap();
        for (share, status) in [(0.99, 0), (1.01, 1)] {
            let lr = (share * rate).to_string();
            let way = ["train", &path, "--lr", &lr, "--batch-size", "full", "--epochs", "3000", "--quiet"];
            let run = gradus(&folder, &[&way, options].concat());
            assert_eq!(run.status, status, "{name} at {share}: {}", run.stderr);
        }
    }
}

#[test]
fn classifiers_converge_below_their_stable_rate() {
    for name in ["iris", "wine"] {
        let frame = Frame::read(name);
        let data = standardised(&frame.with_classes(&frame.classes()));
        let l = spectrum(&data, &CrossEntropy::new(), 3, true).unwrap().largest;
        let (before, after) = train(&data, &CrossEntropy::new(), 3, 0.99 * 2.0 / l, Momentum::None).unwrap();
        assert!(after < 0.1 * before, "{name}: {before} {after}");
    }
}

/// The share of flipped rows among as many listed ones, over 20 seeds, in order.
fn precision(name: &str) -> Vec<f64> {
    let frame = Frame::read(name);
    let classes = frame.classes();
    let count = classes.iter().max().unwrap() + 1;
    let mut shares: Vec<f64> = (0..20)
        .map(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let flips = (classes.len() as f64 * 0.02).round() as usize;
            let flipped = sample(&mut rng, classes.len(), flips).into_vec();
            let mut labels = classes.clone();
            for (at, &row) in flipped.iter().enumerate() {
                labels[row] = (labels[row] + 1 + at % (count - 1)) % count;
            }
            let loss: &dyn Loss<f64> = if count == 2 { &BinaryCrossEntropy::new() } else { &CrossEntropy::new() };
            let outputs = if count == 2 { 1 } else { count };
            let data = standardised(&frame.with_classes(&labels));
            let curvature = gradus::train::curvature(&data, loss, outputs, true).unwrap();
            let options = SuspectOptions { rows: flips, ..SuspectOptions::default() };
            let listed = suspects(&data, loss, outputs, true, &curvature, &options).unwrap().mislabelled;
            assert_eq!(listed.len(), flips);
            listed.iter().filter(|m| flipped.contains(&m.row)).count() as f64 / flips as f64
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    shares
}

#[test]
fn of_the_rows_listed_as_mislabelled_most_are() {
    let median = |shares: &[f64]| (shares[9] + shares[10]) / 2.0;
    let (breast_cancer, iris) = (precision("breast_cancer"), precision("iris"));
    assert!(median(&breast_cancer) >= 0.8, "{breast_cancer:?}");
    assert!(median(&iris) >= 0.8, "{iris:?}");
}

/// Each in turn of 50 rows gets a value ten times too large, and ten rows are listed.
#[test]
fn values_with_a_slipped_decimal_point_are_listed_as_mistyped() {
    for (name, least) in [("diabetes", 0.95), ("breast_cancer", 0.8)] {
        let frame = Frame::read(name);
        let mut found = 0;
        for trial in 0..50 {
            let (row, column) = (trial * 37 % frame.data.rows(), trial * 7 % frame.data.features().ncols());
            let mut features = frame.data.features().to_owned();
            features[[row, column]] *= 10.0;
            let target = |row| match frame.data.targets().row(row) {
                Target::Values(values) => values[0],
                Target::Class(class) => class as f64,
            };
            let targets = ndarray::Array2::from_shape_fn((frame.data.rows(), 1), |(row, _)| target(row));
            let data = standardised(&Dataset::with_values(features, targets).unwrap());
            let loss: &dyn Loss<f64> = if name == "diabetes" { &Mse } else { &BinaryCrossEntropy::new() };
            let curvature = gradus::train::curvature(&data, loss, 1, true).unwrap();
            let options = SuspectOptions { rounds: 1, ..SuspectOptions::default() };
            let listed = suspects(&data, loss, 1, true, &curvature, &options).unwrap().mistyped;
            found += usize::from(listed.iter().any(|m| m.row == row && m.feature == column));
        }
        assert!(found as f64 >= least * 50.0, "{name}: {found} of 50");
    }
}

/// The codes of the findings, the worst first.
fn codes(folder: &Folder, arguments: &[&str]) -> Vec<String> {
    let found = succeed(folder, &[&["doctor"], arguments, &["--json", "--rows", "2"]].concat()).json();
    found["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sound_data_are_given_no_warning() {
    let folder = Folder::new();
    for (name, options) in
        [("iris", &[][..]), ("wine", &[]), ("diabetes", &[]), ("lesson/line", &[]), ("lesson/plane", &[])]
    {
        let path = file(&format!("{name}.csv"));
        let found = succeed(&folder, &[&["doctor", &path, "--json"], options].concat()).json();
        for finding in found["findings"].as_array().unwrap() {
            assert_eq!(finding["severity"], "note", "{name}: {finding}");
        }
    }
}

#[test]
fn each_oddity_is_found_and_mended_by_the_option_it_names() {
    let folder = Folder::new();
    let noise = |i: usize, k: usize| ((i * 7919 + k * 104_729 + i * i * 31) % 1009) as f64 / 1009.0;
    let mut text = String::from("id,same,x,copy,sum,wide,leak,y\n");
    for i in 0..80 {
        let (x, w) = (noise(i, 1), 1000.0 * noise(i, 2));
        let y = x + noise(i, 5);
        let (sum, leak) = (x + w + 3.0, 2.0 * y + 1.0);
        text.push_str(&format!("{},7,{x},{x},{sum},{w},{leak},{y}\n", i + 1));
    }
    folder.write("odd.csv", &text);
    let found = codes(&folder, &["odd.csv"]);
    assert_eq!(found, ["giveaway", "row_number", "duplicate", "collinear", "constant", "scales"]);
    let page = succeed(&folder, &["doctor", "odd.csv", "--rows", "2"]).stdout;
    for remedy in ["--drop id", "--drop copy", "--drop leak", "--drop same"] {
        assert!(page.contains(&format!("-> {remedy}")) || page.contains(&format!("predict: {remedy}")), "{page}");
    }
    let mended = codes(&folder, &["odd.csv", "--drop", "id,same,copy,sum,leak"]);
    assert_eq!(mended, ["scales"]);
    let as_given = codes(&folder, &["odd.csv", "--features", "x,wide", "--no-standardize"]);
    assert_eq!(as_given, ["scales", "ill_conditioned"]);
    let given = succeed(&folder, &["doctor", "odd.csv", "--features", "x,wide", "--no-standardize", "--json"]).json();
    assert_eq!(given["findings"][0]["severity"], "warning");
}

#[test]
fn missing_values_and_rare_classes_are_found() {
    let folder = Folder::new();
    let penguins = file("penguins.csv");
    let found = succeed(&folder, &["doctor", &penguins, "--target", "species", "--json"]).json();
    assert_eq!((&found["findings"][0]["code"], &found["dropped_rows"]), (&"missing_values".into(), &11.into()));
    assert!(found["findings"][0]["message"].as_str().unwrap().starts_with("19 values missing"), "{found}");
    assert!(found["findings"][0]["remedy"].as_str().unwrap().contains("--missing drop leaves 11 rows out"));
    assert!(
        !codes(&folder, &[&penguins, "--target", "species", "--features", "island"]).contains(&"missing_values".into())
    );

    let mut text = String::from("x,y\n");
    (0..60).for_each(|i| text.push_str(&format!("{},{}\n", i % 17, if i % 20 == 7 { "rare" } else { "common" })));
    folder.write("rare.csv", &text);
    let found = succeed(&folder, &["doctor", "rare.csv", "--json"]).json();
    assert_eq!(found["classes"][1], serde_json::json!({"name": "rare", "rows": 3}));
    assert!(found["findings"].to_string().contains("--class-weight balanced"), "{found}");
}

#[test]
fn flipped_labels_and_slipped_points_are_listed_with_their_lines() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(file("iris.csv")).unwrap();
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| match at + 1 {
            10 => line.replace("setosa", "virginica"),
            140 => line.replace("virginica", "setosa"),
            60 => line.replacen('.', "", 1),
            _ => line.to_owned(),
        })
        .collect();
    folder.write("iris.csv", lines.join("\n"));
    let found = succeed(&folder, &["doctor", "iris.csv", "--rows", "2", "--json"]).json();
    let listed = |kind: &str| -> Vec<u64> {
        let rows = found["suspicious_rows"][kind].as_array().unwrap();
        rows.iter().map(|row| row["line"].as_u64().unwrap()).collect()
    };
    let mut mislabelled = listed("mislabelled");
    mislabelled.sort_unstable();
    assert_eq!(mislabelled, [10, 140]);
    assert_eq!(listed("mistyped")[0], 60);
    let first = &found["suspicious_rows"]["mistyped"][0];
    assert_eq!((&first["column"], &first["value"]), (&"sepal_length".into(), &66.0.into()), "{first}");
    let codes: Vec<&str> = found["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"mislabelled") && codes.contains(&"mistyped"), "{codes:?}");
}

#[test]
fn the_auto_settings_are_those_that_train_takes() {
    let folder = Folder::new();
    for name in ["diabetes", "breast_cancer"] {
        let path = file(&format!("{name}.csv"));
        let doctor = succeed(&folder, &["doctor", &path, "--rows", "1", "--json", "--weight-decay", "0.01"]).json();
        let train = succeed(&folder, &["train", &path, "--quiet", "--json", "--weight-decay", "0.01"]).json();
        for setting in ["lr", "momentum", "nesterov", "schedule", "batch_size"] {
            assert_eq!(doctor["auto"][setting], train["config"][setting], "{name} {setting}");
        }
        assert_eq!(doctor["auto"]["epochs"], train["epochs"], "{name}");
    }
}

#[test]
fn every_page_fits_eighty_columns_and_quiet_is_quiet() {
    let folder = Folder::new();
    for (name, target) in
        [("iris", "species"), ("breast_cancer", "diagnosis"), ("penguins", "species"), ("diabetes", "progression")]
    {
        std::fs::copy(file(&format!("{name}.csv")), folder.path().join("d.csv")).unwrap();
        let page = succeed(&folder, &["doctor", "d.csv", "--target", target]).stdout;
        for line in page.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{name}: {line:?}");
        }
    }
    let run = succeed(&folder, &["doctor", "d.csv", "--quiet"]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let csv = succeed(&folder, &["synth", "blobs", "--rows", "60"]).stdout;
    let run = gradus_with_input(&folder, &["doctor", "-", "--json", "--dtype", "f32", "--no-bias"], &csv);
    assert_eq!((run.status, &run.json()["rows"]), (0, &60.into()), "{}", run.stderr);
}

#[test]
fn data_that_cannot_be_read_are_refused_as_in_training() {
    let folder = Folder::new();
    folder.write("bad.csv", format!("x,y\n{}oops,2\n", "1,2\n".repeat(20)));
    folder.write("one.csv", "y\n1\n2\n");
    for (arguments, status, says) in [
        (["doctor", "bad.csv", "--rows", "3"], 1, "bad.csv:22: column \"x\": \"oops\" is not a number"),
        (["doctor", "one.csv", "--rows", "3"], 1, "one.csv: there are no feature columns"),
        (["doctor", "bad.csv", "--rows", "0"], 2, "1 or above"),
    ] {
        let run = gradus(&folder, &arguments);
        assert_eq!((run.status, run.stdout.as_str()), (status, ""), "{}", run.stderr);
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
    folder.write("few.csv", "x,c,y\n1,a,3\n2,b,5\n");
    for text in ["x,y\n1,2\n", "x,c,y\n1,a,3\n2,b,5\n", "x,y\n1,2\n1,2\n", "x,y\n0,0\n0,0\n0,0\n"] {
        folder.write("few.csv", text);
        let run = gradus(&folder, &["doctor", "few.csv"]);
        assert_eq!(run.status, 0, "{text:?}: {}", run.stderr);
    }
}
