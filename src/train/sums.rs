//! The one mechanism of training: a gradient is a sum over rows, with the weight it was summed over.
//!
//! An effective batch is cut into shards, always at the same places. Each shard's rows are added to sums that start at
//! zero; the shards' sums are added in their order; the division by the weight comes once, at the end. A shard's sums
//! depend on its rows alone, so neither the micro-batches a window was asked for in nor the threads that add the rows
//! change a bit of the result.

use std::sync::{Mutex, PoisonError};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels::{self, RowIndex, Rows, Team};
use crate::loss::{Loss, LossSum, Targets};
use crate::model::{Model, parameter_count};
use crate::scalar::Scalar;

/// The least rows of a shard, and the least multiplications of one: enough to make up for starting and adding its sums.
const SHARD_ROWS: usize = 64;
const SHARD_WORK: usize = 6_400;

/// The most shards of an effective batch.
const MOST_SHARDS: usize = 64;

/// The multiplications of a batch below which threads cost more than they bring.
const PARALLEL_WORK: usize = 6_000;

/// The multiplications from which a batch takes so long that threads are called on even where they come late.
const LARGE_WORK: usize = 4_000_000;

/// Bytes of features that are read from memory once and then from the cache: a tile of rows goes forward and back before
/// the next.
const TILE_BYTES: usize = 64 * 1024;
const TILE_ROWS: (usize, usize) = (16, 256);

/// Bytes for the sums of the shards of a round.
const ROUND_BYTES: usize = 4 << 20;

/// Rows in each shard of an effective batch of `rows`, for `parameters` parameters; the last may have fewer.
fn shard_rows(rows: usize, parameters: usize) -> usize {
    evenly(rows, rows.div_ceil(MOST_SHARDS).max(SHARD_WORK / parameters.max(1)).max(SHARD_ROWS))
}

/// The least rows of which no more pieces are needed than of `most`: pieces of about one length.
fn evenly(rows: usize, most: usize) -> usize {
    if rows <= most { rows.max(1) } else { rows.div_ceil(rows.div_ceil(most)) }
}

/// What a set of rows adds up to.
#[derive(Debug, Clone)]
pub(crate) struct Sums<T> {
    /// The gradient of all parameters, one after another.
    pub gradient: Vec<T>,
    pub loss: f64,
    pub weight: f64,
}

impl<T: Scalar> Sums<T> {
    fn zero(parameters: usize) -> Self {
        Sums { gradient: zeros(parameters), loss: 0.0, weight: 0.0 }
    }

    fn clear(&mut self) {
        self.gradient.fill(T::zero());
        self.loss = 0.0;
        self.weight = 0.0;
    }

    fn add(&mut self, other: &Sums<T>) {
        kernels::add(&mut self.gradient, &other.gradient);
        self.loss += other.loss;
        self.weight += other.weight;
    }
}

/// A model, its loss, and the rows they are applied to.
pub(crate) struct Problem<'a, 't, T, M: ?Sized, L: ?Sized> {
    pub model: &'a M,
    pub loss: &'a L,
    pub data: &'a Dataset<T>,
    pub targets: &'a Targets<'t, T>,
}

impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Problem<'_, '_, T, M, L> {
    fn rows<'b>(&'b self, index: RowIndex<'b>, ahead: RowIndex<'b>) -> Rows<'b, T> {
        let features = self.data.features();
        Rows::new(features.to_slice().expect("kept in standard layout"), features.ncols(), index).ahead(ahead)
    }

    /// Adds the gradient of rows of a linear model with one output, and returns the sum of their losses, where that is
    /// done in one pass.
    fn one_output(&self, index: RowIndex<'_>, ahead: RowIndex<'_>, gradient: &mut [T]) -> Option<f64> {
        if self.model.outputs() != 1 {
            return None;
        }
        let (layer, loss) = (self.model.linear_layer()?, self.loss.output_loss()?);
        let targets = self.targets.unweighted_values()?;
        // A layer that is not all there is goes the long way.
        let [weight, bias] = layer;
        if weight.len() != self.model.inputs() || weight.len() + bias.len() != gradient.len() {
            return None;
        }
        let gradient = gradient.split_at_mut(self.model.inputs()).into();
        Some(kernels::linear_loss(&self.rows(index, ahead), layer, targets, loss, gradient))
    }
}

/// One thread's room to work in.
#[derive(Debug)]
struct Scratch<T> {
    /// `[tile, outputs]`.
    logits: Vec<T>,
    output_gradient: Vec<T>,
    /// Rows of a tile.
    tile: usize,
    outputs: usize,
}

impl<T: Scalar> Scratch<T> {
    fn new(inputs: usize, outputs: usize) -> Self {
        let row_bytes = (inputs * size_of::<T>()).max(1);
        let tile = (TILE_BYTES / row_bytes).clamp(TILE_ROWS.0, TILE_ROWS.1);
        let room = || zeros(tile * outputs);
        Scratch { logits: room(), output_gradient: room(), tile, outputs }
    }

    /// Adds rows to sums, and asks memory for those ahead.
    fn add_rows<M, L>(
        &mut self,
        problem: &Problem<'_, '_, T, M, L>,
        rows: RowIndex<'_>,
        ahead: RowIndex<'_>,
        sums: &mut Sums<T>,
    ) where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        if let Some(value) = problem.one_output(rows, ahead, &mut sums.gradient) {
            sums.loss += value;
            sums.weight += rows.len() as f64;
            return;
        }
        let Sums { loss, gradient, weight } = sums;
        let tile = evenly(rows.len(), self.tile);
        self.each_tile(problem, rows, ahead, tile, |input, output_gradient, value| {
            problem.model.backward_rows(input, output_gradient, gradient);
            *loss += value.loss;
            *weight += value.weight;
        });
    }

    /// The loss of rows, with nothing but the forward pass.
    fn loss_of<M, L>(&mut self, problem: &Problem<'_, '_, T, M, L>, rows: RowIndex<'_>) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let mut sum = LossSum::default();
        self.each_tile(problem, rows, RowIndex::NONE, self.tile, |_, _, value| {
            sum.loss += value.loss;
            sum.weight += value.weight;
        });
        sum
    }

    /// Takes rows forward to their losses, `tile` at a time, and hands on each tile, what comes back to its outputs, and
    /// its loss. `ahead` are the rows after these.
    fn each_tile<M, L>(
        &mut self,
        problem: &Problem<'_, '_, T, M, L>,
        rows: RowIndex<'_>,
        ahead: RowIndex<'_>,
        tile: usize,
        mut f: impl FnMut(&Rows<'_, T>, &[T], LossSum),
    ) where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let mut place = 0;
        while place < rows.len() {
            let now = rows.part(place, place + tile);
            place += now.len();
            let next = rows.part(place, place + tile);
            let input = problem.rows(now, if next.is_empty() { ahead } else { next });
            let logits = &mut self.logits[..now.len() * self.outputs];
            let output_gradient = &mut self.output_gradient[..now.len() * self.outputs];
            problem.model.forward_rows(&input, logits);
            let value = problem.loss.weighted_rows(logits, problem.targets, now, output_gradient);
            f(&input, output_gradient, value);
        }
    }
}

/// Adds up the rows of one effective batch after another.
#[derive(Debug)]
pub(crate) struct Accumulator<T> {
    total: Sums<T>,
    /// Whether nothing has been added to the total.
    empty: bool,
    /// The last number of rows that were added, and the rows of their shards: divisions count in a step of 100 ns.
    shard_of: (usize, usize),
    /// The sums of the shards of a round.
    shards: Vec<Apart<Sums<T>>>,
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
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        // More than the shards of a batch have nothing to do.
        let threads = threads.min(MOST_SHARDS);
        let team = Team::new(threads)
            .map_err(|error| Error::setting("threads", format!("{threads} cannot be started: {error}")))?;
        let shards = batch.div_ceil(shard_rows(batch, parameters));
        let in_a_round = (ROUND_BYTES / (parameters * size_of::<T>()).max(1)).clamp(threads, MOST_SHARDS).min(shards);
        let scratch = || Apart::new(Scratch::new(model.inputs(), model.outputs()));
        Ok(Accumulator {
            total: Sums::zero(parameters),
            empty: true,
            shard_of: (0, 1),
            shards: (0..in_a_round).map(|_| Apart::new(Sums::zero(parameters))).collect(),
            scratch: (0..threads).map(|_| scratch()).collect(),
            team,
        })
    }

    /// Starts an effective batch.
    pub(crate) fn begin(&mut self) {
        self.empty = true;
    }

    /// Adds rows, in shards of their own. `ahead` are the rows that will be added next, as far as they are known.
    pub(crate) fn add<M, L>(&mut self, problem: &Problem<'_, '_, T, M, L>, rows: RowIndex<'_>, ahead: RowIndex<'_>)
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let parameters = self.total.gradient.len();
        if rows.len() != self.shard_of.0 {
            self.shard_of = (rows.len(), shard_rows(rows.len(), parameters));
        }
        let shard = self.shard_of.1;
        let work = rows.len() * parameters;
        if rows.len() <= shard && self.empty {
            // The only shard: its sums are the total.
            self.total.clear();
            self.empty = false;
            return own(&mut self.scratch[0]).add_rows(problem, rows, ahead, &mut self.total);
        }
        let round = self.shards.len() * shard;
        let mut place = 0;
        while place < rows.len() {
            let now = rows.part(place, place + round);
            place += now.len();
            let count = now.len().div_ceil(shard);
            let pays = work >= LARGE_WORK || (work >= PARALLEL_WORK && self.team.is_worth_calling());
            let threads = if pays { self.team.threads().min(count) } else { 1 };
            let (shards, scratch) = (&self.shards[..count], &self.scratch);
            let share = move |thread: usize| {
                // Each thread takes neighbouring shards, and knows which it takes next.
                let (first, last) = ((thread * count).div_ceil(threads), ((thread + 1) * count).div_ceil(threads));
                let mut scratch = lock(&scratch[thread]);
                for (index, sums) in shards.iter().enumerate().take(last).skip(first) {
                    let mut sums = lock(sums);
                    sums.clear();
                    let own = now.part(index * shard, (index + 1) * shard);
                    let next = if index + 1 < last {
                        now.part((index + 1) * shard, (index + 2) * shard)
                    } else {
                        ahead.part(first * shard, (first + 1) * shard)
                    };
                    scratch.add_rows(problem, own, next, &mut sums);
                }
            };
            if threads == 1 {
                share(0);
            } else {
                self.team.run(threads, &share);
            }
            for sums in &mut self.shards[..count] {
                let sums = own(sums);
                if self.empty {
                    std::mem::swap(&mut self.total, sums);
                    self.empty = false;
                } else {
                    self.total.add(sums);
                }
            }
        }
    }

    /// Ends the effective batch.
    pub(crate) fn finish(&mut self) -> &Sums<T> {
        if self.empty {
            self.total.clear();
        }
        &self.total
    }

    /// The sum of losses and weights of rows, with nothing but the forward pass; the same bits on any number of threads.
    pub(crate) fn loss_sum<M, L>(&mut self, problem: &Problem<'_, '_, T, M, L>, rows: RowIndex<'_>) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        const CHUNK: usize = 4096;
        let chunks: Vec<Apart<LossSum>> =
            (0..rows.len().div_ceil(CHUNK)).map(|_| Apart::new(LossSum::default())).collect();
        let (threads, scratch) = (self.team.threads(), &self.scratch);
        self.team.run(threads, &|thread| {
            let mut scratch = lock(&scratch[thread]);
            for (index, chunk) in chunks.iter().enumerate().skip(thread).step_by(threads) {
                *lock(chunk) = scratch.loss_of(problem, rows.part(index * CHUNK, (index + 1) * CHUNK));
            }
        });
        chunks.into_iter().fold(LossSum::default(), |sum, chunk| {
            let chunk = chunk.0.into_inner().unwrap_or_else(PoisonError::into_inner);
            LossSum { loss: sum.loss + chunk.loss, weight: sum.weight + chunk.weight }
        })
    }
}

/// What one thread works on while others work on theirs, on cache lines of its own: threads that write to one line wait for
/// each other.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<S>(Mutex<S>);

impl<S> Apart<S> {
    fn new(value: S) -> Self {
        Apart(Mutex::new(value))
    }
}

/// So many zeros, with no line in common with what is allocated after them.
fn zeros<T: Scalar>(count: usize) -> Vec<T> {
    let mut zeros = Vec::with_capacity(count + align_of::<Apart<T>>() / size_of::<T>());
    zeros.resize(count, T::zero());
    zeros
}

/// What only one thread uses at a time is never waited for.
fn lock<S>(apart: &Apart<S>) -> std::sync::MutexGuard<'_, S> {
    apart.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own<S>(apart: &mut Apart<S>) -> &mut S {
    apart.0.get_mut().unwrap_or_else(PoisonError::into_inner)
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
    let problem = Problem { model, loss, data, targets: &data.targets() };
    let sum = accumulator.loss_sum(&problem, RowIndex::Range { start: 0, len: data.rows() });
    sum.loss / sum.weight
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
