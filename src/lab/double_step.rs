//! Two steps with one gradient.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, detect, no_facts};
use crate::error::{ErrorKind, Result};
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig, StaleGradient};

pub(super) const BUG: Bug = Bug {
    name: "double-step",
    title: "two steps with one gradient",
    story: "`step` is called in the loop and, say, again in a callback. The second call repeats the update with a \
            gradient of where the parameters no longer are: the learning rate is doubled in silence. Here the given \
            one is stable, and twice that is not.",
    setting: "data/lesson/line.csv, full batch, learning rate 0.02; the wrong run under StaleGradient::Allow",
    unit: "step",
    found_by: "the ledger of each parameter, in the second `step`",
    mend: "Step once for each window of backward passes.",
    source: include_str!("double_step.rs"),
    losses: |version| bench(StaleGradient::Allow)?.losses(STEPS, turn(version)),
    detect: |version| {
        let losses = bench(StaleGradient::Deny)?.losses(STEPS, turn(version));
        detect::refusal(losses, |kind| matches!(kind, ErrorKind::DoubleStep { .. }))
    },
    facts: no_facts,
};

const STEPS: usize = 40;

fn bench(policy: StaleGradient) -> Result<Bench> {
    Bench::new(data::line()?, SgdConfig::new(0.02).stale_gradient(policy))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, .. } = bench;
    model.zero_grad();
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &data.targets(), Reduction::Mean)?;
    // shown: wrong
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, .. } = bench;
    model.zero_grad();
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &data.targets(), Reduction::Mean)?;
    // shown: right
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}
