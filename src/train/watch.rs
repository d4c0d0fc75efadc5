//! Signs that a run goes wrong though its numbers are finite. A few operations a step; what costs more is done only
//! when these raise a suspicion.

use super::event::StepEvent;

/// The codes of all warnings of a run.
const CODES: [&str; 7] = [
    "non_finite_step",
    "gradients_clipped",
    "loss_rising",
    "oscillation",
    "validation_rising",
    "separable_classes",
    "small_learning_rate",
];

/// How often each warning arose: steps left out for `non_finite_step`, epochs for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WarningCounts([u64; CODES.len()]);

impl WarningCounts {
    /// How often a warning arose; 0 for a code that does not exist.
    pub fn of(&self, code: &str) -> u64 {
        CODES.iter().position(|c| *c == code).map_or(0, |at| self.0[at])
    }

    /// The warnings that arose, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CODES.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Counts one more, and says how many there are now.
    pub(super) fn count(&mut self, code: &str) -> u64 {
        let at = CODES.iter().position(|c| *c == code).expect("the code is in the list");
        self.0[at] += 1;
        self.0[at]
    }
}

/// What a run looks like at the end of an epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpochFacts {
    pub epoch: usize,
    /// The mean training loss over the epoch, and with the penalty.
    pub loss: f64,
    pub objective: f64,
    pub valid_loss: Option<f64>,
    /// The gradient norm of its last step.
    pub grad_norm: f64,
    /// Whether momentum carries parameters beyond where the gradient points.
    pub momentum: bool,
}

/// What the watch has to say of an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sign {
    /// Nearly every gradient is clipped: this share.
    Clipped(f64),
    /// The objective has risen for this many epochs.
    Rising(usize),
    /// The loss stands still while gradients stay large: the learning rate may be at its limit. With the curvature
    /// along the gradient, where steps have told it.
    Oscillating(Option<f64>),
    /// The validation loss was lowest in this epoch, and has risen since.
    ValidationRising(usize),
}

/// Epochs, of the whole batch, that are looked at together.
const WINDOW: usize = 20;

/// The loss stands still if its later half is above this share of its earlier one.
const STILL: f64 = 0.98;

/// Epochs in a row that must rise.
const RISES: usize = 20;

/// The share of clipped steps that is nearly all, and the clipped steps after which it is told.
const NEARLY_ALL: f64 = 0.95;
const CLIPPED_AFTER: u64 = 200;

/// Epochs in a row that the validation loss must be this many times its lowest: momentum swings it up for some.
const VALIDATION_EPOCHS: usize = 20;
const VALIDATION_RISE: f64 = 1.2;

/// A gradient norm below this share of the largest is that of a run that has arrived.
const LARGE: f64 = 0.05;

/// A step that gains less than this share of what its gradient promises is at the limit: there it gains 1 - lr c/2 of
/// it, c the curvature along the gradient.
const GAINS_NOTHING: f64 = 0.1;

/// Watches one run.
#[derive(Debug, Default)]
pub(super) struct Watch {
    steps: u64,
    clipped: u64,
    largest_norm: f64,
    pub largest_lr: f64,
    /// Of plain steps with the full batch: the last loss and what its gradient promised, and how many steps in a row
    /// gained next to nothing, with the curvature the last of them showed.
    promised: Option<(f64, f64, f64)>,
    gained_nothing: usize,
    curvature: f64,
    /// The objectives of the last epochs, in turns; all epochs so far.
    losses: [f64; WINDOW],
    epochs: usize,
    /// The epochs from which it looks at them again.
    looks_from: usize,
    first: f64,
    before: f64,
    rises: usize,
    /// Epoch, validation loss and training loss of the lowest validation loss.
    best: Option<(usize, f64, f64)>,
    /// Epochs in a row whose validation loss is well above the lowest.
    risen: usize,
}

impl Watch {
    /// After each step. `plain` says that it was along the gradient of the full batch, undisturbed by momentum.
    pub(super) fn step(&mut self, event: &StepEvent, clipped: bool, plain: bool) {
        self.steps += 1;
        self.clipped += u64::from(clipped);
        // Not `max`: the compiler then reads both as a pair, and what has just been written one by one is waited for.
        if event.grad_norm > self.largest_norm {
            self.largest_norm = event.grad_norm;
        }
        if event.lr > self.largest_lr {
            self.largest_lr = event.lr;
        }
        if !plain || clipped {
            self.promised = None;
            return;
        }
        let promise = event.lr * event.grad_norm * event.grad_norm;
        if let Some((loss, promised, lr)) = self.promised {
            // A promise below rounding cannot be measured, and is that of a run that has arrived.
            let gained = loss - event.loss;
            if gained < GAINS_NOTHING * promised && promised > 1e-9 * loss.abs() {
                self.gained_nothing += 1;
                self.curvature = 2.0 * (1.0 - gained / promised) / lr;
            } else {
                self.gained_nothing = 0;
            }
        }
        self.promised = Some((event.loss, promise, event.lr));
    }

    /// After each epoch: what it has to say.
    pub(super) fn epoch(&mut self, facts: &EpochFacts) -> Vec<Sign> {
        if self.epochs == 0 {
            self.first = facts.objective;
        }
        self.rises = if facts.objective > self.before { self.rises + 1 } else { 0 };
        self.before = facts.objective;
        self.losses[self.epochs % WINDOW] = facts.objective;
        self.epochs += 1;
        let share = (self.clipped >= CLIPPED_AFTER).then(|| self.clipped as f64 / self.steps as f64);
        let clipped = share.filter(|share| *share >= NEARLY_ALL).map(Sign::Clipped);
        // Momentum overshoots, and comes back; it does not pass where it began.
        let rising = self.rises > RISES && (!facts.momentum || facts.objective > self.first);
        let rising = rising.then_some(Sign::Rising(self.rises));
        let oscillating = if self.gained_nothing >= WINDOW {
            Some(Sign::Oscillating(Some(self.curvature)))
        } else {
            let still = facts.grad_norm > LARGE * self.largest_norm && self.stands_still();
            still.then_some(Sign::Oscillating(None))
        };
        let validation_rising = facts.valid_loss.and_then(|valid| self.validation_rising(valid, facts));
        // Most epochs have nothing to say, and an epoch may be as short as a step of 100 rows.
        match [clipped, rising, oscillating, validation_rising] {
            [None, None, None, None] => Vec::new(),
            signs => signs.into_iter().flatten().collect(),
        }
    }

    /// What a validation loss says.
    fn validation_rising(&mut self, valid: f64, facts: &EpochFacts) -> Option<Sign> {
        match self.best {
            Some((epoch, lowest, loss)) if valid >= lowest => {
                let risen = valid > VALIDATION_RISE * lowest && facts.loss < loss;
                self.risen = if risen { self.risen + 1 } else { 0 };
                (self.risen > VALIDATION_EPOCHS).then_some(Sign::ValidationRising(epoch))
            }
            _ => {
                (self.best, self.risen) = (Some((facts.epoch, valid, facts.loss)), 0);
                None
            }
        }
    }

    /// Whether the losses of the window stand still. After plain steps, whose gains tell of oscillation themselves, a loss
    /// that falls is left alone for half a window: looking takes half as long as a short step.
    fn stands_still(&mut self) -> bool {
        if self.epochs < self.looks_from.max(WINDOW) {
            return false;
        }
        // From the oldest on.
        let (mut halves, mut at) = ([0.0; 2], self.epochs % WINDOW);
        for half in &mut halves {
            for _ in 0..WINDOW / 2 {
                *half += self.losses[at];
                at = if at + 1 < WINDOW { at + 1 } else { 0 };
            }
        }
        let still = halves[1] > STILL * halves[0];
        if !still && self.promised.is_some() {
            self.looks_from = self.epochs + WINDOW / 2;
        }
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(losses: impl Iterator<Item = f64>, momentum: bool) -> Vec<Sign> {
        let mut watch = Watch { largest_norm: 1.0, ..Watch::default() };
        let mut told = Vec::new();
        for (at, loss) in losses.enumerate() {
            let facts = EpochFacts { epoch: at + 1, loss, objective: loss, valid_loss: None, grad_norm: 0.5, momentum };
            told.extend(watch.epoch(&facts));
        }
        told
    }

    #[test]
    fn twenty_one_rises_are_told_and_a_swing_of_momentum_is_not() {
        let rising = |epochs: usize| (0..epochs).map(|i| if i == 0 { 9.0 } else { 1.0 + 0.1 * i as f64 });
        assert!(!signs(rising(22), false).iter().any(|s| matches!(s, Sign::Rising(_))));
        assert!(signs(rising(23), false).contains(&Sign::Rising(21)));
        assert!(!signs(rising(60), true).iter().any(|s| matches!(s, Sign::Rising(_))));
        assert!(signs(rising(90), true).iter().any(|s| matches!(s, Sign::Rising(_))));
    }

    #[test]
    fn a_loss_that_stands_still_under_large_gradients_is_suspect() {
        assert_eq!(signs((0..20).map(|i| 1.0 + 0.1 * (i % 2) as f64), true), [Sign::Oscillating(None)]);
        assert_eq!(signs((0..20).map(|i| 1.0 / (1.0 + i as f64)), true), []);
    }

    #[test]
    fn a_loss_that_falls_and_then_stands_still_is_told_half_a_window_late_at_most() {
        let told = |plain: bool| {
            let mut watch = Watch::default();
            let signs = (1..=60).filter(|&epoch| {
                let loss = 1.0 + 0.8f64.powi(epoch.min(30));
                // Too short a step to promise anything.
                let step = StepEvent { step: 1, epoch: 1, loss, grad_norm: 0.5, lr: 1e-12, samples: 1 };
                watch.step(&step, false, plain);
                let facts =
                    EpochFacts { epoch: 1, loss, objective: loss, valid_loss: None, grad_norm: 0.5, momentum: !plain };
                watch.epoch(&facts) == [Sign::Oscillating(None)]
            });
            signs.collect::<Vec<i32>>()
        };
        // After any other steps, as soon as its window stands still, and from then on in each epoch.
        let at_once = told(false);
        assert_eq!(at_once, (at_once[0]..=60).collect::<Vec<_>>());
        assert!((20..40).contains(&at_once[0]), "{at_once:?}");
        let after_plain_steps = told(true);
        assert_eq!(after_plain_steps, (after_plain_steps[0]..=60).collect::<Vec<_>>());
        assert!((at_once[0]..at_once[0] + 10).contains(&after_plain_steps[0]), "{at_once:?} {after_plain_steps:?}");
    }

    #[test]
    fn a_quadratic_tells_its_curvature_by_what_steps_gain() {
        // loss = 2 w^2, curvature 4: limit 0.5.
        let gained_nothing = |lr: f64| {
            let (mut watch, mut w) = (Watch::default(), 1.0_f64);
            for step in 1..30 {
                let event = StepEvent { step, epoch: 1, loss: 2.0 * w * w, grad_norm: (4.0 * w).abs(), lr, samples: 1 };
                watch.step(&event, false, true);
                w -= lr * 4.0 * w;
            }
            (watch.gained_nothing, watch.curvature)
        };
        assert_eq!(gained_nothing(0.4).0, 0);
        let (steps, curvature) = gained_nothing(0.49);
        assert!(steps == 28 && (curvature - 4.0).abs() < 1e-9, "{steps} {curvature}");
    }
}
