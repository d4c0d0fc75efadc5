//! A gradient with the wrong sign.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, no_facts};
use crate::error::Result;
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "sign",
    title: "a gradient that points downhill",
    story: "The gradient points uphill, and a step goes against it. Written by hand with target and prediction \
            exchanged, which the square forgives and its derivative does not, it points downhill, and every step \
            climbs.",
    setting: "data/lesson/line.csv, full batch, learning rate 0.001",
    unit: "step",
    found_by: "`GradCheck::standing`: the gradient against the slope of the loss",
    mend: "The derivative of (prediction - target)^2 is 2 (prediction - target), in this order.",
    source: include_str!("sign.rs"),
    losses: |version| bench()?.losses(40, turn(version)),
    detect: |version| bench()?.check_gradient(turn(version)),
    facts: no_facts,
};

fn bench() -> Result<Bench> {
    Bench::new(data::line()?, SgdConfig::new(0.001))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn targets(bench: &Bench) -> ndarray::Array2<f64> {
    let y: Vec<f64> = (0..bench.data.rows()).map(|row| bench.data.targets().row(row).values()[0]).collect();
    ndarray::Array1::from(y).insert_axis(ndarray::Axis(1))
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let y = targets(bench);
    let Bench { model, sgd, data, .. } = bench;
    model.zero_grad();
    // shown: wrong
    let out = model.forward(data.features())?;
    let gradient = (&y - &out) * 2.0 / data.rows() as f64;
    model.backward(data.features(), gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let y = targets(bench);
    let Bench { model, sgd, data, .. } = bench;
    model.zero_grad();
    // shown: right
    let out = model.forward(data.features())?;
    let gradient = (&out - &y) * 2.0 / data.rows() as f64;
    model.backward(data.features(), gradient.view())?;
    sgd.step(model.parameters_mut())?;
    // end
    Ok(())
}
