//! The largest learning rates that are stable.

use crate::train::Curvature;

/// Learning rates below which training is stable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StableRates {
    /// Of a full batch: `2/L`.
    pub full_batch: f64,
    /// Of a full batch with momentum m: `2(1+m)/L` (Polyak 1964).
    pub momentum: f64,
    /// Of a full batch with Nesterov's momentum m: `2(1+m)/((1+2m)L)`.
    pub nesterov: f64,
    /// Of mini-batches: `1/L_b`, the inverse of their expected smoothness (Gower et al. 2019).
    pub mini_batch: f64,
}

/// The stable rates for a curvature, mini-batches of `batch` rows, a momentum from 0 to 1, and a weight decay, which
/// adds to the curvature. On a quadratic loss those of the full batch are exact: beyond them the run diverges.
pub fn stable_rates(curvature: &Curvature, batch: usize, momentum: f64, weight_decay: f64) -> StableRates {
    let steepest = curvature.full_batch + weight_decay;
    let full_batch = 2.0 / steepest;
    StableRates {
        full_batch,
        momentum: (1.0 + momentum) * full_batch,
        nesterov: (1.0 + momentum) / (1.0 + 2.0 * momentum) * full_batch,
        mini_batch: 1.0 / (curvature.of_batch(batch) + weight_decay),
    }
}
