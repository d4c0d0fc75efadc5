//! The ways to take a derivative, and the steps each of them takes.

use super::probe::{Direction, Probe, Sample, Slope};
use super::tableau::{Extrapolated, FIRST_STEP, RATIO, Tableau};
use crate::error::Result;
use crate::scalar::Scalar;

/// How a derivative is taken from values of the function.
///
/// Steps are relative to `max(1, |x|)`, `x` the coordinate that moves, and quotients are divided by the step actually
/// taken, after rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `(f(x+h) - f(x)) / h` with the relative step `sqrt(epsilon)`: about half the digits of the number type, with
    /// 1 evaluation for each input and 1 more.
    Forward,
    /// `(f(x+h) - f(x-h)) / 2h` with the relative step `cbrt(epsilon)`: about two thirds of the digits, with 2
    /// evaluations for each input.
    Central,
    /// Central differences of smaller and smaller steps, extrapolated to a step of 0 (Richardson 1911; the tableau of
    /// Ridders 1982): all digits but one or two, and an error estimate. For each input it takes at least 6
    /// evaluations, about 14 for a smooth function, and at most 118 in `f64` and 42 in `f32`.
    ///
    /// It begins with a step of about an eighth of `max(1, |x|)` and shortens it past kinks, poles and edges of the
    /// domain; what is nearer than `sqrt(epsilon)`, it may miss.
    Richardson,
}

const HELP: &str = "use `Method::Richardson`, which shortens its step until the function is finite";

impl Method {
    /// The derivative along a direction, for each output. `center` is the sample at the point itself, if there is
    /// one: only [`Method::Forward`] makes use of it.
    pub(super) fn slopes<T: Scalar, V: AsRef<[T]>, F: FnMut(&[T]) -> V>(
        self,
        probe: &mut Probe<'_, T, F>,
        direction: Direction<'_, T>,
        center: Option<&Sample<T>>,
    ) -> Result<Vec<Extrapolated<T>>> {
        let scale = probe.scale(direction);
        match self {
            Method::Forward => {
                let ahead = probe.sample(direction, T::epsilon().sqrt() * scale)?;
                match center {
                    Some(center) => between(probe, direction, [&ahead, center]),
                    None => {
                        let center = probe.sample(direction, T::zero())?;
                        between(probe, direction, [&ahead, &center])
                    }
                }
            }
            Method::Central => {
                let step = T::epsilon().cbrt() * scale;
                let (ahead, behind) = (probe.sample(direction, step)?, probe.sample(direction, -step)?);
                between(probe, direction, [&ahead, &behind])
            }
            Method::Richardson => extrapolate(probe, direction, scale),
        }
    }
}

/// The slopes between two samples, with the error that a step at its best has.
fn between<T: Scalar, V: AsRef<[T]>, F: FnMut(&[T]) -> V>(
    probe: &Probe<'_, T, F>,
    direction: Direction<'_, T>,
    [ahead, behind]: [&Sample<T>; 2],
) -> Result<Vec<Extrapolated<T>>> {
    match probe.slopes(direction, ahead, behind) {
        // At the best step truncation is as large as rounding.
        Some(slopes) => {
            Ok(slopes.into_iter().map(|Slope { value, noise }| Extrapolated { value, error: noise + noise }).collect())
        }
        None => Err(probe.not_finite(direction, [ahead, behind], HELP)),
    }
}

/// Richardson's extrapolation for all outputs, until none of them can get better.
fn extrapolate<T: Scalar, V: AsRef<[T]>, F: FnMut(&[T]) -> V>(
    probe: &mut Probe<'_, T, F>,
    direction: Direction<'_, T>,
    scale: T,
) -> Result<Vec<Extrapolated<T>>> {
    // Below this a step has too few digits left to be told from its rounding.
    let least = T::from_f64(16.0) * T::epsilon() * scale;
    // Below this only a point close to a pole or to the edge of the domain can gain.
    let small = T::epsilon().sqrt() * scale;
    let mut step = T::from_f64(FIRST_STEP) * scale;
    let mut tableaux: Vec<Tableau<T>> = Vec::new();
    let mut refused = None;
    while step >= least {
        let (ahead, behind) = (probe.sample(direction, step)?, probe.sample(direction, -step)?);
        match probe.slopes(direction, &ahead, &behind) {
            Some(slopes) => {
                tableaux.resize_with(slopes.len(), Tableau::default);
                for (tableau, slope) in tableaux.iter_mut().zip(slopes) {
                    tableau.push(slope, step < small);
                }
                if tableaux.iter().all(Tableau::is_settled) {
                    break;
                }
            }
            // What larger steps saw lies across a place without a value; what has settled needs no smaller ones.
            None => {
                let unsettled = tableaux.iter_mut().filter(|tableau| !tableau.is_settled());
                unsettled.for_each(|tableau| *tableau = Tableau::default());
                refused = Some([ahead, behind]);
            }
        }
        step /= T::from_f64(RATIO);
    }
    match (tableaux.iter().map(Tableau::best).collect::<Option<Vec<_>>>(), refused) {
        (Some(best), None) => Ok(best),
        (Some(best), Some(_)) if !best.is_empty() => Ok(best),
        (_, None) => Err(probe.overflow()),
        (_, Some([ahead, behind])) => {
            let help = "there is no neighbourhood in which the function is finite: move the point";
            Err(probe.not_finite(direction, [&ahead, &behind], help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calculus::{derivative, jacobian, ln, relu};

    #[test]
    fn a_slope_that_never_settles_ends_at_the_documented_most() {
        let steep = derivative(f64::cbrt, 0.0, Method::Richardson).unwrap();
        assert_eq!(steep.evaluations, 118);
        assert!(steep.error_estimate > 0.1 * steep.value, "{steep:?}");
        assert_eq!(derivative(f32::cbrt, 0.0, Method::Richardson).unwrap().evaluations, 42);
    }

    #[test]
    fn near_an_edge_of_the_domain_richardson_shortens_its_step() {
        for x in [1e-2, 1e-4, 1e-6, 1e-8] {
            let found = derivative(|x| ln(x).unwrap_or(f64::NAN), x, Method::Richardson).unwrap();
            assert!((found.value - 1.0 / x).abs() <= found.error_estimate, "{x}: {found:?}");
            assert!(found.error_estimate * x < 1e-5, "{x}: {found:?}");
        }
        let large = derivative(f64::exp, 700.0, Method::Richardson).unwrap();
        assert!((large.value - 700f64.exp()).abs() <= large.error_estimate);
    }

    #[test]
    fn a_kink_or_a_pole_nearby_does_not_mislead() {
        for x in [1e-3, 1e-5, 1e-7] {
            assert_eq!(derivative(relu, x, Method::Richardson).unwrap().value, 1.0, "{x}");
            assert_eq!(derivative(relu, -x, Method::Richardson).unwrap().value, 0.0, "{x}");
        }
        for x in [1e-3, 1e-6, 1e-9] {
            let pole = derivative(f64::recip, x, Method::Richardson).unwrap();
            assert!((pole.value + 1.0 / (x * x)).abs() <= pole.error_estimate, "{x}: {pole:?}");
            assert!(pole.error_estimate * x * x < 1e-4, "{x}: {pole:?}");
        }
    }

    #[test]
    fn waves_of_any_whole_frequency_are_seen() {
        for frequency in 1..=200 {
            let omega = std::f64::consts::TAU * f64::from(frequency);
            let found = derivative(|x| (omega * x).sin(), 0.3, Method::Richardson).unwrap();
            let error = (found.value - omega * (omega * 0.3).cos()).abs();
            assert!(error <= found.error_estimate && found.error_estimate < 1e-8 * omega, "{frequency}: {found:?}");
        }
    }

    #[test]
    fn a_function_that_loses_digits_inside_gets_a_larger_error() {
        // Digits lost, and how many times its estimate the error may be.
        for (offset, times) in [(10.0, 1.0), (100.0, 10.0), (1e4, 100.0), (1e6, 100.0)] {
            let mut within = 0;
            for i in 0..1000 {
                let x = f64::from(i) * 0.01 - 5.0;
                let found = derivative(|x| (offset + x.sin()) - offset, x, Method::Richardson).unwrap();
                within += usize::from((found.value - x.cos()).abs() <= times * found.error_estimate);
            }
            assert!(within >= 960, "{offset}: {within} of 1000 within {times} times the estimate");
        }
    }

    #[test]
    fn an_output_that_stays_the_same_does_not_drive_the_steps_of_another_into_its_rounding() {
        // Steps go on for the constant: no slope of 0 has a first digit. Of the line they would see but its rounding.
        let line = |w: f64| -0.0026 * w + 2.66 + 0.0732 - 2.728;
        let both = jacobian(|w: &[f64]| [line(w[0]), -2.97], &[0.0], Method::Richardson).unwrap();
        let alone = derivative(line, 0.0, Method::Richardson).unwrap();
        assert!((alone.value + 0.0026).abs() < 1e-13, "{alone:?}");
        assert_eq!((both.value[[0, 0]], both.error_estimate[[0, 0]]), (alone.value, alone.error_estimate));
        assert_eq!(both.value[[1, 0]], 0.0);
        assert!(both.evaluations < 60, "{}", both.evaluations);
    }

    #[test]
    fn an_output_without_a_value_nearby_takes_nothing_from_one_that_has_settled() {
        // Finite at the large steps and at the small ones, not between: a line has settled before.
        let holed = |w: f64| if (0.005..0.015).contains(&w.abs()) { f64::NAN } else { w.exp() };
        let both = jacobian(|w: &[f64]| [3.0 * w[0] + 1.0, holed(w[0])], &[0.0], Method::Richardson).unwrap();
        let line = derivative(|w| 3.0 * w + 1.0, 0.0, Method::Richardson).unwrap();
        assert_eq!((both.value[[0, 0]], both.error_estimate[[0, 0]]), (line.value, line.error_estimate));
        assert!((both.value[[1, 0]] - 1.0).abs() < 1e-10, "{both:?}");
        // Without any value near the point the other is refused, and with it both.
        let nowhere = |w: &[f64]| [w[0], if w[0] == 0.0 { 0.0 } else { f64::NAN }];
        assert!(jacobian(nowhere, &[0.0], Method::Richardson).is_err());
    }

    #[test]
    fn near_a_minimum_the_error_is_known() {
        let mut within = 0;
        for i in 0..1000 {
            let minimum = f64::from(i) / 3.0;
            let found = derivative(|x| (x - minimum) * (x - minimum), minimum + 1e-6, Method::Richardson).unwrap();
            let expected = 2.0 * ((minimum + 1e-6) - minimum);
            within += usize::from((found.value - expected).abs() <= found.error_estimate);
        }
        assert!(within >= 990, "{within} of 1000 within");
    }
}
