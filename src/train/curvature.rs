//! How steeply the loss curves: what bounds the learning rate.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use ndarray::Array1;
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;

use crate::data::{Dataset, InMemory, RowSource};
use crate::error::Result;
use crate::kernels;
use crate::loss::{Loss, TargetKind};
use crate::scalar::Scalar;

/// Bounds on the curvature of a mean loss over the parameters of a linear model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curvature {
    /// The largest of the full batch: L, an upper bound of the Hessian's largest eigenvalue (for MSE, the eigenvalue). Of
    /// more rows than are sampled it is an estimate, a tenth above the sample's.
    pub full_batch: f64,
    /// The largest of a single row: max L_i.
    pub largest_row: f64,
    /// Rows.
    pub rows: usize,
}

impl Curvature {
    /// The expected smoothness of a mini-batch of `batch` of the n rows drawn without replacement,
    /// `n(b-1)/(b(n-1)) L + (n-b)/(b(n-1)) max L_i` (Gower et al. 2019): SGD is stable with steps below its inverse.
    pub fn of_batch(&self, batch: usize) -> f64 {
        let (n, b) = (self.rows as f64, batch.clamp(1, self.rows) as f64);
        if self.rows == 1 {
            return self.full_batch;
        }
        (n * (b - 1.0) * self.full_batch + (n - b) * self.largest_row) / (b * (n - 1.0))
    }
}

/// Rows that the power iteration goes over; of more, every k-th.
const SAMPLE: usize = 16_384;

/// The most numbers of those rows.
const SAMPLE_NUMBERS: usize = 1 << 20;

/// Measures the curvature by power iteration on `sum f_i [x_i 1][x_i 1]'`, never forming the matrix: a few passes over
/// at most 16384 rows, and one over all of them. `bias` says whether the model has one. `None` if the loss states no
/// curvature.
pub fn curvature<T, L>(data: &Dataset<T>, loss: &L, outputs: usize, bias: bool) -> Option<Curvature>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    curvature_of(&mut InMemory::new(data), loss, outputs, bias).expect("reading memory does not fail")
}

/// [`curvature`] of rows that come in blocks.
///
/// # Errors
/// What reading the rows meets.
pub fn curvature_of<T, L>(
    source: &mut dyn RowSource<T>,
    loss: &L,
    outputs: usize,
    bias: bool,
) -> Result<Option<Curvature>>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    let Some(per_weight) = loss.curvature() else { return Ok(None) };
    let one = if bias { 1.0 } else { 0.0 };
    // In a mean over elements, a row's weight counts its outputs, and each output has its own block of the Hessian.
    let blocks = match loss.target_kind() {
        TargetKind::Values => outputs as f64,
        TargetKind::Classes => 1.0,
    };
    let rows = source.rows();
    let width = source.feature_names().len();
    let sampled_rows = SAMPLE.min(SAMPLE_NUMBERS / width.max(1)).max(1);
    let stride = rows.div_ceil(sampled_rows);
    let features = Vec::with_capacity(rows.div_ceil(stride) * width);
    let mut sample = Sample { features, weights: Vec::new(), width };
    let (mut largest_row, mut total, mut seen) = (0.0_f64, 0.0, 0);
    source.each_block(&mut |data, block| {
        let weights = row_weights(data, loss, outputs);
        for row in block.iter() {
            let weight = weights[row];
            let x = data.row(row);
            largest_row = largest_row.max(weight * (kernels::sum_of_squares(x).as_f64() + one));
            total += weight;
            if seen % stride == 0 {
                sample.features.extend_from_slice(x);
                sample.weights.push(weight);
            }
            seen += 1;
        }
        Ok(())
    })?;
    let to_row = per_weight / blocks * rows as f64 / total;
    let sampled_weight: f64 = sample.weights.iter().sum();
    let mut eigenvalue = power_iteration(&sample, one) / sampled_weight;
    if stride > 1 {
        eigenvalue *= SAMPLE_MARGIN;
    }
    Ok(Some(Curvature { full_batch: per_weight / blocks * eigenvalue, largest_row: to_row * largest_row, rows }))
}

/// Rows that stand for all.
struct Sample<T> {
    /// `[rows, width]`.
    features: Vec<T>,
    weights: Vec<f64>,
    width: usize,
}

/// A bound of the curvature from above, by the lengths of the rows alone: the trace in place of the largest eigenvalue.
pub(super) fn row_bound<T, L>(
    source: &mut dyn RowSource<T>,
    loss: &L,
    outputs: usize,
    bias: bool,
) -> Result<Option<Curvature>>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    let Some(per_weight) = loss.curvature() else { return Ok(None) };
    let one = if bias { 1.0 } else { 0.0 };
    let (mut sum, mut largest, mut total) = (0.0, 0.0_f64, 0.0);
    source.each_block(&mut |data, block| {
        for row in block.iter() {
            let weight = data.weight(row).as_f64();
            let square = weight * (kernels::sum_of_squares(data.row(row)).as_f64() + one);
            sum += square;
            largest = largest.max(square);
            total += weight;
        }
        Ok(())
    })?;
    let rows = source.rows();
    // Class weights, which shift weight between rows, are left out: it is a bound to within their ratio.
    let share = match loss.target_kind() {
        TargetKind::Values => per_weight / outputs as f64,
        TargetKind::Classes => per_weight,
    };
    let largest_row = share * largest * rows as f64 / total;
    Ok(Some(Curvature { full_batch: share * sum / total, largest_row, rows }))
}

/// What an eigenvalue measured on a sample of rows is raised by.
const SAMPLE_MARGIN: f64 = 1.1;

/// What each row counts for in the mean, sample weights included.
pub(crate) fn row_weights<T: Scalar, L: Loss<T> + ?Sized>(data: &Dataset<T>, loss: &L, outputs: usize) -> Vec<f64> {
    let targets = data.targets();
    let logits = vec![T::zero(); outputs];
    let mut gradient = logits.clone();
    (0..data.rows()).map(|row| loss.weighted_row(&logits, &targets, row, &mut gradient).weight.as_f64()).collect()
}

/// The largest eigenvalue of `sum w_i [x_i one][x_i one]'`.
///
/// From a random start the estimate rises to it from below; it ends when it has stood still for some turns, and what
/// may be left is added.
fn power_iteration<T: Scalar>(sample: &Sample<T>, one: f64) -> f64 {
    const TURNS: usize = 100;
    const STANDS_STILL: f64 = 1e-4;
    const STILL_TURNS: usize = 5;
    const MARGIN: f64 = 1.0 + 2e-4;
    let width = sample.width;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let start: Array1<f64> = Array1::random_using(width + 1, StandardNormal, &mut rng);
    let mut vector: Vec<T> = start.iter().map(|&v| T::from_f64(v)).collect();
    let mut product = vec![T::zero(); width + 1];
    let (mut eigenvalue, mut still) = (0.0, 0);
    for _ in 0..TURNS {
        let length = kernels::sum_of_squares(&vector).sqrt();
        if length.is_zero() || !length.is_finite() {
            break;
        }
        kernels::divide(&mut vector, length);
        product.fill(T::zero());
        for (row, &weight) in sample.weights.iter().enumerate() {
            let x = &sample.features[row * width..(row + 1) * width];
            let along = kernels::dot(x, &vector[..width]).as_f64() + one * vector[width].as_f64();
            let scaled = T::from_f64(weight * along);
            kernels::add_scaled(&mut product[..width], scaled, x);
            product[width] += scaled * T::from_f64(one);
        }
        let before = eigenvalue;
        eigenvalue = kernels::dot(&vector, &product).as_f64();
        std::mem::swap(&mut vector, &mut product);
        if (eigenvalue - before).abs() <= STANDS_STILL * eigenvalue {
            still += 1;
        } else {
            still = 0;
        }
        if still == STILL_TURNS {
            break;
        }
    }
    eigenvalue * MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{CrossEntropy, Mse};
    use ndarray::{Array2, array};

    #[test]
    fn the_curvature_of_the_lesson_line_is_its_largest_eigenvalue() {
        // 68.50696883269647: NumPy's eigenvalue of 2/n [x 1]'[x 1] for x evenly from 0 to 10, 100 points.
        let x = Array2::from_shape_fn((100, 1), |(i, _)| 10.0 * i as f64 / 99.0);
        let data = Dataset::with_values(x, Array2::zeros((100, 1))).unwrap();
        let curvature = curvature(&data, &Mse, 1, true).unwrap();
        assert!((curvature.full_batch / 68.50696883269647 - 1.0).abs() < 1e-3, "{curvature:?}");
        assert!((curvature.largest_row - 2.0 * 101.0).abs() < 1e-9);
    }

    #[test]
    fn expected_smoothness_goes_from_one_row_to_the_full_batch() {
        let curvature = Curvature { full_batch: 2.0, largest_row: 10.0, rows: 100 };
        assert_eq!(curvature.of_batch(1), 10.0);
        assert!((curvature.of_batch(100) - 2.0).abs() < 1e-12);
        assert!(curvature.of_batch(8) > curvature.of_batch(9));
    }

    #[test]
    fn weights_and_outputs_count_as_in_the_mean() {
        let x = array![[1.0], [2.0], [2.0]];
        let plain = Dataset::with_classes(x, vec![0, 1, 1]).unwrap();
        let weighted =
            Dataset::with_classes(array![[1.0], [2.0]], vec![0, 1]).unwrap().weighted(vec![1.0, 2.0]).unwrap();
        let loss = CrossEntropy::new();
        let (a, b) = (curvature(&plain, &loss, 2, true).unwrap(), curvature(&weighted, &loss, 2, true).unwrap());
        assert!((a.full_batch - b.full_batch).abs() < 1e-3 * a.full_batch, "{a:?} {b:?}");

        let one = Dataset::with_values(array![[2.0]], array![[0.0]]).unwrap();
        let two = Dataset::with_values(array![[2.0]], array![[0.0, 0.0]]).unwrap();
        let of = |data: &Dataset<f64>, outputs| curvature(data, &Mse, outputs, false).unwrap().full_batch;
        assert!((of(&one, 1) - 2.0 * of(&two, 2)).abs() < 1e-12);
    }
}
