//! What rows cost together.

use std::ops::{Add, AddAssign};

/// What several rows cost, before any division.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// The sum of the rows' losses.
    pub loss: f64,
    /// The sum of their weights.
    pub weight: f64,
}

impl LossSum {
    /// Their mean loss. NaN if none of them counts.
    #[inline]
    pub fn mean(self) -> f64 {
        self.loss / self.weight
    }
}

impl Add for LossSum {
    type Output = LossSum;

    fn add(self, other: LossSum) -> LossSum {
        LossSum { loss: self.loss + other.loss, weight: self.weight + other.weight }
    }
}

impl AddAssign for LossSum {
    fn add_assign(&mut self, other: LossSum) {
        *self = *self + other;
    }
}
