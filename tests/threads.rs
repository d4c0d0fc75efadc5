//! On how many threads a run computes losses and gradients: those that read the rows are not needed for that as well, unless
//! a batch takes long, and none is started for a run that would be over before.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use gradus::data::{InMemory, Pass, RowSource, Visitor};
use gradus::train::{BatchSize, TrainConfig, Trainer};
use gradus::{Dataset, Linear, Loss, Result, RowLoss, SgdConfig, Target, TargetKind};
use ndarray::Array2;

/// Rows in memory that say that reading them keeps threads busy.
struct Busy<'a>(InMemory<'a, f64>, usize);

impl RowSource<f64> for Busy<'_> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn feature_names(&self) -> &[String] {
        self.0.feature_names()
    }

    fn busy_threads(&self) -> usize {
        self.1
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, f64>) -> Result<()> {
        self.0.visit(pass, f)
    }
}

/// A loss that notes on which threads it is computed.
#[derive(Debug, Default)]
struct Watched(Mutex<HashSet<ThreadId>>);

impl Loss<f64> for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn row(&self, prediction: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        self.0.lock().unwrap().insert(thread::current().id());
        gradient[0] = prediction[0] - target.values()[0];
        RowLoss { loss: gradient[0] * gradient[0] / 2.0, weight: 1.0 }
    }
}

/// On how many threads an epoch in batches of so many rows was done.
fn threads_used(rows: usize, batch: usize, busy: usize) -> usize {
    let features = Array2::from_shape_fn((rows, 500), |(row, column)| ((row * 7 + column * 3) % 11) as f64 - 5.0);
    let data = Dataset::with_values(features, Array2::ones((rows, 1))).unwrap();
    let config = TrainConfig {
        epochs: 1,
        batch_size: BatchSize::Rows(batch),
        threads: 2,
        watch: false,
        ..TrainConfig::default()
    };
    let (mut model, mut sgd, loss) = (Linear::new(500, 1), SgdConfig::new(1e-6).build().unwrap(), Watched::default());
    let mut source = Busy(InMemory::new(&data), busy);
    Trainer::new(config).unwrap().fit_source(&mut model, &loss, &mut sgd, &mut source).unwrap();
    loss.0.into_inner().unwrap().len()
}

#[test]
fn small_batches_are_left_to_the_threads_that_do_not_read() {
    // The losses at the end, of more than one part of the rows, are shared.
    assert_eq!(threads_used(12_000, 40, 0), 2);
    assert_eq!(threads_used(12_000, 40, 1), 1);
    assert_eq!(threads_used(12_000, 40, 5), 1);
}

#[test]
fn batches_that_take_long_are_shared_among_all_threads() {
    assert_eq!(threads_used(11_000, 11_000, 1), 2);
    assert_eq!(threads_used(11_000, 11_000, 0), 2);
}

/// A batch that would be shared, were threads there.
#[test]
fn short_runs_are_left_to_one_thread() {
    assert_eq!(threads_used(4_000, 4_000, 0), 1);
}
