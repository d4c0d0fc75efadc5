//! What a run makes of the watch's signs: suspicions are looked into, and each warning is told once.

use std::ops::ControlFlow;

use super::super::curvature::{Curvature, curvature_of, row_bound};
use super::super::event::{EpochEvent, RunWarning, StepEvent, StopReason};
use super::super::watch::{EpochFacts, Sign};
use super::{Clip, Run};
use crate::data::{Pass, RowSource};
use crate::error::Result;
use crate::loss::{Loss, Target};
use crate::model::Model;
use crate::optim::{Momentum, Optimizer};
use crate::scalar::Scalar;

/// A learning rate from this share of the limit on is at it.
const AT_THE_LIMIT: f64 = 0.85;

/// A learning rate below this share of the limit is far below it.
const FAR_BELOW: f64 = 0.01;

/// Of so many epochs of one step, the first that are watched; of the first so many, all.
const PERIOD: usize = 128;
const STRETCH: usize = 32;

/// The epochs from which a pass at the end of a run costs nothing to speak of.
const LONG_RUN: usize = 20;

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Counts a warning, and tells of it the first time.
    pub(super) fn warn(&mut self, code: &'static str, step: u64, message: impl FnOnce() -> String) -> Result<()> {
        if self.warnings.count(code) == 1 {
            self.observer.warning(&RunWarning { code, step, message: message() })?;
        }
        Ok(())
    }

    /// Whether this epoch is watched. In a long run of one step an epoch each may take 100 ns, and watching it a twentieth
    /// of that: a quarter of them is enough, in stretches longer than any sign takes. Clipped steps are counted, all.
    pub(super) fn is_watched(&self) -> bool {
        let rests = self.one_step_an_epoch() && self.epoch > PERIOD && self.epoch % PERIOD >= STRETCH;
        self.config.watch && (!rests || self.config.clip != Clip::None)
    }

    pub(super) fn watch_step(&mut self, event: &StepEvent, clipped_norm: f64) {
        if !self.watched {
            return;
        }
        let clipped = match self.config.clip {
            Clip::None => false,
            Clip::Norm(limit) => event.grad_norm > limit,
            Clip::Value(_) => clipped_norm < event.grad_norm,
        };
        let plain = event.samples == self.rows && self.optimizer.momentum() == Momentum::None;
        self.watch.step(event, clipped, plain);
    }

    /// Notes an epoch, and says what is suspicious.
    #[inline]
    pub(super) fn watch_epoch(&mut self, event: &EpochEvent, objective: f64) -> Vec<Sign> {
        self.history.push(event.loss);
        if self.watched { self.suspicions(event, objective) } else { Vec::new() }
    }

    #[inline(never)]
    fn suspicions(&mut self, event: &EpochEvent, objective: f64) -> Vec<Sign> {
        let facts = EpochFacts {
            epoch: event.epoch,
            loss: event.loss,
            objective,
            valid_loss: event.valid_loss,
            grad_norm: event.grad_norm,
            momentum: self.optimizer.momentum().factor() > 0.0,
        };
        let mut signs = self.watch.epoch(&facts);
        if !signs.is_empty() && self.is_known_stable() {
            signs.retain(|sign| !matches!(sign, Sign::Oscillating(_)));
        }
        signs
    }

    /// Whether an earlier look has found that the learning rate is far from the limit.
    fn is_known_stable(&self) -> bool {
        self.bound.is_some_and(|bound| self.optimizer.lr() < AT_THE_LIMIT * self.rough_limit(bound))
    }

    /// A lower bound of the largest stable learning rate.
    fn rough_limit(&self, bound: Curvature) -> f64 {
        self.limit_of(bound.full_batch, bound.full_batch)
    }

    /// Looks into what is suspicious, and warns where it is confirmed.
    pub(super) fn look_into(
        &mut self,
        signs: Vec<Sign>,
        event: &EpochEvent,
        source: &mut dyn RowSource<T>,
    ) -> Result<()> {
        signs.into_iter().try_for_each(|sign| self.look_into_one(sign, event, source))
    }

    fn look_into_one(&mut self, sign: Sign, event: &EpochEvent, source: &mut dyn RowSource<T>) -> Result<()> {
        let (step, epoch) = (self.optimizer.steps(), event.epoch);
        match sign {
            Sign::Clipped(share) => self.warn("gradients_clipped", step, || {
                let share = 100.0 * share;
                format!(
                    "{share:.0} % of the gradients are clipped: their length is the clip's, not the loss's; raise the \
                     limit, or scale the features"
                )
            }),
            Sign::Rising(epochs) => {
                let lr = self.optimizer.lr();
                self.warn("loss_rising", step, || {
                    format!("the loss has risen for {epochs} epochs, up to epoch {epoch}: lower the learning rate {lr}")
                })
            }
            Sign::ValidationRising(best) => self.warn("validation_rising", step, || {
                format!(
                    "the validation loss has risen since epoch {best} while the training loss falls: the model learns \
                     the rows by heart; --patience 20 keeps the best epoch, --weight-decay holds the weights down"
                )
            }),
            Sign::Oscillating(along) => self.look_into_oscillation(along, step, source),
        }
    }

    fn look_into_oscillation(&mut self, along: Option<f64>, step: u64, source: &mut dyn RowSource<T>) -> Result<()> {
        let lr = self.optimizer.lr();
        let limit = match (self.stable_limit(lr, source)?, along) {
            (Some(limit), _) => limit,
            // The penalty pulls, too, and the loss then stands still without being at any limit.
            (None, Some(_)) if self.optimizer.penalty(self.model.parameters()) > 0.0 => return Ok(()),
            (None, Some(along)) => 2.0 / along,
            (None, None) => return Ok(()),
        };
        if lr < AT_THE_LIMIT * limit {
            return Ok(());
        }
        self.warn("oscillation", step, || {
            format!(
                "the loss hardly falls while gradients stay large: the learning rate {lr:e} is at the limit of what is \
                 stable, {limit:.3e}, and steps go back and forth; {:.3e} would be stable",
                limit / 2.0
            )
        })
    }

    /// The largest stable learning rate of a linear model: exactly where `lr` comes near it, and otherwise a lower
    /// bound that is found in one pass.
    fn stable_limit(&mut self, lr: f64, source: &mut dyn RowSource<T>) -> Result<Option<f64>> {
        let Some([_, bias]) = self.model.linear_layer() else { return Ok(None) };
        let bias = !bias.is_empty();
        let outputs = self.model.outputs();
        if self.bound.is_none() {
            self.bound = row_bound(source, self.loss, outputs, bias)?;
        }
        let Some(bound) = self.bound else { return Ok(None) };
        let rough = self.rough_limit(bound);
        if lr < AT_THE_LIMIT * rough {
            return Ok(Some(rough));
        }
        if self.curvature.is_none() {
            self.curvature = curvature_of(source, self.loss, outputs, bias)?;
        }
        Ok(self.curvature.map(|curvature| self.limit_of(curvature.full_batch, bound.full_batch)))
    }

    /// The limit for a largest curvature and the sum of all curvatures. A batch of b rows has the noise of its
    /// gradients besides, of the order of `trace / b`, and momentum m adds `1/(1-m)` of them up.
    fn limit_of(&self, steepest: f64, trace: f64) -> f64 {
        let rows = self.rows;
        let batch = self.batch;
        let momentum = self.optimizer.momentum();
        let m = momentum.factor();
        let smooth = match momentum {
            Momentum::Nesterov { .. } => 2.0 * (1.0 + m) / ((1.0 + 2.0 * m) * steepest),
            _ => 2.0 * (1.0 + m) / steepest,
        };
        if batch == rows {
            return smooth;
        }
        let noisy = 2.0 * (1.0 - m).max(f64::EPSILON) * batch as f64 / trace;
        1.0 / (1.0 / smooth + 1.0 / noisy)
    }

    /// What can be told only when the run is over.
    pub(super) fn watch_end(&mut self, reason: StopReason, loss: f64, source: &mut dyn RowSource<T>) -> Result<()> {
        if !self.config.watch {
            return Ok(());
        }
        let step = self.optimizer.steps();
        let lr = self.watch.largest_lr;
        if reason == StopReason::Finished
            && self.history.still_falling()
            && let Some(limit) = self.stable_limit(lr, source)?.filter(|limit| lr < FAR_BELOW * limit)
        {
            self.warn("small_learning_rate", step, || {
                format!(
                    "the loss was still falling: the learning rate {lr:e} is far below what is stable, at least \
                         {limit:.3e}; raise it, or leave it out to have it chosen"
                )
            })?;
        }
        let low = loss < 0.2 * self.first_loss.unwrap_or(0.0);
        let settled = self.epoch >= LONG_RUN && low && self.loss.classifies();
        if settled && self.optimizer.penalty(self.model.parameters()) == 0.0 && self.all_right(source)? {
            self.warn("separable_classes", step, || {
                "every training row is classified right: the classes are separable, the loss goes to 0 and the weights \
                 grow as long as training goes on, so that their size says nothing; add --weight-decay 0.001"
                    .to_owned()
            })?;
        }
        Ok(())
    }

    /// Whether every row's own class has the largest logit.
    fn all_right(&self, source: &mut dyn RowSource<T>) -> Result<bool> {
        let mut logits = vec![T::zero(); self.model.outputs()];
        let mut right = true;
        source.visit(Pass::FILE, &mut |data, rows| {
            let targets = data.targets();
            right = rows.iter().all(|row| {
                self.model.forward_row(data.row(row), &mut logits);
                match targets.row(row) {
                    Target::Class(class) => (0..logits.len()).all(|c| c == class || logits[c] < logits[class]),
                    Target::Values(values) => logits
                        .iter()
                        .zip(values)
                        .all(|(&z, y)| if *y > T::from_f64(0.5) { z > T::zero() } else { z < T::zero() }),
                }
            });
            Ok(if right { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(right)
    }
}
