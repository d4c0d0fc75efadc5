//! `gradus inspect`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use gradus::Scalar;
use gradus::data::{Encoding, Task};
use gradus::predictor::{Predictor, SavedPredictor};
use serde_json::{Value, json};

use super::output::{Done, figure, print, print_json};

/// Show a saved model: coefficients in the data's own units, classes, schema.
#[derive(Args, Debug)]
pub struct Inspect {
    /// A model that `gradus train -o` saved
    model: PathBuf,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Print nothing but errors, and with --json the result: whether the file is a sound model
    #[arg(long)]
    quiet: bool,
}

impl Inspect {
    pub fn run(&self) -> Done {
        match SavedPredictor::load(&self.model)? {
            SavedPredictor::F32(predictor) => self.run_with(&predictor),
            SavedPredictor::F64(predictor) => self.run_with(&predictor),
        }
    }

    fn run_with<T: Scalar>(&self, predictor: &Predictor<T>) -> Done {
        match (self.json, self.quiet) {
            (true, _) => print_json(&as_json(predictor)),
            (false, true) => Ok(()),
            (false, false) => print(as_text(&self.model.to_string_lossy(), predictor)),
        }
    }
}

fn as_json<T: Scalar>(predictor: &Predictor<T>) -> Value {
    let schema = predictor.schema();
    let numbers = |values: ndarray::ArrayView1<'_, T>| values.iter().map(|v| v.as_f64()).collect::<Vec<f64>>();
    let weight: Vec<Vec<f64>> = predictor.model().weight().rows().into_iter().map(numbers).collect();
    json!({
        "loss": predictor.loss(),
        "task": schema.task,
        "dtype": T::NAME,
        "target": schema.target,
        "features": schema.feature_names(),
        "classes": if schema.classes.is_empty() { Value::Null } else { json!(schema.classes) },
        "weight": weight,
        "bias": predictor.model().bias().map(numbers),
        "columns": schema.columns,
        "sample_weight": schema.sample_weight,
        "missing": schema.missing,
        "missing_markers": schema.missing_markers,
    })
}

fn as_text<T: Scalar>(file: &str, predictor: &Predictor<T>) -> String {
    let schema = predictor.schema();
    let mut text = format!("{file}: {} for \"{}\", {}\n", predictor.loss(), schema.target, T::NAME);
    let outputs: Vec<String> = match schema.task {
        Task::Regression => vec![schema.target.clone()],
        Task::Binary => vec![format!("logit of {}", schema.classes[1])],
        Task::Multiclass => schema.classes.clone(),
    };
    if !schema.classes.is_empty() {
        let _ = writeln!(text, "classes: {}", schema.classes.join(", "));
    }
    let filled: Vec<&str> = schema
        .columns
        .iter()
        .filter(|column| match &column.encoding {
            Encoding::Number { fill } => fill.is_some(),
            Encoding::OneHot { fill, .. } => fill.is_some(),
        })
        .map(|column| column.name.as_str())
        .collect();
    if !filled.is_empty() {
        let _ = writeln!(text, "missing values are filled in: {}", filled.join(", "));
    }
    let names = schema.feature_names();
    let first = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("feature".len());
    let width = outputs.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(13);
    let mut row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        let _ = write!(text, "{name:<first$}");
        for cell in cells {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    };
    row("feature", &mut outputs.iter().cloned());
    let model = predictor.model();
    for (name, column) in names.iter().zip(model.weight().columns()) {
        row(name, &mut column.iter().map(|v| figure(v.as_f64())));
    }
    if let Some(bias) = model.bias() {
        row("bias", &mut bias.iter().map(|v| figure(v.as_f64())));
    }
    text
}
