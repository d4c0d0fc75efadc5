//! Accumulation is exact: `accumulate` micro-batches of `batch` rows are one batch of `accumulate * batch` rows, to the
//! bit, on any number of threads, with ragged ends, weights and classes of unequal weight.

#[path = "common/steps.rs"]
mod steps;

use gradus::train::{BatchSize, TrainConfig, Trainer};
use gradus::{
    BinaryCrossEntropy, CrossEntropy, Dataset, Init, Linear, Loss, Model, Momentum, Mse, Reduction, Scalar, SgdConfig,
    TargetKind,
};
use ndarray::Array2;
use proptest::prelude::*;

use steps::Steps;

/// Numbers whose sums round differently in each order.
fn scattered(i: usize, j: usize) -> f64 {
    (1.0 + 37.0 * i as f64 + 11.0 * j as f64).sin() * 10f64.powi((i % 5) as i32 - 2)
}

/// Rows for a loss; with weights, every seventh row counts for nothing.
fn data<T: Scalar>(loss: &dyn Loss<T>, rows: usize, features: usize, outputs: usize, weighted: bool) -> Dataset<T> {
    let x = Array2::from_shape_fn((rows, features), |(i, j)| T::from_f64(scattered(i, j)));
    let data = match loss.target_kind() {
        TargetKind::Values => {
            let share = loss.classifies(); // From 0 to 1.
            let value = |i, j| if share { ((i * 7 + j) % 5) as f64 / 4.0 } else { scattered(j, i) };
            Dataset::with_values(x, Array2::from_shape_fn((rows, outputs), |(i, j)| T::from_f64(value(i, j))))
        }
        TargetKind::Classes => Dataset::with_classes(x, (0..rows).map(|i| (i * i + i / 3) % outputs).collect()),
    };
    let weights = (0..rows).map(|i| T::from_f64(0.3 * ((i + 1) % 7) as f64)).collect();
    if weighted { data.unwrap().weighted(weights).unwrap() } else { data.unwrap() }
}

/// The losses of the table, with their numbers of outputs.
fn losses<T: Scalar>() -> Vec<(&'static str, Box<dyn Loss<T>>, usize)> {
    let weights = || CrossEntropy::new().with_class_weights(vec![0.2, 1.7, 3.1]).unwrap();
    vec![
        ("mse", Box::new(Mse), 1),
        ("binary cross-entropy", Box::new(BinaryCrossEntropy::with_pos_weight(2.5).unwrap()), 1),
        ("mse of two outputs", Box::new(Mse), 2),
        ("class weights", Box::new(weights()), 3),
        ("class weights and label smoothing", Box::new(weights().with_label_smoothing(0.1).unwrap()), 3),
    ]
}

/// How the rows of an epoch are divided.
#[derive(Debug, Clone, Copy)]
struct Division {
    batch: usize,
    accumulate: usize,
    threads: usize,
}

/// Everything a run of three epochs says and leaves, as bits.
#[derive(Debug, PartialEq)]
struct Trace {
    steps: Vec<(u64, usize, u64, u64, usize)>,
    epoch_losses: Vec<u64>,
    /// Of all rows, at the end.
    loss: u64,
    parameters: Vec<u64>,
}

fn trace<T: Scalar>(loss: &dyn Loss<T>, data: &Dataset<T>, outputs: usize, seed: Option<u64>, by: Division) -> Trace {
    let mut model = Linear::new(data.features().ncols(), outputs).initialized(Init::Uniform { seed: 3 });
    let momentum = Momentum::Nesterov { momentum: 0.5 };
    let mut sgd = SgdConfig::new(1e-6).momentum(momentum).weight_decay(0.01).build().unwrap();
    let config = TrainConfig {
        epochs: 3,
        batch_size: BatchSize::Rows(by.batch),
        accumulate: by.accumulate,
        threads: by.threads,
        shuffle: seed.is_some(),
        seed: seed.unwrap_or(0),
        ..Default::default()
    };
    let mut observed = Steps::default();
    let report = Trainer::new(config).unwrap().observer(&mut observed).fit(&mut model, loss, &mut sgd, data).unwrap();
    let steps = observed.steps.iter();
    Trace {
        loss: report.loss.to_bits(),
        steps: steps.map(|s| (s.step, s.epoch, s.loss.to_bits(), s.grad_norm.to_bits(), s.samples)).collect(),
        epoch_losses: observed.epoch_losses.iter().map(|loss| loss.to_bits()).collect(),
        parameters: model.parameters().iter().flat_map(|p| p.values()).map(|v| v.as_f64().to_bits()).collect(),
    }
}

/// Rows, features, micro-batch, micro-batches a step.
const TABLE: [(&str, usize, usize, usize, usize); 14] = [
    ("everything divides", 240, 3, 20, 4),
    ("the last micro-batch is ragged", 237, 3, 20, 4),
    ("the last window is a single row", 241, 3, 20, 4),
    ("the last window is one full micro-batch", 260, 3, 20, 4),
    ("one window, longer than the data", 50, 3, 20, 4),
    ("micro-batches of one row", 100, 3, 1, 9),
    ("a micro-batch longer than the data", 30, 3, 64, 2),
    ("windows of many shards, cut inside them", 7400, 175, 70, 5),
    // From 4097 rows on a window's shards grow with it: they must not grow with the micro-batch instead.
    ("shards longer than those of a micro-batch", 20_000, 3, 1500, 4),
    ("a single feature", 700, 1, 70, 5),
    ("rows of double numbers that stay in registers", 13_500, 50, 70, 5),
    ("rows of single numbers that stay in registers", 10_100, 100, 70, 5),
    // From 6,000 multiplications a batch threads are called on, unless they have come late, where a run has 6,000,000, of
    // which a row counts for 100 more than it has.
    ("batches that threads may share", 7400, 175, 1170, 3),
    // From 4,000,000 on always.
    ("batches that threads share", 9000, 500, 2250, 4),
];

fn assert_table_holds<T: Scalar>() {
    for (name, rows, features, batch, accumulate) in TABLE {
        for (loss_name, loss, outputs) in losses::<T>() {
            for (weighted, seed) in [(false, None), (false, Some(5)), (true, None), (true, Some(5))] {
                let data = data(&*loss, rows, features, outputs, weighted);
                let run = |by| trace(&*loss, &data, outputs, seed, by);
                let whole = run(Division { batch: batch * accumulate, accumulate: 1, threads: 1 });
                // A window whose rows all weigh nothing has no mean, and is not stepped.
                let windows = rows.div_ceil(batch * accumulate);
                assert!(weighted || whole.steps.len() == 3 * windows, "{name}: {} steps", whole.steps.len());
                for threads in 1..=4 {
                    for (batch, accumulate) in [(batch, accumulate), (batch * accumulate, 1)] {
                        let by = Division { batch, accumulate, threads };
                        let what = format!("{name}, {loss_name}, {}, weighted {weighted}, seed {seed:?}", T::NAME);
                        assert!(run(by) == whole, "{what}: {by:?} differs from one batch on one thread");
                    }
                }
            }
        }
    }
}

#[test]
fn accumulated_micro_batches_are_one_batch_to_the_bit_in_f64() {
    assert_table_holds::<f64>();
}

#[test]
fn accumulated_micro_batches_are_one_batch_to_the_bit_in_f32() {
    assert_table_holds::<f32>();
}

#[test]
fn the_bits_tell_one_order_of_the_rows_from_another() {
    // Were this to fail, the tests above could not see rows added in another order.
    let by = Division { batch: 237, accumulate: 1, threads: 1 };
    for (name, loss, outputs) in losses::<f64>() {
        let data = data(&*loss, 237, 3, outputs, true);
        let backwards = data.select(&(0..237).rev().collect::<Vec<_>>());
        let of = |data| trace(&*loss, data, outputs, None, by);
        assert_ne!(of(&data), of(&backwards), "{name}");
        // Rows that all go into one step stay in file order; those of two do not.
        let by = Division { batch: 150, accumulate: 1, threads: 1 };
        assert_ne!(trace(&*loss, &data, outputs, Some(1), by), trace(&*loss, &data, outputs, Some(2), by), "{name}");
    }
}

/// The loss and the gradient of weight and bias of these rows.
fn mean(loss: &dyn Loss<f64>, model: &Linear<f64>, data: &Dataset<f64>) -> (f64, Vec<f64>) {
    let mut model = model.clone();
    let logits = model.forward(data.features()).unwrap();
    let value = loss.evaluate(logits.view(), &data.targets(), Reduction::Mean).unwrap();
    model.backward(data.features(), value.gradient.view()).unwrap();
    (value.loss, model.parameters().iter().flat_map(|p| p.gradients().to_vec()).collect())
}

#[test]
fn a_ragged_window_is_the_mean_of_its_rows_and_not_a_mean_of_means() {
    const LR: f64 = 1e-6;
    for (name, loss, outputs) in losses::<f64>() {
        let data = data(&*loss, 43, 3, outputs, true);
        let start = Linear::new(3, outputs).initialized(Init::Uniform { seed: 3 });
        let (expected, gradient) = mean(&*loss, &start, &data);
        let rows: Vec<usize> = (0..43).collect();
        let parts: Vec<f64> = rows.chunks(20).map(|rows| mean(&*loss, &start, &data.select(rows)).0).collect();
        assert_eq!(parts.len(), 3, "20, 20 and 3 rows");
        let mean_of_means = parts.iter().sum::<f64>() / 3.0;

        let (mut model, mut observed) = (start.clone(), Steps::default());
        let mut sgd = SgdConfig::new(LR).build().unwrap();
        let config = TrainConfig {
            epochs: 1,
            batch_size: BatchSize::Rows(20),
            accumulate: 3,
            shuffle: false,
            ..Default::default()
        };
        Trainer::new(config).unwrap().observer(&mut observed).fit(&mut model, &*loss, &mut sgd, &data).unwrap();
        let found = observed.steps[0].loss;
        assert!((found - expected).abs() <= 1e-12 * expected, "{name}: loss {found}, expected {expected}");
        assert!((found - mean_of_means).abs() > 1e-3 * expected, "{name}: the two means differ for these rows");
        let values =
            |model: &Linear<f64>| model.parameters().iter().flat_map(|p| p.values().to_vec()).collect::<Vec<_>>();
        for ((before, after), gradient) in values(&start).iter().zip(values(&model)).zip(gradient) {
            let expected = before - LR * gradient;
            assert!((after - expected).abs() <= 1e-12 * (1.0 + expected.abs()), "{name}: {after}, expected {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_rows_are_divided_the_bits_are_those_of_one_batch(
        rows in 1..400usize, batch in 1..90usize, accumulate in 1..9usize, threads in 1..5usize,
        seed in prop::option::of(any::<u64>()), weighted: bool, which in 0..4usize,
    ) {
        // The first row's weight is above 0, so that there is a mean.
        let (name, loss, outputs) = losses::<f64>().swap_remove(which);
        let data = data(&*loss, rows, 4, outputs, weighted);
        let whole = Division { batch: batch * accumulate, accumulate: 1, threads: 1 };
        let whole = trace(&*loss, &data, outputs, seed, whole);
        let divided = trace(&*loss, &data, outputs, seed, Division { batch, accumulate, threads });
        prop_assert_eq!(divided, whole, "{}", name);
    }
}
