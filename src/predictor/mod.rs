//! What training leaves: a model in the data's own units, with the schema that reads files for it.

mod file;
mod metrics;

use ndarray::{Array2, ArrayView2};

use crate::data::{Schema, Task};
use crate::error::{Error, Result};
use crate::kernels;
use crate::model::{Linear, Model};
use crate::scalar::Scalar;

pub use file::SavedPredictor;
pub use metrics::{Metrics, measure, measure_source};

/// A linear model in the data's own units, with the schema of the files it was trained on.
#[derive(Debug, Clone)]
pub struct Predictor<T> {
    model: Linear<T>,
    schema: Schema,
    loss: String,
}

/// What a model says of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Predictions<T> {
    /// A number for each row.
    Values(Vec<T>),
    /// Classes.
    Classes {
        /// The index of the likeliest class of each row.
        likeliest: Vec<usize>,
        /// The probability of each class, `[rows, classes]`.
        probabilities: Array2<T>,
    },
}

impl<T: Scalar> Predictor<T> {
    /// Joins a model with its schema and the name of the loss it was trained with.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the model's inputs and outputs are not the schema's.
    pub fn new(model: Linear<T>, schema: Schema, loss: impl Into<String>) -> Result<Self> {
        let expected = [schema.outputs(), schema.feature_names().len()];
        let found = [model.outputs(), model.inputs()];
        if found != expected {
            return Err(Error::shape("weight", &expected, &found));
        }
        Ok(Predictor { model, schema, loss: loss.into() })
    }

    /// The model, in the data's own units.
    pub fn model(&self) -> &Linear<T> {
        &self.model
    }

    /// What the columns mean.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The name of the loss it was trained with.
    pub fn loss(&self) -> &str {
        &self.loss
    }

    /// Predicts rows of features in the data's own units, `[rows, features]`, as
    /// [`Schema::encode_features`] gives them.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if there is another number of features.
    pub fn predict(&self, features: ArrayView2<'_, T>) -> Result<Predictions<T>> {
        let logits = self.model.forward(features)?;
        if self.schema.task == Task::Regression {
            return Ok(Predictions::Values(logits.into_raw_vec_and_offset().0));
        }
        let classes = self.schema.classes.len();
        let mut probabilities = Array2::zeros((logits.nrows(), classes));
        let mut likeliest = Vec::with_capacity(logits.nrows());
        for (logits, mut row) in logits.rows().into_iter().zip(probabilities.rows_mut()) {
            let row = row.as_slice_mut().expect("standard layout");
            class_probabilities(self.schema.task, logits.to_slice().expect("standard layout"), row);
            likeliest.push(index_of_largest(row));
        }
        Ok(Predictions::Classes { likeliest, probabilities })
    }
}

/// Writes the probability of each class: of both for the one logit of a binary model, the softmax of several.
fn class_probabilities<T: Scalar>(task: Task, logits: &[T], probabilities: &mut [T]) {
    if task == Task::Binary {
        probabilities.copy_from_slice(&[kernels::sigmoid(-logits[0]), kernels::sigmoid(logits[0])]);
    } else {
        kernels::softmax(logits, probabilities);
    }
}

/// The first of the largest.
fn index_of_largest<T: Scalar>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
