//! What watching a run costs while nothing is wrong: the same training with and without, in turns.
//!
//! The two are timed in pairs, one right after the other and in changing order, so that a machine that slows down slows
//! both down; the ratio is the median over the pairs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use gradus::train::{BatchSize, TrainConfig, Trainer};
use gradus::{Dataset, Linear, Mse, SgdConfig};
use ndarray::Array2;

/// A training run to measure.
struct Case {
    name: &'static str,
    data: Dataset<f64>,
    config: TrainConfig,
}

fn cases() -> [Case; 2] {
    let config = |epochs, batch_size| TrainConfig { epochs, batch_size, threads: 1, ..TrainConfig::default() };
    [
        Case { name: "20000x20-batch-256", data: plane(20_000, 20), config: config(5, BatchSize::Rows(256)) },
        Case { name: "100x1-full", data: plane(100, 1), config: config(2_000, BatchSize::Full) },
    ]
}

/// A plane with a little noise, which a run neither leaves nor reaches.
fn plane(rows: usize, columns: usize) -> Dataset<f64> {
    let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729 + i * i % 1009 * 31) % 2003) as f64 / 1001.0 - 1.0;
    let x = Array2::from_shape_fn((rows, columns), |(i, j)| noise(i, j));
    let y = Array2::from_shape_fn((rows, 1), |(i, _)| x.row(i).sum() + 0.1 * noise(i, columns + 1));
    Dataset::with_values(x, y).expect("finite numbers")
}

fn run(case: &Case, watch: bool) -> f64 {
    let mut model = Linear::new(case.data.features().ncols(), 1);
    let mut sgd = SgdConfig::new(0.05).build().expect("a valid rate");
    let config = TrainConfig { watch, ..case.config.clone() };
    let trainer = Trainer::new(config).expect("valid settings");
    trainer.fit(&mut model, &Mse, &mut sgd, &case.data).expect("a stable run").loss
}

fn time(case: &Case, watch: bool) -> Duration {
    let started = Instant::now();
    black_box(run(case, watch));
    started.elapsed()
}

fn overhead(criterion: &mut Criterion) {
    const PAIRS: usize = 101;
    for case in cases() {
        let mut group = criterion.benchmark_group(case.name);
        group.sample_size(20);
        group.bench_function("watched", |b| b.iter(|| run(&case, true)));
        group.bench_function("unwatched", |b| b.iter(|| run(&case, false)));
        group.finish();

        let mut pairs: Vec<(f64, f64)> = (0..PAIRS)
            .map(|pair| {
                let (first, second) = (time(&case, pair % 2 == 0), time(&case, pair % 2 == 1));
                let (with, without) = if pair % 2 == 0 { (first, second) } else { (second, first) };
                (with.as_secs_f64(), without.as_secs_f64())
            })
            .collect();
        let mut median = |of: fn(&(f64, f64)) -> f64| {
            pairs.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&pairs[PAIRS / 2])
        };
        let (with, without) = (1e3 * median(|pair| pair.0), 1e3 * median(|pair| pair.1));
        let ratio = median(|pair| pair.0 / pair.1);
        println!("{}: {with:.3} ms watched, {without:.3} ms unwatched, ratio {ratio:.4}\n", case.name);
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
