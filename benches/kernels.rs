//! The kernels over the rows of a matrix that fits into the cache, beside a plain read of it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::kernels::{self, OutputLoss, RowIndex, RowLabels, RowTargets, Rows, SoftmaxRoom};

mod limit;

const ROWS: usize = 4_096;

/// Rows that go forward and back together.
const TILE: usize = 64;

fn rows_of(columns: usize) -> Vec<f32> {
    let mut noise = limit::Noise(1);
    (0..ROWS * columns).map(|_| noise.number()).collect()
}

/// Every row once, in an order that is not the matrix's.
fn order() -> Vec<u32> {
    (0..ROWS as u32).map(|row| row.wrapping_mul(1_021) % ROWS as u32).collect()
}

/// The two halves of a step, tile after tile.
fn layer(criterion: &mut Criterion, columns: usize, outputs: usize) {
    let (x, weight, bias) = (rows_of(columns), vec![0.5; outputs * columns], vec![0.1; outputs]);
    let order = order();
    let tiles = || order.chunks(TILE).map(|tile| Rows::new(&x, columns, RowIndex::list(tile)));
    let mut logits = vec![0.0; TILE * outputs];
    let mut group = criterion.benchmark_group(format!("{outputs} outputs, rows of {columns}"));
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function("plain read", |b| b.iter(|| limit::read(black_box(&x))));
    group.bench_function("linear_forward", |b| {
        b.iter(|| tiles().for_each(|rows| kernels::linear_forward(&rows, black_box(&weight), &bias, &mut logits)));
    });
    let (mut weight_gradient, mut bias_gradient) = (weight.clone(), bias.clone());
    group.bench_function("linear_backward", |b| {
        b.iter(|| {
            tiles().for_each(|rows| {
                kernels::linear_backward(&rows, black_box(&logits), &mut weight_gradient, &mut bias_gradient);
            });
        });
    });
    if outputs == 1 {
        let targets = vec![0.5; ROWS];
        let targets = RowTargets::new(&targets);
        group.bench_function("linear_loss", |b| {
            b.iter(|| {
                let rows = Rows::new(&x, columns, RowIndex::list(&order));
                let gradient = [&mut weight_gradient[..], &mut bias_gradient[..]];
                kernels::linear_loss(&rows, [black_box(&weight), &bias], targets, OutputLoss::SquaredError, gradient)
            });
        });
    } else {
        let classes: Vec<usize> = (0..ROWS).map(|row| row % outputs).collect();
        let labels = RowLabels::new(&classes);
        let mut room = SoftmaxRoom::default();
        group.bench_function("linear_softmax", |b| {
            b.iter(|| {
                let rows = Rows::new(&x, columns, RowIndex::list(&order));
                let gradient = [&mut weight_gradient[..], &mut bias_gradient[..]];
                kernels::linear_softmax(&rows, outputs, [black_box(&weight), &bias], labels, gradient, &mut room)
            });
        });
    }
}

fn layers(criterion: &mut Criterion) {
    layer(criterion, 100, 1);
    layer(criterion, 28, 3);
    layer(criterion, 784, 10);
}

/// Logits to losses and their gradients.
fn losses(criterion: &mut Criterion) {
    const CLASSES: usize = 10;
    let logits = rows_of(CLASSES);
    let labels: Vec<usize> = (0..ROWS).map(|row| row % CLASSES).collect();
    let targets: Vec<f32> = labels.iter().map(|label| (label % 2) as f32).collect();
    let targets = RowTargets::new(&targets);
    let all = RowIndex::range(0, ROWS);
    let mut gradient = logits.clone();
    let mut group = criterion.benchmark_group("losses, rows of 10 or of 1");
    group.throughput(Throughput::Bytes(size_of_val(&logits[..]) as u64));
    group.bench_function("plain read of 10", |b| b.iter(|| limit::read(black_box(&logits))));
    group.bench_function("softmax_cross_entropy of 10", |b| {
        b.iter(|| kernels::softmax_cross_entropy(black_box(&logits), RowLabels::new(&labels), all, &mut gradient));
    });
    let (one, gradient) = (&logits[..ROWS], &mut gradient[..ROWS]);
    group.throughput(Throughput::Bytes(size_of_val(one) as u64));
    group.bench_function("output_loss of 1, logistic", |b| {
        b.iter(|| {
            kernels::output_loss(black_box(one), targets, all, OutputLoss::Logistic { pos_weight: 1.0 }, gradient)
        });
    });
    group.bench_function("output_loss of 1, squared error", |b| {
        b.iter(|| kernels::output_loss(black_box(one), targets, all, OutputLoss::SquaredError, gradient));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = layers, losses
}
criterion_main!(benches);
