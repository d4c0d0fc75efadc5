//! The lesson's figures (`data/reference/lesson.json`, made with NumPy 2 and PyTorch 2.15) on its data in
//! `data/lesson/`.

#[path = "common/numbers.rs"]
mod numbers;

use gradus::kernels;
use gradus::optim::grad_norm;
use gradus::train::{BatchSize, Report, TrainConfig, Trainer};
use gradus::{
    CrossEntropy, Dataset, Linear, Loss, Model, Momentum, Mse, Optimizer, Reduction, SgdConfig, StaleGradient, Targets,
};
use ndarray::{Array2, Axis, array, s};
use serde_json::Value;

use numbers::read_numbers;

fn lesson(section: &str) -> Value {
    let mut all: Value = serde_json::from_str(include_str!("data/reference/lesson.json")).unwrap();
    all[section].take()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// The numbers of a list, or of a list of lists one after another.
fn list(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(list).collect(),
        _ => vec![number(value)],
    }
}

/// Each figure within `relative` of what is expected, as a share of it; figures below 1 as an absolute difference.
fn assert_close(what: &str, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: how many figures");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= relative * expected.abs().max(1.0), "{what}[{index}]: {found} is {error:e} off {expected}");
    }
}

/// A file whose last column is the number to predict.
fn regression(path: &str) -> Dataset<f64> {
    let cells = read_numbers(path);
    let last = cells.ncols() - 1;
    let target = cells.column(last).to_owned().insert_axis(Axis(1));
    Dataset::with_values(cells.slice(s![.., ..last]).to_owned(), target).unwrap()
}

/// A forward and a backward pass over all rows; the loss.
fn pass(model: &mut Linear<f64>, data: &Dataset<f64>) -> f64 {
    let outputs = model.forward(data.features()).unwrap();
    let value = Mse.evaluate(outputs.view(), &data.targets(), Reduction::Mean).unwrap();
    model.backward(data.features(), value.gradient.view()).unwrap();
    value.loss
}

/// The gradients of weight and bias, one after the other.
fn gradient(model: &Linear<f64>) -> Vec<f64> {
    model.parameters().iter().flat_map(|p| p.gradients().to_vec()).collect()
}

/// Trains on all rows at once, features as they are.
fn train(data: &Dataset<f64>, lr: f64, momentum: f64, epochs: usize) -> (Linear<f64>, Report) {
    let mut model = Linear::new(data.features().ncols(), 1);
    let mut sgd = SgdConfig::new(lr).momentum(Momentum::Nesterov { momentum }).build().unwrap();
    let config = TrainConfig { epochs, batch_size: BatchSize::Full, ..Default::default() };
    let report = Trainer::new(config).unwrap().fit(&mut model, &Mse, &mut sgd, data).unwrap();
    (model, report)
}

#[test]
fn both_partial_derivatives_on_the_line_are_negative_at_one_and_zero() {
    let expected = lesson("mse_line");
    let at = (number(&expected["w"]), number(&expected["b"]));
    assert_eq!(at, (1.0, 0.0));
    let mut model = Linear::from_parts(array![[at.0]], Some(array![at.1])).unwrap();
    let loss = pass(&mut model, &regression("data/lesson/line.csv"));
    assert_close("loss", &[loss], &[number(&expected["loss"])], 1e-12);
    assert_close("gradient", &gradient(&model), &[number(&expected["dw"]), number(&expected["db"])], 1e-12);
    assert!(gradient(&model).iter().all(|partial| *partial < 0.0), "raising w or b lowers the loss");
}

#[test]
fn training_on_the_line_ends_at_least_squares() {
    let expected = lesson("mse_line");
    let data = regression("data/lesson/line.csv");
    // Eigenvalues 68.5 and 0.496: a step of 1/68.5, momentum (1-q)/(1+q) with q = sqrt(0.496/68.5).
    let eigenvalues = list(&expected["hessian_eigenvalues"]);
    let q = (eigenvalues[0] / eigenvalues[1]).sqrt();
    let (model, report) = train(&data, 1.0 / eigenvalues[1], (1.0 - q) / (1.0 + q), 600);
    let least_squares = [number(&expected["least_squares_w"]), number(&expected["least_squares_b"])];
    assert_close("w, b", &[model.weight()[[0, 0]], model.bias().unwrap()[0]], &least_squares, 1e-9);
    let least = number(&expected["least_squares_loss"]);
    assert_close("loss", &[report.loss, report.objective], &[least, least], 1e-9);
    // The line was drawn with w = 2.5 and b = 1: the answer is that of the rows, not of the line.
    assert!((model.weight()[[0, 0]] - 2.5).abs() > 5e-3 && (model.bias().unwrap()[0] - 1.0).abs() > 5e-2);
}

#[test]
fn the_gradient_on_the_plane_at_zero_and_where_it_leads() {
    let expected = lesson("mse_plane");
    let data = regression("data/lesson/plane.csv");
    let mut model = Linear::new(3, 1);
    pass(&mut model, &data);
    assert_close("gradient", &gradient(&model), &list(&expected["gradient"]), 1e-12);
    assert_close("norm", &[grad_norm(model.parameters())], &[number(&expected["gradient_norm"])], 1e-12);

    let (model, _) = train(&data, 0.3, 0.5, 300);
    let found: Vec<f64> = model.parameters().iter().flat_map(|p| p.values().to_vec()).collect();
    assert_close("least squares", &found, &list(&expected["least_squares"]), 1e-9);
}

#[test]
fn a_second_backward_pass_doubles_the_gradient_of_a_linear_layer() {
    let expected = lesson("linear_layer_grad");
    assert_eq!(expected["dtype"], "float32");
    let f32s = |name: &str| list(&expected[name]).iter().map(|&v| v as f32).collect::<Vec<_>>();
    let weight = Array2::from_shape_vec((3, 4), f32s("W")).unwrap();
    let x = Array2::from_shape_vec((1, 4), f32s("x")).unwrap();
    let mut model = Linear::from_parts(weight, Some(f32s("b").into())).unwrap();

    // The loss is the mean square of the three outputs: their mean squared error against zeros.
    let zeros = Array2::<f32>::zeros((1, 3));
    let backward = |model: &mut Linear<f32>| {
        let outputs = model.forward(x.view()).unwrap();
        let value = Mse.evaluate(outputs.view(), &Targets::values(&zeros), Reduction::Mean).unwrap();
        model.backward(x.view(), value.gradient.view()).unwrap();
        let gradients = model.parameters().iter().map(|p| p.gradients().to_vec()).collect::<Vec<_>>();
        (f64::from(value.loss), gradients)
    };
    let (loss, once) = backward(&mut model);
    let (_, twice) = backward(&mut model);
    let as_f64 = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    assert_close("loss", &[loss], &[number(&expected["loss"])], 1e-6);
    assert_close("weight", &as_f64(&once[0]), &list(&expected["W_grad"]), 1e-6);
    assert_close("bias", &as_f64(&once[1]), &list(&expected["b_grad"]), 1e-6);
    assert_close("twice", &as_f64(&twice[0]), &list(&expected["W_grad_after_second_backward"]), 1e-6);
    for (once, twice) in once.iter().zip(&twice) {
        assert_eq!(twice, &once.iter().map(|g| g + g).collect::<Vec<_>>(), "to the bit");
    }
    assert_eq!(model.zero_grad(), 2, "both passes are thrown away");
    let (_, again) = backward(&mut model);
    assert_eq!(again, once, "after zero_grad");
}

#[test]
fn the_gradient_of_cross_entropy_is_softmax_minus_one_at_the_label() {
    let expected = lesson("cross_entropy");
    let logits = list(&expected["logits"]);
    let label = expected["label"].as_u64().unwrap() as usize;
    let row = Array2::from_shape_vec((1, logits.len()), logits.clone()).unwrap();
    let value = CrossEntropy::new().evaluate(row.view(), &Targets::classes(&[label]), Reduction::Mean).unwrap();
    let gradient: Vec<f64> = value.gradient.iter().copied().collect();
    assert_close("loss", &[value.loss], &[number(&expected["loss"])], 1e-12);
    assert_close("gradient", &gradient, &list(&expected["gradient"]), 1e-12);

    let mut probabilities = vec![0.0; logits.len()];
    kernels::softmax(&logits, &mut probabilities);
    probabilities[label] -= 1.0;
    assert_close("softmax - onehot", &gradient, &probabilities, 1e-15);
}

#[test]
fn the_gradient_of_a_batch_of_cross_entropies_adds_up_to_nothing() {
    let expected = lesson("cross_entropy_batch");
    let cells = read_numbers("data/lesson/logits.csv");
    let labels: Vec<usize> = cells.column(10).iter().map(|&label| label as usize).collect();
    let logits = cells.slice(s![.., ..10]);
    let value = CrossEntropy::new().evaluate(logits, &Targets::classes(&labels), Reduction::Mean).unwrap();
    let shape: Vec<f64> = value.gradient.shape().iter().map(|&n| n as f64).collect();
    assert_eq!(shape, list(&expected["gradient_shape"]));
    assert_close("loss", &[value.loss], &[number(&expected["loss"])], 1e-12);
    let norm = value.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert_close("norm", &[norm], &[number(&expected["gradient_norm"])], 1e-12);
    assert_close("first row", &value.gradient.row(0).to_vec(), &list(&expected["first_row"]), 1e-12);
    // 0 but for rounding, in the lesson and here.
    for mean in [number(&expected["gradient_mean"]), value.gradient.mean().unwrap()] {
        assert!(mean.abs() < 1e-17, "{mean:e}");
    }
}

#[test]
fn the_softmax_of_the_lesson() {
    let expected = lesson("softmax_jacobian");
    let mut probabilities = vec![0.0; 3];
    let log_sum_exp = kernels::softmax(&list(&expected["x"]), &mut probabilities);
    assert_close("softmax", &probabilities, &list(&expected["softmax"]), 1e-15);
    assert_close("log-sum-exp", &[log_sum_exp], &[list(&expected["x"])[0] - probabilities[0].ln()], 1e-15);
}

/// The losses of 60 steps of full-batch SGD on the line.
fn losses(config: SgdConfig, zero_grad: bool) -> gradus::Result<Vec<f64>> {
    let data = regression("data/lesson/line.csv");
    let (mut model, mut sgd) = (Linear::new(1, 1), config.build()?);
    (0..60)
        .map(|_| {
            if zero_grad {
                model.zero_grad();
            }
            let loss = pass(&mut model, &data);
            sgd.step(model.parameters_mut())?;
            Ok(loss)
        })
        .collect()
}

#[test]
fn a_missing_zero_grad_ruins_the_run_as_in_the_lesson() {
    let expected = lesson("zero_grad");
    assert_eq!((number(&expected["steps"]), list(&expected["init"])), (60.0, vec![0.0, 0.0]));
    let plain = SgdConfig::new(number(&expected["lr"]));
    let (with, without) = (list(&expected["with_zero_grad"]), list(&expected["without_zero_grad"]));
    assert_close("with", &losses(plain, true).unwrap(), &with, 1e-10);
    let allowed = plain.stale_gradient(StaleGradient::Allow);
    assert_close("without", &losses(allowed, false).unwrap(), &without, 1e-10);
    // Allow changes nothing where nothing is stale.
    assert_eq!(losses(allowed, true).unwrap(), losses(plain, true).unwrap());
}

#[test]
fn a_missing_zero_grad_is_momentum_one() {
    let plain = SgdConfig::new(0.005);
    let without = losses(plain.stale_gradient(StaleGradient::Allow), false).unwrap();
    let undamped = plain.momentum(Momentum::Classic { momentum: 1.0, dampening: 0.0 });
    assert_close("momentum 1", &losses(undamped, true).unwrap(), &without, 1e-10);
}

#[test]
fn by_default_the_second_step_without_zero_grad_is_refused() {
    let message = losses(SgdConfig::new(0.005), false).unwrap_err().to_string();
    for part in ["\"weight\"", "step 1 had already used", "call `zero_grad`"] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}
