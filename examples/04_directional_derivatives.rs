//! Lesson 4: directional derivatives, and why the gradient is the way straight up.
//!
//! Run it with `cargo run --example 04_directional_derivatives`.

use gradus::calculus::{Method, directional_derivative, gradient};

/// A bowl, `x^2 + 2 y^2`: its gradient is (2x, 4y).
fn bowl(p: &[f64]) -> f64 {
    p[0] * p[0] + 2.0 * p[1] * p[1]
}

/// A direction of length 1.
fn unit([x, y]: [f64; 2]) -> [f64; 2] {
    [x / x.hypot(y), y / x.hypot(y)]
}

/// To six decimals, and 0 rather than -0.
fn rounded(rate: f64) -> f64 {
    (rate * 1e6).round() / 1e6 + 0.0
}

fn main() -> gradus::Result<()> {
    let point = [1.5, 1.0];
    let g = gradient(bowl, &point, Method::Richardson)?.value;
    let length = g[0].hypot(g[1]);
    println!("At (1.5, 1) the bowl x^2 + 2 y^2 has the gradient ({:.0}, {:.0}), of length {length:.0}.", g[0], g[1]);

    // Along a direction of length 1 the bowl rises at the rate gradient . direction: no further derivative is needed.
    println!("\n                   direction      gradient . direction  measured");
    // tests/data/reference/lesson.json, directional (NumPy 2): directions and rates for the gradient (3, 4).
    let cases = [
        ("steepest ascent", [3.0, 4.0], 5.0),
        ("steepest descent", [-3.0, -4.0], -5.0),
        ("orthogonal", [-4.0, 3.0], 0.0),
        ("along the first axis", [1.0, 0.0], 3.0),
    ];
    for (name, direction, expected) in cases {
        let d = unit(direction);
        let rate = g[0] * d[0] + g[1] * d[1];
        let measured = directional_derivative(bowl, &point, &d, Method::Richardson)?.value;
        println!("{name:<20}  ({:>4.1}, {:>4.1})  {:>20.6}  {:>8.6}", d[0], d[1], rounded(rate), rounded(measured));
        assert!((rate - expected).abs() < 1e-10 && (measured - expected).abs() < 1e-10);
    }
    println!("Along an axis it is the partial derivative; across the gradient, on the level");
    println!("line, the bowl is flat. A direction twice as long would give twice the rate:");
    println!("to compare directions, give them length 1.");

    // The dot product of two vectors is the product of their lengths and the cosine of the angle between them.
    println!("\n    angle to\nthe gradient      measured  |gradient| cos(angle)");
    let uphill = g[1].atan2(g[0]);
    for degrees in (0..=180).step_by(15) {
        let angle = f64::from(degrees).to_radians();
        let direction = [(uphill + angle).cos(), (uphill + angle).sin()];
        let rate = directional_derivative(bowl, &point, &direction, Method::Richardson)?.value;
        let expected = length * angle.cos();
        println!("{degrees:>12}  {:>12.6}  {:>21.6}", rounded(rate), rounded(expected));
        assert!((rate - expected).abs() < 1e-10);
    }

    // A cosine is never above 1: so no direction rises faster than the gradient, and only the gradient's that fast.
    let mut fastest = (f64::NEG_INFINITY, 0);
    for degrees in 0..360 {
        let angle = uphill + f64::from(degrees).to_radians();
        let rate = directional_derivative(bowl, &point, &[angle.cos(), angle.sin()], Method::Richardson)?.value;
        assert!(rate <= length + 1e-10);
        if rate > fastest.0 {
            fastest = (rate, degrees);
        }
    }
    println!("\nOf 360 directions the one at {} degrees rises fastest: {:.6}.", fastest.1, fastest.0);

    // The rate is that of the first instant. Gradient descent takes steps that are not that short, and asks again.
    let downhill = unit([-g[0], -g[1]]);
    println!("\ngoing down by   bowl    change  rate x distance");
    for distance in [0.001, 0.01, 0.1, 1.0] {
        let end = [point[0] + distance * downhill[0], point[1] + distance * downhill[1]];
        let change = bowl(&end) - bowl(&point);
        println!("{distance:>13}  {:>5.3}  {change:>8.4}  {:>15.4}", bowl(&end), -length * distance);
        assert!((change + length * distance).abs() < 2.0 * distance * distance, "they part with the square");
    }

    assert!((g[0] - 3.0).abs() < 1e-10 && (g[1] - 4.0).abs() < 1e-10);
    assert_eq!(fastest.1, 0);
    Ok(())
}
