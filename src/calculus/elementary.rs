//! The textbook functions of one number, each with its derivative.

use crate::error::{Error, Result};
use crate::kernels;
use crate::scalar::Scalar;

const REAL_POWER: &str = "a negative base has real powers with whole exponents only";

/// `x^exponent`. Whole exponents take any `x`, others `x >= 0`; `0^0` is 1. Too large a power is infinite.
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain), its point `[x, exponent]`: a negative `x` with an exponent that is not
/// whole, 0 with a negative exponent, NaN, an infinite exponent.
pub fn power<T: Scalar>(x: T, exponent: T) -> Result<T> {
    check_power("power", x, exponent)?;
    Ok(x.powf(exponent))
}

/// The derivative of [`power`] by `x`: `exponent x^(exponent - 1)`, and 0 for the exponent 0.
///
/// At `x = 0` it is 0 for exponents above 1 (the one-sided derivative where the exponent is not whole).
///
/// # Errors
/// Those of [`power`], and [`Domain`](crate::ErrorKind::Domain) at `x = 0` for an exponent between 0 and 1, where
/// the slope is infinite.
pub fn power_derivative<T: Scalar>(x: T, exponent: T) -> Result<T> {
    check_power("power_derivative", x, exponent)?;
    if exponent.is_zero() {
        return Ok(T::zero());
    }
    if x.is_zero() && exponent < T::one() {
        let help = "the derivative exists for x above 0, or for exponents of at least 1";
        return Err(Error::domain("power_derivative", pair(x, exponent), "the slope at 0 is infinite", help));
    }
    Ok(exponent * x.powf(exponent - T::one()))
}

/// `e^x`; infinite where it is too large for a number.
pub fn exp<T: Scalar>(x: T) -> T {
    x.exp()
}

/// The derivative of [`exp`]: `e^x` itself.
pub fn exp_derivative<T: Scalar>(x: T) -> T {
    x.exp()
}

/// The natural logarithm of `x > 0`.
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain) unless `x > 0`.
pub fn ln<T: Scalar>(x: T) -> Result<T> {
    check_ln("ln", x)?;
    Ok(x.ln())
}

/// The derivative of [`ln`]: `1 / x`, for `x > 0`.
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain) unless `x > 0`.
pub fn ln_derivative<T: Scalar>(x: T) -> Result<T> {
    check_ln("ln_derivative", x)?;
    Ok(x.recip())
}

/// The logistic function `s(x) = 1 / (1 + e^-x)`, between 0 and 1, without overflow on either side.
pub fn sigmoid<T: Scalar>(x: T) -> T {
    kernels::sigmoid(x)
}

/// The derivative of [`sigmoid`]: `s(x) (1 - s(x))`, at most 1/4.
///
/// It is computed as `s(x) s(-x)`, the same number without the cancellation in `1 - s(x)` for large `x`.
pub fn sigmoid_derivative<T: Scalar>(x: T) -> T {
    kernels::sigmoid(x) * kernels::sigmoid(-x)
}

/// The hyperbolic tangent `(e^x - e^-x) / (e^x + e^-x)`, between -1 and 1.
pub fn tanh<T: Scalar>(x: T) -> T {
    x.tanh()
}

/// The derivative of [`tanh`]: `1 - tanh(x)^2`, at most 1.
///
/// It is computed as `1 / cosh(x)^2`, the same number without the cancellation for large `x`.
pub fn tanh_derivative<T: Scalar>(x: T) -> T {
    let reciprocal = x.cosh().recip();
    reciprocal * reciprocal
}

/// The rectifier `max(x, 0)`.
pub fn relu<T: Scalar>(x: T) -> T {
    // Not `max`, which would turn NaN into 0.
    if x <= T::zero() { T::zero() } else { x }
}

/// A derivative of [`relu`]: 1 for `x > 0` and 0 for `x < 0`.
///
/// At 0 there is none: slopes from 0 to 1 all fit (the subgradients). This gives 0, as PyTorch does; a central
/// difference there gives 1/2.
pub fn relu_derivative<T: Scalar>(x: T) -> T {
    if x.is_nan() {
        x
    } else if x > T::zero() {
        T::one()
    } else {
        T::zero()
    }
}

fn check_power<T: Scalar>(function: &'static str, x: T, exponent: T) -> Result<()> {
    let refuse = |why: &str, help: &str| Err(Error::domain(function, pair(x, exponent), why, help));
    if x.is_nan() || !exponent.is_finite() {
        return refuse("the base must be a number and the exponent finite", "");
    }
    if x < T::zero() && !exponent.fract().is_zero() {
        return refuse(REAL_POWER, "pass x of at least 0, or round the exponent");
    }
    if x.is_zero() && exponent < T::zero() {
        return refuse("a negative power of 0 is a division by 0", "pass another x, or an exponent of at least 0");
    }
    Ok(())
}

fn check_ln<T: Scalar>(function: &'static str, x: T) -> Result<()> {
    if x > T::zero() {
        return Ok(());
    }
    let help = "logarithms of real numbers need x above 0; for ln(1 + x) near 0 use `ln_1p`";
    Err(Error::domain(function, [x.as_f64()], "x is not above 0", help))
}

fn pair<T: Scalar>(x: T, exponent: T) -> [f64; 2] {
    [x.as_f64(), exponent.as_f64()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn sigmoid_derivatives_of_numpy() {
        // tests/data/reference/lesson.json, sigmoid_derivative: NumPy 2, as s (1 - s), which rounds 1 - s.
        let figures =
            [(0.0, 0.25), (1.0, 0.19661193324148185), (-1.0, 0.19661193324148185), (2.0, 0.10499358540350662)];
        for (x, expected) in figures {
            let derivative: f64 = sigmoid_derivative(x);
            assert!((derivative - expected).abs() < 2e-16, "{x}: {derivative} {expected}");
        }
    }

    #[test]
    fn values_and_derivatives_a_hand_can_check() {
        assert_eq!((power(3.0, 2.0).unwrap(), power_derivative(3.0, 2.0).unwrap()), (9.0, 6.0));
        assert_eq!((power(-2.0, 3.0).unwrap(), power_derivative(-2.0, 3.0).unwrap()), (-8.0, 12.0));
        assert_eq!((power(2.0, -1.0).unwrap(), power_derivative(2.0, -1.0).unwrap()), (0.5, -0.25));
        assert_eq!((power(4.0, 0.5).unwrap(), power_derivative(4.0, 0.5).unwrap()), (2.0, 0.25));
        assert_eq!((exp(0.0), exp_derivative(0.0)), (1.0, 1.0));
        assert_eq!((ln(1.0).unwrap(), ln_derivative(4.0).unwrap()), (0.0, 0.25));
        assert_eq!((tanh(0.0), tanh_derivative(0.0)), (0.0, 1.0));
        assert_eq!((relu(-3.0), relu_derivative(-3.0)), (0.0, 0.0));
        assert_eq!((relu(3.0_f32), relu_derivative(3.0_f32)), (3.0, 1.0));
    }

    #[test]
    fn the_slope_of_relu_at_0_is_0() {
        assert_eq!(relu_derivative(0.0), 0.0);
        assert_eq!(relu_derivative(-0.0), 0.0);
    }

    #[test]
    fn powers_at_0() {
        assert_eq!(power(0.0, 0.0).unwrap(), 1.0);
        assert_eq!(power_derivative(0.0, 0.0).unwrap(), 0.0);
        assert_eq!(power_derivative(0.0, 1.0).unwrap(), 1.0);
        assert_eq!(power_derivative(0.0, 1.5).unwrap(), 0.0);
        assert_eq!(power_derivative(0.0, 2.0).unwrap(), 0.0);
        for exponent in [0.5, -0.5, -2.0] {
            assert!(power_derivative(0.0, exponent).is_err(), "{exponent}");
        }
    }

    #[test]
    fn points_outside_the_domain_are_refused_by_name() {
        let cases = [
            (ln(0.0), "ln(0.0)"),
            (ln(-1.0), "ln(-1.0)"),
            (ln(f64::NAN), "ln(NaN)"),
            (ln_derivative(-2.0), "ln_derivative(-2.0)"),
            (power(-8.0, 0.5), "power(-8.0, 0.5)"),
            (power(0.0, -1.0), "power(0.0, -1.0)"),
            (power(2.0, f64::INFINITY), "power(2.0, inf)"),
            (power_derivative(-8.0, 1.5), "power_derivative(-8.0, 1.5)"),
        ];
        for (result, call) in cases {
            let error = result.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Domain { .. }), "{error}");
            assert!(error.to_string().starts_with(&format!("{call}: ")), "{error}");
        }
    }

    #[test]
    fn derivatives_keep_their_digits_far_out() {
        // At 40 the logistic function is 1 in f64, and 1 - s(x) would be 0.
        let (x, relative) = (40.0_f64, |value: f64, expected: f64| (value / expected - 1.0).abs());
        assert!(relative(sigmoid_derivative(x), (-x).exp()) < 1e-15);
        assert!(relative(tanh_derivative(x), 4.0 * (-2.0 * x).exp()) < 1e-14);
        assert_eq!((tanh_derivative(1e300), sigmoid_derivative(1e300)), (0.0, 0.0));
    }

    #[test]
    fn nan_is_never_hidden() {
        let functions: [fn(f64) -> f64; 8] =
            [exp, exp_derivative, sigmoid, sigmoid_derivative, tanh, tanh_derivative, relu, relu_derivative];
        assert!(functions.iter().all(|f| f(f64::NAN).is_nan()));
    }
}
