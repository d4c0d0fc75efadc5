//! The check of a model and a loss on a batch.

use ndarray::{ArrayView2, Axis};

use super::batch::{Batch, OwnedTargets};
use super::double::{Double, Precise};
use super::subject::{Claim, Facts, Precision, Shift, Subject, lay_out};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Reduction, TargetKind, Targets};
use crate::model::Model;
use crate::parameter::Ledger;
use crate::scalar::Scalar;

/// Whose gradient is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// That of a backward pass made for the check.
    Computed,
    /// The one that stands in the parameters.
    Standing,
}

/// A model and a loss on a batch, with the same in double precision where the batch is not.
pub(super) struct OnBatch<'a, 't, 'p, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> {
    own: Batch<'a, 't, T, M, L>,
    precise: Option<Precise<'p>>,
}

impl<'a, 't, 'p, T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> OnBatch<'a, 't, 'p, T, M, L> {
    pub(super) fn new(own: Batch<'a, 't, T, M, L>, precise: Option<Precise<'p>>) -> Self {
        OnBatch { own, precise }
    }

    /// The claimed gradient with what is known of it.
    pub(super) fn claim(&mut self, claimed: Claimed, accumulate: Option<usize>, seed: u64) -> Result<Claim> {
        let OnBatch { own, precise } = self;
        let shapes = own.model.parameters().iter().map(|p| (p.name().to_owned(), p.value().shape().to_vec()));
        let mut parts = lay_out(shapes);
        for (part, parameter) in parts.iter_mut().zip(own.model.parameters()) {
            part.frozen = parameter.is_frozen();
        }
        let stale_passes = match claimed {
            Claimed::Computed => None,
            Claimed::Standing => stale_passes(own.model.parameters())?,
        };
        let facts = Facts {
            rows: Some(own.inputs.nrows()),
            outputs: Some(own.model.outputs()),
            accumulate,
            summed: Some(own.terms.reduction == Reduction::Sum),
            weight: Some(own.weight),
            stale_passes,
        };
        let values = own.values.clone();
        let analytic = match claimed {
            Claimed::Computed => own.gradient(&values)?,
            Claimed::Standing => {
                own.model.parameters().iter().flat_map(|p| p.gradients().iter().map(|g| g.as_f64())).collect()
            }
        };
        let precision = match precise {
            Some(precise) => {
                // The loss in double precision may be finite where this one is not.
                let loss = own.loss(&values)?;
                if !loss.is_finite() {
                    return Err(not_finite(loss));
                }
                precise.precision(T::epsilon().as_f64(), T::min_positive_value().as_f64(), seed)?
            }
            None => Precision::full::<T>(&analytic),
        };
        Ok(Claim { parts, facts, values, analytic, precision })
    }

    fn mended_by_targets(&mut self, of: impl Fn(usize) -> usize, class: impl Fn(usize) -> usize) -> Result<Vec<f64>> {
        let Batch { inputs, ref values, ref model, targets, .. } = self.own;
        let owned = OwnedTargets::<T>::copy(targets, (inputs.nrows(), model.outputs()), of, class)?;
        let values = values.clone();
        self.own.gradient_with(&values, [inputs, inputs], &owned.targets())
    }
}

/// That the loss is not finite where it is to be checked.
pub(super) fn not_finite(loss: f64) -> Error {
    Error::setting("loss", format!("it is {loss} where the gradient is to be checked"))
}

/// Passes in a gradient that should not have been added to.
fn stale_passes<T: Scalar>(parameters: &[crate::Parameter<T>]) -> Result<Option<u64>> {
    let trained = || parameters.iter().filter(|p| !p.is_frozen());
    if let Some(parameter) = trained().find(|p| p.ledger() == Ledger::Empty) {
        return Err(ErrorKind::MissingGradient { parameter: parameter.name().to_owned() }.into());
    }
    Ok(trained().find_map(|parameter| match parameter.ledger() {
        Ledger::Stale { passes, .. } => Some(passes + 1),
        _ => None,
    }))
}

impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Subject for OnBatch<'_, '_, '_, T, M, L> {
    fn loss(&mut self, values: &[f64]) -> Result<f64> {
        match &mut self.precise {
            Some(precise) => precise.batch.loss(values),
            None => self.own.loss(values),
        }
    }

    fn round(&self, value: f64) -> f64 {
        if self.precise.is_some() { value } else { T::from_f64(value).as_f64() }
    }

    fn noise(&mut self, values: &[f64]) -> Result<(f64, usize)> {
        // With the digits of double precision the noise along the steps is all there is to say.
        if self.epsilon() == f64::EPSILON { Ok((0.0, 0)) } else { self.own.noise(values) }
    }

    fn epsilon(&self) -> f64 {
        if self.precise.is_some() { f64::EPSILON } else { T::epsilon().as_f64() }
    }

    fn mended(&mut self) -> Result<Vec<(Shift, Vec<f64>)>> {
        let Batch { inputs, targets, .. } = self.own;
        let (rows, outputs, values) = (inputs.nrows(), self.own.model.outputs(), self.own.values.clone());
        let mut mended = Vec::new();
        for by in [1, rows - 1] {
            if rows > 1 {
                let order: Vec<usize> = (0..rows).map(|row| (row + by) % rows).collect();
                let shifted = inputs.select(Axis(0), &order);
                let gradient = self.own.gradient_with(&values, [inputs, shifted.view()], targets)?;
                mended.push((Shift::Rows, gradient));
                mended.push((Shift::Rows, self.mended_by_targets(|row| order[row], |class| class)?));
            }
        }
        if self.own.loss.target_kind() == TargetKind::Classes {
            for by in [1, outputs - 1] {
                let gradient = self.mended_by_targets(|row| row, |class| (class + by) % outputs)?;
                mended.push((Shift::Classes, gradient));
            }
        }
        Ok(mended)
    }

    fn row_losses(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        match &mut self.precise {
            Some(precise) => precise.batch.row_losses(values),
            None => self.own.row_losses(values),
        }
    }
}

/// The same batch in double precision, where it is in another and the model and the loss have themselves in it.
pub(super) fn in_f64<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized>(
    model: &M,
    loss: &L,
    inputs: ArrayView2<'_, T>,
    targets: &Targets<'_, T>,
) -> Result<Option<Double>> {
    if T::epsilon().as_f64() == f64::EPSILON {
        return Ok(None);
    }
    let (Some(double), Some(loss)) = (model.in_f64(), loss.in_f64()) else { return Ok(None) };
    let rows = (inputs.nrows(), model.outputs());
    let targets = OwnedTargets::copy(targets, rows, |row| row, |class| class)?;
    Ok(Some(Double { model: double, loss, inputs: inputs.mapv(|value| value.as_f64()), targets }))
}
