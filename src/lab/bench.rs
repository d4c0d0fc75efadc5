//! What a loop written by hand works with.

use std::sync::{Arc, Mutex};

use super::{Version, detect};
use crate::check::GradCheck;
use crate::data::Dataset;
use crate::error::Result;
use crate::loss::Mse;
use crate::model::Linear;
use crate::optim::{GradientWarning, Optimizer, Sgd, SgdConfig};
use crate::train::mean_loss;

/// A line or plane to fit, and the tools for it.
pub(super) struct Bench {
    pub model: Linear<f64>,
    pub sgd: Sgd<f64>,
    pub data: Dataset<f64>,
    /// The rows in micro-batches, in their order; the last may have fewer.
    pub batches: Vec<Dataset<f64>>,
    /// What the optimizer warned of.
    heard: Arc<Mutex<Vec<GradientWarning>>>,
}

/// One turn of a loop: a step, or an epoch of them.
pub(super) type Turn = fn(&mut Bench) -> Result<()>;

impl Bench {
    /// A model that is all zero, an optimizer of these settings, and one batch of all rows.
    pub fn new(data: Dataset<f64>, config: SgdConfig) -> Result<Self> {
        let model = Linear::new(data.features().ncols(), 1);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let keep = move |warning: &GradientWarning| {
            if let Ok(mut heard) = sink.lock() {
                heard.push(warning.clone());
            }
        };
        Ok(Bench { model, sgd: config.build()?.on_warning(keep), batches: vec![data.clone()], data, heard })
    }

    /// The same with micro-batches of this many rows.
    pub fn in_batches(mut self, rows: usize) -> Self {
        let all: Vec<usize> = (0..self.data.rows()).collect();
        self.batches = all.chunks(rows).map(|rows| self.data.select(rows)).collect();
        self
    }

    /// The mean loss of all rows before each turn.
    pub fn losses(&mut self, turns: usize, turn: Turn) -> Result<Vec<f64>> {
        let mut losses = Vec::with_capacity(turns);
        for _ in 0..turns {
            losses.push(mean_loss(&self.model, &Mse, &self.data));
            turn(self)?;
        }
        Ok(losses)
    }

    /// Runs these turns, and says what the optimizer warned of.
    pub fn warned(&mut self, turns: usize, turn: Turn) -> Result<Option<String>> {
        self.losses(turns, turn)?;
        let first = self.heard.lock().ok().and_then(|heard| heard.first().cloned());
        Ok(first.map(|warning| detect::warning(&warning, self.sgd.unstepped_passes())))
    }

    /// Makes one turn with steps of length 0, and checks the gradient it leaves against the loss of all rows.
    pub fn check_gradient(&mut self, turn: Turn) -> Result<Option<String>> {
        self.sgd.set_lr(0.0);
        turn(self)?;
        let check = GradCheck::new().accumulate(self.batches.len());
        let report = check.standing(&mut self.model, &Mse, self.data.features(), &self.data.targets())?;
        Ok(detect::gradient(&report))
    }
}

impl Version {
    /// The one of the two that this version is.
    pub(super) fn choose<T>(self, wrong: T, right: T) -> T {
        match self {
            Version::Wrong => wrong,
            Version::Right => right,
        }
    }
}
