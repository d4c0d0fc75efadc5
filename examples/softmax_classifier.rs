//! A classifier from a CSV file, judged on rows it has not seen.
//!
//! Run it with `cargo run --example softmax_classifier`, or on a file and target column of your own with
//! `cargo run --example softmax_classifier -- data/penguins.csv species`.

use gradus::data::{CsvOptions, Missing, Schema, SchemaOptions, Standardizer, Table, TargetRole, split};
use gradus::train::{BatchSize, EpochEvent, Observer, TrainConfig, Trainer, mean_loss};
use gradus::{CrossEntropy, Dataset, Linear, Model, SgdConfig};
use ndarray::Array2;

const IRIS: &str = "data/iris.csv";

/// Prints the 1st, 2nd, 5th, 10th, 20th, ... epoch. The training loss is the mean over its steps, each taken before the
/// update; the held-out loss comes after the last one, so that at first it is the lower of the two.
struct Progress;

impl Observer for Progress {
    fn epoch(&mut self, event: &EpochEvent) -> gradus::Result<()> {
        if [1, 2, 5, 10, 20, 50, 100, 200].contains(&event.epoch) {
            let held_out = event.valid_loss.unwrap_or(f64::NAN);
            println!("{:>5}  {:>13.4}  {held_out:>13.4}  {:>10.4}", event.epoch, event.loss, event.grad_norm);
        }
        Ok(())
    }
}

/// How often each true class (row) was taken for each class (column).
fn confusion(model: &Linear<f64>, data: &Dataset<f64>) -> gradus::Result<Array2<usize>> {
    let logits = model.forward(data.features())?;
    let targets = data.targets();
    let mut counts = Array2::zeros((model.outputs(), model.outputs()));
    for (row, logits) in logits.rows().into_iter().enumerate() {
        // The largest logit is the largest probability: no softmax is needed to decide.
        let predicted = (0..logits.len()).fold(0, |best, k| if logits[k] > logits[best] { k } else { best });
        counts[[targets.row(row).class(), predicted]] += 1;
    }
    Ok(counts)
}

fn accuracy(confusion: &Array2<usize>) -> f64 {
    confusion.diag().sum() as f64 / confusion.sum() as f64
}

fn main() -> gradus::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| IRIS.to_owned());
    // Without a name the last column is the target.
    let target = arguments.next();

    let table = Table::<f64>::read(&path, &CsvOptions::default())?;
    let options =
        SchemaOptions { target, target_role: TargetRole::Classes, missing: Missing::Drop, ..Default::default() };
    let (schema, notes) = Schema::infer(&table, &options)?;
    notes.iter().for_each(|note| println!("note: {note}"));
    let encoded = schema.encode(&table)?;
    let data = encoded.data;
    let (inputs, outputs) = (data.features().ncols(), schema.outputs());
    println!("file      {path}: {} rows, {} left out for a missing value", data.rows(), encoded.dropped);
    println!("features  {inputs}");
    println!("classes   {} of \"{}\": {}", outputs, schema.target, schema.classes.join(", "));

    // A model is judged on rows that had no part in it, and these have none in the means and deviations either.
    let (training_rows, held_out_rows) = split(data.rows(), 0.2, 0);
    let (mut training, mut held_out) = (data.select(&training_rows), data.select(&held_out_rows));
    let standardizer = Standardizer::fit(&training);
    standardizer.apply(&mut training)?;
    standardizer.apply(&mut held_out)?;

    let loss = CrossEntropy::new();
    let mut model = Linear::new(inputs, outputs);
    // All logits are 0, so each class gets probability 1/classes: the loss of knowing nothing is ln(classes).
    let untrained = mean_loss(&model, &loss, &training);
    println!();
    println!("epoch  training loss  held-out loss  |gradient|");
    println!("    0  {untrained:>13.4}");
    let mut sgd = SgdConfig::new(0.1).build()?;
    let config = TrainConfig { epochs: 200, batch_size: BatchSize::Rows(32), ..Default::default() };
    let mut progress = Progress;
    let trainer = Trainer::new(config)?.validation(&held_out).observer(&mut progress);
    let report = trainer.fit(&mut model, &loss, &mut sgd, &training)?;

    let held_out_confusion = confusion(&model, &held_out)?;
    let training_accuracy = accuracy(&confusion(&model, &training)?);
    let held_out_accuracy = accuracy(&held_out_confusion);
    println!();
    println!("           rows    loss  accuracy");
    println!("training  {:>5}  {:>6.4}  {training_accuracy:>8.4}", training.rows(), report.loss);
    let held_out_loss = mean_loss(&model, &loss, &held_out);
    println!("held out  {:>5}  {held_out_loss:>6.4}  {held_out_accuracy:>8.4}", held_out.rows());

    println!();
    println!("held-out rows: the true class down, the predicted one across");
    let width = schema.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(4);
    let header: String = schema.classes.iter().map(|class| format!("  {class:>width$}")).collect();
    println!("{:width$}{header}", "");
    for (class, counts) in schema.classes.iter().zip(held_out_confusion.rows()) {
        let counts: String = counts.iter().map(|count| format!("  {count:>width$}")).collect();
        println!("{class:<width$}{counts}");
    }

    assert!((untrained - (outputs as f64).ln()).abs() < 1e-12);
    if path == IRIS {
        assert!(report.loss < untrained / 3.0);
        assert!(training_accuracy > 0.9 && held_out_accuracy > 0.9);
    }
    Ok(())
}
