//! How good the numerical derivatives are, measured against the textbook ones.

use std::collections::BTreeMap;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A function with its derivative at one point.
type Case = (&'static str, f64, Box<dyn Fn(f64) -> f64>, f64);

/// The number of functions that [`case`] knows.
const FUNCTIONS: usize = 9;

/// Cases of every textbook function in turn, at random points; a vector function is taken by one input and output.
fn cases(count: usize, seed: u64) -> Vec<Case> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|i| case(i % FUNCTIONS, &mut rng)).collect()
}

fn case(function: usize, rng: &mut ChaCha8Rng) -> Case {
    let logits: Vec<f64> = (0..5).map(|_| rng.random_range(-5.0..5.0)).collect();
    let (input, output) = (rng.random_range(0..5), rng.random_range(0..5));
    let moved = move |logits: &[f64], x: f64| {
        let mut logits = logits.to_vec();
        logits[input] = x;
        logits
    };
    let wide = rng.random_range(-20.0..20.0);
    match function {
        0 => {
            let (x, p) = (10f64.powf(rng.random_range(-2.0..2.0)), rng.random_range(-3.0..4.0));
            ("power", x, Box::new(move |x| power(x, p).unwrap_or(f64::NAN)), power_derivative(x, p).unwrap())
        }
        1 => ("exp", wide, Box::new(exp), exp_derivative(wide)),
        2 => {
            let x = 10f64.powf(rng.random_range(-3.0..3.0));
            ("ln", x, Box::new(|x| ln(x).unwrap_or(f64::NAN)), ln_derivative(x).unwrap())
        }
        3 => ("sigmoid", wide, Box::new(sigmoid), sigmoid_derivative(wide)),
        4 => ("tanh", wide / 2.0, Box::new(tanh), tanh_derivative(wide / 2.0)),
        5 => ("relu", wide / 4.0, Box::new(relu), relu_derivative(wide / 4.0)),
        6 => {
            let (x, slope) = (logits[input], softmax_jacobian(&logits).unwrap()[[output, input]]);
            ("softmax", x, Box::new(move |x| softmax(&moved(&logits, x)).unwrap()[output]), slope)
        }
        7 => {
            let (x, slope) = (logits[input], log_sum_exp_gradient(&logits).unwrap()[input]);
            ("log-sum-exp", x, Box::new(move |x| log_sum_exp(&moved(&logits, x)).unwrap()), slope)
        }
        _ => {
            let weight = Array2::from_shape_fn((5, 5), |_| rng.random_range(-3.0..3.0));
            let (x, slope) = (logits[input], weight[[output, input]]);
            let value = move |x| {
                let bias = [0.5; 5];
                LinearLayer::new(weight.view(), &bias).unwrap().value(&moved(&logits, x)).unwrap()[output]
            };
            ("linear layer", x, Box::new(value), slope)
        }
    }
}

/// The middle value; NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How a method did on one function.
#[derive(Default)]
struct Record {
    /// Errors relative to the derivative.
    relative: Vec<f64>,
    /// Estimates in units of the error, where there was one.
    pessimism: Vec<f64>,
    points: usize,
    within: usize,
    evaluations: usize,
}

impl Record {
    fn add(&mut self, found: Estimate<f64>, expected: f64) {
        let error = (found.value - expected).abs();
        if error > 0.0 {
            self.pessimism.push(found.error_estimate / error);
        }
        // 0 of 0 is no error: relu has both.
        self.relative.push(if error == 0.0 { 0.0 } else { error / expected.abs() });
        self.points += 1;
        self.within += usize::from(error <= found.error_estimate);
        self.evaluations += found.evaluations;
    }
}

/// What a method did on each function and, last, on all of them.
fn records(cases: Vec<Case>, method: Method) -> Vec<(&'static str, Record)> {
    let (mut each, mut all) = (BTreeMap::<_, Record>::new(), Record::default());
    for (name, x, f, expected) in cases {
        let found = derivative(f, x, method).unwrap();
        all.add(found.clone(), expected);
        each.entry(name).or_default().add(found, expected);
    }
    assert_eq!(each.len(), FUNCTIONS);
    each.into_iter().chain([("all", all)]).collect()
}

// `--nocapture` prints the figures of these tests.

#[test]
fn richardson_is_right_and_knows_its_error_at_10_000_points() {
    for (name, record) in records(cases(10_000, 1), Method::Richardson) {
        let Record { points, within, evaluations, .. } = record;
        let (relative, pessimism) = (median(record.relative), median(record.pessimism));
        let each = evaluations as f64 / points as f64;
        println!("{name}: {within} of {points} within, error {relative:.1e}, estimate/error {pessimism:.0}, {each:.1}");
        assert!(within * 100 >= points * 99, "{name}: {within} of {points} within the estimate");
        assert!(relative < 1e-11, "{name}: median relative error {relative:e}");
        assert!(pessimism.is_nan() || pessimism < 100.0, "{name}: median of estimate / error {pessimism:e}");
        assert!(each < 25.0, "{name}: {each} evaluations");
    }
}

#[test]
fn forward_and_central_differences_have_the_digits_they_promise() {
    for (method, bound) in [(Method::Forward, 1e-7), (Method::Central, 2e-10)] {
        for (name, record) in records(cases(10_000, 2), method) {
            let Record { points, within, .. } = record;
            let relative = median(record.relative);
            println!("{method:?}, {name}: {within} of {points} within, error {relative:.1e}");
            if name == "all" {
                assert!(relative < bound, "{method:?}: median relative error {relative:e}");
                assert!(within * 10 >= points * 7, "{method:?}: {within} of {points} within the estimate");
            }
        }
    }
}

#[test]
fn the_error_falls_as_h_squared_for_central_and_as_h_for_forward_differences() {
    type Function = fn(f64) -> f64;
    let functions: [(&str, Function, Function, f64); 5] = [
        ("power", |x| power(x, 2.5).unwrap(), |x| power_derivative(x, 2.5).unwrap(), 2.0),
        ("exp", exp, exp_derivative, 1.0),
        ("ln", |x| ln(x).unwrap(), |x| ln_derivative(x).unwrap(), 2.0),
        ("sigmoid", sigmoid, sigmoid_derivative, 0.5),
        ("tanh", tanh, tanh_derivative, 0.25),
    ];
    // In this range truncation rules: rounding is less than a thousandth of it.
    let steps: Vec<f64> = (6..=12).map(|k| 0.5_f64.powi(k)).collect();
    for (name, f, f_prime, x) in functions {
        let forward = order(&steps, |h| forward_difference(f, x, h).unwrap() - f_prime(x));
        let central = order(&steps, |h| central_difference(f, x, h).unwrap() - f_prime(x));
        println!("{name}: error falls as h^{forward:.4} forward, h^{central:.4} central");
        assert!((forward - 1.0).abs() < 0.02, "{name}: forward error falls as h^{forward}");
        assert!((central - 2.0).abs() < 0.02, "{name}: central error falls as h^{central}");
    }
}

/// The least-squares slope of `ln |error|` over `ln h`.
fn order(steps: &[f64], error: impl Fn(f64) -> f64) -> f64 {
    let points: Vec<(f64, f64)> = steps.iter().map(|&h| (h.ln(), error(h).abs().ln())).collect();
    let count = points.len() as f64;
    let (mean_x, mean_y) =
        (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let rise: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    rise / points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
}

#[test]
fn richardson_knows_its_error_in_single_precision_too() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    type Pair = (fn(f32) -> f32, fn(f64) -> f64);
    let functions: [Pair; 4] =
        [(exp, exp_derivative), (sigmoid, sigmoid_derivative), (tanh, tanh_derivative), (relu, relu_derivative)];
    let (mut within, mut relative) = (0, Vec::new());
    for _ in 0..500 {
        for (f, f_prime) in functions {
            let x: f32 = rng.random_range(-5.0..5.0);
            let (found, expected) = (derivative(f, x, Method::Richardson).unwrap(), f_prime(f64::from(x)));
            let error = (f64::from(found.value) - expected).abs();
            within += usize::from(error <= f64::from(found.error_estimate));
            relative.push(if error == 0.0 { 0.0 } else { error / expected });
        }
    }
    let relative = median(relative);
    println!("f32: {within} of 2000 within, median {relative:e}");
    assert!(within >= 1980, "{within} of 2000 within the estimate");
    assert!(relative < 1e-5, "median relative error {relative:e}");
}
