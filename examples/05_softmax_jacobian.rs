//! Lesson 5: the Jacobian of softmax, three ways.
//!
//! Run it with `cargo run --example 05_softmax_jacobian`.

use gradus::calculus::{Method, jacobian, softmax, softmax_jacobian, softmax_jvp, softmax_vjp};
use ndarray::{Array1, Array2, array};

fn print(title: &str, matrix: &Array2<f64>) {
    println!("\n{title}");
    for row in matrix.rows() {
        println!("  {:>10.6}  {:>10.6}  {:>10.6}", row[0], row[1], row[2]);
    }
}

/// The largest difference between two matrices.
fn difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    (a - b).iter().fold(0.0, |largest, d| largest.max(d.abs()))
}

fn main() -> gradus::Result<()> {
    let logits = [1.0, 2.0, 0.5];
    let s = softmax(&logits)?;
    println!("        logit  softmax");
    for i in 0..3 {
        println!("class {i}  {:>4}  {:.6}", logits[i], s[i]);
    }

    // Each probability depends on every logit: the derivative is a matrix, row i for probability i, column j for
    // logit j. Raising a logit raises its own probability at the expense of all others.
    let closed = softmax_jacobian(&logits)?;
    print("1. closed form, s_i (1 if i = j else 0) - s_i s_j", &closed);

    // Move one logit at a time, and see how all probabilities move: a column each.
    let numerical = jacobian(|z: &[f64]| softmax(z).unwrap_or_default(), &logits, Method::Richardson)?;
    print("2. numerical", &numerical.value);
    println!("with {} evaluations of softmax", numerical.evaluations);

    // The product J v says how the probabilities move when the logits move along v. Along axis j, that is column j.
    // It is s * (v - s . v), without the matrix: for 10,000 classes that saves 100 million entries.
    let (mut columns, mut rows) = (Array2::zeros((3, 3)), Array2::zeros((3, 3)));
    for k in 0..3 {
        let mut axis = [0.0; 3];
        axis[k] = 1.0;
        columns.column_mut(k).assign(&Array1::from(softmax_jvp(&logits, &axis)?));
        // The product J' v is the gradient of v . softmax. Of probability k alone, that is row k.
        rows.row_mut(k).assign(&Array1::from(softmax_vjp(&logits, &axis)?));
    }
    print("3. column by column, from Jacobian-vector products", &columns);
    print("   row by row, from vector-Jacobian products", &rows);

    println!("\nlargest difference from the closed form");
    println!("numerical  {:.1e}", difference(&closed, &numerical.value));
    println!("columns    {:.1e}", difference(&closed, &columns));
    println!("rows       {:.1e}", difference(&closed, &rows));

    // Two properties that catch most wrong ones.
    println!("\n       sum of row  row - column");
    for (i, row) in closed.rows().into_iter().enumerate() {
        let asymmetry = (&row - &closed.column(i)).iter().fold(0.0, |largest: f64, d| largest.max(d.abs()));
        println!("row {i}  {:>10.1e}  {asymmetry:>12.1e}", row.sum());
        assert!(row.sum().abs() < 1e-15 && asymmetry == 0.0);
    }
    println!("The rows sum to 0 because adding one number to every logit changes nothing;");
    println!("the columns do because the probabilities always sum to 1.");
    let shifted = softmax(&logits.map(|z| z + 100.0))?;

    // tests/data/reference/lesson.json, softmax_jacobian (NumPy 2).
    let reference = array![
        [0.177759406790571, -0.1453315538952939, -0.03242785289527709],
        [-0.1453315538952939, 0.23347959715646865, -0.08814804326117474],
        [-0.03242785289527709, -0.08814804326117474, 0.12057589615645184],
    ];
    let probabilities = [0.23122389762214907, 0.6285317192117624, 0.14024438316608848];
    assert!(s.iter().zip(probabilities).all(|(s, expected)| (s - expected).abs() < 1e-15));
    assert!(s.iter().zip(shifted).all(|(s, shifted)| (s - shifted).abs() < 1e-14));
    assert!(difference(&closed, &reference) < 1e-15);
    assert!(difference(&columns, &reference) < 1e-15 && difference(&rows, &reference) < 1e-15);
    assert!(difference(&numerical.value, &reference) < 1e-12);
    Ok(())
}
