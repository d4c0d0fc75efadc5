//! Plain descent on few rows, which the trainer takes a short way, is the same to the bit as by an optimizer that does not
//! say its steps are plain: what is told, what is left, and what is refused.

#[path = "common/elsewhere.rs"]
mod elsewhere;
#[path = "common/plain.rs"]
mod plain;

use std::sync::atomic::AtomicBool;

use elsewhere::Elsewhere;
use gradus::data::InMemory;
use gradus::train::{BatchSize, NonFinite, Observer, Optimality, Plateau, StepEvent, TrainConfig, Trainer};
use gradus::{
    BinaryCrossEntropy, Clip, Dataset, Huber, Ledger, Linear, Loss, Model, Momentum, Mse, Optimizer, Scalar, Schedule,
    SgdConfig,
};
use ndarray::Array2;
use plain::{Account, Teller, Told};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A run, and where it is cut off: at no step, if it is 0.
struct Case<'a, T> {
    data: &'a Dataset<T>,
    loss: &'a dyn Loss<T>,
    model: Linear<T>,
    sgd: SgdConfig,
    config: TrainConfig,
    refused: u64,
    interrupted: u64,
    /// Whether the rows are validated on, too; and whether they are said to be in memory.
    validated: bool,
    in_memory: bool,
}

impl<'a, T: Scalar> Case<'a, T> {
    /// Twenty epochs of one step each.
    fn new(data: &'a Dataset<T>, loss: &'a dyn Loss<T>, lr: f64) -> Self {
        let config = TrainConfig { epochs: 20, batch_size: BatchSize::Full, ..Default::default() };
        let model = Linear::new(data.features().ncols(), 1);
        let (sgd, never) = (SgdConfig::new(lr), 0);
        Case { data, loss, model, sgd, config, refused: never, interrupted: never, validated: false, in_memory: true }
    }

    /// All that the run tells and leaves, and how many of its steps went the short way.
    fn run(&self, tells: bool) -> (Vec<String>, u64) {
        let flag = AtomicBool::new(false);
        let mut told = Told { refused: self.refused, interrupted: self.interrupted, ..Told::new(&flag) };
        let mut model = self.model.clone();
        let mut teller = Teller::new(self.sgd, tells);
        let mut trainer = Trainer::new(self.config.clone()).unwrap().observer(&mut told).interrupt(&flag);
        if self.validated {
            trainer = trainer.validation(self.data);
        }
        let mut rows = InMemory::new(self.data);
        let report = match self.in_memory {
            true => trainer.fit_source(&mut model, self.loss, &mut teller, &mut rows),
            false => trainer.fit_source(&mut model, self.loss, &mut teller, &mut Elsewhere(rows)),
        };
        (told.outcome(report, model.parameters(), &teller), teller.plain_steps)
    }

    /// Both ways say the same; and how many steps went the short one.
    fn both_ways(&self) -> (Vec<String>, u64) {
        let ((long, none), (short, plain)) = (self.run(false), self.run(true));
        assert_eq!(none, 0);
        for (long, short) in long.iter().zip(&short) {
            assert_eq!(long, short);
        }
        assert_eq!(long.len(), short.len());
        (short, plain)
    }
}

/// Rows whose targets suit every loss of one output: 0 and 1, half of them not where a line would have them.
fn data<T: Scalar>(rows: usize, features: usize) -> Dataset<T> {
    let x =
        Array2::from_shape_fn((rows, features), |(i, j)| T::from_f64(((i * 37 + j * 11) % 101) as f64 / 37.0 - 1.0));
    let y =
        Array2::from_shape_fn((rows, 1), |(i, _)| if (i * 37 % 101 + i % 2 * 40) > 60 { T::one() } else { T::zero() });
    Dataset::with_values(x, y).unwrap()
}

fn every_loss_goes_the_short_way<T: Scalar>() {
    let losses: [&dyn Loss<T>; 3] = [&Mse, &Huber::with_delta(0.3).unwrap(), &BinaryCrossEntropy::new()];
    for (loss, rows, features) in losses
        .into_iter()
        .flat_map(|loss| [1, 3, 100, 1024, 1025].map(|rows| (loss, rows, 1)).into_iter().chain([(loss, 70, 5)]))
    {
        let plain = data::<T>(rows, features);
        let weighted = plain.clone().weighted((0..rows).map(|i| T::from_f64(((i + 1) % 3) as f64)).collect()).unwrap();
        for data in [&plain, &weighted] {
            let mut case = Case::new(data, loss, 0.1);
            assert_eq!(case.both_ways().1, 19, "{} of {rows} x {features}", loss.name());
            case.model = Linear::without_bias(features, 1);
            assert_eq!(case.both_ways().1, 19, "{} of {rows} x {features} without a bias", loss.name());
        }
    }
}

#[test]
fn every_loss_of_one_output_goes_the_short_way_to_the_same_bits() {
    every_loss_goes_the_short_way::<f64>();
    every_loss_goes_the_short_way::<f32>();
}

#[test]
fn what_more_goes_into_a_step_goes_the_long_way() {
    let data = data::<f64>(40, 2);
    let plain = || Case::new(&data, &Mse, 0.1);
    let with = |config: TrainConfig| Case {
        config: TrainConfig { epochs: 20, batch_size: BatchSize::Full, ..config },
        ..plain()
    };
    let of = |sgd: SgdConfig| Case { sgd, ..plain() };
    let mut frozen = plain();
    frozen.model.parameters_mut()[1].set_frozen(true);
    let cases = [
        of(SgdConfig::new(0.1).momentum(Momentum::Nesterov { momentum: 0.5 })),
        of(SgdConfig::new(0.1).weight_decay(0.1)),
        of(SgdConfig::new(1e-3).maximize()),
        with(TrainConfig { clip: Clip::Norm(0.1), ..Default::default() }),
        with(TrainConfig { schedule: Schedule::Exponential { gamma: 0.9 }, ..Default::default() }),
        with(TrainConfig { patience: Some(3), ..Default::default() }),
        with(TrainConfig {
            optimality: Some(Optimality { strong_convexity: 0.1, tolerance: 0.01 }),
            ..Default::default()
        }),
        Case { validated: true, ..plain() },
        Case { in_memory: false, ..plain() },
        Case { config: TrainConfig { epochs: 20, batch_size: BatchSize::Rows(20), ..Default::default() }, ..plain() },
        frozen,
    ];
    for (at, case) in cases.iter().enumerate() {
        assert_eq!(case.both_ways().1, 0, "case {at}");
    }
    let many = self::data::<f64>(5000, 5);
    assert_eq!(Case::new(&many, &Mse, 0.1).both_ways().1, 0, "rows for several threads");
}

#[test]
fn a_run_that_has_had_enough_ends_after_the_same_epoch() {
    let data = data::<f64>(40, 1);
    let stops = [
        TrainConfig { tolerance: 1e-4, ..Default::default() },
        TrainConfig { plateau: Some(Plateau { epochs: 5, tolerance: 1e-3 }), ..Default::default() },
    ];
    for stop in stops {
        let mut case = Case::new(&data, &Mse, 0.1);
        case.config = TrainConfig { epochs: 500, batch_size: BatchSize::Full, ..stop };
        let (words, plain) = case.both_ways();
        assert!((10..400).contains(&plain), "{plain}");
        assert!(words.iter().any(|word| word.contains("EarlyStop")), "{words:?}");
        // A last epoch that would have been the last anyway has not been stopped.
        case.config.epochs = plain as usize + 1;
        let (words, _) = case.both_ways();
        assert!(words.iter().any(|word| word.contains("Finished")), "{words:?}");
    }
}

#[test]
fn an_observers_refusal_and_an_interrupt_end_it_at_the_same_step() {
    let data = data::<f64>(40, 1);
    for step in [1, 2, 3, 19, 20] {
        let (words, plain) = Case { refused: step, ..Case::new(&data, &Mse, 0.1) }.both_ways();
        assert_eq!(plain, step - 1);
        assert!(words.iter().any(|word| word.contains("it is full")), "{words:?}");
        assert!(words.contains(&format!("{step} steps")));
        let (words, plain) = Case { interrupted: step, ..Case::new(&data, &Mse, 0.1) }.both_ways();
        assert_eq!(plain, step - 1);
        assert!(words.contains(&format!("{step} steps")));
        assert_eq!(words.iter().any(|word| word.contains("Interrupted")), step < 20, "{words:?}");
    }
}

#[test]
fn a_run_that_diverges_is_refused_in_the_same_words() {
    let data = data::<f64>(40, 1);
    for (lr, plain) in [(30.0, 5), (2.0, 5), (1e150, 0)] {
        for policy in [NonFinite::Stop, NonFinite::Skip] {
            let mut case = Case::new(&data, &Mse, lr);
            case.config = TrainConfig { epochs: 2000, non_finite: policy, ..case.config };
            let (words, steps) = case.both_ways();
            assert!(steps >= plain, "{lr}: {steps} steps");
            assert!(words.iter().any(|told| told.contains("learning rate")), "{lr}: {words:?}");
        }
    }
}

/// A learning rate that single precision does not hold, times a gradient that it rounds to 0, is not a number.
#[test]
fn a_learning_rate_beyond_single_precision_goes_the_long_way() {
    let x = data::<f32>(40, 1).features().to_owned();
    for target in [0.0, 1e-24] {
        let data = Dataset::with_values(x.clone(), Array2::from_elem((40, 1), target)).unwrap();
        let mut case = Case::new(&data, &Mse, 1e39);
        case.config.non_finite = NonFinite::Skip;
        let (words, plain) = case.both_ways();
        assert_eq!(plain, 0);
        assert!(words.iter().any(|word| word.contains("skipped_steps: 20")), "{words:?}");
    }
}

/// Rows, numbers, losses and settings of all sizes, most of which diverge sooner or later.
fn at_random<T: Scalar>(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let losses: [&dyn Loss<T>; 3] = [&Mse, &Huber::new(), &BinaryCrossEntropy::new()];
    let (mut plain_steps, mut failed) = (0, 0);
    for case in 0..1500 {
        let (rows, features) = (rng.random_range(1..40), rng.random_range(1..8));
        let most = T::max_value().as_f64().log10();
        // Now and then as large or as small as numbers get.
        let size =
            |rng: &mut ChaCha8Rng| 10f64.powf(rng.random_range(-1.0..1.0) * if rng.random() { 2.0 } else { most });
        let (x_size, y_size, lr) = (size(&mut rng), size(&mut rng), size(&mut rng));
        let mut number = |size: f64| T::from_f64((size * rng.random_range(-1.0..1.0)).clamp(-1e300, 1e300));
        let x = Array2::from_shape_fn((rows, features), |_| number(x_size));
        let y = Array2::from_shape_fn((rows, 1), |_| number(y_size));
        let loss = losses[case % 3];
        let y = if case % 3 == 2 { y.mapv(|y| if y > T::zero() { T::one() } else { T::zero() }) } else { y };
        let Ok(data) = Dataset::with_values(x, y) else { continue };
        let mut run = Case::new(&data, loss, lr);
        run.config = TrainConfig {
            epochs: rng.random_range(2..200),
            non_finite: if rng.random() { NonFinite::Stop } else { NonFinite::Skip },
            tolerance: if rng.random() { 0.0 } else { 1e-5 },
            ..run.config
        };
        let (words, plain) = run.both_ways();
        plain_steps += plain;
        failed += u64::from(!words.iter().any(|word| word.starts_with("Report")));
    }
    assert!(plain_steps > 10_000 && failed > 100, "{plain_steps} steps, {failed} failures");
}

#[test]
fn numbers_of_all_sizes_go_both_ways_to_the_same_end() {
    at_random::<f64>(1);
    at_random::<f32>(2);
}

#[test]
fn an_optimizer_that_only_says_it_is_plain_steps_as_always_and_may_refuse() {
    for features in [1, 2] {
        let data = data::<f64>(40, features);
        let run = |epochs, optimizer: &mut dyn Optimizer<f64>| {
            let mut model = Linear::new(features, 1);
            let config = TrainConfig { epochs, batch_size: BatchSize::Full, ..Default::default() };
            let report = Trainer::new(config).unwrap().fit(&mut model, &Mse, optimizer, &data);
            (
                report.map(|report| report.loss.to_bits()).map_err(|error| error.to_string()),
                format!("{:?}", model.parameters()),
            )
        };
        let sgd = || SgdConfig::new(0.1).build().unwrap();
        for counts_up_to in [0, 1, 3] {
            let account = || Account { sgd: sgd(), counts_up_to, budget: 6 };
            assert_eq!(run(6, &mut account()), run(6, &mut sgd()), "{features} features, {counts_up_to} steps");
            let (refused, model) = run(20, &mut account());
            assert!(refused.unwrap_err().contains("it is spent"));
            assert!(model.contains("Pending { passes: 1 }"), "{model}");
        }
    }
}

/// Panics when it hears of a step.
struct Panics(u64);

impl Observer for Panics {
    fn step(&mut self, event: &StepEvent) -> gradus::Result<()> {
        assert!(event.step < self.0, "step {}", self.0);
        Ok(())
    }
}

/// A line through one column keeps its steps in registers; more columns are stepped in memory.
#[test]
fn after_a_panic_the_model_holds_the_parameters_of_an_earlier_step() {
    for (features, held) in [(1, 1), (2, 5)] {
        let data = data::<f64>(40, features);
        let mut model = Linear::new(features, 1);
        let mut fit = |epochs| {
            let config = TrainConfig { epochs, batch_size: BatchSize::Full, ..Default::default() };
            let mut sgd = SgdConfig::new(0.1).build().unwrap();
            Trainer::new(config).unwrap().observer(&mut Panics(5)).fit(&mut model, &Mse, &mut sgd, &data)
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fit(20))).unwrap_err();
        let mut expected = Linear::new(features, 1);
        let config = TrainConfig { epochs: held as usize, batch_size: BatchSize::Full, ..Default::default() };
        let mut sgd = SgdConfig::new(0.1).build().unwrap();
        Trainer::new(config).unwrap().fit(&mut expected, &Mse, &mut sgd, &data).unwrap();
        assert_eq!(format!("{:?}", model.parameters()), format!("{:?}", expected.parameters()));
        assert_eq!(model.parameters()[0].ledger(), Ledger::Spent { step: held });
    }
}

#[test]
fn warnings_are_given_in_the_same_epoch() {
    let data = data::<f64>(40, 1);
    let warned = [0.5, 0.72, 0.74, 0.8, 0.9].map(|lr| {
        let mut case = Case::new(&data, &Mse, lr);
        case.config.epochs = 300;
        let (words, plain) = case.both_ways();
        assert_eq!(plain, 299, "it goes on after each sign");
        words.iter().any(|word| word.contains("oscillation"))
    });
    assert_eq!(warned, [false, false, true, true, true]);
}
