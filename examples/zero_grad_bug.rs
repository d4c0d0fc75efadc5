//! The forgotten `zero_grad`: what it does to a run, why, and how it is refused.
//!
//! Run it with `cargo run --example zero_grad_bug`.

use gradus::data::{CsvOptions, Schema, SchemaOptions, Table};
use gradus::{Dataset, ErrorKind, Linear, Loss, Model, Momentum, Mse, Optimizer, Reduction, SgdConfig, StaleGradient};

const LR: f64 = 0.005;
const STEPS: usize = 60;

/// Whether the loop clears the gradient before each backward pass.
#[derive(PartialEq)]
enum ZeroGrad {
    Called,
    Forgotten,
}

/// Trains from zero and returns the loss before each step.
fn train(data: &Dataset<f64>, settings: SgdConfig, zero_grad: ZeroGrad) -> gradus::Result<Vec<f64>> {
    let mut model = Linear::new(1, 1);
    let mut sgd = settings.build()?;
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        if zero_grad == ZeroGrad::Called {
            model.zero_grad();
        }
        let predictions = model.forward(data.features())?;
        let loss = Mse.evaluate(predictions.view(), &data.targets(), Reduction::Mean)?;
        model.backward(data.features(), loss.gradient.view())?;
        sgd.step(model.parameters_mut())?;
        losses.push(loss.loss);
    }
    Ok(losses)
}

fn main() -> gradus::Result<()> {
    let table = Table::<f64>::read("data/lesson/line.csv", &CsvOptions::default())?;
    let (schema, _notes) = Schema::infer(&table, &SchemaOptions::default())?;
    let data = schema.encode(&table)?.data;
    let plain = SgdConfig::new(LR);

    // 1. The right loop: each step uses the gradient of where the parameters are now.
    let right = train(&data, plain, ZeroGrad::Called)?;

    // 2. The bug, as PyTorch would run it. Backward *adds* to the gradient, so each step uses the sum of all so far.
    let wrong = train(&data, plain.stale_gradient(StaleGradient::Allow), ZeroGrad::Forgotten)?;

    // A sum of all gradients so far is what momentum keeps; only there, a factor below 1 makes the past fade.
    let momentum = Momentum::Classic { momentum: 1.0, dampening: 0.0 };
    let undamped = train(&data, plain.momentum(momentum), ZeroGrad::Called)?;

    println!("loss before the step");
    println!("step  with zero_grad  without zero_grad  momentum 1, with zero_grad");
    for step in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 59] {
        println!("{step:>4}  {:>14.4}  {:>17.4}  {:>26.4}", right[step], wrong[step], undamped[step]);
    }

    // With momentum 1 a direction of curvature k swings with a period of 2 pi / acos(1 - lr k / 2) steps.
    // The steepest direction's is the larger eigenvalue of this loss's Hessian.
    let steepest = 68.50696883269647;
    let period = std::f64::consts::TAU / (1.0 - LR * steepest / 2.0).acos();
    let half_period = period / 2.0;
    println!();
    println!("The two runs begin alike: the first step has nothing to add to. Then they part.");
    println!("Without zero_grad the run is exactly momentum 1: an oscillation that nothing dampens. Along the");
    println!("steepest direction the parameters swing through the minimum and out on the other side with a period of");
    println!(
        "{period:.1} steps; the loss, high at both ends, comes back every {half_period:.1}. It looks like a learning"
    );
    println!("rate that is too large, but a smaller one only makes the swing slower.");

    // 3. The default: a gradient that a step has used, and that a backward pass was added to, is not stepped with.
    let refused = train(&data, plain, ZeroGrad::Forgotten);
    println!();
    println!("The same loop under the default, StaleGradient::Deny:");
    match &refused {
        Ok(_) => println!("it ran"),
        Err(error) => println!("{error}"),
    }

    let same = |a: f64, b: f64| (a - b).abs() < 1e-10 * b;
    // From tests/data/reference/lesson.json (PyTorch 2.15).
    assert!(same(right[0], 234.48358545754468) && same(wrong[0], 234.48358545754468));
    assert!(same(right[1], 101.51297813945139) && same(wrong[1], 101.51297813945139));
    assert!(same(right[2], 44.03485105565239) && same(wrong[2], 2.1581405545899663));
    assert!(same(right[59], 0.25586137804368636) && same(wrong[59], 128.97575363186144));
    assert!(wrong.iter().zip(&undamped).all(|(a, b)| (a - b).abs() < 1e-9));
    assert!(wrong[50..].iter().any(|loss| *loss > wrong[0]), "nothing dampens it");
    // Step 1 had used the gradient when one backward pass was added to it: the second step is the one refused.
    let kind = refused.as_ref().err().map(|error| error.kind());
    assert!(matches!(kind, Some(ErrorKind::StaleGradient { step: 1, passes: 1, .. })));
    Ok(())
}
