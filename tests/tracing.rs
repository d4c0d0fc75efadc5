//! A number that is not finite is traced to the row and column it came from.

mod common;

use common::{Folder, data, gradus, succeed};
use gradus::data::{CsvOptions, Schema, SchemaOptions, Table, TargetRole};
use gradus::model::Model;
use gradus::optim::Momentum;
use gradus::train::{BatchSize, NonFinite, TrainConfig, Trainer};
use gradus::{
    BinaryCrossEntropy, Cause, CrossEntropy, Culprit, Dataset, Error, ErrorKind, Huber, Init, Linear, Loss, Mse,
    Result, Scalar, SgdConfig,
};
use ndarray::{Array2, array};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TRIALS: usize = 1000;

/// digits.csv, cell by cell.
struct Digits {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Where something was planted.
struct Planted {
    row: usize,
    column: usize,
    name: String,
}

impl Digits {
    fn read() -> Self {
        let text = std::fs::read_to_string(data("digits.csv")).unwrap();
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        Digits { names: lines.next().unwrap(), rows: lines.collect() }
    }

    fn somewhere(&self, rng: &mut ChaCha8Rng) -> Planted {
        let (row, column) = (rng.random_range(0..self.rows.len()), rng.random_range(0..self.names.len() - 1));
        Planted { row, column, name: self.names[column].clone() }
    }

    /// The file with something else in one cell. Only every twentieth row is kept, and that one: for speed.
    fn text(&self, at: &Planted, cell: &str) -> (String, u64) {
        let mut text = self.names.join(",");
        let (mut line, mut found) = (1, 0);
        for (row, cells) in self.rows.iter().enumerate() {
            if row % 20 != 0 && row != at.row {
                continue;
            }
            line += 1;
            let mut cells = cells.clone();
            if row == at.row {
                cells[at.column] = cell.to_owned();
                found = line;
            }
            text.push('\n');
            text.push_str(&cells.join(","));
        }
        (text, found)
    }

    fn numbers(&self) -> (Array2<f64>, Vec<usize>) {
        let width = self.names.len() - 1;
        let features = Array2::from_shape_fn((self.rows.len(), width), |(r, c)| self.rows[r][c].parse().unwrap());
        (features, self.rows.iter().map(|cells| cells[width].parse().unwrap()).collect())
    }
}

fn parsed<T: Scalar>(text: &str) -> Result<Dataset<T>> {
    let table = Table::<T>::parse("digits.csv", text, &CsvOptions::default())?;
    let options = SchemaOptions { target_role: TargetRole::Classes, ..SchemaOptions::default() };
    let (schema, _) = Schema::infer(&table, &options)?;
    Ok(schema.encode(&table)?.data)
}

fn culprit(error: &Error) -> &Culprit {
    match error.kind() {
        ErrorKind::NonFinite { culprit, .. } | ErrorKind::Diverged { culprit: Some(culprit), .. } => culprit,
        _ => panic!("{error}"),
    }
}

fn train<T: Scalar>(data: &Dataset<T>, config: TrainConfig, lr: f64) -> Error {
    let mut model = Linear::new(data.features().ncols(), 10);
    let mut sgd = SgdConfig::new(lr).build().unwrap();
    let run = Trainer::new(config).unwrap().fit(&mut model, &CrossEntropy::new(), &mut sgd, data);
    assert!(model.parameters().iter().all(|p| p.values().iter().all(|v| v.is_finite())), "a parameter is not finite");
    run.expect_err("the run went well")
}

fn one_step() -> TrainConfig {
    TrainConfig { epochs: 1, batch_size: BatchSize::Full, threads: 1, ..TrainConfig::default() }
}

#[test]
fn a_nan_or_infinity_in_memory_is_refused_with_its_row_and_column() {
    let digits = Digits::read();
    let (features, classes) = digits.numbers();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for trial in 0..TRIALS {
        let at = digits.somewhere(&mut rng);
        let planted = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][trial % 3];
        let mut features = features.clone();
        features[[at.row, at.column]] = planted;
        let error = Dataset::with_classes(features, classes.clone()).unwrap_err();
        let ErrorKind::Feature { row, feature, value } = *error.kind() else { panic!("{error}") };
        assert_eq!((row, feature, value.to_bits()), (at.row, at.column, planted.to_bits()), "trial {trial}");
    }
}

#[test]
fn a_nan_infinity_or_overflow_in_a_file_is_refused_with_its_line_and_column() {
    let digits = Digits::read();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for trial in 0..TRIALS {
        let at = digits.somewhere(&mut rng);
        let (text, line) = digits.text(&at, ["NaN", "inf", "-inf", "1e999"][trial % 4]);
        let error = parsed::<f64>(&text).unwrap_err();
        let ErrorKind::Data { place, .. } = error.kind() else { panic!("{error}") };
        assert_eq!((place.line, place.column.as_deref()), (Some(line), Some(&*at.name)), "trial {trial}: {error}");
    }
}

#[test]
fn a_value_that_overflows_the_gradient_is_traced_to_its_line_column_and_parameter() {
    let digits = Digits::read();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for trial in 0..TRIALS {
        let at = digits.somewhere(&mut rng);
        let (text, line) = digits.text(&at, ["1e200", "-1e180", "1e300", "1.7e308"][trial % 4]);
        let data = parsed::<f64>(&text).unwrap();
        let error = train(&data, one_step(), 0.001);
        let ErrorKind::NonFinite { step, epoch, .. } = *error.kind() else { panic!("{error}") };
        let culprit = culprit(&error);
        let place = culprit.place.as_ref().unwrap();
        assert_eq!((place.line, place.column.as_deref()), (Some(line), Some(&*at.name)), "trial {trial}: {error}");
        assert_eq!((culprit.cause, culprit.feature), (Cause::Data, Some(at.column)), "trial {trial}: {error}");
        let (parameter, index) = culprit.parameter.as_ref().unwrap();
        assert_eq!((parameter.as_str(), index % 64), ("weight", at.column), "trial {trial}: {error}");
        assert_eq!((step, epoch), (1, 1), "trial {trial}: {error}");
    }
}

/// The whole of digits.csv, in memory.
#[test]
fn an_overflow_or_a_huge_value_in_memory_is_traced_to_its_row_and_column() {
    let digits = Digits::read();
    let (mut features, classes) = digits.numbers();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for trial in 0..TRIALS {
        let at = digits.somewhere(&mut rng);
        let kept = features[[at.row, at.column]];
        let (planted, epochs) = [(1e200, 1), (1e50, 4), (-1e160, 1), (-1e6, 4)][trial % 4];
        features[[at.row, at.column]] = planted;
        let data = Dataset::with_classes(features.clone(), classes.clone()).unwrap();
        features[[at.row, at.column]] = kept;
        let error = train(&data, TrainConfig { epochs, ..one_step() }, 0.1);
        let culprit = culprit(&error);
        assert_eq!((culprit.row, culprit.feature), (Some(at.row), Some(at.column)), "trial {trial}: {error}");
        assert_eq!((culprit.cause, culprit.value), (Cause::Data, Some(planted)), "trial {trial}: {error}");
    }
}

#[test]
fn a_value_that_overflows_f32_is_traced() {
    let digits = Digits::read();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for trial in 0..100 {
        let at = digits.somewhere(&mut rng);
        let (text, line) = digits.text(&at, ["1e30", "-3e38"][trial % 2]);
        let error = train(&parsed::<f32>(&text).unwrap(), one_step(), 0.001);
        let place = culprit(&error).place.as_ref().unwrap();
        assert_eq!((place.line, place.column.as_deref()), (Some(line), Some(&*at.name)), "trial {trial}: {error}");
    }
}

#[test]
fn a_value_that_makes_a_run_diverge_in_finite_numbers_is_traced() {
    let digits = Digits::read();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for trial in 0..TRIALS {
        let at = digits.somewhere(&mut rng);
        let (text, line) = digits.text(&at, ["1e5", "-1e9", "1e50", "1e100"][trial % 4]);
        let error = train(&parsed::<f64>(&text).unwrap(), TrainConfig { epochs: 4, ..one_step() }, 0.1);
        let culprit = culprit(&error);
        let place = culprit.place.as_ref().unwrap();
        assert_eq!((place.line, place.column.as_deref()), (Some(line), Some(&*at.name)), "trial {trial}: {error}");
        assert_eq!(culprit.cause, Cause::Data, "trial {trial}: {error}");
    }
}

#[test]
fn without_a_culprit_in_the_data_the_diverged_parameter_is_named() {
    let data = Dataset::with_values(array![[1.0, 2.0], [3.0, 1.0]], array![[1.0], [2.0]]).unwrap();
    let mut model = Linear::new(2, 1);
    let mut sgd = SgdConfig::new(1e30).build().unwrap();
    let config = TrainConfig { epochs: 100, ..one_step() };
    let error = Trainer::new(config).unwrap().fit(&mut model, &Mse, &mut sgd, &data).unwrap_err();
    let culprit = culprit(&error);
    assert_eq!(culprit.cause, Cause::Diverged, "{error}");
    let (name, index) = culprit.parameter.as_ref().unwrap();
    let largest = model.parameters().iter().find(|p| p.name() == name).unwrap().values()[*index];
    assert_eq!(Some(largest), culprit.value);
    assert!(model.parameters().iter().all(|p| p.values().iter().all(|v| v.abs() <= largest.abs())));
    assert!(error.to_string().contains("the run diverged"), "{error}");
}

#[test]
fn an_overflow_of_the_logits_is_told_from_data_that_are_too_large() {
    let data = Dataset::with_values(array![[1e200, 1e199], [2e200, 1e199]], array![[1.0], [2.0]]).unwrap();
    let fail = |weight: f64| {
        let mut model = Linear::from_parts(array![[weight, weight]], None).unwrap();
        let mut sgd = SgdConfig::new(1e-3).build().unwrap();
        Trainer::new(one_step()).unwrap().fit(&mut model, &Mse, &mut sgd, &data).unwrap_err()
    };
    let overflow = fail(1e120);
    assert_eq!((culprit(&overflow).cause, culprit(&overflow).feature), (Cause::Overflow, Some(0)), "{overflow}");
    assert!(overflow.to_string().contains("the logits overflow f64 at row 0"), "{overflow}");
    assert_eq!(culprit(&fail(0.0)).cause, Cause::Data);
}

#[test]
fn a_target_that_is_too_large_is_named_as_the_target() {
    let targets = Array2::from_shape_fn((20, 1), |(i, _)| if i == 7 { 1e180 } else { i as f64 });
    let data = Dataset::with_values(Array2::from_shape_fn((20, 1), |(i, _)| i as f64), targets).unwrap();
    let mut sgd = SgdConfig::new(1e-3).build().unwrap();
    let error = Trainer::new(one_step()).unwrap().fit(&mut Linear::new(1, 1), &Mse, &mut sgd, &data).unwrap_err();
    let culprit = culprit(&error);
    assert_eq!((culprit.row, culprit.feature, culprit.column.as_deref()), (Some(7), None, Some("target")), "{error}");
}

#[test]
fn an_update_that_overflows_never_stays_in_the_parameters() {
    let data = Dataset::with_values(array![[1.0], [2.0]], array![[1e100], [2e100]]).unwrap();
    for (momentum, batch) in [(0.0, 2), (0.9, 2), (0.0, 1), (0.9, 1)] {
        let mut model = Linear::new(1, 1);
        let mut sgd =
            SgdConfig::new(1e300).momentum(Momentum::Classic { momentum, dampening: 0.0 }).build::<f64>().unwrap();
        let config = TrainConfig { batch_size: BatchSize::Rows(batch), ..one_step() };
        let error = Trainer::new(config).unwrap().fit(&mut model, &Mse, &mut sgd, &data).unwrap_err();
        assert!(error.to_string().contains("the update of weight[0] overflows f64"), "{error}");
        assert_eq!(model.weight(), array![[0.0]], "the values before the step come back");
    }
}

#[test]
fn a_decay_that_blows_the_parameters_up_between_looks_leaves_finite_ones() {
    let data = Dataset::with_classes(array![[1e-300], [2e-300], [-1e-300]], vec![0, 1, 0]).unwrap();
    let mut model = Linear::<f64>::new(1, 2).initialized(Init::Uniform { seed: 1 });
    let mut sgd = SgdConfig::new(1e3).weight_decay(1e3).build().unwrap();
    let config = TrainConfig { epochs: 200, batch_size: BatchSize::Rows(1), ..one_step() };
    let error = Trainer::new(config).unwrap().fit(&mut model, &CrossEntropy::new(), &mut sgd, &data).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NonFinite { .. }), "{error}");
    assert!(model.parameters().iter().all(|p| p.values().iter().all(|v| v.is_finite())));
}

#[test]
fn an_update_that_is_found_to_have_overflowed_by_the_next_loss_is_named_and_taken_back() {
    fn check(loss: &dyn Loss<f32>, data: &Dataset<f32>, outputs: usize, skipped: Option<u64>) {
        let start = Linear::<f32>::new(1, outputs).initialized(Init::Uniform { seed: 1 });
        let run = |non_finite| {
            let mut model = start.clone();
            // From 1 by way of 1e20 to what f32 cannot hold, within an epoch.
            let mut sgd = SgdConfig::new(1.0).weight_decay(1e20).build().unwrap();
            let config = TrainConfig { batch_size: BatchSize::Rows(1), non_finite, ..one_step() };
            let result = Trainer::new(config).unwrap().fit(&mut model, loss, &mut sgd, data);
            (result, model)
        };
        let (result, model) = run(NonFinite::Stop);
        let error = result.unwrap_err();
        let name = loss.name();
        assert!(
            error.to_string().contains("the update of weight[0] overflows f32: learning rate 1"),
            "{name}: {error}"
        );
        assert!(matches!(error.kind(), ErrorKind::NonFinite { step: 2, epoch: 1, .. }), "{name}: {:?}", error.kind());
        assert_eq!(model.weight(), start.weight());

        // The second step's overflow takes the third batch with it; the fifth's is found at the end of the epoch.
        let (result, model) = run(NonFinite::Skip);
        assert_eq!(result.ok().map(|report| report.skipped_steps), skipped, "{name}");
        assert!(model.parameters().iter().all(|p| p.values().iter().all(|value| value.is_finite())), "{name}");
    }
    let x = || array![[1.0_f32], [2.0], [-1.0], [3.0], [0.5]];
    check(&CrossEntropy::new(), &Dataset::with_classes(x(), vec![0, 1, 0, 1, 0]).unwrap(), 2, Some(3));
    let values = Dataset::with_values(x(), array![[0.0], [1.0], [0.0], [1.0], [0.0]]).unwrap();
    check(&BinaryCrossEntropy::new(), &values, 1, Some(3));
    // With a weight of 1e20 the fifth row costs as much: the run diverged, whatever was skipped.
    check(&Huber::new(), &values, 1, None);
}

#[test]
fn parameters_that_are_not_finite_from_the_start_are_no_updates_fault() {
    let data = Dataset::with_values(array![[1.0], [2.0]], array![[1.0], [2.0]]).unwrap();
    let mut model = Linear::from_parts(array![[f64::NAN]], None).unwrap();
    let mut sgd = SgdConfig::new(0.1).build().unwrap();
    let error = Trainer::new(one_step()).unwrap().fit(&mut model, &Mse, &mut sgd, &data).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NonFinite { step: 1, .. }), "{:?}", error.kind());
    assert!(!error.to_string().contains("the update of"), "{error}");
}

#[test]
fn a_step_that_is_skipped_is_left_out_counted_and_reported() {
    let folder = Folder::new();
    let mut text = String::from("x,z,y\n");
    for i in 0..100 {
        let x = if i == 41 { "1e200".to_owned() } else { format!("{}", i as f64 / 50.0) };
        text.push_str(&format!("{x},{},{}\n", i % 7, 2 * i));
    }
    folder.write("data.csv", &text);
    let stop = ["train", "data.csv", "--no-standardize", "--lr", "0.01", "--batch-size", "10", "--epochs", "5"];
    let run = gradus(&folder, &[&stop[..], &["-o", "m"]].concat());
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("data.csv:43: column \"x\" is 1e200"), "{}", run.stderr);
    assert!(run.stderr.contains("(epoch 1)") && run.stderr.contains("weight[0]"), "{}", run.stderr);
    assert!(!folder.path().join("m").exists());

    let run = succeed(&folder, &[&stop[..], &["--non-finite", "skip", "-o", "m", "--log", "l.jsonl"]].concat());
    assert!(run.stdout.contains("left out    5 steps"), "{}", run.stdout);
    assert_eq!(run.stderr.matches("left out: ").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("; mend the value or leave its row out"), "{}", run.stderr);
    assert!(
        run.stdout.contains("warnings    non_finite_step (5)") && !run.stdout.contains("least sq."),
        "{}",
        run.stdout
    );
    assert!(folder.text("l.jsonl").contains("\"code\":\"non_finite_step\""));
    let model = succeed(&folder, &["inspect", "m", "--json"]).json();
    assert!(model["weight"][0][0].as_f64().is_some_and(f64::is_finite));
    let steps = folder.text("l.jsonl").lines().filter(|line| line.contains("\"kind\":\"step\"")).count();
    assert_eq!(steps, 45, "every other step is taken");
}

#[test]
fn a_run_whose_every_step_is_skipped_is_an_error() {
    let data = Dataset::with_values(array![[1e200], [1.0]], array![[1.0], [1.0]]).unwrap();
    let config = TrainConfig { non_finite: NonFinite::Skip, epochs: 3, ..one_step() };
    let mut sgd = SgdConfig::new(0.1).build().unwrap();
    let error = Trainer::new(config).unwrap().fit(&mut Linear::new(1, 1), &Mse, &mut sgd, &data).unwrap_err();
    assert_eq!(culprit(&error).row, Some(0), "{error}");
}
