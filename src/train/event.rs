//! What a run tells while it runs, and who listens.

use crate::error::Result;

/// What a run is, told before its first step.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// Rows trained on.
    pub rows: usize,
    /// The features' names.
    pub features: Vec<String>,
    /// The loss's name.
    pub loss: &'static str,
    /// Elements of all parameters.
    pub parameters: usize,
    /// The most epochs.
    pub epochs: usize,
}

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent {
    /// The step, from 1.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean loss of the effective batch before the update.
    pub loss: f64,
    /// The L2 norm of the loss's gradient over all parameters, before clipping and weight decay.
    pub grad_norm: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The rows of the effective batch.
    pub samples: usize,
}

/// One pass over the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochEvent {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean of the steps' losses, by weight.
    pub loss: f64,
    /// The mean loss of the validation rows after the epoch, if there are any.
    pub valid_loss: Option<f64>,
    /// The gradient norm of the last step.
    pub grad_norm: f64,
    /// Rows in the epoch.
    pub samples: usize,
}

/// Something a user should know, that does not end the run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunWarning {
    /// What it is, in one word: `non_finite_step`, `gradients_clipped`, `loss_rising`, `oscillation`,
    /// `validation_rising`, `separable_classes` or `small_learning_rate`.
    pub code: &'static str,
    /// The step it was first seen at, from 1.
    pub step: u64,
    /// What happened, and what to do.
    pub message: String,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs were run.
    Finished,
    /// The loss stopped improving, by patience, tolerance or plateau.
    EarlyStop,
    /// The loss or a gradient became infinite or NaN, or the loss grew beyond its start.
    Diverged,
    /// It was asked to stop.
    Interrupted,
}

impl StopReason {
    /// The word for logs: `finished`, `early_stop`, `diverged` or `interrupted`.
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Finished => "finished",
            StopReason::EarlyStop => "early_stop",
            StopReason::Diverged => "diverged",
            StopReason::Interrupted => "interrupted",
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunEnd {
    /// Why it ended.
    pub reason: StopReason,
    /// Steps taken.
    pub steps: u64,
    /// Epochs begun.
    pub epochs: usize,
    /// The mean loss of the training rows under the final parameters; NaN if the run diverged.
    pub loss: f64,
    /// Seconds from the start of the run to its last step.
    pub seconds: f64,
}

/// Listens to a run. Every method does nothing unless it is written.
///
/// An error, a full disk under a log, ends the run. After a panic the model may hold the parameters of an earlier step than
/// the optimizer has counted.
#[allow(unused_variables)] // The names are the documentation of what an implementation gets.
pub trait Observer {
    /// Before the first step.
    fn start(&mut self, start: &RunStart) -> Result<()> {
        Ok(())
    }

    /// After each optimizer step.
    fn step(&mut self, event: &StepEvent) -> Result<()> {
        Ok(())
    }

    /// After each epoch.
    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        Ok(())
    }

    /// The first time each warning arises.
    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        Ok(())
    }

    /// After the last step, also when the run diverged.
    fn end(&mut self, end: &RunEnd) -> Result<()> {
        Ok(())
    }
}

/// Listens to nothing.
impl Observer for () {}

/// Tells each of them, in their order.
impl Observer for Vec<Box<dyn Observer + '_>> {
    fn start(&mut self, start: &RunStart) -> Result<()> {
        self.iter_mut().try_for_each(|observer| observer.start(start))
    }

    fn step(&mut self, event: &StepEvent) -> Result<()> {
        self.iter_mut().try_for_each(|observer| observer.step(event))
    }

    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        self.iter_mut().try_for_each(|observer| observer.epoch(event))
    }

    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        self.iter_mut().try_for_each(|observer| observer.warning(warning))
    }

    fn end(&mut self, end: &RunEnd) -> Result<()> {
        self.iter_mut().try_for_each(|observer| observer.end(end))
    }
}
