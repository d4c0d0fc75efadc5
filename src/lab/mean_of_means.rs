//! A mean of means over micro-batches of different sizes.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, no_facts};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "mean-of-means",
    title: "a ragged micro-batch that counts as a full one",
    story: "100 rows come in micro-batches of 33, 33, 33 and 1. Each gives the mean of its gradients, and the four \
            means are averaged: the last row alone counts for as much as 33 others. The mean of means is the mean \
            only where all have one size.",
    setting: "y = (1 + x)^2 on 100 rows in order of x, micro-batches of 33, learning rate 0.3",
    unit: "step",
    found_by: "`GradCheck::standing`, of what was added up against the loss of the window's rows; the \
               `Trainer` cannot make this mistake",
    mend: "Add up sums, and divide once, by the rows of the whole window.",
    source: include_str!("mean_of_means.rs"),
    losses: |version| bench()?.losses(40, turn(version)),
    detect: |version| bench()?.check_gradient(turn(version)),
    facts: no_facts,
};

fn bench() -> Result<Bench> {
    Ok(Bench::new(data::parabola()?, SgdConfig::new(0.3))?.in_batches(33))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, batches, .. } = bench;
    // shown: wrong
    model.zero_grad();
    let parts = batches.len() as f64;
    for batch in batches {
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Mean)?;
        model.backward(batch.features(), (loss.gradient / parts).view())?;
    }
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, batches, .. } = bench;
    // shown: right
    model.zero_grad();
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
