//! What the kernels' tests share.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::element::Element;
use super::level::Level;
use super::rows::RowIndex;

/// The level is the process's: who changes it writes, who needs it to stay reads.
static LEVEL: RwLock<()> = RwLock::new(());

/// Runs a test with each level this machine has.
pub(super) fn on_every_level(mut test: impl FnMut()) {
    /// Also when a test fails.
    struct Restore(Level);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.enforce();
        }
    }
    let _alone = LEVEL.write().unwrap_or_else(PoisonError::into_inner);
    let _restore = Restore(Level::in_use());
    for level in Level::available() {
        level.enforce();
        test();
    }
}

/// Keeps the level as it is while a test compares bits.
pub(crate) fn at_one_level() -> RwLockReadGuard<'static, ()> {
    LEVEL.read().unwrap_or_else(PoisonError::into_inner)
}

/// `count` numbers between -1 and 1, always the same.
pub(super) fn numbers<T: Element>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| T::from_f64(next())).collect()
}

/// Holds a number to another, relative to the larger of it and 1.
#[track_caller]
pub(super) fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} and not {expected}");
}

/// Rows by a list, and as many that lie one after another.
pub(super) fn listed_and_in_line(list: &[u32]) -> [RowIndex<'_>; 2] {
    [RowIndex::list(list), RowIndex::range(3, list.len())]
}
