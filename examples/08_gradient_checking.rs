//! Checking a gradient: a right one and five wrong ones, each with its verdict and its cause.
//!
//! Run it with `cargo run --example 08_gradient_checking`.

use gradus::check::{Cause, GradCheck, Report, Verdict};
use gradus::{CrossEntropy, Linear, Targets};
use ndarray::array;

/// The mean of (w x + b - y)^2 over four points, and a gradient that somebody worked out for it.
fn check(gradient: impl Fn(f64, f64) -> [f64; 2]) -> gradus::Result<Report> {
    let points = [(0.0, 1.2), (1.0, 3.4), (2.0, 6.1), (3.0, 8.3)];
    let loss = |p: &[f64]| points.iter().map(|(x, y)| (p[0] * x + p[1] - y).powi(2)).sum::<f64>() / 4.0;
    let [w, b] = [0.7, -0.2];
    let mut analytic = [0.0, 0.0];
    for (x, y) in points {
        let of_row = gradient(x, w * x + b - y);
        analytic = [analytic[0] + of_row[0], analytic[1] + of_row[1]];
    }
    GradCheck::new().shapes(&[("w", &[1]), ("b", &[1])]).rows(4).function(loss, &[w, b], &analytic)
}

fn main() -> gradus::Result<()> {
    // Of one row with error e, divided by the four rows of the mean.
    let cases = [
        ("2 e x / 4, 2 e / 4", check(|x, e| [2.0 * e * x / 4.0, 2.0 * e / 4.0])?),
        ("e x / 4, e / 4", check(|x, e| [e * x / 4.0, e / 4.0])?),
        ("-2 e x / 4, -2 e / 4", check(|x, e| [-2.0 * e * x / 4.0, -2.0 * e / 4.0])?),
        ("2 e x, 2 e", check(|x, e| [2.0 * e * x, 2.0 * e])?),
        ("2 e x / 4, 0", check(|x, e| [2.0 * e * x / 4.0, 0.0])?),
        ("2 e x / 4, 2 |e| / 4 + 0.01", check(|x, e| [2.0 * e * x / 4.0, 2.0 * e.abs() / 4.0 + 0.01])?),
    ];
    for (gradient, report) in &cases {
        println!("{gradient}");
        println!("    {}", report.verdict);
        match &report.cause {
            Some(cause) => println!("    {cause}"),
            None if report.verdict == Verdict::Wrong => println!("    none of the usual causes"),
            None => {}
        }
    }

    // A model and a loss are checked as they are: here the library's own, on three rows.
    let inputs = array![[5.1, 3.5], [6.2, 2.9], [5.9, 3.0]];
    let mut model = Linear::from_parts(array![[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]], Some(array![0.1, 0.0, -0.1]))?;
    let report =
        GradCheck::new().model(&mut model, &CrossEntropy::new(), inputs.view(), &Targets::classes(&[0, 1, 2]))?;
    println!("\nsoftmax minus one-hot, through a linear layer\n{report}");

    let verdicts: Vec<Verdict> = cases.iter().map(|(_, report)| report.verdict).collect();
    assert_eq!(verdicts[0], Verdict::Correct);
    assert!(verdicts[1..].iter().all(|verdict| *verdict == Verdict::Wrong));
    let causes: Vec<Option<&Cause>> = cases.iter().map(|(_, report)| report.cause.as_ref()).collect();
    assert!(matches!(causes[1], Some(Cause::Factor { factor, .. }) if (factor - 0.5).abs() < 1e-6));
    assert_eq!(causes[2], Some(&Cause::Sign { parameter: None }));
    assert!(matches!(causes[3], Some(Cause::Factor { factor, .. }) if (factor - 4.0).abs() < 1e-6));
    assert_eq!(causes[4], Some(&Cause::Missing { parameter: "b".into() }));
    assert_eq!(report.verdict, Verdict::Correct);
    Ok(())
}
