//! Classes that count from 1.

use super::{Bug, Fact, Version, data, detect};
use crate::data::Dataset;
use crate::error::{ErrorKind, Result};
use crate::loss::{CrossEntropy, Loss, Reduction, Targets};
use crate::model::{Linear, Model};
use crate::optim::{Optimizer, SgdConfig};
use crate::train::mean_loss;

pub(super) const BUG: Bug = Bug {
    name: "label-shift",
    title: "classes that count from 1",
    story: "A file numbers three species 1, 2, 3. With three outputs the label 3 is refused; a fourth output makes \
            that go away, and training looks perfect: its own loss falls. But the first name is read at output 0, \
            which no row ever had, and every prediction is named one too late. The curves show the loss against \
            the names.",
    setting: "data/iris.csv, full batch, learning rate 0.05",
    unit: "step",
    found_by: "`Loss::check`, of the labels against as many outputs as there are names",
    mend: "Count classes from 0, and have as many outputs as names.",
    source: include_str!("label_shift.rs"),
    losses: |version| Ok(train(version)?.losses),
    detect: |version| {
        let (data, labels) = (data::iris()?, labels_and_model(version)?.0);
        let named = CrossEntropy::new().check(&Targets::<f64>::classes(&labels), data.rows(), SPECIES);
        detect::refusal(named, |kind| matches!(kind, ErrorKind::Label { .. }))
    },
    facts: || {
        let (wrong, right) = (train(Version::Wrong)?, train(Version::Right)?);
        Ok(vec![
            Fact {
                name: "wrong_own_loss",
                meaning: "the wrong run's last loss, by its own labels",
                value: wrong.own_loss,
            },
            Fact { name: "wrong_accuracy", meaning: "share of rows it names rightly", value: wrong.accuracy },
            Fact { name: "right_accuracy", meaning: "share the right run names rightly", value: right.accuracy },
        ])
    },
};

const SPECIES: usize = 3;
const STEPS: usize = 60;

/// The species as the file numbers them: 1, 2, 3.
fn numbered() -> Result<Vec<usize>> {
    Ok(data::classes(&data::iris()?).into_iter().map(|class| class + 1).collect())
}

fn labels_and_model(version: Version) -> Result<(Vec<usize>, Linear<f64>)> {
    let numbers = numbered()?;
    Ok(match version {
        Version::Wrong => wrong(numbers),
        Version::Right => right(numbers),
    })
}

fn wrong(numbers: Vec<usize>) -> (Vec<usize>, Linear<f64>) {
    // shown: wrong
    let labels: Vec<usize> = numbers; // 1, 2, 3
    let model = Linear::new(4, 4);
    // end
    (labels, model)
}

fn right(numbers: Vec<usize>) -> (Vec<usize>, Linear<f64>) {
    // shown: right
    let labels: Vec<usize> = numbers.iter().map(|n| n - 1).collect(); // 0, 1, 2
    let model = Linear::new(4, 3);
    // end
    (labels, model)
}

/// What came of a run.
struct Trained {
    /// Against the names: output `k` is species `k`.
    losses: Vec<f64>,
    own_loss: f64,
    accuracy: f64,
}

fn train(version: Version) -> Result<Trained> {
    let named = data::iris()?;
    let (labels, mut model) = labels_and_model(version)?;
    let own = Dataset::with_classes(named.features().to_owned(), labels)?;
    let loss = CrossEntropy::new();
    let mut sgd = SgdConfig::new(0.05).build()?;
    let mut losses = Vec::with_capacity(STEPS);
    for _ in 0..STEPS {
        losses.push(mean_loss(&model, &loss, &named));
        model.zero_grad();
        let logits = model.forward(own.features())?;
        let value = loss.evaluate(logits.view(), &own.targets(), Reduction::Mean)?;
        model.backward(own.features(), value.gradient.view())?;
        sgd.step(model.parameters_mut())?;
    }
    let logits = model.forward(named.features())?;
    let largest = |row: ndarray::ArrayView1<'_, f64>| {
        row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(output, _)| output)
    };
    let predicted = logits.rows().into_iter().map(largest);
    let hits = predicted.zip(data::classes(&named)).filter(|(predicted, class)| predicted == class).count();
    let own_loss = mean_loss(&model, &loss, &own);
    Ok(Trained { losses, own_loss, accuracy: hits as f64 / named.rows() as f64 })
}
