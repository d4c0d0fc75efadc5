//! gradus
#![warn(missing_docs)]

pub mod data;
mod error;
pub mod files;
pub mod kernels;
pub mod loss;
pub mod model;
pub mod optim;
mod parameter;
pub mod predictor;
mod scalar;
pub mod train;

pub use data::Dataset;
pub use error::{Error, ErrorKind, Place, Result};
pub use loss::{
    BinaryCrossEntropy, CrossEntropy, Huber, Loss, LossValue, Mse, Reduction, RowLoss, Target, TargetKind, Targets,
};
pub use model::{Init, Linear, Model};
pub use optim::{Clip, Momentum, Optimizer, Schedule, Sgd, SgdConfig, StaleGradient};
pub use parameter::{Ledger, LedgerFault, Parameter};
pub use scalar::Scalar;
