//! Whether small pieces are done sooner with a team's helpers than by the caller alone, found out by timing both.
//!
//! How long threads take to tell each other something depends on where the system has put them: between two cores that
//! share no cache it may be four times as long as between two that do, and a step of a microsecond then takes longer on two
//! threads than on one.

use std::time::{Duration, Instant};

/// Pieces of a block, and those at its beginning that are not timed: rows that were fetched for another thread come late.
const BLOCK: usize = 12;
const SETTLING: usize = 4;

/// Blocks of a trial: half of them with the helpers.
const BLOCKS: usize = 6;

/// Pieces that are timed each way.
const TIMED: usize = BLOCKS / 2 * (BLOCK - SETTLING);

/// Pieces before the first trial, while memory is touched for the first time.
const WARM_UP: usize = 256;

/// Pieces for which a trial's outcome holds: after the first, and after one that changed the way. Each time a way is kept,
/// it holds for twice as many, up to the second number.
const FEWEST: usize = 1 << 12;
const MOST: usize = 1 << 15;

/// And some more each time, so that trials do not keep step with epochs.
const MORE: usize = 7;

/// The other way is taken if it is shorter by more than this part of the present one's time.
const PART_TO_CHANGE: u32 = 16;

/// What the trials so far have shown.
#[derive(Debug)]
pub(super) struct Race {
    together: bool,
    /// Pieces until the next trial.
    left: usize,
    /// Pieces for which its outcome holds, if that is the present way.
    holds: usize,
    trials: usize,
    trial: Trial,
}

/// The trial under way.
#[derive(Debug)]
struct Trial {
    block: usize,
    /// Pieces of the block so far.
    pieces: usize,
    /// When the last of them began.
    began: Option<Instant>,
    /// How long each took, alone and together, until the next began.
    times: [[Duration; TIMED]; 2],
}

impl Trial {
    const NEW: Trial = Trial { block: 0, pieces: 0, began: None, times: [[Duration::ZERO; TIMED]; 2] };

    /// Whether the block's pieces are done together: neither way always comes after the other.
    fn is_together(&self) -> bool {
        matches!(self.block % 4, 0 | 3)
    }

    /// Takes note of the piece that is over, and of the next, which begins now.
    fn time(&mut self, now: Instant) {
        if self.pieces > SETTLING {
            let took = now - self.began.expect("an earlier piece of the block began");
            // Of each two blocks in a row, one goes each way.
            let place = self.block / 2 * (BLOCK - SETTLING) + self.pieces - SETTLING - 1;
            self.times[usize::from(self.is_together())][place] = took;
        }
        if self.pieces == BLOCK {
            (self.block, self.pieces) = (self.block + 1, 0);
        }
        self.pieces += 1;
        self.began = Some(now);
    }

    /// The medians, alone and together: what else takes time now and then, such as the end of an epoch, does not count.
    fn medians(mut self) -> [Duration; 2] {
        self.times.each_mut().map(|times| *times.select_nth_unstable(TIMED / 2).1)
    }
}

impl Race {
    pub const NEW: Race = Race { together: true, left: WARM_UP, holds: FEWEST, trials: 0, trial: Trial::NEW };

    /// Whether the helpers are called on for the piece to come.
    pub fn calls(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return self.together;
        }
        self.trial.time(now());
        if self.trial.block < BLOCKS {
            return self.trial.is_together();
        }
        self.decide();
        self.together
    }

    /// Another reason decides about the piece to come: a block under way begins again.
    pub fn interrupt(&mut self) {
        self.trial.pieces = 0;
    }

    fn decide(&mut self) {
        let [alone, together] = std::mem::replace(&mut self.trial, Trial::NEW).medians();
        let (this, other) = if self.together { (together, alone) } else { (alone, together) };
        if this - this / PART_TO_CHANGE > other {
            self.together = !self.together;
            self.holds = FEWEST;
        }
        self.trials += 1;
        self.left = self.holds + MORE * (self.trials % 16);
        self.holds = (2 * self.holds).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does `pieces`, which take so many nanoseconds alone and together, and returns how many were done together.
    fn run(race: &mut Race, pieces: usize, nanoseconds: [u64; 2], clock: &mut Instant) -> usize {
        let calls = (0..pieces).map(|_| {
            let together = race.calls(|| *clock);
            *clock += Duration::from_nanos(nanoseconds[usize::from(together)]);
            together
        });
        calls.filter(|&together| together).count()
    }

    const TRIAL: usize = BLOCK * BLOCKS;

    #[test]
    fn pieces_go_the_way_that_is_faster() {
        for (nanoseconds, together) in
            [([1000, 700], true), ([1000, 950], true), ([1000, 1050], true), ([1000, 1200], false)]
        {
            let (mut race, mut clock) = (Race::NEW, Instant::now());
            assert_eq!(run(&mut race, WARM_UP, nanoseconds, &mut clock), WARM_UP);
            assert_eq!(run(&mut race, TRIAL, nanoseconds, &mut clock), TRIAL / 2, "{nanoseconds:?}");
            let after = run(&mut race, FEWEST, nanoseconds, &mut clock);
            assert_eq!(after, if together { FEWEST } else { 0 }, "{nanoseconds:?}");
        }
    }

    #[test]
    fn another_trial_finds_out_what_has_changed() {
        let (mut race, mut clock) = (Race::NEW, Instant::now());
        let (many, quick, slow) = (20 * MOST, [1000, 700], [1000, 1300]);
        for _ in 0..2 {
            assert!(run(&mut race, many, quick, &mut clock) > many / 100 * 99);
            run(&mut race, 2 * MOST, slow, &mut clock);
            assert!(run(&mut race, many, slow, &mut clock) < many / 100);
            run(&mut race, 2 * MOST, quick, &mut clock);
        }
    }

    #[test]
    fn a_pause_amid_a_block_changes_nothing() {
        for (nanoseconds, together) in [([1000, 700], 100), ([700, 1000], 0)] {
            for paused in 0..TRIAL {
                let (mut race, mut clock) = (Race::NEW, Instant::now());
                run(&mut race, WARM_UP + paused, nanoseconds, &mut clock);
                clock += Duration::from_millis(10);
                run(&mut race, TRIAL - paused, nanoseconds, &mut clock);
                assert_eq!(run(&mut race, 100, nanoseconds, &mut clock), together, "{paused}");
            }
        }
    }

    #[test]
    fn what_comes_at_the_end_of_each_epoch_decides_little() {
        const PIECES: usize = 400_000;
        for (nanoseconds, together) in [([1000, 700], true), ([700, 1000], false)] {
            for batches in 3..100 {
                let (mut race, mut clock, mut calls) = (Race::NEW, Instant::now(), 0);
                for _ in 0..PIECES / batches {
                    calls += run(&mut race, batches, nanoseconds, &mut clock);
                    clock += Duration::from_micros(50);
                }
                let right = if together { calls } else { PIECES - calls };
                assert!(right > PIECES / 100 * 90, "{batches} batches, {nanoseconds:?}: {right}");
            }
        }
    }

    #[test]
    fn a_block_that_was_interrupted_begins_again() {
        let (mut race, mut clock) = (Race::NEW, Instant::now());
        run(&mut race, WARM_UP + BLOCK - 1, [1000, 700], &mut clock);
        // What another reason has decided takes long, and is no part of a block.
        race.interrupt();
        clock += Duration::from_secs(1);
        run(&mut race, TRIAL, [1000, 700], &mut clock);
        assert_eq!(race.trials, 0);
        assert!(race.calls(|| clock) && race.trials == 1);
    }
}
