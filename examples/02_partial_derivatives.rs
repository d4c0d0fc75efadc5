//! Lesson 2: partial derivatives, the slope of the loss by one parameter while the other is held.
//!
//! Run it with `cargo run --example 02_partial_derivatives`.

use gradus::calculus::{Method, partial_derivative};
use gradus::data::{CsvOptions, Schema, SchemaOptions, Table};

fn main() -> gradus::Result<()> {
    let table = Table::<f64>::read("data/lesson/line.csv", &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, &SchemaOptions::default())?;
    let data = schema.encode(&table)?.data;
    let (x, y) = (data.features(), data.targets());
    let points: Vec<(f64, f64)> = (0..data.rows()).map(|row| (x[[row, 0]], y.row(row).values()[0])).collect();
    let count = points.len() as f64;
    let mean = |term: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| term(x, y)).sum::<f64>() / count;

    // The loss of the line w x + b is the mean of (w x + b - y)^2. By the chain rule each square gives twice its
    // inside, times what the inside rises by: x when w moves, 1 when b moves.
    let loss = |p: &[f64]| mean(&|x, y| (p[0] * x + p[1] - y).powi(2));
    let by_w = |p: &[f64]| mean(&|x, y| 2.0 * (p[0] * x + p[1] - y) * x);
    let by_b = |p: &[f64]| mean(&|x, y| 2.0 * (p[0] * x + p[1] - y));

    let start = [1.0, 0.0];
    let (dw, db) = (by_w(&start), by_b(&start));
    let measured_w = partial_derivative(loss, &start, 0, Method::Central)?.value;
    let measured_b = partial_derivative(loss, &start, 1, Method::Central)?.value;
    println!("{} points; at w = 1, b = 0 the loss is {:.6}", points.len(), loss(&start));
    println!("\n           by formula    numerical   difference");
    println!("dloss/dw  {dw:>11.6}  {measured_w:>11.6}  {:>11.1e}", measured_w - dw);
    println!("dloss/db  {db:>11.6}  {measured_b:>11.6}  {:>11.1e}", measured_b - db);

    println!("\nBoth are negative: raising w lowers the loss, and so does raising b.");
    println!("\nmove           loss     change   partial x move");
    let mut changes = Vec::new();
    for (name, index, by) in
        [("w + 0.01", 0, 0.01), ("w - 0.01", 0, -0.01), ("b + 0.01", 1, 0.01), ("b - 0.01", 1, -0.01)]
    {
        let mut moved = start;
        moved[index] += by;
        let (change, predicted) = (loss(&moved) - loss(&start), [dw, db][index] * by);
        println!("{name}  {:>9.5}  {change:>+9.5}  {predicted:>+15.5}", loss(&moved));
        changes.push((change, predicted));
    }

    // On the other side of the minimum the signs are the other way round.
    let beyond = [4.0, 2.0];
    println!("\nAt w = 4, b = 2 the partials are {:+.2} and {:+.2}.", by_w(&beyond), by_b(&beyond));
    println!("A positive partial means: decrease the parameter. Either way one rule holds,");
    println!("a step against the partial: w - lr dloss/dw, b - lr dloss/db.");

    println!("\none step, lr = 0.001          w         b       loss");
    let mut losses = Vec::new();
    for from in [start, beyond] {
        let to = [from[0] - 0.001 * by_w(&from), from[1] - 0.001 * by_b(&from)];
        println!("from                   {:>8.5}  {:>8.5}  {:>9.5}", from[0], from[1], loss(&from));
        println!("to                     {:>8.5}  {:>8.5}  {:>9.5}", to[0], to[1], loss(&to));
        losses.push((loss(&from), loss(&to)));
    }

    // tests/data/reference/lesson.json, mse_line (NumPy 2).
    assert!((loss(&start) - 90.87881804443082).abs() < 1e-10);
    assert!((dw + 110.10308391143042).abs() < 1e-10 && (db + 16.896153482605907).abs() < 1e-10);
    let least_squares = [2.5068966336683283, 0.9135935729613125];
    assert!(by_w(&least_squares).abs() < 1e-10 && by_b(&least_squares).abs() < 1e-10);
    assert!((measured_w - dw).abs() < 1e-6 && (measured_b - db).abs() < 1e-6);
    assert!(changes.iter().all(|(change, predicted)| (change - predicted).abs() < 0.05 * predicted.abs()));
    assert!(by_w(&beyond) > 0.0 && by_b(&beyond) > 0.0);
    assert!(losses.iter().all(|(from, to)| to < from));
    Ok(())
}
