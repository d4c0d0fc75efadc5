//! Where an effective batch is cut into shards.

use std::ops::RangeInclusive;

use crate::kernels::{MOST_CLASSES, RowIndex};

/// The rows above which a batch is cut, and the multiplications: enough to make up for starting a shard and adding its sums.
const UNCUT_ROWS: usize = 64;
const UNCUT_WORK: usize = 12_800;

/// The most shards of an effective batch.
pub(super) const MOST_SHARDS: usize = 64;

/// The multiplications of a batch below which threads cost more than they bring.
pub(super) const PARALLEL_WORK: usize = 6_000;

/// What the first shard has more than the others, whose threads start on them later: as many rows as make so many
/// multiplications, but never more than a fourth of a shard.
const HEAD_START_WORK: usize = 1_300;

/// The multiplications from which threads that come in time are faster than one: even where they took four times as long as
/// elsewhere to tell each other something, 25,000 in rows of 100 numbers took less time on two than on one.
pub(super) const SURE_WORK: usize = 100_000;

/// Bytes of a row from which half of it is worth a thread of its own, and those of rows of which even a batch of two shards is
/// no slower by columns: longer ones are more than stays in the next cache until they go back.
const HALVED_BYTES: usize = 2048;
const HALVED_SHARD_BYTES: RangeInclusive<usize> = 2400..=4096;

/// Whether plain steps of a softmax on batches of so many rows go by halves of the columns, not by shards. On two threads they
/// take half the time where a batch is one shard; where it is two, a few hundredths less, and a fifth less where the system
/// has put the threads far from each other. One thread takes as long either way.
pub(super) fn are_by_columns<T>(rows: usize, inputs: usize, classes: usize) -> bool {
    let (bytes, work) = (inputs.saturating_mul(size_of::<T>()), rows.saturating_mul(inputs).saturating_mul(classes));
    let are_wide = match Shards::new(rows, inputs.saturating_mul(classes)).count {
        1 => bytes >= HALVED_BYTES,
        2 => HALVED_SHARD_BYTES.contains(&bytes),
        _ => false,
    };
    are_wide && work >= SURE_WORK && (2..=MOST_CLASSES).contains(&classes)
}

/// The shards of an effective batch: a function of its rows and the model's parameters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shards {
    pub rows: usize,
    pub count: usize,
    /// Rows of each shard; what the first has more, and how many of the first have one more.
    each: usize,
    head_start: usize,
    longer: usize,
}

impl Shards {
    /// Those of a batch of so many rows.
    pub fn new(rows: usize, parameters: usize) -> Self {
        let parameters = parameters.max(1);
        let uncut = rows.div_ceil(MOST_SHARDS).max(UNCUT_WORK / parameters).max(UNCUT_ROWS);
        let count = match rows.div_ceil(uncut) {
            // Two threads have something to do, if it is worth calling them.
            0 | 1 if rows >= 2 * UNCUT_ROWS && rows.saturating_mul(parameters) >= PARALLEL_WORK => 2,
            0 | 1 => 1,
            // An even number, so that they have as many each.
            count => count / 2 * 2,
        };
        let wanted = if count == 1 { 0 } else { HEAD_START_WORK / parameters };
        let head_start = wanted.min(rows / count / 4);
        let others = rows - head_start;
        Shards { rows, count, each: others / count, head_start, longer: others % count }
    }

    /// The rows of a shard.
    pub fn part<'a>(&self, rows: RowIndex<'a>, shard: usize) -> RowIndex<'a> {
        rows.part(self.start(shard), self.start(shard + 1))
    }

    /// The place at which a shard begins.
    fn start(&self, shard: usize) -> usize {
        if shard == 0 { 0 } else { self.head_start + shard * self.each + shard.min(self.longer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_all_rows_in_order_and_none_is_small() {
        for rows in [0, 1, 63, 64, 127, 128, 129, 200, 256, 1_000, 4_035, 4_159, 100_000, 500_001] {
            for parameters in [1, 2, 30, 101, 785, 7_850, 100_000] {
                let shards = Shards::new(rows, parameters);
                let lengths: Vec<usize> =
                    (0..shards.count).map(|shard| shards.start(shard + 1) - shards.start(shard)).collect();
                assert_eq!(lengths.iter().sum::<usize>(), rows, "{lengths:?}");
                assert!(shards.count <= MOST_SHARDS && (shards.count == 1 || shards.count.is_multiple_of(2)));
                if shards.count > 1 {
                    let (least, most) = (*lengths.iter().min().unwrap(), *lengths[1..].iter().max().unwrap());
                    assert!(least >= UNCUT_ROWS / 2 && most <= least + 1, "{rows} x {parameters}: {lengths:?}");
                    assert!((most..=most + least / 3 + 1).contains(&lengths[0]), "{rows} x {parameters}: {lengths:?}");
                }
            }
        }
    }

    #[test]
    fn few_wide_rows_of_a_softmax_go_by_columns() {
        for (rows, inputs, classes, single, double) in [
            (32, 784, 10, true, true),
            (64, 784, 64, true, true),
            (32, 511, 10, false, true),
            (32, 512, 10, true, true),
            // As many rows as two shards have, of a middling length.
            (128, 784, 10, true, false),
            (192, 400, 10, false, true),
            (128, 1025, 10, false, false),
            (193, 784, 10, false, false),
            // Too little work, too few classes, too many.
            (8, 784, 10, false, false),
            (64, 784, 1, false, false),
            (64, 784, 65, false, false),
            (usize::MAX, usize::MAX, 2, false, false),
        ] {
            let found = (are_by_columns::<f32>(rows, inputs, classes), are_by_columns::<f64>(rows, inputs, classes));
            assert_eq!(found, (single, double), "{rows} x {inputs}, {classes} classes");
        }
    }

    #[test]
    fn the_first_of_two_shards_has_a_head_start() {
        let of_two = |rows, parameters| {
            let shards = Shards::new(rows, parameters);
            assert_eq!(shards.count, 2);
            shards.start(1)
        };
        assert_eq!(of_two(256, 101), 134);
        // A row would be more than that, and of a block of its own.
        assert_eq!(of_two(128, 7_850), 64);
        assert_eq!(Shards::new(256, 2).count, 1);
    }
}
