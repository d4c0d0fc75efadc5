//! How many threads a run is worth: to start them takes as long as a small run does alone.

use super::shards::{MOST_SHARDS, PARALLEL_WORK, Shards};

/// The multiplications from which a batch takes so long that threads are called on even where they come late, and beside
/// those that read the rows.
pub(super) const LARGE_WORK: usize = 4_000_000;

/// The multiplications of a run that take one thread about twice as long as threads take to be started, some 0.3 ms: two are
/// then as fast.
const WORTH_STARTING: usize = 6_000_000;

/// What a row costs besides its multiplications, in those.
const ROW_WORK: usize = 100;

/// Rows of which a thread computes the losses in one go, where losses are all that is asked for.
pub(super) const LOSS_ROWS: usize = 4096;

/// What a run is about to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// Elements of all parameters: the multiplications of a row.
    pub parameters: usize,
    /// Rows of an epoch.
    pub rows: usize,
    /// Rows of an effective batch; 0 if there is none, and losses are all that is asked for.
    pub batch: usize,
    /// The most epochs.
    pub epochs: usize,
    /// The threads that reading the rows keeps busy.
    pub busy: usize,
}

impl Workload {
    /// Of as many threads as are `asked` for, 0 for all, those that pay. While others read the rows, batches are left to
    /// those that do not, unless they take long: a batch of microseconds is done before a helper has got its processor back.
    pub fn threads(&self, asked: usize) -> usize {
        if self.shared_work() < WORTH_STARTING {
            return 1;
        }
        let given = match asked {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            asked => asked,
        };
        let large = self.batch.saturating_mul(self.parameters) >= LARGE_WORK;
        let free = if large { given } else { given.saturating_sub(self.busy).max(1) };
        // More than the shards of a batch have nothing to do.
        free.min(MOST_SHARDS)
    }

    /// What threads may share of it, in multiplications.
    fn shared_work(&self) -> usize {
        let pass = self.rows.saturating_mul(self.parameters.saturating_add(ROW_WORK));
        let batches_are_shared = Shards::new(self.batch, self.parameters).count > 1
            && self.batch.saturating_mul(self.parameters) >= PARALLEL_WORK;
        match batches_are_shared {
            true => pass.saturating_mul(self.epochs),
            // At the end the losses of all rows.
            false if self.rows > LOSS_ROWS => pass,
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch of a model of one output, long enough for threads.
    const LONG: Workload = Workload { parameters: 100, rows: 50_000, batch: 256, epochs: 1, busy: 0 };

    #[test]
    fn threads_are_left_to_those_who_read_the_rows_unless_a_batch_takes_long() {
        let busy = |busy, batch| Workload { busy, batch, ..LONG };
        assert_eq!(busy(0, 256).threads(3), 3);
        assert_eq!(busy(1, 256).threads(3), 2);
        assert_eq!(busy(2, 256).threads(1), 1);
        assert_eq!(busy(1, 40_000).threads(3), 3);
        assert!(busy(1, 256).threads(0) >= 1);
        assert_eq!(LONG.threads(1_000_000), MOST_SHARDS);
    }

    #[test]
    fn threads_are_started_for_runs_that_last_longer_than_that_takes() {
        let of = |rows, batch, epochs| Workload { rows, batch, epochs, ..LONG }.threads(2);
        for (rows, batch, epochs, threads) in [
            (50_000, 256, 1, 2),
            (1_000, 256, 1, 1),
            (1_000, 256, 100, 2),
            (1_000, 1_000, 100, 2),
            // Batches of one thread: what is left is the losses at the end.
            (1_000, 32, 1_000_000, 1),
            (4_000, 32, 1_000_000, 1),
            (29_000, 32, 1_000_000, 1),
            (31_000, 32, 1, 2),
            (31_000, 0, 1, 2),
            (usize::MAX, usize::MAX, usize::MAX, 2),
        ] {
            assert_eq!(of(rows, batch, epochs), threads, "{rows} rows in batches of {batch}, {epochs} epochs");
        }
        // One shard, however long a row takes.
        let digits = Workload { parameters: 650, rows: 1_797, batch: 64, epochs: 100, busy: 0 };
        assert_eq!((digits.threads(2), Workload { batch: 128, ..digits }.threads(2)), (1, 2));
    }
}
