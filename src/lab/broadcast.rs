//! A column of predictions against a row of targets.

use ndarray::{Array1, Array2, Axis};

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, detect, no_facts};
use crate::error::{ErrorKind, Result};
use crate::loss::{Loss, Mse, Reduction, Targets};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "broadcast",
    title: "(n, 1) minus (n) is n by n",
    story: "Predictions come as a column (n, 1), targets as (n). Their difference is broadcast to an n by n table \
            of every prediction against every target, whose mean is a loss that falls as it should. Its minimum is \
            the mean of the targets for every row: the slope is never learnt.",
    setting: "data/lesson/line.csv, full batch, learning rate 0.014",
    unit: "step",
    found_by: "`Loss::evaluate`: shapes are compared, and never broadcast",
    mend: "Give the targets the predictions' shape: `.insert_axis(Axis(1))`.",
    source: include_str!("broadcast.rs"),
    losses: |version| bench()?.losses(500, turn(version)),
    detect: |version| {
        let bench = bench()?;
        let y = targets(&bench);
        let out = bench.model.forward(bench.data.features())?;
        let column = y.clone().insert_axis(Axis(1));
        let given = version.choose(Targets::values(&y), Targets::values(&column));
        let value = Mse.evaluate(out.view(), &given, Reduction::Mean);
        detect::refusal(value, |kind| matches!(kind, ErrorKind::Shape { .. }))
    },
    facts: no_facts,
};

fn bench() -> Result<Bench> {
    Bench::new(data::line()?, SgdConfig::new(0.014))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

/// The targets as many programs hold them: one axis.
fn targets(bench: &Bench) -> Array1<f64> {
    (0..bench.data.rows()).map(|row| bench.data.targets().row(row).values()[0]).collect()
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let y = targets(bench);
    let Bench { model, sgd, data, .. } = bench;
    // shown: wrong
    model.zero_grad();
    let out = model.forward(data.features())?;
    let errors: Array2<f64> = &out - &y; // [100, 1] - [100]: [100, 100]
    let count = errors.len() as f64;
    let gradient = errors.sum_axis(Axis(1)).insert_axis(Axis(1)) * 2.0 / count;
    model.backward(data.features(), gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let y = targets(bench);
    let Bench { model, sgd, data, .. } = bench;
    // shown: right
    let y = y.insert_axis(Axis(1)); // [100, 1]
    model.zero_grad();
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &Targets::values(&y), Reduction::Mean)?;
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}
