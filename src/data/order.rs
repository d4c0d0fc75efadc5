//! In which order rows are visited, and which are held out: functions of the seed alone.

use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

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

/// Rows from which on the order is made by our own shuffle. Below it is that of `rand`, whose time does not count there, and
/// stays what it was.
const MANY: usize = 1 << 15;

/// Rows from which on it is made in buckets, on all threads; with fewer, waking them takes as long as is saved.
const VERY_MANY: usize = 1 << 20;

fn shuffled(order: &mut Vec<u32>, rows: usize, seed: u64, stream: u64) {
    assert!(rows < u32::MAX as usize, "{rows} rows in memory: their numbers must fit 32 bits");
    if rows < VERY_MANY {
        order.clear();
        order.extend(0..rows as u32);
        if rows < MANY {
            order.shuffle(&mut generator(seed, stream));
        } else {
            shuffle(order, &mut fast_generator(seed, stream));
        }
    } else {
        if order.len() != rows {
            // The system hands out zeros untouched: threads that touch the pages together do so in less time.
            *order = vec![0; rows];
        }
        shuffle_in_buckets(order, seed, stream);
    }
}

/// A generator whose streams have nothing in common.
pub(super) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// One that takes a third of the time for each number, seeded by the other.
fn fast_generator(seed: u64, stream: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::from_rng(&mut generator(seed, stream))
}

/// Has each row change places with a random one of those before it or itself (Durstenfeld 1964).
fn shuffle(order: &mut [u32], rng: &mut impl Rng) {
    /// Places that are drawn at once, which takes less time than one by one.
    const DRAWN: usize = 64;
    let mut places = [0; DRAWN];
    for from in (0..order.len()).step_by(DRAWN) {
        draw_places(from as u32, &mut places, rng);
        let rows = from..order.len().min(from + DRAWN);
        for (row, &place) in rows.zip(&places) {
            order.swap(row, place as usize);
        }
    }
}

/// For each of the rows from `from` on a random one of those up to it, each as likely (Lemire 2019).
fn draw_places<const N: usize>(from: u32, places: &mut [u32; N], rng: &mut impl Rng) {
    debug_assert!(from <= u32::MAX - N as u32, "rows are counted in 32 bits");
    let mut words = [0_u32; N];
    rng.fill(&mut words[..]);
    let count = |k: usize| from + k as u32 + 1;
    let product = |k: usize, word: u32| u64::from(word) * u64::from(count(k));
    let mut unsure = false;
    for (k, (place, &word)) in places.iter_mut().zip(&words).enumerate() {
        let product = product(k, word);
        *place = (product >> 32) as u32;
        unsure |= (product as u32) < count(k);
    }
    if !unsure {
        return;
    }
    // Of the words that lead to a place some have one more than others, and are drawn again.
    for (k, (place, mut word)) in places.iter_mut().zip(words).enumerate() {
        while (product(k, word) as u32) < count(k).wrapping_neg() % count(k) {
            word = rng.next_u32();
        }
        *place = (product(k, word) >> 32) as u32;
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
    // Streams of their own for parts and buckets, which no epoch has.
    debug_assert!(stream >> 32 == 0, "epochs are counted in 32 bits");
    let own_stream = |number: usize| stream | (number as u64 + 1) << 32;
    // Drawn twice, which takes less time than to have memory for them all.
    let choices = |part: usize| {
        let mut choices = vec![0_u8; PART.min(rows - part * PART)];
        fast_generator(seed, own_stream(part)).fill_bytes(&mut choices);
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
    // Put in buckets in a core's cache first, not at 256 places all over the memory.
    places.into_par_iter().zip(&sizes).enumerate().for_each(|(part, (places, sizes))| {
        let choices = choices(part);
        let mut rows_of_part = vec![0; choices.len()];
        // Where the next row of each bucket goes.
        let mut next = [0; BUCKETS];
        for bucket in 1..BUCKETS {
            next[bucket] = next[bucket - 1] + sizes[bucket - 1];
        }
        for (row, bucket) in (part as u32 * PART as u32..).zip(choices) {
            let next = &mut next[bucket as usize];
            rows_of_part[*next] = row;
            *next += 1;
        }
        let mut rest = &rows_of_part[..];
        for place in places {
            place.copy_from_slice(rest.split_off(..place.len()).expect("as many rows as places"));
        }
    });

    let mut rest = order;
    let size_of_bucket = |bucket: usize| sizes.iter().map(|sizes| sizes[bucket]).sum::<usize>();
    let buckets: Vec<&mut [u32]> = (0..BUCKETS)
        .map(|bucket| rest.split_off_mut(..size_of_bucket(bucket)).expect("as many places as rows"))
        .collect();
    buckets
        .into_par_iter()
        .enumerate()
        .for_each(|(bucket, rows)| shuffle(rows, &mut fast_generator(seed, own_stream(sizes.len() + bucket))));
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
        assert_eq!(order(MANY, 7, 3)[..4], [675, 68, 14_359, 27_460]);
    }

    /// Of the 24 orders of four rows `shuffle` makes, for many seeds, each as often.
    fn assert_every_order_is_as_likely(shuffle: impl Fn(&mut [u32; 4], u64)) {
        const RUNS: usize = 24_000;
        let mut counts = std::collections::HashMap::new();
        for seed in 0..RUNS as u64 {
            let mut order = [0, 1, 2, 3];
            shuffle(&mut order, seed);
            *counts.entry(order).or_insert(0_usize) += 1;
        }
        // 23 degrees of freedom: above 58 once in ten thousand times, and the seeds are always the same.
        let expected = RUNS as f64 / 24.0;
        let chi_squared: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
        assert!(counts.len() == 24 && chi_squared < 58.0, "{chi_squared}: {counts:?}");
    }

    #[test]
    fn every_order_is_as_likely() {
        assert_every_order_is_as_likely(|order, seed| shuffle(order, &mut fast_generator(seed, 1)));
    }

    #[test]
    fn a_row_comes_to_every_place_as_often() {
        const ROWS: usize = 200;
        const RUNS: usize = 20_000;
        // One of the rows whose places are drawn first, and one of those drawn later.
        let mut places_of = [(0, [0_usize; ROWS]), (150, [0; ROWS])];
        for seed in 0..RUNS as u64 {
            let mut order: Vec<u32> = (0..ROWS as u32).collect();
            shuffle(&mut order, &mut fast_generator(seed, 1));
            for (row, places) in &mut places_of {
                places[order.iter().position(|other| other == row).unwrap()] += 1;
            }
        }
        for (row, places) in places_of {
            let expected = (RUNS / ROWS) as f64;
            let chi_squared: f64 = places.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
            // 199 degrees of freedom: above 280 once in ten thousand times, and the seeds are always the same.
            assert!(chi_squared < 280.0, "row {row}: {chi_squared}");
        }
    }

    #[test]
    fn the_greatest_word_leads_to_the_last_place() {
        let mut places = [0; 4];
        draw_places(1_000, &mut places, &mut Given([u32::MAX; 4].iter()));
        assert_eq!(places, [1_000, 1_001, 1_002, 1_003]);
    }

    /// A generator that gives these numbers.
    struct Given<'a>(std::slice::Iter<'a, u32>);

    impl RngCore for Given<'_> {
        fn next_u32(&mut self) -> u32 {
            *self.0.next().expect("no number beyond those needed")
        }

        fn next_u64(&mut self) -> u64 {
            unreachable!()
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.chunks_exact_mut(4).for_each(|bytes| bytes.copy_from_slice(&self.next_u32().to_le_bytes()));
        }
    }

    #[test]
    fn words_that_would_favour_a_place_are_drawn_again() {
        // Each four words lead to three places, the first two to the same: the first is drawn again.
        let count = 3 << 30;
        let place_of = |words: &[u32]| {
            let mut places = [0];
            draw_places(count - 1, &mut places, &mut Given(words.iter()));
            places[0]
        };
        assert_eq!([1, 2, 3, 5].map(|word| place_of(&[word])), [0, 1, 2, 3]);
        assert_eq!(place_of(&[0, 4, 8, 5]), 3);
    }

    #[test]
    fn an_order_of_many_rows_has_each_once_whatever_the_threads() {
        let rows = VERY_MANY + 7;
        let orders: Vec<Vec<u32>> = [1, 3]
            .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
            .iter()
            .map(|pool| pool.install(|| order(rows, 5, 2)))
            .collect();
        assert!(orders[0] == orders[1]);
        assert!(orders[0] != order(rows, 5, 3) && orders[0] != order(rows, 6, 2));
        // The same on every machine and version.
        assert_eq!(orders[0][..4], [977_676, 149_955, 820_339, 157_916]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..rows as u32));
    }

    #[test]
    fn every_order_is_as_likely_in_buckets() {
        assert_every_order_is_as_likely(|order, seed| shuffle_in_buckets(order, seed, 1));
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
