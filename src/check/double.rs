//! A batch in double precision, for the check of a gradient in single precision.
//!
//! Seven digits of a loss are too few for its slopes: what a parameter adds is lost beside what the others do. So the loss is
//! evaluated in double precision, where its slopes have ten digits, at the parameters that single precision has. Two
//! things are then asked of the gradient in single precision: that the same code in double precision is right, and that
//! it is no further from that than rounding can have taken it.
//!
//! What rounding can have done is bounded as in a backward error analysis (Higham 2002, "Accuracy and stability of
//! numerical algorithms", chapter 3): a sum of n products is the exact sum of products whose factors are off by n
//! epsilon. So parameters and inputs are moved at random by an epsilon, and the gradient's answer counts n times; the rounding
//! of the terms themselves comes on top.

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, OwnedTargets};
use super::subject::Precision;
use crate::error::Result;
use crate::loss::{Loss, Targets};
use crate::model::Model;

/// The parts of a batch in double precision.
pub(super) struct Double {
    pub model: Box<dyn Model<f64>>,
    pub loss: Box<dyn Loss<f64>>,
    pub inputs: Array2<f64>,
    pub targets: OwnedTargets<f64>,
}

/// A batch in double precision.
pub(super) struct Precise<'p> {
    pub batch: Batch<'p, 'p, f64, dyn Model<f64>, dyn Loss<f64>>,
}

/// How often parameters and inputs are moved.
const DRAWS: usize = 6;

/// What the bound is multiplied by: the largest of few random answers is below the largest possible.
const SAFETY: f64 = 4.0;

impl Precise<'_> {
    /// The gradient here, and how far from it one may be that was worked out with this epsilon and smallest number.
    pub(super) fn precision(&mut self, epsilon: f64, smallest: f64, seed: u64) -> Result<Precision> {
        let batch = &mut self.batch;
        let values = batch.values.clone();
        let precise = batch.gradient(&values)?;
        let mut answer = vec![0.0_f64; values.len()];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..DRAWS {
            let mut moved = |v: f64| v * (1.0 + epsilon * rng.random_range(-1.0..1.0));
            let parameters: Vec<f64> = values.iter().map(|&v| moved(v)).collect();
            let inputs = batch.inputs.mapv(&mut moved);
            let gradient = batch.gradient_with(&parameters, [inputs.view(), inputs.view()], batch.targets)?;
            for ((answer, moved), own) in answer.iter_mut().zip(gradient).zip(&precise) {
                *answer = answer.max((moved - own).abs());
            }
        }
        batch.put(&values);
        let (sums, grain) = self.terms(smallest)?;
        let batch = &self.batch;
        let (rows, inputs) = batch.inputs.dim();
        // Sums over features, over outputs and over rows, and a few operations of the loss.
        let operations = (inputs + batch.model.outputs() + rows + 4) as f64;
        let bounded =
            |((answer, sum), grain): ((&f64, &f64), &f64)| SAFETY * operations * (answer + epsilon * sum) + grain;
        let bound = answer.iter().zip(&sums).zip(&grain).map(bounded).collect();
        Ok(Precision { precise, bound, grain, evaluations: 1 + DRAWS })
    }

    /// For each entry of the gradient the sum of the sizes of what is added up in it, and what the smallest number amounts to.
    fn terms(&mut self, smallest: f64) -> Result<(Vec<f64>, Vec<f64>)> {
        let Batch { model, loss, inputs, targets, terms, values, .. } = &self.batch;
        let divisor = self.batch.divisor();
        let logits = model.forward(*inputs)?;
        let weights = targets.sample_weights();
        let mut sums = vec![0.0; values.len()];
        let mut grain = vec![smallest; values.len()];
        let mut scratch = vec![0.0; values.len()];
        let mut add = |totals: &mut [f64], input: &[f64], output_gradient: &[f64]| {
            scratch.fill(0.0);
            model.backward_row(input, output_gradient, &mut scratch);
            for (total, term) in totals.iter_mut().zip(&scratch) {
                *total += term.abs();
            }
        };
        for (row, (input, logits)) in inputs.rows().into_iter().zip(logits.rows()).enumerate() {
            let (input, logits) = (input.to_vec(), logits.to_vec());
            let (own, size) = row_gradient(&**loss, &logits, targets, row);
            add(&mut sums, &input, &own.iter().map(|g| g / divisor).collect::<Vec<_>>());
            add(&mut sums, &input, &size.iter().map(|g| g / divisor).collect::<Vec<_>>());
            // It may be lost in the row's gradient, before weight and divisor, or after.
            let share = smallest * weights.map_or(1.0, |weights| weights[row]).max(1.0) * (1.0 / divisor).max(1.0);
            add(&mut grain, &input, &vec![share; logits.len()]);
        }
        let decaying = model.parameters().iter().flat_map(|p| {
            let decay = if p.decays() { terms.weight_decay } else { 0.0 };
            p.values().iter().map(move |v| (decay * v).abs())
        });
        for (sum, decay) in sums.iter_mut().zip(decaying) {
            *sum += decay;
        }
        Ok((sums, grain))
    }
}

/// A row's gradient by its logits, and the size of the terms it is a difference of: `softmax - share` is small where the two
/// are near each other, but rounds as they do. At logits of 0 the terms show.
fn row_gradient(loss: &dyn Loss<f64>, logits: &[f64], targets: &Targets<'_, f64>, row: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut own, mut at_zero) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
    loss.weighted_row(logits, targets, row, &mut own);
    loss.weighted_row(&vec![0.0; logits.len()], targets, row, &mut at_zero);
    let size =
        |(own, at_zero): (&f64, &f64)| if at_zero.is_finite() { own.abs().max(at_zero.abs()) } else { own.abs() };
    let sizes = own.iter().zip(&at_zero).map(size).collect();
    (own, sizes)
}
