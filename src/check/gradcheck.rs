//! The check itself.

use ndarray::ArrayView2;

use super::batch::{Batch, Terms};
use super::double::Precise;
use super::on_batch::{Claimed, OnBatch, in_f64};
use super::report::{ParameterReport, Report, Verdict};
use super::run::Run;
use super::subject::{Claim, Closure, Facts, Precision, Subject, lay_out};
use crate::error::{Error, Result};
use crate::loss::{Loss, Reduction, Targets};
use crate::model::Model;
use crate::scalar::Scalar;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every entry of the gradient: a dozen or two evaluations of the loss for each.
    Entries,
    /// So many random directions for each parameter, whatever its size; every entry if one of them fails.
    Directions(usize),
}

/// A gradient check, to be set up and then run.
#[derive(Debug, Clone)]
pub struct GradCheck {
    mode: Mode,
    reduction: Reduction,
    weight_decay: f64,
    most_entries: usize,
    seed: u64,
    shapes: Vec<(String, Vec<usize>)>,
    facts: Facts,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck::new()
    }
}

impl GradCheck {
    /// Every entry, of the mean loss without weight decay.
    pub fn new() -> Self {
        GradCheck {
            mode: Mode::Entries,
            reduction: Reduction::Mean,
            weight_decay: 0.0,
            most_entries: 2000,
            seed: 0,
            shapes: Vec::new(),
            facts: Facts::default(),
        }
    }

    /// What is compared. Default: [`Mode::Entries`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How a batch's losses become one number. Default: [`Reduction::Mean`].
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Adds `weight_decay / 2 |value|^2` of the parameters that decay to the loss of a model, and its derivative to the
    /// gradient. Default: 0.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Checks a random choice of at most so many entries of each parameter. Default: 2000.
    pub fn most_entries(mut self, entries: usize) -> Self {
        self.most_entries = entries;
        self
    }

    /// The seed of random directions and choices. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// For a function: names and shapes of the parameters that its argument holds, one after another. Default: one
    /// parameter, `x`.
    pub fn shapes(mut self, shapes: &[(&str, &[usize])]) -> Self {
        self.shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        self
    }

    /// For a function: the rows of its batch, which a wrong factor may be. Default: unknown.
    pub fn rows(mut self, rows: usize) -> Self {
        self.facts.rows = Some(rows);
        self
    }

    /// For a function: its outputs, which a wrong factor may be. Default: unknown.
    pub fn outputs(mut self, outputs: usize) -> Self {
        self.facts.outputs = Some(outputs);
        self
    }

    /// The micro-batches whose gradients were accumulated, which a wrong factor may be. Default: unknown.
    pub fn accumulate(mut self, passes: usize) -> Self {
        self.facts.accumulate = Some(passes);
        self
    }

    /// Checks a gradient that was worked out for a function of parameters, `at` and `analytic` of one length.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if lengths differ; [`Setting`](crate::ErrorKind::Setting) if the function or the
    /// gradient is not finite at the point.
    pub fn function<T: Scalar>(&self, f: impl FnMut(&[T]) -> T, at: &[T], analytic: &[T]) -> Result<Report> {
        if analytic.len() != at.len() {
            return Err(Error::shape("analytic gradient", &[at.len()], &[analytic.len()]));
        }
        let shapes = if self.shapes.is_empty() { vec![("x".to_owned(), vec![at.len()])] } else { self.shapes.clone() };
        let parts = lay_out(shapes.into_iter());
        let length: usize = parts.iter().map(|part| part.length).sum();
        if length != at.len() {
            return Err(Error::shape("parameters", &[length], &[at.len()]));
        }
        let numbers = |values: &[T]| values.iter().map(|v| v.as_f64()).collect();
        let (values, analytic): (_, Vec<f64>) = (numbers(at), numbers(analytic));
        let precision = Precision::full::<T>(&analytic);
        let claim = Claim { parts, facts: self.facts.clone(), values, analytic, precision };
        self.run(Closure { f, scratch: Vec::new() }, claim)
    }

    /// Checks the gradient that a model and a loss give on a batch: inputs `[rows, inputs]`. The model comes back with the
    /// values it had and empty gradients.
    ///
    /// # Errors
    /// If the batch does not fit the model or the loss, or the loss or gradient is not finite.
    pub fn model<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        self.on_batch(model, loss, inputs, targets, Claimed::Computed)
    }

    /// Checks the gradient that stands in a model's parameters, after a loop written by hand, against the loss of a
    /// batch: the effective batch, where it was accumulated. The ledger tells a stale gradient by name. The model comes
    /// back as it was, gradients included, unless the gradient is wrong: then its gradients come back empty.
    ///
    /// # Errors
    /// As [`model`](GradCheck::model); [`MissingGradient`](crate::ErrorKind::MissingGradient) if a parameter has none.
    pub fn standing<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        self.on_batch(model, loss, inputs, targets, Claimed::Standing)
    }

    fn on_batch<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
        claimed: Claimed,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        if inputs.nrows() == 0 {
            return Err(Error::setting("batch", "it has no rows"));
        }
        let terms = Terms { reduction: self.reduction, weight_decay: self.weight_decay };
        let mut double = in_f64(model, loss, inputs, targets)?;
        let double_targets;
        let own = Batch::new(model, loss, inputs, targets, terms)?;
        let precise = match &mut double {
            Some(double) => {
                double_targets = double.targets.targets();
                let batch =
                    Batch::new(&mut *double.model, &*double.loss, double.inputs.view(), &double_targets, terms)?;
                Some(Precise { batch })
            }
            None => None,
        };
        let mut subject = OnBatch::new(own, precise);
        let claim = subject.claim(claimed, self.facts.accumulate, self.seed)?;
        self.run(subject, claim)
    }

    fn run(&self, subject: impl Subject, claim: Claim) -> Result<Report> {
        let mut run = Run::begin(subject, claim, self.seed)?;
        let parts = run.claim.parts.clone();
        let mut parameters = Vec::new();
        if let Mode::Directions(count) = self.mode {
            for part in &parts {
                let entries = (0..if part.frozen { 0 } else { count.max(1) })
                    .map(|_| run.along(part))
                    .collect::<Result<Vec<_>>>()?;
                parameters.push(ParameterReport::new(part.name.clone(), part.shape.clone(), entries));
            }
        }
        let failed = parameters.iter().any(|parameter| parameter.verdict == Verdict::Wrong);
        if failed || parameters.is_empty() {
            parameters.clear();
            for part in &parts {
                let chosen = run.choose(part, self.most_entries);
                let entries = chosen.into_iter().map(|i| run.entry(part, i)).collect::<Result<Vec<_>>>()?;
                parameters.push(ParameterReport::new(part.name.clone(), part.shape.clone(), entries));
            }
        }
        let verdict = parameters.iter().map(|parameter| parameter.verdict).max().unwrap_or(Verdict::Correct);
        let cause = if verdict == Verdict::Wrong { run.cause(&parts, &parameters)? } else { None };
        let Run { ground, evaluations, .. } = run;
        Ok(Report { verdict, cause, parameters, evaluations, noise: ground.noise, loss: ground.value })
    }
}
