//! A model and a loss on a batch, as a function of the parameters.

use ndarray::{Array2, ArrayView1, ArrayView2};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::loss::{Loss, Reduction, Target, TargetKind, Targets};
use crate::model::{Model, parameter_count};
use crate::scalar::Scalar;

/// What the loss of a batch is beside the rows' losses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub reduction: Reduction,
    pub weight_decay: f64,
}

/// A model and a loss on a batch. The model's parameters are moved about, and put back when this is dropped.
pub(super) struct Batch<'a, 't, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> {
    pub model: &'a mut M,
    pub loss: &'a L,
    pub inputs: ArrayView2<'a, T>,
    pub targets: &'a Targets<'t, T>,
    pub terms: Terms,
    /// The parameters as they were.
    pub values: Vec<f64>,
    /// The weight of all rows.
    pub weight: f64,
}

impl<'a, 't, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Batch<'a, 't, T, M, L> {
    pub(super) fn new(
        model: &'a mut M,
        loss: &'a L,
        inputs: ArrayView2<'a, T>,
        targets: &'a Targets<'t, T>,
        terms: Terms,
    ) -> Result<Self> {
        let weight = loss.evaluate(model.forward(inputs)?.view(), targets, Reduction::Sum)?.weight.as_f64();
        let values = model.parameters().iter().flat_map(|p| p.values().iter().map(|v| v.as_f64())).collect();
        Ok(Batch { model, loss, inputs, targets, terms, values, weight })
    }

    /// What the sum over rows is divided by.
    pub(super) fn divisor(&self) -> f64 {
        if self.terms.reduction == Reduction::Mean { self.weight } else { 1.0 }
    }

    /// Sets the parameters.
    pub(super) fn put(&mut self, values: &[f64]) {
        debug_assert_eq!(values.len(), parameter_count(self.model.parameters()));
        let mut rest = values;
        for parameter in self.model.parameters_mut() {
            let (own, after) = rest.split_at(parameter.len());
            for (value, &new) in parameter.values_mut().iter_mut().zip(own) {
                *value = T::from_f64(new);
            }
            rest = after;
        }
    }

    /// The loss with these parameters.
    pub(super) fn loss(&mut self, values: &[f64]) -> Result<f64> {
        self.put(values);
        let logits = self.model.forward(self.inputs)?;
        let value = self.loss.evaluate(logits.view(), self.targets, self.terms.reduction)?;
        let decaying = self.model.parameters().iter().filter(|p| p.decays());
        let squares: f64 = decaying.flat_map(|p| p.values()).map(|v| v.as_f64() * v.as_f64()).sum();
        Ok(value.loss.as_f64() + self.terms.weight_decay / 2.0 * squares)
    }

    /// What rounding does to the loss with these parameters: a value of a sum of products is that of inputs which are off by
    /// an epsilon or so, so inputs that are show it. With it the evaluations it took.
    pub(super) fn noise(&mut self, values: &[f64]) -> Result<(f64, usize)> {
        const DRAWS: usize = 6;
        self.put(values);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut losses = Vec::new();
        for _ in 0..DRAWS {
            let off = |v: &T| *v * (T::one() + T::epsilon() * T::from_f64(rng.random_range(-1.0..1.0)));
            let logits = self.model.forward(self.inputs.map(off).view())?;
            losses.push(self.loss.evaluate(logits.view(), self.targets, self.terms.reduction)?.loss.as_f64());
        }
        let (least, most) = losses.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &l| (a.min(l), b.max(l)));
        Ok((if (most - least).is_finite() { most - least } else { 0.0 }, DRAWS))
    }

    /// The loss of each row, as its share of the whole, with these parameters.
    pub(super) fn row_losses(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        self.put(values);
        let logits = self.model.forward(self.inputs)?;
        let divisor = self.divisor();
        let mut gradient = vec![T::zero(); self.model.outputs()];
        let row = |(row, logits): (usize, ArrayView1<'_, T>)| {
            self.loss.weighted_row(&logits.to_vec(), self.targets, row, &mut gradient).loss.as_f64() / divisor
        };
        Ok(logits.rows().into_iter().enumerate().map(row).collect())
    }

    /// The gradient that the code gives with these parameters.
    pub(super) fn gradient(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        let (inputs, targets) = (self.inputs, self.targets);
        self.gradient_with(values, [inputs, inputs], targets)
    }

    /// The gradient that the code gives for the first inputs in the forward pass, the second in the backward pass.
    pub(super) fn gradient_with(
        &mut self,
        values: &[f64],
        [forward, backward]: [ArrayView2<'_, T>; 2],
        targets: &Targets<'_, T>,
    ) -> Result<Vec<f64>> {
        self.put(values);
        self.model.discard_grad();
        let logits = self.model.forward(forward)?;
        let value = self.loss.evaluate(logits.view(), targets, self.terms.reduction)?;
        self.model.backward(backward, value.gradient.view())?;
        let mut gradient = Vec::with_capacity(values.len());
        for parameter in self.model.parameters() {
            let decay = if parameter.decays() { self.terms.weight_decay } else { 0.0 };
            let pairs = parameter.gradients().iter().zip(parameter.values());
            gradient.extend(pairs.map(|(g, v)| g.as_f64() + decay * v.as_f64()));
        }
        self.model.discard_grad();
        Ok(gradient)
    }
}

impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Drop for Batch<'_, '_, T, M, L> {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.put(&values);
    }
}

/// A copy of targets, to be changed or in another number type.
pub(super) struct OwnedTargets<T> {
    kind: TargetKind,
    classes: Vec<usize>,
    values: Array2<T>,
    weights: Option<Vec<T>>,
}

impl<T: Scalar> OwnedTargets<T> {
    /// The targets of a batch of `rows`, each row's being that of row `of(row)` with `class` made of its class.
    pub(super) fn copy<S: Scalar>(
        targets: &Targets<'_, S>,
        (rows, outputs): (usize, usize),
        of: impl Fn(usize) -> usize,
        class: impl Fn(usize) -> usize,
    ) -> Result<Self> {
        let convert = |&value: &S| T::from_f64(value.as_f64());
        let (mut classes, mut values) = (Vec::new(), Vec::new());
        for row in 0..rows {
            match targets.row(of(row)) {
                Target::Class(own) => classes.push(class(own)),
                Target::Values(own) => values.extend(own.iter().map(convert)),
            }
        }
        let values = Array2::from_shape_vec((values.len() / outputs, outputs), values)
            .map_err(|error| Error::setting("targets", error.to_string()))?;
        let weights = targets.sample_weights().map(|weights| weights.iter().map(convert).collect());
        Ok(OwnedTargets { kind: targets.kind(), classes, values, weights })
    }

    pub(super) fn targets(&self) -> Targets<'_, T> {
        let targets = match self.kind {
            TargetKind::Classes => Targets::classes(&self.classes),
            TargetKind::Values => Targets::values(&self.values),
        };
        match &self.weights {
            Some(weights) => targets.weighted(weights),
            None => targets,
        }
    }
}
