//! Training: the loop, its settings, and those who listen to it.

pub mod auto;
mod blame;
mod config;
mod curvature;
mod event;
mod guard;
mod log;
mod log_diff;
mod log_file;
mod loss_history;
mod problem;
#[cfg(feature = "cli")]
mod progress;
mod report;
mod run;
mod shards;
mod shared_step;
mod stopping;
mod sums;
mod threads;
mod trainer;
mod watch;

pub use config::{BatchSize, NonFinite, Optimality, Plateau, TrainConfig};
pub(crate) use curvature::row_weights;
pub use curvature::{Curvature, curvature, curvature_of};
pub use event::{EpochEvent, Observer, RunEnd, RunStart, RunWarning, StepEvent, StopReason};
pub use log::{LogFormat, LogHeader, RunLog};
pub use log_diff::{Difference, EpochDifference, LogDiff, Parting, SettingDiff, ValidationParting};
pub use log_file::{LogFile, LoggedEpoch, LoggedStep};
#[cfg(feature = "cli")]
pub use progress::Progress;
pub use report::Report;
pub use sums::mean_loss;
pub use trainer::Trainer;
pub use watch::WarningCounts;
