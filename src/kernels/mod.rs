//! The inner loops, on plain slices. Nothing outside this folder loops over features.
//!
//! Every kernel adds in a fixed order, so that its result does not depend on who calls it or when.

mod softmax;
mod update;
mod vector;

pub use softmax::{log_sum_exp, sigmoid, softmax, softplus};
pub use update::{SgdUpdate, clamp, sgd_update};
pub use vector::{add, add_scaled, divide, dot, scale, sum_of_squared_sums, sum_of_squares};
