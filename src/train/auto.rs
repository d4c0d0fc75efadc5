//! Chooses what was not given: learning rate, momentum, schedule, batch size and epochs, together.
//!
//! The step comes from the curvature L of the loss. A full batch runs Nesterov's method: with steps of 1/L and
//! strong convexity mu, momentum `(1-q)/(1+q)`, `q = sqrt(mu/L)`, brings the objective down by `1 - q` a step
//! (Nesterov 2004, section 2.2); mu is the weight decay, bounded from below for data without one. Mini-batches take
//! the expected smoothness of the batch for L, and a cosine schedule takes their noise out at the end.

use super::config::{BatchSize, Optimality, Plateau};
use super::curvature::Curvature;
use crate::optim::{Momentum, Schedule};

/// What the user has settled; the rest is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Given {
    /// The momentum and its kind.
    pub momentum: Option<Momentum>,
    /// The schedule.
    pub schedule: Option<Schedule>,
    /// Rows in a micro-batch.
    pub batch_size: Option<BatchSize>,
    /// Exactly this many epochs.
    pub epochs: Option<usize>,
    /// Micro-batches in a step; 0 counts as 1.
    pub accumulate: usize,
    /// The weight decay.
    pub weight_decay: f64,
}

/// What to train with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The learning rate.
    pub lr: f64,
    /// The momentum.
    pub momentum: Momentum,
    /// The schedule.
    pub schedule: Schedule,
    /// Rows in a micro-batch.
    pub batch_size: BatchSize,
    /// The most epochs.
    pub epochs: usize,
    /// Epochs before patience counts: momentum swings beyond the optimum and back.
    pub patience_from: usize,
    /// When a full batch is near enough to the optimum, for a number of epochs that was not given.
    pub optimality: Option<Optimality>,
    /// When the objective counts as settled, for a number of epochs that was not given.
    pub plateau: Option<Plateau>,
    /// The curvature the learning rate comes from.
    pub curvature: f64,
}

/// Up to this many multiplications a pass a full batch is fast enough.
const FULL_BATCH_WORK: usize = 4_000_000;

/// The most epochs.
const MOST_EPOCHS: usize = 1000;

/// The least mu/L reckoned with: what the data themselves have when nothing is known.
const LEAST_CONDITION: f64 = 1e-4;

/// The relative improvement below which the objective has settled.
const SETTLED: f64 = 1e-5;

/// The relative distance from the optimum at which a full batch ends.
const NEAR_ENOUGH: f64 = 5e-5;

/// Rows in a mini-batch.
const MINI_BATCH: usize = 256;

/// Rows that the epochs of a mini-batch run go over, and the bounds on their number.
const ROWS_IN_ALL: usize = 5_000_000;
const EPOCHS: (usize, usize) = (10, 500);

/// The momentum of mini-batches.
const MINI_BATCH_MOMENTUM: f64 = 0.9;

/// Chooses what was not given, for `rows` rows and `parameters` parameters.
pub fn plan(curvature: &Curvature, rows: usize, parameters: usize, given: &Given) -> Plan {
    let batch_size = given.batch_size.unwrap_or(if rows.saturating_mul(parameters) <= FULL_BATCH_WORK {
        BatchSize::Full
    } else {
        BatchSize::Rows(MINI_BATCH)
    });
    let batch = batch_size.effective(given.accumulate.max(1), rows);
    let full = batch == rows;
    let steepest = (curvature.of_batch(batch) + given.weight_decay).max(f64::MIN_POSITIVE);
    let condition = (given.weight_decay / steepest).max(LEAST_CONDITION).sqrt();
    let momentum = given.momentum.unwrap_or(Momentum::Nesterov {
        momentum: if full { (1.0 - condition) / (1.0 + condition) } else { MINI_BATCH_MOMENTUM },
    });
    let memory = ((1.0 - momentum.factor()) / (1.0 - MINI_BATCH_MOMENTUM)).clamp(0.0, 1.0);
    // A momentum m adds up 1/(1-m) gradients; of noisy ones no more than a plain step would take.
    let lr = if full { 1.0 / steepest } else { NOISY_STEP * memory / steepest };

    let epochs = given.epochs.unwrap_or(match (full, given.schedule) {
        (false, None) => (ROWS_IN_ALL / rows).clamp(EPOCHS.0, EPOCHS.1),
        _ => MOST_EPOCHS,
    });
    let steps = epochs.saturating_mul(rows.div_ceil(batch)) as u64;
    let schedule = given.schedule.unwrap_or(if full {
        Schedule::Constant
    } else {
        Schedule::Cosine { t_max: steps, eta_min: 0.0 }
    });
    // Momentum overshoots for a time, and the objective with it: the slowest swing takes 2 pi / q steps at the most.
    let swing = if momentum.factor() > 0.0 { (2.0 * std::f64::consts::PI / condition) as usize } else { 0 };
    let patience_from = if given.epochs.is_none() && full { swing.min(MOST_EPOCHS / 2) } else { 0 };
    let settles = given.epochs.is_none() && (full || given.schedule.is_some());
    let plateau = settles.then(|| Plateau { epochs: swing.clamp(10, MOST_EPOCHS / 2), tolerance: SETTLED });
    let optimality = (settles && full)
        .then_some(Optimality { strong_convexity: condition * condition * steepest, tolerance: NEAR_ENOUGH });
    Plan { lr, momentum, schedule, batch_size, epochs, patience_from, optimality, plateau, curvature: steepest }
}

/// The step of mini-batches with their own momentum, as a share of 1/L.
const NOISY_STEP: f64 = 0.5;
