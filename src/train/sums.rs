//! The one mechanism of training: a gradient is a sum over rows, with the weight it was summed over.
//!
//! An effective batch is cut into shards, always at the same places. Each shard's rows are added to sums that start at
//! zero; the shards' sums are added in their order; the division by the weight comes once, at the end. A shard's sums
//! depend on its rows alone, so neither the micro-batches a window was asked for in nor the threads that add the rows
//! change a bit of the result.

use super::problem::{OneOutput, Problem, Samples, Scratch};
use super::shards::{MOST_SHARDS, PARALLEL_WORK, Shards};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels::{self, Aligned, Apart, RowIndex, Team};
use crate::loss::{Loss, LossSum};
use crate::model::{Model, parameter_count, replace_gradients, replace_gradients_of_sum};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// The multiplications from which a batch takes so long that threads are called on even where they come late.
const LARGE_WORK: usize = 4_000_000;

/// Bytes for the sums of the shards of a round.
const ROUND_BYTES: usize = 4 << 20;

/// Of as many threads as were `asked` for, 0 for all, those that effective batches of `batch` rows are to be shared among
/// while `busy` others read the rows: a batch of microseconds is done before a helper has got its processor back. 0 is still
/// all.
pub(crate) fn threads_beside<T, M>(busy: usize, asked: usize, model: &M, batch: usize) -> usize
where
    T: Scalar,
    M: Model<T> + ?Sized,
{
    let large = batch.saturating_mul(parameter_count(model.parameters())) >= LARGE_WORK;
    if busy == 0 || large { asked } else { given_or_all(asked).saturating_sub(busy).max(1) }
}

/// So many threads; 0: one for each processor, which takes some time to find out.
fn given_or_all(threads: usize) -> usize {
    if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads }
}

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

    fn clear(&mut self) {
        self.gradient.fill(T::zero());
        *self.value = LossSum::default();
    }
}

/// Adds up the rows of one effective batch after another.
#[derive(Debug)]
pub(crate) struct Accumulator<T> {
    total: Sums<T>,
    /// Whether nothing has been added to the total.
    empty: bool,
    /// The shard of the last round whose gradient the total still lacks: it is added on the way to where it is needed.
    lacking: Option<usize>,
    /// Those of the last rows that were added: divisions count in a step of 100 ns.
    cut: Shards,
    /// The sums of the shards of a round.
    shards: Vec<Sums<T>>,
    /// One for each thread.
    scratch: Vec<Apart<Scratch<T>>>,
    team: Team,
}

impl<T: Scalar> Accumulator<T> {
    /// For a model, `rows` rows of data and effective batches of `batch` of them, on this many threads; 0: all. Data too
    /// small for threads get one.
    pub(crate) fn new<M: Model<T> + ?Sized>(model: &M, threads: usize, rows: usize, batch: usize) -> Result<Self> {
        let parameters = parameter_count(model.parameters());
        let threads = match threads {
            _ if rows.saturating_mul(parameters) < PARALLEL_WORK => 1,
            given => given_or_all(given),
        };
        // More than the shards of a batch have nothing to do.
        let threads = threads.min(MOST_SHARDS);
        let team = Team::new(threads)
            .map_err(|error| Error::setting("threads", format!("{threads} cannot be started: {error}")))?;
        let cut = Shards::new(batch, parameters);
        let in_a_round =
            (ROUND_BYTES / (parameters * size_of::<T>()).max(1)).clamp(threads, MOST_SHARDS).min(cut.count);
        let scratch = || Apart(Scratch::new(model.inputs(), model.outputs()));
        Ok(Accumulator {
            total: Sums::zero(parameters),
            empty: true,
            lacking: None,
            cut,
            shards: (0..in_a_round).map(|_| Sums::zero(parameters)).collect(),
            scratch: (0..threads).map(|_| scratch()).collect(),
            team,
        })
    }

    /// Whether an effective batch of so many rows is one shard.
    pub(crate) fn is_one_shard(&self, rows: usize) -> bool {
        Shards::new(rows, self.total.gradient.len()).count == 1
    }

    /// An effective batch of one pass, over rows that [are one shard](Accumulator::is_one_shard).
    #[inline(always)]
    pub(super) fn sum_one_shard(&mut self, pass: &OneOutput<'_, T>, layer: [&[T]; 2]) {
        debug_assert!(self.lacking.is_none(), "a batch was begun");
        let Sums { gradient, value } = &mut self.total;
        **value = pass.sum(layer, gradient);
        self.empty = false;
    }

    /// Starts an effective batch.
    pub(crate) fn begin(&mut self) {
        self.empty = true;
        self.lacking = None;
    }

    /// Adds rows, in shards of their own. `ahead` are the rows that will be added next, as far as they are known.
    pub(crate) fn add<M, L>(&mut self, problem: &Problem<'_, T, M, L>, rows: RowIndex<'_>, ahead: RowIndex<'_>)
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        self.add_what_is_lacking();
        let parameters = self.total.gradient.len();
        if rows.len() != self.cut.rows {
            self.cut = Shards::new(rows.len(), parameters);
        }
        let cut = self.cut;
        let work = rows.len() * parameters;
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
            let threads = if self.calls_for(threads, work) { threads } else { 1 };
            let problem = *problem;
            let shards = &mut self.shards[..count];
            self.team.share(&mut self.scratch[..threads], shards, &move |scratch, first, shards| {
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
            });
            added += count;
            for (place, sums) in self.shards[..count].iter_mut().enumerate() {
                if self.empty {
                    std::mem::swap(&mut self.total, sums);
                    self.empty = false;
                    continue;
                }
                *self.total.value += *sums.value;
                if added == cut.count && place + 1 == count {
                    self.lacking = Some(place);
                } else {
                    kernels::add(&mut self.total.gradient, &sums.gradient);
                }
            }
        }
    }

    fn add_what_is_lacking(&mut self) {
        if let Some(place) = self.lacking.take() {
            kernels::add(&mut self.total.gradient, &self.shards[place].gradient);
        }
    }

    /// Whether so many multiplications are worth calling so many threads.
    fn calls_for(&mut self, threads: usize, work: usize) -> bool {
        threads > 1 && (work >= LARGE_WORK || (work >= PARALLEL_WORK && self.team.is_worth_calling()))
    }

    /// What the effective batch adds up to.
    pub(crate) fn finish(&mut self) -> &Sums<T> {
        if self.empty {
            self.total.clear();
        }
        self.add_what_is_lacking();
        &self.total
    }

    /// The sum of the effective batch's losses and weights.
    pub(super) fn value(&self) -> LossSum {
        if self.empty { LossSum::default() } else { *self.total.value }
    }

    /// Puts the mean gradient of the effective batch, whose weight is not 0, in place of that of the parameters.
    pub(super) fn replace_gradients(&self, parameters: &mut [Parameter<T>]) -> Result<()> {
        let (sum, weight) = (&self.total.gradient, T::from_f64(self.total.value.weight));
        match self.lacking {
            None => replace_gradients(parameters, sum, weight),
            Some(place) => replace_gradients_of_sum(parameters, [sum, &self.shards[place].gradient], weight),
        }
    }

    /// The sum of losses and weights of rows, with nothing but the forward pass; the same bits on any number of threads.
    pub(crate) fn loss_sum<M, L>(&mut self, problem: &Problem<'_, T, M, L>, rows: RowIndex<'_>) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        const CHUNK: usize = 4096;
        let mut chunks = vec![LossSum::default(); rows.len().div_ceil(CHUNK)];
        let threads = self.team.threads().min(chunks.len()).max(1);
        self.team.share(&mut self.scratch[..threads], &mut chunks, &|scratch, first, chunks| {
            for (index, chunk) in (first..).zip(chunks) {
                *chunk = scratch.loss_of(problem, rows.part(index * CHUNK, (index + 1) * CHUNK));
            }
        });
        chunks.into_iter().fold(LossSum::default(), |sum, chunk| sum + chunk)
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
    let mut accumulator = Accumulator::new(model, 0, data.rows(), 1).expect("threads can be started");
    let problem = Problem { model, loss, samples: &Samples::of(data) };
    let sum = accumulator.loss_sum(&problem, RowIndex::range(0, data.rows()));
    sum.loss / sum.weight
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
