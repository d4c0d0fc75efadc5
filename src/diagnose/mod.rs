//! What is wrong with this data, this learning rate, this result.
//!
//! Most of it is read off one thing: an orthonormal basis of the directions of the data, built by Lanczos steps, in
//! which curvature, conditioning, leverage, least squares and standard errors are at hand. What these functions return
//! are facts; which option mends them is the command's to say.

mod columns;
mod krylov;
mod least_squares;
mod rows;
mod spectrum;
mod stability;

pub use columns::{Collinear, ColumnFacts, SourceColumn, column_facts};
pub use least_squares::{LeastSquares, least_squares};
pub use rows::{Mislabelled, Mistyped, SuspectOptions, Suspects, suspects};
pub use spectrum::{Spectrum, spectrum};
pub use stability::{StableRates, stable_rates};
