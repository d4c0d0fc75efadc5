//! The settings of a run.

use crate::error::{Error, Result, check_non_negative};
use crate::optim::{Clip, Schedule};

/// Rows in a micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// This many; the last of an epoch may have fewer.
    Rows(usize),
    /// All.
    Full,
}

impl BatchSize {
    /// The rows, of a data set of `rows`.
    pub fn of(self, rows: usize) -> usize {
        match self {
            BatchSize::Rows(batch) => batch.min(rows),
            BatchSize::Full => rows,
        }
    }

    /// The rows of `accumulate` such batches, of a data set of `rows`.
    pub(super) fn effective(self, accumulate: usize, rows: usize) -> usize {
        self.of(rows).saturating_mul(accumulate).min(rows)
    }
}

impl std::fmt::Display for BatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BatchSize::Rows(rows) => write!(f, "{rows}"),
            BatchSize::Full => write!(f, "full"),
        }
    }
}

/// What to do when a loss or gradient is infinite or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonFinite {
    /// End the run with an error. The default.
    #[default]
    Stop,
    /// Leave the step out and go on. Where an update has overflowed, finite parameters from before it come back, and
    /// what was computed with the others is left out too.
    Skip,
}

/// When a run ends because its objective has settled: the lowest of the last `epochs` epochs is no more than a
/// relative `tolerance` below the lowest before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plateau {
    /// Epochs looked at.
    pub epochs: usize,
    /// The least relative improvement.
    pub tolerance: f64,
}

/// When a full-batch run ends because its objective F is near its least value F*: for F of strong convexity mu,
/// `F - F* <= |gradient|^2 / (2 mu)` (Nesterov 2004, theorem 2.1.10), and the run ends when that is no more than a
/// relative `tolerance` of F, or as little against the first F as to make no difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimality {
    /// The strong convexity mu.
    pub strong_convexity: f64,
    /// The relative distance from the optimum.
    pub tolerance: f64,
}

/// The settings of a run, unchecked until [`Trainer::new`](super::Trainer::new).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// The most passes over the data. Default: 100.
    pub epochs: usize,
    /// Rows in a micro-batch. Default: 32.
    pub batch_size: BatchSize,
    /// Micro-batches whose sums make one step. Default: 1.
    pub accumulate: usize,
    /// Whether rows come in a new random order in each epoch. Default: yes.
    pub shuffle: bool,
    /// The seed of the order. Default: 0.
    pub seed: u64,
    /// What is done to large gradients. Default: nothing.
    pub clip: Clip,
    /// The learning rate over the steps; the base is the optimizer's at the start. Default: constant.
    pub schedule: Schedule,
    /// Default: stop.
    pub non_finite: NonFinite,
    /// Whether the run is watched for what deserves a warning; it is there to measure what watching costs. Default: yes.
    pub watch: bool,
    /// Threads, at most; 0: all. They change no bit of the result, and are not started for a run that would be over before
    /// they are. Those that [reading the rows keeps busy](crate::data::RowSource::busy_threads) are among them, unless a
    /// batch takes long. Default: 0.
    pub threads: usize,
    /// Epochs without a new lowest loss after which the run ends and the best parameters are put back: validation loss
    /// if there are validation rows, training loss otherwise. Default: none.
    pub patience: Option<usize>,
    /// Epochs before which patience does not count. Default: 0.
    pub patience_from: usize,
    /// The relative change of the objective in an epoch below which the run ends; 0: none. Default: 0.
    pub tolerance: f64,
    /// When a full-batch run is near enough to the optimum. Default: never.
    pub optimality: Option<Optimality>,
    /// When the objective counts as settled. Default: never.
    pub plateau: Option<Plateau>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 100,
            batch_size: BatchSize::Rows(32),
            accumulate: 1,
            shuffle: true,
            seed: 0,
            clip: Clip::None,
            schedule: Schedule::Constant,
            non_finite: NonFinite::Stop,
            watch: true,
            threads: 0,
            patience: None,
            patience_from: 0,
            tolerance: 0.0,
            optimality: None,
            plateau: None,
        }
    }
}

impl TrainConfig {
    /// Rows of an effective batch, of a data set of `rows`.
    pub(super) fn effective_batch(&self, rows: usize) -> usize {
        self.batch_size.effective(self.accumulate, rows)
    }

    /// Refuses settings out of range.
    pub(super) fn check(&self) -> Result<()> {
        let counts = [
            ("epochs", self.epochs),
            ("batch size", if let BatchSize::Rows(rows) = self.batch_size { rows } else { 1 }),
            ("accumulate", self.accumulate),
            ("patience", self.patience.unwrap_or(1)),
        ];
        for (name, count) in counts {
            if count == 0 {
                return Err(Error::setting(name, "0 must be at least 1"));
            }
        }
        check_non_negative("tolerance", self.tolerance)?;
        self.clip.check()?;
        self.schedule.check()
    }
}
