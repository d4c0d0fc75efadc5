use super::super::problem::{Problem, Samples};
use super::super::sums::{Accumulator, StepAhead};
use super::*;
use crate::data::Dataset;
use crate::kernels::RowIndex;
use crate::kernels::test_levels::at_one_level;
use crate::loss::{CrossEntropy, LossSum};
use crate::model::{Init, Linear, Model};
use crate::optim::squared_grad_norm;
use ndarray::Array2;

/// Threads are called on for so many rows of a model of three outputs however late they come.
const ROWS: usize = 700;
const FEATURES: usize = 2000;
const LR: f64 = 0.3;

fn data(rows: usize, features: usize) -> Dataset<f64> {
    let x = Array2::from_shape_fn((rows, features), |(i, j)| ((i * 37 + j * 11) % 101) as f64 / 7.3 - 5.0);
    let weights = (0..rows).map(|i| 0.1 + (i % 7) as f64).collect();
    Dataset::with_classes(x, (0..rows).map(|i| i % 3).collect()).unwrap().weighted(weights).unwrap()
}

fn model(features: usize) -> Linear<f64> {
    Linear::new(features, 3).initialized(Init::Uniform { seed: 1 })
}

/// Parts of a batch one after another, of which the last has this step ahead.
fn add(accumulator: &mut Accumulator<f64>, data: &Dataset<f64>, parts: &[usize], step: Option<StepAhead<f64>>) {
    let model = model(data.features().ncols());
    let problem = Problem { model: &model, loss: &CrossEntropy::new(), samples: &Samples::of(data) };
    accumulator.begin();
    let mut place = 0;
    for (at, &rows) in parts.iter().enumerate() {
        let step = step.filter(|_| at + 1 == parts.len());
        accumulator.add(&problem, RowIndex::range(place, rows), RowIndex::NONE, step);
        place += rows;
    }
}

/// What a batch leaves: gradients, the square of their norm, the sum of losses and weights, and values after a plain step.
type Left = (Vec<f64>, f64, LossSum, Vec<f64>);

/// What is left, and whether the step was shared.
fn left(accumulator: &mut Accumulator<f64>, plain: bool) -> (Left, bool) {
    let mut model = model(FEATURES);
    let parameters = model.parameters_mut();
    accumulator.replace_gradients(parameters).unwrap();
    let norm = accumulator.squared_grad_norm(parameters);
    assert_eq!(norm, squared_grad_norm(parameters));
    let gradients = parameters.iter().flat_map(|p| p.gradients().to_vec()).collect();
    let value = accumulator.value();
    let shared = accumulator.made().is_some();
    match accumulator.plain_step() {
        Some(step) => {
            assert!(shared && plain);
            step.take(parameters, LR, 1);
        }
        None => {
            assert!(!(shared && plain));
            parameters.iter_mut().for_each(|parameter| step_plainly(parameter, LR, 1));
        }
    }
    let values = parameters.iter().flat_map(|p| p.values().to_vec()).collect();
    ((gradients, norm, value, values), shared)
}

#[test]
fn a_batch_in_parts_and_rounds_leaves_what_one_thread_does() {
    let _level = at_one_level();
    let data = data(ROWS + 150, FEATURES);
    for parts in [&[ROWS][..], &[150, ROWS], &[70, 80, ROWS]] {
        let mut alone = Accumulator::new(&model(FEATURES), 1, ROWS).unwrap();
        add(&mut alone, &data, parts, None);
        let (expected, shared) = left(&mut alone, false);
        assert!(!shared);
        for (threads, room) in [(2, 64), (3, 64), (2, 2), (2, 4), (3, 3), (2, 9), (2, 1)] {
            for plain in [false, true] {
                let mut accumulator = Accumulator::new(&model(FEATURES), threads, ROWS).unwrap();
                accumulator.keep_shards(room);
                // An earlier one, whose step was never taken.
                for _ in 0..2 {
                    add(&mut accumulator, &data, parts, Some(StepAhead { plain_lr: plain.then_some(LR) }));
                }
                let what = format!("{parts:?}, {threads} threads, {room} shards at once");
                let (left, shared) = left(&mut accumulator, plain);
                assert!(left == expected, "{what}");
                // The last of ten shards is alone where three or nine are kept.
                assert_eq!(shared, ![1, 3, 9].contains(&room), "{what}");
                assert_eq!(accumulator.finish().gradient[..], alone.finish().gradient[..], "{what}");
                add(&mut accumulator, &data, &[0], None);
                assert!(accumulator.finish().gradient.iter().all(|g| *g == 0.0));
            }
        }
    }
}

#[test]
fn what_is_not_worth_it_is_not_shared() {
    let step = Some(StepAhead { plain_lr: Some(LR) });
    for (threads, rows, features, ahead, shared) in [
        (2, ROWS, FEATURES, step, true),
        (1, ROWS, FEATURES, step, false),
        (2, ROWS, FEATURES, None, false),
        (2, 60, FEATURES, step, false),
        (2, 5 * ROWS, WORTH_SHARING / 3, step, false),
    ] {
        let data = data(rows, features);
        let mut accumulator = Accumulator::new(&model(features), threads, rows).unwrap();
        add(&mut accumulator, &data, &[rows], ahead);
        assert_eq!(accumulator.made().is_some(), shared, "{threads} threads, {rows} x {features}");
    }
}

#[test]
fn it_fits_the_parameters_it_was_made_for_alone() {
    let parameters = |lengths: &[usize]| -> Vec<Parameter<f64>> {
        lengths.iter().map(|&length| Parameter::new("p", ndarray::Array1::zeros(length))).collect()
    };
    let step = SharedStep::new(&parameters(&[10, 5000, 4096])).unwrap();
    assert_eq!((step.place, step.start, step.blocks()), (1, 10, 5));
    for (lengths, fits) in [
        (&[10, 5000, 4096][..], true),
        (&[10, 5000], false),
        (&[10, 4999, 4097], false),
        (&[11, 5000, 4095], false),
        (&[9106], false),
        (&[], false),
    ] {
        assert_eq!(step.fits(&parameters(lengths), 9106), fits, "{lengths:?}");
    }
    assert!(SharedStep::new(&parameters(&[4095, 4095])).is_none() && SharedStep::<f64>::new(&[]).is_none());
}
