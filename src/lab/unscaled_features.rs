//! Features of very different sizes.

use super::bench::Bench;
use super::{Bug, Fact, Version, data, detect};
use crate::data::{Dataset, Standardizer};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};
use crate::train::curvature;

pub(super) const BUG: Bug = Bug {
    name: "unscaled-features",
    title: "grams beside millimetres",
    story: "Body mass in grams is hundreds of times a bill in millimetres, and the loss curves with the square of \
            that. A learning rate that the masses survive leaves the bills and the bias where they are. Each run \
            takes half of the largest rate that is stable for it: the wrong one stops learning after a few steps.",
    setting: "data/penguins.csv, flipper length from bill length, bill depth and body mass, full batch",
    unit: "step",
    found_by: "`lab::detect::conditioning`, before the first step, from `train::curvature`",
    mend: "Standardise: mean 0, standard deviation 1. `fold` puts the model back into the data's units.",
    source: include_str!("unscaled_features.rs"),
    losses: |version| {
        let data = dataset(version)?;
        let lr = stable(&data) / 2.0;
        Bench::new(data, SgdConfig::new(lr))?.losses(60, turn)
    },
    detect: |version| detect::conditioning(&dataset(version)?),
    facts: || {
        let limit = |version| Ok::<f64, crate::Error>(stable(&dataset(version)?));
        Ok(vec![
            Fact { name: "wrong_limit", meaning: "largest stable rate, as given", value: limit(Version::Wrong)? },
            Fact { name: "right_limit", meaning: "largest stable rate, standardised", value: limit(Version::Right)? },
        ])
    },
};

/// The largest learning rate that is stable.
fn stable(data: &Dataset<f64>) -> f64 {
    let known = curvature(data, &Mse, 1, true);
    2.0 / known.expect("the mean squared error states its curvature").full_batch
}

fn dataset(version: Version) -> Result<Dataset<f64>> {
    let make: fn(Dataset<f64>) -> Result<Dataset<f64>> = version.choose(wrong, right);
    make(data::penguins()?)
}

fn wrong(penguins: Dataset<f64>) -> Result<Dataset<f64>> {
    // shown: wrong
    let data = penguins; // body_mass_g: 2700 to 6300; bill_depth_mm: 13 to 22
    // end
    Ok(data)
}

fn right(penguins: Dataset<f64>) -> Result<Dataset<f64>> {
    // shown: right
    let mut data = penguins;
    Standardizer::fit(&data).apply(&mut data)?;
    // end
    Ok(data)
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
