//! What is checked: a loss as a function of parameters, with the gradient that is claimed for it.

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Reduction, Target, TargetKind, Targets};
use crate::model::{Model, parameter_count};
use crate::parameter::Ledger;
use crate::scalar::Scalar;

/// One parameter within the flat gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: usize,
    pub length: usize,
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

/// A loss as a function of parameters, with a claimed gradient. Numbers are `f64`; `round` says what becomes of them.
pub(super) trait Subject {
    fn parts(&self) -> &[Part];
    fn facts(&self) -> &Facts;
    /// The parameters, and the gradient claimed there.
    fn values(&self) -> &[f64];
    fn analytic(&self) -> &[f64];
    /// The loss with these parameters.
    fn loss(&mut self, values: &[f64]) -> Result<f64>;
    /// The value that a parameter takes for this number.
    fn round(&self, value: f64) -> f64;
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
        parts.push(Part { name, shape, start, length });
        start += length;
    }
    parts
}

/// A closure.
pub(super) struct Closure<F, T> {
    pub f: F,
    pub parts: Vec<Part>,
    pub facts: Facts,
    pub values: Vec<f64>,
    pub analytic: Vec<f64>,
    pub scratch: Vec<T>,
}

impl<T: Scalar, F: FnMut(&[T]) -> T> Subject for Closure<F, T> {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn analytic(&self) -> &[f64] {
        &self.analytic
    }

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

/// A model and a loss on a batch. The model's parameters are moved about, and put back when this is dropped.
pub(super) struct OnBatch<'a, 't, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> {
    model: &'a mut M,
    loss: &'a L,
    inputs: ArrayView2<'a, T>,
    targets: &'a Targets<'t, T>,
    reduction: Reduction,
    weight_decay: f64,
    parts: Vec<Part>,
    facts: Facts,
    values: Vec<f64>,
    analytic: Vec<f64>,
}

/// Whose gradient is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// That of a backward pass made for the check.
    Computed,
    /// The one that stands in the parameters.
    Standing,
}

impl<'a, 't, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> OnBatch<'a, 't, T, M, L> {
    pub(super) fn new(
        model: &'a mut M,
        loss: &'a L,
        inputs: ArrayView2<'a, T>,
        targets: &'a Targets<'t, T>,
        settings: (Reduction, f64, Option<usize>),
        claimed: Claimed,
    ) -> Result<Self> {
        let (reduction, weight_decay, accumulate) = settings;
        let trained = |p: &&crate::Parameter<T>| !p.is_frozen();
        let shapes = model.parameters().iter().map(|p| (p.name().to_owned(), p.value().shape().to_vec()));
        let parts = lay_out(shapes);
        let values = model.parameters().iter().flat_map(|p| p.values().iter().map(|v| v.as_f64())).collect();
        let ledgers = || model.parameters().iter().filter(trained).map(|p| p.ledger());
        let stale_passes = match claimed {
            Claimed::Computed => None,
            Claimed::Standing => ledgers().find_map(|ledger| match ledger {
                Ledger::Stale { passes, .. } => Some(passes + 1),
                _ => None,
            }),
        };
        if claimed == Claimed::Standing {
            if let Some(parameter) = model.parameters().iter().filter(trained).find(|p| p.ledger() == Ledger::Empty) {
                return Err(ErrorKind::MissingGradient { parameter: parameter.name().to_owned() }.into());
            }
        }
        let weight = loss.evaluate(model.forward(inputs)?.view(), targets, Reduction::Sum)?.weight.as_f64();
        let facts = Facts {
            rows: Some(inputs.nrows()),
            outputs: Some(model.outputs()),
            accumulate,
            summed: Some(reduction == Reduction::Sum),
            weight: Some(weight),
            stale_passes,
        };
        let standing = model.parameters().iter().flat_map(|p| p.gradients().iter().map(|g| g.as_f64())).collect();
        let mut subject =
            OnBatch { model, loss, inputs, targets, reduction, weight_decay, parts, facts, values, analytic: standing };
        if claimed == Claimed::Computed {
            subject.analytic = subject.backward(inputs, targets)?;
        }
        Ok(subject)
    }

    /// The gradient the model and loss give for these inputs in the backward pass and these targets.
    fn backward(&mut self, backward_inputs: ArrayView2<'_, T>, targets: &Targets<'_, T>) -> Result<Vec<f64>> {
        self.put(&self.values.clone());
        self.model.discard_grad();
        let logits = self.model.forward(self.inputs)?;
        let value = self.loss.evaluate(logits.view(), targets, self.reduction)?;
        self.model.backward(backward_inputs, value.gradient.view())?;
        let mut gradient = Vec::with_capacity(self.values.len());
        for parameter in self.model.parameters() {
            let decay = if parameter.decays() { self.weight_decay } else { 0.0 };
            let pairs = parameter.gradients().iter().zip(parameter.values());
            gradient.extend(pairs.map(|(g, v)| g.as_f64() + decay * v.as_f64()));
        }
        self.model.discard_grad();
        Ok(gradient)
    }

    fn put(&mut self, values: &[f64]) {
        let mut rest = values;
        for parameter in self.model.parameters_mut() {
            let (own, after) = rest.split_at(parameter.len());
            for (value, &new) in parameter.values_mut().iter_mut().zip(own) {
                *value = T::from_f64(new);
            }
            rest = after;
        }
    }

    fn penalty(&self) -> f64 {
        let decaying = self.model.parameters().iter().filter(|p| p.decays());
        let squares: f64 = decaying.flat_map(|p| p.values()).map(|v| v.as_f64() * v.as_f64()).sum();
        self.weight_decay / 2.0 * squares
    }

    /// The targets with each row's replaced by `of(row)`.
    fn retargeted(&self, of: impl Fn(usize) -> usize, shift_class: usize) -> (Vec<usize>, Vec<T>) {
        let (mut classes, mut values) = (Vec::new(), Vec::new());
        for row in 0..self.inputs.nrows() {
            match self.targets.row(of(row)) {
                Target::Class(class) => classes.push((class + shift_class) % self.model.outputs()),
                Target::Values(row) => values.extend_from_slice(row),
            }
        }
        (classes, values)
    }

    fn backward_retargeted(&mut self, of: impl Fn(usize) -> usize, shift_class: usize) -> Result<Vec<f64>> {
        let (classes, values) = self.retargeted(of, shift_class);
        let values =
            ndarray::Array2::from_shape_vec((values.len() / self.model.outputs(), self.model.outputs()), values)
                .map_err(|error| Error::setting("targets", error.to_string()))?;
        let targets = match self.loss.target_kind() {
            TargetKind::Classes => Targets::classes(&classes),
            TargetKind::Values => Targets::values(&values),
        };
        let targets = match self.targets.sample_weights() {
            Some(weights) => targets.weighted(weights),
            None => targets,
        };
        let inputs = self.inputs;
        self.backward(inputs, &targets)
    }
}

impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Subject for OnBatch<'_, '_, T, M, L> {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn analytic(&self) -> &[f64] {
        &self.analytic
    }

    fn loss(&mut self, values: &[f64]) -> Result<f64> {
        debug_assert_eq!(values.len(), parameter_count(self.model.parameters()));
        self.put(values);
        let logits = self.model.forward(self.inputs)?;
        let value = self.loss.evaluate(logits.view(), self.targets, self.reduction)?;
        Ok(value.loss.as_f64() + self.penalty())
    }

    fn round(&self, value: f64) -> f64 {
        T::from_f64(value).as_f64()
    }

    fn epsilon(&self) -> f64 {
        T::epsilon().as_f64()
    }

    fn mended(&mut self) -> Result<Vec<(Shift, Vec<f64>)>> {
        let rows = self.inputs.nrows();
        let mut mended = Vec::new();
        for by in [1, rows - 1] {
            if rows > 1 {
                let order: Vec<usize> = (0..rows).map(|row| (row + by) % rows).collect();
                let shifted = self.inputs.select(ndarray::Axis(0), &order);
                let targets = self.targets;
                mended.push((Shift::Rows, self.backward(shifted.view(), targets)?));
                mended.push((Shift::Rows, self.backward_retargeted(|row| (row + by) % rows, 0)?));
            }
        }
        if self.loss.target_kind() == TargetKind::Classes {
            for by in [1, self.model.outputs() - 1] {
                mended.push((Shift::Classes, self.backward_retargeted(|row| row, by)?));
            }
        }
        Ok(mended)
    }

    fn row_losses(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        self.put(values);
        let logits = self.model.forward(self.inputs)?;
        let divisor = match (self.reduction, self.facts.weight) {
            (Reduction::Mean, Some(weight)) => weight,
            _ => 1.0,
        };
        let mut gradient = vec![T::zero(); self.model.outputs()];
        let row = |(row, logits): (usize, ndarray::ArrayView1<'_, T>)| {
            let logits = logits.to_vec();
            self.loss.weighted_row(&logits, self.targets, row, &mut gradient).loss.as_f64() / divisor
        };
        Ok(logits.rows().into_iter().enumerate().map(row).collect())
    }
}

impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Drop for OnBatch<'_, '_, T, M, L> {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.put(&values);
    }
}
