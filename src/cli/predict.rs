//! `gradus predict`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gradus::data::Unknown;
use gradus::files::AtomicFile;
use gradus::predictor::{Predictions, Predictor, SavedPredictor};
use gradus::remarks::remark;
use gradus::{Error, Scalar};
use serde_json::{Value, json};

use super::options::ReadOptions;
use super::output::{Done, Failure, refuse_same_files, stdout_failure};
use super::prepare::read_table;

/// Predict a CSV file with a saved model: one row out for each row in, in the same order.
///
/// Columns are matched by name, in any order; others are ignored, and no target is needed. Out come `prediction` and,
/// for a classifier, `p(CLASS)`, the probability of each class.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus predict iris.safetensors new.csv -o predicted.csv")]
pub struct Predict {
    /// A model that `gradus train -o` saved
    model: PathBuf,
    /// A CSV file, - for standard input, or synthetic:NAME
    data: PathBuf,
    /// Where to write the predictions [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to do with a text value that training did not see; zero: it has no effect
    #[arg(long, value_enum, default_value_t = UnknownChoice::Error)]
    unknown: UnknownChoice,
    #[command(flatten)]
    read: ReadOptions,
    /// The seed of synthetic data
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print nothing but errors and the predictions
    #[arg(long)]
    quiet: bool,
    /// Write one JSON object a row instead of CSV
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnknownChoice {
    Error,
    Zero,
}

impl Predict {
    pub fn run(&self) -> Done {
        refuse_same_files(&[&self.data, &self.model], &[self.output.as_deref()])?;
        match SavedPredictor::load(&self.model)? {
            SavedPredictor::F32(predictor) => self.run_with(&predictor),
            SavedPredictor::F64(predictor) => self.run_with(&predictor),
        }
    }

    fn run_with<T: Scalar>(&self, predictor: &Predictor<T>) -> Done {
        let schema = predictor.schema();
        let table = read_table::<T>(&self.data, &self.read.csv_for(schema), self.seed)?;
        let unknown = match self.unknown {
            UnknownChoice::Error => Unknown::Error,
            UnknownChoice::Zero => Unknown::Zero,
        };
        let rows = table.rows();
        let predictions = predictor.predict(schema.encode_features_owned(table, unknown)?.view())?;
        let Some(path) = &self.output else {
            let out = BufWriter::new(io::stdout().lock());
            return self.write(out, &predictions, &schema.classes).map_err(stdout_failure);
        };
        let unwritable = |error| Failure::Error(Error::io(path, "write", error));
        let mut file = AtomicFile::create(path)?;
        self.write(&mut file, &predictions, &schema.classes).map_err(unwritable)?;
        file.commit()?;
        if !self.quiet {
            remark(format!("{} predictions saved to {}", rows, Path::display(path)));
        }
        Ok(())
    }

    fn write<T: Scalar>(&self, out: impl Write, predictions: &Predictions<T>, classes: &[String]) -> io::Result<()> {
        if self.json { write_json(out, predictions, classes) } else { write_csv(out, predictions, classes) }
    }
}

/// In the shortest form that reads back to the same bits.
fn number<T: Scalar>(value: T) -> String {
    format!("{value:?}")
}

/// What the writer ran into, as it was: a closed pipe must be known as one.
fn cause(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn write_csv<T: Scalar>(out: impl Write, predictions: &Predictions<T>, classes: &[String]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let header = classes.iter().map(|class| format!("p({class})"));
    writer.write_record(["prediction".to_owned()].into_iter().chain(header)).map_err(cause)?;
    match predictions {
        Predictions::Values(values) => {
            for &value in values {
                writer.write_record([number(value)]).map_err(cause)?;
            }
        }
        Predictions::Classes { likeliest, probabilities } => {
            for (&class, row) in likeliest.iter().zip(probabilities.rows()) {
                writer.write_field(&classes[class]).map_err(cause)?;
                for &p in row {
                    writer.write_field(number(p)).map_err(cause)?;
                }
                writer.write_record(None::<&[u8]>).map_err(cause)?;
            }
        }
    }
    writer.flush()
}

fn write_json<T: Scalar>(mut out: impl Write, predictions: &Predictions<T>, classes: &[String]) -> io::Result<()> {
    let mut line = |value: Value| writeln!(out, "{value}");
    match predictions {
        Predictions::Values(values) => values.iter().try_for_each(|v| line(json!({"prediction": v.as_f64()})))?,
        Predictions::Classes { likeliest, probabilities } => {
            for (&class, row) in likeliest.iter().zip(probabilities.rows()) {
                let by_class = classes.iter().cloned().zip(row.iter().map(|p| json!(p.as_f64())));
                let by_class: serde_json::Map<String, Value> = by_class.collect();
                line(json!({"prediction": classes[class], "probabilities": by_class}))?;
            }
        }
    }
    out.flush()
}
