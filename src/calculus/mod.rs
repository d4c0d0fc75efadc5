//! Derivatives: numerical ones of any function, with an error estimate, and the textbook ones by formula.
//!
//! A derivative says how fast a function rises: where `f'(x)` is negative, raising `x` lowers `f`. The gradient
//! gathers the derivatives by each coordinate, the Jacobian has one row of them for each output.
//!
//! | question | function |
//! |---|---|
//! | how fast does `f(x)` rise? | [`derivative`] |
//! | ... by one coordinate? | [`partial_derivative`] |
//! | ... by every coordinate? | [`gradient`] |
//! | ... along a direction? | [`directional_derivative`] |
//! | how fast does each output rise by each input? | [`jacobian`] |
//! | what does a given step `h` make of it? | [`forward_difference`], [`central_difference`] |
//!
//! A vector is a slice, a matrix is `[outputs, inputs]`. For a function `f` with Jacobian `J`, the
//! *vector-Jacobian product* (VJP) is `J' v`, `v` a number for each output: the gradient of `v . f`, and what a
//! backward pass computes. The *Jacobian-vector product* (JVP) is `J v`, `v` a number for each input: how fast the
//! outputs move when the inputs move along `v`.
//!
//! ```
//! use gradus::calculus::{self, Method};
//!
//! // f(x, y) = x^2 + 3 x y has the gradient (2x + 3y, 3x).
//! let f = |p: &[f64]| p[0] * p[0] + 3.0 * p[0] * p[1];
//! let gradient = calculus::gradient(f, &[2.0, -1.0], Method::Richardson)?;
//! for (value, (error, expected)) in gradient.value.iter().zip(gradient.error_estimate.iter().zip([1.0, 6.0])) {
//!     assert!((value - expected).abs() <= *error && *error < 1e-12);
//! }
//!
//! // The sigmoid's derivative by formula, and by differences.
//! let numerical = calculus::derivative(calculus::sigmoid, 1.0_f64, Method::Central)?;
//! assert!((numerical.value - calculus::sigmoid_derivative(1.0)).abs() < 1e-10);
//! # Ok::<(), gradus::Error>(())
//! ```

mod difference;
mod elementary;
mod linear_layer;
mod method;
mod numerical;
mod probe;
mod softmax;
mod tableau;

#[cfg(test)]
mod accuracy;

pub use difference::{central_difference, forward_difference};
pub use elementary::{
    exp, exp_derivative, ln, ln_derivative, power, power_derivative, relu, relu_derivative, sigmoid,
    sigmoid_derivative, tanh, tanh_derivative,
};
pub use linear_layer::{LinearLayer, LinearVjp};
pub use method::Method;
pub use numerical::{Estimate, derivative, directional_derivative, gradient, jacobian, partial_derivative};
pub use softmax::{log_sum_exp, log_sum_exp_gradient, softmax, softmax_jacobian, softmax_jvp, softmax_vjp};
