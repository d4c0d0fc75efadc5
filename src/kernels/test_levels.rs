//! What the kernels' tests share.

use std::sync::Mutex;

use super::element::Element;
use super::level::Level;

/// Runs a test with each level this machine has.
pub(super) fn on_every_level(test: impl Fn()) {
    // One test at a time: the level is the process's.
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = Level::in_use();
    for level in Level::available() {
        level.enforce();
        test();
    }
    before.enforce();
    drop(guard);
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
