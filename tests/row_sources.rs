//! What training asks of a source of rows that a user has written.

#[path = "common/elsewhere.rs"]
mod elsewhere;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use elsewhere::Elsewhere;
use gradus::data::InMemory;
use gradus::train::{BatchSize, TrainConfig, Trainer};
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
