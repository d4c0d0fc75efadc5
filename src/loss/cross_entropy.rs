//! Cross-entropy on class indices.

use super::{Loss, RowLoss, Target, TargetKind, Targets};
use crate::error::{Error, Result};
use crate::kernels::{self, SoftmaxLoss};
use crate::scalar::Scalar;

/// Cross-entropy of the softmax of the logits against a class index.
///
/// The mean is `sum w_y nll / sum w_y`, `w` the class weights. With label smoothing `e` and C classes a row's loss
/// is `(1-e) w_y nll_y + e/C sum_c w_c nll_c`, as in `torch.nn.CrossEntropyLoss`. The gradient of a row without
/// either is `softmax - onehot`.
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    class_weights: Option<Vec<f64>>,
    label_smoothing: f64,
}

impl CrossEntropy {
    /// No class weights, no label smoothing.
    pub fn new() -> Self {
        CrossEntropy::default()
    }

    /// A weight for each class, `[outputs]`. Default: every class counts once.
    ///
    /// # Errors
    /// If a weight is negative or not finite.
    pub fn with_class_weights(mut self, weights: Vec<f64>) -> Result<Self> {
        if let Some(class) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            let why = format!("class {class} has {}; it must be finite and not negative", weights[class]);
            return Err(Error::setting("class weights", why));
        }
        self.class_weights = Some(weights);
        Ok(self)
    }

    /// The share of the target spread evenly over all classes, 0 to 1. Default: 0.
    ///
    /// # Errors
    /// If `smoothing` is not between 0 and 1.
    pub fn with_label_smoothing(mut self, smoothing: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::setting("label smoothing", format!("{smoothing} must be between 0 and 1")));
        }
        self.label_smoothing = smoothing;
        Ok(self)
    }

    pub(super) fn variants(outputs: usize) -> Vec<Self> {
        let weights: Vec<f64> = (1..=outputs).map(|class| 0.5 * class as f64).collect();
        vec![
            CrossEntropy::new(),
            CrossEntropy { class_weights: Some(weights.clone()), label_smoothing: 0.0 },
            CrossEntropy { class_weights: None, label_smoothing: 0.1 },
            CrossEntropy { class_weights: Some(weights), label_smoothing: 0.1 },
        ]
    }

    fn class_weight<T: Scalar>(&self, class: usize) -> T {
        self.class_weights.as_ref().map_or(T::one(), |weights| T::from_f64(weights[class]))
    }

    /// The share of class `class` in the row's target: `w_c (onehot_c (1-e) + e/C)`.
    fn share<T: Scalar>(&self, class: usize, label: usize, classes: usize) -> T {
        let spread = self.label_smoothing / classes as f64;
        let share = if class == label { 1.0 - self.label_smoothing + spread } else { spread };
        self.class_weight::<T>(class) * T::from_f64(share)
    }
}

impl<T: Scalar> Loss<T> for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Classes
    }

    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
        let label = target.class();
        let weight = self.class_weight::<T>(label);
        let log_sum_exp = kernels::softmax(logits, gradient);
        if self.label_smoothing == 0.0 {
            // softmax - onehot. For a label that is nearly certain both the loss and the label's `p - 1` are differences
            // of nearly equal numbers: the other classes' probabilities have them exactly.
            let others: T = gradient.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, &p)| p).sum();
            let certain = others < T::from_f64(0.5);
            let loss = weight * if certain { -(-others).ln_1p() } else { log_sum_exp - logits[label] };
            gradient[label] = -others;
            if self.class_weights.is_some() {
                kernels::scale(gradient, weight);
            }
            return RowLoss { loss, weight };
        }
        let classes = logits.len();
        let mut total = T::zero();
        let mut loss = T::zero();
        for (class, &z) in logits.iter().enumerate() {
            let share = self.share::<T>(class, label, classes);
            total += share;
            // A share of 0 that is spread must not meet an infinite difference; the label's own always counts.
            if share > T::zero() || class == label {
                loss += share * (log_sum_exp - z);
            }
        }
        kernels::scale(gradient, total);
        for (class, g) in gradient.iter_mut().enumerate() {
            *g -= self.share::<T>(class, label, classes);
        }
        RowLoss { loss, weight }
    }

    fn softmax_loss(&self) -> Option<SoftmaxLoss<'_>> {
        let CrossEntropy { class_weights, label_smoothing } = self;
        Some(SoftmaxLoss { class_weights: class_weights.as_deref(), label_smoothing: *label_smoothing })
    }

    fn check(&self, targets: &Targets<'_, T>, rows: usize, outputs: usize) -> Result<()> {
        if let Some(weights) = &self.class_weights
            && weights.len() != outputs
        {
            return Err(Error::shape("class weights", &[outputs], &[weights.len()]));
        }
        targets.check(TargetKind::Classes, rows, outputs)
    }

    fn curvature(&self) -> Option<f64> {
        // The Hessian of a row is s (diag p - p p'), s the sum of the shares: at most s/2 in any direction
        // (Boehning 1992). Without smoothing s = w_y, and the weight is w_y too.
        let Some(weights) = &self.class_weights else { return Some(0.5) };
        if self.label_smoothing == 0.0 {
            return Some(0.5);
        }
        // With smoothing s / w_y is largest for the class of least weight.
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let least = weights.iter().copied().filter(|w| *w > 0.0).fold(f64::INFINITY, f64::min);
        Some(0.5 * ((1.0 - self.label_smoothing) + self.label_smoothing * mean / least))
    }

    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        Some(Box::new(self.clone()))
    }
}
