//! Gradient norms and clipping.

use crate::error::{Result, check_positive};
use crate::kernels;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// What is done to gradients that are too large, before a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Clip {
    /// Nothing. The default.
    #[default]
    None,
    /// [`clip_norm`] to this norm.
    Norm(f64),
    /// [`clip_value`] to this value.
    Value(f64),
}

impl Clip {
    /// Refuses a limit that is not finite and above 0.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting).
    pub fn check(self) -> Result<()> {
        match self {
            Clip::None => Ok(()),
            Clip::Norm(limit) => check_positive("clip norm", limit),
            Clip::Value(limit) => check_positive("clip value", limit),
        }
    }

    /// Clips the gradients in place.
    pub fn apply<T: Scalar>(self, parameters: &mut [Parameter<T>]) {
        match self {
            Clip::None => {}
            Clip::Norm(limit) => {
                clip_norm(parameters, limit);
            }
            Clip::Value(limit) => clip_value(parameters, limit),
        }
    }
}

/// The L2 norm of the gradients of all parameters that are not frozen, taken as one vector.
pub fn grad_norm<T: Scalar>(parameters: &[Parameter<T>]) -> f64 {
    squared_grad_norm(parameters).sqrt()
}

/// The square of [`grad_norm`].
pub(crate) fn squared_grad_norm<T: Scalar>(parameters: &[Parameter<T>]) -> f64 {
    squared_grad_norm_by(parameters, |_, parameter| kernels::sum_of_squares(parameter.gradients()))
}

/// The same, of the square that `square_of` gives for each place and its parameter.
pub(crate) fn squared_grad_norm_by<T: Scalar>(
    parameters: &[Parameter<T>],
    square_of: impl Fn(usize, &Parameter<T>) -> T,
) -> f64 {
    let trained = parameters.iter().enumerate().filter(|(_, parameter)| !parameter.is_frozen());
    trained.map(|(place, parameter)| square_of(place, parameter).as_f64()).sum()
}

/// Scales all gradients by `min(1, max_norm / (norm + 1e-6))`, and returns the norm before, as
/// `torch.nn.utils.clip_grad_norm_` does.
pub fn clip_norm<T: Scalar>(parameters: &mut [Parameter<T>], max_norm: f64) -> f64 {
    let norm = grad_norm(parameters);
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        for parameter in parameters {
            kernels::scale(parameter.values_and_gradients_mut().1, T::from_f64(factor));
        }
    }
    norm
}

/// Limits every element of every gradient to `-limit ..= limit`.
pub fn clip_value<T: Scalar>(parameters: &mut [Parameter<T>], limit: f64) {
    let limit = T::from_f64(limit);
    for parameter in parameters {
        kernels::clamp(parameter.values_and_gradients_mut().1, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn with_gradient(gradient: [f64; 2]) -> [Parameter<f64>; 1] {
        let mut parameter = Parameter::new("w", array![0.0, 0.0]);
        parameter.accumulate(&gradient).unwrap();
        [parameter]
    }

    #[test]
    fn a_norm_below_the_limit_is_left_alone() {
        let mut parameters = with_gradient([3.0, 4.0]);
        assert_eq!(clip_norm(&mut parameters, 5.1), 5.0);
        assert_eq!(parameters[0].gradients(), [3.0, 4.0]);
    }

    #[test]
    fn values_are_limited_one_by_one() {
        let mut parameters = with_gradient([3.0, -0.5]);
        clip_value(&mut parameters, 1.0);
        assert_eq!(parameters[0].gradients(), [1.0, -0.5]);
    }

    #[test]
    fn a_frozen_parameter_does_not_count() {
        let mut parameters = with_gradient([3.0, 4.0]);
        parameters[0].set_frozen(true);
        assert_eq!(grad_norm(&parameters), 0.0);
    }

    #[test]
    fn limits_must_be_above_zero() {
        for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Clip::Norm(limit).check().is_err() && Clip::Value(limit).check().is_err());
        }
    }
}
