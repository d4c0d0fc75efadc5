//! How well a model does on rows with known targets.

use serde::Serialize;

use super::{class_probabilities, index_of_largest};
use crate::data::{Dataset, Task};
use crate::error::Result;
use crate::kernels;
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
    let logits = model.forward(data.features())?;
    let targets = data.targets();
    let rows = || {
        (0..data.rows()).map(|row| {
            let logits = logits.row(row).to_slice().expect("standard layout");
            (logits, targets.row(row), data.weight(row).as_f64())
        })
    };
    let total: f64 = rows().map(|(_, _, weight)| weight).sum();
    if task == Task::Regression {
        let pairs = || rows().map(|(logits, target, weight)| (logits[0].as_f64(), target.values()[0].as_f64(), weight));
        let mean = |value: &dyn Fn(f64, f64) -> f64| pairs().map(|(p, y, w)| w * value(p, y)).sum::<f64>() / total;
        let centre = mean(&|_, y| y);
        let mse = mean(&|p, y| (p - y) * (p - y));
        let variance = mean(&|_, y| (y - centre) * (y - centre));
        // The mean of equal numbers may differ from them by rounding.
        let constant = pairs().all(|(_, y, _)| pairs().next().is_some_and(|(_, first, _)| y == first));
        let r2 = match (constant, mse == 0.0) {
            (true, true) => 1.0,
            (true, false) => 0.0,
            _ => 1.0 - mse / variance,
        };
        return Ok(Metrics::Regression { mse, rmse: mse.sqrt(), mae: mean(&|p, y| (p - y).abs()), r2 });
    }
    let classes = if task == Task::Binary { 2 } else { model.outputs() };
    let mut confusion = vec![vec![0; classes]; classes];
    let mut probabilities = vec![T::zero(); classes];
    let (mut log_loss, mut correct) = (0.0, 0.0);
    for (logits, target, weight) in rows() {
        let truth = match target {
            Target::Class(class) => class,
            Target::Values(values) => usize::from(values[0] > T::from_f64(0.5)),
        };
        class_probabilities(task, logits, &mut probabilities);
        let predicted = index_of_largest(&probabilities);
        confusion[truth][predicted] += 1;
        correct += if truth == predicted { weight } else { 0.0 };
        // From the logits: the logarithm of a probability that underflowed to 0 would be infinite.
        let nll = match task {
            Task::Binary => kernels::softplus(if truth == 1 { -logits[0] } else { logits[0] }),
            _ => kernels::log_sum_exp(logits) - logits[truth],
        };
        log_loss += weight * nll.as_f64();
    }
    Ok(Metrics::Classification { log_loss: log_loss / total, accuracy: correct / total, confusion })
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
