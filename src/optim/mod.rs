//! Optimizers: from gradients to updates.

mod clip;
mod schedule;
mod sgd;
mod warning;

use crate::error::Result;
use crate::kernels;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

pub use clip::{Clip, clip_norm, clip_value, grad_norm};
pub(crate) use clip::{squared_grad_norm, squared_grad_norm_by};
pub use schedule::Schedule;
pub use sgd::{Momentum, Sgd, SgdConfig, StaleGradient};
pub use warning::GradientWarning;

/// The plain step of one parameter, which is number `step`.
#[inline(always)]
pub(crate) fn step_plainly<T: Scalar>(parameter: &mut Parameter<T>, lr: T, step: u64) {
    let (values, gradients) = parameter.values_and_gradients_mut();
    kernels::add_scaled(values, -lr, gradients);
    parameter.mark_spent(step);
}

/// A step that an optimizer has said is plain: it counts it and `take` takes it, or it takes it itself.
#[inline(always)]
pub(crate) fn count_or_step<T: Scalar, O: Optimizer<T> + ?Sized>(
    optimizer: &mut O,
    parameters: &mut [Parameter<T>],
    take: impl FnOnce(&mut [Parameter<T>], u64),
) -> Result<u64> {
    let Some(step) = optimizer.count_plain_step() else { return optimizer.step(parameters) };
    take(parameters, step);
    Ok(step)
}

/// Something that updates parameters from their gradients.
pub trait Optimizer<T: Scalar> {
    /// Updates every parameter that is not frozen, all or none, and returns the step's number, from 1.
    ///
    /// # Errors
    /// If a parameter's [`Ledger`](crate::Ledger) forbids the step, or the parameters are not those of the steps
    /// before.
    fn step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64>;

    /// Whether the next step is a plain one, and so are all that follow until somebody else changes the optimizer or a
    /// parameter. A plain step
    /// - is `value -= lr gradient` for every parameter, of which none is frozen, with the [`lr`](Optimizer::lr) that is set
    ///   before it, and changes nothing else but the count of steps;
    /// - is never refused, and tells of nothing: no backward pass has been thrown away, or waits for a step;
    /// - knows no [`penalty`](Optimizer::penalty) and no [`momentum`](Optimizer::momentum), and does not
    ///   [maximize](Optimizer::maximizes).
    ///
    /// Training, which asks this before the gradients of the step are there, may then take such steps itself, and has them
    /// counted by [`count_plain_step`](Optimizer::count_plain_step). It may also call [`step`](Optimizer::step), or take none.
    /// Default: no.
    fn is_plain(&self, parameters: &[Parameter<T>]) -> bool {
        let _ = parameters;
        false
    }

    /// Counts a plain step and returns its number: [`step`](Optimizer::step) is not called for it, values are changed and
    /// gradients [marked as spent](Parameter::mark_spent) by the caller, perhaps only after more steps have been counted.
    /// Asked only where [`is_plain`](Optimizer::is_plain) has said yes. Default: `None`, which counts nothing and has `step`
    /// called; after that it may be asked again for the same step.
    fn count_plain_step(&mut self) -> Option<u64> {
        None
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
