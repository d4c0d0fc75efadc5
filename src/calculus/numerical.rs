//! Numerical derivatives with steps chosen for the number type.

use ndarray::Array2;

use super::method::Method;
use super::probe::{Direction, Probe, as_f64, largest};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// A derivative and how far to trust it; `V` is a number, a vector or a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<V> {
    /// The derivative.
    pub value: V,
    /// The size of its error, in the same shape as the value.
    ///
    /// [`Method::Richardson`] measures it: how far extrapolations from different steps lie apart, plus a floor for
    /// the function's rounding. [`Method::Forward`] and [`Method::Central`] do not measure anything: theirs is
    /// twice the rounding noise, which is right when the function bends on the scale of `max(1, |x|)`, since their
    /// step makes rounding and truncation alike there, and too small when it bends more sharply. At random points
    /// of the textbook functions the error is within it in about three of four cases.
    ///
    /// Rounding is taken to be that of one operation on the value and one on the argument. A function that loses
    /// digits inside, such as a small difference of large numbers, has more: an error several times the estimate is
    /// then possible.
    pub error_estimate: V,
    /// How often the function was evaluated.
    pub evaluations: usize,
}

/// The derivative of a function of one number.
///
/// Takes 2 evaluations, or those of [`Method::Richardson`].
///
/// ```
/// use gradus::calculus::{Method, derivative};
///
/// let slope = derivative(|x: f64| x.sin(), 1.0, Method::Richardson)?;
/// assert!((slope.value - 1f64.cos()).abs() <= slope.error_estimate);
/// assert!(slope.error_estimate < 1e-12);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Domain`](crate::ErrorKind::Domain) when `x` or a value of `f` is not finite, naming the place;
/// [`Method::Richardson`] refuses only where no step is short enough.
pub fn derivative<T: Scalar>(mut f: impl FnMut(T) -> T, x: T, method: Method) -> Result<Estimate<T>> {
    partial_derivative(|x: &[T]| f(x[0]), &[x], 0, method)
}

/// The derivative of a function of a slice by coordinate `index`, the others held.
///
/// `x` is `[inputs]`. Takes 2 evaluations, or those of [`Method::Richardson`].
///
/// # Errors
/// Those of [`derivative`], and [`Setting`](crate::ErrorKind::Setting) when `index` is not below the length of `x`.
pub fn partial_derivative<T: Scalar>(
    mut f: impl FnMut(&[T]) -> T,
    x: &[T],
    index: usize,
    method: Method,
) -> Result<Estimate<T>> {
    let mut probe = Probe::new(|x: &[T]| [f(x)], x)?;
    if index >= x.len() {
        let why = format!("{index} must be below the number of inputs, {}\nhelp: inputs count from 0", x.len());
        return Err(Error::setting("index", why));
    }
    let slope = method.slopes(&mut probe, Direction::Axis(index), None)?[0];
    Ok(Estimate { value: slope.value, error_estimate: slope.error, evaluations: probe.evaluations })
}

/// The gradient of a function of a slice: its derivatives by each coordinate.
///
/// `x` and the gradient are `[inputs]`. Takes `inputs + 1` evaluations ([`Method::Forward`]), `2 inputs`
/// ([`Method::Central`]), or for each input those of [`Method::Richardson`].
///
/// ```
/// use gradus::calculus::{Method, gradient};
///
/// let squares = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
/// let slopes = gradient(squares, &[1.0, -2.0, 0.5], Method::Central)?;
/// assert_eq!(slopes.evaluations, 6);
/// assert!(slopes.value.iter().zip([2.0, -4.0, 1.0]).all(|(g, expected)| (g - expected).abs() < 1e-9));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// Those of [`derivative`], and [`Domain`](crate::ErrorKind::Domain) when `x` is empty.
pub fn gradient<T: Scalar>(mut f: impl FnMut(&[T]) -> T, x: &[T], method: Method) -> Result<Estimate<Vec<T>>> {
    let jacobian = jacobian(|x: &[T]| [f(x)], x, method)?;
    Ok(Estimate {
        value: jacobian.value.into_raw_vec_and_offset().0,
        error_estimate: jacobian.error_estimate.into_raw_vec_and_offset().0,
        evaluations: jacobian.evaluations,
    })
}

/// The Jacobian of a function from a slice to a vector: row `i` is the gradient of output `i`.
///
/// `x` is `[inputs]`; `f` returns a `Vec`, an array or a slice, `[outputs]`; the Jacobian is `[outputs, inputs]`.
/// Takes as many evaluations as [`gradient`]: all outputs share them.
///
/// ```
/// use gradus::calculus::{Method, jacobian};
///
/// let polar = |p: &[f64]| [p[0] * p[1].cos(), p[0] * p[1].sin()];
/// let j = jacobian(polar, &[2.0, 0.0], Method::Central)?.value;
/// assert!((&j - &ndarray::array![[1.0, 0.0], [0.0, 2.0]]).iter().all(|error| error.abs() < 1e-9));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// Those of [`gradient`], and [`Shape`](crate::ErrorKind::Shape) when `f` changes the number of its outputs.
pub fn jacobian<T: Scalar, V: AsRef<[T]>>(
    f: impl FnMut(&[T]) -> V,
    x: &[T],
    method: Method,
) -> Result<Estimate<Array2<T>>> {
    let mut probe = Probe::new(f, x)?;
    let center = match method {
        Method::Forward => Some(probe.sample(Direction::Axis(0), T::zero())?),
        Method::Central | Method::Richardson => None,
    };
    let columns = (0..x.len())
        .map(|index| method.slopes(&mut probe, Direction::Axis(index), center.as_ref()))
        .collect::<Result<Vec<_>>>()?;
    let shape = (columns[0].len(), x.len());
    Ok(Estimate {
        value: Array2::from_shape_fn(shape, |(output, input)| columns[input][output].value),
        error_estimate: Array2::from_shape_fn(shape, |(output, input)| columns[input][output].error),
        evaluations: probe.evaluations,
    })
}

/// How fast a function of a slice rises along a direction: the derivative of `f(x + t direction)` by `t` at 0,
/// which is `gradient . direction`.
///
/// `x` and `direction` are `[inputs]`. The direction need not have length 1: twice as long gives twice the value.
/// Along a direction of zeros the value is 0, without an evaluation. Takes 2 evaluations whatever the number of
/// inputs, or those of [`Method::Richardson`] for one input. The step is such that the coordinate which moves most,
/// moves by the method's step.
///
/// ```
/// use gradus::calculus::{Method, directional_derivative};
///
/// let plane = |p: &[f64]| 3.0 * p[0] + 4.0 * p[1];
/// let rate = |direction: [f64; 2]| directional_derivative(plane, &[1.0, 1.0], &direction, Method::Central);
/// assert!((rate([0.6, 0.8])?.value - 5.0).abs() < 1e-9); // straight up: the length of the gradient
/// assert!(rate([-0.8, 0.6])?.value.abs() < 1e-9); // along the level line
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// Those of [`gradient`]; [`Shape`](crate::ErrorKind::Shape) when `direction` and `x` differ in length;
/// [`Domain`](crate::ErrorKind::Domain) when `direction` is not finite.
pub fn directional_derivative<T: Scalar>(
    mut f: impl FnMut(&[T]) -> T,
    x: &[T],
    direction: &[T],
    method: Method,
) -> Result<Estimate<T>> {
    let mut probe = Probe::new(|x: &[T]| [f(x)], x)?;
    if direction.len() != x.len() {
        return Err(Error::shape("direction", &[x.len()], &[direction.len()]));
    }
    if direction.iter().any(|d| !d.is_finite()) {
        let why = "the direction must be finite";
        return Err(Error::domain("directional_derivative", as_f64(direction), why, ""));
    }
    let length = largest(direction.iter().copied());
    if length.is_zero() {
        return Ok(Estimate { value: T::zero(), error_estimate: T::zero(), evaluations: 0 });
    }
    let unit: Vec<T> = direction.iter().map(|&d| d / length).collect();
    let slope = method.slopes(&mut probe, Direction::Along(&unit), None)?[0];
    let (value, error_estimate) = (slope.value * length, slope.error * length);
    if !value.is_finite() {
        return Err(probe.overflow());
    }
    Ok(Estimate { value, error_estimate, evaluations: probe.evaluations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calculus::softmax;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    const METHODS: [Method; 3] = [Method::Forward, Method::Central, Method::Richardson];

    /// A smooth function whose coordinates interact, and its gradient.
    fn smooth(x: &[f64]) -> f64 {
        x[0].sin() * x[1] + (x[0] * x[2]).exp() + x[2] * x[2]
    }

    fn smooth_gradient(x: &[f64]) -> [f64; 3] {
        let e = (x[0] * x[2]).exp();
        [x[0].cos() * x[1] + x[2] * e, x[0].sin(), x[0] * e + 2.0 * x[2]]
    }

    #[test]
    fn evaluations_are_as_documented_and_counted_right() {
        let mut calls = 0;
        let mut f = |x: &[f64]| {
            calls += 1;
            smooth(x)
        };
        let x = [0.3, -1.0, 0.7];
        assert_eq!(gradient(&mut f, &x, Method::Forward).unwrap().evaluations, 4);
        assert_eq!(gradient(&mut f, &x, Method::Central).unwrap().evaluations, 6);
        assert_eq!(partial_derivative(&mut f, &x, 1, Method::Forward).unwrap().evaluations, 2);
        assert_eq!(directional_derivative(&mut f, &x, &[1.0; 3], Method::Central).unwrap().evaluations, 2);
        let richardson = gradient(&mut f, &x, Method::Richardson).unwrap().evaluations;
        assert!((18..=48).contains(&richardson), "{richardson}");
        assert_eq!(calls, 4 + 6 + 2 + 2 + richardson);
    }

    #[test]
    fn directions_on_a_plane_have_the_rates_of_the_lesson() {
        // tests/data/reference/lesson.json, directional: the rate along the direction scaled to length 1.
        let plane = |p: &[f64]| 3.0 * p[0] + 4.0 * p[1];
        let cases = [([3.0, 4.0], 5.0), ([-3.0, -4.0], -5.0), ([-4.0, 3.0], 0.0), ([1.0, 0.0], 3.0)];
        for (direction, rate) in cases {
            let length = f64::hypot(direction[0], direction[1]);
            for method in METHODS {
                let found = directional_derivative(plane, &[0.5, -2.0], &direction, method).unwrap();
                assert!((found.value / length - rate).abs() < 1e-7, "{method:?}: {found:?}");
            }
        }
    }

    #[test]
    fn the_gradient_of_a_sum_is_that_of_torch() {
        // tests/data/reference/lesson.json, sum_of_vector_output: PyTorch 2 in float32 for sum(x^2 + 2x).
        let x = [-0.7506223320960999, 1.3525477647781372, 0.6863219141960144, -0.32775864005088806, 0.7949687242507935];
        let expected: [f64; 5] =
            [0.4987553358078003, 4.705095291137695, 3.3726439476013184, 1.344482660293579, 3.589937448501587];
        let f = |x: &[f64]| x.iter().map(|x| x * x + 2.0 * x).sum::<f64>();
        for (found, expected) in gradient(f, &x, Method::Richardson).unwrap().value.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_named_with_their_place() {
        let root = |p: &[f64]| p[1].sqrt();
        let error = gradient(root, &[5.0, 0.0], Method::Central).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Domain { point, .. } if point[0] == 5.0 && point[1] < 0.0));
        assert!(error.to_string().contains("in coordinate 1\nhelp: use `Method::Richardson`"), "{error}");
        let error = gradient(root, &[5.0, -1.0], Method::Richardson).unwrap_err();
        assert!(error.to_string().contains("move the point"), "{error}");
        let error = jacobian(|p: &[f64]| [p[0], f64::NAN], &[1.0], Method::Forward).unwrap_err();
        assert!(error.to_string().contains("output 1 is NaN"), "{error}");
        let error = directional_derivative(root, &[5.0, 0.0], &[0.0, 2.0], Method::Central).unwrap_err();
        assert!(error.to_string().starts_with("f(5.0, -"), "{error}");
        for method in METHODS {
            assert!(derivative(|x| x, f64::INFINITY, method).is_err());
            assert!(gradient(|_: &[f64]| 0.0, &[], method).is_err());
        }
    }

    #[test]
    fn slopes_too_large_for_a_number_are_refused() {
        for method in METHODS {
            let jump = |x: f64| if x > 0.0 { f64::MAX } else { f64::MIN };
            assert!(derivative(jump, 0.0, method).is_err(), "{method:?}");
            assert!(directional_derivative(|p: &[f64]| 1e200 * p[0], &[1.0], &[1e200], method).is_err(), "{method:?}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        let error = partial_derivative(smooth, &[1.0, 2.0, 3.0], 3, Method::Central).unwrap_err();
        assert!(error.to_string().starts_with("index: 3 must be below"), "{error}");
        assert!(directional_derivative(smooth, &[1.0, 2.0, 3.0], &[1.0], Method::Central).is_err());
        assert!(directional_derivative(smooth, &[1.0; 3], &[f64::NAN; 3], Method::Central).is_err());
        let mut calls = 0;
        let growing = |_: &[f64]| {
            calls += 1;
            vec![0.0; calls]
        };
        assert!(matches!(jacobian(growing, &[1.0], Method::Central).unwrap_err().kind(), ErrorKind::Shape { .. }));
    }

    #[test]
    fn along_a_direction_of_zeros_nothing_rises() {
        let still = directional_derivative(smooth, &[1.0; 3], &[0.0; 3], Method::Richardson).unwrap();
        assert_eq!(still, Estimate { value: 0.0, error_estimate: 0.0, evaluations: 0 });
    }

    proptest! {
        #[test]
        fn the_derivative_is_linear(x in -3.0..3.0f64, a in -5.0..5.0f64, b in -5.0..5.0f64) {
            let slope = |f: &dyn Fn(f64) -> f64| derivative(f, x, Method::Richardson).unwrap().value;
            let together = slope(&|x| a * x.sin() + b * (0.5 * x).exp());
            let apart = a * slope(&f64::sin) + b * slope(&|x| (0.5 * x).exp());
            prop_assert!((together - apart).abs() < 1e-10, "{together} {apart}");
        }

        #[test]
        fn every_method_finds_the_gradient_to_its_digits(x in prop::collection::vec(-1.5..1.5f64, 3)) {
            for (method, digits) in METHODS.into_iter().zip([1e-6, 1e-8, 1e-11]) {
                let found = gradient(smooth, &x, method).unwrap();
                for (index, (value, expected)) in found.value.iter().zip(smooth_gradient(&x)).enumerate() {
                    prop_assert!((value - expected).abs() < digits, "{method:?}: {value} {expected}");
                    let partial = partial_derivative(smooth, &x, index, method).unwrap();
                    prop_assert_eq!((partial.value, partial.error_estimate), (*value, found.error_estimate[index]));
                }
            }
        }

        #[test]
        fn a_rate_is_the_product_of_gradient_and_direction(
            x in prop::collection::vec(-1.5..1.5f64, 3), direction in prop::collection::vec(-9.0..9.0f64, 3)
        ) {
            let expected = crate::kernels::dot(&smooth_gradient(&x), &direction);
            for (method, digits) in METHODS.into_iter().zip([1e-5, 1e-7, 1e-10]) {
                let rate = directional_derivative(smooth, &x, &direction, method).unwrap().value;
                prop_assert!((rate - expected).abs() < digits, "{method:?}: {rate} {expected}");
            }
        }

        #[test]
        fn no_direction_rises_faster_than_the_gradient_and_across_it_nothing_rises(
            x in prop::collection::vec(-1.5..1.5f64, 2), angle in 0.0..std::f64::consts::TAU
        ) {
            let bowl = |p: &[f64]| p[0] * p[0] + 3.0 * p[1] * p[1] + p[0] * p[1];
            let up = gradient(bowl, &x, Method::Richardson).unwrap().value;
            let steepest = up[0].hypot(up[1]);
            let rate = |d: [f64; 2]| directional_derivative(bowl, &x, &d, Method::Richardson).unwrap().value;
            prop_assert!(rate([angle.cos(), angle.sin()]) <= steepest + 1e-12);
            prop_assert!(rate([-up[1], up[0]]).abs() < 1e-10);
            prop_assert!((rate([up[0], up[1]]) - steepest * steepest).abs() < 1e-10);
        }

        #[test]
        fn the_jacobian_has_the_gradient_of_each_output_as_a_row(x in prop::collection::vec(-3.0..3.0f64, 4)) {
            for method in METHODS {
                let all = jacobian(|x: &[f64]| softmax(x).unwrap(), &x, method).unwrap();
                for output in 0..4 {
                    let row = gradient(|x: &[f64]| softmax(x).unwrap()[output], &x, method).unwrap();
                    // The very bits: what the other outputs need changes nothing of this one.
                    prop_assert_eq!(all.value.row(output).to_vec(), row.value, "{:?}", method);
                    prop_assert_eq!(all.error_estimate.row(output).to_vec(), row.error_estimate, "{:?}", method);
                }
            }
        }
    }
}
