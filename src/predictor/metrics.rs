//! How well a model does on rows with known targets.

use rayon::prelude::*;
use serde::Serialize;

use super::index_of_largest;
use crate::data::{Dataset, InMemory, RowSource, Task};
use crate::error::{Error, Result};
use crate::kernels::{self, RowIndex, Rows};
use crate::loss::Target;
use crate::model::{Linear, Model};
use crate::scalar::Scalar;

/// Measures of a model's predictions. Rows count by their sample weights, except in the confusion matrix.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of numbers.
    Regression {
        /// Mean squared error.
        mse: f64,
        /// Its square root, in the target's units.
        rmse: f64,
        /// Mean absolute error.
        mae: f64,
        /// The coefficient of determination, `1 - squared error / squared deviation from the mean`. Where the target is
        /// constant it is 1 for predictions without error and 0 for others.
        r2: f64,
    },
    /// Of classes.
    Classification {
        /// Mean of `-ln` of the true class's probability.
        log_loss: f64,
        /// Share of rows whose likeliest class is the true one.
        accuracy: f64,
        /// Rows by true class (first index) and predicted class (second).
        confusion: Vec<Vec<u64>>,
    },
}

/// Measures a model on rows with targets.
///
/// # Errors
/// [`Shape`](crate::ErrorKind::Shape) if the rows have another number of features.
pub fn measure<T: Scalar>(model: &Linear<T>, data: &Dataset<T>, task: Task) -> Result<Metrics> {
    measure_source(model, &mut InMemory::new(data), task)
}

/// [`measure`] for rows that come in blocks.
///
/// # Errors
/// As [`measure`], and what reading the rows meets.
pub fn measure_source<T: Scalar>(model: &Linear<T>, source: &mut dyn RowSource<T>, task: Task) -> Result<Metrics> {
    if source.feature_names().len() != model.inputs() {
        let rows = source.rows();
        return Err(Error::shape("features", &[rows, model.inputs()], &[rows, source.feature_names().len()]));
    }
    let mut tally = Tally::new(task, model.outputs());
    source.each_block(&mut |data, rows| {
        let starts: Vec<usize> = (0..rows.len()).step_by(CHUNK).collect();
        let chunk = |&start: &usize| Tally::of(model, data, rows.part(start, start + CHUNK), task);
        // In the order of the rows, whoever counted them.
        let tallies: Vec<Tally> = starts.par_iter().map(chunk).collect();
        tallies.iter().for_each(|chunk| tally.add(chunk));
        Ok(())
    })?;
    Ok(tally.metrics(task))
}

/// Rows that one thread counts together.
const CHUNK: usize = 4096;

/// What is counted of some rows.
struct Tally {
    weight: f64,
    /// Of regression: sums of squared and of absolute errors.
    squared: f64,
    absolute: f64,
    /// The mean of the targets, and the sum of their squared deviations from it.
    mean: f64,
    deviation: f64,
    /// Of classes.
    log_loss: f64,
    correct: f64,
    confusion: Vec<Vec<u64>>,
}

impl Tally {
    fn new(task: Task, outputs: usize) -> Self {
        let classes = match task {
            Task::Regression => 0,
            Task::Binary => 2,
            Task::Multiclass => outputs,
        };
        Tally {
            weight: 0.0,
            squared: 0.0,
            absolute: 0.0,
            mean: 0.0,
            deviation: 0.0,
            log_loss: 0.0,
            correct: 0.0,
            confusion: vec![vec![0; classes]; classes],
        }
    }

    fn of<T: Scalar>(model: &Linear<T>, data: &Dataset<T>, rows: RowIndex<'_>, task: Task) -> Self {
        let mut tally = Tally::new(task, model.outputs());
        let outputs = model.outputs();
        let mut logits = vec![T::zero(); rows.len() * outputs];
        let features = data.features();
        let matrix = features.to_slice().expect("kept in standard layout");
        model.forward_rows(&Rows::new(matrix, features.ncols(), rows), &mut logits);
        let targets = data.targets();
        for (row, logits) in rows.iter().zip(logits.chunks_exact(outputs)) {
            let weight = data.weight(row).as_f64();
            match targets.row(row) {
                Target::Values(values) if task == Task::Regression => {
                    tally.number(logits[0].as_f64(), values[0].as_f64(), weight);
                }
                Target::Values(values) => tally.class(task, logits, usize::from(values[0] > T::from_f64(0.5)), weight),
                Target::Class(class) => tally.class(task, logits, class, weight),
            }
        }
        tally
    }

    fn number(&mut self, predicted: f64, target: f64, weight: f64) {
        let error = predicted - target;
        self.squared += weight * error * error;
        self.absolute += weight * error.abs();
        self.deviate(target, weight, 0.0);
    }

    fn class<T: Scalar>(&mut self, task: Task, logits: &[T], truth: usize, weight: f64) {
        // From the logits: the logarithm of a probability that underflowed to 0 would be infinite.
        let (predicted, nll) = match task {
            Task::Binary => {
                let towards = if truth == 1 { -logits[0] } else { logits[0] };
                (usize::from(logits[0] > T::zero()), kernels::softplus(towards))
            }
            _ => (index_of_largest(logits), kernels::log_sum_exp(logits) - logits[truth]),
        };
        self.confusion[truth][predicted] += 1;
        self.correct += if truth == predicted { weight } else { 0.0 };
        self.log_loss += weight * nll.as_f64();
        self.weight += weight;
    }

    /// Adds targets of a mean, a weight, and a sum of squared deviations (Chan, Golub and LeVeque 1979). Equal targets
    /// have no deviation, to the last bit.
    fn deviate(&mut self, mean: f64, weight: f64, deviation: f64) {
        if weight == 0.0 {
            return;
        }
        let total = self.weight + weight;
        let apart = mean - self.mean;
        self.deviation += deviation + apart * apart * (self.weight * weight / total);
        self.mean += apart * (weight / total);
        self.weight = total;
    }

    fn add(&mut self, other: &Tally) {
        self.squared += other.squared;
        self.absolute += other.absolute;
        self.log_loss += other.log_loss;
        self.correct += other.correct;
        self.deviate(other.mean, other.weight, other.deviation);
        for (row, other) in self.confusion.iter_mut().zip(&other.confusion) {
            for (count, other) in row.iter_mut().zip(other) {
                *count += other;
            }
        }
    }

    fn metrics(self, task: Task) -> Metrics {
        let total = self.weight;
        if task != Task::Regression {
            let (log_loss, accuracy) = (self.log_loss / total, self.correct / total);
            return Metrics::Classification { log_loss, accuracy, confusion: self.confusion };
        }
        let mse = self.squared / total;
        let r2 = match (self.deviation == 0.0, mse == 0.0) {
            (true, true) => 1.0,
            (true, false) => 0.0,
            _ => 1.0 - self.squared / self.deviation,
        };
        Metrics::Regression { mse, rmse: mse.sqrt(), mae: self.absolute / total, r2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn regression(targets: [f64; 3], slope: f64) -> Metrics {
        let values = ndarray::Array2::from_shape_vec((3, 1), targets.to_vec()).unwrap();
        let data = Dataset::with_values(array![[1.0], [2.0], [3.0]], values).unwrap();
        let model = Linear::from_parts(array![[slope]], None).unwrap();
        measure(&model, &data, Task::Regression).unwrap()
    }

    #[test]
    fn regression_figures_by_hand() {
        let Metrics::Regression { mse, rmse, mae, r2 } = regression([1.0, 2.0, 6.0], 1.0) else { panic!() };
        assert_eq!((mse, rmse, mae), (3.0, 3f64.sqrt(), 1.0));
        assert!((r2 - (1.0 - 9.0 / 14.0)).abs() < 1e-15);
    }

    #[test]
    fn a_constant_target_has_r2_of_0_or_1() {
        let r2 = |metrics| if let Metrics::Regression { r2, .. } = metrics { r2 } else { f64::NAN };
        assert_eq!(r2(regression([0.1; 3], 1.0)), 0.0);
        assert_eq!(r2(regression([0.0; 3], 0.0)), 1.0);
    }

    #[test]
    fn classification_figures_by_hand() {
        let data = Dataset::with_values(array![[2.0], [-1.0], [1.0]], array![[1.0], [0.0], [0.0]]).unwrap();
        let data = data.weighted(vec![1.0, 1.0, 2.0]).unwrap();
        let model = Linear::from_parts(array![[1.0]], None).unwrap();
        let Metrics::Classification { log_loss, accuracy, confusion } = measure(&model, &data, Task::Binary).unwrap()
        else {
            panic!()
        };
        let expected: f64 = ((-2f64).exp().ln_1p() + (-1f64).exp().ln_1p() + 2.0 * 1f64.exp().ln_1p()) / 4.0;
        assert!((log_loss - expected).abs() < 1e-15);
        assert_eq!((accuracy, confusion), (0.5, vec![vec![1, 1], vec![0, 1]]));
    }

    #[test]
    fn a_hopeless_row_costs_much_but_not_infinitely() {
        let data = Dataset::with_classes(array![[1e6]], vec![1]).unwrap();
        let model = Linear::from_parts(array![[1.0], [-1.0]], None).unwrap();
        let Metrics::Classification { log_loss, .. } = measure(&model, &data, Task::Multiclass).unwrap() else {
            panic!()
        };
        assert_eq!(log_loss, 2e6);
    }
}
