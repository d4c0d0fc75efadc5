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
    /// Whether threads share a batch by its columns, however few rows it has.
    pub by_columns: bool,
    /// The most epochs.
    pub epochs: usize,
    /// Rows whose losses are computed after each epoch. At the end they are those of all rows.
    pub measured: usize,
    /// The threads that reading the rows keeps busy.
    pub busy: usize,
}

impl Workload {
    /// The losses of so many rows, and nothing else.
    pub fn losses(parameters: usize, rows: usize) -> Self {
        Workload { parameters, rows, batch: 0, by_columns: false, epochs: 0, measured: 0, busy: 0 }
    }

    /// Of as many threads as are `asked` for, 0 for all, those that pay: the more the longer the run. While others read the
    /// rows, batches are left to those that do not, unless they take long: a batch of microseconds is done before a helper
    /// has got its processor back.
    pub fn threads(&self, asked: usize) -> usize {
        let worth_starting = 1 + self.shared_work() / WORTH_STARTING;
        if worth_starting == 1 {
            return 1;
        }
        let given = match asked {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            asked => asked,
        };
        let large = self.batch.saturating_mul(self.parameters) >= LARGE_WORK;
        let free = if large { given } else { given.saturating_sub(self.busy).max(1) };
        // More than there are shards, or halves, have nothing to do.
        let most = if self.by_columns && self.shared_losses() == 0 { 2 } else { MOST_SHARDS };
        free.min(worth_starting).min(most)
    }

    /// What threads may share of it, in multiplications.
    fn shared_work(&self) -> usize {
        let batches_are_shared = self.by_columns
            || Shards::new(self.batch, self.parameters).count > 1
                && self.batch.saturating_mul(self.parameters) >= PARALLEL_WORK;
        let trained_on = if batches_are_shared { self.rows.saturating_mul(self.epochs) } else { 0 };
        let rows = self.shared_losses().saturating_add(trained_on);
        rows.saturating_mul(self.parameters.saturating_add(ROW_WORK))
    }

    /// Rows whose losses threads may share.
    fn shared_losses(&self) -> usize {
        let losses_of = |rows: usize| if rows > LOSS_ROWS { rows } else { 0 };
        losses_of(self.measured).saturating_mul(self.epochs).saturating_add(losses_of(self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch of a model of one output, long enough for threads.
    const LONG: Workload =
        Workload { parameters: 100, rows: 100_000, batch: 256, by_columns: false, epochs: 1, measured: 0, busy: 0 };

    #[test]
    fn threads_are_left_to_those_who_read_the_rows_unless_a_batch_takes_long() {
        let busy = |busy, batch| Workload { busy, batch, ..LONG };
        assert_eq!(busy(0, 256).threads(3), 3);
        assert_eq!(busy(1, 256).threads(3), 2);
        assert_eq!(busy(2, 256).threads(1), 1);
        assert_eq!(busy(1, 40_000).threads(3), 3);
        assert!(busy(1, 256).threads(0) >= 1);
    }

    #[test]
    fn threads_are_started_for_runs_that_last_longer_than_that_takes() {
        for (rows, batch, epochs, measured, threads) in [
            (14_000, 256, 1, 0, 1),
            (14_000, 256, 1, 14_000, 2),
            (30_000, 256, 1, 0, 3),
            (1_000, 256, 1, 0, 1),
            (1_000, 256, 30, 0, 2),
            (1_000, 256, 1_000, 0, 8),
            (1_000, 1_000, 30, 0, 2),
            // Batches of one thread: what is left is losses, and the first of them those at the end.
            (1_000, 32, 1_000_000, 0, 1),
            (4_096, 32, 1_000_000, 4_096, 1),
            (4_097, 32, 100, 4_097, 8),
            (1_000, 32, 10, 100_000, 8),
            (29_000, 32, 1_000_000, 0, 1),
            (31_000, 32, 1, 0, 2),
            (usize::MAX, usize::MAX, usize::MAX, usize::MAX, 8),
        ] {
            let workload = Workload { rows, batch, epochs, measured, ..LONG };
            assert_eq!(workload.threads(8), threads, "{workload:?}");
        }
        assert_eq!((Workload::losses(100, 29_000).threads(2), Workload::losses(100, 31_000).threads(2)), (1, 2));
        assert_eq!(Workload { epochs: 1_000, ..LONG }.threads(1_000_000), MOST_SHARDS);
        // A batch of one shard, however long a row takes.
        let digits = Workload { parameters: 650, rows: 1_797, batch: 64, epochs: 100, ..LONG };
        assert_eq!((digits.threads(2), Workload { batch: 128, ..digits }.threads(2)), (1, 2));
        let by_columns = Workload { by_columns: true, ..digits };
        assert_eq!([2, 8].map(|asked| by_columns.threads(asked)), [2, 2]);
        assert_eq!(Workload { rows: 1_000_000, ..by_columns }.threads(8), 8);
    }
}
