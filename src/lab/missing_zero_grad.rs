//! The gradient that nobody zeroed.

use super::bench::{Bench, Turn};
use super::{Bug, Fact, Version, data, detect, period, undamped_period};
use crate::error::{ErrorKind, Result};
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig, StaleGradient};
use crate::train::curvature;

pub(super) const BUG: Bug = Bug {
    name: "missing-zero-grad",
    title: "a gradient that nobody zeroed",
    story: "A backward pass adds to the gradient. Without `zero_grad` each step uses the sum of all gradients so far, \
            which is momentum 1: nothing dampens it, and the run swings through the minimum and out on the other \
            side forever. It looks like a learning rate that is too large, but a smaller one only swings more slowly.",
    setting: "data/lesson/line.csv, full batch, learning rate 0.005; the wrong run under StaleGradient::Allow",
    unit: "step",
    found_by: "the ledger of each parameter, in `step`; no threshold, no false alarm",
    mend: "Call `zero_grad` between a step and the next backward pass.",
    source: include_str!("missing_zero_grad.rs"),
    losses: |version| bench(StaleGradient::Allow)?.losses(STEPS, turn(version)),
    detect: |version| {
        let losses = bench(StaleGradient::Deny)?.losses(STEPS, turn(version));
        detect::refusal(losses, |kind| matches!(kind, ErrorKind::StaleGradient { .. }))
    },
    facts,
};

const LR: f64 = 0.005;
const STEPS: usize = 60;

fn bench(policy: StaleGradient) -> Result<Bench> {
    Bench::new(data::line()?, SgdConfig::new(LR).stale_gradient(policy))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, .. } = bench;
    // shown: wrong
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &data.targets(), Reduction::Mean)?;
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, .. } = bench;
    // shown: right
    model.zero_grad();
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &data.targets(), Reduction::Mean)?;
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

/// The loss is high at both ends of a swing: it comes back twice in a period.
fn facts() -> Result<Vec<Fact>> {
    let losses = (BUG.losses)(Version::Wrong)?;
    let steepest = curvature(&data::line()?, &Mse, 1, true).map_or(f64::NAN, |all| all.full_batch);
    let measured = period(&losses).map_or(f64::NAN, |half| 2.0 * half);
    let theory = undamped_period(LR, steepest).unwrap_or(f64::NAN);
    Ok(vec![
        Fact { name: "curvature", meaning: "k, the curvature of the steepest direction", value: steepest },
        Fact { name: "period_measured", meaning: "steps in a swing, measured on the wrong run", value: measured },
        Fact { name: "period_theory", meaning: "steps in a swing, 2 pi / acos(1 - lr k / 2)", value: theory },
    ])
}
