//! Softmax and log-sum-exp of a row of logits, and what their derivatives do to a vector.

use ndarray::Array2;

use super::probe::as_f64;
use crate::error::{Error, Result};
use crate::kernels;
use crate::scalar::Scalar;

/// `s_i = e^(z_i) / sum_j e^(z_j)`: positive numbers that sum to 1. `logits` and the result are `[outputs]`.
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain) when `logits` is empty or not finite.
pub fn softmax<T: Scalar>(logits: &[T]) -> Result<Vec<T>> {
    checked("softmax", logits)
}

/// The Jacobian of [`softmax`], `[outputs, outputs]`: `J_ij = s_i (1 if i = j else 0) - s_i s_j`.
///
/// It is symmetric, and its rows sum to 0: adding one number to every logit changes nothing. To multiply by it, use
/// [`softmax_vjp`] or [`softmax_jvp`], which do not form it.
///
/// ```
/// use gradus::calculus::softmax_jacobian;
///
/// // Two equal logits: s = (1/2, 1/2).
/// assert_eq!(softmax_jacobian(&[0.0, 0.0])?, ndarray::array![[0.25, -0.25], [-0.25, 0.25]]);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// Those of [`softmax`].
pub fn softmax_jacobian<T: Scalar>(logits: &[T]) -> Result<Array2<T>> {
    let s = checked("softmax_jacobian", logits)?;
    let mut jacobian = Array2::from_shape_fn((s.len(), s.len()), |(i, j)| -(s[i] * s[j]));
    for i in 0..s.len() {
        // s_i (1 - s_i) without the cancellation for s_i near 1: the others sum to 1 - s_i.
        let others: T = (0..s.len()).filter(|&j| j != i).map(|j| s[j]).sum();
        jacobian[[i, i]] = s[i] * others;
    }
    Ok(jacobian)
}

/// The vector-Jacobian product of [`softmax`], `J' v = s * (v - s . v)` element by element, without forming `J`.
///
/// `logits`, `vector` and the result are `[outputs]`. `vector` is the gradient with respect to the probabilities,
/// the result that with respect to the logits.
///
/// # Errors
/// Those of [`softmax`], and [`Shape`](crate::ErrorKind::Shape) when `vector` and `logits` differ in length.
pub fn softmax_vjp<T: Scalar>(logits: &[T], vector: &[T]) -> Result<Vec<T>> {
    product("softmax_vjp", logits, vector)
}

/// The Jacobian-vector product of [`softmax`], `J v`: how the probabilities move when the logits move along `v`.
///
/// `logits`, `vector` and the result are `[outputs]`. The Jacobian is symmetric, so the formula is that of
/// [`softmax_vjp`].
///
/// # Errors
/// Those of [`softmax_vjp`].
pub fn softmax_jvp<T: Scalar>(logits: &[T], vector: &[T]) -> Result<Vec<T>> {
    product("softmax_jvp", logits, vector)
}

/// `ln sum_j e^(z_j)`, a smooth maximum, with the largest logit taken out first so that nothing overflows.
/// `logits` is `[outputs]`.
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain) when `logits` is empty or not finite.
pub fn log_sum_exp<T: Scalar>(logits: &[T]) -> Result<T> {
    check("log_sum_exp", logits)?;
    Ok(kernels::log_sum_exp(logits))
}

/// The gradient of [`log_sum_exp`], `[outputs]`: the [`softmax`] of the logits.
///
/// # Errors
/// Those of [`log_sum_exp`].
pub fn log_sum_exp_gradient<T: Scalar>(logits: &[T]) -> Result<Vec<T>> {
    checked("log_sum_exp_gradient", logits)
}

fn product<T: Scalar>(function: &'static str, logits: &[T], vector: &[T]) -> Result<Vec<T>> {
    if vector.len() != logits.len() {
        return Err(Error::shape(format!("{function}: vector"), &[logits.len()], &[vector.len()]));
    }
    let mut s = checked(function, logits)?;
    let mean = kernels::dot(&s, vector);
    for (s, &v) in s.iter_mut().zip(vector) {
        *s *= v - mean;
    }
    Ok(s)
}

fn checked<T: Scalar>(function: &'static str, logits: &[T]) -> Result<Vec<T>> {
    check(function, logits)?;
    let mut probabilities = vec![T::zero(); logits.len()];
    kernels::softmax(logits, &mut probabilities);
    Ok(probabilities)
}

fn check<T: Scalar>(function: &'static str, logits: &[T]) -> Result<()> {
    if logits.is_empty() {
        return Err(Error::domain(function, [], "there are no logits", "pass at least one logit"));
    }
    if let Some(index) = logits.iter().position(|z| !z.is_finite()) {
        let why = format!("logit {index} is {}, not finite", logits[index]);
        return Err(Error::domain(function, as_f64(logits), why, "logits count from 0 and must be finite"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use ndarray::{Array1, array};
    use proptest::prelude::*;

    #[test]
    fn softmax_and_its_jacobian_of_numpy() {
        // tests/data/reference/lesson.json, softmax_jacobian: NumPy 2 for [1, 2, 0.5].
        let logits = [1.0, 2.0, 0.5];
        let jacobian = array![
            [0.177759406790571, -0.1453315538952939, -0.03242785289527709],
            [-0.1453315538952939, 0.23347959715646865, -0.08814804326117474],
            [-0.03242785289527709, -0.08814804326117474, 0.12057589615645184],
        ];
        let found = softmax_jacobian(&logits).unwrap();
        assert!((&found - &jacobian).iter().all(|error: &f64| error.abs() < 1e-16), "{found}");
        let expected = [0.23122389762214907, 0.6285317192117624, 0.14024438316608848];
        for (s, expected) in softmax(&logits).unwrap().into_iter().zip(expected) {
            let (s, expected): (f64, f64) = (s, expected);
            assert!((s - expected).abs() < 1e-16, "{s} {expected}");
        }
    }

    #[test]
    fn empty_rows_wrong_lengths_and_infinite_logits_are_refused() {
        let domain = |result: Result<Vec<f64>>| matches!(result.unwrap_err().kind(), ErrorKind::Domain { .. });
        assert!(domain(softmax(&[])));
        assert!(domain(log_sum_exp_gradient(&[1.0, f64::INFINITY])));
        assert!(domain(log_sum_exp(&[f64::NAN]).map(|value| vec![value])));
        assert!(domain(softmax_jacobian(&[]).map(|jacobian| jacobian.into_iter().collect())));
        let shape = |result: Result<Vec<f64>>| matches!(result.unwrap_err().kind(), ErrorKind::Shape { .. });
        assert!(shape(softmax_vjp(&[1.0, 2.0], &[1.0])));
        assert!(shape(softmax_jvp(&[1.0, 2.0], &[1.0, 2.0, 3.0])));
    }

    #[test]
    fn a_nearly_certain_row_keeps_the_digits_of_its_diagonal() {
        let jacobian: Array2<f64> = softmax_jacobian(&[50.0, 0.0]).unwrap();
        assert!((jacobian[[0, 0]] / (-50f64).exp() - 1.0).abs() < 1e-14, "{jacobian}");
    }

    /// Logits and a vector of one length.
    fn rows() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        (1..20usize)
            .prop_flat_map(|n| (prop::collection::vec(-30.0..30.0f64, n), prop::collection::vec(-10.0..10.0f64, n)))
    }

    proptest! {
        #[test]
        fn the_jacobian_is_symmetric_and_its_rows_sum_to_zero((logits, _) in rows()) {
            let jacobian = softmax_jacobian(&logits).unwrap();
            prop_assert_eq!(&jacobian, &jacobian.t());
            for row in jacobian.rows() {
                prop_assert!(row.sum().abs() < 1e-15, "{row}");
            }
        }

        #[test]
        fn products_are_those_with_the_dense_jacobian((logits, vector) in rows()) {
            let jacobian = softmax_jacobian(&logits).unwrap();
            let dense = Array1::from(vector.clone());
            let [transposed, straight] = [jacobian.t().dot(&dense), jacobian.dot(&dense)];
            for (product, expected) in
                [(softmax_vjp(&logits, &vector), transposed), (softmax_jvp(&logits, &vector), straight)]
            {
                let error = (Array1::from(product.unwrap()) - expected).mapv(f64::abs);
                prop_assert!(error.iter().all(|error| *error < 1e-14), "{error}");
            }
        }

        #[test]
        fn the_gradient_of_log_sum_exp_is_the_softmax((logits, vector) in rows()) {
            let (value, gradient) = (log_sum_exp(&logits).unwrap(), log_sum_exp_gradient(&logits).unwrap());
            prop_assert_eq!(&gradient, &softmax(&logits).unwrap());
            // It is convex: it lies above every one of its tangents.
            let moved: Vec<f64> = logits.iter().zip(&vector).map(|(z, v)| z + v).collect();
            let tangent = value + kernels::dot(&gradient, &vector);
            prop_assert!(log_sum_exp(&moved).unwrap() >= tangent - 1e-12);
        }
    }
}
