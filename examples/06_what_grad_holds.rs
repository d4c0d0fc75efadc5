//! Lesson 6: what `.grad` holds: its shape, the sum of all backward passes, and the ledger that says so.
//!
//! Run it with `cargo run --example 06_what_grad_holds`.

use gradus::calculus::{Method, gradient, jacobian};
use gradus::{Ledger, Linear, Loss, Model, Mse, Optimizer, Reduction, SgdConfig, Targets};
use ndarray::{Array2, array};

/// A forward and a backward pass of one row, against zeros: the loss is the mean square of the three outputs.
fn pass(model: &mut Linear<f32>, x: &Array2<f32>) -> gradus::Result<f32> {
    let outputs = model.forward(x.view())?;
    let loss = Mse.evaluate(outputs.view(), &Targets::values(&Array2::zeros((1, 3))), Reduction::Mean)?;
    model.backward(x.view(), loss.gradient.view())?;
    Ok(loss.loss)
}

/// Prints what happened, the ledger of the weight and one entry of its gradient, and returns both.
fn show(event: &str, model: &Linear<f32>) -> (Ledger, f32) {
    let weight = &model.parameters()[0];
    let (ledger, entry) = (weight.ledger(), weight.gradients()[0]);
    println!("{event:<24}  {:<28}  {entry:>9.6}", format!("{ledger:?}"));
    (ledger, entry)
}

fn main() -> gradus::Result<()> {
    // tests/data/reference/lesson.json, linear_layer_grad (PyTorch 2.15, float32): 4 inputs, 3 outputs, 1 row.
    let w = array![
        [0.33669037_f32, 0.1288094, 0.23446237, 0.23033303],
        [-1.1228564, -0.1863283, 2.2082014, -0.637997],
        [0.46165723, 0.26735088, 0.53490466, 0.8093572],
    ];
    let x = array![[0.9579718_f32, 1.3221351, 0.8171898, -0.7658386]];
    let mut model = Linear::from_parts(w, Some(array![1.1102903, -1.689799, -0.9889599]))?;
    let loss = pass(&mut model, &x)?;
    println!("loss {loss:.6}\n\nparameter  shape of value  shape of .grad");
    for p in model.parameters() {
        println!("{:<9}  {:<14}  {:?}", p.name(), format!("{:?}", p.value().shape()), p.gradient().shape());
    }
    // Entry (k, j) is dloss/dW_kj = dloss/dy_k * x_j: by output down, by input across.
    println!("\n.grad of the weight, and of the bias");
    let once: Vec<Vec<f32>> = model.parameters().iter().map(|p| p.gradients().to_vec()).collect();
    for (row, bias) in once[0].chunks(4).zip(&once[1]) {
        println!("{:>10.6}  {:>10.6}  {:>10.6}  {:>10.6}   {bias:>10.6}", row[0], row[1], row[2], row[3]);
    }

    println!("\nafter                     ledger                        .grad[0, 0]");
    let first = show("a backward pass", &model);
    pass(&mut model, &x)?;
    let second = show("a second one: the sum", &model);
    let twice: Vec<f32> = model.parameters()[0].gradients().to_vec();
    let thrown_away = model.zero_grad();
    let cleared = show("zero_grad", &model);
    let (tell, told) = std::sync::mpsc::channel();
    let mut sgd = SgdConfig::new(0.1).build()?.on_warning(move |warning| _ = tell.send(warning.to_string()));
    pass(&mut model, &x)?;
    show("a backward pass", &model);
    sgd.step(model.parameters_mut())?;
    let spent = show("a step: .grad stays", &model);
    pass(&mut model, &x)?;
    let stale = show("backward, no zero_grad", &model);
    let refused = sgd.step(model.parameters_mut()).is_err();
    let warned: Vec<String> = told.try_iter().collect();
    println!("zero_grad had thrown {thrown_away} passes away, and the step after it said so:\n{}", warned.join("\n"));
    println!("A step with the last gradient, a sum of");
    println!("what was used and what is new, is {}.", if refused { "refused" } else { "taken" });

    // A backward pass starts from one number. For y = x^2 + 2x, five outputs, take their sum: its gradient is
    // (1, ..., 1) times the Jacobian. Here no output depends on another's input, so 2x + 2 stands on the diagonal.
    // lesson.json, sum_of_vector_output (PyTorch 2.15, float32).
    let x = [-0.7506223320960999, 1.3525477647781372, 0.6863219141960144, -0.32775864005088806, 0.7949687242507935];
    let expected = [0.4987553358078003, 4.705095291137695, 3.3726439476013184, 1.344482660293579, 3.589937448501587];
    let y = |x: &[f64]| x.iter().map(|x| x * x + 2.0 * x).collect::<Vec<f64>>();
    let of_sum = gradient(|x| y(x).iter().sum(), &x, Method::Richardson)?.value;
    let sum_of_rows = jacobian(y, &x, Method::Richardson)?.value.sum_axis(ndarray::Axis(0));
    println!("\n        x         y   gradient of the sum  sum of Jacobian rows    2x + 2");
    for (i, x) in x.into_iter().enumerate() {
        let (y, formula) = (x * x + 2.0 * x, 2.0 * x + 2.0);
        println!("{x:>9.6}  {y:>8.6}  {:>20.6}  {:>20.6}  {formula:>8.6}", of_sum[i], sum_of_rows[i]);
        assert!([of_sum[i], sum_of_rows[i], formula].iter().all(|found| (found - expected[i]).abs() < 1e-6));
    }

    let weight_grad = [
        [1.0335468, 1.4264393, 0.88165843, -0.82625616],
        [-0.45899147, -0.63347244, -0.3915388, 0.366935],
        [-0.24009952, -0.33137092, -0.20481487, 0.19194457],
    ]
    .concat();
    assert!(once[0].iter().zip(weight_grad).all(|(g, expected): (_, f32)| (g - expected).abs() < 1e-6));
    let bias_grad = [1.0788907, -0.47912836, -0.25063318];
    assert!(once[1].iter().zip(bias_grad).all(|(g, expected): (_, f32)| (g - expected).abs() < 1e-6));
    assert!((loss - 1.0922896).abs() < 1e-6 && (twice[0] - 2.0670936).abs() < 1e-6);
    assert!(twice.iter().zip(&once[0]).all(|(twice, once)| *twice == once + once), "to the bit");
    assert_eq!((first.0, second.0), (Ledger::Pending { passes: 1 }, Ledger::Pending { passes: 2 }));
    assert_eq!((cleared, thrown_away, warned.len()), ((Ledger::Empty, 0.0), 2, 1));
    assert_eq!((spent.0, stale.0), (Ledger::Spent { step: 1 }, Ledger::Stale { step: 1, passes: 1 }));
    assert!(refused);
    Ok(())
}
