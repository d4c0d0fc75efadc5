//! A softmax without the row's maximum taken out.

use super::{Bug, Version, data, detect, no_facts};
use crate::error::{ErrorKind, Result};
use crate::kernels;
use crate::loss::{CrossEntropy, Loss, Reduction, RowLoss, Target, TargetKind};
use crate::model::{Linear, Model};
use crate::optim::{Optimizer, SgdConfig};
use crate::train::{BatchSize, TrainConfig, Trainer, mean_loss};

pub(super) const BUG: Bug = Bug {
    name: "naive-softmax",
    title: "a softmax that overflows",
    story: "`exp` of a logit above 709 is infinite in f64 (above 88 in f32), infinity by infinity is not a number, \
            and from the next step on no parameter is one. With the row's largest logit subtracted first the \
            softmax is the same, and no exponent is above 0.",
    setting: "synthetic:blobs with coordinates in the hundreds, full batch, learning rate 0.1, a loop by hand",
    unit: "step",
    found_by: "`Trainer`, before the step reaches the parameters",
    mend: "Use `CrossEntropy`, or `kernels::softmax`, on logits: the row's largest is taken out first.",
    source: include_str!("naive_softmax.rs"),
    losses: |version| losses(loss(version)),
    detect: |version| {
        let data = data::far_blobs()?;
        let config = TrainConfig { epochs: STEPS, batch_size: BatchSize::Full, threads: 1, ..TrainConfig::default() };
        let mut sgd = SgdConfig::new(LR).build()?;
        let report = Trainer::new(config)?.fit(&mut Linear::new(2, 3), loss(version), &mut sgd, &data);
        detect::refusal(report, |kind| matches!(kind, ErrorKind::NonFinite { .. }))
    },
    facts: no_facts,
};

const LR: f64 = 0.1;
const STEPS: usize = 30;

fn loss(version: Version) -> &'static dyn Loss<f64> {
    version.choose(&Naive, &Stable)
}

/// A loop by hand, which does not look at what it steps with.
fn losses(loss: &dyn Loss<f64>) -> Result<Vec<f64>> {
    let data = data::far_blobs()?;
    let (mut model, mut sgd) = (Linear::new(2, 3), SgdConfig::new(LR).build()?);
    (0..STEPS)
        .map(|_| {
            let before = mean_loss(&model, loss, &data);
            model.zero_grad();
            let logits = model.forward(data.features())?;
            let value = loss.evaluate(logits.view(), &data.targets(), Reduction::Mean)?;
            model.backward(data.features(), value.gradient.view())?;
            sgd.step(model.parameters_mut())?;
            Ok(before)
        })
        .collect()
}

/// Cross-entropy as its formula is printed.
struct Naive;

impl Loss<f64> for Naive {
    fn name(&self) -> &'static str {
        "naive-cross-entropy"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Classes
    }

    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let label = target.class();
        // shown: wrong
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        for (g, z) in gradient.iter_mut().zip(logits) {
            *g = z.exp() / sum;
        }
        let loss = -gradient[label].ln();
        gradient[label] -= 1.0;
        // end
        RowLoss { loss, weight: 1.0 }
    }
}

/// The same with the maximum taken out: the row of [`CrossEntropy`].
struct Stable;

impl Loss<f64> for Stable {
    fn name(&self) -> &'static str {
        Loss::<f64>::name(&CrossEntropy::new())
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Classes
    }

    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let label = target.class();
        // shown: right
        let log_sum_exp = kernels::softmax(logits, gradient);
        let loss = log_sum_exp - logits[label];
        gradient[label] -= 1.0;
        // end
        RowLoss { loss, weight: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_are_one_function_where_nothing_overflows() {
        let logits = [1.0, -2.0, 0.5];
        let (mut naive, mut stable, mut library) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        let a = Naive.row(&logits, Target::Class(1), &mut naive).loss;
        let b = Stable.row(&logits, Target::Class(1), &mut stable).loss;
        let c = CrossEntropy::new().row(&logits, Target::Class(1), &mut library).loss;
        assert!((a - b).abs() < 1e-14 && b == c);
        assert!(naive.iter().zip(&stable).all(|(a, b)| (a - b).abs() < 1e-15) && stable == library);
    }
}
