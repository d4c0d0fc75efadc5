//! A learning rate just above the largest that is stable.

use super::bench::Bench;
use super::{Bug, Fact, Version, data, detect};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, Sgd, SgdConfig};
use crate::train::{Curvature, curvature};

pub(super) const BUG: Bug = Bug {
    name: "learning-rate",
    title: "one percent above the stable learning rate",
    story: "Along a direction of curvature k a step of size lr multiplies the distance from the minimum by 1 - lr k. \
            Below lr = 2/k that shrinks, above it grows: a knife's edge. One run takes 1.01 of the limit, the other \
            0.99, and only one of them ever arrives.",
    setting: "data/lesson/line.csv, full batch, no momentum",
    unit: "step",
    found_by: "`lab::detect::learning_rate`, before the first step, from `train::curvature`",
    mend: "Take half the limit or less, or leave the learning rate out: `gradus train` chooses it.",
    source: include_str!("learning_rate.rs"),
    losses: |version| {
        let mut bench = Bench::new(data::line()?, SgdConfig::new(0.0))?;
        bench.sgd = sgd(version, &steepest(&bench)?)?;
        bench.losses(120, turn)
    },
    detect: |version| {
        let bench = Bench::new(data::line()?, SgdConfig::new(0.0))?;
        let curvature = steepest(&bench)?;
        Ok(detect::learning_rate(sgd(version, &curvature)?.lr(), 0.0, &curvature))
    },
    facts: || {
        let curvature = steepest(&Bench::new(data::line()?, SgdConfig::new(0.0))?)?;
        Ok(vec![
            Fact {
                name: "curvature",
                meaning: "k, the curvature of the steepest direction",
                value: curvature.full_batch,
            },
            Fact {
                name: "limit",
                meaning: "the largest stable learning rate, 2 / k",
                value: 2.0 / curvature.full_batch,
            },
            Fact { name: "wrong_lr", meaning: "the wrong run's", value: sgd(Version::Wrong, &curvature)?.lr() },
            Fact { name: "right_lr", meaning: "the right run's", value: sgd(Version::Right, &curvature)?.lr() },
        ])
    },
};

fn steepest(bench: &Bench) -> Result<Curvature> {
    let known = curvature(&bench.data, &Mse, 1, true);
    Ok(known.expect("the mean squared error states its curvature"))
}

fn sgd(version: Version, curvature: &Curvature) -> Result<Sgd<f64>> {
    let make: fn(&Curvature) -> Result<Sgd<f64>> = version.choose(wrong, right);
    make(curvature)
}

fn wrong(curvature: &Curvature) -> Result<Sgd<f64>> {
    // shown: wrong
    let limit = 2.0 / curvature.full_batch;
    let sgd = SgdConfig::new(1.01 * limit).build()?;
    // end
    Ok(sgd)
}

fn right(curvature: &Curvature) -> Result<Sgd<f64>> {
    // shown: right
    let limit = 2.0 / curvature.full_batch;
    let sgd = SgdConfig::new(0.99 * limit).build()?;
    // end
    Ok(sgd)
}

fn turn(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, data, .. } = bench;
    model.zero_grad();
    let out = model.forward(data.features())?;
    let loss = Mse.evaluate(out.view(), &data.targets(), Reduction::Mean)?;
    model.backward(data.features(), loss.gradient.view())?;
    sgd.step(model.parameters_mut())?;
    Ok(())
}
