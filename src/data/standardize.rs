//! Standardising: every feature to mean 0 and standard deviation 1, and back into a model's weights.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2};
use rayon::prelude::*;

use super::dataset::Dataset;
use super::moments::{Moments, block_rows};
use super::rows::{Order, Pass, RowSource};
use crate::error::{Error, Result};
use crate::kernels;
use crate::model::Linear;
use crate::scalar::Scalar;

/// What is subtracted from each feature, and what the rest is multiplied by.
///
/// A constant feature is multiplied by 0: it carries nothing that the bias does not, and its coefficient stays 0.
#[derive(Debug, Clone)]
pub struct Standardizer {
    shift: Vec<f64>,
    factor: Vec<f64>,
}

impl Standardizer {
    /// The mean and population standard deviation of each feature, for a model with a bias.
    pub fn fit<T: Scalar>(data: &Dataset<T>) -> Self {
        Standardizer::measure(data, true)
    }

    /// For a model without a bias features are not shifted, which only a bias could undo, but divided by their root
    /// mean square.
    pub fn fit_without_shift<T: Scalar>(data: &Dataset<T>) -> Self {
        Standardizer::measure(data, false)
    }

    fn measure<T: Scalar>(data: &Dataset<T>, centred: bool) -> Self {
        let width = data.features().ncols();
        let moments = moments_of_blocks(data.all_features(), width).into_iter().reduce(Moments::with);
        Standardizer::of_moments(moments, centred, T::epsilon().as_f64())
    }

    /// As [`fit`](Standardizer::fit) for rows that are not all in memory, and with the same result to the bit.
    ///
    /// # Errors
    /// Those of the rows.
    pub fn fit_rows<T: Scalar>(rows: &mut dyn RowSource<T>) -> Result<Self> {
        Standardizer::measure_rows(rows, true)
    }

    /// As [`fit_without_shift`](Standardizer::fit_without_shift) for rows that are not all in memory.
    ///
    /// # Errors
    /// Those of the rows.
    pub fn fit_rows_without_shift<T: Scalar>(rows: &mut dyn RowSource<T>) -> Result<Self> {
        Standardizer::measure_rows(rows, false)
    }

    fn measure_rows<T: Scalar>(rows: &mut dyn RowSource<T>, centred: bool) -> Result<Self> {
        let width = rows.feature_names().len();
        let mut moments: Option<Moments> = None;
        let pass = Pass { order: Order::File, multiple: block_rows(width) };
        rows.visit(pass, &mut |data, _| {
            let blocks = moments_of_blocks(data.all_features(), width);
            moments = moments.take().into_iter().chain(blocks).reduce(Moments::with);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Standardizer::of_moments(moments, centred, T::epsilon().as_f64()))
    }

    /// From what is known of the features, if there are any; see [`Moments::factors`].
    fn of_moments(moments: Option<Moments>, centred: bool, epsilon: f64) -> Self {
        let Some(moments) = moments else { return Standardizer { shift: Vec::new(), factor: Vec::new() } };
        let factor = moments.factors(centred, epsilon);
        let shift = if centred { moments.means() } else { vec![0.0; factor.len()] };
        Standardizer { shift, factor }
    }

    /// The indices of the features that are constant.
    pub fn constant_features(&self) -> impl Iterator<Item = usize> + '_ {
        self.factor.iter().enumerate().filter(|(_, factor)| **factor == 0.0).map(|(c, _)| c)
    }

    /// Standardises the features in place.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if there is another number of features.
    pub fn apply<T: Scalar>(&self, data: &mut Dataset<T>) -> Result<()> {
        if data.features().ncols() != self.factor.len() {
            let found = data.features().dim();
            return Err(Error::shape("features", &[found.0, self.factor.len()], &[found.0, found.1]));
        }
        let size = block_rows(self.factor.len()) * self.factor.len();
        let all = data.all_features_mut();
        if all.len() <= size {
            self.apply_to(all);
        } else {
            all.par_chunks_mut(size).for_each(|block| self.apply_to(block));
        }
        Ok(())
    }

    /// Standardises whole rows of features in place.
    pub(crate) fn apply_to<T: Scalar>(&self, rows: &mut [T]) {
        kernels::standardize_columns(rows, &self.shift, &self.factor);
    }

    /// The model that gives on the data's own units what `model` gives on standardised ones.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the model has another number of inputs.
    pub fn fold<T: Scalar>(&self, model: &Linear<T>) -> Result<Linear<T>> {
        let weight = model.weight();
        let (outputs, inputs) = weight.dim();
        if inputs != self.factor.len() {
            return Err(Error::shape("weight", &[outputs, self.factor.len()], &[outputs, inputs]));
        }
        let folded = Array2::from_shape_fn((outputs, inputs), |(k, c)| weight[[k, c]].as_f64() * self.factor[c]);
        let bias = model.bias().map(|bias| {
            Array1::from_shape_fn(outputs, |k| {
                let shifted: f64 = (0..inputs).map(|c| folded[[k, c]] * self.shift[c]).sum();
                T::from_f64(bias[k].as_f64() - shifted)
            })
        });
        Linear::from_parts(folded.mapv(T::from_f64), bias)
    }
}

/// The moments of each block of rows. The blocks do not depend on the threads, and if they are put together in their
/// order the bits do not either.
fn moments_of_blocks<T: Scalar>(features: &[T], width: usize) -> Vec<Moments> {
    let size = block_rows(width) * width;
    if features.is_empty() {
        Vec::new()
    } else if features.len() <= size {
        vec![Moments::of(features, width)]
    } else {
        features.par_chunks(size).map(|block| Moments::of(block, width)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use ndarray::array;
    use proptest::prelude::*;

    fn data(features: Array2<f64>) -> Dataset<f64> {
        let targets = Array2::zeros((features.nrows(), 1));
        Dataset::with_values(features, targets).unwrap()
    }

    #[test]
    fn features_get_mean_0_and_deviation_1_and_constants_become_0() {
        let mut data = data(array![[1.0, 7.0, 1e200], [3.0, 7.0, -1e200]]);
        let standardizer = Standardizer::fit(&data);
        standardizer.apply(&mut data).unwrap();
        assert_eq!(data.features(), array![[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]]);
        assert_eq!(standardizer.constant_features().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_constant_that_rounds_is_still_constant() {
        let mut data = data(Array2::from_elem((7, 1), 0.1));
        Standardizer::fit(&data).apply(&mut data).unwrap();
        assert!(data.features().iter().all(|x| *x == 0.0));
    }

    #[test]
    fn without_a_bias_zero_stays_zero() {
        let mut data = data(array![[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]]);
        let standardizer = Standardizer::fit_without_shift(&data);
        standardizer.apply(&mut data).unwrap();
        assert_eq!(data.row(0), [0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn folding_the_scale_into_the_weights_changes_no_prediction_beyond_rounding(
            rows in prop::collection::vec(prop::collection::vec(-1.0..1.0f64, 3), 2..20),
            scales in prop::collection::vec(-6..6i32, 3), offsets in prop::collection::vec(-100.0..100.0f64, 3),
            weights in prop::collection::vec(-3.0..3.0f64, 8), bias in any::<bool>(),
        ) {
            let raw = Array2::from_shape_fn((rows.len(), 3), |(i, c)| {
                (rows[i][c] + offsets[c]) * 10f64.powi(scales[c])
            });
            let weight = Array2::from_shape_vec((2, 3), weights[..6].to_vec()).unwrap();
            let model = Linear::from_parts(weight, bias.then(|| Array1::from_vec(weights[6..].to_vec()))).unwrap();
            let mut standardized = data(raw.clone());
            let standardizer =
                if bias { Standardizer::fit(&standardized) } else { Standardizer::fit_without_shift(&standardized) };
            standardizer.apply(&mut standardized).unwrap();
            let before = model.forward(standardized.features()).unwrap();
            let folded = standardizer.fold(&model).unwrap();
            let after = folded.forward(raw.view()).unwrap();
            for ((i, k), b) in before.indexed_iter() {
                // The shift cancels: what rounding can do is a few ulps of the terms, not of their sum.
                let terms: f64 = (0..3).map(|c| (folded.weight()[[k, c]] * raw[[i, c]]).abs()).sum();
                let scale = 1.0 + terms + folded.bias().map_or(0.0, |b| b[k].abs());
                prop_assert!((after[[i, k]] - b).abs() <= 1e-13 * scale, "{b} {}", after[[i, k]]);
            }
        }
    }
}
