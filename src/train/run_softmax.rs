//! Plain descent of a softmax on batches of few wide rows: two threads keep half of the columns each from step to step.

use std::ptr;

use super::super::event::StepEvent;
use super::super::problem::{Samples, linear_layer};
use super::super::shards::are_by_columns;
use super::super::sums::calls_for;
use super::{EpochSums, Run};
use crate::error::{Error, Result};
use crate::kernels::{Batches, Decision, RowIndex, SoftmaxDescent, StepSupervisor};
use crate::loss::{Loss, LossSum};
use crate::model::Model;
use crate::optim::Optimizer;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

impl<T, M, L, O> Run<'_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    /// Steps on batches of these rows one after another while they are plain, if that is faster. So many rows of the epoch
    /// were `visited` before: the last batch has fewer rows than the others only if no more are to come.
    pub(super) fn descend_on_batches(
        &mut self,
        samples: &Samples<'_, T>,
        rows: RowIndex<'_>,
        visited: usize,
        epoch: &mut EpochSums,
    ) -> Result<Descended> {
        if !self.descends_on_batches() {
            return Ok(Descended::NOT);
        }
        let are_last = visited + rows.len() == self.rows;
        let rows = if are_last { rows } else { rows.part(0, rows.len() / self.batch * self.batch) };
        let Some(batches) = samples.batches(self.loss, self.model.outputs(), rows, self.batch) else {
            return Ok(Descended::NOT);
        };
        let mut descent = self.softmax_descent.take().expect("it was asked for");
        let done = self.descend_with(&mut descent, batches, epoch);
        self.softmax_descent = Some(descent);
        done
    }

    /// Whether the next steps are plain ones of a linear layer whose weight and bias are all there is.
    fn descends_on_batches(&self) -> bool {
        self.softmax_descent.is_some()
            && self.steps_plainly()
            // A first step has been looked at from all sides.
            && self.last_loss.is_some()
            && self.guard.is_at_ease(0.0)
            && linear_layer(&*self.model, self.model.outputs(), self.accumulator.elements())
                .is_some_and(|layer| are_values_of(self.model.parameters(), layer))
    }

    fn descend_with(
        &mut self,
        descent: &mut SoftmaxDescent<T>,
        batches: Batches<'_, T>,
        epoch: &mut EpochSums,
    ) -> Result<Descended> {
        descent.begin(self.model.linear_layer().expect("it was asked for"));
        let (work, rows) = (batches.each * self.accumulator.elements(), batches.rows);
        let mut team = self.accumulator.lend_team();
        let mut supervisor =
            RunSupervisor { run: self, epoch, left: rows.len(), lr: 0.0, step: None, refused: false, error: None };
        let mut done = 0;
        while done < rows.len() {
            let together = team.threads() > 1 && calls_for(&mut team, 2, work);
            // Where the other thread comes late, it is asked for again soon.
            let alone_for_now = team.threads() > 1 && !together;
            let end = if alone_for_now { done + batches.each } else { rows.len() };
            let batches = Batches { rows: rows.part(done, end), ..batches };
            let progress = descent.run(&batches, together.then_some(&mut team), &mut supervisor);
            done = (done + progress.steps * batches.each).min(rows.len());
            if together {
                team.note_in_time(progress.steps);
            }
            if progress.is_over {
                break;
            }
        }
        let RunSupervisor { run, step, refused, error, .. } = supervisor;
        run.accumulator.take_back(team);
        if let Some(step) = step {
            put_back(run.model.parameters_mut(), descent, step, refused);
        }
        error.map_or(Ok(Descended { rows: done, refused }), Err)
    }
}

/// How far a descent has come.
pub(super) struct Descended {
    /// Rows that were stepped on.
    pub rows: usize,
    /// Whether the batch after them has to go the general way.
    pub refused: bool,
}

impl Descended {
    const NOT: Descended = Descended { rows: 0, refused: true };
}

/// Whether plain steps on such batches of so many rows in all are faster by halves of the columns.
pub(in super::super) fn descends_by_columns<T, M, L>(model: &M, loss: &L, batch: usize, rows: usize) -> bool
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    batch < rows
        && are_by_columns::<T>(batch, model.inputs(), model.outputs())
        && loss.softmax_loss().is_some()
        && model.linear_layer().is_some()
}

/// Whether these are all parameters, weight and bias or the weight alone, and their values those of a layer.
fn are_values_of<T: Scalar>(parameters: &[Parameter<T>], [weight, bias]: [&[T]; 2]) -> bool {
    match parameters {
        [first] => ptr::eq(first.values(), weight) && bias.is_empty(),
        [first, second] => ptr::eq(first.values(), weight) && ptr::eq(second.values(), bias),
        _ => false,
    }
}

/// Gives the parameters what a descent has come to by this step. If one after it was refused, the gradient is of that one, and
/// the general way, which takes it, makes another.
fn put_back<T: Scalar>(parameters: &mut [Parameter<T>], descent: &SoftmaxDescent<T>, step: u64, refused: bool) {
    let (weight, bias) = parameters.split_first_mut().expect("a weight");
    let mut bias = bias.first_mut();
    descent.write([weight.values_mut(), bias.as_mut().map_or(&mut [], |bias| bias.values_mut())]);
    if !refused {
        weight.replace_gradient_by(|gradient| descent.write_weight_gradient(gradient));
        if let Some(bias) = &mut bias {
            bias.replace_gradient_by(|gradient| descent.write_bias_gradient(gradient));
        }
    }
    parameters.iter_mut().for_each(|parameter| parameter.mark_spent(step));
}

/// What a run does between two steps.
struct RunSupervisor<'s, 'a, T, M: ?Sized, L: ?Sized, O: ?Sized> {
    run: &'s mut Run<'a, T, M, L, O>,
    epoch: &'s mut EpochSums,
    /// Rows that are left.
    left: usize,
    /// The learning rate of the step under way.
    lr: f64,
    /// The number of the last step taken.
    step: Option<u64>,
    /// Whether the step after it was refused.
    refused: bool,
    error: Option<Error>,
}

impl<T, M, L, O> StepSupervisor for RunSupervisor<'_, '_, T, M, L, O>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
    O: Optimizer<T> + ?Sized,
{
    fn lr(&mut self) -> f64 {
        let Run { config, base_lr, optimizer, .. } = &*self.run;
        self.lr = config.schedule.lr(*base_lr, optimizer.steps());
        self.lr
    }

    fn step(&mut self, cost: LossSum, squared_norm: f64) -> Decision {
        let RunSupervisor { run, epoch, lr, left, .. } = self;
        let samples = run.batch.min(*left);
        *left -= samples;
        let loss = cost.mean();
        let is_ordinary = loss.is_finite() && run.guard.is_at_ease(*lr * *lr * squared_norm);
        let step = if is_ordinary {
            run.optimizer.set_lr(*lr);
            run.optimizer.count_plain_step()
        } else {
            None
        };
        let Some(step) = step else {
            self.refused = true;
            return Decision::Refused;
        };
        self.step = Some(step);
        run.last_loss = Some(loss);
        let grad_norm = squared_norm.sqrt();
        epoch.cost += cost;
        epoch.grad_norm = grad_norm;
        let event = StepEvent { step, epoch: run.epoch, loss, grad_norm, lr: *lr, samples };
        self.error = run.tell_step(&event, grad_norm).err();
        if self.error.is_some() || run.is_interrupted() { Decision::Last } else { Decision::Taken }
    }
}
