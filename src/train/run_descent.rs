//! Plain descent on few rows: one step an epoch, and what is the same in every step is asked for before the first.
//!
//! The arithmetic of such a step on 100 rows takes 20 ns, and all that the general way of `one_epoch` asks twice as long. A step that is
//! out of the ordinary goes that way; the results are the same to the bit.

use super::super::event::{EpochEvent, StepEvent, StopReason};
use super::super::problem::{OneOutput, Samples, linear_layer};
use super::super::stopping::Stopping;
use super::super::trainer::check_block;
use super::super::watch::Sign;
use super::Run;
use crate::data::{Dataset, RowSource};
use crate::error::Result;
use crate::loss::{Loss, LossSum};
use crate::model::{Model, discard_grad, parameter_count, replace_gradients};
use crate::optim::{Optimizer, Schedule, count_or_step, squared_grad_norm, step_plainly};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Why plain descent pauses.
pub(super) enum Pause {
    /// The run ends for this reason; without one, all epochs are done, or what follows is out of the ordinary.
    End(Option<StopReason>),
    /// An epoch has given signs to be looked into.
    Signs(EpochEvent, Vec<Sign>),
}

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Whether the steps that follow are plain: one pass of one thread over all rows, and an update that nothing else goes
    /// into.
    pub(super) fn descends_plainly(&self) -> bool {
        let config = &self.config;
        let parameters = self.model.parameters();
        self.epoch < config.epochs
            && self.one_step_an_epoch()
            && self.loss.output_loss().is_some()
            && self.steps_plainly()
            && config.schedule == Schedule::Constant
            && config.optimality.is_none()
            && config.patience.is_none()
            && self.validation.is_none()
            // A first step has set the learning rate, and been looked at from all sides.
            && self.last_loss.is_some()
            && T::from_f64(self.base_lr).is_finite()
            && self.guard.is_at_ease(0.0)
            && self.model.outputs() == 1
            && linear_layer(&*self.model, 1, parameter_count(parameters)).is_some()
            && self.accumulator.is_one_shard(self.rows)
    }

    /// Goes on while steps are plain, and says why the run ends, if it does.
    pub(super) fn descend(
        &mut self,
        source: &mut dyn RowSource<T>,
        stopping: &mut Stopping<T>,
    ) -> Result<Option<StopReason>> {
        match source.in_memory() {
            Some(data) if data.rows() == self.rows => check_block(data, &*self.model, self.loss)?,
            _ => return Ok(None),
        }
        while let Some(data) = source.in_memory() {
            let (event, signs) = match self.descend_on(data, stopping)? {
                Pause::End(reason) => return Ok(reason),
                Pause::Signs(event, signs) => (event, signs),
            };
            self.look_into(signs, &event, source)?;
            if stopping.after_epoch(event.loss, None, self.model.parameters()) {
                return Ok(Some(self.reason_for_enough()));
            }
        }
        Ok(None)
    }

    fn descend_on(&mut self, data: &Dataset<T>, stopping: &mut Stopping<T>) -> Result<Pause> {
        let Some(pass) = Samples::of(data).one_output(self.loss, self.rows) else { return Ok(Pause::End(None)) };
        if let Some(pause) = self.descend_on_column(&pass, stopping) {
            return pause;
        }
        let lr = self.base_lr;
        if self.epoch < self.config.epochs {
            self.accumulator.begin();
            self.sum(&pass);
        }
        while self.epoch < self.config.epochs {
            if self.is_interrupted() {
                return Ok(self.pause_interrupted());
            }
            let Run { model, accumulator, .. } = self;
            let sums = accumulator.finish();
            let LossSum { loss, weight } = *sums.value;
            let loss = loss / weight;
            replace_gradients_apart(model.parameters_mut(), &sums.gradient, T::from_f64(weight))?;
            let squared_norm = squared_grad_norm(model.parameters());
            if !self.is_ordinary(loss, squared_norm) {
                // The general way takes this step, from the start.
                discard_grad(self.model.parameters_mut());
                return Ok(Pause::End(None));
            }
            self.begin_epoch(loss);
            let step = count_or_step(self.optimizer, self.model.parameters_mut(), |parameters, step| {
                parameters.iter_mut().for_each(|parameter| step_plainly(parameter, T::from_f64(lr), step));
            })?;
            // Before this step is told of: the processor does both at a time.
            if self.epoch < self.config.epochs {
                self.sum(&pass);
            }
            if let Some(pause) = self.tell_descent(step, loss, squared_norm, stopping)? {
                return Ok(pause);
            }
        }
        Ok(Pause::End(None))
    }

    /// Whether a step from this loss, along a gradient whose norm has this square, need not go the general way.
    #[inline(always)]
    pub(super) fn is_ordinary(&self, loss: f64, squared_norm: f64) -> bool {
        // No number of updates as short as that overflows a parameter, so that none need be looked at.
        loss.is_finite() && self.guard.is_at_ease(self.base_lr * self.base_lr * squared_norm)
    }

    /// The end of a run that is interrupted.
    pub(super) fn pause_interrupted(&mut self) -> Pause {
        self.epoch += 1; // It was begun.
        Pause::End(Some(StopReason::Interrupted))
    }

    /// Begins an epoch whose only step goes from this loss.
    #[inline(always)]
    pub(super) fn begin_epoch(&mut self, loss: f64) {
        self.epoch += 1;
        self.last_loss = Some(loss);
    }

    /// Tells of a step and its epoch, and says why descent pauses, if it does. The model may still be as at the last pause.
    #[inline(always)]
    pub(super) fn tell_descent(
        &mut self,
        step: u64,
        loss: f64,
        squared_norm: f64,
        stopping: &mut Stopping<T>,
    ) -> Result<Option<Pause>> {
        self.watched = self.is_watched();
        let (lr, grad_norm) = (self.base_lr, squared_norm.sqrt());
        let event = StepEvent { step, epoch: self.epoch, loss, grad_norm, lr, samples: self.rows };
        self.tell_step(&event, grad_norm)?;
        let event = self.epoch_event(loss, None, grad_norm);
        self.observer.epoch(&event)?;
        let signs = self.watch_epoch(&event, loss);
        if !signs.is_empty() {
            return Ok(Some(Pause::Signs(event, signs)));
        }
        // Parameters are for patience, which does not go with plain descent.
        if stopping.may_stop() && stopping.after_epoch(loss, None, &[]) {
            return Ok(Some(Pause::End(Some(self.reason_for_enough()))));
        }
        Ok(None)
    }

    /// The sums of all rows under the parameters as they are.
    #[inline(always)]
    fn sum(&mut self, pass: &OneOutput<'_, T>) {
        let layer = self.model.linear_layer().expect("a linear layer stays one during a run");
        self.accumulator.sum_one_shard(pass, layer);
    }
}

/// A function of its own: in line, it takes registers that a short step needs for what comes before and after.
#[inline(never)]
fn replace_gradients_apart<T: Scalar>(parameters: &mut [Parameter<T>], sum: &[T], weight: T) -> Result<()> {
    replace_gradients(parameters, sum, weight)
}
