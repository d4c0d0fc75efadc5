//! Plain steps of a softmax on few wide rows, of which two threads take half of the columns each: any number of threads
//! says the same to the bit, and an optimizer that does not say that its steps are plain nearly the same.

#[path = "common/plain.rs"]
mod plain;

use gradus::train::{BatchSize, NonFinite, TrainConfig, Trainer};
use gradus::{CrossEntropy, Dataset, Init, Linear, Model, Momentum, Optimizer, Scalar, Schedule, SgdConfig};
use ndarray::Array2;
use plain::{Account, Case, Teller};

/// Features of rows of some 3,200 bytes, which are halved also where a batch is two shards.
fn width<T>() -> usize {
    3200 / size_of::<T>() + 3
}

/// So many that two epochs of rows are worth starting threads for: 6,000,000 multiplications, of which each row has 100
/// more than its own.
const CLASSES: usize = 40;

/// Three batches of 64 rows an epoch, or two of 90, and a last one that is shorter.
const ROWS: usize = 200;

const _: () = assert!(2 * ROWS * (CLASSES * 404 + 100) > 6_000_000);

fn features<T: Scalar>(rows: usize) -> Array2<T> {
    Array2::from_shape_fn((rows, width::<T>()), |(i, j)| T::from_f64(((i * 37 + j * 11) % 101) as f64 / 37.0 - 1.0))
}

fn data<T: Scalar>(rows: usize) -> Dataset<T> {
    Dataset::with_classes(features(rows), (0..rows).map(|i| i * 5 % CLASSES).collect()).unwrap()
}

fn linear<T: Scalar>() -> Linear<T> {
    Linear::new(width::<T>(), CLASSES).initialized(Init::Uniform { seed: 3 })
}

/// Any number of threads says the same, in so many words, and so many steps go by halves.
fn halves<T: Scalar>(case: &Case<T, Linear<T>>, steps: u64) -> Vec<String> {
    let (expected, counted) = case.run(1, true);
    assert_eq!(counted, steps);
    for threads in [2, 3] {
        let (words, counted) = case.run(threads, true);
        for (word, expected) in words.iter().zip(&expected) {
            assert_eq!(word, expected, "{threads} threads");
        }
        assert_eq!((words.len(), counted), (expected.len(), steps));
    }
    expected
}

/// A run by an optimizer that tells that its steps are plain, or does not: its loss, and what is left of the parameters.
fn left<T: Scalar>(case: &Case<T, Linear<T>>, tells: bool) -> Vec<f64> {
    let (mut model, mut teller) = (case.model.clone(), Teller::new(case.sgd, tells));
    let config = TrainConfig { threads: 2, ..case.config.clone() };
    let report = Trainer::new(config).unwrap().fit(&mut model, &*case.loss, &mut teller, case.data).unwrap();
    let parameters = model.parameters().iter();
    let numbers =
        parameters.flat_map(|p| p.values().iter().chain(p.gradients()).map(|v| v.as_f64()).collect::<Vec<_>>());
    [report.loss].into_iter().chain(numbers).collect()
}

fn check<T: Scalar>(case: &Case<T, Linear<T>>, steps: u64, tolerance: f64) {
    halves(case, steps);
    for (found, expected) in left(case, true).into_iter().zip(left(case, false)) {
        assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
    }
}

fn every_kind_of_rows<T: Scalar>(tolerance: f64) {
    let plain = data::<T>(ROWS);
    let weighted = plain.clone().weighted((0..ROWS).map(|i| T::from_f64((i % 3) as f64)).collect()).unwrap();
    // All steps but the first, in which the optimizer meets the parameters.
    for data in [&plain, &weighted] {
        for (batch, steps) in [(64, 11), (90, 8), (130, 5)] {
            check(&Case::new(data, CrossEntropy::new(), linear(), batch), steps, tolerance);
        }
    }
    let class_weights = (0..CLASSES).map(|class| 0.5 + class as f64).collect();
    let loss = CrossEntropy::new().with_label_smoothing(0.1).unwrap().with_class_weights(class_weights).unwrap();
    check(&Case::new(&plain, loss, Linear::without_bias(width::<T>(), CLASSES), 64), 11, tolerance);
}

#[test]
fn threads_change_no_bit_and_halves_next_to_nothing() {
    every_kind_of_rows::<f64>(1e-12);
    every_kind_of_rows::<f32>(2e-5);
}

#[test]
fn a_schedule_and_the_micro_batches_of_a_window_are_halved_too() {
    let data = data::<f32>(ROWS);
    let mut whole = Case::new(&data, CrossEntropy::new(), linear(), 60);
    whole.config.schedule = Schedule::Exponential { gamma: 0.7 };
    let mut window = Case::new(&data, CrossEntropy::new(), linear(), 20);
    (window.config.schedule, window.config.accumulate) = (whole.config.schedule, 3);
    assert_eq!(halves(&window, 11), halves(&whole, 11));
    check(&whole, 11, 2e-5);
}

#[test]
fn steps_that_are_not_plain_go_by_rows() {
    let data = data::<f32>(ROWS);
    let plain = || Case::new(&data, CrossEntropy::new(), linear(), 64);
    let mut frozen = plain();
    frozen.model.parameters_mut()[1].set_frozen(true);
    let momentum = Momentum::Classic { momentum: 0.5, dampening: 0.0 };
    for case in [Case { sgd: SgdConfig::new(1e-3).momentum(momentum), ..plain() }, frozen] {
        halves(&case, 0);
    }
}

#[test]
fn rows_that_count_for_nothing_take_no_step() {
    let rows = 3 * 64;
    let weights = (0..rows).map(|i| if (64..128).contains(&i) { 0.0 } else { 1.0 }).collect();
    let data = data::<f64>(rows).weighted(weights).unwrap();
    let mut case = Case::new(&data, CrossEntropy::new(), linear(), 64);
    case.config.shuffle = false;
    let words = halves(&case, 5);
    assert!(words.contains(&"6 steps".to_owned()), "{words:?}");
    check(&case, 5, 1e-12);
}

#[test]
fn what_is_not_finite_is_left_out_or_refused_in_the_same_words() {
    let mut x = features::<f64>(ROWS);
    x[[64 + 5, 7]] = 1e300;
    let data = Dataset::with_classes(x, (0..ROWS).map(|i| i * 5 % CLASSES).collect()).unwrap();
    for (policy, steps) in [(NonFinite::Skip, 8), (NonFinite::Stop, 0)] {
        let mut case = Case::new(&data, CrossEntropy::new(), linear(), 64);
        (case.config.shuffle, case.config.non_finite) = (false, policy);
        case.model.parameters_mut()[0].values_mut()[7] = 1e10;
        let words = halves(&case, steps);
        assert!(words.iter().any(|word| word.contains("row 69")), "{words:?}");
    }
}

#[test]
fn an_update_that_overflows_is_taken_back_in_the_same_words() {
    let data = data::<f32>(ROWS);
    for gamma in [1e30, 1e39] {
        let mut case = Case::new(&data, CrossEntropy::new(), linear(), 64);
        (case.config.non_finite, case.sgd) = (NonFinite::Skip, SgdConfig::new(1.0));
        // Small steps first, so that the optimizer has met the parameters.
        case.config.schedule = Schedule::Exponential { gamma };
        let words = case.run(1, true).0;
        assert!(words.iter().any(|word| word.contains("overflow")), "{words:?}");
        for threads in [2, 3] {
            assert!(case.run(threads, true).0 == words);
        }
    }
}

#[test]
fn an_observers_refusal_and_an_interrupt_end_it_at_the_same_step() {
    let data = data::<f32>(ROWS);
    for (step, counted) in [(1, 0), (2, 1), (4, 3), (5, 4), (12, 11)] {
        let refused = Case { refused: step, ..Case::new(&data, CrossEntropy::new(), linear(), 64) };
        let words = halves(&refused, counted);
        assert!(words.iter().any(|word| word.contains("it is full")));
        assert!(words.contains(&format!("{step} steps")), "{words:?}");
        let interrupted = Case { interrupted: step, ..Case::new(&data, CrossEntropy::new(), linear(), 64) };
        let words = halves(&interrupted, counted);
        assert!(words.contains(&format!("{step} steps")), "{words:?}");
        // The last step of a run leaves nothing to be interrupted.
        assert_eq!(words.iter().any(|word| word.contains("Interrupted")), step < 12, "{words:?}");
    }
}

#[test]
fn an_optimizer_may_count_some_steps_or_none() {
    let data = data::<f64>(ROWS);
    let run = |threads, optimizer: &mut dyn Optimizer<f64>| {
        let mut model = linear();
        let config = TrainConfig { epochs: 2, batch_size: BatchSize::Rows(64), threads, ..Default::default() };
        Trainer::new(config).unwrap().fit(&mut model, &CrossEntropy::new(), optimizer, &data).unwrap();
        format!("{:?}", model.parameters())
    };
    let sgd = || SgdConfig::new(1e-3).build().unwrap();
    for counts_up_to in [0, 3, 5] {
        let account = || Account { sgd: sgd(), counts_up_to, budget: u64::MAX };
        assert!(run(1, &mut account()) == run(2, &mut account()), "{counts_up_to} counted");
    }
    let by_rows = run(2, &mut Teller::new(SgdConfig::new(1e-3), false));
    assert!(run(2, &mut Account { sgd: sgd(), counts_up_to: 0, budget: u64::MAX }) == by_rows);
}
