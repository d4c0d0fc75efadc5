//! A parameter: a value, its gradient, and a ledger of what the gradient holds.

use ndarray::{Array, ArrayViewD, Dimension, IxDyn};

use crate::error::{Error, Result};
use crate::kernels::{self, Aligned, Apart};
use crate::scalar::Scalar;

/// What a gradient holds, as far as stepping with it goes.
///
/// | state | `backward` | `step` | `zero_grad` |
/// |---|---|---|---|
/// | `Empty` | `Pending{1}` | fault `Missing` | `Empty` |
/// | `Pending{n}` | `Pending{n+1}` | `Spent` | `Empty`, n passes thrown away |
/// | `Spent` | `Stale{1}` | fault `Double` | `Empty` |
/// | `Stale{n}` | `Stale{n+1}` | fault `Stale` | `Empty` |
///
/// A gradient is stale when a backward pass was added to what a step has already used: that is the forgotten
/// `zero_grad`, and deliberate accumulation never looks like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ledger {
    /// Zero: nothing has been added since `zero_grad`.
    #[default]
    Empty,
    /// The sum of `passes` backward passes that no step has used.
    Pending {
        /// Backward passes in the sum.
        passes: u64,
    },
    /// What step number `step` has used.
    Spent {
        /// The step, counted from 1.
        step: u64,
    },
    /// What step number `step` has used, with `passes` backward passes added on top.
    Stale {
        /// The step, counted from 1.
        step: u64,
        /// Backward passes added since.
        passes: u64,
    },
}

/// Why a gradient must not be stepped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerFault {
    /// There is no gradient.
    Missing,
    /// Step number `step` has used it already.
    Double {
        /// The step, counted from 1.
        step: u64,
    },
    /// Step number `step` has used a part of it already.
    Stale {
        /// The step, counted from 1.
        step: u64,
        /// Backward passes added since.
        passes: u64,
    },
}

impl Ledger {
    /// The state after one more backward pass.
    pub fn after_backward(self) -> Ledger {
        match self {
            Ledger::Empty => Ledger::Pending { passes: 1 },
            Ledger::Pending { passes } => Ledger::Pending { passes: passes + 1 },
            Ledger::Spent { step } => Ledger::Stale { step, passes: 1 },
            Ledger::Stale { step, passes } => Ledger::Stale { step, passes: passes + 1 },
        }
    }

    /// Why a step is not in order here; `None` when it is.
    pub fn fault(self) -> Option<LedgerFault> {
        match self {
            Ledger::Pending { .. } => None,
            Ledger::Empty => Some(LedgerFault::Missing),
            Ledger::Spent { step } => Some(LedgerFault::Double { step }),
            Ledger::Stale { step, passes } => Some(LedgerFault::Stale { step, passes }),
        }
    }

    /// Backward passes that no step has used and that `zero_grad` would throw away.
    pub fn unstepped_passes(self) -> u64 {
        match self {
            Ledger::Pending { passes } => passes,
            _ => 0,
        }
    }
}

/// A named array that training changes, with a gradient of the same shape.
#[derive(Debug, Clone)]
pub struct Parameter<T> {
    name: String,
    shape: Vec<usize>,
    /// Row by row.
    value: Aligned<T>,
    gradient: Aligned<T>,
    /// On lines of its own: each step writes in it, and the pointer to the value is read by other threads.
    book: Apart<Book>,
    frozen: bool,
    decays: bool,
}

/// What is known of the gradient.
#[derive(Debug, Clone, Copy, Default)]
struct Book {
    ledger: Ledger,
    /// Passes that `zero_grad` has thrown away since the last step.
    thrown_away: u64,
}

impl<T: Scalar> Parameter<T> {
    /// A parameter with an empty gradient, neither frozen nor exempt from weight decay.
    pub fn new<D: Dimension>(name: impl Into<String>, value: Array<T, D>) -> Self {
        // Row-major, so that values() and gradients() are slices in the order a reader expects.
        let (shape, value) = (value.shape().to_vec(), value.as_standard_layout());
        let value = Aligned::from(value.as_slice().expect("it is row-major"));
        let gradient = Aligned::zeros(value.len());
        Parameter { name: name.into(), shape, value, gradient, book: Apart::default(), frozen: false, decays: true }
    }

    /// Leaves this parameter out of weight decay. Default: weight decay applies.
    pub fn without_decay(mut self) -> Self {
        self.decays = false;
        self
    }

    /// The same parameter in double precision, with an empty gradient.
    pub fn in_f64(&self) -> Parameter<f64> {
        let mut value = Aligned::zeros(self.len());
        value.iter_mut().zip(self.values()).for_each(|(wide, value)| *wide = value.as_f64());
        Parameter {
            name: self.name.clone(),
            shape: self.shape.clone(),
            value,
            gradient: Aligned::zeros(self.len()),
            book: Apart::default(),
            frozen: self.frozen,
            decays: self.decays,
        }
    }

    /// Whether weight decay applies.
    pub fn decays(&self) -> bool {
        self.decays
    }

    /// Says whether weight decay applies. Default: it does.
    pub fn set_decays(&mut self, decays: bool) {
        self.decays = decays;
    }

    /// Whether the parameter is left as it is by backward passes and steps. Default: no.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Freezes the parameter, or lets it train again. Either way its gradient becomes empty.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.discard_grad();
    }

    /// The name, as in messages and model files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    pub fn value(&self) -> ArrayViewD<'_, T> {
        self.shaped(&self.value)
    }

    /// The gradient: zeros where the ledger is empty.
    pub fn gradient(&self) -> ArrayViewD<'_, T> {
        self.shaped(&self.gradient)
    }

    fn shaped<'a>(&self, elements: &'a [T]) -> ArrayViewD<'a, T> {
        ArrayViewD::from_shape(IxDyn(&self.shape), elements).expect("as many elements as the shape has")
    }

    /// The value, row by row.
    pub fn values(&self) -> &[T] {
        &self.value
    }

    /// The value, row by row, to change.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.value
    }

    /// The gradient, row by row.
    pub fn gradients(&self) -> &[T] {
        &self.gradient
    }

    /// The value to change and the gradient to change it by.
    pub fn values_and_gradients_mut(&mut self) -> (&mut [T], &mut [T]) {
        (&mut self.value, &mut self.gradient)
    }

    /// The shape of value and gradient.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether this is the shape. Nothing is called for a vector or a matrix: each step asks.
    #[inline]
    pub(crate) fn has_shape(&self, shape: &[usize]) -> bool {
        match (&self.shape[..], shape) {
            ([a], [b]) => a == b,
            ([a, b], [c, d]) => a == c && b == d,
            (own, other) => own == other,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.value.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// What the gradient holds.
    pub fn ledger(&self) -> Ledger {
        self.book.ledger
    }

    /// Adds one backward pass's gradient, row by row, to what is there. A frozen parameter ignores it.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the number of elements differs.
    pub fn accumulate(&mut self, gradient: &[T]) -> Result<()> {
        self.check_length(gradient)?;
        if !self.frozen {
            kernels::add(self.values_and_gradients_mut().1, gradient);
            self.book.ledger = self.book.ledger.after_backward();
        }
        Ok(())
    }

    /// Puts `sum / divisor` in place of the gradient, row by row: [`zero_grad`](Parameter::zero_grad) and one backward
    /// pass, in one go. A frozen parameter ignores it.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the number of elements differs.
    pub fn replace_gradient(&mut self, sum: &[T], divisor: T) -> Result<()> {
        self.check_length(sum)?;
        self.replace_gradient_by(|gradient| kernels::quotient(gradient, sum, divisor));
        Ok(())
    }

    /// The same, of the sum of two sums, which are added on the way.
    pub(crate) fn replace_gradient_of_sum(&mut self, sums: [&[T]; 2], divisor: T) -> Result<()> {
        sums.iter().try_for_each(|sum| self.check_length(sum))?;
        self.replace_gradient_by(|gradient| kernels::quotient_of_sum(gradient, sums, divisor));
        Ok(())
    }

    /// The same, with what is done to write it over.
    #[inline(always)]
    pub(crate) fn replace_gradient_by(&mut self, write: impl FnOnce(&mut [T])) {
        if !self.frozen {
            write(&mut self.gradient);
            self.note_replaced();
        }
    }

    /// The same with a gradient that is made already: the one that was there goes where it came from.
    pub(crate) fn exchange_gradient(&mut self, gradient: &mut Aligned<T>) -> Result<()> {
        self.check_length(gradient)?;
        if !self.frozen {
            std::mem::swap(&mut self.gradient, gradient);
            self.note_replaced();
        }
        Ok(())
    }

    #[inline(always)]
    fn note_replaced(&mut self) {
        self.book.thrown_away += self.book.ledger.unstepped_passes();
        self.book.ledger = Ledger::Empty.after_backward();
    }

    /// Takes other values, as many; those that were there go where these came from.
    pub(crate) fn exchange_values(&mut self, values: &mut Aligned<T>) {
        assert_eq!(self.value.len(), values.len(), "values of parameter \"{}\"", self.name);
        std::mem::swap(&mut self.value, values);
    }

    fn check_length(&self, gradient: &[T]) -> Result<()> {
        if gradient.len() == self.len() {
            return Ok(());
        }
        let what = format!("gradient of parameter \"{}\"", self.name);
        Err(Error::shape(what, &[self.len()], &[gradient.len()]))
    }

    /// Sets the gradient to zero and the ledger to `Empty`, where a window begins.
    ///
    /// Returns how many backward passes were thrown away without a step having used them. The next step warns of them:
    /// what is thrown away on purpose goes by [`discard_grad`](Parameter::discard_grad).
    pub fn zero_grad(&mut self) -> u64 {
        let thrown_away = self.discard_grad();
        self.book.thrown_away += thrown_away;
        thrown_away
    }

    /// Backward passes that `zero_grad` has thrown away since the last step without one having used them.
    pub fn thrown_away(&self) -> u64 {
        self.book.thrown_away
    }

    /// Sets the gradient to zero and the ledger to `Empty`, and throws a window away on purpose: no step warns of it.
    ///
    /// Returns how many backward passes were thrown away without a step having used them.
    pub fn discard_grad(&mut self) -> u64 {
        if self.book.ledger != Ledger::Empty {
            self.gradient.fill(T::zero());
        }
        let thrown_away = self.book.ledger.unstepped_passes();
        self.book.ledger = Ledger::Empty;
        thrown_away
    }

    /// Notes that step number `step` has used the gradient. Optimizers call this.
    pub fn mark_spent(&mut self, step: u64) {
        self.book.ledger = Ledger::Spent { step };
        self.book.thrown_away = 0;
    }
}

#[cfg(test)]
#[path = "parameter_tests.rs"]
mod tests;
