//! The fastest way from a CSV to a linear model whose every gradient you can trust.
//!
//! # A gradient is a sum
//!
//! Everything here rests on one idea: a gradient is a **sum over rows, with the weight it was summed over**. A
//! [`Loss`] is written for one row and a [`Model`] is written for one row; batches, micro-batches of an accumulation
//! window and threads only add rows up, always in the same order, and the division by the weight comes once, just before
//! the step. So batches of `b` accumulated `K` times and batches of `K b` give the same bits, and so does any number of
//! threads.
//!
//! # A loop by hand
//!
//! It reads as it does in PyTorch, and each [`Parameter`] keeps a [`Ledger`] of what its gradient holds: the step after
//! a forgotten `zero_grad` is refused, with the reason.
//!
//! ```
//! use gradus::{Linear, Loss, Model, Mse, Optimizer, Reduction, SgdConfig, Targets};
//! use ndarray::array;
//!
//! let x = array![[0.0], [1.0], [2.0], [3.0]];
//! let y = array![[1.0], [3.5], [6.0], [8.5]];
//! let mut model = Linear::new(1, 1);
//! let mut sgd = SgdConfig::new(0.1).build()?;
//! for _ in 0..500 {
//!     model.zero_grad();
//!     let prediction = model.forward(x.view())?;
//!     let loss = Mse.evaluate(prediction.view(), &Targets::values(&y), Reduction::Mean)?;
//!     model.backward(x.view(), loss.gradient.view())?;
//!     sgd.step(model.parameters_mut())?;
//! }
//! assert!((model.weight()[[0, 0]] - 2.5_f64).abs() < 1e-6);
//!
//! // Without `zero_grad` the next backward pass adds to a gradient that is used up.
//! model.backward(x.view(), y.view())?;
//! let refused = sgd.step(model.parameters_mut()).unwrap_err();
//! assert!(refused.to_string().contains("call `zero_grad`"));
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! # A tour
//!
//! - [`data`]: a CSV [`Table`](data::Table), the [`Schema`](data::Schema) inferred from it, the [`Dataset`] it becomes; a
//!   [`RowCache`](data::RowCache) for files larger than memory.
//! - [`loss`]: [`Mse`], [`Huber`], [`CrossEntropy`], [`BinaryCrossEntropy`], and the trait for your own.
//! - [`model`]: [`Linear`], and the trait for your own.
//! - [`optim`]: [`Sgd`] as PyTorch defines it, clipping, schedules.
//! - [`train`]: the [`Trainer`](train::Trainer), its observers and logs, and [`train::auto`], which chooses the learning
//!   rate from the curvature of the loss.
//! - [`predictor`]: a trained model with its schema, saved as safetensors that PyTorch loads.
//! - [`lab`]: famous training bugs, run beside the right loops, with what finds them.
//! - [`diagnose`]: curvature, stable learning rates, suspicious columns and rows, distance from least squares.
//! - [`kernels`]: the inner loops, on plain slices.
//!
//! Everything is generic over [`Scalar`]: `f32` and `f64`. The feature `cli` (on by default) adds what only the command
//! needs.
#![warn(missing_docs)]

pub mod calculus;
pub mod check;
pub mod data;
pub mod diagnose;
mod error;
pub mod files;
pub mod kernels;
pub mod lab;
pub mod loss;
pub mod model;
pub mod optim;
mod parameter;
mod place;
pub mod predictor;
pub mod remarks;
mod scalar;
pub mod train;

pub use data::Dataset;
pub use error::{Cause, Culprit, Error, ErrorKind, Place, Result};
pub use loss::{
    BinaryCrossEntropy, CrossEntropy, Huber, Loss, LossSum, LossValue, Mse, OutputLoss, Reduction, RowLoss,
    SoftmaxLoss, Target, TargetKind, Targets,
};
pub use model::{Init, Linear, Model};
pub use optim::{Clip, Momentum, Optimizer, Schedule, Sgd, SgdConfig, StaleGradient};
pub use parameter::{Ledger, LedgerFault, Parameter};
pub use scalar::Scalar;

// README's Rust is compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
