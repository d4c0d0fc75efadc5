//! Classes of rows, and the softmax cross-entropy they are for.

use super::element::Element;
use super::rows::prefetch_of_row;

/// The cross-entropy of the outputs' softmax against a class index: `sum_c s_c (ln(sum exp(z)) - z_c)`, where `s_c` is the
/// share of class c: `w_c (onehot_c (1-e) + e/C)` with class weights w, label smoothing e and C classes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SoftmaxLoss<'a> {
    /// What each class counts, `[classes]`, finite and not negative. Default: `None`, once.
    pub class_weights: Option<&'a [f64]>,
    /// The share of the target that is spread over all classes, 0 to 1. Default: 0.
    pub label_smoothing: f64,
}

impl SoftmaxLoss<'_> {
    /// # Panics
    /// If there is not a weight for each class, or the smoothing is not from 0 to 1.
    pub(super) fn check(&self, classes: usize) {
        assert!(self.class_weights.is_none_or(|weights| weights.len() == classes), "a weight for each class");
        assert!((0.0..=1.0).contains(&self.label_smoothing), "label smoothing from 0 to 1");
    }

    /// What a class counts.
    #[inline(always)]
    pub(super) fn class_weight<T: Element>(&self, class: usize) -> T {
        self.class_weights.map_or(T::one(), |weights| T::from_f64(weights[class]))
    }

    /// How the target of a row is spread over so many classes, if it is.
    #[inline(always)]
    pub(super) fn smoothing<T: Element>(&self, classes: usize) -> Option<Smoothing<T>> {
        (self.label_smoothing > 0.0).then(|| {
            let each = self.label_smoothing / classes as f64;
            let weights = self.class_weights.map_or(classes as f64, |weights| weights.iter().sum());
            Smoothing {
                kept: T::from_f64(1.0 - self.label_smoothing),
                each: T::from_f64(each),
                all: T::from_f64(each * weights),
            }
        })
    }
}

/// Shares of a row's target under label smoothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Smoothing<T> {
    /// What the label keeps of its class's weight: `1 - e`.
    pub kept: T,
    /// What each class gets of its own weight: `e/C`.
    pub each: T,
    /// What all classes get together: `e/C` times the sum of their weights.
    pub all: T,
}

/// A class for each row of a matrix, what each row counts, and the loss they are for.
#[derive(Debug, Clone, Copy)]
pub struct RowLabels<'a, T> {
    /// `[rows]`, those of all rows of the matrix, as are the weights.
    pub classes: &'a [usize],
    /// `None`: every row counts once.
    pub weights: Option<&'a [T]>,
    /// The loss, and what each class counts.
    pub loss: SoftmaxLoss<'a>,
}

impl<'a, T: Element> RowLabels<'a, T> {
    /// Classes, each of which counts once, for plain cross-entropy.
    pub fn new(classes: &'a [usize]) -> Self {
        RowLabels { classes, weights: None, loss: SoftmaxLoss::default() }
    }

    /// Asks for what a row will be asked for.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: usize) {
        prefetch_of_row(self.classes, self.weights, row);
    }

    /// Whether a row counts.
    pub(crate) fn counts(&self, row: usize) -> bool {
        let (label, weight) = self.at(row);
        weight > T::zero() && self.loss.class_weight::<T>(label) > T::zero()
    }

    /// The class of a row, and the row's own weight.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> (usize, T) {
        (self.classes[row], self.weights.map_or(T::one(), |weights| weights[row]))
    }
}
