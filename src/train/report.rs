//! What a run came to.

use super::event::StopReason;
use super::watch::WarningCounts;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Why it ended. A run that diverged is an error and leaves no report.
    pub reason: StopReason,
    /// Steps taken.
    pub steps: u64,
    /// Epochs begun.
    pub epochs: usize,
    /// The epoch whose parameters were put back, under patience.
    pub best_epoch: Option<usize>,
    /// Steps left out under [`NonFinite::Skip`](super::NonFinite::Skip).
    pub skipped_steps: u64,
    /// The warnings that arose, and how often.
    pub warnings: WarningCounts,
    /// The mean loss of the training rows under the final parameters.
    pub loss: f64,
    /// `loss` plus the optimizer's penalty: what was minimised.
    pub objective: f64,
    /// Seconds from the first step to the last.
    pub seconds: f64,
}
