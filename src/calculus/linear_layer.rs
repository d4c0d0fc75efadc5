//! The linear layer `y = W x + b` and its derivatives by the input, the weight and the bias.

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::kernels;
use crate::scalar::Scalar;

/// The linear layer `y = W x + b`, on a weight and a bias that it borrows.
///
/// `W` is `[outputs, inputs]`, as in `torch.nn.Linear`. For training use [`Linear`](crate::Linear), which holds
/// parameters; this is the function of the textbook, for one row.
///
/// ```
/// use gradus::calculus::LinearLayer;
/// use ndarray::array;
///
/// let weight = array![[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]];
/// let layer = LinearLayer::new(weight.view(), &[0.5, 0.0])?;
/// let x = [1.0, 1.0, 2.0];
/// assert_eq!(layer.value(&x)?, [9.5, 1.0]);
///
/// // The loss rises by 1 with y_0 and falls by 1 with y_1.
/// let gradients = layer.vjp(&x, &[1.0, -1.0])?;
/// assert_eq!(gradients.input, [1.0, 3.0, 2.0]);
/// assert_eq!(gradients.weight, array![[1.0, 1.0, 2.0], [-1.0, -1.0, -2.0]]);
/// assert_eq!(gradients.bias, [1.0, -1.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LinearLayer<'a, T> {
    weight: ArrayView2<'a, T>,
    bias: &'a [T],
}

/// The vector-Jacobian products of a [`LinearLayer`]: the gradient of `v . y` by all that `y` depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearVjp<T> {
    /// By the input, `[inputs]`: `W' v`.
    pub input: Vec<T>,
    /// By the weight, `[outputs, inputs]`: the outer product `v x'`.
    pub weight: Array2<T>,
    /// By the bias, `[outputs]`: `v`.
    pub bias: Vec<T>,
}

impl<'a, T: Scalar> LinearLayer<'a, T> {
    /// The layer of a weight `[outputs, inputs]` and a bias `[outputs]`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) when the bias is not as long as the weight has rows.
    pub fn new(weight: ArrayView2<'a, T>, bias: &'a [T]) -> Result<Self> {
        if bias.len() != weight.nrows() {
            return Err(Error::shape("bias", &[weight.nrows()], &[bias.len()]));
        }
        Ok(LinearLayer { weight, bias })
    }

    /// `W x + b`, `[outputs]`, for `x` of `[inputs]`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) when `x` is not as long as the weight has columns.
    pub fn value(&self, x: &[T]) -> Result<Vec<T>> {
        self.check_input(x)?;
        let weight = self.weight.as_standard_layout();
        let rows = weight.rows().into_iter().zip(self.bias);
        Ok(rows.map(|(row, &b)| kernels::dot(row.to_slice().expect("standard layout"), x) + b).collect())
    }

    /// The Jacobian by the input, `[outputs, inputs]`: `W`, whatever the input.
    pub fn jacobian_by_input(&self) -> Array2<T> {
        self.weight.to_owned()
    }

    /// The Jacobian by the weight at `x`, dense: `[outputs, outputs * inputs]`.
    ///
    /// The weight is read row by row, so column `k * inputs + j` belongs to `W_kj`; `dy_i/dW_kj` is `x_j` if
    /// `i = k`, else 0. Most of it is 0: [`vjp`](Self::vjp) multiplies by it without forming it.
    ///
    /// # Errors
    /// Those of [`value`](Self::value).
    pub fn jacobian_by_weight(&self, x: &[T]) -> Result<Array2<T>> {
        self.check_input(x)?;
        let (outputs, inputs) = self.weight.dim();
        let mut jacobian = Array2::zeros((outputs, outputs * inputs));
        for i in 0..outputs {
            for (j, &x) in x.iter().enumerate() {
                jacobian[[i, i * inputs + j]] = x;
            }
        }
        Ok(jacobian)
    }

    /// The Jacobian by the bias, `[outputs, outputs]`: the identity.
    pub fn jacobian_by_bias(&self) -> Array2<T> {
        Array2::eye(self.bias.len())
    }

    /// The gradient of `vector . y` by input, weight and bias: a backward pass. `x` is `[inputs]`, `vector`
    /// `[outputs]`, the gradient of a loss with respect to `y`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) when `x` is not as long as the weight has columns, or `vector` not as
    /// long as it has rows.
    pub fn vjp(&self, x: &[T], vector: &[T]) -> Result<LinearVjp<T>> {
        self.check_input(x)?;
        if vector.len() != self.bias.len() {
            return Err(Error::shape("vector", &[self.bias.len()], &[vector.len()]));
        }
        let weight = self.weight.as_standard_layout();
        let mut gradients = LinearVjp {
            input: vec![T::zero(); x.len()],
            weight: Array2::zeros(self.weight.dim()),
            bias: vector.to_vec(),
        };
        for ((row, mut gradient), &v) in weight.rows().into_iter().zip(gradients.weight.rows_mut()).zip(vector) {
            kernels::add_scaled(&mut gradients.input, v, row.to_slice().expect("standard layout"));
            kernels::add_scaled(gradient.as_slice_mut().expect("standard layout"), v, x);
        }
        Ok(gradients)
    }

    fn check_input(&self, x: &[T]) -> Result<()> {
        if x.len() == self.weight.ncols() { Ok(()) } else { Err(Error::shape("x", &[self.weight.ncols()], &[x.len()])) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calculus::{Method, jacobian};
    use ndarray::{Array1, array};
    use proptest::prelude::*;

    #[test]
    fn the_gradient_by_the_weight_is_that_of_torch() {
        // tests/data/reference/lesson.json, linear_layer_grad: PyTorch 2 in float32; b_grad is the gradient by y.
        let weight = array![
            [0.33669036626815796, 0.12880940735340118, 0.23446236550807953, 0.23033303022384644],
            [-1.1228563785552979, -0.18632829189300537, 2.2082014083862305, -0.637997031211853],
            [0.46165722608566284, 0.2673508822917938, 0.5349046587944031, 0.809357225894928],
        ]
        .mapv(|w: f64| w as f32);
        let bias = [1.110290288925171, -1.6897989511489868, -0.9889599084854126].map(|b: f64| b as f32);
        let x = [0.9579718112945557, 1.322135090827942, 0.8171897530555725, -0.765838623046875].map(|x: f64| x as f32);
        let by_y = [1.0788906812667847, -0.479128360748291, -0.250633180141449].map(|g: f64| g as f32);
        let expected = array![
            [1.033546805381775, 1.4264392852783203, 0.8816584348678589, -0.8262561559677124],
            [-0.45899146795272827, -0.6334724426269531, -0.3915387988090515, 0.36693501472473145],
            [-0.24009951949119568, -0.33137091994285583, -0.2048148661851883, 0.19194456934928894],
        ];
        let gradients = LinearLayer::new(weight.view(), &bias).unwrap().vjp(&x, &by_y).unwrap();
        for (found, expected) in gradients.weight.iter().zip(&expected) {
            let expected: f64 = *expected;
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} {expected}");
        }
        assert_eq!(gradients.bias, by_y);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_by_name() {
        let weight = Array2::<f64>::zeros((2, 3));
        assert!(LinearLayer::new(weight.view(), &[0.0; 3]).unwrap_err().to_string().starts_with("bias: the shape"));
        let layer = LinearLayer::new(weight.view(), &[0.0; 2]).unwrap();
        assert!(layer.value(&[0.0; 2]).unwrap_err().to_string().starts_with("x: the shape is [2], expected [3]"));
        assert!(layer.jacobian_by_weight(&[0.0; 2]).is_err());
        assert!(layer.vjp(&[0.0; 3], &[0.0; 3]).unwrap_err().to_string().starts_with("vector: the shape"));
    }

    #[test]
    fn a_transposed_weight_is_read_right() {
        let stored = array![[1.0, 0.0], [2.0, -1.0], [3.0, 1.0]];
        let copy = stored.t().as_standard_layout().to_owned();
        let [x, v] = [&[1.0, 1.0, 2.0][..], &[1.0, -1.0]];
        let (view, owned) =
            (LinearLayer::new(stored.t(), &[0.5, 0.0]).unwrap(), LinearLayer::new(copy.view(), &[0.5, 0.0]).unwrap());
        assert_eq!(view.value(x).unwrap(), owned.value(x).unwrap());
        assert_eq!(view.vjp(x, v).unwrap(), owned.vjp(x, v).unwrap());
    }

    proptest! {
        #[test]
        fn the_dense_jacobians_are_those_of_differences(
            w in prop::collection::vec(-3.0..3.0f64, 6), b in prop::collection::vec(-3.0..3.0f64, 2),
            x in prop::collection::vec(-3.0..3.0f64, 3)
        ) {
            let weight = Array2::from_shape_vec((2, 3), w.clone()).unwrap();
            let layer = LinearLayer::new(weight.view(), &b).unwrap();
            let by_x = jacobian(|x: &[f64]| layer.value(x).unwrap(), &x, Method::Richardson).unwrap();
            let by_weight = |w: &[f64]| {
                let weight = ArrayView2::from_shape((2, 3), w).unwrap();
                LinearLayer::new(weight, &b).unwrap().value(&x).unwrap()
            };
            let by_weight = jacobian(by_weight, &w, Method::Richardson).unwrap();
            let by_bias = |b: &[f64]| LinearLayer::new(weight.view(), b).unwrap().value(&x).unwrap();
            let by_bias = jacobian(by_bias, &b, Method::Richardson).unwrap();
            let pairs = [
                (layer.jacobian_by_input(), by_x),
                (layer.jacobian_by_weight(&x).unwrap(), by_weight),
                (layer.jacobian_by_bias(), by_bias),
            ];
            for (analytic, numerical) in pairs {
                prop_assert_eq!(analytic.dim(), numerical.value.dim());
                let error = (&analytic - &numerical.value).mapv(f64::abs);
                prop_assert!(error.iter().all(|error| *error < 1e-12), "{error}");
            }
        }

        #[test]
        fn products_are_those_with_the_dense_jacobians(
            w in prop::collection::vec(-3.0..3.0f64, 6), v in prop::collection::vec(-3.0..3.0f64, 2),
            x in prop::collection::vec(-3.0..3.0f64, 3)
        ) {
            let weight = Array2::from_shape_vec((2, 3), w).unwrap();
            let layer = LinearLayer::new(weight.view(), &[0.0; 2]).unwrap();
            let found = layer.vjp(&x, &v).unwrap();
            let dense = Array1::from(v);
            let pairs = [
                (found.input, layer.jacobian_by_input()),
                (found.weight.into_iter().collect(), layer.jacobian_by_weight(&x).unwrap()),
                (found.bias, layer.jacobian_by_bias()),
            ];
            for (found, jacobian) in pairs {
                let error = Array1::from(found) - jacobian.t().dot(&dense);
                prop_assert!(error.iter().all(|error| error.abs() < 1e-14), "{error}");
            }
        }
    }
}
