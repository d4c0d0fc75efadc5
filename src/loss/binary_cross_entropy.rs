//! Binary cross-entropy on logits.

use super::{Loss, RowLoss, Target, TargetKind, Targets};
use crate::error::{Result, check_positive};
use crate::kernels::{OutputLoss, sigmoid, softplus};
use crate::scalar::Scalar;

/// Binary cross-entropy of the sigmoid of each logit against a target between 0 and 1: the mean over all elements
/// of `pos_weight y softplus(-z) + (1-y) softplus(z)`.
///
/// Written with softplus it is finite for any finite logit. The gradient without `pos_weight` is `sigmoid(z) - y`.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropy {
    pos_weight: f64,
}

impl BinaryCrossEntropy {
    /// `pos_weight` 1.
    pub fn new() -> Self {
        BinaryCrossEntropy { pos_weight: 1.0 }
    }

    /// What the positive side of the loss is multiplied by. It does not count in the mean's divisor, as in
    /// `torch.nn.BCEWithLogitsLoss`. Default: 1.
    ///
    /// # Errors
    /// If it is not finite and above 0.
    pub fn with_pos_weight(pos_weight: f64) -> Result<Self> {
        check_positive("pos_weight", pos_weight)?;
        Ok(BinaryCrossEntropy { pos_weight })
    }

    pub(super) fn variants(_outputs: usize) -> Vec<Self> {
        vec![BinaryCrossEntropy::new(), BinaryCrossEntropy { pos_weight: 2.5 }]
    }
}

impl Default for BinaryCrossEntropy {
    fn default() -> Self {
        BinaryCrossEntropy::new()
    }
}

impl<T: Scalar> Loss<T> for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary-cross-entropy"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn classifies(&self) -> bool {
        true
    }

    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        let pos_weight = T::from_f64(self.pos_weight);
        let mut loss = T::zero();
        for ((g, &z), &y) in gradient.iter_mut().zip(logits).zip(target.values()) {
            let positive = pos_weight * y;
            let negative = T::one() - y;
            // A side that counts for nothing is left out: softplus of a huge logit is huge.
            if positive > T::zero() {
                loss += positive * softplus(-z);
            }
            if negative > T::zero() {
                loss += negative * softplus(z);
            }
            *g = negative * sigmoid(z) - positive * sigmoid(-z);
        }
        RowLoss { loss, weight: T::from_f64(logits.len() as f64) }
    }

    fn output_loss(&self) -> Option<OutputLoss<T>> {
        Some(OutputLoss::Logistic { pos_weight: T::from_f64(self.pos_weight) })
    }

    fn check(&self, targets: &Targets<'_, T>, rows: usize, outputs: usize) -> Result<()> {
        targets.check(TargetKind::Values, rows, outputs)?;
        targets.check_values(|y| y >= T::zero() && y <= T::one(), "is not between 0 and 1")
    }

    fn curvature(&self) -> Option<f64> {
        Some(0.25 * self.pos_weight.max(1.0))
    }

    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        Some(Box::new(*self))
    }
}
