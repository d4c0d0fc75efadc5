//! What training asks of a source of rows that a user has written.

#[path = "common/elsewhere.rs"]
mod elsewhere;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use elsewhere::Elsewhere;
use gradus::data::{InMemory, Pass, RowSource, Visitor};
use gradus::train::{BatchSize, Observer, RunStart, TrainConfig, Trainer};
use gradus::{Dataset, Linear, Loss, Mse, Result, RowLoss, SgdConfig, Target, TargetKind, Targets};
use ndarray::Array2;

/// A squared error that counts how often it is asked to check targets.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Loss<f64> for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn check(&self, targets: &Targets<'_, f64>, rows: usize, outputs: usize) -> Result<()> {
        self.0.fetch_add(1, Relaxed);
        Mse.check(targets, rows, outputs)
    }

    fn row(&self, prediction: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        Mse.row(prediction, target, gradient)
    }
}

/// How often targets are checked in two epochs, over so many rows.
fn checks(rows: usize) -> usize {
    let data = Dataset::with_values(Array2::ones((rows, 1)), Array2::ones((rows, 1))).unwrap();
    let config = TrainConfig { epochs: 2, batch_size: BatchSize::Rows(1_000), watch: false, ..TrainConfig::default() };
    let (mut model, mut sgd, loss) = (Linear::new(1, 1), SgdConfig::new(0.1).build().unwrap(), Counting::default());
    let mut source = Elsewhere(InMemory::new(&data));
    Trainer::new(config).unwrap().fit_source(&mut model, &loss, &mut sgd, &mut source).unwrap();
    loss.0.into_inner()
}

#[test]
fn targets_are_checked_as_often_however_many_rows_there_are() {
    // Of 200,000 rows the order is made in parts, with which the data set comes again and again.
    assert_eq!(checks(200_000), checks(2_000));
}

/// Rows that say to be those of one data set, and are of another.
struct Another<'a> {
    said: InMemory<'a, f64>,
    visited: InMemory<'a, f64>,
}

impl RowSource<f64> for Another<'_> {
    fn rows(&self) -> usize {
        self.said.rows()
    }

    fn feature_names(&self) -> &[String] {
        self.said.feature_names()
    }

    fn in_memory(&self) -> Option<&Dataset<f64>> {
        self.said.in_memory()
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, f64>) -> Result<()> {
        self.visited.visit(pass, f)
    }
}

/// Notes whether a run has started.
#[derive(Default)]
struct Started(bool);

impl Observer for Started {
    fn start(&mut self, _start: &RunStart) -> Result<()> {
        self.0 = true;
        Ok(())
    }
}

/// Why rows were refused, and whether a run had started by then.
fn refused(source: &mut dyn RowSource<f64>) -> (String, bool) {
    let (mut model, mut sgd, mut started) =
        (Linear::new(1, 1), SgdConfig::new(0.1).build().unwrap(), Started::default());
    let trainer = Trainer::new(TrainConfig::default()).unwrap().observer(&mut started);
    let refused = trainer.fit_source(&mut model, &Mse, &mut sgd, source).unwrap_err();
    (refused.to_string(), started.0)
}

#[test]
fn rows_that_do_not_fit_are_refused_before_a_run_if_they_are_in_memory_and_when_they_come_if_not() {
    let of = |value| Dataset::with_values(Array2::ones((3, 1)), Array2::from_elem((3, 1), value)).unwrap();
    let (fit, unfit) = (of(1.0), of(f64::NAN));
    let why = "row 0, output 0: NaN is not finite";
    for (mut source, started) in [
        (Box::new(InMemory::new(&unfit)) as Box<dyn RowSource<f64>>, false),
        (Box::new(Another { said: InMemory::new(&unfit), visited: InMemory::new(&fit) }), false),
        (Box::new(Another { said: InMemory::new(&fit), visited: InMemory::new(&unfit) }), true),
        (Box::new(Elsewhere(InMemory::new(&unfit))), true),
    ] {
        let (refused, had_started) = refused(&mut *source);
        assert!(refused.contains(why), "{refused}");
        assert_eq!(had_started, started);
    }
}
