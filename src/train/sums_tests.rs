use super::*;
use crate::kernels::test_levels::at_one_level;
use crate::loss::{BinaryCrossEntropy, CrossEntropy, Huber, Mse};
use crate::model::{Init, Linear};
use ndarray::Array2;

fn data(rows: usize, features: usize) -> Dataset<f64> {
    let x = Array2::from_shape_fn((rows, features), |(i, j)| ((i * 37 + j * 11) % 101) as f64 / 7.3 - 5.0);
    let classes = (0..rows).map(|i| i % 3).collect();
    let weights = (0..rows).map(|i| 0.1 + (i % 7) as f64).collect();
    Dataset::with_classes(x, classes).unwrap().weighted(weights).unwrap()
}

fn model(data: &Dataset<f64>) -> Linear<f64> {
    Linear::new(data.features().ncols(), 3).initialized(Init::Uniform { seed: 1 })
}

/// The sums of all rows, every third first.
fn sums(data: &Dataset<f64>, threads: usize) -> Sums<f64> {
    sums_in_rounds(data, threads, usize::MAX)
}

/// The same with room for so many shards at once.
fn sums_in_rounds(data: &Dataset<f64>, threads: usize, room: usize) -> Sums<f64> {
    let model = model(data);
    let mut accumulator = Accumulator::new(&model, threads, data.rows()).unwrap();
    accumulator.keep_shards(room);
    let rows = data.rows() as u32;
    let order: Vec<u32> = (0..3).flat_map(|start| (start..rows).step_by(3)).collect();
    let problem = Problem { model: &model, loss: &CrossEntropy::new(), samples: &Samples::of(data) };
    // What an earlier batch leaves behind must not show, neither in an empty one nor in the next.
    accumulator.begin();
    accumulator.add(&problem, RowIndex::list(&order), RowIndex::NONE, None);
    accumulator.begin();
    assert_eq!(accumulator.value(), LossSum::default());
    assert!(accumulator.finish().gradient.iter().all(|g| *g == 0.0));
    accumulator.begin();
    accumulator.add(&problem, RowIndex::list(&order), RowIndex::NONE, None);
    assert_parameters_get_the_mean(&mut accumulator);
    accumulator.finish().clone()
}

/// Whether parameters get to the last bit what the sums are over their weight, however many shards were added before.
fn assert_parameters_get_the_mean(accumulator: &mut Accumulator<f64>) {
    let mut parameters = [Parameter::new("all", Array2::zeros((1, accumulator.total.gradient.len())))];
    accumulator.replace_gradients(&mut parameters).unwrap();
    let value = accumulator.value();
    let sums = accumulator.finish();
    assert_eq!(value, *sums.value);
    let mean: Vec<f64> = sums.gradient.iter().map(|g| g / value.weight).collect();
    assert_eq!(parameters[0].gradients(), mean);
}

fn assert_same_bits(a: &Sums<f64>, b: &Sums<f64>, what: &str) {
    assert_eq!(
        (&a.gradient[..], a.value.loss, a.value.weight),
        (&b.gradient[..], b.value.loss, b.value.weight),
        "{what}"
    );
}

#[test]
fn threads_change_no_bit() {
    let _level = at_one_level();
    for (rows, features) in [(1, 3), (63, 3), (700, 40), (5000, 40), (1, 300), (257, 300), (5000, 4000)] {
        let data = data(rows.min(if features > 1000 { 300 } else { rows }), features);
        let one = sums(&data, 1);
        for threads in [2, 3, 7] {
            assert_same_bits(&sums(&data, threads), &one, &format!("{rows} x {features}, {threads} threads"));
        }
    }
}

#[test]
fn rounds_change_no_bit() {
    let _level = at_one_level();
    let data = data(1500, 60);
    let (model, whole) = (model(&data), sums(&data, 1));
    assert_eq!(Accumulator::new(&model, 1, 1500).unwrap().shards.len(), 22);
    for room in [1, 2, 5, 21] {
        for threads in [1, 2, 3] {
            assert_same_bits(
                &sums_in_rounds(&data, threads, room),
                &whole,
                &format!("{room} at once, {threads} threads"),
            );
        }
    }
}

#[test]
fn the_sums_are_those_of_row_after_row() {
    for (rows, features) in [(1, 1), (100, 1), (65, 3), (1000, 30), (257, 100)] {
        let data = data(rows, features);
        let (model, loss, targets) = (model(&data), CrossEntropy::new(), data.targets());
        let mut expected = Sums::zero(parameter_count(model.parameters()));
        let (mut logits, mut gradient) = ([0.0; 3], [0.0; 3]);
        for row in 0..rows {
            model.forward_row(data.row(row), &mut logits);
            let value = loss.weighted_row(&logits, &targets, row, &mut gradient);
            model.backward_row(data.row(row), &gradient, &mut expected.gradient);
            expected.value.loss += value.loss;
            expected.value.weight += value.weight;
        }
        let found = sums(&data, 2);
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-11 * expected.value.weight * 10.0;
        assert!(found.gradient.iter().zip(&*expected.gradient).all(|(a, b)| close(*a, *b)), "{rows} x {features}");
        assert!(close(found.value.loss, expected.value.loss) && close(found.value.weight, expected.value.weight));
    }
}

#[test]
fn rows_may_come_in_pieces_of_different_data() {
    let _level = at_one_level();
    for features in [3, 300] {
        let (first, second) = (data(100, features), data(30, features));
        let (model, loss) = (model(&first), CrossEntropy::new());
        let of = |threads, parts: &[&Dataset<f64>]| {
            let mut accumulator = Accumulator::new(&model, threads, 100).unwrap();
            accumulator.begin();
            for part in parts {
                let problem = Problem { model: &model, loss: &loss, samples: &Samples::of(part) };
                accumulator.add(&problem, RowIndex::range(0, part.rows()), RowIndex::NONE, None);
            }
            assert_parameters_get_the_mean(&mut accumulator);
            accumulator.finish().clone()
        };
        let (a, b, both) = (of(2, &[&first]), of(2, &[&second]), of(2, &[&first, &second]));
        assert_same_bits(&both, &of(1, &[&first, &second]), "one thread");
        let sum: Vec<f64> = a.gradient.iter().zip(&*b.gradient).map(|(a, b)| a + b).collect();
        let value = *a.value + *b.value;
        assert_eq!((&both.gradient[..], *both.value), (&sum[..], value));
    }
}

/// What an earlier batch has left behind does not show in the next one, nor in one of no rows.
#[test]
fn sums_are_written_over_those_of_the_batch_before() {
    let data = Dataset::with_values(data(9, 2).features().to_owned(), Array2::ones((9, 1))).unwrap();
    let (linear, halved) = (Linear::new(2, 1), Halved(Linear::new(2, 1)));
    for model in [&linear as &dyn Model<f64>, &halved] {
        let problem = Problem { model, loss: &Mse, samples: &Samples::of(&data) };
        let rows = RowIndex::range(0, 9);
        let mut accumulator = Accumulator::new(model, 1, 9).unwrap();
        let mut of = |rows| {
            accumulator.begin();
            accumulator.add(&problem, rows, RowIndex::NONE, None);
            accumulator.finish().clone()
        };
        let first = of(rows);
        assert!(first.gradient.iter().all(|g| *g != 0.0));
        assert_same_bits(&of(rows), &first, "again");
        assert_same_bits(&of(RowIndex::NONE), &Sums::zero(3), "no rows");
        assert_eq!(accumulator.loss_sum(&problem, RowIndex::NONE), LossSum::default());
    }
}

#[test]
fn the_mean_loss_is_that_of_the_sums() {
    let data = data(5000, 3);
    let sums = sums(&data, 1);
    let mean = mean_loss(&model(&data), &CrossEntropy::new(), &data);
    assert!((mean - sums.value.loss / sums.value.weight).abs() < 1e-12 * mean, "{mean}");
}

#[test]
fn losses_have_the_same_bits_on_any_threads() {
    let _level = at_one_level();
    let data = data(3 * LOSS_ROWS + 100, 5);
    let model = model(&data);
    let problem = Problem { model: &model, loss: &CrossEntropy::new(), samples: &Samples::of(&data) };
    let losses = |threads| {
        let mut accumulator = Accumulator::new(&model, threads, 0).unwrap();
        accumulator.loss_sum(&problem, RowIndex::range(0, data.rows()))
    };
    assert!(losses(1).loss > 0.0);
    assert!([2, 3, 9].into_iter().all(|threads| losses(threads) == losses(1)));
}

#[test]
fn one_row_is_a_batch_too() {
    let data = Dataset::with_values(ndarray::array![[3.0]], ndarray::array![[5.0]]).unwrap();
    let model = Linear::new(1, 1);
    let mut accumulator = Accumulator::new(&model, 2, 1).unwrap();
    accumulator.begin();
    let problem = Problem { model: &model, loss: &Mse, samples: &Samples::of(&data) };
    accumulator.add(&problem, RowIndex::list(&[0]), RowIndex::NONE, None);
    let sums = accumulator.finish();
    assert_eq!((&sums.gradient[..], sums.value.loss, sums.value.weight), (&[-30.0, -10.0][..], 25.0, 1.0));
}

/// One output: forward, loss and backward in one pass.
#[test]
fn one_output_has_the_sums_of_row_after_row_and_the_same_bits_on_any_threads() {
    let _level = at_one_level();
    let logistic = BinaryCrossEntropy::with_pos_weight(2.5).unwrap();
    let losses: [&dyn Loss<f64>; 3] = [&Mse, &Huber::with_delta(0.3).unwrap(), &logistic];
    for (loss, weighted) in losses.into_iter().flat_map(|loss| [(loss, false), (loss, true)]) {
        for (rows, features) in [(1, 1), (1000, 1), (65, 3), (2000, 30), (700, 300)] {
            let x = data(rows, features).features().to_owned();
            let y = Array2::from_shape_fn((rows, 1), |(i, _)| (i % 5) as f64 / 4.0);
            let mut data = Dataset::with_values(x, y).unwrap();
            if weighted {
                data = data.weighted((0..rows).map(|i| (i % 4) as f64 / 2.0 + 0.5).collect()).unwrap();
            }
            let model = Linear::new(features, 1).initialized(Init::Uniform { seed: 1 });
            let targets = data.targets();
            let problem = Problem { model: &model, loss, samples: &Samples::of(&data) };
            let order: Vec<u32> = (0..3).flat_map(|start| (start..rows as u32).step_by(3)).collect();
            for index in [RowIndex::list(&order), RowIndex::range(0, rows)] {
                let sums = |threads| {
                    let mut accumulator = Accumulator::new(&model, threads, rows).unwrap();
                    accumulator.begin();
                    accumulator.add(&problem, index, index, None);
                    accumulator.finish().clone()
                };
                let one = sums(1);
                for threads in [2, 3, 5] {
                    assert_same_bits(&sums(threads), &one, &format!("{} {rows} x {features}", loss.name()));
                }
                let mut expected = Sums::zero(parameter_count(model.parameters()));
                for row in 0..rows {
                    let (mut logits, mut gradient) = ([0.0], [0.0]);
                    model.forward_row(data.row(row), &mut logits);
                    let value = loss.weighted_row(&logits, &targets, row, &mut gradient);
                    model.backward_row(data.row(row), &gradient, &mut expected.gradient);
                    expected.value.loss += value.loss;
                    expected.value.weight += value.weight;
                }
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * expected.value.weight;
                assert!(one.gradient.iter().zip(&*expected.gradient).all(|(a, b)| close(*a, *b)));
                assert!(close(one.value.loss, expected.value.loss) && close(one.value.weight, expected.value.weight));
            }
        }
    }
}

/// A model of one output whose backward pass is its own.
struct Halved(Linear<f64>);

impl Model<f64> for Halved {
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    fn outputs(&self) -> usize {
        1
    }

    fn parameters(&self) -> &[crate::parameter::Parameter<f64>] {
        self.0.parameters()
    }

    fn parameters_mut(&mut self) -> &mut [crate::parameter::Parameter<f64>] {
        self.0.parameters_mut()
    }

    fn forward_row(&self, input: &[f64], output: &mut [f64]) {
        self.0.forward_row(input, output);
    }

    fn backward_row(&self, input: &[f64], output_gradient: &[f64], gradient: &mut [f64]) {
        self.0.backward_row(input, &[output_gradient[0] / 2.0], gradient);
    }
}

#[test]
fn a_model_of_ones_own_goes_its_own_way() {
    let data = Dataset::with_values(ndarray::array![[1.0], [2.0]], ndarray::array![[3.0], [5.0]]).unwrap();
    let sums = |model: &dyn Model<f64>| {
        let mut accumulator = Accumulator::new(model, 1, 2).unwrap();
        let problem = Problem { model, loss: &Mse, samples: &Samples::of(&data) };
        accumulator.begin();
        accumulator.add(&problem, RowIndex::range(0, 2), RowIndex::NONE, None);
        accumulator.finish().gradient.to_vec()
    };
    assert_eq!(sums(&Linear::new(1, 1)), [-26.0, -16.0]);
    assert_eq!(sums(&Halved(Linear::new(1, 1))), [-13.0, -8.0]);
}

#[test]
fn threads_are_called_for_what_is_large_enough() {
    let mut accumulator = Accumulator::new(&model(&data(400, 40)), 2, 400).unwrap();
    for work in [PARALLEL_WORK, SURE_WORK, LARGE_WORK] {
        assert!(calls_for(&mut accumulator.team, 2, work) && !calls_for(&mut accumulator.team, 1, work), "{work}");
    }
    assert!(!calls_for(&mut accumulator.team, 2, PARALLEL_WORK - 1));
}

/// Long enough that the caller does some of them alone, to find out whether threads pay.
#[test]
fn many_small_batches_have_the_same_bits_on_any_threads() {
    const BATCH: usize = 128;
    let _level = at_one_level();
    let data = data(4 * BATCH, 100);
    let sums = |threads| {
        let model = model(&data);
        let problem = Problem { model: &model, loss: &CrossEntropy::new(), samples: &Samples::of(&data) };
        let mut accumulator = Accumulator::new(&model, threads, BATCH).unwrap();
        let batches = (0..600).map(|batch| {
            accumulator.begin();
            accumulator.add(&problem, RowIndex::range(batch % 4 * BATCH, BATCH), RowIndex::NONE, None);
            let Sums { gradient, value } = accumulator.finish();
            (gradient.to_vec(), **value)
        });
        batches.collect::<Vec<_>>()
    };
    let alone = sums(1);
    assert!(sums(2) == alone && sums(3) == alone);
}
