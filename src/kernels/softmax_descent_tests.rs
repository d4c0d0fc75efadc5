use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::kernels::team::Waiter;
use crate::kernels::test_levels::{at_one_level, close, numbers, on_every_level};
use crate::kernels::{SoftmaxLoss, add_scaled, divide, linear_softmax, sum_of_squares};

/// Lets so many steps be taken, and ends the descent with the last or by refusing one more.
#[derive(Default)]
struct Few {
    steps: usize,
    refuses: bool,
    told: Vec<(LossSum, f64)>,
}

impl StepSupervisor for Few {
    fn lr(&mut self) -> f64 {
        0.1 / (1.0 + self.told.len() as f64)
    }

    fn step(&mut self, cost: LossSum, squared_norm: f64) -> Decision {
        if self.told.len() == self.steps {
            return Decision::Refused;
        }
        self.told.push((cost, squared_norm));
        if self.told.len() < self.steps || self.refuses { Decision::Taken } else { Decision::Last }
    }
}

/// All that a descent comes to: weight, bias, and their gradients.
type Left<T> = [Vec<T>; 4];

/// A problem, and where its descent begins.
struct Case<T> {
    matrix: Vec<T>,
    width: usize,
    classes: usize,
    labels: Vec<usize>,
    weights: Option<Vec<T>>,
    order: Vec<u32>,
    each: usize,
    weight: Vec<T>,
    bias: Vec<T>,
}

const ALL: usize = 90;

impl<T: Element> Case<T> {
    fn new(rows: usize, each: usize, width: usize, classes: usize, bias: bool) -> Self {
        Case {
            matrix: numbers(ALL * width, 1),
            width,
            classes,
            labels: (0..ALL).map(|i| i * 5 % classes).collect(),
            weights: (width % 2 == 1).then(|| (0..ALL).map(|i| T::from_f64(0.5 + (i % 4) as f64)).collect()),
            order: (0..rows as u32).map(|i| (i * 7 + 3) % ALL as u32).collect(),
            each,
            weight: numbers(width * classes, 2),
            bias: if bias { numbers(classes, 3) } else { Vec::new() },
        }
    }

    fn batches(&self) -> Batches<'_, T> {
        let loss = SoftmaxLoss { class_weights: None, label_smoothing: if self.classes == 7 { 0.2 } else { 0.0 } };
        Batches {
            matrix: &self.matrix,
            width: self.width,
            classes: self.classes,
            rows: RowIndex::list(&self.order),
            each: self.each,
            labels: RowLabels { classes: &self.labels, weights: self.weights.as_deref(), loss },
        }
    }

    fn descent(&self) -> SoftmaxDescent<T> {
        let mut descent = SoftmaxDescent::new(self.each, self.width, self.classes);
        // What an earlier one leaves behind must not show.
        descent.begin([&vec![T::nan(); self.weight.len()], &vec![T::nan(); self.bias.len()]]);
        descent.begin([&self.weight, &self.bias]);
        descent
    }

    /// Where it comes to alone or with a team, and what is told.
    fn run(&self, mut team: Option<&mut Team>, few: Few) -> (Left<T>, Few, Progress) {
        let (mut descent, mut few) = (self.descent(), few);
        let mut progress = Progress::NONE;
        // Until the supervisor or the rows end it: it pauses where the other thread is late.
        loop {
            let done = (progress.steps * self.each).min(self.order.len());
            let batches = Batches { rows: RowIndex::list(&self.order[done..]), ..self.batches() };
            let more = descent.run(&batches, team.as_deref_mut(), &mut few);
            progress = Progress { steps: progress.steps + more.steps, is_over: more.is_over };
            if more.is_over || progress.steps as u64 == self.batches().count() {
                break;
            }
        }
        let room = |like: &Vec<T>| vec![T::nan(); like.len()];
        let mut left = [room(&self.weight), room(&self.bias), room(&self.weight), room(&self.bias)];
        let [weight, bias, weight_gradient, bias_gradient] = &mut left;
        descent.write([weight, bias]);
        descent.write_weight_gradient(weight_gradient);
        descent.write_bias_gradient(bias_gradient);
        (left, few, progress)
    }

    /// The same step by step, with the kernels that the general way uses.
    fn the_long_way(&self, steps: usize) -> (Left<T>, Vec<(LossSum, f64)>) {
        let (mut weight, mut bias) = (self.weight.clone(), self.bias.clone());
        let (mut weight_gradient, mut bias_gradient) = (weight.clone(), bias.clone());
        let (mut few, mut room) = (Few::default(), SoftmaxRoom::full_of(T::nan()));
        for order in self.order.chunks(self.each).take(steps) {
            let rows = Rows::new(&self.matrix, self.width, RowIndex::list(order));
            let gradients = [&mut weight_gradient[..], &mut bias_gradient[..]];
            let layer = [&weight[..], &bias[..]];
            let cost = linear_softmax(&rows, self.classes, layer, self.batches().labels, gradients, &mut room).unwrap();
            let lr = T::from_f64(few.lr());
            for (value, gradient) in [(&mut weight, &mut weight_gradient), (&mut bias, &mut bias_gradient)] {
                divide(gradient, T::from_f64(cost.weight));
                add_scaled(value, -lr, gradient);
            }
            let squares = sum_of_squares(&weight_gradient).as_f64() + sum_of_squares(&bias_gradient).as_f64();
            few.told.push((cost, squares));
        }
        ([weight, bias, weight_gradient, bias_gradient], few.told)
    }
}

fn check<T: Element + std::fmt::Debug>(case: &Case<T>, team: &mut Team, tolerance: f64) {
    let count = case.order.len().div_ceil(case.each);
    for (steps, refuses) in
        [(count, true), (count, false), (count.div_ceil(2), false), (count.div_ceil(2), true), (0, true)]
    {
        let few = || Few { steps, refuses, told: Vec::new() };
        let (alone, told, progress) = case.run(None, few());
        let (together, told_together, progress_together) = case.run(Some(team), few());
        let what = format!("{} of {} rows x {} x {}", case.each, case.order.len(), case.width, case.classes);
        // A step that is refused leaves a gradient that means nothing.
        let sure = if refuses && steps < count { 2 } else { 4 };
        assert_eq!(together[..sure], alone[..sure], "{what}");
        assert_eq!(told_together.told, told.told, "{what}");
        assert_eq!(progress_together, progress, "{what}");
        assert_eq!(progress, Progress { steps, is_over: !refuses || steps < count }, "{what}");

        let (expected, expected_told) = case.the_long_way(steps);
        for (found, expected) in alone[..sure].iter().zip(&expected) {
            for (found, expected) in found.iter().zip(expected) {
                close(found.as_f64(), expected.as_f64(), tolerance);
            }
        }
        for ((cost, square), (expected_cost, expected_square)) in told.told.iter().zip(&expected_told) {
            close(cost.loss, expected_cost.loss, tolerance);
            close(cost.weight, expected_cost.weight, tolerance);
            close(*square, *expected_square, tolerance);
        }
    }
}

#[test]
fn two_threads_and_one_come_to_the_same_bits_and_near_the_general_way() {
    let mut team = Team::new(2).unwrap();
    on_every_level(|| {
        for classes in [2, 3, 7, 10, 20, 33, 64] {
            // The last batch may be of one piece or of two, too.
            let sizes = [(1, 1, 20), (40, 16, 33), (70, 17, 64), (200, 64, 40), (151, 75, 50), (220, 75, 50)];
            for (rows, each, width) in sizes {
                for bias in [true, false] {
                    check(&Case::<f64>::new(rows, each, width, classes, bias), &mut team, 1e-11);
                    check(&Case::<f32>::new(rows, each, width, classes, bias), &mut team, 2e-3);
                }
            }
        }
        // Halves that go forward some columns after the others, and rows of which only few go through together.
        check(&Case::<f64>::new(100, 40, 1001, 5, true), &mut team, 1e-11);
        check(&Case::<f32>::new(100, 40, 5000, 10, true), &mut team, 5e-3);
    });
}

#[test]
fn columns_are_cut_in_two_at_whole_lines() {
    assert_eq!([784, 785, 800, 1020, 33, 16].map(cut::<f32>), [384, 400, 400, 512, 16, 16]);
    assert_eq!([784, 40, 9].map(cut::<f64>), [392, 16, 8]);
}

#[test]
fn threads_take_turns_without_a_trace() {
    let _level = at_one_level();
    let mut team = Team::new(2).unwrap();
    // Batches of one piece of rows, and of two.
    for each in [20, 80] {
        let case = Case::<f32>::new(each * 17 / 2, each, 70, 6, true);
        let (expected, told, _) = case.run(None, Few { steps: 9, ..Few::default() });
        for offset in [0, 1] {
            let (mut descent, mut few) = (case.descent(), Few { steps: 9, ..Few::default() });
            for (number, rows) in case.order.chunks(2 * each).enumerate() {
                let team = (number % 2 == offset).then_some(&mut team);
                let mut done = 0;
                descend_all(&mut descent, &case, rows, team, &mut few, &mut done);
            }
            assert_eq!(few.told, told.told);
            let mut left = [vec![0.0; case.weight.len()], vec![0.0; case.bias.len()]];
            let [weight, bias] = &mut left;
            descent.write([weight, bias]);
            assert_eq!(left[..], expected[..2]);
        }
    }
}

/// Steps on all of these rows, however often the descent pauses.
fn descend_all(
    descent: &mut SoftmaxDescent<f32>,
    case: &Case<f32>,
    rows: &[u32],
    mut team: Option<&mut Team>,
    few: &mut Few,
    done: &mut usize,
) {
    while *done < rows.len() {
        let batches = Batches { rows: RowIndex::list(&rows[*done..]), ..case.batches() };
        *done += descent.run(&batches, team.as_deref_mut(), few).steps * case.each;
    }
}

/// Is told of a step, and waits longer than for a helper that has a processor of its own.
struct Slow<'a> {
    few: &'a mut Few,
    waiter: Waiter,
}

impl StepSupervisor for Slow<'_> {
    fn lr(&mut self) -> f64 {
        self.few.lr()
    }

    fn step(&mut self, cost: LossSum, squared_norm: f64) -> Decision {
        let looks = std::cell::Cell::new(0);
        self.waiter.wait_until(|| looks.replace(looks.get() + 1) > 3_000, true);
        self.few.step(cost, squared_norm)
    }
}

#[test]
fn it_pauses_where_a_helper_was_late_and_goes_on_from_there() {
    let _level = at_one_level();
    let mut team = Team::new(2).unwrap();
    for each in [20, 80] {
        let case = Case::<f32>::new(4 * each, each, 70, 6, true);
        let (expected, told, _) = case.run(None, Few { steps: 4, ..Few::default() });
        let (mut descent, mut few) = (case.descent(), Few { steps: 4, ..Few::default() });
        for step in 0..4 {
            let batches = Batches { rows: RowIndex::list(&case.order[step * each..]), ..case.batches() };
            let waiter = team.waiter();
            let progress = descent.run(&batches, Some(&mut team), &mut Slow { few: &mut few, waiter });
            assert_eq!(progress, Progress { steps: 1, is_over: step == 3 });
        }
        assert_eq!(few.told, told.told);
        let mut weight = vec![0.0; case.weight.len()];
        descent.write([&mut weight, &mut case.bias.clone()]);
        assert_eq!(weight, expected[0]);
    }
}

#[test]
fn no_rows_are_no_step() {
    let case = Case::<f64>::new(30, 10, 40, 4, true);
    let batches = Batches { rows: RowIndex::NONE, ..case.batches() };
    let (mut team, mut few) = (Team::new(2).unwrap(), Few::default());
    for team in [None, Some(&mut team)] {
        assert_eq!(case.descent().run(&batches, team, &mut few), Progress::NONE);
    }
}

/// Panics in its second step.
struct Angry(usize);

impl StepSupervisor for Angry {
    fn lr(&mut self) -> f64 {
        0.1
    }

    fn step(&mut self, _: LossSum, _: f64) -> Decision {
        self.0 += 1;
        assert!(self.0 < 2, "enough");
        Decision::Taken
    }
}

#[test]
fn a_panic_of_either_thread_ends_it_for_both() {
    let _level = at_one_level();
    let mut team = Team::new(2).unwrap();
    // One piece a batch, whose gradient each thread makes for itself, and two, of which each makes one.
    for each in [30, 80] {
        let case = Case::<f64>::new(300, each, 40, 4, true);
        let mut descent = case.descent();
        let mut run = |batches: Batches<'_, f64>, supervisor: &mut dyn StepSupervisor| {
            catch_unwind(AssertUnwindSafe(|| descent.run(&batches, Some(&mut team), supervisor))).is_err()
        };
        // It may pause after the first step.
        let mut angry = Angry(0);
        assert!((0..2).any(|_| run(case.batches(), &mut angry)));
        // A label that is none of the classes, in the first piece or the last.
        for place in [5, each - 1] {
            let mut labels = case.labels.clone();
            labels[case.order[place] as usize] = 4;
            let batches = Batches { labels: RowLabels::new(&labels), ..case.batches() };
            assert!(run(batches, &mut Few { steps: 9, ..Few::default() }));
        }
        assert!(!run(case.batches(), &mut Few { steps: 9, ..Few::default() }));
    }
}

#[test]
fn batches_that_do_not_fit_the_weight_are_refused() {
    let case = Case::<f64>::new(30, 10, 40, 4, true);
    let refused = |batches: Batches<'_, f64>| {
        let mut few = Few { steps: 1, ..Few::default() };
        catch_unwind(AssertUnwindSafe(|| case.descent().run(&batches, None, &mut few))).is_err()
    };
    let batches = case.batches();
    assert!(!refused(batches));
    for (number, wrong) in [
        Batches { width: 39, ..batches },
        Batches { classes: 3, ..batches },
        Batches { each: 0, ..batches },
        Batches { each: 11, ..batches },
        Batches { matrix: &case.matrix[..60 * 40], ..batches },
        Batches { labels: RowLabels::new(&[9; ALL]), ..batches },
    ]
    .into_iter()
    .enumerate()
    {
        assert!(refused(wrong), "number {number}");
    }
}
