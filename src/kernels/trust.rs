//! Whether a team's helpers are worth calling on for a piece of a few microseconds.

/// Small pieces that the caller does alone after a helper was late: at first, and at most.
const FEWEST_ALONE: usize = 4;
const MOST_ALONE: usize = 1 << 16;

/// Whether helpers come in time for small pieces, as far as experience goes.
#[derive(Debug)]
pub(super) struct Trust {
    /// Small pieces that the caller does alone before it calls on the helpers again.
    alone: usize,
    /// How many those will be the next time a helper is late.
    next_alone: usize,
}

impl Trust {
    pub const NEW: Trust = Trust { alone: 0, next_alone: FEWEST_ALONE };

    /// Whether the next small piece is one to call on the helpers for.
    pub fn calls(&mut self) -> bool {
        self.alone = self.alone.saturating_sub(1);
        self.alone == 0
    }

    /// Takes note of how a small piece went: whether a helper was late, and whether one had to be woken.
    pub fn learn(&mut self, late: bool, woken: bool) {
        // One that had to be woken has an excuse, and is awake for the next piece: were it left alone for longer than it
        // stays awake, it would be late again, and so for ever.
        if late && !woken {
            self.alone = self.next_alone;
            self.next_alone = (self.next_alone * 2).min(MOST_ALONE);
        } else if !late {
            self.note_in_time(1);
        }
    }

    /// Takes note that helpers have come in time so often: trust comes back slowly.
    pub fn note_in_time(&mut self, times: usize) {
        self.next_alone = FEWEST_ALONE.max(self.next_alone.saturating_sub(times));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_done_alone_for_a_time_when_a_helper_was_late() {
        let mut trust = Trust::NEW;
        let alone = |trust: &mut Trust| (0..).take_while(|_| !trust.calls()).count() + 1;
        assert!(trust.calls());
        trust.learn(true, false);
        assert_eq!(alone(&mut trust), FEWEST_ALONE);
        trust.learn(true, false);
        assert_eq!(alone(&mut trust), 2 * FEWEST_ALONE);
        // Had it been asleep, it is called on at once, and it has neither lost nor won trust.
        trust.learn(true, true);
        assert!(trust.calls());
        trust.learn(true, false);
        assert_eq!(alone(&mut trust), 4 * FEWEST_ALONE);
        for _ in 0..8 * FEWEST_ALONE {
            trust.learn(false, false);
        }
        assert_eq!(trust.next_alone, FEWEST_ALONE);
        trust.learn(true, false);
        trust.note_in_time(1);
        assert_eq!(trust.next_alone, 2 * FEWEST_ALONE - 1);
        trust.note_in_time(1000);
        assert_eq!(trust.next_alone, FEWEST_ALONE);
        for _ in 0..40 {
            trust.learn(true, false);
        }
        assert_eq!(trust.alone, MOST_ALONE);
    }
}
