//! Whether small pieces are done sooner with a team's helpers than by the caller alone, found out by timing both.
//!
//! How long threads take to tell each other something depends on where the system has put them: between two cores that
//! share no cache it may be four times as long as between two that do, and a step of a microsecond then takes longer on two
//! threads than on one.

use std::time::{Duration, Instant};

/// Pieces of a block, and those at its beginning that are not timed: rows that were fetched for another thread come late.
const BLOCK: usize = 16;
const SETTLING: usize = 4;

/// Blocks of a trial, at most: half of them with the helpers.
const BLOCKS: usize = 6;

/// By what part of it the present way must be shorter to be kept after two blocks or four.
const CLEARLY: u32 = 8;

/// Pieces before the first trial, while memory is touched for the first time.
const WARM_UP: usize = 256;

/// Pieces that the outcome of a trial holds for, at first and at most.
const FEWEST: usize = 1 << 12;
const MOST: usize = 1 << 15;

/// By what part of it the other way must be shorter to be taken instead.
const BETTER: u32 = 16;

/// What the trials so far have shown.
#[derive(Debug)]
pub(super) struct Race {
    together: bool,
    /// Pieces until the next trial.
    left: usize,
    /// How many those will be after it.
    holds: usize,
    trial: Trial,
}

/// The trial under way.
#[derive(Debug)]
struct Trial {
    block: usize,
    /// Pieces of the block so far.
    pieces: usize,
    started: Option<Instant>,
    /// The shortest blocks: alone and together.
    shortest: [Duration; 2],
}

impl Trial {
    const NEW: Trial = Trial { block: 0, pieces: 0, started: None, shortest: [Duration::MAX; 2] };

    /// Whether the block's pieces are done together: neither kind always comes after the other.
    fn is_together(&self) -> bool {
        matches!(self.block % 4, 0 | 3)
    }
}

impl Race {
    pub const NEW: Race = Race { together: true, left: WARM_UP, holds: FEWEST, trial: Trial::NEW };

    /// Whether the helpers are called on for the piece to come.
    pub fn calls(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return self.together;
        }
        match self.trial.pieces {
            SETTLING => self.trial.started = Some(now()),
            BLOCK => {
                let took = self.trial.started.map_or(Duration::MAX, |started| now() - started);
                let shortest = &mut self.trial.shortest[usize::from(self.trial.is_together())];
                *shortest = took.min(*shortest);
                (self.trial.block, self.trial.pieces) = (self.trial.block + 1, 0);
                if self.decides() {
                    return self.together;
                }
            }
            _ => {}
        }
        self.trial.pieces += 1;
        self.trial.is_together()
    }

    /// Another reason decides about the piece to come: a block under way begins again.
    pub fn interrupt(&mut self) {
        self.trial.pieces = 0;
    }

    /// Ends the trial, if its blocks so far are enough.
    fn decides(&mut self) -> bool {
        let Trial { block, shortest: [alone, together], .. } = self.trial;
        let (this, other) = if self.together { (together, alone) } else { (alone, together) };
        if block == BLOCKS && this - this / BETTER > other {
            self.together = !self.together;
            self.holds = FEWEST;
        } else if block == BLOCKS || (block.is_multiple_of(2) && this < other - other / CLEARLY) {
            self.holds = (2 * self.holds).min(MOST);
        } else {
            return false;
        }
        (self.left, self.trial) = (self.holds, Trial::NEW);
        true
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
        for (nanoseconds, pieces, together) in [
            ([1000, 800], 2 * BLOCK, true),
            ([1000, 950], TRIAL, true),
            ([1000, 1050], TRIAL, true),
            ([1000, 1200], TRIAL, false),
        ] {
            let (mut race, mut clock) = (Race::NEW, Instant::now());
            assert_eq!(run(&mut race, WARM_UP, nanoseconds, &mut clock), WARM_UP);
            assert_eq!(run(&mut race, pieces, nanoseconds, &mut clock), pieces / 2, "{nanoseconds:?}");
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
            run(&mut race, MOST + TRIAL, slow, &mut clock);
            assert!(run(&mut race, many, slow, &mut clock) < many / 100);
            run(&mut race, MOST + TRIAL, quick, &mut clock);
        }
    }

    #[test]
    fn a_pause_amid_a_block_takes_nothing_from_the_faster_way() {
        for paused in 0..TRIAL {
            let (mut race, mut clock) = (Race::NEW, Instant::now());
            run(&mut race, WARM_UP + paused, [1000, 700], &mut clock);
            clock += Duration::from_millis(10);
            run(&mut race, TRIAL - paused, [1000, 700], &mut clock);
            assert_eq!(run(&mut race, 100, [1000, 700], &mut clock), 100, "{paused}");
        }
    }

    #[test]
    fn a_block_that_was_interrupted_begins_again() {
        let (mut race, mut clock) = (Race::NEW, Instant::now());
        run(&mut race, WARM_UP + BLOCK - 1, [1000, 700], &mut clock);
        // What another reason has decided takes long, and is no part of a block.
        race.interrupt();
        clock += Duration::from_secs(1);
        run(&mut race, 2 * BLOCK, [1000, 700], &mut clock);
        assert_eq!(race.left, 0);
        assert!(race.calls(|| clock) && race.left == 2 * FEWEST);
    }
}
