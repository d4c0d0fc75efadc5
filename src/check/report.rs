//! What a check found: a verdict for each entry, each parameter and the whole.

use std::fmt;

use serde::Serialize;

use super::cause::Cause;

/// The verdict on a gradient or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The numerical derivative agrees within its own error.
    Correct,
    /// The one-sided derivatives differ and the analytic one lies between them: the loss is not differentiable here, and
    /// what was given is a subgradient.
    Kink,
    /// Rounding hides more than a hundredth of the slope: nothing can be said.
    Inconclusive,
    /// The numerical derivative differs by more than its error.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Correct => "correct",
            Verdict::Kink => "kink",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Wrong => "WRONG",
        })
    }
}

/// The customary bands of the relative error `|a-n| / (|a|+|n|+1e-8)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// Below 1e-6.
    VeryGood,
    /// Below 1e-4.
    Acceptable,
    /// 1e-4 and above.
    Large,
}

impl Band {
    /// The band of a relative error.
    pub fn of(relative_error: f64) -> Self {
        match relative_error {
            e if e < 1e-6 => Band::VeryGood,
            e if e < 1e-4 => Band::Acceptable,
            _ => Band::Large,
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Band::VeryGood => "very good",
            Band::Acceptable => "acceptable",
            Band::Large => "large",
        })
    }
}

/// One derivative that was checked: of an entry, or along a random direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The index of the entry in its parameter, `[row, column]` of a matrix; none for a direction.
    pub index: Option<Vec<usize>>,
    /// The analytic derivative.
    pub analytic: f64,
    /// The numerical derivative.
    pub numerical: f64,
    /// How far a right one may be from the numerical one, by its error estimate.
    pub tolerance: f64,
    /// `|a-n| / (|a|+|n|+1e-8)`.
    pub relative_error: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// The place in the flat gradient.
    #[serde(skip)]
    pub(super) flat: usize,
    /// The tolerance for comparing with a gradient that was rounded in another way.
    #[serde(skip)]
    pub(super) leeway: f64,
}

/// What was found of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterReport {
    /// The parameter's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The worst verdict of its entries.
    pub verdict: Verdict,
    /// How many entries, or directions, were checked.
    pub checked: usize,
    /// How many of them are wrong.
    pub wrong: usize,
    /// The entry with the worst verdict and, of those, the largest excess over its tolerance.
    pub worst: Option<Entry>,
    /// The largest relative error.
    pub largest_relative_error: f64,
    /// All that was checked.
    #[serde(skip)]
    pub entries: Vec<Entry>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The worst verdict of the parameters.
    pub verdict: Verdict,
    /// What most likely went wrong, if something did and it was recognised.
    pub cause: Option<Cause>,
    /// Each parameter.
    pub parameters: Vec<ParameterReport>,
    /// How often the loss was evaluated.
    pub evaluations: usize,
    /// What rounding does to a value of the loss.
    pub noise: f64,
    /// The loss.
    pub loss: f64,
}

impl Report {
    /// Whether nothing is wrong: correct, or a subgradient at a kink.
    pub fn passed(&self) -> bool {
        matches!(self.verdict, Verdict::Correct | Verdict::Kink)
    }

    /// The parameter and entry with the worst verdict and the largest excess over tolerance.
    pub fn worst(&self) -> Option<(&ParameterReport, &Entry)> {
        let of = |parameter: &'_ ParameterReport| parameter.worst.as_ref().map(excess);
        let parameter =
            self.parameters.iter().filter(|p| p.worst.is_some()).max_by(|a, b| {
                (a.verdict, of(a)).partial_cmp(&(b.verdict, of(b))).unwrap_or(std::cmp::Ordering::Equal)
            })?;
        parameter.worst.as_ref().map(|entry| (parameter, entry))
    }
}

/// How many times its tolerance an entry is off.
fn excess(entry: &Entry) -> f64 {
    (entry.analytic - entry.numerical).abs() / entry.tolerance.max(f64::MIN_POSITIVE)
}

impl ParameterReport {
    pub(super) fn new(name: String, shape: Vec<usize>, entries: Vec<Entry>) -> Self {
        let rank = |entry: &Entry| (entry.verdict, excess(entry));
        let worst =
            entries.iter().max_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal)).cloned();
        ParameterReport {
            name,
            shape,
            verdict: worst.as_ref().map_or(Verdict::Correct, |entry| entry.verdict),
            checked: entries.len(),
            wrong: entries.iter().filter(|entry| entry.verdict == Verdict::Wrong).count(),
            largest_relative_error: entries.iter().map(|entry| entry.relative_error).fold(0.0, f64::max),
            worst,
            entries,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.parameters.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).max("parameter".len());
        writeln!(
            f,
            "{:<name$}  {:>9}  {:<12}  {:>8}  {:<10}  {:<10}  {:>12}  {:>12}",
            "parameter", "checked", "verdict", "rel.err.", "band", "worst at", "analytic", "numerical"
        )?;
        for parameter in &self.parameters {
            let worst = parameter.worst.as_ref();
            let index = match worst {
                Some(Entry { index: Some(index), .. }) => format!("{index:?}"),
                Some(_) => "direction".into(),
                None => "-".into(),
            };
            let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.5e}"));
            writeln!(
                f,
                "{:<name$}  {:>9}  {:<12}  {:>8.1e}  {:<10}  {index:<10}  {:>12}  {:>12}",
                parameter.name,
                parameter.checked,
                parameter.verdict,
                parameter.largest_relative_error,
                Band::of(parameter.largest_relative_error),
                number(worst.map(|entry| entry.analytic)),
                number(worst.map(|entry| entry.numerical)),
            )?;
        }
        write!(f, "verdict: {}", self.verdict)?;
        match (&self.cause, self.verdict) {
            (Some(cause), _) => write!(f, "; likely cause: {cause}")?,
            (None, Verdict::Wrong) => write!(f, "; the cause is none of the usual ones")?,
            (None, Verdict::Inconclusive) => write!(
                f,
                "; rounding changes the loss by {:.1e}: check in f64, on fewer rows, or with values nearer to 1",
                self.noise
            )?,
            _ => {}
        }
        write!(f, " ({} evaluations of the loss)", self.evaluations)
    }
}
