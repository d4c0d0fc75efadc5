//! A loss of your own: written for one row, its gradient proved, then trained on data with a gross outlier.
//!
//! Run it with `cargo run --example custom_loss`.

use gradus::data::{CsvOptions, Schema, SchemaOptions, Table};
use gradus::train::{BatchSize, TrainConfig, Trainer};
use gradus::{Dataset, Linear, Loss, Mse, RowLoss, SgdConfig, Target, TargetKind};
use ndarray::Array2;

/// `ln(cosh(p - y))`: like the square near 0, like the absolute value far away.
struct LogCosh;

impl Loss<f64> for LogCosh {
    fn name(&self) -> &'static str {
        "log-cosh"
    }

    fn target_kind(&self) -> TargetKind {
        TargetKind::Values
    }

    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let mut loss = 0.0;
        for ((g, p), y) in gradient.iter_mut().zip(logits).zip(target.values()) {
            let error = p - y;
            *g = error.tanh();
            // cosh overflows beyond 710; this is the same number, and finite for every error.
            loss += error.abs() + (-2.0 * error.abs()).exp().ln_1p() - std::f64::consts::LN_2;
        }
        RowLoss { loss, weight: logits.len() as f64 }
    }
}

/// The loss and its gradient for a prediction `p` where the truth is `y`.
fn loss_and_gradient(p: f64, y: f64) -> (f64, f64) {
    let mut gradient = [0.0];
    let value = LogCosh.row(&[p], Target::Values(&[y]), &mut gradient);
    (value.loss, gradient[0])
}

/// Trains to the minimum and returns (w, b).
fn fit(loss: &impl Loss<f64>, data: &Dataset<f64>) -> gradus::Result<(f64, f64)> {
    let mut model = Linear::new(1, 1);
    let mut sgd = SgdConfig::new(0.02).build()?;
    let config = TrainConfig { epochs: 5000, batch_size: BatchSize::Full, ..Default::default() };
    Trainer::new(config)?.fit(&mut model, loss, &mut sgd, data)?;
    Ok((model.weight()[[0, 0]], model.bias().map_or(0.0, |bias| bias[0])))
}

fn main() -> gradus::Result<()> {
    // First the gradient: the slope between two points h to either side of p must agree with it.
    println!("gradient of log-cosh where y = 0");
    println!("      p    written   measured  difference");
    let mut largest_difference = 0.0_f64;
    for p in [-800.0_f64, -2.0, -0.5, 0.0, 0.1, 1.0, 30.0] {
        // The error of a central difference is least near h = cbrt(epsilon), in proportion to p.
        let h = f64::EPSILON.cbrt() * p.abs().max(1.0);
        let measured = (loss_and_gradient(p + h, 0.0).0 - loss_and_gradient(p - h, 0.0).0) / (2.0 * h);
        let written = loss_and_gradient(p, 0.0).1;
        let difference = (written - measured).abs();
        println!("{p:>7.1}  {written:>9.6}  {measured:>9.6}  {difference:>10.1e}");
        largest_difference = largest_difference.max(difference);
    }
    // A wrong gradient would still train, to a wrong answer: so this comes before training.
    assert!(largest_difference < 1e-9);

    // Then the data: a line of 100 points, and the same with the last y typed without its decimal point.
    let table = Table::<f64>::read("data/lesson/line.csv", &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, &SchemaOptions::default())?;
    let clean = schema.encode(&table)?.data;
    let mut y = Array2::from_shape_fn((clean.rows(), 1), |(row, _)| clean.targets().row(row).values()[0]);
    let last = clean.rows() - 1;
    let right = y[[last, 0]];
    y[[last, 0]] = 10.0 * right;
    let spoiled = Dataset::with_values(clean.features().to_owned(), y)?;
    println!();
    println!("outlier: row {} of {}, {:.1} instead of {right:.1}", last + 1, clean.rows(), 10.0 * right);

    println!();
    println!("loss      data             w         b");
    let mse_clean = fit(&Mse, &clean)?;
    let mse_spoiled = fit(&Mse, &spoiled)?;
    let robust_clean = fit(&LogCosh, &clean)?;
    let robust_spoiled = fit(&LogCosh, &spoiled)?;
    println!("mse       clean     {:>8.4}  {:>8.4}", mse_clean.0, mse_clean.1);
    println!("mse       outlier   {:>8.4}  {:>8.4}", mse_spoiled.0, mse_spoiled.1);
    println!("log-cosh  clean     {:>8.4}  {:>8.4}", robust_clean.0, robust_clean.1);
    println!("log-cosh  outlier   {:>8.4}  {:>8.4}", robust_spoiled.0, robust_spoiled.1);

    // An MSE gradient grows with the error, so one row can outvote all others; log-cosh's is never beyond 1.
    let mse_shift = (mse_spoiled.0 - mse_clean.0).abs();
    let robust_shift = (robust_spoiled.0 - robust_clean.0).abs();
    println!();
    println!("One row in a hundred moves the slope by {mse_shift:.4} under mse, by {robust_shift:.4} under log-cosh:");
    println!("{:.0} times less.", mse_shift / robust_shift);

    assert!((mse_clean.0 - 2.50690).abs() < 1e-4 && (mse_clean.1 - 0.91359).abs() < 1e-4);
    assert!(mse_shift > 0.5 && robust_shift < 0.05);
    Ok(())
}
