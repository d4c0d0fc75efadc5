//! A line through 100 points: the training loop written by hand, checked against the exact answer.
//!
//! Run it with `cargo run --example linear_regression`.

use gradus::data::{CsvOptions, Schema, SchemaOptions, Table};
use gradus::optim::grad_norm;
use gradus::{Linear, Loss, Model, Mse, Optimizer, Reduction, SgdConfig};
use ndarray::array;

/// What the data were made with: y = 2.5 x + 1 + noise of standard deviation 0.5.
const TRUE_W: f64 = 2.5;
const TRUE_B: f64 = 1.0;

fn main() -> gradus::Result<()> {
    let table = Table::<f64>::read("data/lesson/line.csv", &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, &SchemaOptions::default())?;
    let data = schema.encode(&table)?.data;
    let (x, y) = (data.features(), data.targets());

    // Any start would do: the loss has one minimum. From (1, 0) the first gradient is worth a look.
    let mut model = Linear::from_parts(array![[1.0]], Some(array![0.0]))?;
    // The steepest curvature of this loss is 68.5: above 2/68.5 = 0.029 the steps would overshoot further and further.
    let mut sgd = SgdConfig::new(0.02).build()?;

    println!("step      loss  |gradient|      dL/dw      dL/db         w         b");
    let mut first_gradient = [0.0, 0.0];
    let mut losses = Vec::new();
    for step in 0..=2000 {
        model.zero_grad();
        let predictions = model.forward(x)?;
        // One call gives the loss and its gradient with respect to the predictions...
        let loss = Mse.evaluate(predictions.view(), &y, Reduction::Mean)?;
        // ...and backward takes that on to the parameters.
        model.backward(x, loss.gradient.view())?;

        let [weight, bias] = model.parameters() else { unreachable!("a linear model has a weight and a bias") };
        let (w, b, dw, db) = (weight.values()[0], bias.values()[0], weight.gradients()[0], bias.gradients()[0]);
        if [0, 1, 2, 5, 10, 100, 500, 1000, 2000].contains(&step) {
            let norm = grad_norm(model.parameters());
            println!("{step:>4}  {:>8.4}  {norm:>10.2e}  {dw:>9.2e}  {db:>9.2e}  {w:>8.5}  {b:>8.5}", loss.loss);
        }
        if step == 0 {
            first_gradient = [dw, db];
        }
        losses.push(loss.loss);
        sgd.step(model.parameters_mut())?;
    }
    println!();
    println!("At the start both partial derivatives are negative: raising w, or b, lowers the loss.");
    println!("A step subtracts lr times the gradient, so both go up.");

    // For one feature the least-squares answer is a formula: w is the covariance of x and y over the variance of x.
    let n = data.rows() as f64;
    let xs = x.column(0);
    let ys: Vec<f64> = (0..data.rows()).map(|row| y.row(row).values()[0]).collect();
    let (mean_x, mean_y) = (xs.sum() / n, ys.iter().sum::<f64>() / n);
    let sxx: f64 = xs.iter().map(|x| (x - mean_x).powi(2)).sum();
    let sxy: f64 = xs.iter().zip(&ys).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let exact_w = sxy / sxx;
    let exact_b = mean_y - exact_w * mean_x;

    // How far noise alone moves that answer: the variance of the noise is the residual sum of squares over n - 2.
    let rss: f64 = xs.iter().zip(&ys).map(|(x, y)| (y - exact_w * x - exact_b).powi(2)).sum();
    let variance = rss / (n - 2.0);
    let error_w = (variance / sxx).sqrt();
    let error_b = (variance * (1.0 / n + mean_x.powi(2) / sxx)).sqrt();

    let w = model.weight()[[0, 0]];
    let b = model.bias().map_or(0.0, |bias| bias[0]);
    let away_w = (exact_w - TRUE_W) / error_w;
    let away_b = (exact_b - TRUE_B) / error_b;
    println!();
    println!("      truth  gradient descent  least squares  standard error  from the truth");
    println!("w  {TRUE_W:>8.5}  {w:>16.5}  {exact_w:>13.5}  {error_w:>14.5}  {away_w:>+7.2} std.err.");
    println!("b  {TRUE_B:>8.5}  {b:>16.5}  {exact_b:>13.5}  {error_b:>14.5}  {away_b:>+7.2} std.err.");
    println!();
    println!("Gradient descent finds the least-squares answer, not the truth: 100 noisy points do not hold the truth.");
    println!(
        "Both true values lie within one standard error of it; for a single value that happens two times in three."
    );

    assert!(first_gradient.iter().all(|partial| *partial < 0.0));
    assert!((first_gradient[0] + 110.10308).abs() < 1e-5 && (first_gradient[1] + 16.89615).abs() < 1e-5);
    assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "the loss never rises");
    assert!((w - exact_w).abs() < 1e-6 && (b - exact_b).abs() < 1e-6);
    assert!((w - 2.50690).abs() < 1e-5 && (b - 0.91359).abs() < 1e-5);
    assert!(away_w.abs() < 1.0 && away_b.abs() < 1.0);
    Ok(())
}
