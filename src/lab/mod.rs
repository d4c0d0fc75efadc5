//! The bug lab: famous training bugs, each really run beside the right loop, with what finds it.
//!
//! A bug is one file here. The lines it shows are cut out of that very file, from between their marks, so what is
//! shown is what runs.

mod bench;
mod broadcast;
mod data;
pub mod detect;
mod double_step;
mod dropped_tail;
mod label_shift;
mod learning_rate;
mod mean_of_means;
mod missing_zero_grad;
mod naive_softmax;
mod period;
mod sign;
mod unscaled_accumulation;
mod unscaled_features;
mod zero_inside_window;

use crate::error::Result;

pub use period::{period, undamped_period};

/// Which of the two loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The one with the bug.
    Wrong,
    /// The mended one.
    Right,
}

/// A famous bug.
///
/// ```
/// use gradus::lab::{Version, bug};
///
/// let bug = bug("missing-zero-grad").expect("a bug of the lab");
/// assert!(bug.losses(Version::Wrong)?.last() > bug.losses(Version::Right)?.last());
/// assert!(bug.detect(Version::Wrong)?.expect("it is found").contains("stale gradient"));
/// assert_eq!(bug.detect(Version::Right)?, None);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Bug {
    /// Lower case, words joined by `-`.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// What happens and why, in a paragraph.
    pub story: &'static str,
    /// The data and the settings of both runs.
    pub setting: &'static str,
    /// What the trajectories count: `step` or `epoch`.
    pub unit: &'static str,
    /// What finds it.
    pub found_by: &'static str,
    /// What to do about it.
    pub mend: &'static str,
    /// The bug's own file.
    source: &'static str,
    losses: fn(Version) -> Result<Vec<f64>>,
    detect: fn(Version) -> Result<Option<String>>,
    facts: fn() -> Result<Vec<Fact>>,
}

/// A number beside the trajectories.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fact {
    /// Lower case, words joined by `_`.
    pub name: &'static str,
    /// What it is, with its unit.
    pub meaning: &'static str,
    /// The number.
    pub value: f64,
}

/// All of them, in the order to read them in.
static BUGS: [Bug; 12] = [
    missing_zero_grad::BUG,
    zero_inside_window::BUG,
    double_step::BUG,
    mean_of_means::BUG,
    dropped_tail::BUG,
    unscaled_accumulation::BUG,
    naive_softmax::BUG,
    broadcast::BUG,
    sign::BUG,
    learning_rate::BUG,
    unscaled_features::BUG,
    label_shift::BUG,
];

/// All bugs of the lab, in the order to read them in.
pub fn bugs() -> &'static [Bug] {
    &BUGS
}

/// The bug of this name.
pub fn bug(name: &str) -> Option<&'static Bug> {
    bugs().iter().find(|bug| bug.name == name)
}

impl Bug {
    /// Runs one of the two loops. Returns the mean loss of all rows before each step (or epoch, by `unit`), measured
    /// rightly in both.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn losses(&self, version: Version) -> Result<Vec<f64>> {
        (self.losses)(version)
    }

    /// Runs the detector on one of the two loops: its message, or `None` when it finds nothing.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn detect(&self, version: Version) -> Result<Option<String>> {
        (self.detect)(version)
    }

    /// Further figures, measured beside what theory says of them.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn facts(&self) -> Result<Vec<Fact>> {
        (self.facts)()
    }

    /// The lines of code that the two loops differ in, as they are run.
    pub fn lines(&self, version: Version) -> Vec<&'static str> {
        let mark = match version {
            Version::Wrong => "// shown: wrong",
            Version::Right => "// shown: right",
        };
        let mut after = self.source.lines().skip_while(|line| line.trim() != mark);
        let indent = after.next().map_or(0, |line| line.len() - line.trim_start().len());
        let shown = after.take_while(|line| line.trim() != "// end");
        shown.map(|line| line.get(indent..).unwrap_or("")).collect()
    }
}

/// For bugs that need no further figures.
fn no_facts() -> Result<Vec<Fact>> {
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detector_fires_in_the_wrong_run_and_is_silent_in_the_right_one() {
        for bug in bugs() {
            assert!(bug.detect(Version::Wrong).unwrap().is_some(), "{} is not found", bug.name);
            assert_eq!(bug.detect(Version::Right).unwrap(), None, "{}: a false alarm", bug.name);
        }
    }

    #[test]
    fn every_wrong_run_ends_worse_than_the_right_one() {
        for bug in bugs() {
            let (wrong, right) = (bug.losses(Version::Wrong).unwrap(), bug.losses(Version::Right).unwrap());
            assert_eq!(wrong.len(), right.len(), "{}", bug.name);
            let (last_wrong, last_right) = (wrong[wrong.len() - 1], right[right.len() - 1]);
            // A loss that is not a number is no better.
            assert!(last_wrong.is_nan() || last_wrong > 1.2 * last_right, "{}: {last_wrong} {last_right}", bug.name);
            assert!(right.iter().all(|loss| loss.is_finite()) && last_right < right[0], "{}", bug.name);
        }
    }

    #[test]
    fn the_lines_shown_are_there_and_differ() {
        for bug in bugs() {
            let (wrong, right) = (bug.lines(Version::Wrong), bug.lines(Version::Right));
            assert!(!wrong.is_empty() && !right.is_empty(), "{}", bug.name);
            assert_ne!(wrong, right, "{}", bug.name);
            for line in wrong.iter().chain(&right) {
                assert!(line.chars().count() <= 76, "{}: {line}", bug.name);
            }
        }
    }

    #[test]
    fn names_and_titles_are_unique() {
        for texts in [|bug: &Bug| bug.name, |bug: &Bug| bug.title] {
            let mut all: Vec<_> = bugs().iter().map(texts).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 12);
        }
    }
}
