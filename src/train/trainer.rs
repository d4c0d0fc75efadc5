//! The training loop.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::blame::{FailedStep, Verdict, trace, trace_update};
use super::config::{NonFinite, TrainConfig};
use super::curvature::Curvature;
use super::event::{EpochEvent, Observer, RunStart, StepEvent, StopReason};
use super::guard::Guard;
use super::report::Report;
use super::stopping::{Stopping, snapshot};
use super::sums::{Accumulator, Problem};
use super::watch::{WarningCounts, Watch};
use crate::data::{Dataset, InMemory, Order, Pass, RowSource};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::RowIndex;
use crate::loss::{Loss, LossSum};
use crate::model::{Model, discard_grad, parameter_count, replace_gradients};
use crate::optim::{Clip, Optimizer, grad_norm};
use crate::scalar::Scalar;

#[path = "trainer_end.rs"]
mod end;
#[path = "trainer_warnings.rs"]
mod warnings;

use end::DIVERGED;

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
    validation: Option<Box<dyn RowSource<T> + 'a>>,
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
    pub fn validation(self, data: &'a Dataset<T>) -> Self {
        self.validation_source(Box::new(InMemory::new(data)))
    }

    /// The same for rows that come in blocks.
    pub fn validation_source(mut self, source: Box<dyn RowSource<T> + 'a>) -> Self {
        self.validation = Some(source);
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
        check_block(data, model, loss)?;
        self.fit_source(model, loss, optimizer, &mut InMemory::new(data))
    }

    /// The same for rows that come in blocks: an effective batch may begin in one and end in the next.
    ///
    /// # Errors
    /// As [`fit`](Trainer::fit), and what reading the rows meets.
    pub fn fit_source<M, L, O>(
        mut self,
        model: &mut M,
        loss: &L,
        optimizer: &mut O,
        source: &mut dyn RowSource<T>,
    ) -> Result<Report>
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
        O: Optimizer<T> + ?Sized,
    {
        let started = Instant::now();
        if source.rows() == 0 {
            return Err(Error::setting("data", "there are no rows"));
        }
        if let Some(validation) = &mut self.validation {
            check_first_block(validation.as_mut(), model, loss)?;
        }
        let mut silent = ();
        let observer = self.observer.unwrap_or(&mut silent);
        let start = RunStart {
            rows: source.rows(),
            features: source.feature_names().to_vec(),
            loss: loss.name(),
            parameters: parameter_count(model.parameters()),
            epochs: self.config.epochs,
        };
        observer.start(&start)?;
        let rows = source.rows();
        let batch = self.config.batch_size.of(rows).saturating_mul(self.config.accumulate).min(rows);
        let accumulator = Accumulator::new(model, self.config.threads, rows, batch)?;
        let mut run = Run {
            base_lr: optimizer.lr(),
            initial: snapshot(model.parameters()),
            guard: Guard::new(snapshot(model.parameters())),
            config: self.config,
            rows,
            batch,
            validation: self.validation,
            interrupt: self.interrupt,
            observer,
            started,
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
        };
        let outcome = run.all_epochs(source);
        run.end(outcome, source)
    }
}

/// Refuses rows that do not fit the model and the loss, by the first of them.
fn check_first_block<T, M, L>(source: &mut dyn RowSource<T>, model: &M, loss: &L) -> Result<()>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    source.visit(Pass::FILE, &mut |data, _| check_block(data, model, loss).map(ControlFlow::Break))
}

fn check_block<T, M, L>(data: &Dataset<T>, model: &M, loss: &L) -> Result<()>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    if data.features().ncols() != model.inputs() {
        let found = data.features().dim();
        return Err(Error::shape("features", &[found.0, model.inputs()], &[found.0, found.1]));
    }
    loss.check(&data.targets(), data.rows(), model.outputs())
}

/// A run under way.
struct Run<'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    config: TrainConfig,
    base_lr: f64,
    /// The parameters before the first step.
    initial: Vec<Vec<T>>,
    /// Rows of an epoch.
    rows: usize,
    /// Rows of a step: the micro-batches of an accumulation window.
    batch: usize,
    validation: Option<Box<dyn RowSource<T> + 'a>>,
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
}

/// The losses of an epoch's steps, added up by their weight.
#[derive(Default)]
struct EpochSums {
    loss: f64,
    weight: f64,
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

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    fn all_epochs(&mut self, source: &mut dyn RowSource<T>) -> Result<Outcome> {
        let mut stopping = Stopping::new(&self.config);
        let mut reason = StopReason::Finished;
        for epoch in 1..=self.config.epochs {
            self.epoch = epoch;
            // The order of rows that all go into one step means nothing, and in file order they are read faster.
            let shuffled = self.config.shuffle && !self.one_step_an_epoch();
            let order = if shuffled { Order::Shuffled { seed: self.config.seed, epoch } } else { Order::File };
            let sums = self.one_epoch(source, order)?;
            if let Some(element) = self.guard.look(self.model.parameters_mut()) {
                self.update_overflowed(element)?;
            }
            let Some(sums) = sums else {
                // As it stands: the best parameters are for a run that was let go on.
                return Ok(Outcome { reason: StopReason::Interrupted, best_epoch: None });
            };
            let valid_loss = match self.validation.take() {
                Some(mut validation) => {
                    let loss = self.mean_loss_of(validation.as_mut());
                    self.validation = Some(validation);
                    Some(loss?)
                }
                None => None,
            };
            let loss = sums.loss / sums.weight;
            let event = EpochEvent { epoch, loss, valid_loss, grad_norm: sums.grad_norm, samples: self.rows };
            self.observer.epoch(&event)?;
            let watched = match valid_loss {
                None if stopping.watches_loss() => Some(self.mean_loss_of(source)?),
                known => known,
            };
            let objective = loss + self.optimizer.penalty(self.model.parameters());
            self.watch_epoch(&event, objective, source)?;
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

    /// The mean loss of rows under the parameters as they are.
    fn mean_loss_of(&mut self, source: &mut dyn RowSource<T>) -> Result<f64> {
        let Run { model, loss, accumulator, .. } = self;
        let mut sum = LossSum::default();
        source.each_block(&mut |data, rows| {
            let problem = Problem { model: &**model, loss: *loss, data, targets: &data.targets() };
            let block = accumulator.loss_sum(&problem, rows);
            sum = LossSum { loss: sum.loss + block.loss, weight: sum.weight + block.weight };
            Ok(())
        })?;
        Ok(sum.loss / sum.weight)
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
        source.visit(Pass { order, multiple: batch }, &mut |data, rows| {
            if self.epoch == 1 {
                check_block(data, &*self.model, self.loss)?;
            }
            let targets = data.targets();
            let mut place = 0;
            while place < rows.len() {
                if waiting == 0 {
                    if self.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                        interrupted = true;
                        return Ok(ControlFlow::Break(()));
                    }
                    self.accumulator.begin();
                }
                let now = rows.part(place, place + batch - waiting);
                place += now.len();
                let ahead = rows.part(place, place + batch);
                let problem = Problem { model: &*self.model, loss: self.loss, data, targets: &targets };
                self.accumulator.add(&problem, now, ahead);
                waiting += now.len();
                visited += now.len();
                if waiting >= batch || visited == self.rows {
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

    /// Refuses the sums of a window that goes on in the next block if they are not finite already: its rows are still at
    /// hand to be traced.
    fn check_window(&mut self, batch: Batch<'_, T>) -> Result<()> {
        let sums = self.accumulator.finish();
        if sums.loss.is_finite() && sums.gradient.iter().all(|g| g.is_finite()) {
            return Ok(());
        }
        let loss = sums.loss / sums.weight;
        self.non_finite(&batch, loss)
    }

    /// One division of an effective batch's sums, one step. Micro-batches need no sums of their own: a row's gradient is
    /// not kept, but added at once.
    fn one_step(&mut self, batch: Batch<'_, T>, epoch: &mut EpochSums) -> Result<()> {
        let Run { model, accumulator, .. } = self;
        let sums = accumulator.finish();
        let (loss_sum, weight) = (sums.loss, sums.weight);
        if weight == 0.0 {
            return Ok(()); // Every row counts for nothing: there is no mean, and nothing to learn.
        }
        let loss = loss_sum / weight;
        replace_gradients(model.parameters_mut(), &sums.gradient, T::from_f64(weight))?;
        let norm = grad_norm(self.model.parameters());
        if !(loss.is_finite() && norm.is_finite()) {
            return self.non_finite(&batch, loss);
        }
        self.first_loss.get_or_insert(loss);
        self.last_loss = Some(loss);
        if batch.samples == self.rows {
            self.near_optimum = self.is_near_optimum(loss);
        }
        self.config.clip.apply(self.model.parameters_mut());
        let clipped_norm =
            if let Clip::Value(_) = self.config.clip { grad_norm(self.model.parameters()) } else { norm };
        let lr = self.config.schedule.lr(self.base_lr, self.optimizer.steps());
        self.optimizer.set_lr(lr);
        self.guard.before(self.model.parameters(), lr * norm);
        let step = self.optimizer.step(self.model.parameters_mut())?;
        if let Some(element) = self.guard.after(self.model.parameters_mut(), batch.samples) {
            return self.update_overflowed(element);
        }
        epoch.loss += loss_sum;
        epoch.weight += weight;
        epoch.grad_norm = norm;
        let event = StepEvent { step, epoch: self.epoch, loss, grad_norm: norm, lr, samples: batch.samples };
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
    fn non_finite(&mut self, batch: &Batch<'_, T>, loss: f64) -> Result<()> {
        let grown = self.last_loss.zip(self.first_loss).is_some_and(|(last, first)| last > DIVERGED * first);
        let step = FailedStep { rows: batch.rows, loss, grown };
        let verdict = trace(&*self.model, self.loss, batch.data, &step);
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
}
