//! How a run ends: what came of it is measured, and a run that diverged is refused.

use super::super::blame::outlier;
use super::super::event::{RunEnd, StopReason};
use super::super::report::Report;
use super::super::stopping::{restore, snapshot};
use super::{Outcome, Run};
use crate::data::RowSource;
use crate::error::{Error, ErrorKind, Result};
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
    /// Measures what came of the run and tells the observer, whichever way it ended.
    pub(super) fn end(mut self, outcome: Result<Outcome>, source: &mut dyn RowSource<T>) -> Result<Report> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.optimizer.set_lr(self.base_lr);
        let outcome = outcome.and_then(|outcome| {
            if let (Some(error), None) = (self.first_skipped.take(), self.last_loss) {
                return Err(error); // No step was left to take.
            }
            let loss = self.mean_loss_of(source)?;
            self.check_divergence(loss, source)?;
            self.watch_end(outcome.reason, loss, source)?;
            Ok((outcome, loss))
        });
        let diverged = |error: &Error| matches!(error.kind(), ErrorKind::NonFinite { .. } | ErrorKind::Diverged { .. });
        let (reason, loss) = match &outcome {
            Ok((outcome, loss)) => (outcome.reason, *loss),
            Err(error) if diverged(error) => (StopReason::Diverged, f64::NAN),
            Err(_) => return outcome.map(|_| unreachable!("matched as an error")),
        };
        let (steps, epochs) = (self.optimizer.steps() - self.steps_before, self.epoch);
        self.observer.end(&RunEnd { reason, steps, epochs, loss, seconds })?;
        let (outcome, loss) = outcome?;
        Ok(Report {
            reason,
            steps,
            epochs,
            best_epoch: outcome.best_epoch,
            skipped_steps: self.skipped_steps,
            warnings: self.warnings,
            loss,
            objective: loss + self.optimizer.penalty(self.model.parameters()),
            seconds,
        })
    }

    /// Refuses a final loss that is not finite, an objective well above that of the starting parameters, and a full
    /// batch whose swings grow.
    fn check_divergence(&mut self, last: f64, source: &mut dyn RowSource<T>) -> Result<()> {
        // The rows that were left out may cost anything: the others decide.
        let last = if self.skipped_steps > 0 { self.last_loss.unwrap_or(last) } else { last };
        if last.is_finite() && self.optimizer.maximizes() {
            return Ok(());
        }
        let growing = self.one_step_an_epoch() && self.history.swings_grow();
        let first_batch = self.first_loss.unwrap_or(f64::INFINITY);
        if last.is_finite() && last <= first_batch && !growing {
            return Ok(());
        }
        // The first batch may have been a lucky one: the whole data decides.
        let penalty = self.optimizer.penalty(self.model.parameters());
        let final_values = snapshot(self.model.parameters());
        restore(self.model.parameters_mut(), &self.initial);
        let first = self.mean_loss_of(source)?;
        let first_penalty = self.optimizer.penalty(self.model.parameters());
        restore(self.model.parameters_mut(), &final_values);
        if last.is_finite() && last + penalty <= DIVERGED * (first + first_penalty) && !growing {
            return Ok(());
        }
        // The swings may have grown from far below the start.
        let first = if growing { self.history.lowest() } else { first };
        let mut culprit = None;
        source.each_block(&mut |data, _| {
            culprit = culprit.take().or_else(|| outlier(data));
            Ok(())
        })?;
        let help = match &culprit {
            Some(_) => "mend the value or leave its row out".to_owned(),
            None => format!(
                "the learning rate {} is too large for this data: lower it, or leave it out to have it chosen",
                self.base_lr
            ),
        };
        Err(ErrorKind::Diverged { first, last, epoch: self.epoch, culprit, help }.into())
    }
}

/// A final loss above this many times the first is a run that diverged, not the noise of small batches.
pub(super) const DIVERGED: f64 = 1.5;
