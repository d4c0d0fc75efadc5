//! The options of the commands, in their groups.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};
use gradus::data::{CsvOptions, DEFAULT_MISSING, Missing};
use gradus::optim::Schedule;
use gradus::train::BatchSize;
use serde::Serialize;

use super::losses;

/// The data, how they are read, and the model they are for.
#[derive(Args, Debug, Clone)]
pub struct SourceOptions {
    /// A CSV file, - for standard input, or synthetic:line, synthetic:plane, synthetic:blobs, synthetic:moons
    pub data: PathBuf,
    #[command(flatten)]
    pub read: ReadOptions,
    #[command(flatten)]
    pub columns: ColumnOptions,
    #[command(flatten)]
    pub model: ModelOptions,
}

/// How a CSV file is written.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Data")]
pub struct ReadOptions {
    /// The character between cells, or `tab` [default: detected among , ; tab |]
    #[arg(long, value_name = "C", value_parser = single_byte)]
    delimiter: Option<u8>,
    /// The first row names the columns [default: detected]
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The first row is data; columns are named c1, c2, ...
    #[arg(long)]
    no_header: bool,
    /// The character that starts a comment line [default: none]
    #[arg(long, value_name = "C", value_parser = single_byte)]
    comment: Option<u8>,
    /// Cells that are missing values, besides the empty one [default: NA,N/A,NaN,nan,null,?]
    #[arg(long, value_name = "A,B", value_delimiter = ',', allow_hyphen_values = true)]
    na: Option<Vec<String>>,
}

impl ReadOptions {
    pub fn csv(&self) -> CsvOptions {
        let default = || DEFAULT_MISSING.map(str::to_owned).to_vec();
        CsvOptions {
            delimiter: self.delimiter,
            header: if self.header { Some(true) } else { self.no_header.then_some(false) },
            comment: self.comment,
            missing_markers: self.na.clone().unwrap_or_else(default),
            expected_names: Vec::new(),
        }
    }

    /// For files of a saved model: its missing markers and column names, unless others are given.
    pub fn csv_for(&self, schema: &gradus::data::Schema) -> CsvOptions {
        let mut options = self.csv();
        if self.na.is_none() {
            options.missing_markers = schema.missing_markers.clone();
        }
        options.expected_names = schema.columns.iter().map(|column| column.name.clone()).collect();
        options.expected_names.push(schema.target.clone());
        options
    }
}

/// Which columns mean what.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Data")]
pub struct ColumnOptions {
    /// The column to predict [default: the last]
    #[arg(long, value_name = "COL")]
    pub target: Option<String>,
    /// The columns to predict from [default: all others]
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "drop")]
    pub features: Option<Vec<String>>,
    /// Columns to leave out
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// What to do with a missing value; `mean` takes the most frequent value of a text column
    #[arg(long, value_enum, default_value_t = MissingChoice::Error)]
    pub missing: MissingChoice,
    /// The most different values of a text column
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    pub max_categories: usize,
    /// Columns of numbers that are codes
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub categorical: Vec<String>,
    /// The column that says how much each row counts
    #[arg(long, value_name = "COL")]
    pub sample_weight: Option<String>,
    /// Rows to measure on after each epoch: a share of the data, or another file [default: none]
    #[arg(long, value_name = "FRACTION|FILE")]
    pub validation: Option<Validation>,
    /// Train on features of mean 0 and deviation 1 (the default); the saved model takes the data's own units
    #[arg(long, overrides_with = "no_standardize")]
    standardize: bool,
    /// Train on the features as they are
    #[arg(long, overrides_with = "standardize")]
    no_standardize: bool,
}

impl ColumnOptions {
    pub fn standardizes(&self) -> bool {
        self.standardize || !self.no_standardize
    }

    /// The same for features as they are, missing values handled like this.
    pub fn as_given(&self, missing: MissingChoice) -> Self {
        ColumnOptions { standardize: false, no_standardize: true, missing, ..self.clone() }
    }
}

/// The model and its loss.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Model and loss")]
pub struct ModelOptions {
    /// The loss; auto goes by the target: text or just 0 and 1 is classes, other numbers are a regression
    #[arg(long, default_value = losses::AUTO, value_parser = losses::names())]
    pub loss: String,
    /// No intercept
    #[arg(long)]
    pub no_bias: bool,
    /// How parameters start; uniform is within 1/sqrt(features)
    #[arg(long, value_enum, default_value_t = InitChoice::Zeros)]
    pub init: InitChoice,
    /// Let every class count as much as every other
    #[arg(long, value_enum)]
    pub class_weight: Option<ClassWeight>,
    /// The share of the target spread over all classes (cross-entropy)
    #[arg(long, value_name = "X", value_parser = fraction)]
    pub label_smoothing: Option<f64>,
    /// The number type
    #[arg(long, value_enum, default_value_t = DtypeChoice::F64)]
    pub dtype: DtypeChoice,
}

/// The optimizer.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Optimizer")]
pub struct OptimizerOptions {
    /// The learning rate; auto takes it from the curvature, with momentum, schedule, batch size and epochs to match where
    /// they are not given. With a number: momentum 0, constant, batches of 32, 100 epochs
    #[arg(long, value_name = "X|auto", default_value = "auto", allow_hyphen_values = true)]
    pub lr: LearningRate,
    /// The share of the last step's direction that is kept [default: 0, or chosen]
    #[arg(long, value_name = "X", value_parser = non_negative)]
    pub momentum: Option<f64>,
    /// The share of a new gradient that momentum leaves out [default: 0]
    #[arg(long, value_name = "X", value_parser = non_negative)]
    pub dampening: Option<f64>,
    /// Momentum that looks ahead
    #[arg(long)]
    pub nesterov: bool,
    /// L2 penalty: the gradient of X/2 |weight|^2 is added
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative)]
    pub weight_decay: f64,
    /// Let the bias decay too
    #[arg(long)]
    pub decay_bias: bool,
    /// Scale gradients down to this norm
    #[arg(long, value_name = "X", value_parser = positive, conflicts_with = "clip_value")]
    pub clip_norm: Option<f64>,
    /// Limit every gradient element to this magnitude
    #[arg(long, value_name = "X", value_parser = positive)]
    pub clip_value: Option<f64>,
    /// constant, step:EVERY:GAMMA, exponential:GAMMA, cosine:T_MAX[:ETA_MIN] or linear:START:END:ITERS, in steps
    /// [default: constant, or chosen]
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<Schedule>,
}

/// The training loop.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Loop")]
pub struct LoopOptions {
    /// Passes over the data: exactly so many, or at most with --patience or --tolerance [default: 100, or chosen]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub epochs: Option<usize>,
    /// Rows in a micro-batch, or `full` [default: 32, or chosen]
    #[arg(long, value_name = "N|full", value_parser = batch_size)]
    pub batch_size: Option<BatchSize>,
    /// Micro-batches whose gradients make one step; the same bits as one batch of all their rows
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_one)]
    pub accumulate: usize,
    /// The seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Keep the rows in the file's order
    #[arg(long)]
    pub no_shuffle: bool,
    /// End after N epochs without a lower loss (validation loss if there is one), and keep the best parameters
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub patience: Option<usize>,
    /// End when an epoch changes the objective by no more than this share; 0: never
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative)]
    pub tolerance: f64,
    /// What to do when a loss or gradient is infinite or NaN
    #[arg(long, value_enum, default_value_t = NonFiniteChoice::Stop)]
    pub non_finite: NonFiniteChoice,
    /// Threads, at most; they change no bit of the result. With --stream one of them reads ahead [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
}

/// What is written.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Where to save the model, as safetensors [default: not saved]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Where to log every step: JSON lines, or a table for a name that ends in .csv; written when the run ends
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// auto: a bar on a terminal, lines elsewhere, nothing with --quiet; always: with --quiet too
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto)]
    pub progress: ProgressChoice,
    /// Print nothing but errors, and with --json the result
    #[arg(long, action = ArgAction::SetTrue)]
    pub quiet: bool,
    /// Print the result as one JSON object
    #[arg(long, action = ArgAction::SetTrue)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingChoice {
    Error,
    Drop,
    Mean,
}

impl From<MissingChoice> for Missing {
    fn from(choice: MissingChoice) -> Self {
        match choice {
            MissingChoice::Error => Missing::Error,
            MissingChoice::Drop => Missing::Drop,
            MissingChoice::Mean => Missing::Mean,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InitChoice {
    Zeros,
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeight {
    Balanced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DtypeChoice {
    F64,
    F32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NonFiniteChoice {
    Stop,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    Auto,
    Always,
    Never,
}

/// A learning rate, or the request to choose one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LearningRate {
    Auto,
    Given(f64),
}

impl FromStr for LearningRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(LearningRate::Auto) } else { positive(text).map(LearningRate::Given) }
    }
}

/// Where validation rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Validation {
    Fraction(f64),
    File(PathBuf),
}

impl FromStr for Validation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(fraction) if fraction > 0.0 && fraction < 1.0 => Ok(Validation::Fraction(fraction)),
            Ok(_) => Err("a fraction must be above 0 and below 1".into()),
            Err(_) => Ok(Validation::File(text.into())),
        }
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Validation::Fraction(fraction) => write!(f, "{fraction}"),
            Validation::File(path) => write!(f, "{}", path.display()),
        }
    }
}

fn single_byte(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [byte] if !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("must be one ASCII character, or `tab`".into()),
    }
}

fn number(text: &str, accepts: fn(f64) -> bool, must: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && accepts(value) => Ok(value),
        _ => Err(format!("must be {must}")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |value| value > 0.0, "a finite number above 0")
}

pub fn non_negative(text: &str) -> Result<f64, String> {
    number(text, |value| value >= 0.0, "a finite number, 0 or above")
}

fn fraction(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=1.0).contains(&value), "a number from 0 to 1")
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count >= 1).ok_or_else(|| "must be a whole number, 1 or above".into())
}

pub fn batch_size(text: &str) -> Result<BatchSize, String> {
    if text == "full" {
        return Ok(BatchSize::Full);
    }
    at_least_one(text).map(BatchSize::Rows).map_err(|_| "must be a whole number, 1 or above, or `full`".into())
}
