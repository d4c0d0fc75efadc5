//! Tests that hold with every set of instructions this machine has.

use std::sync::{Mutex, PoisonError};

use gradus::kernels::Level;

/// Runs a test at each level. One test at a time: the level is the process's.
pub fn on_every_level(test: impl Fn()) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for level in Level::available() {
        level.enforce();
        test();
    }
    drop(guard);
}
