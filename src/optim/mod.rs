//! Optimizers: from gradients to updates.

mod clip;
mod schedule;
mod sgd;
mod warning;

use crate::error::Result;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

pub(crate) use clip::squared_grad_norm;
pub use clip::{Clip, clip_norm, clip_value, grad_norm};
pub use schedule::Schedule;
pub use sgd::{Momentum, Sgd, SgdConfig, StaleGradient};
pub use warning::GradientWarning;

/// Something that updates parameters from their gradients.
pub trait Optimizer<T: Scalar> {
    /// Updates every parameter that is not frozen, all or none, and returns the step's number, from 1.
    ///
    /// # Errors
    /// If a parameter's [`Ledger`](crate::Ledger) forbids the step, or the parameters are not those of the steps
    /// before.
    fn step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64>;

    /// Whether steps are plain until somebody else changes the optimizer or a parameter. A plain step follows one backward
    /// pass, is `value -= lr gradient` for every parameter with the [`lr`](Optimizer::lr) that was set, and changes nothing
    /// else but the count of steps; there is no [`penalty`](Optimizer::penalty) and no [`momentum`](Optimizer::momentum),
    /// and it does not [maximize](Optimizer::maximizes). Training on few rows asks this once instead of all that in each
    /// step. Default: no.
    fn is_plain(&self, parameters: &[Parameter<T>]) -> bool {
        let _ = parameters;
        false
    }

    /// A [`step`](Optimizer::step) where [`is_plain`](Optimizer::is_plain) has said yes: it need not look at ledgers and
    /// shapes again. Default: `step`.
    ///
    /// # Errors
    /// As `step`.
    fn plain_step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64> {
        self.step(parameters)
    }

    /// The learning rate of the next step.
    fn lr(&self) -> f64;

    /// Sets the learning rate of the next step.
    fn set_lr(&mut self, lr: f64);

    /// What the optimizer adds to the loss it minimises: weight decay as a penalty. Default: 0.
    fn penalty(&self, parameters: &[Parameter<T>]) -> f64 {
        let _ = parameters;
        0.0
    }

    /// The L2 norm of the gradient of what is minimised, loss plus penalty. Default: the loss's alone.
    fn objective_grad_norm(&self, parameters: &[Parameter<T>]) -> f64 {
        grad_norm(parameters)
    }

    /// Whether it climbs: a rising loss is then what is wanted. Default: no.
    fn maximizes(&self) -> bool {
        false
    }

    /// The momentum. Default: none.
    fn momentum(&self) -> Momentum {
        Momentum::None
    }

    /// Steps taken.
    fn steps(&self) -> u64;
}
