//! Steps of large models, which threads share, are the same to the bit as those of one thread, and plain ones as those of an
//! optimizer that does not say they are: what is told, what is left, and what is refused.

#[path = "common/plain.rs"]
mod plain;

use gradus::train::{BatchSize, NonFinite, TrainConfig, Trainer};
use gradus::{
    Clip, CrossEntropy, Dataset, Init, Linear, Model, Momentum, Mse, Optimizer, Parameter, Scalar, Schedule, SgdConfig,
};
use ndarray::{Array1, Array2};
use plain::{Account, Case};

/// Features, and outputs, of a model whose weight is some blocks of squares and a rest. With so many, threads are called on
/// for 128 rows however late they come, and rows are too long to be cut in halves.
const FEATURES: usize = 1030;
const OUTPUTS: usize = 32;

/// Rows of a batch that is two shards, of one that is several, and of one of so many that they are summed in two rounds.
const TWO: usize = 128;
const SEVERAL: usize = 330;
const MANY: usize = 1100;

/// Rows whose last batch is one shard.
const ROWS: usize = 2 * TWO + 20;

fn features<T: Scalar>(rows: usize) -> Array2<T> {
    Array2::from_shape_fn((rows, FEATURES), |(i, j)| T::from_f64(((i * 37 + j * 11) % 101) as f64 / 37.0 - 1.0))
}

fn classes<T: Scalar>(rows: usize) -> Dataset<T> {
    Dataset::with_classes(features(rows), (0..rows).map(|i| i * 5 % OUTPUTS).collect()).unwrap()
}

fn values<T: Scalar>(rows: usize) -> Dataset<T> {
    let y = Array2::from_shape_fn((rows, OUTPUTS), |(i, k)| T::from_f64(((i * 7 + k * 3) % 11) as f64));
    Dataset::with_values(features(rows), y).unwrap()
}

fn linear<T: Scalar>() -> Linear<T> {
    Linear::new(FEATURES, OUTPUTS).initialized(Init::Uniform { seed: 3 })
}

/// A linear layer whose weight lies between two biases.
#[derive(Clone)]
struct BetweenBiases<T>([Parameter<T>; 3]);

impl<T: Scalar> BetweenBiases<T> {
    fn new() -> Self {
        let bias = |name| Parameter::new(name, Array1::from_elem(OUTPUTS, T::from_f64(0.25)));
        let weight = Array2::from_shape_vec((OUTPUTS, FEATURES), linear::<T>().parameters()[0].values().to_vec());
        BetweenBiases([bias("first"), Parameter::new("weight", weight.unwrap()), bias("last")])
    }
}

impl<T: Scalar> Model<T> for BetweenBiases<T> {
    fn inputs(&self) -> usize {
        FEATURES
    }

    fn outputs(&self) -> usize {
        OUTPUTS
    }

    fn parameters(&self) -> &[Parameter<T>] {
        &self.0
    }

    fn parameters_mut(&mut self) -> &mut [Parameter<T>] {
        &mut self.0
    }

    fn forward_row(&self, input: &[T], output: &mut [T]) {
        let [first, weight, last] = &self.0;
        let biases = first.values().iter().zip(last.values());
        for ((output, weight), (&a, &b)) in output.iter_mut().zip(weight.values().chunks(FEATURES)).zip(biases) {
            *output = a + b + weight.iter().zip(input).map(|(&w, &x)| w * x).sum::<T>();
        }
    }

    fn backward_row(&self, input: &[T], output_gradient: &[T], gradient: &mut [T]) {
        let (first, rest) = gradient.split_at_mut(OUTPUTS);
        let (weight, last) = rest.split_at_mut(OUTPUTS * FEATURES);
        for (bias, &g) in first.iter_mut().chain(last).zip(output_gradient.iter().cycle()) {
            *bias += g;
        }
        for (weight, &g) in weight.chunks_mut(FEATURES).zip(output_gradient) {
            weight.iter_mut().zip(input).for_each(|(weight, &x)| *weight += g * x);
        }
    }
}

/// All ways say the same, in so many words; and so many steps are shared whole.
fn shares<T: Scalar, M: Model<T> + Clone>(case: &Case<T, M>, steps: u64) -> Vec<String> {
    let (expected, none) = case.run(1, true);
    assert_eq!(none, 0, "one thread shares with nobody");
    for (threads, tells) in [(2, false), (2, true), (3, true)] {
        let (words, shared) = case.run(threads, tells);
        for (word, expected) in words.iter().zip(&expected) {
            assert_eq!(word, expected, "{threads} threads");
        }
        assert_eq!(words.len(), expected.len());
        assert_eq!(shared, if tells { steps } else { 0 }, "{threads} threads");
    }
    expected
}

fn every_model_and_loss<T: Scalar>() {
    let (classes, values) = (classes::<T>(ROWS), values::<T>(ROWS));
    let weighted = classes.clone().weighted((0..ROWS).map(|i| T::from_f64((i % 3) as f64)).collect()).unwrap();
    // All steps but the first, in which the optimizer meets the parameters, and the last of each epoch.
    for data in [&classes, &weighted] {
        shares(&Case::new(data, CrossEntropy::new(), linear(), TWO), 5);
        shares(&Case::new(data, CrossEntropy::new(), Linear::without_bias(FEATURES, OUTPUTS), TWO), 5);
        shares(&Case::new(data, CrossEntropy::new(), BetweenBiases::new(), TWO), 5);
    }
    shares(&Case::new(&values, Mse, linear(), TWO), 5);
    shares(&Case::new(&values, Mse, BetweenBiases::new(), TWO), 5);
}

#[test]
fn shared_steps_are_the_same_to_the_bit() {
    every_model_and_loss::<f64>();
    every_model_and_loss::<f32>();
}

#[test]
fn the_gradients_of_several_shards_are_added_in_the_same_order() {
    let data = classes::<f32>(2 * SEVERAL);
    shares(&Case::new(&data, CrossEntropy::new(), linear(), SEVERAL), 5);
    shares(&Case::new(&data, CrossEntropy::new(), BetweenBiases::new(), SEVERAL), 5);
    // More than are kept at a time.
    let data = classes::<f64>(2 * MANY);
    shares(&Case::new(&data, CrossEntropy::new(), linear(), MANY), 5);
    shares(&Case::new(&data, CrossEntropy::new(), BetweenBiases::new(), MANY), 5);
}

#[test]
fn the_micro_batches_of_a_window_and_a_schedule_share_steps_too() {
    let data = classes::<f32>(ROWS);
    let mut case = Case::new(&data, CrossEntropy::new(), linear(), TWO / 2);
    case.config.accumulate = 2;
    case.config.schedule = Schedule::Exponential { gamma: 0.7 };
    shares(&case, 5);
}

#[test]
fn of_a_step_that_is_not_plain_the_gradient_is_shared() {
    let data = classes::<f32>(ROWS);
    let plain = || Case::new(&data, CrossEntropy::new(), linear(), TWO);
    let mut frozen = plain();
    frozen.model.parameters_mut()[1].set_frozen(true);
    let mut clipped = plain();
    clipped.config.clip = Clip::Norm(0.1);
    let cases = [
        Case { sgd: SgdConfig::new(1e-3).momentum(Momentum::Classic { momentum: 0.5, dampening: 0.0 }), ..plain() },
        Case { sgd: SgdConfig::new(1e-3).weight_decay(0.1), ..plain() },
        Case { sgd: SgdConfig::new(1e-6).maximize(), ..plain() },
        clipped,
        frozen,
    ];
    for case in cases {
        shares(&case, 0);
    }
}

#[test]
fn rows_that_count_for_nothing_take_no_step() {
    let (data, counting) = (classes::<f32>(3 * TWO), 2 * TWO);
    let weights = (0..data.rows()).map(|i| if i < counting { 1.0 } else { 0.0 }).collect();
    let data = data.weighted(weights).unwrap();
    let mut case = Case::new(&data, CrossEntropy::new(), linear(), TWO);
    case.config.shuffle = false;
    let words = shares(&case, 5);
    assert!(words.contains(&"6 steps".to_owned()), "{words:?}");
}

#[test]
fn what_is_not_finite_is_left_out_or_refused_in_the_same_words() {
    // One feature of one row is such that its row's gradient is beyond single precision.
    let mut x = features::<f32>(ROWS);
    x[[TWO + 5, 7]] = 3e38;
    let y = Array2::from_elem((ROWS, OUTPUTS), 1e6);
    let data = Dataset::with_values(x, y).unwrap();
    for policy in [NonFinite::Skip, NonFinite::Stop] {
        let mut case = Case::new(&data, Mse, Linear::new(FEATURES, OUTPUTS), TWO);
        (case.config.shuffle, case.config.non_finite, case.sgd) = (false, policy, SgdConfig::new(1e-9));
        // The second batch of each epoch is left out; in the first epoch the run may end there.
        let words = shares(&case, if policy == NonFinite::Skip { 2 } else { 0 });
        assert!(words.iter().any(|word| word.contains(&format!("row {}", TWO + 5))), "{words:?}");
    }
}

#[test]
fn an_update_that_overflows_is_taken_back_in_the_same_words() {
    let data = classes::<f32>(ROWS);
    for lr in [1e30, 1e39] {
        let mut case = Case::new(&data, CrossEntropy::new(), linear(), TWO);
        (case.config.non_finite, case.sgd) = (NonFinite::Skip, SgdConfig::new(1.0));
        // Small steps first, so that the optimizer has met the parameters.
        case.config.schedule = Schedule::Exponential { gamma: lr };
        let words = case.run(1, true).0;
        assert!(words.iter().any(|word| word.contains("overflow")), "{words:?}");
        for threads in [2, 3] {
            let (same, shared) = case.run(threads, true);
            assert!(same == words && shared > 0, "{shared} shared");
        }
    }
}

#[test]
fn an_observers_refusal_and_an_interrupt_end_it_at_the_same_step() {
    let data = classes::<f32>(ROWS);
    for (step, shared) in [(1, 0), (2, 1), (3, 1), (5, 3)] {
        let refused = Case { refused: step, ..Case::new(&data, CrossEntropy::new(), linear(), TWO) };
        assert!(shares(&refused, shared).iter().any(|word| word.contains("it is full")));
        let interrupted = Case { interrupted: step, ..Case::new(&data, CrossEntropy::new(), linear(), TWO) };
        assert!(shares(&interrupted, shared).iter().any(|word| word.contains("Interrupted")));
    }
}

/// Whether it does depends on the machine's load.
#[test]
fn a_batch_of_microseconds_may_share_its_step() {
    let data = Dataset::with_classes(
        Array2::from_shape_fn((1000, 500), |(i, j)| ((i * 37 + j * 11) % 101) as f32 / 37.0 - 1.0),
        (0..1000).map(|i| i * 5 % 12).collect(),
    )
    .unwrap();
    let case = Case::new(&data, CrossEntropy::new(), Linear::new(500, 12), TWO);
    let (words, _) = case.run(1, true);
    for _ in 0..5 {
        assert!(case.run(2, true).0 == words);
    }
}

/// A backward pass between two runs that nobody steps with is told of.
#[test]
fn what_was_thrown_away_before_a_run_is_warned_of_by_any_number_of_threads() {
    let data = classes::<f32>(TWO);
    let warned = |threads| {
        let (mut model, mut sgd) = (linear::<f32>(), SgdConfig::new(1e-3).build().unwrap().on_warning(|_| ()));
        let config = TrainConfig { epochs: 2, batch_size: BatchSize::Full, threads, ..Default::default() };
        for _ in 0..2 {
            Trainer::new(config.clone()).unwrap().fit(&mut model, &CrossEntropy::new(), &mut sgd, &data).unwrap();
            model.zero_grad();
            for parameter in model.parameters_mut() {
                let gradient = vec![1.0; parameter.len()];
                parameter.accumulate(&gradient).unwrap();
            }
        }
        (sgd.unstepped_passes(), format!("{:?}", model.parameters()))
    };
    let one = warned(1);
    assert_eq!(one.0, 1);
    assert!(warned(2) == one);
}

#[test]
fn what_is_frozen_stays_whatever_an_optimizer_says() {
    let data = classes::<f32>(ROWS);
    for place in [0, 1] {
        let run = |optimizer: &mut dyn Optimizer<f32>| {
            let mut model = linear::<f32>();
            model.parameters_mut()[place].set_frozen(true);
            let before = model.parameters()[place].values().to_vec();
            let config = TrainConfig { epochs: 3, batch_size: BatchSize::Rows(TWO), threads: 2, ..Default::default() };
            Trainer::new(config).unwrap().fit(&mut model, &CrossEntropy::new(), optimizer, &data).unwrap();
            assert!(model.parameters()[place].values() == before);
            format!("{:?}", model.parameters())
        };
        let sgd = || SgdConfig::new(1e-3).build().unwrap();
        assert!(run(&mut Account { sgd: sgd(), counts_up_to: u64::MAX, budget: u64::MAX }) == run(&mut sgd()));
    }
}

#[test]
fn an_optimizer_that_only_says_it_is_plain_steps_as_always_and_may_refuse() {
    let data = classes::<f64>(ROWS);
    let run = |epochs, optimizer: &mut dyn Optimizer<f64>| {
        let mut model = linear();
        let config = TrainConfig { epochs, batch_size: BatchSize::Rows(TWO), threads: 2, ..Default::default() };
        let report = Trainer::new(config).unwrap().fit(&mut model, &CrossEntropy::new(), optimizer, &data);
        (
            report.map(|report| report.loss.to_bits()).map_err(|error| error.to_string()),
            format!("{:?}", model.parameters()),
        )
    };
    let sgd = || SgdConfig::new(1e-3).build().unwrap();
    assert_eq!(run(2, &mut Account { sgd: sgd(), counts_up_to: 0, budget: 6 }), run(2, &mut sgd()));
    let (refused, model) = run(3, &mut Account { sgd: sgd(), counts_up_to: 0, budget: 6 });
    assert!(refused.unwrap_err().contains("it is spent"));
    assert!(model.contains("Pending { passes: 1 }"));
}
