//! The inner loops, on plain slices. Nothing outside this folder loops over features.
//!
//! Every kernel adds in a fixed order, so that its result does not depend on who calls it or when. Which instructions it
//! uses is picked at run time ([`Level`]), once for many rows: between levels results differ by rounding.

mod aligned;
mod apart;
mod backward;
mod block_rows;
mod call;
mod column_descent;
mod column_loss;
mod columns;
mod element;
mod exchange;
mod exponential;
mod forward;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod level;
mod linear_loss;
mod linear_softmax;
mod linear_squared_error;
mod lone_steps;
mod loss_sum;
mod marks;
mod mean_step;
mod output_loss;
mod pages;
mod paired_steps;
mod piece_gradient;
mod processor;
mod race;
mod row_labels;
mod rows;
mod shuffle;
mod softmax;
mod softmax_descent;
mod softmax_half;
mod softmax_loss;
mod softmax_piece;
#[cfg(target_arch = "x86_64")]
mod sums_x86;
mod team;
#[cfg(test)]
pub(crate) mod test_levels;
mod trust;
mod update;
mod vector;

pub(crate) use aligned::Aligned;
pub(crate) use apart::Apart;
pub use backward::{linear_backward, linear_backward_anew};
pub(crate) use column_descent::{ColumnDescent, Decision, Descended, Supervisor};
pub(crate) use columns::{ColumnMoments, column_moments, standardize_columns};
pub use element::Element;
pub use forward::linear_forward;
pub use level::Level;
pub use linear_loss::linear_loss;
pub use linear_softmax::linear_softmax;
pub use loss_sum::LossSum;
pub(crate) use marks::{MARKED_AT_ONCE, mark_bytes};
pub(crate) use mean_step::{MeanStep, PlainStep, Summands};
pub use output_loss::{OutputLoss, RowTargets, output_loss};
pub(crate) use pages::{Reserve, aligned_zeros};
pub(crate) use processor::SideBySide;
pub use row_labels::{RowLabels, SoftmaxLoss};
pub use rows::{RowIndex, Rows};
pub(crate) use shuffle::ShuffledNumbers;
pub use softmax::{log_sum_exp, sigmoid, softmax, softplus};
pub(crate) use softmax_descent::{Batches, SoftmaxDescent, StepSupervisor};
pub use softmax_loss::softmax_cross_entropy;
pub(crate) use softmax_piece::MOST_CLASSES;
pub use softmax_piece::SoftmaxRoom;
pub use team::Team;
pub use update::{SgdUpdate, clamp, sgd_update};
pub(crate) use vector::{SQUARES, quotient_of_sum};
pub use vector::{add, add_scaled, divide, dot, quotient, scale, sum_of_squared_sums, sum_of_squares};
