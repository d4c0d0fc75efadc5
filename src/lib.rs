//! gradus
#![warn(missing_docs)]

mod error;
pub mod kernels;
pub mod loss;
pub mod model;
pub mod optim;
mod parameter;
mod scalar;

pub use error::{Error, ErrorKind, Place, Result};
pub use loss::{
    BinaryCrossEntropy, CrossEntropy, Huber, Loss, LossValue, Mse, Reduction, RowLoss, Target, TargetKind, Targets,
};
pub use model::{Init, Linear, Model};
pub use optim::{Clip, Momentum, Optimizer, Schedule, Sgd, SgdConfig, StaleGradient};
pub use parameter::{Ledger, LedgerFault, Parameter};
pub use scalar::Scalar;
