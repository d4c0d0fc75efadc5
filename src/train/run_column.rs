//! Plain descent of a line through one column: a step is so short that its numbers stay in registers until descent pauses.

use super::super::problem::OneOutput;
use super::super::stopping::Stopping;
use super::Run;
use super::descent::Pause;
use crate::error::Result;
use crate::kernels::{Decision, Descended, Supervisor};
use crate::loss::Loss;
use crate::model::Model;
use crate::optim::Optimizer;
use crate::scalar::Scalar;

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Goes on while steps are plain, and says why it pauses. `None` if the model is not such a line, or the optimizer does not
    /// count the next step: it is then to be taken the longer way.
    pub(super) fn descend_on_column(
        &mut self,
        pass: &OneOutput<'_, T>,
        stopping: &mut Stopping<T>,
    ) -> Option<Result<Pause>> {
        let (weight, bias) = match self.model.linear_layer()? {
            [&[weight], &[]] => (weight, None),
            [&[weight], &[bias]] => (weight, Some(bias)),
            _ => return None,
        };
        // What comes of it is given back to one parameter each.
        if !self.model.parameters().iter().all(|parameter| parameter.len() == 1) {
            return None;
        }
        let descent = pass.column_descent(weight, bias, T::from_f64(self.base_lr))?;
        let mut supervisor = RunSupervisor { run: self, stopping, step: None, pause: Some(Ok(Pause::End(None))) };
        let Descended { values, gradient } = descent.run(&mut supervisor);
        let RunSupervisor { run, step, pause, .. } = supervisor;
        if let Some(step) = step {
            for (parameter, (value, mean)) in
                run.model.parameters_mut().iter_mut().zip(values.into_iter().zip(gradient))
            {
                parameter.values_mut()[0] = value;
                parameter.replace_gradient_by(|gradient| gradient[0] = mean);
                parameter.mark_spent(step);
            }
        }
        pause
    }
}

/// What a run does between two steps of a line.
struct RunSupervisor<'s, 'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    run: &'s mut Run<'a, T, M, L, O>,
    stopping: &'s mut Stopping<T>,
    /// The number of the last step.
    step: Option<u64>,
    /// Why descent pauses; `None` if it is because the optimizer does not count the next step.
    pause: Option<Result<Pause>>,
}

impl<T, M, L, O> Supervisor for RunSupervisor<'_, '_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    fn step(&mut self, loss: f64, squared_norm: f64) -> Decision {
        let run = &mut *self.run;
        if run.epoch >= run.config.epochs {
            return Decision::Refused;
        }
        if run.is_interrupted() {
            self.pause = Some(Ok(run.pause_interrupted()));
            return Decision::Refused;
        }
        if !run.is_ordinary(loss, squared_norm) {
            return Decision::Refused;
        }
        let Some(step) = run.optimizer.count_plain_step() else {
            self.pause = None;
            return Decision::Refused;
        };
        self.step = Some(step);
        run.begin_epoch(loss);
        match run.tell_descent(step, loss, squared_norm, self.stopping).transpose() {
            None => Decision::Taken,
            pause => {
                self.pause = pause;
                Decision::Last
            }
        }
    }
}
