//! Mean squared error.

use super::{Loss, RowLoss, Target, TargetKind};
use crate::kernels::OutputLoss;
use crate::scalar::Scalar;

/// Mean squared error: the mean of `(p - y)^2` over **all elements**, rows times outputs.
///
/// The gradient of the mean is `2 (p - y) / N`, N the number of elements.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mse;

impl Mse {
    pub(super) fn variants(_outputs: usize) -> Vec<Self> {
        vec![Mse]
    }
}

impl<T: Scalar> Loss<T> for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        let mut loss = T::zero();
        for ((g, &p), &y) in gradient.iter_mut().zip(logits).zip(target.values()) {
            let error = p - y;
            *g = error + error;
            loss += error * error;
        }
        RowLoss { loss, weight: T::from_f64(logits.len() as f64) }
    }

    fn output_loss(&self) -> Option<OutputLoss<T>> {
        Some(OutputLoss::SquaredError)
    }

    fn curvature(&self) -> Option<f64> {
        Some(2.0)
    }

    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        Some(Box::new(Mse))
    }
}
