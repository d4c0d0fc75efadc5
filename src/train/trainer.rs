//! Training a model: what is set before a run, and the start of it.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::config::TrainConfig;
use super::event::{Observer, RunStart};
use super::report::Report;
use super::run::{Run, descends_by_columns};
use super::threads::Workload;
use crate::data::{Dataset, InMemory, Pass, RowSource};
use crate::error::{Error, Result};
use crate::loss::Loss;
use crate::model::{Model, parameter_count};
use crate::optim::{Clip, Momentum, Optimizer};
use crate::scalar::Scalar;

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
    /// [`Setting`](crate::ErrorKind::Setting) if one is out of range.
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
    /// If shapes do not fit; [`NonFinite`](crate::ErrorKind::NonFinite) or [`Diverged`](crate::ErrorKind::Diverged) if the run
    /// diverged, `model` then holding finite parameters from before; whatever the observer returns.
    pub fn fit<M, L, O>(self, model: &mut M, loss: &L, optimizer: &mut O, data: &Dataset<T>) -> Result<Report>
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
        O: Optimizer<T> + ?Sized,
    {
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
        if let Some(data) = source.in_memory() {
            check_block(data, model, loss)?;
        }
        if source.rows() == 0 {
            return Err(Error::setting("data", "there are no rows"));
        }
        if let Some(validation) = &mut self.validation {
            check_first_block(validation.as_mut(), model, loss)?;
        }
        let parameters = parameter_count(model.parameters());
        self.config.threads = self.workload(model, loss, optimizer, source).threads(self.config.threads);
        let mut silent = ();
        let observer = self.observer.unwrap_or(&mut silent);
        let start = RunStart {
            rows: source.rows(),
            features: source.feature_names().to_vec(),
            loss: loss.name(),
            parameters,
            epochs: self.config.epochs,
        };
        observer.start(&start)?;
        let mut run = Run::new(self.config, &*source, started, observer, model, loss, optimizer)?;
        run.validation = self.validation;
        run.interrupt = self.interrupt;
        run.complete(source)
    }

    /// What a run on these rows will do.
    fn workload<M, L, O>(&self, model: &M, loss: &L, optimizer: &O, source: &dyn RowSource<T>) -> Workload
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
        O: Optimizer<T> + ?Sized,
    {
        let (rows, epochs) = (source.rows(), self.config.epochs);
        let measured = match &self.validation {
            Some(validation) => validation.rows(),
            None if self.config.patience.is_some() => rows,
            None => 0,
        };
        let batch = self.config.effective_batch(rows);
        let parameters = parameter_count(model.parameters());
        // As far as can be said before the optimizer has met the parameters.
        let is_plain = self.config.clip == Clip::None && optimizer.momentum() == Momentum::None;
        let by_columns = is_plain && descends_by_columns(model, loss, batch, rows);
        Workload { parameters, rows, batch, by_columns, epochs, measured, busy: source.busy_threads() }
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

pub(super) fn check_block<T, M, L>(data: &Dataset<T>, model: &M, loss: &L) -> Result<()>
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
