//! What a run does about a loss, a gradient or an update that is not finite: its cause is traced, and it stops or goes on
//! without that step.

use super::super::blame::{FailedStep, Found, Verdict, trace, trace_update};
use super::super::config::NonFinite;
use super::end::DIVERGED;
use super::{Batch, Run};
use crate::error::{ErrorKind, Result};
use crate::loss::Loss;
use crate::model::{Model, discard_grad};
use crate::optim::Optimizer;
use crate::scalar::Scalar;

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Refuses the sums of a window that goes on in the next block if they are not finite already: its rows are still at
    /// hand to be traced.
    pub(super) fn check_window(&mut self, batch: Batch<'_, T>) -> Result<()> {
        let sums = self.accumulator.finish();
        if sums.value.loss.is_finite() && sums.gradient.iter().all(|g| g.is_finite()) {
            return Ok(());
        }
        let loss = sums.value.mean();
        self.non_finite(&batch, loss)
    }

    /// A loss or gradient that is not finite: nothing of it reaches the parameters.
    pub(super) fn non_finite(&mut self, batch: &Batch<'_, T>, loss: f64) -> Result<()> {
        if self.optimizer.steps() > self.steps_before
            && let Some(element) = self.guard.look(self.model.parameters_mut())
        {
            // An earlier update is the cause. This batch is left out with it: it met parameters that are no more.
            discard_grad(self.model.parameters_mut());
            self.update_overflowed(element, Found::Late)?;
            self.skipped_steps += 1;
            return Ok(());
        }
        let grown = self.last_loss.zip(self.first_loss).is_some_and(|(last, first)| last > DIVERGED * first);
        let step = FailedStep { rows: batch.rows, loss, grown };
        let verdict = trace(&*self.model, self.loss, batch.data, &step);
        discard_grad(self.model.parameters_mut());
        self.leave_out(self.optimizer.steps() + 1, verdict)
    }

    /// An update that overflowed: the guard has put finite values back.
    pub(super) fn update_overflowed(&mut self, element: (usize, usize), found: Found) -> Result<()> {
        let verdict = trace_update(self.model.parameters(), element, self.optimizer.lr(), found);
        self.leave_out(self.optimizer.steps(), verdict)
    }

    /// Stops, or leaves the step out, counts it, and tells of the first.
    fn leave_out(&mut self, step: u64, verdict: Verdict) -> Result<()> {
        let Verdict { culprit, what, help } = verdict;
        let message = format!("step {step} (epoch {}) left out: {what}; {help}", self.epoch);
        let error = ErrorKind::NonFinite { step, epoch: self.epoch, what, culprit, help }.into();
        if self.config.non_finite == NonFinite::Stop {
            return Err(error);
        }
        self.skipped_steps += 1;
        self.first_skipped.get_or_insert(error);
        self.warn("non_finite_step", step, || message)
    }
}
