//! The one mechanism of training: a gradient is a sum over rows, with the weight it was summed over.
//!
//! An effective batch is cut into shards, always at the same places. Each shard's rows are added to sums that start at
//! zero; the shards' sums are added in their order; the division by the weight comes once, at the end. A shard's sums
//! depend on its rows alone, so neither the micro-batches a window was asked for in nor the threads that add the rows
//! change a bit of the result.

use std::ops::Range;

use super::problem::{OneOutput, Problem, Samples, Scratch};
use super::shards::{MOST_SHARDS, PARALLEL_WORK, SURE_WORK, Shards};
use super::shared_step::{SharedStep, put_sum};
use super::threads::{LARGE_WORK, LOSS_ROWS, Workload};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels::{self, Aligned, Apart, RowIndex, SQUARES, Team};
use crate::loss::{Loss, LossSum};
use crate::model::{Model, parameter_count, replace_gradients, replace_gradients_of_sum};
use crate::optim::squared_grad_norm;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Bytes for the sums of the shards of a round.
const ROUND_BYTES: usize = 4 << 20;

/// What a set of rows adds up to.
#[derive(Debug, Clone)]
pub(crate) struct Sums<T> {
    /// The gradient of all parameters, one after another.
    pub gradient: Aligned<T>,
    /// On lines of its own: the pointers to the gradients are read by other threads while this is written.
    pub value: Apart<LossSum>,
}

impl<T: Scalar> Sums<T> {
    fn zero(parameters: usize) -> Self {
        Sums { gradient: Aligned::zeros(parameters), value: Apart::default() }
    }
}

/// The step that follows when all rows of an effective batch have been added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepAhead<T> {
    /// Its learning rate, if it is a plain step: it may be made at once.
    pub plain_lr: Option<T>,
}

/// Adds up the rows of one effective batch after another.
#[derive(Debug)]
pub(crate) struct Accumulator<T> {
    total: Sums<T>,
    /// Whether the total's gradient means nothing yet.
    empty: bool,
    /// The shards of the last round whose gradients the total's still lacks: they are added on the way to where they are
    /// needed.
    lacking: Range<usize>,
    /// Where threads may share steps.
    shared_step: Option<SharedStep<T>>,
    /// Those of the last rows that were added: divisions count in a step of 100 ns.
    cut: Shards,
    /// The sums of the shards of a round.
    shards: Vec<Sums<T>>,
    /// One for each thread.
    scratch: Vec<Apart<Scratch<T>>>,
    team: Team,
}

impl<T: Scalar> Accumulator<T> {
    /// For a model and effective batches of `batch` rows, on this many threads, at least 1.
    pub(crate) fn new<M: Model<T> + ?Sized>(model: &M, threads: usize, batch: usize) -> Result<Self> {
        let parameters = parameter_count(model.parameters());
        let team = Team::new(threads)
            .map_err(|error| Error::setting("threads", format!("{threads} cannot be started: {error}")))?;
        let cut = Shards::new(batch, parameters);
        let in_a_round =
            (ROUND_BYTES / (parameters * size_of::<T>()).max(1)).clamp(threads, MOST_SHARDS).min(cut.count);
        // Of an even number of shards none is then alone in the last round.
        let in_a_round = if in_a_round > threads { in_a_round / 2 * 2 } else { in_a_round };
        let shared_step = if threads.min(cut.count) > 1 { SharedStep::new(model.parameters()) } else { None };
        let blocks = shared_step.as_ref().map_or(0, SharedStep::blocks);
        let scratch = || Apart(Scratch::new(model.inputs(), model.outputs(), blocks));
        Ok(Accumulator {
            total: Sums::zero(parameters),
            empty: true,
            lacking: 0..0,
            shared_step,
            cut,
            shards: (0..in_a_round).map(|_| Sums::zero(parameters)).collect(),
            scratch: (0..threads).map(|_| scratch()).collect(),
            team,
        })
    }

    /// Keeps room for at most so many shards at once.
    #[cfg(test)]
    pub(super) fn keep_shards(&mut self, most: usize) {
        self.shards.truncate(most);
    }

    /// Whether an effective batch of so many rows is one shard.
    pub(crate) fn is_one_shard(&self, rows: usize) -> bool {
        Shards::new(rows, self.total.gradient.len()).count == 1
    }

    /// An effective batch of one pass, over rows that [are one shard](Accumulator::is_one_shard).
    #[inline(always)]
    pub(super) fn sum_one_shard(&mut self, pass: &OneOutput<'_, T>, layer: [&[T]; 2]) {
        debug_assert!(self.lacking.is_empty(), "a batch was begun");
        let Sums { gradient, value } = &mut self.total;
        **value = pass.sum(layer, gradient);
        self.empty = false;
    }

    /// Starts an effective batch.
    pub(crate) fn begin(&mut self) {
        *self.total.value = LossSum::default();
        self.empty = true;
        self.lacking = 0..0;
        if let Some(step) = &mut self.shared_step {
            step.forget();
        }
    }

    /// Adds rows, in shards of their own. `ahead` are the rows that will be added next, as far as they are known; `step` is
    /// the one that follows, if these are the last of an effective batch.
    pub(crate) fn add<M, L>(
        &mut self,
        problem: &Problem<'_, T, M, L>,
        rows: RowIndex<'_>,
        ahead: RowIndex<'_>,
        step: Option<StepAhead<T>>,
    ) where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        debug_assert!(self.made().is_none(), "a batch was begun");
        self.add_what_is_lacking();
        let elements = self.total.gradient.len();
        if rows.len() != self.cut.rows {
            self.cut = Shards::new(rows.len(), elements);
        }
        let cut = self.cut;
        let work = rows.len() * elements;
        if cut.count == 1 && self.empty {
            // The only shard: its sums are the total.
            self.empty = false;
            let Sums { gradient, value } = &mut self.total;
            **value = self.scratch[0].sum_rows(problem, rows, ahead, gradient);
            return;
        }
        let mut added = 0;
        while added < cut.count {
            let count = self.shards.len().min(cut.count - added);
            let threads = self.team.threads().min(count);
            let threads = if calls_for(&mut self.team, threads, work) { threads } else { 1 };
            let problem = *problem;
            let shards = &mut self.shards[..count];
            let sum_shards = move |scratch: &mut Apart<Scratch<T>>, first: usize, shards: &mut [Sums<T>]| {
                let last = added + first + shards.len();
                for (shard, sums) in (added + first..).zip(shards) {
                    // Each thread knows which it takes next: here, in the next round, or in the next batch.
                    let next = if shard + 1 < last {
                        cut.part(rows, shard + 1)
                    } else if added + count < cut.count {
                        cut.part(rows, added + count + first)
                    } else {
                        cut.part(ahead, first)
                    };
                    *sums.value = scratch.sum_rows(&problem, cut.part(rows, shard), next, &mut sums.gradient);
                }
            };
            let scratch = &mut self.scratch[..threads];
            let parameters = problem.model.parameters();
            if let (Some(shared), Some(step), 2..) = (&mut self.shared_step, step, threads)
                && added + count == cut.count
                && shared.fits(parameters, elements)
            {
                let before = (!self.empty).then_some(&self.total);
                let (making, results) = shared.make(parameters, before, step.plain_lr);
                self.team.share_then(
                    scratch,
                    shards,
                    &sum_shards,
                    results,
                    SQUARES,
                    &|scratch, shards, first, results| {
                        making.part(shards, first, results, &mut scratch.squares);
                    },
                );
                shared.add_squares(scratch.iter().flat_map(|scratch| &scratch.squares).copied());
                shards.iter().for_each(|shard| *self.total.value += *shard.value);
                self.lacking = 0..count;
                return;
            }
            self.team.share(scratch, shards, &sum_shards);
            added += count;
            shards.iter().for_each(|shard| *self.total.value += *shard.value);
            // The last one of all is left to be added later.
            let last = if added == cut.count { count - 1 } else { count };
            self.lacking = 0..last;
            self.add_what_is_lacking();
            self.lacking = last..count;
        }
    }

    /// Completes the total's gradient.
    fn add_what_is_lacking(&mut self) {
        let Accumulator { total, shards, .. } = self;
        for shard in &mut shards[std::mem::take(&mut self.lacking)] {
            if std::mem::take(&mut self.empty) {
                std::mem::swap(&mut total.gradient, &mut shard.gradient);
            } else {
                kernels::add(&mut total.gradient, &shard.gradient);
            }
        }
    }

    /// Elements of all parameters.
    pub(super) fn elements(&self) -> usize {
        self.total.gradient.len()
    }

    /// Hands out the team, until it is [taken back](Accumulator::take_back).
    pub(super) fn lend_team(&mut self) -> Team {
        std::mem::replace(&mut self.team, Team::alone())
    }

    pub(super) fn take_back(&mut self, team: Team) {
        self.team = team;
    }

    /// What the effective batch adds up to.
    pub(crate) fn finish(&mut self) -> &Sums<T> {
        // Asked here, in line: the shortest steps lack nothing.
        if !self.lacking.is_empty() {
            self.add_what_is_lacking();
        }
        if self.empty {
            self.total.gradient.fill(T::zero());
        }
        &self.total
    }

    /// The sum of the effective batch's losses and weights.
    pub(super) fn value(&self) -> LossSum {
        *self.total.value
    }

    /// Whether threads may share steps.
    pub(super) fn may_share_steps(&self) -> bool {
        self.shared_step.is_some()
    }

    /// The plain step that was to follow, if it has been made.
    pub(super) fn plain_step(&mut self) -> Option<&mut SharedStep<T>> {
        self.shared_step.as_mut().filter(|step| step.has_plain_step())
    }

    /// What threads have made of the step to come.
    pub(super) fn made(&self) -> Option<&SharedStep<T>> {
        self.shared_step.as_ref().filter(|step| step.has_gradient())
    }

    /// The square of the norm of the mean gradient that the parameters have got.
    pub(super) fn squared_grad_norm(&self, parameters: &[Parameter<T>]) -> f64 {
        self.made().map_or_else(|| squared_grad_norm(parameters), |step| step.squared_grad_norm(parameters))
    }

    /// Puts the mean gradient of the effective batch, whose weight is not 0, in place of that of the parameters. Once for a
    /// batch.
    pub(super) fn replace_gradients(&mut self, parameters: &mut [Parameter<T>]) -> Result<()> {
        let Accumulator { total, empty, lacking, shards, shared_step, .. } = self;
        let (weight, shards) = (T::from_f64(total.value.weight), &shards[lacking.clone()]);
        if let Some(step) = shared_step.as_mut().filter(|step| step.has_gradient()) {
            let before = (!*empty).then_some(&*total);
            return step.replace_gradients(parameters, |part, start| put_sum(part, before, shards, start), weight);
        }
        match shards {
            [] => replace_gradients(parameters, &total.gradient, weight),
            [last] => replace_gradients_of_sum(parameters, [&total.gradient, &last.gradient], weight),
            _ => unreachable!("more are left to be added only where the gradient has been made"),
        }
    }

    /// The sum of losses and weights of rows, with nothing but the forward pass; the same bits on any number of threads.
    pub(crate) fn loss_sum<M, L>(&mut self, problem: &Problem<'_, T, M, L>, rows: RowIndex<'_>) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let mut chunks = vec![LossSum::default(); rows.len().div_ceil(LOSS_ROWS)];
        let threads = self.team.threads().min(chunks.len()).max(1);
        self.team.share(&mut self.scratch[..threads], &mut chunks, &|scratch, first, chunks| {
            for (index, chunk) in (first..).zip(chunks) {
                *chunk = scratch.loss_of(problem, rows.part(index * LOSS_ROWS, (index + 1) * LOSS_ROWS));
            }
        });
        chunks.into_iter().fold(LossSum::default(), |sum, chunk| sum + chunk)
    }
}

/// Whether so many multiplications are worth calling so many threads.
pub(super) fn calls_for(team: &mut Team, threads: usize, work: usize) -> bool {
    threads > 1
        && match work {
            LARGE_WORK.. => true,
            SURE_WORK.. => team.is_worth_calling(),
            PARALLEL_WORK.. => team.is_worth_calling_for_little(),
            _ => false,
        }
}

/// The mean loss of all rows, with nothing but the forward pass; the same bits on any number of threads.
///
/// # Panics
/// If the system starts no thread.
pub fn mean_loss<T, M, L>(model: &M, loss: &L, data: &Dataset<T>) -> f64
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    let threads = Workload::losses(parameter_count(model.parameters()), data.rows()).threads(0);
    let mut accumulator = Accumulator::new(model, threads, 0).expect("threads can be started");
    let problem = Problem { model, loss, samples: &Samples::of(data) };
    let sum = accumulator.loss_sum(&problem, RowIndex::range(0, data.rows()));
    sum.mean()
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
