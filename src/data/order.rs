//! In which order rows are visited, and which are held out: functions of the seed alone.

use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::kernels;

/// The random stream that splits off validation rows; epochs count from 1.
const SPLIT_STREAM: u64 = 0;

/// Writes the order of rows `0..rows` in an epoch (from 1) to `order`: a function of the rows, the seed and the epoch
/// alone.
pub fn permutation(order: &mut Vec<u32>, rows: usize, seed: u64, epoch: usize) {
    shuffled(order, rows, seed, epoch as u64);
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
    shuffled(&mut order, rows, seed, SPLIT_STREAM);
    let mut order: Vec<usize> = order.into_iter().map(|row| row as usize).collect();
    let mut training = order.split_off(held_out.min(rows));
    order.sort_unstable();
    training.sort_unstable();
    (training, order)
}

/// Rows that are shuffled at once. Of so many `rand` draws two places or more from one random word, for which their product
/// has to fit 32 bits; each of those after them gets a word of its own.
const SHUFFLED_AT_ONCE: usize = 1 << 16;

/// Rows from which on the order is made in buckets: on two threads it takes three fifths of the time, but threads have to
/// be woken for it.
const MANY: usize = 1 << 20;

fn shuffled(order: &mut Vec<u32>, rows: usize, seed: u64, stream: u64) {
    assert!(rows < u32::MAX as usize, "{rows} rows in memory: their numbers must fit 32 bits");
    if rows < MANY {
        order.clear();
        order.extend(0..rows as u32);
        shuffle(order, &mut generator(seed, stream));
    } else {
        order.resize(rows, 0);
        shuffle_in_buckets(order, seed, stream);
    }
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// The order of `rand`'s own shuffle, which has each row change places with a random one of those before it or itself; but
/// places are drawn, and asked for from memory, some time before they are needed.
fn shuffle(order: &mut [u32], rng: &mut ChaCha8Rng) {
    const DRAWN: usize = 64;
    let rows = order.len();
    let first = rows.min(SHUFFLED_AT_ONCE);
    order[..first].shuffle(rng);
    let mut places = [0; DRAWN];
    for from in (first..rows).step_by(DRAWN) {
        let places = &mut places[..DRAWN.min(rows - from)];
        for (row, place) in (from as u32..).zip(places.iter_mut()) {
            *place = rng.random_range(..=row) as usize;
            kernels::prefetch(&order[*place]);
        }
        for (row, &mut place) in (from..).zip(places) {
            order.swap(row, place);
        }
    }
}

/// Buckets, one for each value of a random byte.
const BUCKETS: usize = 256;

/// The rows that a thread sends to buckets together.
const PART: usize = 1 << 16;

/// Writes a random order of as many rows as `order` is long, on all threads, whose number changes nothing: each row goes to
/// a random bucket, and each bucket, which fits a core's cache, is shuffled by itself (Rao 1961, Sandelius 1962).
fn shuffle_in_buckets(order: &mut [u32], seed: u64, stream: u64) {
    let rows = order.len();
    // Drawn twice, which takes less time than to have memory for them all.
    let choices = |part: usize| {
        let mut choices = vec![0_u8; PART.min(rows - part * PART)];
        let mut rng = generator(seed, stream);
        rng.set_word_pos((part * PART / size_of::<u32>()) as u128);
        rng.fill_bytes(&mut choices);
        choices
    };
    let count = |part| {
        let mut sizes = [0; BUCKETS];
        choices(part).iter().for_each(|&bucket| sizes[bucket as usize] += 1);
        sizes
    };
    let sizes: Vec<[usize; BUCKETS]> = (0..rows.div_ceil(PART)).into_par_iter().map(count).collect();

    // Bucket by bucket, and in each the places for the rows of each part.
    let mut places: Vec<Vec<&mut [u32]>> = sizes.iter().map(|_| Vec::with_capacity(BUCKETS)).collect();
    let mut rest = &mut *order;
    for bucket in 0..BUCKETS {
        for (places, sizes) in places.iter_mut().zip(&sizes) {
            places.push(rest.split_off_mut(..sizes[bucket]).expect("as many places as rows"));
        }
    }
    places.into_par_iter().enumerate().for_each(|(part, places)| {
        let mut places: Vec<_> = places.into_iter().map(|places| places.iter_mut()).collect();
        for (row, bucket) in (part as u32 * PART as u32..).zip(choices(part)) {
            *places[bucket as usize].next().expect("a place for each row that was counted") = row;
        }
    });

    let mut rest = order;
    let size_of_bucket = |bucket: usize| sizes.iter().map(|sizes| sizes[bucket]).sum::<usize>();
    let buckets: Vec<&mut [u32]> = (0..BUCKETS)
        .map(|bucket| rest.split_off_mut(..size_of_bucket(bucket)).expect("as many places as rows"))
        .collect();
    // Streams of their own, which no epoch has.
    let own_stream = |bucket: usize| stream | (bucket as u64 + 1) << 32;
    buckets
        .into_par_iter()
        .enumerate()
        .for_each(|(bucket, rows)| shuffle(rows, &mut generator(seed, own_stream(bucket))));
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
    fn a_long_order_is_that_of_one_shuffle() {
        for rows in [SHUFFLED_AT_ONCE - 1, SHUFFLED_AT_ONCE, SHUFFLED_AT_ONCE + 1, SHUFFLED_AT_ONCE + 5_000] {
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            rng.set_stream(3);
            let mut expected: Vec<u32> = (0..rows as u32).collect();
            expected.shuffle(&mut rng);
            assert!(order(rows, 7, 3) == expected, "{rows} rows");
        }
    }

    #[test]
    fn an_order_of_many_rows_has_each_once_whatever_the_threads() {
        let rows = MANY + 7;
        let orders: Vec<Vec<u32>> = [1, 3]
            .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
            .iter()
            .map(|pool| pool.install(|| order(rows, 5, 2)))
            .collect();
        assert!(orders[0] == orders[1]);
        assert!(orders[0] != order(rows, 5, 3) && orders[0] != order(rows, 6, 2));
        // The same on every machine and version.
        assert_eq!(orders[0][..4], [821_261, 35_888, 846_501, 307_425]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..rows as u32));
    }

    #[test]
    fn every_order_is_as_likely_in_buckets() {
        const RUNS: usize = 24_000;
        let mut counts = std::collections::HashMap::new();
        for seed in 0..RUNS as u64 {
            let mut order = [0; 4];
            shuffle_in_buckets(&mut order, seed, 1);
            *counts.entry(order).or_insert(0_usize) += 1;
        }
        // 23 degrees of freedom: above 58 once in ten thousand times, and the seeds are always the same.
        let expected = RUNS as f64 / 24.0;
        let chi_squared: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
        assert!(counts.len() == 24 && chi_squared < 58.0, "{chi_squared}: {counts:?}");
    }

    #[test]
    fn rows_of_all_parts_are_mixed() {
        let mut order = vec![0; 3 * PART + 5];
        shuffle_in_buckets(&mut order, 1, 1);
        // The mean place of each part's rows is the middle, within five standard deviations.
        for part in 0..3 {
            let rows = (part * PART) as u32..((part + 1) * PART) as u32;
            let places = order.iter().enumerate().filter(|(_, row)| rows.contains(row)).map(|(place, _)| place as f64);
            let (length, mean) = (order.len() as f64, places.sum::<f64>() / PART as f64);
            assert!((mean - length / 2.0).abs() < 5.0 * length / (12.0 * PART as f64).sqrt(), "part {part}: {mean}");
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
