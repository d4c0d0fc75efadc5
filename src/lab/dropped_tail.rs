//! The last window of an epoch, dropped because it is short.

use super::bench::{Bench, Turn};
use super::{Bug, Version, data, no_facts};
use crate::error::Result;
use crate::loss::{Loss, Mse, Reduction};
use crate::model::Model;
use crate::optim::{Optimizer, SgdConfig};

pub(super) const BUG: Bug = Bug {
    name: "dropped-tail",
    title: "the last window of an epoch, never stepped",
    story: "Ten micro-batches, four to a window: the steps come after the fourth and the eighth. The last two are \
            passed backward, and the next epoch zeroes what they gave: a fifth of the rows never counts. Shuffled, \
            they are others in each epoch, and the bug is all but invisible.",
    setting: "y = (1 + x)^2 on 100 rows in order of x, 10 micro-batches of 10, learning rate 0.3",
    unit: "epoch",
    found_by: "the optimizer: `zero_grad` has thrown away what no step had used",
    mend: "Step the last window too, whatever its size, and divide it by its own rows.",
    source: include_str!("dropped_tail.rs"),
    losses: |version| bench()?.losses(EPOCHS, turn(version)),
    detect: |version| bench()?.warned(EPOCHS, turn(version)),
    facts: no_facts,
};

const EPOCHS: usize = 30;

fn bench() -> Result<Bench> {
    Ok(Bench::new(data::parabola()?, SgdConfig::new(0.3))?.in_batches(10))
}

fn turn(version: Version) -> Turn {
    version.choose(wrong, right)
}

fn wrong(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, batches, .. } = bench;
    // shown: wrong
    for (i, batch) in batches.iter().enumerate() {
        if i % 4 == 0 {
            model.zero_grad();
        }
        let out = model.forward(batch.features())?;
        let loss = Mse.evaluate(out.view(), &batch.targets(), Reduction::Sum)?;
        model.backward(batch.features(), (loss.gradient / 40.0).view())?;
        if (i + 1) % 4 == 0 {
            sgd.step(model.parameters_mut())?;
        }
    }
    // end
    Ok(())
}

fn right(bench: &mut Bench) -> Result<()> {
    let Bench { model, sgd, batches, .. } = bench;
    // shown: right
    for window in batches.chunks(4) {
        model.zero_grad();
        let rows = window.iter().map(|b| b.rows()).sum::<usize>() as f64;
        for b in window {
            let out = model.forward(b.features())?;
            let loss = Mse.evaluate(out.view(), &b.targets(), Reduction::Sum)?;
            model.backward(b.features(), (loss.gradient / rows).view())?;
        }
        sgd.step(model.parameters_mut())?;
    }
    // end
    Ok(())
}
