//! Difference quotients with a step of the caller's choosing.

use super::probe::{Direction, Probe};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// `(f(x + h) - f(x)) / h`, the forward difference. Takes 2 evaluations.
///
/// Its error is `h/2 f''(x)` and smaller terms, so it falls as `h`, until rounding, about `epsilon |f| / h`, takes
/// over: the best step is near `sqrt(epsilon)`. A negative `h` gives the backward difference. The division is by
/// the step actually taken, `(x + h) - x`, which a computer rounds.
///
/// ```
/// use gradus::calculus::forward_difference;
///
/// let wrong_by = |h: f64| (forward_difference(f64::exp, 0.0, h).unwrap() - 1.0).abs();
/// assert!((wrong_by(1e-2) / wrong_by(1e-3) - 10.0).abs() < 0.1);
/// assert!(wrong_by(1e-14) > wrong_by(1e-8));
/// ```
///
/// # Errors
/// [`Setting`](crate::ErrorKind::Setting) when `h` is 0, not finite, or so small that `x + h` is `x`;
/// [`Domain`](crate::ErrorKind::Domain) when `x` or a value of `f` is not finite.
pub fn forward_difference<T: Scalar>(f: impl FnMut(T) -> T, x: T, h: T) -> Result<T> {
    quotient(f, x, h, [h, T::zero()])
}

/// `(f(x + h) - f(x - h)) / 2h`, the central difference. Takes 2 evaluations.
///
/// Its error is `h^2/6 f'''(x)` and smaller terms, so it falls as `h^2`, until rounding, about `epsilon |f| / h`,
/// takes over: the best step is near `cbrt(epsilon)`. The division is by the step actually taken,
/// `(x + h) - (x - h)`, which a computer rounds.
///
/// ```
/// use gradus::calculus::central_difference;
///
/// let wrong_by = |h: f64| (central_difference(f64::exp, 0.0, h).unwrap() - 1.0).abs();
/// assert!((wrong_by(1e-2) / wrong_by(1e-3) - 100.0).abs() < 0.1);
/// ```
///
/// # Errors
/// Those of [`forward_difference`].
pub fn central_difference<T: Scalar>(f: impl FnMut(T) -> T, x: T, h: T) -> Result<T> {
    quotient(f, x, h, [h, -h])
}

fn quotient<T: Scalar>(mut f: impl FnMut(T) -> T, x: T, h: T, steps: [T; 2]) -> Result<T> {
    if !h.is_finite() || h.is_zero() {
        return Err(Error::setting("h", format!("{h:?} must be finite and not 0")));
    }
    if x + h == x {
        let why = format!("{h:?} is lost in rounding: x + h is x\nhelp: at x = {x:?} use a larger step");
        return Err(Error::setting("h", why));
    }
    let along = Direction::Axis(0);
    let point = [x];
    let mut probe = Probe::new(|x: &[T]| [f(x[0])], &point)?;
    let ahead = probe.sample(along, steps[0])?;
    let behind = probe.sample(along, steps[1])?;
    match probe.slopes(along, &ahead, &behind) {
        Some(slopes) => Ok(slopes[0].value),
        None => Err(probe.not_finite(along, [&ahead, &behind], "choose a step that stays where f is finite")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calculus::sigmoid;

    #[test]
    fn the_sigmoid_with_a_step_of_1e_5_gives_the_figures_of_numpy() {
        // tests/data/reference/lesson.json, sigmoid_derivative: NumPy 2, (f(x+h) - f(x-h)) / 2h.
        let figures = [
            (0.0, 0.2499999999933111),
            (1.0, 0.1966119332397209),
            (-1.0, 0.19661193324249646),
            (2.0, 0.10499358540916325),
        ];
        for (x, expected) in figures {
            let value = central_difference(sigmoid, x, 1e-5).unwrap();
            let value: f64 = value;
            assert!((value - expected).abs() < 1e-11, "{x}: {value} {expected}");
        }
    }

    #[test]
    fn the_step_is_the_one_actually_taken() {
        // 0.1 is not a binary fraction: dividing by h itself would be wrong in the eighth digit.
        assert_eq!(forward_difference(|x: f64| 2.0 * x, 1e7, 0.1).unwrap(), 2.0);
    }

    #[test]
    fn a_senseless_step_is_refused() {
        for h in [0.0, f64::NAN, f64::INFINITY, 1e-30] {
            assert!(central_difference(|x| x, 1.0, h).is_err(), "{h}");
            assert!(forward_difference(|x| x, 1.0, h).is_err(), "{h}");
        }
    }

    #[test]
    fn a_function_that_is_not_finite_is_named_with_the_place() {
        let error = central_difference(f64::ln, 0.5, 1.0).unwrap_err();
        assert!(error.to_string().starts_with("f(-0.5): the value is NaN"), "{error}");
        assert!(error.to_string().contains("-1e0 from the point"), "{error}");
        let error = forward_difference(|x| 1.0 / x, 0.0, 1.0).unwrap_err();
        assert!(error.to_string().starts_with("f(0.0): the value is inf, at the point itself"), "{error}");
    }
}
