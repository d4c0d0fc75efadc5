//! What threads that have summed a batch share of its step: each makes a part of the largest parameter's mean gradient, and
//! of its next value where the step is plain. The others would else wait for one that makes all.

use super::sums::Sums;
use crate::error::Result;
use crate::kernels::{self, Aligned, MeanStep, PlainStep, SQUARES, Summands};
use crate::model::parameter_count;
use crate::optim::{squared_grad_norm_by, step_plainly};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Elements of a parameter from which its part of a step is worth sharing.
const WORTH_SHARING: usize = 4 * SQUARES;

/// The largest parameter's part of a step, made while the model still has what was before. The results are those of one
/// thread, to the bit.
#[derive(Debug)]
pub(super) struct SharedStep<T> {
    /// Which parameter it is, and where its gradient begins in that of all.
    place: usize,
    start: usize,
    /// The mean gradient.
    gradient: Aligned<T>,
    /// The next value, if the step is plain.
    value: Aligned<T>,
    /// What the squares of the gradient add up to.
    square: T,
    made: Made,
}

/// What has been made for the effective batch under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Nothing,
    Gradient,
    /// The next value, too.
    PlainStep,
}

impl<T: Scalar> SharedStep<T> {
    /// For these parameters, if one is large enough.
    pub fn new(parameters: &[Parameter<T>]) -> Option<Self> {
        let lengths = || parameters.iter().map(Parameter::len);
        let (place, length) = lengths().enumerate().max_by_key(|&(_, length)| length)?;
        let zeros = || Aligned::zeros(length);
        (length >= WORTH_SHARING).then(|| SharedStep {
            place,
            start: lengths().take(place).sum(),
            gradient: zeros(),
            value: zeros(),
            square: T::zero(),
            made: Made::Nothing,
        })
    }

    /// Forgets what has been made for an earlier batch.
    pub fn forget(&mut self) {
        self.made = Made::Nothing;
    }

    /// Whether it is for these parameters, so many elements together.
    pub fn fits(&self, parameters: &[Parameter<T>], elements: usize) -> bool {
        let before: usize = parameters.iter().take(self.place).map(Parameter::len).sum();
        parameters.get(self.place).is_some_and(|parameter| parameter.len() == self.gradient.len())
            && before == self.start
            && parameter_count(parameters) == elements
    }

    /// The blocks of [`SQUARES`] elements, the last of which may be shorter.
    pub fn blocks(&self) -> usize {
        self.gradient.len().div_ceil(SQUARES)
    }

    /// Begins to make a step: a plain one, if it has a learning rate `plain_lr`. Returns what each thread needs for
    /// [its part](Making::part), and that of which each makes a part: the mean gradient and the next value. `before` is what
    /// the last round's shards are added to.
    pub fn make<'a>(
        &'a mut self,
        parameters: &'a [Parameter<T>],
        before: Option<&'a Sums<T>>,
        plain_lr: Option<T>,
    ) -> (Making<'a, T>, [&'a mut [T]; 2]) {
        self.made = if plain_lr.is_some() { Made::PlainStep } else { Made::Gradient };
        let values = parameters[self.place].values();
        (Making { start: self.start, values, before, plain_lr }, [&mut self.gradient, &mut self.value])
    }

    /// Takes note of the squares of the gradient that has been made, of each [`SQUARES`] elements in their order.
    pub fn add_squares(&mut self, squares: impl Iterator<Item = T>) {
        self.square = squares.sum();
    }

    pub fn has_gradient(&self) -> bool {
        self.made != Made::Nothing
    }

    pub fn has_plain_step(&self) -> bool {
        self.made == Made::PlainStep
    }

    /// Gives each parameter its mean gradient, once for a batch: the largest the one that has been made, the others what
    /// `put_sum` puts there of the sum, from a place on, over the weight.
    pub fn replace_gradients(
        &mut self,
        parameters: &mut [Parameter<T>],
        put_sum: impl Fn(&mut [T], usize),
        weight: T,
    ) -> Result<()> {
        let mut start = 0;
        for (place, parameter) in parameters.iter_mut().enumerate() {
            if place == self.place {
                parameter.exchange_gradient(&mut self.gradient)?;
            } else {
                parameter.replace_gradient_by(|gradient| {
                    put_sum(gradient, start);
                    kernels::divide(gradient, weight);
                });
            }
            start += parameter.len();
        }
        Ok(())
    }

    /// The square of the norm of the gradients that the parameters have got.
    pub fn squared_grad_norm(&self, parameters: &[Parameter<T>]) -> f64 {
        squared_grad_norm_by(parameters, |place, parameter| {
            if place == self.place { self.square } else { kernels::sum_of_squares(parameter.gradients()) }
        })
    }

    /// Takes the plain step that has been made, which is number `step`.
    pub fn take(&mut self, parameters: &mut [Parameter<T>], lr: T, step: u64) {
        for (place, parameter) in parameters.iter_mut().enumerate() {
            if place == self.place {
                parameter.exchange_values(&mut self.value);
                parameter.mark_spent(step);
            } else {
                step_plainly(parameter, lr, step);
            }
        }
    }
}

/// What each thread needs to make its part.
pub(super) struct Making<'a, T> {
    start: usize,
    values: &'a [T],
    before: Option<&'a Sums<T>>,
    plain_lr: Option<T>,
}

impl<T: Scalar> Making<'_, T> {
    /// Makes a part of the results, which begins at a multiple of [`SQUARES`], and puts what the gradient's squares add up
    /// to into `squares`, of each so many elements.
    pub fn part(&self, shards: &[Sums<T>], first: usize, [gradient, next]: [&mut [T]; 2], squares: &mut Vec<T>) {
        let before = self.before.map_or(0.0, |sums| sums.value.weight);
        let weight = T::from_f64(shards.iter().fold(before, |weight, shard| weight + shard.value.weight));
        squares.clear();
        let (last, others) = shards.split_last().expect("shards for several threads");
        let other = if let (None, [other]) = (self.before, others) { Some(other) } else { None };
        // What must be added up first is taken block by block, while it is in the nearest cache.
        let together = if other.is_some() { gradient.len().max(1) } else { SQUARES };
        let parts = gradient.chunks_mut(together).zip(next.chunks_mut(together));
        let mut start = self.start + first;
        for ((gradient, next), values) in parts.zip(self.values[first..].chunks(together)) {
            let own = start..start + gradient.len();
            start = own.end;
            if other.is_none() {
                put_sum(gradient, self.before, others, own.start);
            }
            let step = self.plain_lr.map(|lr| PlainStep { values, lr, next });
            let last = &last.gradient[own.clone()];
            let sum = match other {
                Some(other) => Summands::Two(&other.gradient[own], last),
                None => Summands::GradientAnd(last),
            };
            MeanStep { sum, divisor: weight, gradient, squares, step }.make();
        }
    }
}

/// Puts into `sum` the part of gradients that begins at `start`: `before` and the shards after it, added in their order.
pub(super) fn put_sum<T: Scalar>(sum: &mut [T], before: Option<&Sums<T>>, shards: &[Sums<T>], start: usize) {
    let part = start..start + sum.len();
    let mut gradients = before.into_iter().chain(shards).map(|sums| &sums.gradient[part.clone()]);
    match gradients.next() {
        Some(first) => sum.copy_from_slice(first),
        None => sum.fill(T::zero()),
    }
    gradients.for_each(|gradient| kernels::add(sum, gradient));
}

#[cfg(test)]
#[path = "shared_step_tests.rs"]
mod tests;
