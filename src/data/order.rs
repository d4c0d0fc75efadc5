//! In which order rows are visited, and which are held out: functions of the seed alone.

use std::ops::ControlFlow;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::kernels::ShuffledNumbers;

/// The random stream that splits off validation rows; epochs count from 1.
const SPLIT_STREAM: u64 = 0;

/// Writes the order of rows `0..rows` in an epoch (from 1) to `order`: a function of the rows, the seed and the epoch
/// alone.
pub fn permutation(order: &mut Vec<u32>, rows: usize, seed: u64, epoch: usize) {
    put_shuffled(order, rows, &mut generator_of_epoch(seed, epoch));
}

/// The first `count` rows, or all, of the order in epoch 1: a random batch.
pub fn random_rows(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order = Vec::new();
    permutation(&mut order, rows, seed, 1);
    order.into_iter().take(count).map(|row| row as usize).collect()
}

/// Cuts rows `0..rows` into training and validation rows, each in ascending order. `fraction` of them, rounded, but at
/// least one, are for validation; at least one is left for training where there are two.
pub fn split(rows: usize, fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held_out = ((rows as f64 * fraction).round() as usize).clamp(1, rows.saturating_sub(1).max(1));
    let mut order = Vec::new();
    put_shuffled(&mut order, rows, &mut generator(seed, SPLIT_STREAM));
    let mut order: Vec<usize> = order.into_iter().map(|row| row as usize).collect();
    let mut training = order.split_off(held_out.min(rows));
    order.sort_unstable();
    training.sort_unstable();
    (training, order)
}

/// Rows from which on the kernel makes the order. Below it is that of `rand`, of whose orders each is as likely as any
/// other. It takes as long as some twenty columns do.
const MANY: usize = 1 << 15;

/// Writes rows `0..rows` to `order`, shuffled.
pub(super) fn put_shuffled(order: &mut Vec<u32>, rows: usize, rng: &mut impl Rng) {
    if rows < MANY {
        order.clear();
        order.extend(0..rows as u32);
        order.shuffle(rng);
    } else {
        order.resize(rows, 0);
        numbers_of(rows, rng).put_next(order);
    }
}

/// Calls `f` with what [`put_shuffled`] would write, part after part of `part_rows` but for the last, until it breaks off.
/// They are written to `room`: the system takes longer to hand out memory for millions of rows than their order takes. The
/// order of fewer than [`MANY`] is one part.
pub(super) fn each_shuffled_part(
    room: &mut Vec<u32>,
    rows: usize,
    rng: &mut impl Rng,
    part_rows: usize,
    f: &mut dyn FnMut(&[u32]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if rows < MANY {
        put_shuffled(room, rows, rng);
        return f(room).map(drop);
    }
    let mut numbers = numbers_of(rows, rng);
    let mut left = rows;
    while left > 0 {
        room.resize(left.min(part_rows), 0);
        numbers.put_next(room);
        left -= room.len();
        if f(room)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn numbers_of(rows: usize, rng: &mut impl Rng) -> ShuffledNumbers {
    assert!(rows < u32::MAX as usize, "{rows} rows in memory: their numbers must fit 32 bits");
    ShuffledNumbers::new(rows as u32, rng.random())
}

/// What an epoch's order is drawn from.
pub(super) fn generator_of_epoch(seed: u64, epoch: usize) -> ChaCha8Rng {
    generator(seed, epoch as u64)
}

/// A generator whose streams have nothing in common.
fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(rows: usize, seed: u64, epoch: usize) -> Vec<u32> {
        let mut order = Vec::new();
        permutation(&mut order, rows, seed, epoch);
        order
    }

    #[test]
    fn every_row_comes_once_in_an_order_set_by_seed_and_epoch() {
        let mut sorted = order(100, 1, 1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
        assert_eq!(order(100, 1, 1), order(100, 1, 1));
        assert_ne!(order(100, 1, 1), order(100, 1, 2));
        assert_ne!(order(100, 1, 1), order(100, 2, 1));
    }

    #[test]
    fn the_order_is_the_same_on_every_machine_and_version() {
        assert_eq!(order(8, 0, 1), [0, 6, 4, 3, 5, 1, 7, 2]);
    }

    #[test]
    fn long_orders_have_each_row_once() {
        for rows in [MANY - 1, MANY, MANY + 1, MANY + 5_000] {
            let mut rows_in_order = order(rows, 7, 3);
            assert!(rows_in_order != order(rows, 7, 4) && rows_in_order != order(rows, 8, 3));
            rows_in_order.sort_unstable();
            assert!(rows_in_order.into_iter().eq(0..rows as u32), "{rows} rows");
        }
        // The same on every machine and version.
        assert_eq!(order(MANY, 7, 3)[..4], [24_671, 27_316, 18_523, 25_826]);
    }

    #[test]
    fn parts_make_the_order_of_the_whole() {
        for (rows, part_rows, lengths) in
            [(MANY - 1, 9, vec![MANY - 1]), (MANY, 30_000, vec![30_000, 2_768]), (MANY + 2, MANY + 2, vec![MANY + 2])]
        {
            let (mut parts, mut lengths_found) = (Vec::new(), Vec::new());
            each_shuffled_part(&mut Vec::new(), rows, &mut generator(4, 2), part_rows, &mut |part| {
                parts.extend_from_slice(part);
                lengths_found.push(part.len());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            assert_eq!(lengths_found, lengths, "{rows} rows");
            assert!(parts == order(rows, 4, 2), "{rows} rows");
        }
        let mut parts = 0;
        each_shuffled_part(&mut Vec::new(), MANY, &mut generator(4, 2), 10, &mut |_| {
            parts += 1;
            Ok(if parts == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        assert_eq!(parts, 3);
    }

    /// How far a statistic of an order is from its mean over all orders, in standard deviations.
    type Statistic = (&'static str, fn(&[u32]) -> f64);

    const STATISTICS: [Statistic; 12] = [
        ("rising neighbours", rising),
        ("neighbours' products", |order| products(order, 1)),
        ("products of those two apart", |order| products(order, 2)),
        ("products of those a batch apart", |order| products(order, BATCH)),
        ("rows that stayed", |order| {
            order.iter().enumerate().filter(|(place, row)| *place == **row as usize).count() as f64 - 1.0
        }),
        ("even rows in batches", |order| in_batches(order, 2, |row| row as usize % 2)),
        ("rows of 3 kinds in batches", |order| in_batches(order, 3, |row| row as usize % 3)),
        ("rows of 16 kinds in batches", |order| in_batches(order, 16, |row| row as usize % 16)),
        ("rows of 8 parts in batches", |order| in_batches(order, 8, |row| row as usize * 8 / order.len())),
        ("last bits that neighbours share", |order| shared_bits(order, 1)),
        ("those that places half of the least length apart share", |order| shared_bits(order, MANY / 2)),
        ("those that places a quarter of it apart share", |order| shared_bits(order, MANY / 4)),
    ];

    const BATCH: usize = 128;

    fn rising(order: &[u32]) -> f64 {
        let (rows, count) = (order.len() as f64, order.windows(2).filter(|two| two[0] < two[1]).count());
        (count as f64 - (rows - 1.0) / 2.0) / ((rows + 1.0) / 12.0).sqrt()
    }

    fn products(order: &[u32], apart: usize) -> f64 {
        let rows = order.len() as f64;
        let (mean, variance) = ((rows - 1.0) / 2.0, (rows * rows - 1.0) / 12.0);
        let product = |(&a, &b): (&u32, &u32)| (f64::from(a) - mean) * (f64::from(b) - mean);
        order.iter().zip(&order[apart..]).map(product).sum::<f64>() / (variance * rows.sqrt())
    }

    fn in_batches(order: &[u32], kinds: usize, kind: impl Fn(u32) -> usize) -> f64 {
        let count = |rows: &[u32]| {
            let mut counts = vec![0.0; kinds];
            rows.iter().for_each(|&row| counts[kind(row)] += 1.0);
            counts
        };
        let (all, rows) = (count(order), order.len() as f64);
        let batches = order.chunks_exact(BATCH);
        let degrees = (batches.len() * (kinds - 1)) as f64;
        let squares =
            batches.map(|batch| chi_squared(&count(batch), |kind| all[kind] * BATCH as f64 / rows)).sum::<f64>();
        // Batches that are drawn without putting back differ less.
        (squares * (rows - 1.0) / (rows - BATCH as f64) - degrees) / (2.0 * degrees).sqrt()
    }

    fn shared_bits(order: &[u32], apart: usize) -> f64 {
        let mut counts = vec![0.0; 64];
        order.iter().zip(&order[apart..]).for_each(|(a, b)| counts[((a ^ b) % 64) as usize] += 1.0);
        (chi_squared(&counts, |_| (order.len() - apart) as f64 / 64.0) - 63.0) / (2.0 * 63.0_f64).sqrt()
    }

    fn chi_squared(counts: &[f64], expected: impl Fn(usize) -> f64) -> f64 {
        counts.iter().enumerate().map(|(kind, count)| (count - expected(kind)).powi(2) / expected(kind)).sum()
    }

    #[test]
    fn statistics_do_not_tell_long_orders_from_random_ones() {
        const SEEDS: u64 = 100;
        for rows in [MANY, MANY + 1, 60_000] {
            let mut far = [(); STATISTICS.len()].map(|()| Vec::new());
            for seed in 0..SEEDS {
                let order = order(rows, seed, 1);
                for (far, (_, statistic)) in far.iter_mut().zip(&STATISTICS) {
                    far.push(statistic(&order));
                }
            }
            for (far, (name, _)) in far.iter().zip(&STATISTICS) {
                let mean = far.iter().sum::<f64>() / SEEDS as f64;
                let deviation = (far.iter().map(|far| far * far).sum::<f64>() / SEEDS as f64).sqrt();
                let most = far.iter().fold(0.0, |most: f64, far| most.max(far.abs()));
                // Of random orders one statistic in some thousand lies outside one of these; the seeds are always the same.
                assert!(
                    mean.abs() < 0.35 && (0.75..1.3).contains(&deviation) && most < 5.5,
                    "{rows} rows, {name}: {far:?}"
                );
            }
        }
    }

    #[test]
    fn a_row_comes_to_every_place_as_often() {
        const RUNS: u64 = 20_000;
        const PARTS: usize = 128;
        let mut places_of = [(0, [0.0; PARTS]), (1, [0.0; PARTS]), (MANY as u32 / 2, [0.0; PARTS])];
        let mut row_at = [0.0; PARTS];
        for seed in 0..RUNS {
            let order = order(MANY, seed, 1);
            let part = |number: usize| number * PARTS / MANY;
            row_at[part(order[7] as usize)] += 1.0;
            for (row, places) in &mut places_of {
                places[part(order.iter().position(|other| other == row).unwrap())] += 1.0;
            }
        }
        for counts in places_of.map(|(_, places)| places).iter().chain([&row_at]) {
            // 127 degrees of freedom: above 195 once in ten thousand times, and the seeds are always the same.
            let squares = chi_squared(counts, |_| RUNS as f64 / PARTS as f64);
            assert!(squares < 195.0, "{squares}: {counts:?}");
        }
    }

    #[test]
    fn a_split_takes_every_row_once() {
        let (training, validation) = split(10, 0.25, 3);
        assert_eq!((training.len(), validation.len()), (7, 3));
        let mut all = [training, validation].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(split(2, 0.01, 0).1.len(), 1);
        assert_eq!(split(2, 0.99, 0).0.len(), 1);
    }
}
