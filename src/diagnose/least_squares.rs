//! The least-squares solution, and how well the data determine it.

use super::krylov::{Krylov, Matrix};
use crate::data::Dataset;
use crate::loss::{Target, TargetKind};
use crate::scalar::Scalar;

/// The multiplications a solution may take.
const WORK: f64 = 4e9;

/// The parameters of least mean squared error, with their covariance.
pub struct LeastSquares {
    /// The mean squared error, which no linear model of these features goes below.
    pub mse: f64,
    /// The weights, `[features]`, and the bias after them if there is one.
    pub parameters: Vec<f64>,
    /// Whether the data determine the parameters. If not, other parameters are as good, and these are one choice.
    pub determined: bool,
    /// The variance of a row of weight 1 about the solution, over its rows: `mse / (rows - parameters)`; `None` if
    /// there are no more rows than parameters.
    variance: Option<f64>,
    krylov: Krylov,
}

impl LeastSquares {
    /// The standard error of `sum a_i parameter_i`: of parameter i for the i-th unit vector. `None` where the data
    /// leave it open.
    ///
    /// The root of `s^2 a' (X'WX)^-1 a`, `s^2 = sum w r^2 / (rows - parameters)`, weights of mean 1.
    pub fn standard_error(&self, a: &[f64]) -> Option<f64> {
        let variance = self.variance.filter(|_| self.determined)?;
        Some((variance * self.krylov.whiten(a).iter().map(|z| z * z).sum::<f64>()).sqrt())
    }
}

/// Solves the least-squares problem of data with one value a row; `bias` says whether the model has one. `None` for
/// classes, several values a row, or data for which it would take longer than training.
pub fn least_squares<T: Scalar>(data: &Dataset<T>, bias: bool) -> Option<LeastSquares> {
    let targets = data.targets();
    if targets.kind() != TargetKind::Values || targets.row(0).values().len() != 1 {
        return None;
    }
    let columns = data.features().ncols() + usize::from(bias);
    if data.rows() as f64 * (columns * columns) as f64 > WORK {
        return None;
    }
    let weights: Vec<f64> = (0..data.rows()).map(|row| data.weight(row).as_f64()).collect();
    let matrix = Matrix::new(data, &weights, bias, f64::INFINITY);
    let value = |row| match targets.row(row) {
        Target::Values(values) => values[0].as_f64(),
        Target::Class(_) => unreachable!("the kind was looked at"),
    };
    let krylov = Krylov::of(&matrix, matrix.scaled(value), columns);
    let free = weights.iter().filter(|w| **w > 0.0).count().saturating_sub(columns);
    Some(LeastSquares {
        mse: krylov.left,
        parameters: krylov.solution(),
        determined: krylov.rank() == columns,
        variance: (free > 0).then(|| krylov.left / free as f64),
        krylov,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_line_through_four_points_by_hand() {
        // x 0..3, y 1 3 2 6: slope 1.4, intercept 0.9, residuals 0.1 0.7 -1.7 0.9 -> sum of squares 4.2.
        let x = array![[0.0], [1.0], [2.0], [3.0]];
        let data = Dataset::with_values(x, array![[1.0], [3.0], [2.0], [6.0]]).unwrap();
        let solved = least_squares(&data, true).unwrap();
        assert!((solved.parameters[0] - 1.4).abs() < 1e-12 && (solved.parameters[1] - 0.9).abs() < 1e-12);
        assert!((solved.mse - 4.2 / 4.0).abs() < 1e-12, "{}", solved.mse);
        // s^2 = 4.2/2, Sxx = 5: errors sqrt(2.1/5) and sqrt(2.1 (1/4 + 1.5^2/5)).
        let error = |a: [f64; 2]| solved.standard_error(&a).unwrap();
        assert!((error([1.0, 0.0]) - (2.1f64 / 5.0).sqrt()).abs() < 1e-12);
        assert!((error([0.0, 1.0]) - (2.1f64 * (0.25 + 2.25 / 5.0)).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn features_that_make_each_other_up_leave_the_parameters_open() {
        let x = array![[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [3.0, 6.0]];
        let data = Dataset::with_values(x, array![[1.0], [3.0], [2.0], [6.0]]).unwrap();
        let solved = least_squares(&data, true).unwrap();
        assert!(!solved.determined && solved.standard_error(&[1.0, 0.0, 0.0]).is_none());
        assert!((solved.mse - 1.05).abs() < 1e-12);
    }

    #[test]
    fn a_row_of_weight_2_counts_as_two_rows() {
        let twice = array![[0.0], [1.0], [2.0], [2.0], [3.0]];
        let twice = Dataset::with_values(twice, array![[1.0], [3.0], [2.0], [2.0], [6.0]]).unwrap();
        let once = Dataset::with_values(array![[0.0], [1.0], [2.0], [3.0]], array![[1.0], [3.0], [2.0], [6.0]]);
        let once = once.unwrap().weighted(vec![1.0, 1.0, 2.0, 1.0]).unwrap();
        let (a, b) = (least_squares(&twice, true).unwrap(), least_squares(&once, true).unwrap());
        assert!(a.parameters.iter().zip(&b.parameters).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((a.mse - b.mse).abs() < 1e-12);
    }
}
