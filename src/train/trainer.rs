//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::blame::{FailedStep, Verdict, outlier, trace, trace_update};
use super::config::{NonFinite, TrainConfig};
use super::curvature::Curvature;
use super::event::{EpochEvent, Observer, RunEnd, RunStart, StepEvent, StopReason};
use super::guard::Guard;
use super::report::Report;
use super::stopping::{Stopping, restore, snapshot};
use super::sums::Accumulator;
use super::watch::{WarningCounts, Watch};
use crate::data::{Dataset, permutation};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels;
use crate::loss::{Loss, Targets};
use crate::model::{Model, accumulate, discard_grad, parameter_count, zero_grad};
use crate::optim::{Clip, Optimizer, grad_norm};
use crate::scalar::Scalar;

#[path = "trainer_warnings.rs"]
mod warnings;

/// Trains a model: epochs of effective batches, each cut into micro-batches, one step for each.
///
/// ```
/// use gradus::train::{BatchSize, TrainConfig, Trainer};
/// use gradus::{Dataset, Linear, Mse, SgdConfig};
/// use ndarray::array;
///
/// let data = Dataset::with_values(array![[0.0], [1.0], [2.0]], array![[1.0], [3.5], [6.0]])?;
/// let mut model = Linear::new(1, 1);
/// let mut sgd = SgdConfig::new(0.3).build()?;
/// let config = TrainConfig { epochs: 200, batch_size: BatchSize::Full, ..Default::default() };
/// Trainer::new(config)?.fit(&mut model, &Mse, &mut sgd, &data)?;
/// assert!((model.weight()[[0, 0]] - 2.5_f64).abs() < 1e-6);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Trainer<'a, T> {
    config: TrainConfig,
    validation: Option<&'a Dataset<T>>,
    observer: Option<&'a mut dyn Observer>,
    interrupt: Option<&'a AtomicBool>,
}

impl<'a, T: Scalar> Trainer<'a, T> {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Setting`](ErrorKind::Setting) if one is out of range.
    pub fn new(config: TrainConfig) -> Result<Self> {
        config.check()?;
        Ok(Trainer { config, validation: None, observer: None, interrupt: None })
    }

    /// Rows to measure the loss on after each epoch. Default: none.
    pub fn validation(mut self, data: &'a Dataset<T>) -> Self {
        self.validation = Some(data);
        self
    }

    /// Who is told of steps and epochs. Default: nobody.
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// A flag that ends the run before the next step once it is set. Default: none.
    pub fn interrupt(mut self, flag: &'a AtomicBool) -> Self {
        self.interrupt = Some(flag);
        self
    }

    /// Runs the loop. The learning rate of `optimizer` is the base of the schedule.
    ///
    /// # Errors
    /// If shapes do not fit; [`NonFinite`](ErrorKind::NonFinite) or [`Diverged`](ErrorKind::Diverged) if the run
    /// diverged, `model` then holding the last finite parameters; whatever the observer returns.
    pub fn fit<M, L, O>(self, model: &mut M, loss: &L, optimizer: &mut O, data: &Dataset<T>) -> Result<Report>
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
        O: Optimizer<T> + ?Sized,
    {
        if data.rows() == 0 {
            return Err(Error::setting("data", "there are no rows"));
        }
        for data in [Some(data), self.validation].into_iter().flatten() {
            if data.features().ncols() != model.inputs() {
                let found = data.features().dim();
                return Err(Error::shape("features", &[found.0, model.inputs()], &[found.0, found.1]));
            }
            loss.check(&data.targets(), data.rows(), model.outputs())?;
        }
        let mut silent = ();
        let observer = self.observer.unwrap_or(&mut silent);
        let start = RunStart {
            rows: data.rows(),
            features: data.feature_names().to_vec(),
            loss: loss.name(),
            parameters: parameter_count(model.parameters()),
            epochs: self.config.epochs,
        };
        observer.start(&start)?;
        let accumulator = Accumulator::new(model, self.config.threads)?;
        let mut run = Run {
            base_lr: optimizer.lr(),
            initial: snapshot(model.parameters()),
            guard: if self.config.watch { Guard::new(snapshot(model.parameters())) } else { Guard::off() },
            config: self.config,
            targets: data.targets(),
            validation: self.validation,
            interrupt: self.interrupt,
            observer,
            started: Instant::now(),
            first_loss: None,
            last_loss: None,
            first_skipped: None,
            near_optimum: false,
            epoch_losses: Vec::new(),
            steps_before: optimizer.steps(),
            watch: Watch::default(),
            warnings: WarningCounts::default(),
            bound: None,
            curvature: None,
            epoch: 0,
            skipped_steps: 0,
            accumulator,
            model,
            loss,
            optimizer,
            data,
        };
        let outcome = run.all_epochs();
        run.end(outcome)
    }
}

/// A run under way.
struct Run<'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    config: TrainConfig,
    base_lr: f64,
    /// The parameters before the first step.
    initial: Vec<Vec<T>>,
    targets: Targets<'a, T>,
    validation: Option<&'a Dataset<T>>,
    interrupt: Option<&'a AtomicBool>,
    observer: &'a mut dyn Observer,
    started: Instant,
    /// The loss of the first effective batch.
    first_loss: Option<f64>,
    /// The loss of the last effective batch that was stepped with.
    last_loss: Option<f64>,
    /// The first step that was left out.
    first_skipped: Option<Error>,
    guard: Guard<T>,
    /// Whether a full batch has shown the objective to be near its least value.
    near_optimum: bool,
    /// The mean loss of each epoch's steps.
    epoch_losses: Vec<f64>,
    /// Steps the optimizer had taken before.
    steps_before: u64,
    watch: Watch,
    warnings: WarningCounts,
    /// What the warnings know of the curvature: a bound of it, and itself.
    bound: Option<Curvature>,
    curvature: Option<Curvature>,
    epoch: usize,
    skipped_steps: u64,
    accumulator: Accumulator<T>,
    model: &'a mut M,
    loss: &'a L,
    optimizer: &'a mut O,
    data: &'a Dataset<T>,
}

/// The losses of an epoch's steps, added up by their weight.
#[derive(Default)]
struct EpochSums {
    loss: f64,
    weight: f64,
    grad_norm: f64,
}

/// How the epochs ended.
struct Outcome {
    reason: StopReason,
    best_epoch: Option<usize>,
}

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    fn all_epochs(&mut self) -> Result<Outcome> {
        let mut stopping = Stopping::new(&self.config);
        let mut order: Vec<u32> = (0..self.data.rows() as u32).collect();
        let mut reason = StopReason::Finished;
        for epoch in 1..=self.config.epochs {
            self.epoch = epoch;
            // The order of rows that all go into one step means nothing, and in file order they are read faster.
            if self.config.shuffle && !self.one_step_an_epoch() {
                permutation(&mut order, self.data.rows(), self.config.seed, epoch);
            }
            let started = Instant::now();
            let sums = self.one_epoch(&order)?;
            if let Some(element) = self.guard.look(self.model.parameters_mut()) {
                self.update_overflowed(element)?;
            }
            let Some(sums) = sums else {
                // As it stands: the best parameters are for a run that was let go on.
                return Ok(Outcome { reason: StopReason::Interrupted, best_epoch: None });
            };
            let valid_loss = self.validation.map(|data| self.accumulator.mean_loss(&*self.model, self.loss, data));
            let loss = sums.loss / sums.weight;
            let event = EpochEvent {
                epoch,
                loss,
                valid_loss,
                grad_norm: sums.grad_norm,
                samples: self.data.rows(),
                seconds: started.elapsed().as_secs_f64(),
            };
            self.observer.epoch(&event)?;
            let watched = match valid_loss {
                None if stopping.watches_loss() => Some(self.accumulator.mean_loss(&*self.model, self.loss, self.data)),
                known => known,
            };
            let objective = loss + self.optimizer.penalty(self.model.parameters());
            self.watch_epoch(&event, objective)?;
            if stopping.after_epoch(objective, watched, self.model.parameters()) || self.near_optimum {
                if epoch < self.config.epochs {
                    reason = StopReason::EarlyStop;
                }
                break;
            }
        }
        let best_epoch = stopping.restore_best(self.model.parameters_mut());
        Ok(Outcome { reason, best_epoch })
    }

    /// Rows of a step: the micro-batches of an accumulation window.
    fn effective_batch(&self) -> usize {
        self.config.batch_size.of(self.data.rows()).saturating_mul(self.config.accumulate)
    }

    fn one_step_an_epoch(&self) -> bool {
        self.effective_batch() >= self.data.rows()
    }

    /// One pass over the rows in this order; `None` if the run was interrupted.
    fn one_epoch(&mut self, order: &[u32]) -> Result<Option<EpochSums>> {
        let micro_batch = self.config.batch_size.of(order.len());
        let mut epoch = EpochSums::default();
        for rows in order.chunks(self.effective_batch()) {
            if self.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Ok(None);
            }
            self.one_step(rows, micro_batch, &mut epoch)?;
        }
        Ok(Some(epoch))
    }

    /// Sums over the micro-batches of an effective batch, one division, one step.
    fn one_step(&mut self, rows: &[u32], micro_batch: usize, epoch: &mut EpochSums) -> Result<()> {
        self.accumulator.begin(rows.len());
        for rows in rows.chunks(micro_batch) {
            self.accumulator.add(&*self.model, self.loss, self.data, &self.targets, rows);
        }
        let sums = self.accumulator.finish();
        let (loss_sum, weight) = (sums.loss, sums.weight);
        if weight == 0.0 {
            return Ok(()); // Every row counts for nothing: there is no mean, and nothing to learn.
        }
        kernels::divide(&mut sums.gradient, T::from_f64(weight));
        let loss = loss_sum / weight;
        zero_grad(self.model.parameters_mut());
        accumulate(self.model.parameters_mut(), &sums.gradient)?;
        let norm = grad_norm(self.model.parameters());
        if !(loss.is_finite() && norm.is_finite()) {
            return self.non_finite(rows, loss);
        }
        self.first_loss.get_or_insert(loss);
        self.last_loss = Some(loss);
        if rows.len() == self.data.rows() {
            self.near_optimum = self.is_near_optimum(loss);
        }
        self.config.clip.apply(self.model.parameters_mut());
        let clipped_norm =
            if let Clip::Value(_) = self.config.clip { grad_norm(self.model.parameters()) } else { norm };
        let lr = self.config.schedule.lr(self.base_lr, self.optimizer.steps());
        self.optimizer.set_lr(lr);
        self.guard.before(self.model.parameters(), lr * norm);
        let step = self.optimizer.step(self.model.parameters_mut())?;
        if let Some(element) = self.guard.after(self.model.parameters_mut(), rows.len()) {
            return self.update_overflowed(element);
        }
        epoch.loss += loss_sum;
        epoch.weight += weight;
        epoch.grad_norm = norm;
        let event = StepEvent { step, epoch: self.epoch, loss, grad_norm: norm, lr, samples: rows.len() };
        self.watch_step(&event, clipped_norm);
        self.observer.step(&event)
    }

    /// Whether the full batch's gradient bounds the distance from the optimum well enough.
    fn is_near_optimum(&self, loss: f64) -> bool {
        /// A share of the first loss that makes no difference to anyone.
        const NOTHING: f64 = 1e-12;
        let Some(optimality) = self.config.optimality else { return false };
        let parameters = self.model.parameters();
        let norm = self.optimizer.objective_grad_norm(parameters);
        let gap = norm * norm / (2.0 * optimality.strong_convexity);
        let objective = loss + self.optimizer.penalty(parameters);
        gap <= (optimality.tolerance * objective).max(NOTHING * self.first_loss.unwrap_or(0.0))
    }

    /// A loss or gradient that is not finite: nothing of it reaches the parameters.
    fn non_finite(&mut self, rows: &[u32], loss: f64) -> Result<()> {
        let grown = self.last_loss.zip(self.first_loss).is_some_and(|(last, first)| last > DIVERGED * first);
        let verdict = trace(&*self.model, self.loss, self.data, &FailedStep { rows, loss, grown });
        discard_grad(self.model.parameters_mut());
        self.leave_out(self.optimizer.steps() + 1, verdict)
    }

    /// An update that overflowed: the guard has put the last finite values back.
    fn update_overflowed(&mut self, element: (usize, usize)) -> Result<()> {
        let verdict = trace_update(self.model.parameters(), element, self.optimizer.lr());
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

    /// Measures what came of the run and tells the observer, whichever way it ended.
    fn end(mut self, outcome: Result<Outcome>) -> Result<Report> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.optimizer.set_lr(self.base_lr);
        let outcome = outcome.and_then(|outcome| {
            if let (Some(error), None) = (self.first_skipped.take(), self.last_loss) {
                return Err(error); // No step was left to take.
            }
            let loss = self.accumulator.mean_loss(&*self.model, self.loss, self.data);
            self.check_divergence(loss)?;
            self.watch_end(outcome.reason, loss)?;
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
    fn check_divergence(&mut self, last: f64) -> Result<()> {
        // The rows that were left out may cost anything: the others decide.
        let last = if self.skipped_steps > 0 { self.last_loss.unwrap_or(last) } else { last };
        if last.is_finite() && self.optimizer.maximizes() {
            return Ok(());
        }
        let growing = self.one_step_an_epoch() && swings_grow(&self.epoch_losses);
        let first_batch = self.first_loss.unwrap_or(f64::INFINITY);
        if last.is_finite() && last <= first_batch && !growing {
            return Ok(());
        }
        // The first batch may have been a lucky one: the whole data decides.
        let penalty = self.optimizer.penalty(self.model.parameters());
        let final_values = snapshot(self.model.parameters());
        restore(self.model.parameters_mut(), &self.initial);
        let first = self.accumulator.mean_loss(&*self.model, self.loss, self.data);
        let first_penalty = self.optimizer.penalty(self.model.parameters());
        restore(self.model.parameters_mut(), &final_values);
        if last.is_finite() && last + penalty <= DIVERGED * (first + first_penalty) && !growing {
            return Ok(());
        }
        // The swings may have grown from far below the start.
        let lowest = self.epoch_losses.iter().copied().fold(f64::INFINITY, f64::min);
        let first = if growing { lowest } else { first };
        let culprit = outlier(self.data);
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

/// Whether the highest loss of the last quarter of the epochs is well above that of the quarter before, and the lowest of
/// all: what is stable swings less and less.
fn swings_grow(losses: &[f64]) -> bool {
    const FEWEST: usize = 12;
    const GROWTH: f64 = 1.2;
    let quarter = losses.len() / 4;
    if losses.len() < FEWEST {
        return false;
    }
    let (before, last) = losses[losses.len() - 2 * quarter..].split_at(quarter);
    let highest = |losses: &[f64]| losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    highest(last) > GROWTH * highest(before) && highest(last) > 2.0 * lowest
}

/// A final loss above this many times the first is a run that diverged, not the noise of small batches.
const DIVERGED: f64 = 1.5;
