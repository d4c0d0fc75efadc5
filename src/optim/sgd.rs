//! Stochastic gradient descent, as PyTorch defines it.

use super::{GradientWarning, Optimizer};
use crate::error::{Error, ErrorKind, Result, check_non_negative};
use crate::kernels::{self, SgdUpdate};
use crate::parameter::{LedgerFault, Parameter};
use crate::remarks::remark;
use crate::scalar::Scalar;

/// Which momentum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Momentum {
    /// None: `value -= lr g`. The default.
    #[default]
    None,
    /// `buf = momentum buf + (1 - dampening) g`; `value -= lr buf`. The first step sets `buf = g`.
    Classic {
        /// Below it, the past fades: 0 to 1.
        momentum: f64,
        /// How much of a new gradient is left out: 0 to 1.
        dampening: f64,
    },
    /// `buf = momentum buf + g`; `value -= lr (g + momentum buf)`.
    Nesterov {
        /// Above 0, to 1.
        momentum: f64,
    },
}

impl Momentum {
    /// The factor the past is kept with; 0 without momentum.
    pub fn factor(self) -> f64 {
        match self {
            Momentum::None => 0.0,
            Momentum::Classic { momentum, .. } | Momentum::Nesterov { momentum } => momentum,
        }
    }

    /// Refuses factors out of range.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting).
    pub fn check(self) -> Result<()> {
        if let Momentum::Classic { dampening, .. } = self {
            check_non_negative("dampening", dampening)?;
        }
        if self == (Momentum::Nesterov { momentum: 0.0 }) {
            return Err(Error::setting("nesterov", "it needs a momentum above 0"));
        }
        check_non_negative("momentum", self.factor())
    }
}

/// What a step does with a stale gradient, one to which backward passes were added after a step had used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StaleGradient {
    /// Refuses the step and names the parameter and the step that had used the gradient. The default.
    #[default]
    Deny,
    /// Steps, and reports it: the first time for each parameter to [`Sgd::on_warning`], always in
    /// [`Sgd::stale_steps`].
    Warn,
    /// What PyTorch does: steps in silence, whatever `zero_grad` has thrown away. A second step repeats the update, and a parameter without a gradient
    /// is skipped.
    Allow,
}

/// The settings of [`Sgd`], unchecked until [`build`](SgdConfig::build).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// The learning rate, not negative.
    pub lr: f64,
    /// Default: [`Momentum::None`].
    pub momentum: Momentum,
    /// The factor of `value` added to the gradient of parameters that decay. Default: 0.
    pub weight_decay: f64,
    /// Whether to climb instead of descend. Default: no.
    pub maximize: bool,
    /// Default: [`StaleGradient::Deny`].
    pub stale: StaleGradient,
}

impl SgdConfig {
    /// Plain SGD with this learning rate.
    pub fn new(lr: f64) -> Self {
        SgdConfig { lr, momentum: Momentum::None, weight_decay: 0.0, maximize: false, stale: StaleGradient::Deny }
    }

    /// Which momentum. Default: none.
    pub fn momentum(mut self, momentum: Momentum) -> Self {
        self.momentum = momentum;
        self
    }

    /// The weight decay, an L2 penalty of `weight_decay / 2 * value^2`. Default: 0.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Climb instead of descend. Default: descend.
    pub fn maximize(mut self) -> Self {
        self.maximize = true;
        self
    }

    /// What to do with a stale gradient. Default: [`StaleGradient::Deny`].
    pub fn stale_gradient(mut self, policy: StaleGradient) -> Self {
        self.stale = policy;
        self
    }

    /// Checks the settings and makes the optimizer.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if one is negative or not finite, or Nesterov has no momentum.
    pub fn build<T: Scalar>(self) -> Result<Sgd<T>> {
        check_non_negative("learning rate", self.lr)?;
        check_non_negative("weight decay", self.weight_decay)?;
        self.momentum.check()?;
        Ok(Sgd {
            config: self,
            buffers: Vec::new(),
            shapes: Vec::new(),
            steps: 0,
            stale_steps: Vec::new(),
            unstepped_passes: 0,
            on_warning: Box::new(|warning| remark(format!("warning: {warning}"))),
        })
    }
}

/// Stochastic gradient descent with momentum, weight decay and the ledger's guard.
///
/// One step of one parameter, in PyTorch's order: `g = gradient`, negated if maximizing; `g += weight_decay value`;
/// momentum; `value -= lr g`.
pub struct Sgd<T> {
    config: SgdConfig,
    /// The momentum buffer of each parameter; empty before its first step.
    buffers: Vec<Vec<T>>,
    /// The shape of each parameter in the first step.
    shapes: Vec<Vec<usize>>,
    steps: u64,
    /// Stale steps counted for each parameter.
    stale_steps: Vec<u64>,
    /// Backward passes that `zero_grad` threw away unstepped.
    unstepped_passes: u64,
    on_warning: Box<dyn FnMut(&GradientWarning) + Send>,
}

impl<T: Scalar> Sgd<T> {
    /// The settings. The learning rate is that of the next step.
    pub fn config(&self) -> &SgdConfig {
        &self.config
    }

    /// Calls `report` the first time each parameter is stepped with a stale gradient under [`StaleGradient::Warn`], and
    /// the first time a step finds that `zero_grad` has thrown away backward passes, unless under
    /// [`StaleGradient::Allow`]. Default: the warning is printed to standard error.
    pub fn on_warning(mut self, report: impl FnMut(&GradientWarning) + Send + 'static) -> Self {
        self.on_warning = Box::new(report);
        self
    }

    /// How many steps used a stale gradient, for each parameter in order. Counted under
    /// [`StaleGradient::Warn`].
    pub fn stale_steps(&self) -> &[u64] {
        &self.stale_steps
    }

    /// How many backward passes `zero_grad` has thrown away between steps without one having used them. Counted unless
    /// under [`StaleGradient::Allow`].
    pub fn unstepped_passes(&self) -> u64 {
        self.unstepped_passes
    }

    /// Notes the parameters of the first step.
    #[cold]
    fn meet(&mut self, parameters: &[Parameter<T>]) {
        self.buffers.resize(parameters.len(), Vec::new());
        self.stale_steps.resize(parameters.len(), 0);
        self.shapes = parameters.iter().map(|p| p.shape().to_vec()).collect();
    }

    /// Whether this parameter takes part in the step, by its ledger and the policy. Asked twice for each, so in line.
    #[inline(always)]
    fn admit(&self, parameter: &Parameter<T>) -> Result<bool> {
        if parameter.is_frozen() {
            return Ok(false);
        }
        match parameter.ledger().fault() {
            None => Ok(true),
            Some(fault) => self.admit_despite(fault, parameter),
        }
    }

    #[cold]
    fn admit_despite(&self, fault: LedgerFault, parameter: &Parameter<T>) -> Result<bool> {
        let name = || parameter.name().to_owned();
        match (fault, self.config.stale) {
            (LedgerFault::Missing, StaleGradient::Allow) => Ok(false),
            (_, StaleGradient::Allow) | (LedgerFault::Stale { .. }, StaleGradient::Warn) => Ok(true),
            (LedgerFault::Missing, _) => Err(ErrorKind::MissingGradient { parameter: name() }.into()),
            (LedgerFault::Double { step }, _) => Err(ErrorKind::DoubleStep { parameter: name(), step }.into()),
            (LedgerFault::Stale { step, passes }, StaleGradient::Deny) => {
                Err(ErrorKind::StaleGradient { parameter: name(), step, passes }.into())
            }
        }
    }

    /// `plain`, with the momentum of the settings. A function of its own, so that plain steps need no room for it.
    #[inline(never)]
    fn update_with_momentum(&mut self, index: usize, values: &mut [T], gradients: &[T], plain: SgdUpdate<T>) {
        let momentum = self.config.momentum.factor();
        let (dampening, nesterov) = match self.config.momentum {
            Momentum::Classic { dampening, .. } => (dampening, false),
            Momentum::None => (0.0, false),
            Momentum::Nesterov { .. } => (0.0, true),
        };
        let buffer = &mut self.buffers[index];
        // The first step sets the buffer to the gradient itself, whatever the dampening.
        let keep = if buffer.is_empty() { T::one() } else { T::from_f64(1.0 - dampening) };
        buffer.resize(values.len(), T::zero());
        let update = SgdUpdate { momentum: T::from_f64(momentum), keep, nesterov, ..plain };
        kernels::sgd_update(values, gradients, buffer, update);
    }

    fn warn_if_stale(&mut self, index: usize, parameter: &Parameter<T>) {
        let Some(LedgerFault::Stale { step, passes }) = parameter.ledger().fault() else { return };
        if self.config.stale != StaleGradient::Warn {
            return;
        }
        self.stale_steps[index] += 1;
        if self.stale_steps[index] == 1 {
            let parameter = parameter.name().to_owned();
            (self.on_warning)(&GradientWarning::Stale { parameter, step: self.steps + 1, used_by: step, passes });
        }
    }

    #[cold]
    fn warn_of_unstepped(&mut self, parameters: &[Parameter<T>]) {
        if self.config.stale == StaleGradient::Allow {
            return;
        }
        let warning = GradientWarning::unstepped(parameters, self.steps + 1);
        let Some(GradientWarning::Unstepped { passes, .. }) = warning else { return };
        self.unstepped_passes += passes;
        if self.unstepped_passes == passes {
            warning.iter().for_each(&mut self.on_warning);
        }
    }
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64> {
        if self.steps == 0 {
            self.meet(parameters);
        }
        if self.buffers.len() != parameters.len() {
            return Err(Error::shape("parameters", &[self.buffers.len()], &[parameters.len()]));
        }
        // All or none: every parameter is looked at before the first one moves.
        let mut thrown_away = 0;
        for (parameter, shape) in parameters.iter().zip(&self.shapes) {
            self.admit(parameter)?;
            if !parameter.has_shape(shape) {
                return Err(Error::shape(format!("parameter \"{}\"", parameter.name()), shape, parameter.shape()));
            }
            thrown_away += parameter.thrown_away();
        }
        if thrown_away > 0 {
            self.warn_of_unstepped(parameters);
        }
        let step = self.steps + 1;
        let plain = SgdUpdate {
            lr: T::from_f64(self.config.lr),
            sign: if self.config.maximize { -T::one() } else { T::one() },
            weight_decay: T::zero(),
            momentum: T::zero(),
            keep: T::one(),
            nesterov: false,
        };
        for (index, parameter) in parameters.iter_mut().enumerate() {
            if !self.admit(parameter)? {
                continue;
            }
            self.warn_if_stale(index, parameter);
            let decay = if parameter.decays() { self.config.weight_decay } else { 0.0 };
            let update = SgdUpdate { weight_decay: T::from_f64(decay), ..plain };
            let (values, gradients) = parameter.values_and_gradients_mut();
            if self.config.momentum.factor() == 0.0 {
                kernels::sgd_update(values, gradients, &mut [], update);
            } else {
                self.update_with_momentum(index, values, gradients, update);
            }
            parameter.mark_spent(step);
        }
        self.steps = step;
        Ok(step)
    }

    /// Without momentum, weight decay and `maximize`, once it has met the parameters, of which none is frozen or has backward
    /// passes that no step has used.
    #[inline]
    fn is_plain(&self, parameters: &[Parameter<T>]) -> bool {
        let SgdConfig { momentum, weight_decay, maximize, .. } = self.config;
        let own = |(p, shape): (&Parameter<T>, &Vec<usize>)| {
            p.has_shape(shape) && !p.is_frozen() && p.thrown_away() == 0 && p.ledger().unstepped_passes() == 0
        };
        (momentum.factor(), weight_decay, maximize) == (0.0, 0.0, false)
            && parameters.len() == self.shapes.len()
            && parameters.iter().zip(&self.shapes).all(own)
    }

    #[inline]
    fn count_plain_step(&mut self) -> Option<u64> {
        self.steps += 1;
        Some(self.steps)
    }

    fn lr(&self) -> f64 {
        self.config.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.config.lr = lr;
    }

    /// `weight_decay / 2 * |value|^2` over the parameters that decay.
    fn penalty(&self, parameters: &[Parameter<T>]) -> f64 {
        if self.config.weight_decay == 0.0 {
            return 0.0;
        }
        let decaying = parameters.iter().filter(|p| p.decays() && !p.is_frozen());
        let squares: f64 = decaying.map(|p| kernels::sum_of_squares(p.values()).as_f64()).sum();
        self.config.weight_decay / 2.0 * squares
    }

    fn objective_grad_norm(&self, parameters: &[Parameter<T>]) -> f64 {
        let trained = parameters.iter().filter(|p| !p.is_frozen());
        let square = |p: &Parameter<T>| {
            let decay = if p.decays() { self.config.weight_decay } else { 0.0 };
            kernels::sum_of_squared_sums(p.gradients(), T::from_f64(decay), p.values()).as_f64()
        };
        trained.map(square).sum::<f64>().sqrt()
    }

    fn maximizes(&self) -> bool {
        self.config.maximize
    }

    fn momentum(&self) -> Momentum {
        // None and a factor of 0 are the same steps.
        if self.config.momentum.factor() == 0.0 { Momentum::None } else { self.config.momentum }
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(test)]
#[path = "sgd_tests.rs"]
mod tests;
