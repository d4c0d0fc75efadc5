//! Training followed step by step against PyTorch 2.15 (float64): `data/reference/torch.json`, which says what made it.
//!
//! Parameters start at zero, features are as they are in the file, rows stay in its order, weight decay covers the
//! bias, a schedule ticks once a step.

#[path = "common/levels.rs"]
mod levels;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "common/steps.rs"]
mod steps;

use gradus::optim::{clip_norm, grad_norm};
use gradus::train::{BatchSize, TrainConfig, Trainer};
use gradus::{
    BinaryCrossEntropy, Clip, CrossEntropy, Dataset, Huber, Linear, Loss, Model, Momentum, Mse, Optimizer, Parameter,
    Reduction, Scalar, Schedule, SgdConfig, Targets,
};
use ndarray::{Array1, Array2, Axis, s};
use serde::Deserialize;
use serde_json::Value;

use levels::on_every_level;
use numbers::read_numbers;
use steps::Steps;

#[derive(Deserialize)]
struct Reference {
    trajectories: Vec<Trajectory>,
    losses: Vec<LossCase>,
    clip_grad_norm: Vec<ClipCase>,
}

/// A run of PyTorch. An option this test does not know must not be passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trajectory {
    task: String,
    batch: usize,
    steps: usize,
    lr: f64,
    #[serde(default)]
    momentum: f64,
    #[serde(default)]
    dampening: f64,
    #[serde(default)]
    nesterov: bool,
    #[serde(default)]
    weight_decay: f64,
    clip_norm: Option<f64>,
    schedule: Option<String>,
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr_at_step: Option<Vec<f64>>,
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LossCase {
    loss_name: String,
    note: Option<String>,
    options: LossOptions,
    logits: Value,
    target: Value,
    loss: f64,
    grad: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LossOptions {
    reduction: Option<String>,
    class_weights: Option<Vec<f64>>,
    label_smoothing: Option<f64>,
    pos_weight: Option<f64>,
    delta: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClipCase {
    grads: (Vec<Vec<f64>>, Vec<f64>),
    max_norm: f64,
    norm_before: f64,
    clipped: (Vec<Vec<f64>>, Vec<f64>),
}

fn reference() -> Reference {
    let reference: Reference = serde_json::from_str(include_str!("data/reference/torch.json")).unwrap();
    let counts = (reference.trajectories.len(), reference.losses.len(), reference.clip_grad_norm.len());
    assert_eq!(counts, (31, 11, 3), "trajectories, losses and clippings in the reference");
    reference
}

/// What a number type is held to: relative to each figure, and for the tiny ones to a share of the largest of the
/// series.
#[derive(Clone, Copy)]
struct Tolerance {
    relative: f64,
    tiny: f64,
}

fn tolerance<T: Scalar>() -> Tolerance {
    if T::NAME == "f64" { Tolerance { relative: 1e-12, tiny: 0.01 } } else { Tolerance { relative: 1e-5, tiny: 1.0 } }
}

fn assert_close(what: &str, found: &[f64], expected: &[f64], Tolerance { relative, tiny }: Tolerance) {
    assert_eq!(found.len(), expected.len(), "{what}: how many figures");
    let largest = expected.iter().fold(0.0_f64, |largest, e| largest.max(e.abs()));
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let allowed = relative * expected.abs().max(tiny * largest);
        let error = (found - expected).abs();
        assert!(error <= allowed, "{what}[{index}]: {found:e} is {error:e} off {expected:e}, allowed {allowed:e}");
    }
}

/// Reads `step_size=4,gamma=0.5`, `exponential gamma=0.9`, `cosine t_max=24 eta_min=0.001` and
/// `linear start=0.1 end=1 iters=6`.
fn schedule(text: &str) -> Schedule {
    let words: Vec<&str> = text.split([' ', ',']).collect();
    let number = |name: &str| -> f64 {
        let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{text:?} lacks {name}")).parse().unwrap()
    };
    match words[0].split('=').next().unwrap() {
        "step_size" => Schedule::Step { every: number("step_size") as u64, gamma: number("gamma") },
        "exponential" => Schedule::Exponential { gamma: number("gamma") },
        "cosine" => Schedule::Cosine { t_max: number("t_max") as u64, eta_min: number("eta_min") },
        "linear" => Schedule::Linear { start: number("start"), end: number("end"), iters: number("iters") as u64 },
        other => panic!("no schedule is called {other:?}"),
    }
}

impl Trajectory {
    fn name(&self) -> String {
        let momentum = if self.nesterov { "nesterov" } else { "momentum" };
        format!(
            "{}, batch {}, lr {}, {momentum} {}, dampening {}, decay {}, clip {:?}, schedule {:?}",
            self.task,
            self.batch,
            self.lr,
            self.momentum,
            self.dampening,
            self.weight_decay,
            self.clip_norm,
            self.schedule
        )
    }

    fn sgd(&self) -> SgdConfig {
        let Trajectory { momentum, dampening, .. } = *self;
        let momentum = match (self.nesterov, momentum == 0.0) {
            (false, true) => Momentum::None,
            (false, false) => Momentum::Classic { momentum, dampening },
            (true, _) => Momentum::Nesterov { momentum },
        };
        SgdConfig::new(self.lr).momentum(momentum).weight_decay(self.weight_decay)
    }

    fn clip(&self) -> Clip {
        self.clip_norm.map_or(Clip::None, Clip::Norm)
    }

    fn schedule(&self) -> Schedule {
        self.schedule.as_deref().map_or(Schedule::Constant, schedule)
    }

    fn data<T: Scalar>(&self) -> Dataset<T> {
        let cells = read_numbers(&format!("tests/data/reference/torch_{}.csv", self.task));
        assert_eq!(cells.dim(), (23, 4), "{}", self.task);
        let features = cells.slice(s![.., ..3]).mapv(T::from_f64);
        let target = cells.column(3).mapv(T::from_f64).insert_axis(Axis(1));
        match self.task.as_str() {
            "softmax" => Dataset::with_classes(features, cells.column(3).iter().map(|&y| y as usize).collect()),
            _ => Dataset::with_values(features, target),
        }
        .unwrap()
    }

    fn model<T: Scalar>(&self) -> Linear<T> {
        Linear::new(3, self.bias.len())
    }

    fn loss_function<T: Scalar>(&self) -> Box<dyn Loss<T>> {
        match self.task.as_str() {
            "regression" => Box::new(Mse),
            "softmax" => Box::new(CrossEntropy::new()),
            "binary" => Box::new(BinaryCrossEntropy::new()),
            other => panic!("no task is called {other:?}"),
        }
    }
}

/// What a run of ours came to.
#[derive(Debug, PartialEq)]
struct Run {
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl Run {
    fn of<T: Scalar>(model: &Linear<T>, steps: Vec<(f64, f64, f64)>) -> Run {
        Run {
            loss: steps.iter().map(|step| step.0).collect(),
            grad_norm: steps.iter().map(|step| step.1).collect(),
            lr: steps.iter().map(|step| step.2).collect(),
            weight: model.weight().iter().map(|v| v.as_f64()).collect(),
            bias: model.bias().unwrap().iter().map(|v| v.as_f64()).collect(),
        }
    }

    fn assert_follows(&self, case: &Trajectory, loop_name: &str, number: &str, tolerance: Tolerance) {
        let what = |figure: &str| format!("{}: {loop_name} in {number}: {figure}", case.name());
        assert_close(&what("loss"), &self.loss, &case.loss, tolerance);
        assert_close(&what("grad_norm"), &self.grad_norm, &case.grad_norm, tolerance);
        let constant = vec![case.lr; case.steps];
        assert_close(&what("lr"), &self.lr, case.lr_at_step.as_ref().unwrap_or(&constant), tolerance);
        assert_close(&what("weight"), &self.weight, &case.weight.concat(), tolerance);
        assert_close(&what("bias"), &self.bias, &case.bias, tolerance);
    }
}

/// The loop as anyone writes it on the library.
fn by_hand<T: Scalar>(case: &Trajectory) -> Run {
    let (data, loss, mut model) = (case.data::<T>(), case.loss_function(), case.model());
    let mut sgd = case.sgd().build().unwrap();
    let rows: Vec<usize> = (0..data.rows()).collect();
    let batches: Vec<Dataset<T>> = rows.chunks(case.batch).map(|rows| data.select(rows)).collect();
    let mut steps = Vec::new();
    for batch in batches.iter().cycle().take(case.steps) {
        model.zero_grad();
        let logits = model.forward(batch.features()).unwrap();
        let value = loss.evaluate(logits.view(), &batch.targets(), Reduction::Mean).unwrap();
        model.backward(batch.features(), value.gradient.view()).unwrap();
        let norm = grad_norm(model.parameters());
        case.clip().apply(model.parameters_mut());
        sgd.set_lr(case.schedule().lr(case.lr, sgd.steps()));
        sgd.step(model.parameters_mut()).unwrap();
        steps.push((value.loss.as_f64(), norm, sgd.lr()));
    }
    Run::of(&model, steps)
}

/// The library's own loop, with micro-batches of `batch` rows, `accumulate` of them a step.
fn by_trainer<T: Scalar>(case: &Trajectory, batch: usize, accumulate: usize) -> Run {
    let (data, loss, mut model) = (case.data::<T>(), case.loss_function(), case.model());
    let mut sgd = case.sgd().build().unwrap();
    let steps_per_epoch = data.rows().div_ceil(case.batch);
    assert_eq!(case.steps % steps_per_epoch, 0, "{}: whole epochs end where the reference does", case.name());
    let config = TrainConfig {
        epochs: case.steps / steps_per_epoch,
        batch_size: BatchSize::Rows(batch),
        accumulate,
        shuffle: false,
        clip: case.clip(),
        schedule: case.schedule(),
        ..Default::default()
    };
    let mut observed = Steps::default();
    let trainer = Trainer::new(config).unwrap().observer(&mut observed);
    trainer.fit(&mut model, &*loss, &mut sgd, &data).unwrap();
    assert_eq!(sgd.lr(), case.lr, "{}: the base rate is put back", case.name());
    Run::of(&model, observed.steps.iter().map(|step| (step.loss, step.grad_norm, step.lr)).collect())
}

#[test]
fn a_loop_written_by_hand_follows_every_trajectory_of_pytorch() {
    on_every_level(|| {
        for case in &reference().trajectories {
            by_hand::<f64>(case).assert_follows(case, "by hand", "f64", tolerance::<f64>());
            by_hand::<f32>(case).assert_follows(case, "by hand", "f32", tolerance::<f32>());
        }
    });
}

#[test]
fn the_trainer_follows_every_trajectory_of_pytorch() {
    on_every_level(|| {
        for case in &reference().trajectories {
            by_trainer::<f64>(case, case.batch, 1).assert_follows(case, "trainer", "f64", tolerance::<f64>());
            by_trainer::<f32>(case, case.batch, 1).assert_follows(case, "trainer", "f32", tolerance::<f32>());
        }
    });
}

#[test]
fn a_full_batch_in_three_micro_batches_follows_to_the_bit() {
    on_every_level(|| {
        let reference = reference();
        let full: Vec<&Trajectory> = reference.trajectories.iter().filter(|case| case.batch == 23).collect();
        assert_eq!(full.len(), 21, "trajectories of the full batch");
        for case in full {
            let (double, single) = (by_trainer::<f64>(case, 23, 1), by_trainer::<f32>(case, 23, 1));
            // 8 + 8 + 7 rows.
            assert_eq!(by_trainer::<f64>(case, 8, 3), double, "{}, f64", case.name());
            assert_eq!(by_trainer::<f32>(case, 8, 3), single, "{}, f32", case.name());
        }
    });
}

/// A list of rows, or a list of numbers as one column.
fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = match serde_json::from_value(value.clone()) {
        Ok(rows) => rows,
        Err(_) => serde_json::from_value::<Vec<f64>>(value.clone()).unwrap().iter().map(|&v| vec![v]).collect(),
    };
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn loss_of<T: Scalar>(case: &LossCase) -> Box<dyn Loss<T>> {
    let options = &case.options;
    match case.loss_name.as_str() {
        "mse" => Box::new(Mse),
        "huber" => Box::new(Huber::with_delta(options.delta.unwrap()).unwrap()),
        "binary_cross_entropy_with_logits" => {
            Box::new(BinaryCrossEntropy::with_pos_weight(options.pos_weight.unwrap_or(1.0)).unwrap())
        }
        "cross_entropy" => {
            let smoothing = options.label_smoothing.unwrap_or(0.0);
            let loss = CrossEntropy::new().with_label_smoothing(smoothing).unwrap();
            let weights = options.class_weights.clone();
            Box::new(weights.map_or(loss.clone(), |weights| loss.with_class_weights(weights).unwrap()))
        }
        other => panic!("no loss is called {other:?}"),
    }
}

fn assert_loss_is_pytorchs<T: Scalar>(case: &LossCase) {
    let name = format!("{} {:?} {:?} in {}", case.loss_name, case.options, case.note, T::NAME);
    let logits = matrix(&case.logits).mapv(T::from_f64);
    let target = matrix(&case.target);
    let (values, classes) = (target.mapv(T::from_f64), target.iter().map(|&y| y as usize).collect::<Vec<_>>());
    let targets = if case.loss_name == "cross_entropy" { Targets::classes(&classes) } else { Targets::values(&values) };
    let reduction = match case.options.reduction.as_deref() {
        None => Reduction::Mean,
        Some("sum") => Reduction::Sum,
        Some(other) => panic!("no reduction is called {other:?}"),
    };
    let value = loss_of::<T>(case).evaluate(logits.view(), &targets, reduction).unwrap();
    assert_close(&format!("{name}: loss"), &[value.loss.as_f64()], &[case.loss], tolerance::<T>());
    let gradient: Vec<f64> = value.gradient.iter().map(|g| g.as_f64()).collect();
    let expected: Vec<f64> = matrix(&case.grad).into_iter().collect();
    assert_close(&format!("{name}: gradient"), &gradient, &expected, tolerance::<T>());
}

#[test]
fn every_loss_and_its_gradient_are_pytorchs() {
    on_every_level(|| {
        for case in &reference().losses {
            assert_loss_is_pytorchs::<f64>(case);
            assert_loss_is_pytorchs::<f32>(case);
        }
    });
}

fn assert_clips_as_pytorch<T: Scalar>(case: &ClipCase, index: usize) {
    let name = format!("clipping {index} in {}", T::NAME);
    let (first, second) = (&case.grads.0.concat(), &case.grads.1);
    let gradients = || {
        [first, second].map(|gradient| {
            let gradient: Vec<T> = gradient.iter().map(|&g| T::from_f64(g)).collect();
            let mut parameter = Parameter::new("p", Array1::zeros(gradient.len()));
            parameter.accumulate(&gradient).unwrap();
            parameter
        })
    };
    let (mut clipped, mut applied) = (gradients(), gradients());
    let norm = clip_norm(&mut clipped, case.max_norm);
    Clip::Norm(case.max_norm).apply(&mut applied);
    assert_close(&format!("{name}: norm"), &[norm], &[case.norm_before], tolerance::<T>());
    for (index, expected) in [case.clipped.0.concat(), case.clipped.1.clone()].iter().enumerate() {
        for parameters in [&clipped, &applied] {
            let found: Vec<f64> = parameters[index].gradients().iter().map(|g| g.as_f64()).collect();
            assert_close(&format!("{name}: gradient {index}"), &found, expected, tolerance::<T>());
        }
    }
}

#[test]
fn clipping_by_norm_leaves_what_pytorch_leaves() {
    on_every_level(|| {
        for (index, case) in reference().clip_grad_norm.iter().enumerate() {
            assert_clips_as_pytorch::<f64>(case, index);
            assert_clips_as_pytorch::<f32>(case, index);
        }
    });
}
