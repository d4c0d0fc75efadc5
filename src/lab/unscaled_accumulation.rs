//! Accumulated means that nobody divided by their number.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, no_facts};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "unscaled-accumulation",
    title: "accumulated means that nobody divided",
    story: "Four micro-batches each give a mean gradient, and the gradients add up: the sum is four times the mean, \
            and so is the step. A learning rate tuned without accumulation diverges with it, or works until somebody \
            changes the number of micro-batches.",
    setting: "data/lesson/line.csv, 4 micro-batches of 25, learning rate 0.01",
    unit: "step",
    found_by: "`GradCheck::standing`, of what was added up against the loss of the window's rows; the \
               `Trainer` cannot make this mistake",
    mend: "Add up sums, and divide once, by the rows of the whole window.",
    source: include_str!("unscaled_accumulation.rs"),
    losses: |version| bench()?.losses(40, turn(version)),
    detect: |version| bench()?.check_gradient(turn(version)),
    facts: no_facts,
};

fn bench() -> Result<Bench> {
    Ok(Bench::new(data::line()?, SgdConfig::new(0.01))?.in_batches(25))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, batches, .. } = bench;
    model.zero_grad();
    // shown: wrong
    for batch in batches {
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Mean)?;
        model.backward(batch.features(), loss.gradient.view())?;
    }
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, batches, .. } = bench;
    model.zero_grad();
    // shown: right
    let rows = data.rows() as f64;
    for batch in batches {
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Sum)?;
        model.backward(batch.features(), (loss.gradient / rows).view())?;
    }
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}
