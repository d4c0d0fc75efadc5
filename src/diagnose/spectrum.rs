//! The curvature of the loss, largest and smallest, and the condition number between them.

use super::krylov::{Krylov, Matrix};
use crate::data::Dataset;
use crate::loss::{Loss, TargetKind};
use crate::scalar::Scalar;
use crate::train::row_weights;

/// The eigenvalues of a loss's curvature `c sum w_i [x_i 1][x_i 1]' / sum w`, c the loss's largest second derivative:
/// of the Hessian itself for MSE, of a bound of it for other losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectrum {
    /// The largest eigenvalue.
    pub largest: f64,
    /// The smallest above rounding.
    pub smallest: f64,
    /// `largest / smallest`.
    pub condition: f64,
    /// Directions along which the data do not vary at all, where the loss is flat: one for each feature that others
    /// make up.
    pub flat_directions: usize,
    /// Whether all directions were gone through. If not, `smallest` is only a bound from above.
    pub complete: bool,
    /// The rows measured: all of them, or evenly spaced ones of very many.
    pub rows: usize,
}

/// The multiplications a measurement may take.
pub(super) const WORK: f64 = 4e9;

/// The most directions gone through.
const MOST_DIRECTIONS: usize = 400;

/// Measures the curvature of a mean loss over the parameters of a linear model; `bias` says whether it has one. `None`
/// if the loss states no curvature, or values are so large that their squares have no number. The eigenvalues are relatively exact to about 1e-10, whatever the condition.
pub fn spectrum<T, L>(data: &Dataset<T>, loss: &L, outputs: usize, bias: bool) -> Option<Spectrum>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    let per_weight = loss.curvature()?;
    let blocks = match loss.target_kind() {
        TargetKind::Values => outputs as f64,
        TargetKind::Classes => 1.0,
    };
    let matrix = Matrix::new(data, &row_weights(data, loss, outputs), bias, WORK);
    if !matrix.sum_of_squares().is_finite() {
        return None;
    }
    let krylov = Krylov::of(&matrix, vec![0.0; matrix.rows()], MOST_DIRECTIONS);
    let (largest, smallest) = krylov.extremes();
    let scale = per_weight / blocks;
    Some(Spectrum {
        largest: scale * largest * largest,
        smallest: scale * smallest * smallest,
        condition: (largest / smallest) * (largest / smallest),
        flat_directions: if krylov.complete { matrix.columns() } else { krylov.directions() } - krylov.rank(),
        complete: krylov.complete,
        rows: matrix.rows(),
    })
}
