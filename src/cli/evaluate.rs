//! `gradus evaluate`.

use std::path::PathBuf;

use clap::Args;
use gradus::Scalar;
use gradus::data::TargetRole;
use gradus::predictor::{Predictor, SavedPredictor, measure};
use gradus::train::mean_loss;
use serde_json::json;

use super::losses::{Entry, LossSettings};
use super::options::ReadOptions;
use super::output::{Done, count, figure, print, print_json};
use super::prepare::read_table;
use super::report;

/// Measure a saved model on a labelled file.
///
/// Columns are matched by name, in any order. Rows are weighted if the model was trained with --sample-weight.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus evaluate iris.safetensors data/iris.csv")]
pub struct Evaluate {
    /// A model that `gradus train -o` saved
    model: PathBuf,
    /// A CSV file with the target, - for standard input, or synthetic:NAME
    data: PathBuf,
    #[command(flatten)]
    read: ReadOptions,
    /// The seed of synthetic data
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print nothing but errors, and with --json the result
    #[arg(long)]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub fn run(&self) -> Done {
        match SavedPredictor::load(&self.model)? {
            SavedPredictor::F32(predictor) => self.run_with(&predictor),
            SavedPredictor::F64(predictor) => self.run_with(&predictor),
        }
    }

    fn run_with<T: Scalar>(&self, predictor: &Predictor<T>) -> Done {
        let schema = predictor.schema();
        let table = read_table::<T>(&self.data, &self.read.csv_for(schema), self.seed)?;
        let file = table.file().to_owned();
        let encoded = schema.encode_owned(table)?;
        let metrics = measure(predictor.model(), &encoded.data, schema.task)?;
        // A model of a loss this version does not know still has its metrics.
        let loss = Entry::<T>::find(predictor.loss(), TargetRole::Auto)
            .map(|entry| entry.build(LossSettings::default()))
            .transpose()?
            .map(|loss| mean_loss(predictor.model(), &*loss, &encoded.data));
        let rows = encoded.data.rows();
        if self.json {
            return print_json(&json!({
                "data": file,
                "model": self.model.to_string_lossy(),
                "rows": rows,
                "dropped_rows": encoded.dropped,
                "loss": predictor.loss(),
                "mean_loss": loss,
                "metrics": metrics,
            }));
        }
        if self.quiet {
            return Ok(());
        }
        let dropped = if encoded.dropped > 0 {
            format!(", {} left out for missing values", count(encoded.dropped, "row"))
        } else {
            String::new()
        };
        let mut text = format!("{:<12}{}: {}{dropped}\n", "data", file, count(rows, "row"));
        if let Some(loss) = loss {
            text.push_str(&format!("{:<12}{} ({}, classes unweighted)\n", "loss", figure(loss), predictor.loss()));
        }
        text.push_str(&format!("{:<12}{}\n", "metrics", report::summary(&metrics)));
        text.push_str(&report::confusion(&metrics, &schema.classes));
        print(text)
    }
}
