//! Plain descent of a line through one column: a step is so short that its numbers stay in registers until descent pauses.

use super::super::event::StopReason;
use super::super::problem::OneOutput;
use super::super::stopping::Stopping;
use super::Run;
use super::descent::Pause;
use crate::error::Result;
use crate::kernels::{Descended, Supervisor};
use crate::loss::Loss;
use crate::model::Model;
use crate::optim::Optimizer;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Goes on while steps are plain, and says why it pauses. `None`, and nothing is done, if the model is not such a line, or
    /// the optimizer counts no steps.
    pub(super) fn descend_on_column(
        &mut self,
        pass: &OneOutput<'_, T>,
        stopping: &mut Stopping<T>,
    ) -> Option<Result<Pause>> {
        let value_of = |parameter: &Parameter<T>| match parameter.values() {
            &[value] => Some(value),
            _ => None,
        };
        let (start, has_bias) = match self.model.parameters() {
            [weight] => ([value_of(weight)?, T::zero()], false),
            [weight, bias] => ([value_of(weight)?, value_of(bias)?], true),
            _ => return None,
        };
        let descent = pass.column_descent(start, has_bias, T::from_f64(self.base_lr))?;
        let mut supervision =
            Supervision { run: self, stopping, step: None, counts: true, pause: Ok(Pause::End(None)) };
        let Descended { values, gradient } = descent.run(&mut supervision);
        let Supervision { run, step, counts, pause, .. } = supervision;
        if let Some(step) = step {
            for (parameter, (value, mean)) in
                run.model.parameters_mut().iter_mut().zip(values.into_iter().zip(gradient))
            {
                parameter.values_mut()[0] = value;
                parameter.replace_gradient_by(|gradient| gradient[0] = mean);
                parameter.mark_spent(step);
            }
        }
        counts.then_some(pause)
    }
}

/// What a run does between two steps of a line.
struct Supervision<'s, 'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    run: &'s mut Run<'a, T, M, L, O>,
    stopping: &'s mut Stopping<T>,
    /// The number of the last step.
    step: Option<u64>,
    /// Whether the optimizer counts steps.
    counts: bool,
    /// Why descent pauses: without more, all epochs are done or the next step is out of the ordinary.
    pause: Result<Pause>,
}

impl<T, M, L, O> Supervisor for Supervision<'_, '_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    #[inline(always)]
    fn permits(&mut self, loss: f64, squared_norm: f64) -> bool {
        let run = &mut *self.run;
        if run.epoch >= run.config.epochs {
            return false;
        }
        if run.is_interrupted() {
            run.epoch += 1; // It was begun.
            self.pause = Ok(Pause::End(Some(StopReason::Interrupted)));
            return false;
        }
        if !run.is_ordinary(loss, squared_norm) {
            return false;
        }
        let Some(step) = run.optimizer.count_plain_step() else {
            self.counts = false;
            return false;
        };
        self.step = Some(step);
        run.epoch += 1;
        run.last_loss = Some(loss);
        true
    }

    #[inline(always)]
    fn goes_on(&mut self, loss: f64, squared_norm: f64) -> bool {
        let step = self.step.expect("a step was permitted");
        match self.run.tell_descent(step, loss, squared_norm, self.stopping) {
            Ok(None) => true,
            Ok(Some(pause)) => {
                self.pause = Ok(pause);
                false
            }
            Err(error) => {
                self.pause = Err(error);
                false
            }
        }
    }
}
