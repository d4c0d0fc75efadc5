//! On which processor a thread runs.

use std::sync::atomic::{AtomicI32, Ordering};

/// No processor.
pub const NOWHERE: i32 = -1;

/// The processor this thread runs on.
#[cfg(target_os = "linux")]
pub fn processor() -> i32 {
    // SAFETY: it takes nothing and changes nothing.
    unsafe { libc::sched_getcpu() }
}

/// Moves this thread to another processor, if it runs on this one. A system may start or wake a helper on the caller's own
/// processor and leave it there for milliseconds, a thousand steps: the two would take turns.
#[cfg(target_os = "linux")]
pub fn leave(number: i32) {
    let Ok(index) = usize::try_from(number) else { return };
    if processor() != number || index >= libc::CPU_SETSIZE as usize {
        return;
    }
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of no processors is one of all zeros, each call is told the size of the set it gets, and the index was
    // found to be within it.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size, &mut allowed) != 0 {
            return;
        }
        let mut others = allowed;
        libc::CPU_CLR(index, &mut others);
        if libc::CPU_COUNT(&others) > 0 && libc::sched_setaffinity(0, size, &others) == 0 {
            // It stays where it is now, and may be moved again as before. Were that refused, which no system does that
            // allowed the first, the helper would work all the same.
            libc::sched_setaffinity(0, size, &allowed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub fn processor() -> i32 {
    NOWHERE
}

#[cfg(not(target_os = "linux"))]
pub fn leave(_number: i32) {}

/// Where threads that work side by side were last seen.
#[derive(Debug)]
pub struct SideBySide(Vec<AtomicI32>);

impl SideBySide {
    /// For so many threads. Where they are more than processors, each stays where the system puts it.
    pub fn new(threads: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads > processors { 0 } else { threads };
        SideBySide((0..threads).map(|_| AtomicI32::new(NOWHERE)).collect())
    }

    /// Notes where this thread is, which has this number, and moves it, if one with a lower number is there. To be called
    /// once in a while: a system may leave two on one processor for tens of milliseconds beside one that is idle.
    pub fn spread(&self, thread: usize) {
        let (Some(place), here) = (self.0.get(thread), processor()) else { return };
        if here == NOWHERE {
            return;
        }
        if self.0[..thread].iter().any(|other| other.load(Ordering::Relaxed) == here) {
            leave(here);
        }
        place.store(processor(), Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_crowded_thread_moves_and_may_go_where_it_might_before() {
        let allowed = || {
            // SAFETY: as in `leave`.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set), 0);
                (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect::<Vec<_>>()
            }
        };
        thread::spawn(move || {
            let before = allowed();
            // The system may move a thread at any time: once in twenty is enough.
            let moved = (0..20).any(|_| {
                let here = processor();
                leave(here);
                processor() != here
            });
            assert!(moved || before.len() == 1);
            for nowhere in [NOWHERE, i32::MAX] {
                leave(nowhere);
            }
            assert_eq!(allowed(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_thread_of_the_higher_number_moves() {
        thread::spawn(|| {
            // Both are this thread: where the first was seen, the second finds itself.
            let threads = SideBySide::new(2);
            let moved = (0..20).any(|_| {
                threads.spread(0);
                let here = processor();
                threads.spread(1);
                processor() != here
            });
            // The system may move it, too, but not twenty times in a row.
            let stayed = (0..20).any(|_| {
                threads.spread(1);
                let here = processor();
                threads.spread(0);
                processor() == here
            });
            assert!(stayed && (moved || thread::available_parallelism().unwrap().get() == 1));
        })
        .join()
        .unwrap();
    }
}
