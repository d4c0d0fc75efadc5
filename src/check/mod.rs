//! Gradient checking with a verdict and a cause.
//!
//! An analytic gradient is compared with a numerical one, entry by entry or along random directions. How far the two may
//! be apart follows from the error estimate of each numerical value, not from one constant: small steps are hidden by
//! rounding, large ones by curvature, and how much is measured. What is wrong is looked at as a whole for its
//! [`Cause`]: a factor, a sign, a transpose, a missing bias.
//!
//! ```
//! use gradus::check::{Cause, GradCheck, Verdict};
//!
//! let f = |p: &[f64]| p[0].sin() + p[0] * p[1] * p[1];
//! let at = [0.3_f64, 2.0];
//! let right = [at[0].cos() + at[1] * at[1], 2.0 * at[0] * at[1]];
//! assert_eq!(GradCheck::new().function(f, &at, &right)?.verdict, Verdict::Correct);
//!
//! let wrong = right.map(|g| -g);
//! let report = GradCheck::new().function(f, &at, &wrong)?;
//! assert_eq!((report.verdict, report.cause), (Verdict::Wrong, Some(Cause::Sign { parameter: None })));
//! # Ok::<(), gradus::Error>(())
//! ```

mod batch;
mod cause;
mod double;
mod gradcheck;
mod on_batch;
mod report;
mod run;
mod slope;
mod subject;

pub use cause::{Cause, FactorMeaning};
pub use gradcheck::{GradCheck, Mode};
pub use report::{Band, Entry, ParameterReport, Report, Verdict};
