//! Lesson 1: what a derivative is, and how well two evaluations can measure one.
//!
//! Run it with `cargo run --example 01_derivatives`.

use gradus::calculus::{central_difference, forward_difference, sigmoid, sigmoid_derivative};

/// `forward_difference` or `central_difference`: of a function, at x, with the step h.
type Difference = fn(fn(f64) -> f64, f64, f64) -> gradus::Result<f64>;

/// The root mean square error at 201 points from -3 to 3: at a single point a bad step may be right by luck.
fn error(difference: Difference, h: f64) -> gradus::Result<f64> {
    let mut sum = 0.0;
    for i in -100..=100 {
        let x = 0.03 * f64::from(i);
        sum += (difference(sigmoid, x, h)? - sigmoid_derivative(x)).powi(2);
    }
    Ok((sum / 201.0).sqrt())
}

/// The step of least error, and that error, among 10^-1, 10^-1.25, 10^-1.5 and so on.
fn best_step(difference: Difference) -> gradus::Result<(f64, f64)> {
    let mut best = (0.0, f64::INFINITY);
    for quarters in 4..=52 {
        let h = 10f64.powf(-0.25 * f64::from(quarters));
        let error = error(difference, h)?;
        if error < best.1 {
            best = (h, error);
        }
    }
    Ok(best)
}

fn main() -> gradus::Result<()> {
    // The derivative is the slope that a curve has at one point: the slope between x and x + h, for h towards 0.
    println!("The slope of the sigmoid between 1 and 1 + h");
    for h in [1.0, 0.1, 0.01, 0.001] {
        println!("  h = {h:<6}  {:.6}", forward_difference(sigmoid, 1.0, h)?);
    }
    println!("goes to its derivative at 1, s (1 - s) = {:.6}.", sigmoid_derivative(1.0));

    // Two points to either side of x do better: that is the central difference. NumPy's figures for h = 1e-5:
    let analytic: [f64; 4] = [0.25, 0.19661193324148185, 0.19661193324148185, 0.10499358540350662];
    let central: [f64; 4] = [0.2499999999933111, 0.1966119332397209, 0.19661193324249646, 0.10499358540916325];
    println!("\n   x      derivative    central, h = 1e-5   difference");
    for (i, x) in [0.0, 1.0, -1.0, 2.0].into_iter().enumerate() {
        let (formula, measured) = (sigmoid_derivative(x), central_difference(sigmoid, x, 1e-5)?);
        println!("{x:>4}  {formula:.12}  {measured:>19.12}  {:>11.1e}", measured - formula);
        // tests/data/reference/lesson.json, sigmoid_derivative (NumPy 2).
        assert!((formula - analytic[i]).abs() < 1e-15 && (measured - central[i]).abs() < 1e-11);
    }

    // The order is the power of h with which the error falls: from one row to the next, h falls tenfold.
    println!("\n    h   forward error  order   central error  order");
    let order = |(larger, smaller): (f64, f64), tenths: f64| (larger / smaller).log10() / tenths;
    let (mut forward, mut central) = (Vec::new(), Vec::new());
    for i in 0..13 {
        let h = 10f64.powi(-1 - i as i32);
        forward.push(error(forward_difference, h)?);
        central.push(error(central_difference, h)?);
        let column = |errors: &[f64]| match i {
            0 => format!("{:>13.1e}      -", errors[0]),
            _ => format!("{:>13.1e}  {:>+5.2}", errors[i], order((errors[i - 1], errors[i]), 1.0)),
        };
        println!("{h:>5.0e}  {}   {}", column(&forward), column(&central));
    }
    let forward_order = order((forward[0], forward[5]), 5.0);
    let central_order = order((central[0], central[3]), 3.0);
    let floor_order = order((central[7], central[12]), 5.0);
    println!("Forward the error falls as h^{forward_order:.2}, central as h^{central_order:.2}. Below the best step");
    println!("it grows as h^{floor_order:.2}: each value is rounded by about 1e-16, divided by h.");

    // The best step is where what the formula leaves out is as large as the rounding.
    let (best_forward, best_central) = (best_step(forward_difference)?, best_step(central_difference)?);
    let (square, cube) = (f64::EPSILON.sqrt(), f64::EPSILON.cbrt());
    println!("\n          best step    error   rule of thumb");
    println!("forward  {:>10.1e}  {:>7.1e}   sqrt(epsilon) = {square:.1e}", best_forward.0, best_forward.1);
    println!("central  {:>10.1e}  {:>7.1e}   cbrt(epsilon) = {cube:.1e}", best_central.0, best_central.1);

    // The rule is for a relative step: scale it by max(1, |x|).
    println!("\nrelative error of the central difference of ln");
    println!("      x   h = {cube:.1e}   h = {cube:.1e} max(1, |x|)");
    let mut relative = [0.0; 2];
    for x in [1.0, 1e3, 1e6] {
        for (error, h) in relative.iter_mut().zip([cube, cube * f64::max(1.0, x)]) {
            *error = (central_difference(f64::ln, x, h)? * x - 1.0).abs();
        }
        println!("{x:>7}  {:>11.1e}  {:>24.1e}", relative[0], relative[1]);
    }

    assert!((forward_order - 1.0).abs() < 0.02 && (central_order - 2.0).abs() < 0.02);
    assert!((floor_order + 1.0).abs() < 0.1);
    assert!((best_forward.0 / square).log10().abs() < 1.0 && (best_central.0 / cube).log10().abs() < 1.0);
    assert!(best_central.1 < best_forward.1 / 100.0);
    assert!(relative[0] > 1e-6 && relative[1] < 1e-9);
    Ok(())
}
