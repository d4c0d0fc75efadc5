//! `zero_grad` inside an accumulation window.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, no_facts};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "zero-inside-window",
    title: "`zero_grad` inside an accumulation window",
    story: "Four micro-batches are meant to make one step, but the gradient is zeroed before each: only the last one \
            is left when the step comes. The rows of the other three never count, and nothing says so: the loss \
            falls, and settles too high.",
    setting: "y = (1 + x)^2 on 100 rows in order of x, 4 micro-batches of 25, learning rate 0.3",
    unit: "step",
    found_by: "the optimizer: `zero_grad` has thrown away what no step had used",
    mend: "Call `zero_grad` where the window begins, before its first micro-batch.",
    source: include_str!("zero_inside_window.rs"),
    losses: |version| bench()?.losses(STEPS, turn(version)),
    detect: |version| bench()?.warned(STEPS, turn(version)),
    facts: no_facts,
};

const STEPS: usize = 40;

fn bench() -> Result<Bench> {
    Ok(Bench::new(data::parabola()?, SgdConfig::new(0.3))?.in_batches(25))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, batches, .. } = bench;
    let rows = data.rows() as f64;
    // shown: wrong
    for batch in batches {
        model.zero_grad();
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Sum)?;
        model.backward(batch.features(), (loss.gradient / rows).view())?;
    }
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, batches, .. } = bench;
    let rows = data.rows() as f64;
    // shown: right
    model.zero_grad();
    for batch in batches {
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Sum)?;
        model.backward(batch.features(), (loss.gradient / rows).view())?;
    }
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}
