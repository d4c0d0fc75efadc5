//! The one mechanism of training: a gradient is a sum over rows, with the weight it was summed over.
//!
//! An effective batch is cut into shards, always at the same places. Each shard's rows are added one after another to
//! sums that start at zero; the shards' sums are added in their order; the division by the weight comes once, at the
//! end. A shard's sums depend on its rows alone, so neither the micro-batches in which rows arrive nor the threads that
//! add them change a bit of the result.

use rayon::prelude::*;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels;
use crate::loss::{Loss, Targets};
use crate::model::{Model, parameter_count};
use crate::scalar::Scalar;

/// The least rows of a shard: enough to make up for starting and adding its sums.
const SHARD_ROWS: usize = 64;

/// The most shards of an effective batch.
const MOST_SHARDS: usize = 64;

/// The multiplications below which threads cost more than they bring.
const PARALLEL_WORK: usize = 200_000;

/// Rows in each shard of an effective batch of `rows`; the last may have fewer.
fn shard_rows(rows: usize) -> usize {
    rows.div_ceil(MOST_SHARDS).max(SHARD_ROWS)
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
        Sums { gradient: vec![T::zero(); parameters], loss: 0.0, weight: 0.0 }
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

/// One thread's sums and scratch space.
#[derive(Debug)]
struct Worker<T> {
    sums: Sums<T>,
    logits: Vec<T>,
    output_gradient: Vec<T>,
}

impl<T: Scalar> Worker<T> {
    fn add_rows<M, L>(&mut self, model: &M, loss: &L, data: &Dataset<T>, targets: &Targets<'_, T>, rows: &[u32])
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        for &row in rows {
            let row = row as usize;
            let input = data.row(row);
            model.forward_row(input, &mut self.logits);
            let value = loss.weighted_row(&self.logits, targets, row, &mut self.output_gradient);
            model.backward_row(input, &self.output_gradient, &mut self.sums.gradient);
            self.sums.loss += value.loss.as_f64();
            self.sums.weight += value.weight.as_f64();
        }
    }
}

/// Adds up the rows of one effective batch after another.
#[derive(Debug)]
pub(crate) struct Accumulator<T> {
    total: Sums<T>,
    workers: Vec<Worker<T>>,
    pool: Option<rayon::ThreadPool>,
    /// Rows of this effective batch, of each of its shards, and those added so far.
    batch: usize,
    shard: usize,
    done: usize,
}

impl<T: Scalar> Accumulator<T> {
    /// For a model, on this many threads; 0: all.
    pub(crate) fn new<M: Model<T> + ?Sized>(model: &M, threads: usize) -> Result<Self> {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        // More than the shards of a batch have nothing to do.
        let threads = if threads == 0 { available } else { threads }.min(MOST_SHARDS);
        let parameters = parameter_count(model.parameters());
        let worker = || Worker {
            sums: Sums::zero(parameters),
            logits: vec![T::zero(); model.outputs()],
            output_gradient: vec![T::zero(); model.outputs()],
        };
        let pool = if threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            Some(pool.map_err(|error| Error::setting("threads", format!("{threads} cannot be started: {error}")))?)
        } else {
            None
        };
        let workers = (0..threads).map(|_| worker()).collect();
        Ok(Accumulator { total: Sums::zero(parameters), workers, pool, batch: 0, shard: 1, done: 0 })
    }

    /// Starts an effective batch of `rows` rows.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.total.clear();
        self.batch = rows;
        self.shard = shard_rows(rows);
        self.done = 0;
    }

    /// Adds the rows of a micro-batch. An open shard goes on where it stopped, row after row.
    pub(crate) fn add<M, L>(
        &mut self,
        model: &M,
        loss: &L,
        data: &Dataset<T>,
        targets: &Targets<'_, T>,
        mut rows: &[u32],
    ) where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let parallel = self.pool.is_some() && rows.len() * self.total.gradient.len() >= PARALLEL_WORK;
        while !rows.is_empty() {
            // A round: the rest of the open shard, and a shard for each further worker.
            let open = self.done % self.shard;
            let first = (self.shard - open).min(rows.len());
            let further = (rows.len() - first).div_ceil(self.shard);
            let busy = if parallel { (1 + further).min(self.workers.len()) } else { 1 };
            let (now, later) = rows.split_at((first + (busy - 1) * self.shard).min(rows.len()));
            let shard = self.shard;
            let work = |(index, worker): (usize, &mut Worker<T>)| {
                let start = if index == 0 { 0 } else { first + (index - 1) * shard };
                let end = (first + index * shard).min(now.len());
                if index > 0 || open == 0 {
                    worker.sums.clear();
                }
                worker.add_rows(model, loss, data, targets, &now[start..end]);
            };
            let workers = &mut self.workers[..busy];
            match &self.pool {
                Some(pool) if busy > 1 => pool.install(|| workers.par_iter_mut().enumerate().for_each(work)),
                _ => workers.iter_mut().enumerate().for_each(work),
            }
            self.done += now.len();
            rows = later;
            // Every shard of the round is complete but perhaps the last, which then is the first of the next round.
            let complete = if self.done % self.shard == 0 { busy } else { busy - 1 };
            for worker in &self.workers[..complete] {
                self.total.add(&worker.sums);
            }
            if complete < busy {
                self.workers.swap(0, complete);
            }
        }
    }

    /// Ends the effective batch: all its rows must have been added.
    pub(crate) fn finish(&mut self) -> &mut Sums<T> {
        debug_assert_eq!(self.done, self.batch);
        if self.done % self.shard != 0 {
            self.total.add(&self.workers[0].sums);
            self.done = 0;
        }
        &mut self.total
    }
}

impl<T: Scalar> Accumulator<T> {
    /// [`mean_loss`] on the accumulator's threads.
    pub(crate) fn mean_loss<M, L>(&self, model: &M, loss: &L, data: &Dataset<T>) -> f64
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        match &self.pool {
            Some(pool) => pool.install(|| mean_loss(model, loss, data)),
            None => mean_of_chunks(model, loss, data, |starts, chunk| starts.iter().map(|&s| chunk(s)).collect()),
        }
    }
}

/// The mean loss of all rows, with nothing but the forward pass, on all threads; the same bits on any number of them.
pub fn mean_loss<T, M, L>(model: &M, loss: &L, data: &Dataset<T>) -> f64
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    mean_of_chunks(model, loss, data, |starts, chunk| starts.par_iter().map(|&start| chunk(start)).collect())
}

/// The sum of losses and of weights of the rows from a start on.
type Chunk<'a> = &'a (dyn Fn(usize) -> (f64, f64) + Sync);

/// The mean loss, by chunks of rows that `each` may take in any order and must return in theirs.
fn mean_of_chunks<T, M, L>(
    model: &M,
    loss: &L,
    data: &Dataset<T>,
    each: impl Fn(&[usize], Chunk<'_>) -> Vec<(f64, f64)>,
) -> f64
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    const CHUNK: usize = 4096;
    let targets = data.targets();
    let chunk = |start: usize| {
        let mut logits = vec![T::zero(); model.outputs()];
        let mut gradient = logits.clone();
        let (mut sum, mut weight) = (0.0, 0.0);
        for row in start..(start + CHUNK).min(data.rows()) {
            model.forward_row(data.row(row), &mut logits);
            let value = loss.weighted_row(&logits, &targets, row, &mut gradient);
            sum += value.loss.as_f64();
            weight += value.weight.as_f64();
        }
        (sum, weight)
    };
    let starts: Vec<usize> = (0..data.rows()).step_by(CHUNK).collect();
    let (sum, weight) = each(&starts, &chunk).iter().fold((0.0, 0.0), |(s, w), part| (s + part.0, w + part.1));
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{CrossEntropy, Mse};
    use crate::model::{Init, Linear};
    use ndarray::Array2;
    use proptest::prelude::*;

    fn data(rows: usize, features: usize) -> Dataset<f64> {
        let x = Array2::from_shape_fn((rows, features), |(i, j)| ((i * 37 + j * 11) % 101) as f64 / 7.3 - 5.0);
        let classes = (0..rows).map(|i| i % 3).collect();
        let weights = (0..rows).map(|i| 0.1 + (i % 7) as f64).collect();
        Dataset::with_classes(x, classes).unwrap().weighted(weights).unwrap()
    }

    /// The sums of all rows, in micro-batches that end at the given rows.
    fn sums(data: &Dataset<f64>, threads: usize, ends: &[usize]) -> (Vec<f64>, f64, f64) {
        let model = Linear::new(data.features().ncols(), 3).initialized(Init::Uniform { seed: 1 });
        let mut accumulator = Accumulator::new(&model, threads).unwrap();
        let rows: Vec<u32> = (0..data.rows() as u32).collect();
        accumulator.begin(rows.len());
        let mut start = 0;
        for &end in ends.iter().chain([&rows.len()]) {
            let targets = data.targets();
            accumulator.add(&model, &CrossEntropy::new(), data, &targets, &rows[start..end]);
            start = end;
        }
        let sums = accumulator.finish();
        (sums.gradient.clone(), sums.loss, sums.weight)
    }

    proptest! {
        #[test]
        fn how_a_batch_is_split_changes_no_bit(
            rows in 1..400usize, mut ends in prop::collection::vec(0..400usize, 0..12), threads in 1..5usize
        ) {
            ends.iter_mut().for_each(|end| *end = (*end).min(rows));
            ends.sort_unstable();
            let data = data(rows, 3);
            prop_assert_eq!(sums(&data, threads, &ends), sums(&data, 1, &[]));
        }
    }

    #[test]
    fn threads_change_no_bit_where_they_are_used() {
        // 5000 rows of 40 features and 3 outputs are past the threshold, in 64 shards of 79 rows.
        let data = data(5000, 40);
        let one = sums(&data, 1, &[]);
        for threads in [2, 3, 7] {
            assert_eq!(sums(&data, threads, &[]), one, "{threads} threads");
            assert_eq!(sums(&data, threads, &[1700, 1701, 4999]), one, "{threads} threads, split");
        }
    }

    #[test]
    fn the_mean_loss_is_that_of_the_sums() {
        let data = data(5000, 3);
        let model = Linear::new(3, 3).initialized(Init::Uniform { seed: 1 });
        let (_, loss, weight) = sums(&data, 1, &[]);
        let mean = mean_loss(&model, &CrossEntropy::new(), &data);
        assert!((mean - loss / weight).abs() < 1e-12 * mean, "{mean}");
    }

    #[test]
    fn one_row_is_a_batch_too() {
        let data = Dataset::with_values(ndarray::array![[3.0]], ndarray::array![[5.0]]).unwrap();
        let model = Linear::new(1, 1);
        let mut accumulator = Accumulator::new(&model, 2).unwrap();
        accumulator.begin(1);
        accumulator.add(&model, &Mse, &data, &data.targets(), &[0]);
        let sums = accumulator.finish();
        assert_eq!((sums.gradient.as_slice(), sums.loss, sums.weight), (&[-30.0, -10.0][..], 25.0, 1.0));
    }
}
