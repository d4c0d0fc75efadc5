//! Where an effective batch is cut into shards.

use crate::kernels::RowIndex;

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
