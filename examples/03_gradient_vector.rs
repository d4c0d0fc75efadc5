//! Lesson 3: the gradient, all partial derivatives at once, and where it says to go.
//!
//! Run it with `cargo run --example 03_gradient_vector`.

use gradus::calculus::{self, Method};
use gradus::data::{CsvOptions, Schema, SchemaOptions, Table};
use gradus::{Dataset, Linear, Loss, Model, Mse, Reduction};
use ndarray::array;

/// The mean squared error of y = w1 x1 + w2 x2 + w3 x3 + b, and its gradient by (w1, w2, w3, b).
fn loss_and_gradient(data: &Dataset<f64>, p: &[f64]) -> gradus::Result<(f64, Vec<f64>)> {
    let mut model = Linear::from_parts(array![[p[0], p[1], p[2]]], Some(array![p[3]]))?;
    let predictions = model.forward(data.features())?;
    let loss = Mse.evaluate(predictions.view(), &data.targets(), Reduction::Mean)?;
    model.backward(data.features(), loss.gradient.view())?;
    let gradient = model.parameters().iter().flat_map(|parameter| parameter.gradients().to_vec()).collect();
    Ok((loss.loss, gradient))
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn main() -> gradus::Result<()> {
    let table = Table::<f64>::read("data/lesson/plane.csv", &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, &SchemaOptions::default())?;
    let data = schema.encode(&table)?.data;

    // One backward pass gives every component. Measuring them takes evaluations of the loss for each of them.
    let zero = [0.0; 4];
    let (loss, gradient) = loss_and_gradient(&data, &zero)?;
    let loss_at = |p: &[f64]| loss_and_gradient(&data, p).map_or(f64::NAN, |(loss, _)| loss);
    let measured = calculus::gradient(loss_at, &zero, Method::Central)?;
    println!("{} points; the loss of the zero plane is {loss:.6}", data.rows());
    println!("\n     gradient   numerical  to lower the loss");
    let names = ["w1", "w2", "w3", "b"];
    for i in 0..4 {
        let direction = if gradient[i] > 0.0 { "decrease" } else { "increase" };
        println!("{:<2}  {:>9.6}  {:>10.6}  {direction} {}", names[i], gradient[i], measured.value[i], names[i]);
    }
    println!("|gradient| = {:.6}: how fast the loss rises straight uphill", norm(&gradient));

    // A step goes straight downhill: each parameter against its own component.
    println!("\n  lr      loss    change   -lr |gradient|^2");
    let step = |lr: f64| -> Vec<f64> { zero.iter().zip(&gradient).map(|(p, g)| p - lr * g).collect() };
    let mut changes = Vec::new();
    for lr in [0.001, 0.01, 0.1, 1.0] {
        let (after, predicted) = (loss_at(&step(lr)), -lr * norm(&gradient).powi(2));
        println!("{lr:>5}  {after:>7.4}  {:>8.4}  {predicted:>17.4}", after - loss);
        changes.push((after - loss, predicted));
    }
    println!("The gradient speaks for short steps; the last one went beyond the minimum.");

    // Where no short step in any direction helps, the gradient is zero: at the least-squares plane.
    println!("\nstep      loss  |gradient|        w1        w2        w3         b");
    let mut p = zero.to_vec();
    for k in 0..=100 {
        let (loss, gradient) = loss_and_gradient(&data, &p)?;
        if [0, 1, 5, 20, 100].contains(&k) {
            let columns: String = p.iter().map(|p| format!("  {p:>8.5}")).collect();
            println!("{k:>4}  {loss:>8.5}  {:>10.1e}{columns}", norm(&gradient));
        }
        if k < 100 {
            p.iter_mut().zip(&gradient).for_each(|(p, g)| *p -= 0.2 * g);
        }
    }

    // tests/data/reference/lesson.json, mse_plane (NumPy 2).
    let reference = [-2.285361067793695, 4.280463003883783, -1.8374582233221162, -1.8469912139859617];
    let least_squares = [1.497616264653349, -1.9907630339064357, 0.8118544739443334, 0.5018823876558625];
    assert!(gradient.iter().zip(reference).all(|(g, expected)| (g - expected).abs() < 1e-12));
    assert!((norm(&gradient) - 5.507528302678101).abs() < 1e-12);
    assert!(measured.value.iter().zip(reference).all(|(g, expected)| (g - expected).abs() < 1e-8));
    assert!((changes[0].0 / changes[0].1 - 1.0).abs() < 0.01 && changes[2].0 < 0.0);
    assert!(norm(&loss_and_gradient(&data, &least_squares)?.1) < 1e-13, "it vanishes at least squares");
    assert!(p.iter().zip(least_squares).all(|(p, expected)| (p - expected).abs() < 1e-10));
    Ok(())
}
