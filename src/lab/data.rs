//! The data of the lab: files of the project, taken into the program, and what is made of them.

use ndarray::Array2;

use crate::data::{CsvOptions, Dataset, Missing, Schema, SchemaOptions, Synthetic, SyntheticOptions, Table};
use crate::error::Result;

fn encoded(file: &str, text: &str, options: &SchemaOptions) -> Result<Dataset<f64>> {
    let table = Table::parse(file, text, &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, options)?;
    Ok(schema.encode(&table)?.data)
}

/// `y = 2.5 x + 1` and noise: 100 rows, x evenly from 0 to 10.
pub(super) fn line() -> Result<Dataset<f64>> {
    encoded("data/lesson/line.csv", include_str!("../../data/lesson/line.csv"), &SchemaOptions::default())
}

/// `y = (1 + x)^2`, 100 rows, x evenly from -1 to 1: a line fits it only so far, and how well depends on the rows.
pub(super) fn parabola() -> Result<Dataset<f64>> {
    let x = Array2::from_shape_fn((100, 1), |(row, _)| row as f64 / 49.5 - 1.0);
    let y = x.mapv(|x| (1.0 + x) * (1.0 + x));
    Dataset::with_values(x, y)
}

/// Penguins without missing cells: bill in millimetres and body mass in grams, flipper length to predict.
pub(super) fn penguins() -> Result<Dataset<f64>> {
    let options = SchemaOptions {
        target: Some("flipper_length_mm".into()),
        features: Some(["bill_length_mm", "bill_depth_mm", "body_mass_g"].map(Into::into).to_vec()),
        missing: Missing::Drop,
        ..SchemaOptions::default()
    };
    encoded("data/penguins.csv", include_str!("../../data/penguins.csv"), &options)
}

/// Iris: four measures, three species.
pub(super) fn iris() -> Result<Dataset<f64>> {
    encoded("data/iris.csv", include_str!("../../data/iris.csv"), &SchemaOptions::default())
}

/// Three round clouds, in units that make the coordinates hundreds.
pub(super) fn far_blobs() -> Result<Dataset<f64>> {
    let blobs = Synthetic::Blobs;
    let text = blobs.csv(SyntheticOptions { rows: None, noise: None, seed: 0 })?;
    let blobs = encoded("synthetic:blobs", &text, &SchemaOptions::default())?;
    let classes = classes(&blobs);
    Dataset::with_classes(blobs.features().mapv(|x| 100.0 * x), classes)
}

/// The class of each row.
pub(super) fn classes(data: &Dataset<f64>) -> Vec<usize> {
    (0..data.rows()).map(|row| data.targets().row(row).class()).collect()
}
