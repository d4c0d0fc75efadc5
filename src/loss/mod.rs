//! Losses: what a row's output costs, and the gradient of that with respect to the output.
//!
//! A loss is written for **one row** ([`Loss::row`]): the rest of the crate only ever adds rows up. Outputs are
//! logits, never probabilities. To add one: write its file beside these, and one line in the list below.

mod targets;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::kernels::{self, RowIndex};
pub use crate::kernels::{LossSum, OutputLoss, SoftmaxLoss};
use crate::scalar::Scalar;

pub use targets::{Target, TargetKind, Targets};

/// Declares the losses: a module and a public type for each, and the list of them all.
macro_rules! losses {
    ($($module:ident::$Name:ident),* $(,)?) => {
        $(mod $module;
        pub use $module::$Name;)*

        /// Every loss with each of its options set in turn, for a model of `outputs` outputs.
        ///
        /// Property tests and gradient checks run over this list.
        pub fn catalogue<T: Scalar>(outputs: usize) -> Vec<Box<dyn Loss<T>>> {
            let mut all: Vec<Box<dyn Loss<T>>> = Vec::new();
            $(for loss in $Name::variants(outputs) {
                all.push(Box::new(loss));
            })*
            all
        }
    };
}

losses! {
    mse::Mse,
    huber::Huber,
    cross_entropy::CrossEntropy,
    binary_cross_entropy::BinaryCrossEntropy,
}

/// How the rows' losses become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// The sum divided by the weight: for MSE by the number of elements, for cross-entropy by the sum of the
    /// rows' class weights. The default.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

/// What one row costs, before any division.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss<T> {
    /// The row's loss, summed over its outputs.
    pub loss: T,
    /// What the row counts for in a mean.
    pub weight: T,
}

/// The loss of a batch and its gradient.
#[derive(Debug, Clone)]
pub struct LossValue<T> {
    /// The loss, reduced.
    pub loss: T,
    /// Its gradient with respect to the logits, `[rows, outputs]`.
    pub gradient: Array2<T>,
    /// What the sum over rows was, or for [`Reduction::Sum`] would be, divided by.
    pub weight: T,
}

/// A loss, written for one row.
///
/// ```
/// use gradus::{Loss, Reduction, RowLoss, Scalar, Target, TargetKind, Targets};
///
/// /// `sqrt(1 + (p - y)^2) - 1`: quadratic near 0, linear far away.
/// struct PseudoHuber;
///
/// impl<T: Scalar> Loss<T> for PseudoHuber {
///     fn name(&self) -> &'static str {
///         "pseudo-huber"
///     }
///     fn target_kind(&self) -> TargetKind {
///         TargetKind::Values
///     }
///     fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
///         let mut loss = T::zero();
///         for ((g, &p), &y) in gradient.iter_mut().zip(logits).zip(target.values()) {
///             let root = T::one().hypot(p - y);
///             *g = (p - y) / root;
///             loss += root - T::one();
///         }
///         RowLoss { loss, weight: T::from_f64(logits.len() as f64) }
///     }
/// }
///
/// let logits = ndarray::array![[1.0], [0.0]];
/// let targets = ndarray::array![[0.0], [0.0]];
/// let value = PseudoHuber.evaluate(logits.view(), &Targets::values(&targets), Reduction::Mean)?;
/// assert_eq!(value.loss, (2f64.sqrt() - 1.0) / 2.0);
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Loss<T: Scalar>: Send + Sync {
    /// The name, as in logs and model files: lower case, words joined by `-`.
    fn name(&self) -> &'static str;

    /// Whether targets are values or class indices.
    fn target_kind(&self) -> TargetKind;

    /// One row: writes the gradient with respect to `logits` (`[outputs]`, undivided) over `gradient`, and
    /// returns the row's loss with the weight it counts for.
    ///
    /// Targets have passed [`check`](Loss::check): a class is below the number of outputs, values are finite and
    /// as many as the outputs.
    fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T>;

    /// Refuses targets that do not fit a model of `outputs` outputs: their kind, shape and range.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape), [`Label`](crate::ErrorKind::Label) or
    /// [`Target`](crate::ErrorKind::Target).
    fn check(&self, targets: &Targets<'_, T>, rows: usize, outputs: usize) -> Result<()> {
        targets.check(self.target_kind(), rows, outputs)
    }

    /// The largest second derivative of a row's loss along any unit direction of its logits, per unit of weight;
    /// `None` where there is no bound. `lr auto` is built on it. Default: `None`.
    fn curvature(&self) -> Option<f64> {
        None
    }

    /// Whether the outputs are logits of classes. Default: whether targets are class indices.
    fn classifies(&self) -> bool {
        self.target_kind() == TargetKind::Classes
    }

    /// The loss of a batch and its gradient, in one pass. `logits` is `[rows, outputs]`.
    ///
    /// # Errors
    /// Those of [`check`](Loss::check), and [`Target`](crate::ErrorKind::Target) when the weights of a mean add
    /// up to 0.
    fn evaluate(
        &self,
        logits: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
        reduction: Reduction,
    ) -> Result<LossValue<T>> {
        let (rows, outputs) = logits.dim();
        self.check(targets, rows, outputs)?;
        let logits = logits.as_standard_layout();
        let mut gradient = Array2::zeros((rows, outputs));
        let all = RowIndex::range(0, rows);
        let values = logits.as_slice().expect("standard layout");
        let sum = self.weighted_rows(values, targets, all, gradient.as_slice_mut().expect("standard layout"));
        let (mut loss, weight) = (T::from_f64(sum.loss), T::from_f64(sum.weight));
        if reduction == Reduction::Mean {
            if weight <= T::zero() {
                return Err(Error::setting("weights", "they add up to 0: there is no mean"));
            }
            loss = T::from_f64(sum.mean());
            gradient.mapv_inplace(|g| g / weight);
        }
        Ok(LossValue { loss, gradient, weight })
    }

    /// Row `row` of `targets`, its loss, gradient and weight multiplied by the row's sample weight.
    fn weighted_row(&self, logits: &[T], targets: &Targets<'_, T>, row: usize, gradient: &mut [T]) -> RowLoss<T> {
        let mut value = self.row(logits, targets.row(row), gradient);
        if let Some(weights) = targets.sample_weights() {
            let weight = weights[row];
            value.loss *= weight;
            value.weight *= weight;
            kernels::scale(gradient, weight);
        }
        value
    }

    /// The rows `rows` of `targets` together: writes each one's gradient over `gradient`, and returns their sum. `logits`
    /// and `gradient` are `[rows, outputs]`. Default: many rows at once where [`output_loss`](Loss::output_loss) or
    /// [`softmax_loss`](Loss::softmax_loss) says how, else [`weighted_row`](Loss::weighted_row) for each.
    fn weighted_rows(&self, logits: &[T], targets: &Targets<'_, T>, rows: RowIndex<'_>, gradient: &mut [T]) -> LossSum {
        if let (Some(loss), Some(targets)) = (self.output_loss(), targets.single_values()) {
            let weight = targets.total_weight(rows);
            LossSum { loss: kernels::output_loss(logits, targets, rows, loss, gradient), weight }
        } else if let Some(labels) = self.softmax_loss().and_then(|loss| targets.labels(loss)) {
            kernels::softmax_cross_entropy(logits, labels, rows, gradient)
        } else {
            each_row(self, logits, targets, rows, gradient)
        }
    }

    /// What [`row`](Loss::row) computes for one finite output and a value, with the weight 1, as the kernels know it: rows
    /// are then taken many at once, **without** calling `row` or `weighted_row`, so that a loss that changes those of another
    /// leaves this as it is. Default: `None`, the kernels do not know it.
    fn output_loss(&self) -> Option<OutputLoss<T>> {
        None
    }

    /// What [`row`](Loss::row) computes for classes, if that is the cross-entropy of the outputs' softmax. Training a linear
    /// layer then goes forward and back in one pass, and many rows are taken at once, **without** calling `row`,
    /// `weighted_row` or `weighted_rows`; nothing compares the two. Default: `None`, it is another loss.
    fn softmax_loss(&self) -> Option<SoftmaxLoss<'_>> {
        None
    }

    /// The same loss in double precision. A gradient check of single precision needs it: seven digits of a loss are too
    /// few for its slope. A loss written for every [`Scalar`] gives itself. Default: `None`, there is none.
    ///
    /// ```
    /// use gradus::check::{GradCheck, Verdict};
    /// use gradus::{Linear, Loss, RowLoss, Scalar, Target, TargetKind, Targets};
    ///
    /// /// `(p - y)^4`.
    /// struct Quartic;
    ///
    /// impl<T: Scalar> Loss<T> for Quartic {
    ///     fn name(&self) -> &'static str {
    ///         "quartic"
    ///     }
    ///     fn target_kind(&self) -> TargetKind {
    ///         TargetKind::Values
    ///     }
    ///     fn row(&self, logits: &[T], target: Target<'_, T>, gradient: &mut [T]) -> RowLoss<T> {
    ///         let error = logits[0] - target.values()[0];
    ///         gradient[0] = T::from_f64(4.0) * error.powi(3);
    ///         RowLoss { loss: error.powi(4), weight: T::one() }
    ///     }
    ///     fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
    ///         Some(Box::new(Quartic))
    ///     }
    /// }
    ///
    /// let (inputs, targets) = (ndarray::array![[0.5_f32], [30.0]], ndarray::array![[1.0_f32], [-2.0]]);
    /// let mut model = Linear::from_parts(ndarray::array![[0.3_f32]], None)?;
    /// let report = GradCheck::new().model(&mut model, &Quartic, inputs.view(), &Targets::values(&targets))?;
    /// assert_eq!(report.verdict, Verdict::Correct);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    fn in_f64(&self) -> Option<Box<dyn Loss<f64>>> {
        None
    }
}

/// [`Loss::weighted_rows`], one row after another.
fn each_row<T: Scalar, L: Loss<T> + ?Sized>(
    loss: &L,
    logits: &[T],
    targets: &Targets<'_, T>,
    rows: RowIndex<'_>,
    gradient: &mut [T],
) -> LossSum {
    let mut sum = LossSum::default();
    let outputs = logits.len() / rows.len().max(1);
    for (place, row) in rows.iter().enumerate() {
        let own = place * outputs..(place + 1) * outputs;
        let value = loss.weighted_row(&logits[own.clone()], targets, row, &mut gradient[own]);
        sum.loss += value.loss.as_f64();
        sum.weight += value.weight.as_f64();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Targets that suit the loss: classes, or values that are 0 and 1.
    fn evaluate(loss: &dyn Loss<f64>, logits: &Array2<f64>, reduction: Reduction) -> LossValue<f64> {
        let (rows, outputs) = logits.dim();
        let classes: Vec<usize> = (0..rows).map(|i| i % outputs).collect();
        let values = Array2::from_shape_fn((rows, outputs), |(i, j)| ((i + j) % 2) as f64);
        let targets = match loss.target_kind() {
            TargetKind::Classes => Targets::classes(&classes),
            TargetKind::Values => Targets::values(&values),
        };
        loss.evaluate(logits.view(), &targets, reduction).unwrap()
    }

    #[test]
    fn names_are_unique_among_losses() {
        let mut names: Vec<_> = catalogue::<f64>(3).iter().map(|loss| loss.name()).collect();
        names.dedup();
        assert_eq!(names, ["mse", "huber", "cross-entropy", "binary-cross-entropy"]);
    }

    #[test]
    fn many_rows_at_once_are_row_after_row() {
        fn check<T: Scalar>(outputs: usize, tolerance: f64) {
            let rows = 37;
            let logits: Vec<T> = (0..rows * outputs).map(|i| T::from_f64((i * i % 23) as f64 / 3.0 - 4.0)).collect();
            let values = Array2::from_shape_fn((rows, outputs), |(i, j)| T::from_f64(((i + j) % 3) as f64 / 2.0));
            let classes: Vec<usize> = (0..rows).map(|i| i % outputs).collect();
            let weights: Vec<T> = (0..rows).map(|i| T::from_f64((i % 4) as f64 / 2.0)).collect();
            for (loss, weighted) in catalogue::<T>(outputs).iter().flat_map(|loss| [(loss, false), (loss, true)]) {
                let targets = match loss.target_kind() {
                    TargetKind::Values => Targets::values(&values),
                    TargetKind::Classes => Targets::classes(&classes),
                };
                let targets = if weighted { targets.weighted(&weights) } else { targets };
                let all = RowIndex::range(0, rows);
                let (mut found, mut expected) = (vec![T::zero(); logits.len()], vec![T::zero(); logits.len()]);
                let sum = loss.weighted_rows(&logits, &targets, all, &mut found);
                let each = each_row(&**loss, &logits, &targets, all, &mut expected);
                let close = |a: f64, b: f64| (a - b).abs() <= tolerance * (1.0 + b.abs());
                assert!(
                    close(sum.loss, each.loss) && close(sum.weight, each.weight),
                    "{}: {sum:?} {each:?}",
                    loss.name()
                );
                let pairs = found.iter().zip(&expected);
                assert!(pairs.map(|(a, b)| (a.as_f64(), b.as_f64())).all(|(a, b)| close(a, b)), "{}", loss.name());
            }
        }
        for outputs in [1, 3] {
            check::<f64>(outputs, 1e-13);
            check::<f32>(outputs, 1e-5);
        }
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope_of_the_loss(
            logits in prop::collection::vec(-4.0..4.0f64, 12), direction in prop::collection::vec(-1.0..1.0f64, 12)
        ) {
            let logits = Array2::from_shape_vec((4, 3), logits).unwrap();
            let direction = Array2::from_shape_vec((4, 3), direction).unwrap();
            for loss in catalogue::<f64>(3) {
                for reduction in [Reduction::Mean, Reduction::Sum] {
                    let h = 1e-5;
                    let slope = (evaluate(&*loss, &(&logits + &direction * h), reduction).loss
                        - evaluate(&*loss, &(&logits - &direction * h), reduction).loss) / (2.0 * h);
                    let gradient = evaluate(&*loss, &logits, reduction).gradient;
                    let expected = (&gradient * &direction).sum();
                    // Huber's second derivative jumps: near a kink of it the difference is O(h).
                    prop_assert!((slope - expected).abs() < 2e-5, "{}: {slope} {expected}", loss.name());
                }
            }
        }

        #[test]
        fn the_second_derivative_stays_below_the_stated_curvature(
            logits in prop::collection::vec(-6.0..6.0f64, 3), direction in prop::collection::vec(-1.0..1.0f64, 3)
        ) {
            let logits = Array2::from_shape_vec((1, 3), logits).unwrap();
            let direction = Array2::from_shape_vec((1, 3), direction).unwrap();
            let length = direction.iter().map(|d| d * d).sum::<f64>();
            prop_assume!(length > 0.01);
            for loss in catalogue::<f64>(3) {
                let h = 1e-4;
                let ahead = evaluate(&*loss, &(&logits + &direction * h), Reduction::Mean).gradient;
                let behind = evaluate(&*loss, &(&logits - &direction * h), Reduction::Mean).gradient;
                let second = ((&ahead - &behind) * &direction).sum() / (2.0 * h) / length;
                // In a mean over the outputs each output has its share of the weight.
                let share = match loss.target_kind() {
                    TargetKind::Classes => 1.0,
                    TargetKind::Values => 1.0 / 3.0,
                };
                let bound = loss.curvature().unwrap() * share;
                prop_assert!(second <= bound * (1.0 + 1e-6) + 1e-9, "{}: {second} {bound}", loss.name());
            }
        }

        #[test]
        fn every_loss_is_finite_for_any_logits_in_the_millions(
            logits in prop::collection::vec(-1e6..1e6f64, 12)
        ) {
            let logits = Array2::from_shape_vec((4, 3), logits).unwrap();
            for loss in catalogue::<f64>(3) {
                let value = evaluate(&*loss, &logits, Reduction::Mean);
                prop_assert!(value.loss.is_finite() && value.loss >= 0.0, "{}", loss.name());
                prop_assert!(value.gradient.iter().all(|g| g.is_finite()), "{}", loss.name());
            }
        }
    }
}
