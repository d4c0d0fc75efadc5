//! The project's data in memory, read with the csv crate.

use gradus::Dataset;
use ndarray::Array2;

/// Every set of numbers with a target in the last column.
pub const NAMES: [&str; 7] = ["iris", "wine", "diabetes", "line", "plane", "breast_cancer", "digits"];

/// Features and a target, a class by its index.
pub struct Frame {
    pub data: Dataset<f64>,
}

impl Frame {
    pub fn read(name: &str) -> Self {
        let folder = if ["line", "plane"].contains(&name) { "data/lesson" } else { "data" };
        let path = format!("{}/{folder}/{name}.csv", env!("CARGO_MANIFEST_DIR"));
        let mut reader = csv::Reader::from_path(path).unwrap();
        let width = reader.headers().unwrap().len() - 1;
        let records: Vec<csv::StringRecord> = reader.records().map(|record| record.unwrap()).collect();
        let mut classes: Vec<&str> = records.iter().map(|record| &record[width]).collect();
        classes.sort_unstable();
        classes.dedup();
        let target = |text: &str| {
            text.parse().unwrap_or_else(|_| classes.iter().position(|class| *class == text).unwrap() as f64)
        };
        let features = Array2::from_shape_fn((records.len(), width), |(r, c)| records[r][c].parse().unwrap());
        let targets = Array2::from_shape_fn((records.len(), 1), |(r, _)| target(&records[r][width]));
        Frame { data: Dataset::with_values(features, targets).unwrap() }
    }

    pub fn classes(&self) -> Vec<usize> {
        let targets = self.data.targets();
        (0..self.data.rows()).map(|row| targets.row(row).values()[0] as usize).collect()
    }

    /// The same features with these classes: as 0 and 1 where there are two.
    pub fn with_classes(&self, classes: &[usize]) -> Dataset<f64> {
        let features = self.data.features().to_owned();
        if classes.iter().all(|class| *class < 2) {
            let values = Array2::from_shape_fn((classes.len(), 1), |(r, _)| classes[r] as f64);
            return Dataset::with_values(features, values).unwrap();
        }
        Dataset::with_classes(features, classes.to_vec()).unwrap()
    }
}
