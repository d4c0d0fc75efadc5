//! The least-squares solution, and how well the data determine it.

use ndarray::{Array2, Axis};

use super::krylov::{Krylov, Matrix};
use crate::data::Dataset;
use crate::kernels;
use crate::loss::{Target, TargetKind};
use crate::scalar::Scalar;

/// The multiplications a solution may take.
const WORK: f64 = 4e9;

/// The most open directions that are told apart from what the data determine.
const MOST_OPEN: usize = 200;

/// The parameters of least mean squared error, with their covariance.
pub struct LeastSquares {
    /// The mean squared error, which no linear model of these features goes below.
    pub mse: f64,
    /// The weights, `[features]`, and the bias after them if there is one. Where the data leave directions open, others
    /// are as good, and these are the shortest.
    pub parameters: Vec<f64>,
    /// Whether the data determine each parameter. If not, they may still determine some, and sums of them.
    pub determined: bool,
    /// The variance of a row of weight 1 about the solution, over its rows: `mse / (rows - rank)`; `None` if there are
    /// no more rows than that.
    variance: Option<f64>,
    /// Orthonormal directions that change no prediction; `None` if they are too many to be told apart.
    open: Option<Vec<Vec<f64>>>,
    /// The columns of `krylov`: those that are left when each open direction takes one away.
    kept: Vec<usize>,
    krylov: Krylov,
}

impl LeastSquares {
    /// The standard error of `sum a_i parameter_i`: of parameter i for the i-th unit vector. `None` where the data
    /// leave it open: a sum that some open direction changes.
    ///
    /// The root of `s^2 a' (X'WX)^- a`, `s^2 = sum w r^2 / (rows - rank)`, weights of mean 1; for a sum that is
    /// determined, any generalised inverse gives the same (Rao 1973, section 4a).
    pub fn standard_error(&self, a: &[f64]) -> Option<f64> {
        let variance = self.variance.filter(|_| self.is_determined(a))?;
        let kept: Vec<f64> = self.kept.iter().map(|&column| a[column]).collect();
        Some((variance * self.krylov.whiten(&kept).iter().map(|z| z * z).sum::<f64>()).sqrt())
    }

    /// Whether the data determine `sum a_i parameter_i`.
    pub fn is_determined(&self, a: &[f64]) -> bool {
        /// A share of a sum's length that is rounding.
        const NOTHING: f64 = 1e-7;
        let length = kernels::sum_of_squares(a).sqrt();
        let Some(open) = &self.open else { return false };
        open.iter().all(|direction| kernels::dot(direction, a).abs() <= NOTHING * length)
    }
}

/// Solves the least-squares problem of data with one value a row; `bias` says whether the model has one. `None` for
/// classes, several values a row, or data for which it would take longer than training.
pub fn least_squares<T: Scalar>(data: &Dataset<T>, bias: bool) -> Option<LeastSquares> {
    let targets = data.targets();
    if targets.kind() != TargetKind::Values || targets.row(0).values().len() != 1 {
        return None;
    }
    let width = data.features().ncols();
    let columns = width + usize::from(bias);
    if data.rows() as f64 * (columns * columns) as f64 > WORK {
        return None;
    }
    let weights: Vec<f64> = (0..data.rows()).map(|row| data.weight(row).as_f64()).collect();
    let value = |row| match targets.row(row) {
        Target::Values(values) => values[0].as_f64(),
        Target::Class(_) => unreachable!("the kind was looked at"),
    };
    let matrix = Matrix::new(data, &weights, bias, f64::INFINITY);
    let mut krylov = Krylov::of(&matrix, matrix.scaled(value), columns);
    let rank = krylov.rank();
    let mut kept: Vec<usize> = (0..columns).collect();
    let mut open = Some(Vec::new());
    let mut parameters = krylov.solution();
    if rank < columns {
        open = (columns - rank <= MOST_OPEN).then(|| krylov.flat_directions());
        if let Some(open) = &open {
            kept = without_one_for_each(open, columns, width);
            let features: Vec<usize> = kept.iter().copied().filter(|column| *column < width).collect();
            let features = data.features().select(Axis(1), &features).mapv(|x| x.as_f64());
            let reduced = Dataset::with_values(features, Array2::zeros((data.rows(), 1))).ok()?;
            let matrix = Matrix::new(&reduced, &weights, bias, f64::INFINITY);
            krylov = Krylov::of(&matrix, matrix.scaled(value), kept.len());
            parameters = shortest(&krylov.solution(), &kept, open, columns);
        }
    }
    let free = weights.iter().filter(|w| **w > 0.0).count().saturating_sub(rank);
    Some(LeastSquares {
        mse: krylov.left,
        parameters,
        determined: rank == columns,
        variance: (free > 0).then(|| krylov.left / free as f64),
        open,
        kept,
        krylov,
    })
}

/// The columns that are left when each direction takes one away, that of its largest entry, and the others are cleared
/// of it: those that are left determine each other. The bias, behind the first `width` columns, stays: no direction is
/// of the bias alone.
fn without_one_for_each(directions: &[Vec<f64>], columns: usize, width: usize) -> Vec<usize> {
    let mut rest = directions.to_vec();
    let mut taken = vec![false; columns];
    while !rest.is_empty() {
        let (mut direction, mut column, mut largest) = (0, 0, 0.0);
        for (d, vector) in rest.iter().enumerate() {
            for (c, entry) in vector[..width].iter().enumerate() {
                if entry.abs() > largest {
                    (direction, column, largest) = (d, c, entry.abs());
                }
            }
        }
        let pivot = rest.swap_remove(direction);
        taken[column] = true;
        for other in &mut rest {
            let factor = other[column] / pivot[column];
            kernels::add_scaled(other, -factor, &pivot);
            other[column] = 0.0;
        }
    }
    (0..columns).filter(|column| !taken[*column]).collect()
}

/// The shortest of the solutions, from the one that has 0 in the columns that were not kept.
fn shortest(solution: &[f64], kept: &[usize], open: &[Vec<f64>], columns: usize) -> Vec<f64> {
    let mut parameters = vec![0.0; columns];
    kept.iter().zip(solution).for_each(|(column, value)| parameters[*column] = *value);
    for direction in open {
        let along = kernels::dot(direction, &parameters);
        kernels::add_scaled(&mut parameters, -along, direction);
    }
    parameters
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
        // What every solution agrees on is that of the line: w1 + 2 w2 and the bias. w = 1.4 (1, 2) / 5 is shortest.
        for (a, line) in [([1.0, 2.0, 0.0], [1.0, 0.0]), ([0.0, 0.0, 1.0], [0.0, 1.0])] {
            let alone = array![[0.0], [1.0], [2.0], [3.0]];
            let alone = Dataset::with_values(alone, array![[1.0], [3.0], [2.0], [6.0]]).unwrap();
            let expected = least_squares(&alone, true).unwrap().standard_error(&line).unwrap();
            assert!((solved.standard_error(&a).unwrap() / expected - 1.0).abs() < 1e-12, "{a:?}");
        }
        assert!((solved.parameters[0] - 0.28).abs() < 1e-12 && (solved.parameters[1] - 0.56).abs() < 1e-12);
    }

    #[test]
    fn of_one_hot_columns_differences_are_determined_and_single_values_are_not() {
        // Three groups of means 2, 5, 11: differences are those of the means, of errors s sqrt(1/2 + 1/2).
        let x = array![
            [1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0]
        ];
        let y = array![[1.0], [3.0], [3.0], [7.0], [10.0], [12.0]];
        let s = ((2.0 + 8.0 + 2.0) / 3.0_f64).sqrt();
        let solved = least_squares(&Dataset::with_values(x, y).unwrap(), true).unwrap();
        let p = &solved.parameters;
        assert!((p[1] - p[0] - 3.0).abs() < 1e-12 && (p[2] - p[0] - 9.0).abs() < 1e-12, "{p:?}");
        assert!((p[0] + p[1] + p[2] - p[3]).abs() < 1e-12, "the shortest: at right angles to (1, 1, 1, -1)");
        let error = |a: [f64; 4]| solved.standard_error(&a);
        assert!((error([-1.0, 1.0, 0.0, 0.0]).unwrap() - s).abs() < 1e-12);
        assert!((error([1.0, 0.0, 0.0, 1.0]).unwrap() - s * 0.5_f64.sqrt()).abs() < 1e-12, "the mean of a group");
        assert_eq!((error([0.0, 1.0, 0.0, 0.0]), error([0.0, 0.0, 0.0, 1.0])), (None, None));
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
