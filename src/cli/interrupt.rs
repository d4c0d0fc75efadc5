//! SIGINT and SIGTERM: the first ends a run before its next step, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gradus::remarks::remark;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Flags that signals set.
pub struct Interrupt {
    pub flag: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes over the two signals. Until then they end the process, as usual.
    pub fn listen() -> Self {
        let interrupt = Interrupt { flag: Arc::default(), signal: Arc::default() };
        for (signal, status) in [(SIGINT, 130), (SIGTERM, 143)] {
            // In this order: the second signal finds the flag that the first has set.
            let registered = flag::register_conditional_shutdown(signal, status, Arc::clone(&interrupt.flag))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt.flag)))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&interrupt.signal), signal as usize));
            if let Err(error) = registered {
                remark(format!(
                    "warning: signal {signal} cannot be caught ({error}): it will end the run without a model"
                ));
            }
        }
        interrupt
    }

    /// The exit status for the signal that came: 130 or 143.
    pub fn status(&self) -> u8 {
        if self.signal.load(Ordering::SeqCst) == SIGTERM as usize { 143 } else { 130 }
    }
}
