//! One step and one epoch of the trainer, beside a plain read of the same features.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradus::data::zero_matrix;
use gradus::train::{BatchSize, EpochEvent, Observer, RunStart, StepEvent, TrainConfig, Trainer};
use gradus::{CrossEntropy, Dataset, Linear, Loss, Mse, SgdConfig};
use ndarray::Array2;

mod limit;

/// A work's data, loss and batch.
struct Work<'a> {
    data: &'a Dataset<f32>,
    loss: &'a dyn Loss<f32>,
    outputs: usize,
    batch: BatchSize,
}

impl Work<'_> {
    /// The time of so many epochs, with loss and gradient norm of each step seen, and without the loss over all rows
    /// that ends a run.
    fn epochs(&self, epochs: u64) -> Duration {
        let mut model = Linear::new(self.data.features().ncols(), self.outputs);
        let mut sgd = SgdConfig::new(1e-6).build().expect("the settings are in range");
        let config = TrainConfig { epochs: epochs as usize, batch_size: self.batch, ..TrainConfig::default() };
        let mut clock = Clock { started: Instant::now(), elapsed: Duration::ZERO };
        let trainer = Trainer::new(config).expect("the settings are in range").observer(&mut clock);
        trainer.fit(&mut model, self.loss, &mut sgd, self.data).expect("a small learning rate is stable");
        clock.elapsed
    }
}

/// The time from the start of a run to its last epoch's end.
struct Clock {
    started: Instant,
    elapsed: Duration,
}

impl Observer for Clock {
    fn start(&mut self, _: &RunStart) -> gradus::Result<()> {
        self.started = Instant::now();
        Ok(())
    }

    fn step(&mut self, event: &StepEvent) -> gradus::Result<()> {
        black_box((event.loss, event.grad_norm));
        Ok(())
    }

    fn epoch(&mut self, _: &EpochEvent) -> gradus::Result<()> {
        self.elapsed = self.started.elapsed();
        Ok(())
    }
}

fn features(rows: usize, columns: usize) -> Array2<f32> {
    let mut noise = limit::Noise(1);
    let mut features = zero_matrix(rows, columns);
    features.iter_mut().for_each(|x| *x = noise.number());
    features
}

fn regression(rows: usize, columns: usize) -> Dataset<f32> {
    let x = features(rows, columns);
    let y = x.outer_iter().map(|row| row.sum()).collect();
    Dataset::with_values(x, Array2::from_shape_vec((rows, 1), y).expect("a target a row")).expect("finite numbers")
}

fn classes(rows: usize, columns: usize, outputs: usize) -> Dataset<f32> {
    let y = (0..rows).map(|row| row % outputs).collect();
    Dataset::with_classes(features(rows, columns), y).expect("finite numbers")
}

/// One batch again and again: what a step costs when its rows are in the cache.
fn step(criterion: &mut Criterion) {
    let (mse, softmax) = (regression(256, 100), classes(128, 784, 10));
    let works = [
        ("MSE, 256 x 100", Work { data: &mse, loss: &Mse, outputs: 1, batch: BatchSize::Full }),
        (
            "softmax, 128 x 784, 10 classes",
            Work { data: &softmax, loss: &CrossEntropy::new(), outputs: 10, batch: BatchSize::Full },
        ),
    ];
    bench(criterion, "one step", &works);
}

/// All rows once, in a new order, as from memory.
fn epoch(criterion: &mut Criterion) {
    let (mse, softmax) = (regression(50_000, 100), classes(6_000, 784, 10));
    let works = [
        ("MSE, 50,000 x 100, batch 256", Work { data: &mse, loss: &Mse, outputs: 1, batch: BatchSize::Rows(256) }),
        (
            "softmax, 6,000 x 784, 10 classes, batch 128",
            Work { data: &softmax, loss: &CrossEntropy::new(), outputs: 10, batch: BatchSize::Rows(128) },
        ),
    ];
    bench(criterion, "one epoch", &works);
}

fn bench(criterion: &mut Criterion, name: &str, works: &[(&str, Work)]) {
    let mut group = criterion.benchmark_group(name);
    for (title, work) in works {
        let x = work.data.features();
        let x = x.as_slice().expect("rows stand one behind the other");
        group.throughput(Throughput::Bytes(size_of_val(x) as u64));
        group.bench_function(BenchmarkId::new(*title, "plain read"), |b| b.iter(|| limit::read(black_box(x))));
        group.bench_function(BenchmarkId::new(*title, name), |b| b.iter_custom(|epochs| work.epochs(epochs)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = step, epoch
}
criterion_main!(benches);
