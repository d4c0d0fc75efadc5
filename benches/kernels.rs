//! The inner loops over the rows of a matrix that fits into the cache, beside a plain read of it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::kernels;

mod limit;

const ROWS: usize = 4_096;

fn rows_of(columns: usize) -> Vec<f32> {
    let mut noise = limit::Noise(1);
    (0..ROWS * columns).map(|_| noise.number()).collect()
}

/// The two halves of a step with one output.
fn one_output(criterion: &mut Criterion) {
    const COLUMNS: usize = 100;
    let (x, weight) = (rows_of(COLUMNS), vec![0.5; COLUMNS]);
    let mut group = criterion.benchmark_group("one output, rows of 100");
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function("plain read", |b| b.iter(|| limit::read(black_box(&x))));
    group.bench_function("dot", |b| {
        b.iter(|| x.chunks_exact(COLUMNS).map(|row| kernels::dot(row, black_box(&weight))).sum::<f32>());
    });
    let mut gradient = vec![0.0; COLUMNS];
    group.bench_function("add_scaled", |b| {
        b.iter(|| {
            gradient.fill(0.0);
            x.chunks_exact(COLUMNS).for_each(|row| kernels::add_scaled(&mut gradient, black_box(0.5), row));
            black_box(&gradient);
        });
    });
}

/// Logits to probabilities.
fn softmax(criterion: &mut Criterion) {
    const CLASSES: usize = 10;
    let logits = rows_of(CLASSES);
    let mut probabilities = [0.0; CLASSES];
    let mut group = criterion.benchmark_group("softmax, rows of 10");
    group.throughput(Throughput::Bytes(size_of_val(&logits[..]) as u64));
    group.bench_function("plain read", |b| b.iter(|| limit::read(black_box(&logits))));
    group.bench_function("softmax", |b| {
        b.iter(|| {
            for row in logits.chunks_exact(CLASSES) {
                black_box(kernels::softmax(row, &mut probabilities));
            }
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = one_output, softmax
}
criterion_main!(benches);
