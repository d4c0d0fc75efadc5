//! A run of the training loop: its epochs, its steps, and what stops it.

use std::ops::ControlFlow;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::blame::Found;
use super::config::{NonFinite, TrainConfig};
use super::curvature::Curvature;
use super::event::{EpochEvent, Observer, StepEvent, StopReason};
use super::guard::Guard;
use super::loss_history::LossHistory;
use super::problem::{Problem, Samples};
use super::report::Report;
use super::stopping::{Stopping, snapshot};
use super::sums::{Accumulator, StepAhead};
use super::trainer::check_block;
use super::watch::{WarningCounts, Watch};
use crate::data::{Dataset, Order, Pass, RowSource};
use crate::error::{Error, Result};
use crate::kernels::{RowIndex, SoftmaxDescent};
use crate::loss::{Loss, LossSum};
use crate::model::Model;
use crate::optim::{Clip, Optimizer, count_or_step, grad_norm};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

#[path = "run_column.rs"]
mod column;
#[path = "run_descent.rs"]
mod descent;
#[path = "run_end.rs"]
mod end;
#[path = "run_non_finite.rs"]
mod non_finite;
#[path = "run_softmax.rs"]
mod softmax;
pub(super) use softmax::descends_by_columns;
#[path = "run_warnings.rs"]
mod warnings;

/// A run under way.
pub(super) struct Run<'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    config: TrainConfig,
    base_lr: f64,
    /// The parameters before the first step.
    initial: Vec<Vec<T>>,
    /// Rows of an epoch.
    rows: usize,
    /// Rows of a step: the micro-batches of an accumulation window.
    batch: usize,
    pub validation: Option<Box<dyn RowSource<T> + 'a>>,
    pub interrupt: Option<&'a AtomicBool>,
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
    /// The mean losses of epochs' steps.
    history: LossHistory,
    /// Steps the optimizer had taken before.
    steps_before: u64,
    watch: Watch,
    /// Whether this epoch is watched.
    watched: bool,
    warnings: WarningCounts,
    /// What the warnings know of the curvature: a bound of it, and itself.
    bound: Option<Curvature>,
    curvature: Option<Curvature>,
    epoch: usize,
    skipped_steps: u64,
    accumulator: Accumulator<T>,
    /// For batches that are faster by columns.
    softmax_descent: Option<SoftmaxDescent<T>>,
    model: &'a mut M,
    loss: &'a L,
    optimizer: &'a mut O,
}

/// What an epoch's steps cost together, and the last one's gradient norm.
#[derive(Default)]
struct EpochSums {
    cost: LossSum,
    grad_norm: f64,
}

/// An effective batch whose sums are complete.
struct Batch<'a, T> {
    /// Its rows in the block that completed it.
    data: &'a Dataset<T>,
    rows: RowIndex<'a>,
    /// All its rows.
    samples: usize,
}

/// How the epochs ended.
struct Outcome {
    reason: StopReason,
    best_epoch: Option<usize>,
}

impl<'a, T, M, L, O> Run<'a, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// A run on these rows, on as many threads as `config` says, without validation or interrupt.
    pub(super) fn new(
        config: TrainConfig,
        source: &dyn RowSource<T>,
        started: Instant,
        observer: &'a mut dyn Observer,
        model: &'a mut M,
        loss: &'a L,
        optimizer: &'a mut O,
    ) -> Result<Self> {
        let rows = source.rows();
        let batch = config.effective_batch(rows);
        let accumulator = Accumulator::new(model, config.threads, batch)?;
        let softmax_descent = descends_by_columns(model, loss, batch, rows)
            .then(|| SoftmaxDescent::new(batch, model.inputs(), model.outputs()));
        Ok(Run {
            base_lr: optimizer.lr(),
            initial: snapshot(model.parameters()),
            guard: Guard::new(snapshot(model.parameters())),
            history: LossHistory::new(),
            config,
            rows,
            batch,
            validation: None,
            interrupt: None,
            observer,
            started,
            first_loss: None,
            last_loss: None,
            first_skipped: None,
            near_optimum: false,
            steps_before: optimizer.steps(),
            watch: Watch::default(),
            watched: false,
            warnings: WarningCounts::default(),
            bound: None,
            curvature: None,
            epoch: 0,
            skipped_steps: 0,
            accumulator,
            softmax_descent,
            model,
            loss,
            optimizer,
        })
    }

    /// Runs the epochs, and measures what came of them.
    pub(super) fn complete(mut self, source: &mut dyn RowSource<T>) -> Result<Report> {
        let outcome = self.all_epochs(source);
        self.end(outcome, source)
    }

    fn all_epochs(&mut self, source: &mut dyn RowSource<T>) -> Result<Outcome> {
        let mut stopping = Stopping::new(&self.config);
        let mut reason = None;
        while reason.is_none() && self.epoch < self.config.epochs {
            self.epoch += 1;
            // The order of rows that all go into one step means nothing, and in file order they are read faster.
            let shuffled = self.config.shuffle && !self.one_step_an_epoch();
            let (seed, epoch) = (self.config.seed, self.epoch);
            let order = if shuffled { Order::Shuffled { seed, epoch } } else { Order::File };
            self.watched = self.is_watched();
            let sums = self.one_epoch(source, order)?;
            if let Some(element) = self.guard.look(self.model.parameters_mut()) {
                self.update_overflowed(element, Found::AtOnce)?;
            }
            reason = match sums {
                Some(sums) => self.end_epoch(sums.cost.mean(), sums.grad_norm, source, &mut stopping)?,
                None => Some(StopReason::Interrupted),
            };
            if reason.is_none() && self.descends_plainly() {
                reason = self.descend(source, &mut stopping)?;
            }
        }
        let reason = reason.unwrap_or(StopReason::Finished);
        // Interrupted, they stay as they are: the best parameters are for a run that was let go on.
        let best_epoch = match reason {
            StopReason::Interrupted => None,
            _ => stopping.restore_best(self.model.parameters_mut()),
        };
        Ok(Outcome { reason, best_epoch })
    }

    /// Measures an epoch, tells of it, and says whether it is the last one.
    fn end_epoch(
        &mut self,
        loss: f64,
        grad_norm: f64,
        source: &mut dyn RowSource<T>,
        stopping: &mut Stopping<T>,
    ) -> Result<Option<StopReason>> {
        let valid_loss = match self.validation.take() {
            Some(mut validation) => {
                let loss = self.mean_loss_of(validation.as_mut());
                self.validation = Some(validation);
                Some(loss?)
            }
            None => None,
        };
        let event = self.epoch_event(loss, valid_loss, grad_norm);
        self.observer.epoch(&event)?;
        let watched = match valid_loss {
            None if stopping.watches_loss() => Some(self.mean_loss_of(source)?),
            known => known,
        };
        let objective = loss + self.optimizer.penalty(self.model.parameters());
        let signs = self.watch_epoch(&event, objective);
        if !signs.is_empty() {
            self.look_into(signs, &event, source)?;
        }
        let enough = stopping.after_epoch(objective, watched, self.model.parameters()) || self.near_optimum;
        Ok(enough.then(|| self.reason_for_enough()))
    }

    fn epoch_event(&self, loss: f64, valid_loss: Option<f64>, grad_norm: f64) -> EpochEvent {
        EpochEvent { epoch: self.epoch, loss, valid_loss, grad_norm, samples: self.rows }
    }

    /// Why a run ends that has had enough: what was wanted of it, or less.
    fn reason_for_enough(&self) -> StopReason {
        if self.epoch < self.config.epochs { StopReason::EarlyStop } else { StopReason::Finished }
    }

    /// The mean loss of rows under the parameters as they are.
    fn mean_loss_of(&mut self, source: &mut dyn RowSource<T>) -> Result<f64> {
        let Run { model, loss, accumulator, .. } = self;
        let mut sum = LossSum::default();
        source.each_block(&mut |data, rows| {
            let problem = Problem { model: &**model, loss: *loss, samples: &Samples::of(data) };
            let block = accumulator.loss_sum(&problem, rows);
            sum += block;
            Ok(())
        })?;
        Ok(sum.mean())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    fn one_step_an_epoch(&self) -> bool {
        self.batch >= self.rows
    }

    /// One pass over the rows in this order; `None` if the run was interrupted.
    fn one_epoch(&mut self, source: &mut dyn RowSource<T>, order: Order) -> Result<Option<EpochSums>> {
        let batch = self.batch;
        let mut epoch = EpochSums::default();
        let mut interrupted = false;
        // Rows of the epoch that were visited, and those among them that wait for the rest of their effective batch.
        let (mut visited, mut waiting) = (0, 0);
        let checked = source.in_memory().map(ptr::from_ref);
        source.visit(Pass { order, multiple: batch }, &mut |data, rows| {
            // A data set that holds all rows may come again, with others of them to take.
            let is_new = checked != Some(ptr::from_ref(data)) && (visited == 0 || data.rows() != self.rows);
            if self.epoch == 1 && is_new {
                check_block(data, &*self.model, self.loss)?;
            }
            let samples = &Samples::of(data);
            let mut place = 0;
            while place < rows.len() {
                if waiting == 0 {
                    if self.is_interrupted() {
                        interrupted = true;
                        return Ok(ControlFlow::Break(()));
                    }
                    let left = rows.part(place, rows.len());
                    let softmax::Descended { rows: done, refused } =
                        self.descend_on_batches(samples, left, visited, &mut epoch)?;
                    (place, visited) = (place + done, visited + done);
                    if !refused {
                        continue;
                    }
                    self.accumulator.begin();
                }
                let now = rows.part(place, place + batch - waiting);
                place += now.len();
                let ahead = rows.part(place, place + batch);
                let problem = Problem { model: &*self.model, loss: self.loss, samples };
                waiting += now.len();
                visited += now.len();
                let complete = waiting >= batch || visited == self.rows;
                let step = if complete { self.step_ahead() } else { None };
                self.accumulator.add(&problem, now, ahead, step);
                if complete {
                    self.one_step(Batch { data, rows: now, samples: waiting }, &mut epoch)?;
                    waiting = 0;
                }
            }
            if waiting > 0 && self.config.non_finite == NonFinite::Stop {
                self.check_window(Batch { data, rows, samples: waiting })?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if visited != self.rows && !interrupted {
            let why = format!("they said to be {}, and {visited} came", self.rows);
            return Err(Error::setting("rows", why));
        }
        Ok((!interrupted).then_some(epoch))
    }

    /// One division of an effective batch's sums, one step. Micro-batches need no sums of their own: a row's gradient is
    /// not kept, but added at once.
    fn one_step(&mut self, batch: Batch<'_, T>, epoch: &mut EpochSums) -> Result<()> {
        let Run { model, accumulator, .. } = self;
        let cost = accumulator.value();
        if cost.weight == 0.0 {
            return Ok(()); // Every row counts for nothing: there is no mean, and nothing to learn.
        }
        let loss = cost.mean();
        accumulator.replace_gradients(model.parameters_mut())?;
        // Its root is taken after the step, which does not wait for it.
        let squared_norm = accumulator.squared_grad_norm(model.parameters());
        if !(loss.is_finite() && squared_norm.is_finite()) {
            return self.non_finite(&batch, loss);
        }
        self.first_loss.get_or_insert(loss);
        self.last_loss = Some(loss);
        if batch.samples == self.rows {
            self.near_optimum = self.is_near_optimum(loss);
        }
        self.config.clip.apply(self.model.parameters_mut());
        let clipped_norm = match self.config.clip {
            Clip::Value(_) => Some(grad_norm(self.model.parameters())),
            _ => None,
        };
        let lr = self.config.schedule.lr(self.base_lr, self.optimizer.steps());
        self.optimizer.set_lr(lr);
        self.guard.before(self.model.parameters(), lr * lr * squared_norm);
        let Run { model, optimizer, accumulator, .. } = self;
        let plain_step = accumulator.plain_step();
        let plain = plain_step.is_some();
        let step = match plain_step {
            Some(made) => count_or_step(*optimizer, model.parameters_mut(), |parameters, step| {
                made.take(parameters, T::from_f64(lr), step);
            })?,
            None => optimizer.step(model.parameters_mut())?,
        };
        if let Some(element) = self.guard.after(self.model.parameters_mut(), batch.samples, plain) {
            return self.update_overflowed(element, Found::AtOnce);
        }
        let norm = squared_norm.sqrt();
        epoch.cost += cost;
        epoch.grad_norm = norm;
        let event = StepEvent { step, epoch: self.epoch, loss, grad_norm: norm, lr, samples: batch.samples };
        self.tell_step(&event, clipped_norm.unwrap_or(norm))
    }

    fn tell_step(&mut self, event: &StepEvent, clipped_norm: f64) -> Result<()> {
        self.watch_step(event, clipped_norm);
        self.observer.step(event)
    }

    /// Whether the next step is plain, with the gradient as it is.
    fn steps_plainly(&self) -> bool {
        let parameters = self.model.parameters();
        self.config.clip == Clip::None
            && self.optimizer.is_plain(parameters)
            // An optimizer of one's own may forget about them.
            && !parameters.iter().any(Parameter::is_frozen)
    }

    /// The next step, if threads may share it.
    fn step_ahead(&self) -> Option<StepAhead<T>> {
        self.accumulator.may_share_steps().then(|| {
            let lr = || T::from_f64(self.config.schedule.lr(self.base_lr, self.optimizer.steps()));
            StepAhead { plain_lr: self.steps_plainly().then(lr) }
        })
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
}
