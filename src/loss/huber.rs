//! Huber's loss: squared near 0, linear far away.

use super::{Loss, RowLoss, Target, TargetKind};
use crate::error::{Result, check_positive};
use crate::kernels::OutputLoss;
use crate::scalar::Scalar;

/// Huber's loss (Huber 1964): with `e = p - y`, the mean over all elements of `e^2 / 2` where `|e| <= delta` and
/// `delta (|e| - delta/2)` beyond.
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    delta: f64,
}

impl Huber {
    /// `delta` 1, in the target's units.
    pub fn new() -> Self {
        Huber { delta: 1.0 }
    }

    /// Where squared turns into linear, in the target's units. Default: 1.
    ///
    /// # Errors
    /// If `delta` is not finite and above 0.
    pub fn with_delta(delta: f64) -> Result<Self> {
        check_positive("delta", delta)?;
        Ok(Huber { delta })
    }

    pub(super) fn variants(_outputs: usize) -> Vec<Self> {
        vec![Huber::new(), Huber { delta: 0.25 }]
    }
}

impl Default for Huber {
    fn default() -> Self {
        Huber::new()
    }
}

impl<T: Scalar> Loss<T> for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        let delta = T::from_f64(self.delta);
        let half = T::from_f64(0.5);
        let mut loss = T::zero();
        for ((g, &p), &y) in gradient.iter_mut().zip(logits).zip(target.values()) {
            let error = p - y;
            if error.abs() <= delta {
                *g = error;
                loss += half * error * error;
            } else {
                *g = delta * error.signum();
                loss += delta * (error.abs() - half * delta);
            }
        }
        RowLoss { loss, weight: T::from_f64(logits.len() as f64) }
    }

    fn output_loss(&self) -> Option<OutputLoss<T>> {
        Some(OutputLoss::Huber { delta: T::from_f64(self.delta) })
    }

    fn curvature(&self) -> Option<f64> {
        Some(1.0)
    }

    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        Some(Box::new(*self))
    }
}
