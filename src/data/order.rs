//! In which order rows are visited, and which are held out: functions of the seed alone.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

/// The order of `rand`'s own shuffle, which has each row change places with a random one of those before it or itself; but
/// places are drawn, and asked for from memory, some time before they are needed.
fn shuffled(order: &mut Vec<u32>, rows: usize, seed: u64, stream: u64) {
    const DRAWN: usize = 64;
    assert!(rows < u32::MAX as usize, "{rows} rows in memory: their numbers must fit 32 bits");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    order.clear();
    order.extend(0..rows as u32);
    let first = rows.min(SHUFFLED_AT_ONCE);
    order[..first].shuffle(&mut rng);
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
