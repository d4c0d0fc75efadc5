//! What the checks of a run remember of its losses: no more of a million epochs than of a hundred.

/// The most stretches; an even number.
const MOST: usize = 128;

/// The losses of epochs, in stretches of one length: up to 128 epochs, each has one of its own. Whenever all stretches are
/// in use, each two become one; a place in the history is thus known to a sixty-fourth of it.
#[derive(Debug)]
pub(super) struct LossHistory {
    // In place: memory of its own may lie in a page that the system has yet to hand out, which takes as long as 40 short epochs.
    room: [Stretch; MOST],
    /// Stretches begun.
    count: usize,
    /// Epochs of a stretch.
    length: usize,
    epochs: usize,
    first: f64,
    lowest: f64,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    highest: f64,
    last: f64,
}

impl LossHistory {
    /// Of no epoch yet.
    pub fn new() -> Self {
        LossHistory {
            room: [Stretch { highest: 0.0, last: 0.0 }; MOST],
            count: 0,
            length: 1,
            epochs: 0,
            first: f64::NAN,
            lowest: f64::INFINITY,
        }
    }

    fn stretches(&self) -> &[Stretch] {
        &self.room[..self.count]
    }

    /// Notes the loss of one more epoch.
    #[inline]
    pub fn push(&mut self, loss: f64) {
        self.lowest = self.lowest.min(loss);
        if self.epochs < self.count * self.length {
            let stretch = &mut self.room[self.count - 1];
            *stretch = Stretch { highest: stretch.highest.max(loss), last: loss };
        } else {
            self.begin_stretch(loss);
        }
        self.epochs += 1;
    }

    // A function of its own: of a long run few epochs come here.
    #[inline(never)]
    fn begin_stretch(&mut self, loss: f64) {
        if self.epochs == 0 {
            self.first = loss;
        }
        if self.count == MOST {
            for at in 0..MOST / 2 {
                let [before, after] = [self.room[2 * at], self.room[2 * at + 1]];
                self.room[at] = Stretch { highest: before.highest.max(after.highest), last: after.last };
            }
            self.count /= 2;
            self.length *= 2;
        }
        self.room[self.count] = Stretch { highest: loss, last: loss };
        self.count += 1;
    }

    /// The lowest loss, infinite where there is none.
    pub fn lowest(&self) -> f64 {
        self.lowest
    }

    /// Whether the loss was still falling as fast as before when the run ended: over its last tenth it fell at least half
    /// of a tenth of all it fell.
    pub fn still_falling(&self) -> bool {
        const FEWEST: usize = 10;
        let (Some(last), FEWEST..) = (self.stretches().last(), self.epochs) else { return false };
        let tenth = self.epochs / 10;
        let at = (self.epochs - 1 - tenth) / self.length;
        let before = self.stretches()[at].last;
        // The stretch may end within the last tenth.
        let measured = self.epochs - (at + 1) * self.length;
        let share = 0.05 * measured as f64 / tenth as f64;
        self.first > last.last && before - last.last >= share * (self.first - last.last)
    }

    /// Whether the highest loss of the last quarter of the epochs, to the nearest stretch, is well above that of the quarter
    /// before, and the lowest of all: what is stable swings less and less.
    pub fn swings_grow(&self) -> bool {
        const FEWEST: usize = 12;
        const GROWTH: f64 = 1.2;
        if self.epochs < FEWEST {
            return false;
        }
        let quarter = self.count / 4;
        let (before, last) = self.stretches()[self.count - 2 * quarter..].split_at(quarter);
        let highest = |part: &[Stretch]| part.iter().map(|stretch| stretch.highest).fold(f64::NEG_INFINITY, f64::max);
        highest(last) > GROWTH * highest(before) && highest(last) > 2.0 * self.lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(losses: impl IntoIterator<Item = f64>) -> LossHistory {
        let mut history = LossHistory::new();
        losses.into_iter().for_each(|loss| history.push(loss));
        history
    }

    #[test]
    fn a_run_cut_short_is_still_falling_and_one_that_arrived_is_not() {
        for epochs in [10, 50, MOST, MOST + 1, 1000, 5000, 8250] {
            let falling =
                |rate: f64| history((0..epochs).map(|i| (-rate * i as f64 / epochs as f64).exp())).still_falling();
            assert!(falling(0.1) && falling(1.0) && falling(1.2), "{epochs}");
            assert!(!falling(2.0) && !falling(15.0) && !falling(-1.0), "{epochs}");
        }
        assert!(!history((0..9).map(|i| -f64::from(i))).still_falling());
    }

    #[test]
    fn swings_that_grow_are_told_from_those_that_calm_down() {
        for epochs in [12, 50, MOST, MOST + 1, 1000, 5000] {
            // Now high, now low.
            let swings = |growth: f64| {
                let loss = |i: i32| 1.0 + f64::from(i % 2) * (growth * f64::from(i) / epochs as f64).exp();
                history((0..epochs as i32).map(loss)).swings_grow()
            };
            assert!(swings(4.0), "{epochs}");
            assert!(!swings(0.0) && !swings(-4.0), "{epochs}");
        }
        assert!(!history((0..11).map(|i| f64::from(i).exp())).swings_grow());
        // High above the quarter before, but not above the lowest of all.
        let drift = |i: usize| if i < 75 { 1.0 } else { 1.3 };
        assert!(!history((0..100).map(drift)).swings_grow());
    }

    #[test]
    fn a_long_history_is_that_of_its_stretches() {
        for epochs in [0, 1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST, 10_007] {
            let loss = |i: usize| ((i * 7919) % 1009) as f64;
            let history = history((0..epochs).map(loss));
            let (length, count) = (history.length, history.stretches().len());
            assert!(length == 1 || (MOST / 2..=MOST).contains(&count), "{count} stretches of {length}");
            assert_eq!(count, epochs.div_ceil(length));
            for (at, stretch) in history.stretches().iter().enumerate() {
                let part = (at * length..((at + 1) * length).min(epochs)).map(loss);
                assert_eq!(Some(stretch.last), part.clone().next_back());
                assert_eq!(stretch.highest, part.fold(0.0, f64::max));
            }
            assert_eq!(history.lowest(), (0..epochs).map(loss).fold(f64::INFINITY, f64::min));
        }
    }
}
