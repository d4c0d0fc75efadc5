//! `gradus train`.

use clap::Args;
use gradus::model::Model;
use gradus::optim::{Clip, Momentum, Schedule};
use gradus::predictor::{Metrics, Predictor, measure_source};
use gradus::remarks::remark;
use gradus::train::auto::{self, Given, Plan};
use gradus::train::{
    BatchSize, Curvature, LogFormat, LogHeader, NonFinite, Observer, Progress, Report, RunLog, StopReason, TrainConfig,
    Trainer, curvature_of,
};
use gradus::{Cause, Error, ErrorKind, Result, Scalar, Sgd, SgdConfig};
use serde_json::{Value, json};

use super::interrupt::Interrupt;
use super::least_squares::Comparison;
use super::options::{
    DtypeChoice, LearningRate, LoopOptions, NonFiniteChoice, OptimizerOptions, OutputOptions, ProgressChoice,
    SourceOptions,
};
use super::output::{Done, Failure, print, print_json, refuse_same_files};
use super::prepare::{Prepared, Request, input_paths, prepare};
use super::report;
use super::rows::TrainingRows;
use super::stream::{StreamOptions, prepare_stream};

/// Fit a linear model to a CSV file, standard input (-) or synthetic data.
///
/// With nothing but a target, the loss follows from the target's values, features are standardised, and the learning
/// rate, momentum and number of epochs are chosen from the curvature of the loss.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    gradus train data/iris.csv --target species -o iris.safetensors\n  \
    gradus train houses.csv --target price --weight-decay 0.01 --validation 0.2 --patience 20\n  \
    gradus train synthetic:line --lr 0.01 --epochs 50 --log run.jsonl")]
pub struct Train {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    stream: StreamOptions,
    #[command(flatten)]
    optimizer: OptimizerOptions,
    #[command(flatten)]
    training: LoopOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// The settings of a run, given and chosen.
struct Settings {
    lr: f64,
    momentum: Momentum,
    train: TrainConfig,
    /// What was given.
    given: Given,
    /// What was chosen, where the learning rate was.
    plan: Option<Plan>,
}

/// A run that has ended well.
pub struct Trained<T: Scalar, R> {
    pub prepared: Prepared<T, R>,
    pub report: Report,
    pub config: Value,
    /// Whether the run was to end when the loss settles.
    pub settles: bool,
}

/// How good a trained model is, by rows that are not balanced.
pub struct Quality {
    pub metrics: Metrics,
    pub valid_metrics: Option<Metrics>,
    pub least_squares: Option<Comparison>,
}

impl Quality {
    /// Measures it, and gives the rows their own weights back.
    fn measure<T: Scalar, R: TrainingRows<T>>(prepared: &mut Prepared<T, R>, loss: f64) -> Result<Self> {
        R::unbalance(prepared)?;
        let Prepared { model, data, validation, schema, .. } = &mut *prepared;
        let measured = |rows: &mut R| measure_source(model, &mut *rows.source(), schema.task);
        let metrics = measured(data)?;
        let valid_metrics = validation.as_mut().map(measured).transpose()?;
        Ok(Quality { metrics, valid_metrics, least_squares: R::compare(prepared, loss)? })
    }
}

impl Train {
    pub fn run(&self) -> Done {
        let outputs = [self.output.model.as_deref(), self.output.log.as_deref(), self.stream.cache.as_deref()];
        refuse_same_files(&input_paths(&self.source), &outputs)?;
        self.momentum_given()?;
        if let Some(threads) = self.training.threads {
            // For what is done before and after training; there is no pool yet that this could be too late for. More
            // threads than processors bring nothing.
            let most = std::thread::available_parallelism().map_or(1, usize::from);
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.min(most)).build_global();
        }
        match self.source.model.dtype {
            DtypeChoice::F64 => self.run_with::<f64>(),
            DtypeChoice::F32 => self.run_with::<f32>(),
        }
    }

    fn run_with<T: Scalar>(&self) -> Done {
        let request = Request { source: &self.source, decay_bias: self.optimizer.decay_bias, seed: self.training.seed };
        if self.stream.stream {
            self.train(prepare_stream::<T>(&request, &self.stream)?)
        } else {
            self.train(prepare::<T>(&request)?)
        }
    }

    fn train<T: Scalar, R: TrainingRows<T>>(&self, mut prepared: Prepared<T, R>) -> Done {
        let settings = self.settings(&mut prepared)?;
        if !self.output.quiet {
            remark(report::beginning(&prepared, settings.plan.as_ref()).trim_end());
        }
        let mut sgd: Sgd<T> = SgdConfig::new(settings.lr)
            .momentum(settings.momentum)
            .weight_decay(self.optimizer.weight_decay)
            .build()?;
        let config = self.config_json(&settings, &prepared);
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(self.progress())];
        if let Some(path) = &self.output.log {
            let header = LogHeader {
                classes: prepared.schema.classes.clone(),
                config: config.clone(),
                load_seconds: prepared.load_seconds,
            };
            observers.push(Box::new(RunLog::create(path, LogFormat::of(path), header)?));
        }
        // A model that could not be saved must be known before the time is spent.
        if let Some(path) = &self.output.model {
            Predictor::<T>::check_writable(path)?;
        }

        let interrupt = Interrupt::listen();
        let mut trainer = Trainer::new(settings.train.clone())?.observer(&mut observers).interrupt(&interrupt.flag);
        let Prepared { model, loss, data, validation, .. } = &mut prepared;
        if let Some(validation) = validation {
            trainer = trainer.validation_source(validation.source());
        }
        let fitted = trainer.fit_source(model, &**loss, &mut sgd, &mut *data.source());
        let report = fitted.map_err(|error| with_stable_rate(error, &mut prepared, &settings))?;

        // The rows are read again for it: only where it will be seen. Whether they still can be is no matter to the model.
        let seen = self.output.json || !self.output.quiet;
        let quality = seen.then(|| Quality::measure(&mut prepared, report.loss)).transpose()?;
        let trained = Trained { prepared, report, config, settles: settings.train.plateau.is_some() };
        if let Some(path) = &self.output.model {
            trained.predictor()?.save(path)?;
        }
        if let Some(quality) = &quality {
            self.show(&trained, quality)?;
        }
        match report.reason {
            StopReason::Interrupted => Err(Failure::Interrupted(interrupt.status())),
            _ => Ok(()),
        }
    }

    fn show<T: Scalar, R: TrainingRows<T>>(&self, trained: &Trained<T, R>, quality: &Quality) -> Done {
        let saved = self.output.model.as_deref();
        if self.output.json {
            print_json(&report::train_json(trained, quality, saved))
        } else {
            print(report::train_table(trained, quality, saved))
        }
    }

    fn progress(&self) -> Progress {
        use std::io::IsTerminal;
        match self.output.progress {
            ProgressChoice::Never => Progress::warnings_only(),
            ProgressChoice::Auto if self.output.quiet => Progress::silent(),
            _ if std::io::stderr().is_terminal() => Progress::bar(),
            _ => Progress::lines(),
        }
    }

    /// The momentum that was asked for, if it was.
    fn momentum_given(&self) -> Result<Option<Momentum>> {
        let OptimizerOptions { momentum, dampening, nesterov, .. } = self.optimizer;
        let chosen = match (momentum, dampening, nesterov) {
            (None, None, false) => return Ok(None),
            (Some(momentum), None, true) if momentum > 0.0 => Momentum::Nesterov { momentum },
            (_, None, true) => {
                return Err(Error::setting("--nesterov", "it needs a momentum above 0: add --momentum 0.9"));
            }
            (_, Some(_), true) => {
                return Err(Error::setting("--nesterov", "it allows no dampening: leave out --dampening"));
            }
            (momentum, dampening, false) => {
                Momentum::Classic { momentum: momentum.unwrap_or(0.0), dampening: dampening.unwrap_or(0.0) }
            }
        };
        chosen.check()?;
        Ok(Some(chosen))
    }

    /// What was given, with the rest filled in: by the plan for `--lr auto`, by fixed defaults otherwise.
    fn settings<T: Scalar, R: TrainingRows<T>>(&self, prepared: &mut Prepared<T, R>) -> Result<Settings> {
        let given = Given {
            momentum: self.momentum_given()?,
            schedule: self.optimizer.schedule,
            batch_size: self.training.batch_size,
            epochs: self.training.epochs,
            accumulate: self.training.accumulate,
            weight_decay: self.optimizer.weight_decay,
        };
        let mut train = TrainConfig {
            epochs: given.epochs.unwrap_or(100),
            batch_size: given.batch_size.unwrap_or(BatchSize::Rows(32)),
            accumulate: given.accumulate,
            shuffle: !self.training.no_shuffle,
            seed: self.training.seed,
            clip: match (self.optimizer.clip_norm, self.optimizer.clip_value) {
                (Some(limit), _) => Clip::Norm(limit),
                (None, Some(limit)) => Clip::Value(limit),
                (None, None) => Clip::None,
            },
            schedule: given.schedule.unwrap_or(Schedule::Constant),
            non_finite: match self.training.non_finite {
                NonFiniteChoice::Stop => NonFinite::Stop,
                NonFiniteChoice::Skip => NonFinite::Skip,
            },
            threads: self.training.threads.unwrap_or(0),
            patience: self.training.patience,
            tolerance: self.training.tolerance,
            ..TrainConfig::default()
        };
        if let LearningRate::Given(lr) = self.optimizer.lr {
            return Ok(Settings { lr, momentum: given.momentum.unwrap_or_default(), train, given, plan: None });
        }
        let Some(curvature) = measured_curvature(prepared)? else {
            return Err(Error::setting("--lr", "this loss states no curvature: give a number"));
        };
        if given.momentum.is_some_and(|momentum| momentum.factor() >= 1.0) {
            return Err(Error::setting("--momentum", "a learning rate is chosen for momentum below 1; give --lr too"));
        }
        let plan = auto::plan(&curvature, prepared.data.count(), prepared.model.parameters()[0].len(), &given);
        train.epochs = plan.epochs;
        train.batch_size = plan.batch_size;
        train.schedule = plan.schedule;
        train.patience_from = plan.patience_from;
        train.plateau = plan.plateau;
        train.optimality = plan.optimality;
        Ok(Settings { lr: plan.lr, momentum: plan.momentum, train, given, plan: Some(plan) })
    }

    /// Every setting by name, for logs and results.
    fn config_json<T: Scalar, R: TrainingRows<T>>(&self, settings: &Settings, prepared: &Prepared<T, R>) -> Value {
        let (dampening, nesterov) = match settings.momentum {
            Momentum::Classic { dampening, .. } => (dampening, false),
            Momentum::Nesterov { .. } => (0.0, true),
            Momentum::None => (0.0, false),
        };
        let train = &settings.train;
        json!({
            "data": self.source.data.to_string_lossy(),
            "target": prepared.schema.target,
            "features": self.source.columns.features,
            "drop": self.source.columns.drop,
            "missing": self.source.columns.missing,
            "categorical": self.source.columns.categorical,
            "sample_weight": self.source.columns.sample_weight,
            "validation": self.source.columns.validation.as_ref().map(ToString::to_string),
            "standardize": self.source.columns.standardizes(),
            "loss": prepared.loss_name,
            "bias": !self.source.model.no_bias,
            "init": self.source.model.init,
            "class_weight": self.source.model.class_weight,
            "label_smoothing": self.source.model.label_smoothing,
            "dtype": self.source.model.dtype,
            "stream": self.stream.stream,
            "memory": self.stream.stream.then_some(self.stream.memory),
            "lr": settings.lr,
            "lr_auto": settings.plan.is_some(),
            "momentum": settings.momentum.factor(),
            "dampening": dampening,
            "nesterov": nesterov,
            "weight_decay": self.optimizer.weight_decay,
            "decay_bias": self.optimizer.decay_bias,
            "clip_norm": self.optimizer.clip_norm,
            "clip_value": self.optimizer.clip_value,
            "schedule": train.schedule.to_string(),
            "epochs": train.epochs,
            "batch_size": train.batch_size.of(prepared.data.count()),
            "accumulate": train.accumulate,
            "seed": train.seed,
            "shuffle": train.shuffle,
            "patience": train.patience,
            "tolerance": train.tolerance,
            "non_finite": self.training.non_finite,
        })
    }
}

impl<T: Scalar, R> Trained<T, R> {
    /// The model in the data's own units, with its schema.
    fn predictor(&self) -> Result<Predictor<T>> {
        let Prepared { model, standardizer, schema, loss_name, .. } = &self.prepared;
        let model = standardizer.as_ref().map_or_else(|| Ok(model.clone()), |standardizer| standardizer.fold(model))?;
        Predictor::new(model, schema.clone(), *loss_name)
    }
}

fn measured_curvature<T: Scalar, R: TrainingRows<T>>(prepared: &mut Prepared<T, R>) -> Result<Option<Curvature>> {
    let Prepared { model, loss, data, .. } = prepared;
    curvature_of(&mut *data.source(), &**loss, model.outputs(), model.bias().is_some())
}

/// Adds to the error of a run that diverged which learning rate would have been stable.
fn with_stable_rate<T: Scalar, R: TrainingRows<T>>(
    error: Error,
    prepared: &mut Prepared<T, R>,
    settings: &Settings,
) -> Error {
    if settings.plan.is_some() {
        return error;
    }
    // Rows that cannot be read again leave the error as it is.
    let Ok(Some(curvature)) = measured_curvature(prepared) else { return error };
    // The rate that would be chosen for these settings.
    let given =
        Given { momentum: Some(settings.momentum), batch_size: Some(settings.train.batch_size), ..settings.given };
    let rows = prepared.data.count();
    let stable = auto::plan(&curvature, rows, prepared.model.parameters()[0].len(), &given).lr;
    if !(stable.is_finite() && stable > 0.0) {
        return error;
    }
    let advice = format!("for this data --lr {stable:.2e} is stable; without --lr one is chosen");
    match error.kind() {
        ErrorKind::NonFinite { step, epoch, what, culprit, .. } if culprit.cause == Cause::Diverged => {
            let (what, culprit) = (what.clone(), culprit.clone());
            ErrorKind::NonFinite { step: *step, epoch: *epoch, what, culprit, help: advice }.into()
        }
        ErrorKind::Diverged { first, last, epoch, culprit: None, .. } => {
            ErrorKind::Diverged { first: *first, last: *last, epoch: *epoch, culprit: None, help: advice }.into()
        }
        _ => error,
    }
}
