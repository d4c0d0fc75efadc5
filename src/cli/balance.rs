//! `--class-weight balanced`: every class counts as much as every other.

use gradus::data::{Schema, Task};
use gradus::{Dataset, Error, Result, Scalar, Target};

/// A weight for each class: rows over classes times the rows of the class.
pub struct Balance {
    weights: Vec<f64>,
}

impl Balance {
    /// From training rows.
    pub fn of<T: Scalar>(data: &Dataset<T>, schema: &Schema) -> Result<Self> {
        if schema.task == Task::Regression {
            return Err(Error::setting("--class-weight", "the target is a number, not classes"));
        }
        let mut counts = vec![0.0; schema.classes.len()];
        for row in 0..data.rows() {
            counts[class_of(data, row)] += data.weight(row).as_f64();
        }
        if let Some(class) = counts.iter().position(|count| *count == 0.0) {
            let why = format!("the training rows of class \"{}\" have no weight", schema.classes[class]);
            return Err(Error::setting("--class-weight", why));
        }
        let total: f64 = counts.iter().sum();
        Ok(Balance { weights: counts.iter().map(|count| total / (counts.len() as f64 * count)).collect() })
    }

    /// For a loss that takes class weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// For a loss that does not: the rows' weights multiplied by those of their classes, which gives the same mean.
    /// Returns the weights as they were.
    pub fn put_on_rows<T: Scalar>(&self, data: &mut Dataset<T>) -> Result<Option<Vec<T>>> {
        let weight = |row| T::from_f64(data.weight(row).as_f64() * self.weights[class_of(data, row)]);
        let weights = (0..data.rows()).map(weight).collect();
        data.replace_weights(Some(weights))
    }
}

fn class_of<T: Scalar>(data: &Dataset<T>, row: usize) -> usize {
    match data.targets().row(row) {
        Target::Class(class) => class,
        Target::Values(values) => usize::from(values[0] > T::zero()),
    }
}
