//! What is checked: a loss as a function of parameters, and the gradient that is claimed for it.

use crate::error::Result;
use crate::scalar::Scalar;

/// One parameter within the flat gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: usize,
    pub length: usize,
    /// Frozen: its gradient is none, and not checked.
    pub frozen: bool,
}

/// What is known beside the two gradients, for the cause.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub rows: Option<usize>,
    pub outputs: Option<usize>,
    pub accumulate: Option<usize>,
    /// Whether the loss is the sum over rows, and what a mean divides it by.
    pub summed: Option<bool>,
    pub weight: Option<f64>,
    /// Passes in a gradient whose ledger says that it should not have been added to.
    pub stale_passes: Option<u64>,
}

/// A gradient that is claimed, and what goes with it.
pub(super) struct Claim {
    pub parts: Vec<Part>,
    pub facts: Facts,
    /// The parameters, and the gradient claimed there.
    pub values: Vec<f64>,
    pub analytic: Vec<f64>,
    pub precision: Precision,
}

/// How a claimed gradient stands to the same code's in the digits of the loss. Where the loss has no more digits than the
/// gradient they are one, and nothing is allowed for.
pub(super) struct Precision {
    /// The gradient in as many digits as the loss.
    pub precise: Vec<f64>,
    /// How far rounding can have taken each entry of the claimed gradient from that.
    pub bound: Vec<f64>,
    /// What the smallest numbers of the claimed gradient's type amount to in each entry.
    pub grain: Vec<f64>,
    /// Evaluations it took to find out.
    pub evaluations: usize,
}

impl Precision {
    /// The claimed gradient has as many digits as the loss.
    pub(super) fn full<T: Scalar>(analytic: &[f64]) -> Self {
        let grain = vec![T::min_positive_value().as_f64(); analytic.len()];
        Precision { precise: analytic.to_vec(), bound: vec![0.0; analytic.len()], grain, evaluations: 0 }
    }
}

impl Claim {
    /// What rounding has done to an entry, as far as rounding can have done it.
    pub(super) fn rounding(&self, entry: usize) -> f64 {
        let Precision { precise, bound, .. } = &self.precision;
        (self.analytic[entry] - precise[entry]).abs().min(bound[entry])
    }
}

/// A loss as a function of parameters. Numbers are `f64`; `round` says what becomes of them.
pub(super) trait Subject {
    /// The loss with these parameters.
    fn loss(&mut self, values: &[f64]) -> Result<f64>;
    /// The value that a parameter takes for this number.
    fn round(&self, value: f64) -> f64;
    /// What rounding does to the loss with these parameters, as far as it shows where they are not moved, and the
    /// evaluations it took to find out.
    fn noise(&mut self, _values: &[f64]) -> Result<(f64, usize)> {
        Ok((0.0, 0))
    }
    /// The epsilon of the loss's number type.
    fn epsilon(&self) -> f64;
    /// The gradients that the code would give with its rows or classes shifted, with what each would show.
    fn mended(&mut self) -> Result<Vec<(Shift, Vec<f64>)>> {
        Ok(Vec::new())
    }
    /// The loss of each row, as its share of the whole, with these parameters; empty where rows are not known.
    fn row_losses(&mut self, _values: &[f64]) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }
}

/// What was shifted to mend a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shift {
    Rows,
    Classes,
}

/// The parts of consecutive parameters.
pub(super) fn lay_out(parameters: impl Iterator<Item = (String, Vec<usize>)>) -> Vec<Part> {
    let mut start = 0;
    let mut parts = Vec::new();
    for (name, shape) in parameters {
        let length = shape.iter().product();
        parts.push(Part { name, shape, start, length, frozen: false });
        start += length;
    }
    parts
}

/// A closure, with room for its argument.
pub(super) struct Closure<F, T> {
    pub f: F,
    pub scratch: Vec<T>,
}

impl<T: Scalar, F: FnMut(&[T]) -> T> Subject for Closure<F, T> {
    fn loss(&mut self, values: &[f64]) -> Result<f64> {
        self.scratch.clear();
        self.scratch.extend(values.iter().map(|&v| T::from_f64(v)));
        Ok((self.f)(&self.scratch).as_f64())
    }

    fn round(&self, value: f64) -> f64 {
        T::from_f64(value).as_f64()
    }

    fn epsilon(&self) -> f64 {
        T::epsilon().as_f64()
    }
}
