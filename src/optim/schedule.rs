//! Learning rate schedules. They advance once per optimizer step, never per micro-batch.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, check_non_negative, check_positive};

/// The learning rate as a function of the steps taken. The formulas are those of `torch.optim.lr_scheduler`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// The base rate throughout. The default.
    #[default]
    Constant,
    /// `base * gamma^(t / every)`, the division in whole numbers.
    Step {
        /// Steps between drops.
        every: u64,
        /// What the rate is multiplied by at each drop.
        gamma: f64,
    },
    /// `base * gamma^t`.
    Exponential {
        /// What the rate is multiplied by at each step.
        gamma: f64,
    },
    /// `eta_min + (base - eta_min) (1 + cos(pi t / t_max)) / 2` until step `t_max`, and `eta_min` from there on.
    Cosine {
        /// Steps from the base rate down to `eta_min`.
        t_max: u64,
        /// The least rate.
        eta_min: f64,
    },
    /// `base` times a factor that goes evenly from `start` to `end` in `iters` steps, and stays.
    Linear {
        /// The first factor.
        start: f64,
        /// The last factor.
        end: f64,
        /// Steps from the first to the last.
        iters: u64,
    },
}

impl Schedule {
    /// The learning rate of the step after `steps` steps, for a base rate `base`.
    pub fn lr(self, base: f64, steps: u64) -> f64 {
        match self {
            Schedule::Constant => base,
            Schedule::Step { every, gamma } => base * gamma.powf((steps / every) as f64),
            Schedule::Exponential { gamma } => base * gamma.powf(steps as f64),
            Schedule::Cosine { t_max, eta_min } => {
                let angle = PI * steps.min(t_max) as f64 / t_max as f64;
                eta_min + (base - eta_min) * (1.0 + angle.cos()) / 2.0
            }
            Schedule::Linear { start, end, iters } => {
                base * (start + (end - start) * steps.min(iters) as f64 / iters as f64)
            }
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) when a count of steps is 0, or a factor is negative or not finite.
    pub fn check(self) -> Result<()> {
        let count = |steps: u64| {
            if steps > 0 { Ok(()) } else { Err(Error::setting("schedule", "a count of 0 steps must be above 0")) }
        };
        match self {
            Schedule::Constant => Ok(()),
            Schedule::Step { every, gamma } => count(every).and_then(|()| check_positive("schedule: gamma", gamma)),
            Schedule::Exponential { gamma } => check_positive("schedule: gamma", gamma),
            Schedule::Cosine { t_max, eta_min } => {
                count(t_max).and_then(|()| check_non_negative("schedule: eta_min", eta_min))
            }
            Schedule::Linear { start, end, iters } => {
                count(iters)?;
                check_positive("schedule: start", start)?;
                check_non_negative("schedule: end", end)
            }
        }
    }
}

const FORMS: &str = "constant, step:EVERY:GAMMA, exponential:GAMMA, cosine:T_MAX[:ETA_MIN] or linear:START:END:ITERS";

/// Reads `constant`, `step:EVERY:GAMMA`, `exponential:GAMMA`, `cosine:T_MAX[:ETA_MIN]` (`ETA_MIN` 0 if left out) or
/// `linear:START:END:ITERS`, and checks it.
impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let malformed = || Error::setting("schedule", format!("\"{text}\" must be {FORMS}"));
        let number = |part: &str| part.parse::<f64>().map_err(|_| malformed());
        let count = |part: &str| part.parse::<u64>().map_err(|_| malformed());
        let schedule = match parts[..] {
            ["constant"] => Schedule::Constant,
            ["step", every, gamma] => Schedule::Step { every: count(every)?, gamma: number(gamma)? },
            ["exponential", gamma] => Schedule::Exponential { gamma: number(gamma)? },
            ["cosine", t_max] => Schedule::Cosine { t_max: count(t_max)?, eta_min: 0.0 },
            ["cosine", t_max, eta_min] => Schedule::Cosine { t_max: count(t_max)?, eta_min: number(eta_min)? },
            ["linear", start, end, iters] => {
                Schedule::Linear { start: number(start)?, end: number(end)?, iters: count(iters)? }
            }
            _ => return Err(malformed()),
        };
        schedule.check()?;
        Ok(schedule)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => write!(f, "constant"),
            Schedule::Step { every, gamma } => write!(f, "step:{every}:{gamma}"),
            Schedule::Exponential { gamma } => write!(f, "exponential:{gamma}"),
            Schedule::Cosine { t_max, eta_min } => write!(f, "cosine:{t_max}:{eta_min}"),
            Schedule::Linear { start, end, iters } => write!(f, "linear:{start}:{end}:{iters}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["constant", "step:4:0.5", "exponential:0.9", "cosine:24:0.001", "linear:0.1:1:6"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        assert_eq!("cosine:24".parse::<Schedule>().unwrap().to_string(), "cosine:24:0");
    }

    #[test]
    fn malformed_and_senseless_schedules_are_refused() {
        for text in ["", "step", "step:0:0.5", "step:4:-1", "cosine:0", "exponential:NaN", "linear:1:0:0", "warm:3"] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn schedules_start_at_the_base_rate_and_end_where_they_say() {
        let cosine = Schedule::Cosine { t_max: 10, eta_min: 0.1 };
        assert_eq!(cosine.lr(1.0, 0), 1.0);
        assert!((cosine.lr(1.0, 10) - 0.1).abs() < 1e-15);
        assert_eq!(cosine.lr(1.0, 10), cosine.lr(1.0, 1_000));
        let linear = Schedule::Linear { start: 0.5, end: 2.0, iters: 3 };
        assert_eq!((linear.lr(1.0, 0), linear.lr(1.0, 3), linear.lr(1.0, 99)), (0.5, 2.0, 2.0));
        assert_eq!(Schedule::Step { every: 4, gamma: 0.5 }.lr(1.0, 8), 0.25);
    }
}
