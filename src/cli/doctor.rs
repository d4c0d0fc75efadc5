//! `gradus doctor`.

use std::time::Instant;

use clap::Args;
use gradus::data::{Standardizer, Task};
use gradus::diagnose::{
    ColumnFacts, SourceColumn, Spectrum, StableRates, SuspectOptions, Suspects, column_facts, spectrum, stable_rates,
    suspects,
};
use gradus::model::Model;
use gradus::optim::Momentum;
use gradus::train::auto::{self, Given, Plan};
use gradus::train::{BatchSize, Curvature, TrainConfig, Trainer, curvature};
use gradus::{Dataset, Error, Linear, Place, Result, Scalar, SgdConfig, Target};

use super::doctor_page;
use super::findings::{Finding, findings};
use super::options::{DtypeChoice, MissingChoice, SourceOptions, at_least_one, batch_size, non_negative};
use super::output::{Done, print, print_json};
use super::prepare::{Prepared, Request, prepare_table, read_table, source_columns};

/// Look at data before training: what was detected, what is odd about columns and rows, how well conditioned the
/// problem is, and which learning rates are stable.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    gradus doctor data/penguins.csv --target species\n  \
    gradus doctor houses.csv --target price --rows 20 --json")]
pub struct Doctor {
    #[command(flatten)]
    source: SourceOptions,
    /// Rows in a mini-batch, or `full`, to state a stable learning rate for [default: 32]
    #[arg(long, value_name = "N|full", value_parser = batch_size, help_heading = "Optimizer")]
    batch_size: Option<BatchSize>,
    /// The momentum to state a stable learning rate for [default: 0.9]
    #[arg(long, value_name = "X", value_parser = non_negative, help_heading = "Optimizer")]
    momentum: Option<f64>,
    /// L2 penalty: it adds to the curvature
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative, help_heading = "Optimizer")]
    weight_decay: f64,
    /// The seed of synthetic data, of a validation share, and of the fits that judge the rows
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Diagnosis")]
    seed: u64,
    /// The suspicious rows listed of each kind
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one, help_heading = "Diagnosis")]
    rows: usize,
    /// Print nothing but errors, and with --json the result
    #[arg(long, help_heading = "Output")]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Features as given or standardised, and what they allow.
pub struct Conditions {
    pub spectrum: Spectrum,
    pub curvature: Curvature,
    pub rates: StableRates,
}

/// What a plan comes to.
pub enum Trial {
    /// It ends after so many epochs.
    Ends { epochs: usize },
    /// It fails.
    Fails(Error),
    /// That would take long to try, or there is no plan.
    Untried,
}

/// The columns with missing cells, and how many.
pub type MissingCells = Vec<(String, usize)>;

/// What was found.
pub struct Diagnosis<T: Scalar> {
    /// The rows, features as given.
    pub prepared: Prepared<T>,
    pub columns: Vec<SourceColumn>,
    pub missing: MissingCells,
    pub facts: ColumnFacts,
    /// Whether training would standardise.
    pub standardizes: bool,
    /// None for a loss that states no curvature.
    pub as_given: Option<Conditions>,
    pub standardised: Option<Conditions>,
    pub batch: usize,
    pub momentum: f64,
    pub plan: Option<Plan>,
    /// What the plan comes to.
    pub trial: Trial,
    pub suspects: Suspects,
    pub findings: Vec<Finding>,
}

impl Doctor {
    pub fn run(&self) -> Done {
        match self.source.model.dtype {
            DtypeChoice::F64 => self.run_with::<f64>(),
            DtypeChoice::F32 => self.run_with::<f32>(),
        }
    }

    fn run_with<T: Scalar>(&self) -> Done {
        let diagnosis = self.diagnose::<T>()?;
        if self.json {
            print_json(&doctor_page::json(&diagnosis))
        } else if !self.quiet {
            print(doctor_page::page(&diagnosis))
        } else {
            Ok(())
        }
    }

    fn diagnose<T: Scalar>(&self) -> Result<Diagnosis<T>> {
        let (prepared, missing) = self.read::<T>()?;
        let Prepared { schema, data, loss, model, .. } = &prepared;
        let (loss, outputs, bias) = (&**loss, model.outputs(), model.bias().is_some());
        let columns = source_columns(schema);
        let facts = column_facts(data, &columns);
        let mut standardised = data.clone();
        let standardizer = if bias { Standardizer::fit(data) } else { Standardizer::fit_without_shift(data) };
        standardizer.apply(&mut standardised)?;
        let batch = self.batch_size.unwrap_or(BatchSize::Rows(32)).of(data.rows());
        let momentum = self.momentum.unwrap_or(0.9);
        let conditions = |data: &Dataset<T>| {
            let spectrum = spectrum(data, loss, outputs, bias)?;
            let curvature = Curvature { full_batch: spectrum.largest, ..curvature(data, loss, outputs, bias)? };
            // Of a row so large that its square has no number nothing can be said.
            if !curvature.largest_row.is_finite() {
                return None;
            }
            let rates = stable_rates(&curvature, batch, momentum, self.weight_decay);
            Some(Conditions { spectrum, curvature, rates })
        };
        let (as_given, on_standardised) = (conditions(data), conditions(&standardised));
        let standardizes = self.source.columns.standardizes();
        let trained = if standardizes { &standardised } else { data };
        let (plan, trial) = match curvature(trained, loss, outputs, bias) {
            Some(curvature) => {
                let plan = self.plan(&curvature, trained, model);
                (Some(plan), trial(&plan, self.weight_decay, &prepared, trained)?)
            }
            None => (None, Trial::Untried),
        };
        let options = SuspectOptions { rows: self.rows, seed: self.seed, ..SuspectOptions::default() };
        let mut suspects = match &on_standardised {
            Some(on) => suspects(&standardised, loss, outputs, bias, &on.curvature, &options)?,
            None => Suspects::default(),
        };
        // Rows of which the others say just what the file does are above suspicion.
        suspects.mislabelled.retain(|m| match m.probability {
            Some(_) => m.predicted != target_of(data, m.row),
            None => m.residual > 0.0,
        });
        let mut diagnosis = Diagnosis {
            columns,
            missing,
            facts,
            standardizes,
            as_given,
            standardised: on_standardised,
            batch,
            momentum,
            plan,
            trial,
            suspects,
            findings: Vec::new(),
            prepared,
        };
        diagnosis.findings = findings(&diagnosis, self.source.columns.missing);
        Ok(diagnosis)
    }

    /// The data as they are, and the columns with missing cells. These are no error here: their rows are left out.
    fn read<T: Scalar>(&self) -> Result<(Prepared<T>, MissingCells)> {
        let started = Instant::now();
        let table = read_table::<T>(&self.source.data, &self.source.read.csv(), self.seed)?;
        let cells = table.names().map(str::to_owned).zip(table.missing_cells());
        let missing: MissingCells = cells.filter(|(_, missing)| *missing > 0).collect();
        let choice = match self.source.columns.missing {
            MissingChoice::Error => MissingChoice::Drop,
            given => given,
        };
        let source = SourceOptions { columns: self.source.columns.as_given(choice), ..self.source.clone() };
        let request = Request { source: &source, decay_bias: false, seed: self.seed };
        let prepared = prepare_table(&request, table, started)?;
        if prepared.data.features().ncols() == 0 {
            let place = Place::file(&prepared.source.file);
            return Err(Error::data(place, "there are no feature columns", "name some in --features, or drop fewer"));
        }
        let schema = &prepared.schema;
        let used = |name: &String| {
            schema.columns.iter().any(|column| column.name == *name)
                || schema.target == *name
                || schema.sample_weight.as_ref() == Some(name)
        };
        let missing = missing.into_iter().filter(|(name, _)| used(name)).collect();
        Ok((prepared, missing))
    }

    /// What `train --lr auto` would take.
    fn plan<T: Scalar>(&self, curvature: &Curvature, data: &Dataset<T>, model: &Linear<T>) -> Plan {
        let given = Given {
            momentum: self.momentum.map(|momentum| Momentum::Classic { momentum, dampening: 0.0 }),
            batch_size: self.batch_size,
            accumulate: 1,
            weight_decay: self.weight_decay,
            ..Given::default()
        };
        auto::plan(curvature, data.rows(), model.parameters()[0].len(), &given)
    }
}

/// What a plan comes to, by trying it.
fn trial<T: Scalar>(plan: &Plan, weight_decay: f64, prepared: &Prepared<T>, data: &Dataset<T>) -> Result<Trial> {
    const MOST_WORK: usize = 200_000_000;
    let mut model = prepared.model.clone();
    if data.rows() * model.parameters()[0].len() * plan.epochs > MOST_WORK {
        return Ok(Trial::Untried);
    }
    let mut sgd = SgdConfig::new(plan.lr).momentum(plan.momentum).weight_decay(weight_decay).build()?;
    let config = TrainConfig {
        epochs: plan.epochs,
        batch_size: plan.batch_size,
        schedule: plan.schedule,
        plateau: plan.plateau,
        optimality: plan.optimality,
        ..TrainConfig::default()
    };
    let run = Trainer::new(config)?.fit(&mut model, &*prepared.loss, &mut sgd, data);
    Ok(run.map_or_else(Trial::Fails, |report| Trial::Ends { epochs: report.epochs }))
}

/// The target of a row, a class by its index.
fn target_of<T: Scalar>(data: &Dataset<T>, row: usize) -> f64 {
    match data.targets().row(row) {
        Target::Class(class) => class as f64,
        Target::Values(values) => values[0].as_f64(),
    }
}

impl<T: Scalar> Diagnosis<T> {
    /// The conditions under which training would run.
    pub fn trained(&self) -> Option<&Conditions> {
        if self.standardizes { self.standardised.as_ref() } else { self.as_given.as_ref() }
    }

    /// The line of a row in its file, from 1.
    pub fn line(&self, row: usize) -> Option<u64> {
        self.prepared.data.place(row).and_then(|place| place.line)
    }

    /// The target of a row, as the file has it.
    pub fn target(&self, row: usize) -> f64 {
        target_of(&self.prepared.data, row)
    }

    /// A target or prediction in words: a class's name, or the number.
    pub fn in_words(&self, target: f64) -> String {
        match self.prepared.schema.task {
            Task::Regression => doctor_page::short(target),
            _ => self.prepared.schema.classes[target as usize].clone(),
        }
    }

    /// The rows of each class.
    pub fn class_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.prepared.schema.classes.len()];
        if !sizes.is_empty() {
            (0..self.prepared.data.rows()).for_each(|row| sizes[self.target(row) as usize] += 1);
        }
        sizes
    }

    /// The column a feature came from.
    pub fn column_of(&self, feature: usize) -> &str {
        let column = self.columns.iter().find(|column| column.features.contains(&feature));
        column.map_or("", |column| &column.name)
    }
}
