//! From a data file and the options to everything a run needs: data, loss and model.

use std::path::Path;
use std::time::Instant;

use gradus::data::{
    CsvOptions, Dataset, Dialect, Encoding, FeatureColumn, Schema, SchemaOptions, Standardizer, Synthetic,
    SyntheticOptions, Table, TargetRole, Task, split,
};
use gradus::diagnose::SourceColumn;
use gradus::model::Model;
use gradus::{Error, Init, Linear, Loss, Result, Scalar};

use super::balance::Balance;
use super::losses::{Entry, LossSettings};
use super::options::{ClassWeight, InitChoice, ModelOptions, SourceOptions, Validation};

/// What a run needs.
pub struct Prepared<T: Scalar, Rows = Dataset<T>> {
    pub source: SourceInfo,
    pub schema: Schema,
    /// Remarks on the data.
    pub notes: Vec<String>,
    /// Training rows, standardised if asked for.
    pub data: Rows,
    pub validation: Option<Rows>,
    pub own_weights: Option<OwnWeights<T>>,
    pub standardizer: Option<Standardizer>,
    pub loss: Box<dyn Loss<T>>,
    pub loss_name: &'static str,
    /// Not yet trained.
    pub model: Linear<T>,
    pub load_seconds: f64,
}

/// The rows' weights before classes were balanced by them.
pub struct OwnWeights<T> {
    training: Option<Vec<T>>,
    validation: Option<Vec<T>>,
}

impl<T: Scalar> Prepared<T> {
    /// Gives the rows their own weights back: what is measured is not balanced.
    pub fn unbalance(&mut self) -> Result<()> {
        let Some(own) = self.own_weights.take() else { return Ok(()) };
        self.data.replace_weights(own.training)?;
        if let Some(validation) = &mut self.validation {
            validation.replace_weights(own.validation)?;
        }
        Ok(())
    }
}

/// What was read.
pub struct SourceInfo {
    pub file: String,
    pub dialect: Dialect,
    pub rows: usize,
    pub columns: usize,
    /// Rows left out for a missing value.
    pub dropped: usize,
}

/// The start of a name that asks for synthetic data.
const SYNTHETIC: &str = "synthetic:";

/// Whether a name asks for synthetic data.
pub fn is_synthetic(data: &Path) -> bool {
    data.to_string_lossy().starts_with(SYNTHETIC)
}

/// Reads a table: a CSV file, `-`, or `synthetic:NAME`.
pub fn read_table<T: Scalar>(data: &Path, options: &CsvOptions, seed: u64) -> Result<Table<T>> {
    let name = data.to_string_lossy();
    match name.strip_prefix(SYNTHETIC) {
        Some(set) => {
            let csv = set.parse::<Synthetic>()?.csv(SyntheticOptions { rows: None, noise: None, seed })?;
            Table::parse(&name, &csv, options)
        }
        None => Table::read(data, options),
    }
}

/// The options that decide what is trained.
pub struct Request<'a> {
    pub source: &'a SourceOptions,
    pub decay_bias: bool,
    pub seed: u64,
}

/// Reads the data and makes the loss and the model.
pub fn prepare<T: Scalar>(request: &Request<'_>) -> Result<Prepared<T>> {
    let started = Instant::now();
    let SourceOptions { data, read, .. } = request.source;
    let table = read_table::<T>(data, &read.csv(), request.seed)?;
    prepare_table(request, table, started)
}

/// What the options say of the columns.
pub fn schema_options<T: Scalar>(request: &Request<'_>) -> SchemaOptions {
    let SourceOptions { read, columns, model, .. } = request.source;
    let role = Entry::<T>::find(&model.loss, TargetRole::Auto).map_or(TargetRole::Auto, |entry| entry.target);
    SchemaOptions {
        target: columns.target.clone(),
        features: columns.features.clone(),
        drop: columns.drop.clone(),
        categorical: columns.categorical.clone(),
        sample_weight: columns.sample_weight.clone(),
        missing: columns.missing.into(),
        max_categories: columns.max_categories,
        target_role: role,
        missing_markers: read.csv().missing_markers,
    }
}

/// The same for a table that was read, since `started`.
pub fn prepare_table<T: Scalar>(request: &Request<'_>, table: Table<T>, started: Instant) -> Result<Prepared<T>> {
    let SourceOptions { read, columns, model: model_options, .. } = request.source;
    let options = schema_options::<T>(request);
    let (schema, mut notes) = Schema::infer(&table, &options)?;
    let mut source = SourceInfo {
        file: table.file().to_owned(),
        dialect: table.dialect(),
        rows: table.rows(),
        columns: table.names().len(),
        dropped: 0,
    };
    let encoded = schema.encode_owned(table)?;
    source.dropped = encoded.dropped;

    let entry = Entry::<T>::find(&model_options.loss, role_of(schema.task)).expect("every task has a loss");
    let mut data = encoded.data;
    let mut validation = None;
    match &columns.validation {
        Some(Validation::Fraction(fraction)) => {
            if data.rows() < 2 {
                return Err(Error::setting("--validation", "one row cannot be split"));
            }
            let (training, held_out) = split(data.rows(), *fraction, request.seed);
            validation = Some(data.select(&held_out));
            data = data.select(&training);
        }
        Some(Validation::File(path)) => {
            let table = Table::<T>::read(path, &read.csv_for(&schema))?;
            validation = Some(schema.encode_owned(table)?.data);
        }
        None => {}
    }
    check_weight(&data, "training", &source.file)?;
    if let Some(validation) = &validation {
        check_weight(validation, "validation", &source.file)?;
    }
    let mut settings = LossSettings { class_weights: None, label_smoothing: model_options.label_smoothing };
    let mut own_weights = None;
    if model_options.class_weight == Some(ClassWeight::Balanced) {
        let balance = Balance::of(&data, &schema)?;
        if schema.task == Task::Multiclass {
            settings.class_weights = Some(balance.weights().to_vec());
        } else {
            let own = balance.put_on_rows(&mut data)?;
            let of_validation = validation.as_mut().map(|data| balance.put_on_rows(data)).transpose()?;
            own_weights = Some(OwnWeights { training: own, validation: of_validation.flatten() });
        }
    }
    let loss = entry.build(settings)?;
    let standardizer = columns
        .standardizes()
        .then(|| if model_options.no_bias { Standardizer::fit_without_shift(&data) } else { Standardizer::fit(&data) });
    if let Some(standardizer) = &standardizer {
        note_constants(standardizer, data.feature_names(), &mut notes);
        standardizer.apply(&mut data)?;
        if let Some(validation) = &mut validation {
            standardizer.apply(validation)?;
        }
    }
    let model = new_model(&schema, model_options, request)?;
    let load_seconds = started.elapsed().as_secs_f64();
    Ok(Prepared {
        source,
        schema,
        notes,
        data,
        validation,
        own_weights,
        standardizer,
        loss,
        loss_name: entry.name,
        model,
        load_seconds,
    })
}

/// The columns of the schema, with the features each became.
pub fn source_columns(schema: &Schema) -> Vec<SourceColumn> {
    let mut start = 0;
    let source = |column: &FeatureColumn| {
        let (width, one_hot) = match &column.encoding {
            Encoding::Number { .. } => (1, false),
            Encoding::OneHot { values, .. } => (values.len(), true),
        };
        start += width;
        SourceColumn { name: column.name.clone(), features: start - width..start, one_hot }
    };
    schema.columns.iter().map(source).collect()
}

/// The target role that a task's losses take.
pub fn role_of(task: Task) -> TargetRole {
    match task {
        Task::Regression => TargetRole::Number,
        Task::Binary => TargetRole::TwoClasses,
        Task::Multiclass => TargetRole::Classes,
    }
}

pub fn new_model<T: Scalar>(schema: &Schema, options: &ModelOptions, request: &Request<'_>) -> Result<Linear<T>> {
    let (inputs, outputs) = (schema.feature_names().len(), schema.outputs());
    if options.no_bias && inputs == 0 {
        return Err(Error::setting("--no-bias", "there are no feature columns, so nothing is left to train"));
    }
    let model = if options.no_bias { Linear::without_bias(inputs, outputs) } else { Linear::new(inputs, outputs) };
    let init = match options.init {
        InitChoice::Zeros => Init::Zeros,
        InitChoice::Uniform => Init::Uniform { seed: request.seed },
    };
    let mut model = model.initialized(init);
    if let Some(bias) = model.parameters_mut().get_mut(1) {
        bias.set_decays(request.decay_bias);
    }
    Ok(model)
}

/// Refuses rows that all weigh nothing: a split may leave a part with such rows alone.
fn check_weight<T: Scalar>(data: &Dataset<T>, what: &str, file: &str) -> Result<()> {
    if (0..data.rows()).any(|row| data.weight(row) > T::zero()) {
        return Ok(());
    }
    let what = format!("every {what} row has sample weight 0");
    Err(Error::data(gradus::Place::file(file), what, "choose another --validation, or another --seed"))
}

pub fn note_constants(standardizer: &Standardizer, names: &[String], notes: &mut Vec<String>) {
    let names: Vec<&str> = standardizer.constant_features().map(|c| names[c].as_str()).collect();
    if names.is_empty() {
        return;
    }
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let (s, have) = if names.len() == 1 { ("", "has") } else { ("s", "have") };
    notes.push(format!("constant feature{s} {have} coefficient 0: {shown}{more}"));
}

/// The paths that a command reads, as far as they are files.
pub fn input_paths(source: &SourceOptions) -> Vec<&Path> {
    let mut inputs = Vec::new();
    if source.data != Path::new("-") {
        inputs.push(source.data.as_path());
    }
    if let Some(Validation::File(path)) = &source.columns.validation {
        inputs.push(path.as_path());
    }
    inputs
}
