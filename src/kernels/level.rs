//! Which instructions are used: picked at run time, once for a shard's worth of work.

use std::sync::atomic::{AtomicU8, Ordering};

use super::element::Element;
use super::lanes::Lanes;

/// A set of instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// What every machine of the target has: on 64-bit ARM, NEON as the compiler uses it.
    Plain = 1,
    /// x86-64 with AVX2 and FMA: 256 bits.
    Avx2 = 2,
    /// x86-64 with AVX-512 (F, VL, DQ and BW): 512 bits.
    Avx512 = 3,
}

/// Names a level instead of the best one: `plain`, `avx2` or `avx512`.
const VARIABLE: &str = "GRADUS_SIMD";

/// The level in use; 0 until it is first asked for.
static IN_USE: AtomicU8 = AtomicU8::new(0);

impl Level {
    const ALL: [Level; 3] = [Level::Plain, Level::Avx2, Level::Avx512];

    /// The levels this machine has, the best last.
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    /// The level in use: the one named by the environment variable `GRADUS_SIMD`, if this machine has it, else the
    /// best.
    pub fn in_use() -> Level {
        match IN_USE.load(Ordering::Relaxed) {
            1 => Level::Plain,
            2 => Level::Avx2,
            3 => Level::Avx512,
            _ => Level::choose(),
        }
    }

    #[cold]
    fn choose() -> Level {
        let named = std::env::var(VARIABLE).ok();
        let available = Level::available();
        let known = available.iter().find(|level| Some(level.name()) == named.as_deref());
        if let (Some(named), None) = (&named, known) {
            let names: Vec<&str> = available.iter().map(|level| level.name()).collect();
            eprintln!("warning: {VARIABLE}={named}: this machine has {}; the last is used", names.join(", "));
        }
        let level = *known.unwrap_or(available.last().expect("plain is everywhere"));
        IN_USE.store(level as u8, Ordering::Relaxed);
        level
    }

    /// Uses this level from now on, in the whole process: for tests that go over all of them.
    ///
    /// # Panics
    /// If this machine does not have it.
    pub fn enforce(self) {
        assert!(self.is_available(), "this machine does not have {}", self.name());
        IN_USE.store(self as u8, Ordering::Relaxed);
    }

    /// `plain`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Plain => "plain",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    fn is_available(self) -> bool {
        match self {
            Level::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[allow(unreachable_patterns)] // Which levels are left depends on the target.
            _ => false,
        }
    }
}

/// Work that is written over lanes, and compiled for every level.
pub trait Kernel<T: Element> {
    type Output;

    /// Does the work. Must be `#[inline(always)]`, as must be all it calls, to be compiled for the level.
    fn run<V: Lanes<Element = T>>(self) -> Self::Output;
}

/// Does the work with the instructions in use.
pub fn run<T: Element, K: Kernel<T>>(kernel: K) -> K::Output {
    match Level::in_use() {
        // SAFETY: a level is in use only where `is_available` has found its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { run_avx2(kernel) },
        _ => run_plain(kernel),
    }
}

/// A function of its own: what it needs on the stack would slow down the others.
#[inline(never)]
fn run_plain<T: Element, K: Kernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Plain>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn run_avx512<T: Element, K: Kernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Element, K: Kernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Avx2>()
}
