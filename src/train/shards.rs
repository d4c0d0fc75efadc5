//! Where an effective batch is cut into shards.

use crate::kernels::RowIndex;

/// The least rows of a shard, and the least multiplications of one: enough to make up for starting and adding its sums.
const SHARD_ROWS: usize = 64;
const SHARD_WORK: usize = 12_800;

/// The most shards of an effective batch.
pub(super) const MOST_SHARDS: usize = 64;

/// The multiplications of a batch below which threads cost more than they bring.
pub(super) const PARALLEL_WORK: usize = 6_000;

/// The rows that the first shard has more than the others, whose threads start on them later: so many, and as many as make
/// so many multiplications, but never more than a fourth of a shard.
const HEAD_START: (usize, usize) = (3, 1_000);

/// The shards of an effective batch: a function of its rows and the model's parameters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shards {
    pub rows: usize,
    pub count: usize,
    /// Rows of the first, and of each other.
    first: usize,
    each: usize,
}

impl Shards {
    /// Those of a batch of so many rows.
    pub fn new(rows: usize, parameters: usize) -> Self {
        let parameters = parameters.max(1);
        let most = rows.div_ceil(MOST_SHARDS).max(SHARD_WORK / parameters).max(SHARD_ROWS);
        // An even number, so that two threads have as many.
        let count = match rows.div_ceil(most) {
            0 | 1 if rows >= 2 * SHARD_ROWS && rows.saturating_mul(parameters) >= PARALLEL_WORK => 2,
            0 | 1 => 1,
            count => count / 2 * 2,
        };
        let head_start = if count == 1 { 0 } else { HEAD_START.0 + HEAD_START.1 / parameters };
        let each = (rows - head_start.min(rows / count / 4)) / count;
        Shards { rows, count, first: rows - (count - 1) * each, each }
    }

    /// The rows of a shard.
    pub fn part<'a>(&self, rows: RowIndex<'a>, shard: usize) -> RowIndex<'a> {
        rows.part(self.start(shard), self.start(shard + 1))
    }

    /// The place at which a shard begins.
    fn start(&self, shard: usize) -> usize {
        if shard == 0 { 0 } else { self.first + (shard - 1) * self.each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_all_rows_in_order_and_none_is_small() {
        for rows in [0, 1, 63, 64, 127, 128, 129, 200, 256, 1_000, 4_096, 100_000, 500_001] {
            for parameters in [1, 2, 30, 101, 7_850, 100_000] {
                let shards = Shards::new(rows, parameters);
                let lengths: Vec<usize> =
                    (0..shards.count).map(|shard| shards.start(shard + 1) - shards.start(shard)).collect();
                assert_eq!(lengths.iter().sum::<usize>(), rows);
                assert!(shards.count <= MOST_SHARDS && (shards.count == 1 || shards.count.is_multiple_of(2)));
                if shards.count > 1 {
                    assert!(*lengths.iter().min().unwrap() >= SHARD_ROWS / 2, "{rows} x {parameters}: {lengths:?}");
                    assert!(lengths[0] >= lengths[1] && lengths[0] <= lengths[1] * 3 / 2 + shards.count, "{lengths:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_two_shards_has_a_head_start() {
        assert_eq!(Shards::new(256, 101), Shards { rows: 256, count: 2, first: 134, each: 122 });
        assert_eq!(Shards::new(128, 7_850), Shards { rows: 128, count: 2, first: 66, each: 62 });
        assert_eq!(Shards::new(256, 2), Shards { rows: 256, count: 1, first: 256, each: 256 });
    }
}
