//! The one error type of the crate: opaque, with a [`kind`](Error::kind) to match on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::place::Place;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what to do about it.
///
/// The message names the place and the value at fault; a last line that begins with `help:` names the
/// remedy where there is one. Programs match on [`Error::kind`].
pub struct Error(Box<ErrorKind>);

/// The kinds of [`Error`], with their facts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `step` on a parameter that no backward pass has reached.
    #[error(
        "parameter \"{parameter}\" has no gradient to step with\nhelp: run a backward pass before `step`, or freeze the parameter"
    )]
    MissingGradient {
        /// The parameter's name.
        parameter: String,
    },
    /// `step` on a gradient that an earlier step has used, with no backward pass in between.
    #[error(
        "parameter \"{parameter}\": step {step} has already used this gradient, and no backward pass has run since\nhelp: call `zero_grad` and run a backward pass before the next `step`"
    )]
    DoubleStep {
        /// The parameter's name.
        parameter: String,
        /// The step that used the gradient, counted from 1.
        step: u64,
    },
    /// `step` on a gradient to which backward passes were added after a step had used it.
    #[error(
        "parameter \"{parameter}\": stale gradient: {passes} backward pass(es) were added to the gradient that step {step} had already used\nhelp: call `zero_grad` between a step and the next backward pass; to sum old gradients on purpose, set `StaleGradient::Allow`"
    )]
    StaleGradient {
        /// The parameter's name.
        parameter: String,
        /// The step that used the gradient, counted from 1.
        step: u64,
        /// Backward passes added since that step.
        passes: u64,
    },
    /// An array whose shape does not fit; nothing is ever broadcast.
    #[error("{what}: the shape is {found:?}, expected {expected:?}{}", help_line(.help))]
    Shape {
        /// Which array.
        what: String,
        /// The shape it must have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
        /// How to mend it, or empty.
        help: String,
    },
    /// A class index that is not below the number of outputs.
    #[error("target of row {row}: class {label} is out of range for {classes} outputs\nhelp: classes count from 0")]
    Label {
        /// The row of the batch, from 0.
        row: usize,
        /// The class index found.
        label: usize,
        /// The number of outputs.
        classes: usize,
    },
    /// A target value that the loss cannot take.
    #[error("target of row {row}, output {output}: {value} {why}")]
    Target {
        /// The row of the batch, from 0.
        row: usize,
        /// The output, from 0.
        output: usize,
        /// The value found.
        value: f64,
        /// Why it is refused.
        why: &'static str,
    },
    /// A setting outside its range, or two settings that exclude each other.
    #[error("{name}: {why}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Why it is refused, with the value.
        why: String,
    },
    /// A function asked for a value or a derivative that it does not have at this point.
    #[error("{function}({}): {why}{}", listed(.point), help_line(.help))]
    Domain {
        /// The function; `f` for one that was passed in.
        function: &'static str,
        /// The arguments: for a function of a slice, its elements.
        point: Vec<f64>,
        /// What is missing there.
        why: String,
        /// The remedy, or empty.
        help: String,
    },
    /// A feature that is infinite or NaN.
    #[error(
        "row {row}, feature {feature}: {value} is not finite\nhelp: rows and features count from 0; mend the value or leave its row out"
    )]
    Feature {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        feature: usize,
        /// The value found.
        value: f64,
    },
    /// A loss or gradient that is not finite, found before it could reach a parameter.
    #[error("step {step} (epoch {epoch}): {what}{}", help_line(.help))]
    NonFinite {
        /// The optimizer step that was not taken, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: usize,
        /// What is not finite, and where it came from.
        what: String,
        /// Where it came from, as facts.
        culprit: Culprit,
        /// The remedy.
        help: String,
    },
    /// A run whose loss grew instead of falling.
    #[error(
        "the run diverged: the loss rose from {first:.4e} to {last:.4e} by epoch {epoch}{}{}",
        because(.culprit),
        help_line(.help)
    )]
    Diverged {
        /// The loss before the first step.
        first: f64,
        /// The loss that ended the run.
        last: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// A value so far from all others that it alone explains it, if there is one.
        culprit: Option<Culprit>,
        /// The remedy.
        help: String,
    },
    /// Something in the data that cannot be used.
    #[error("{place}: {what}{}", help_line(.help))]
    Data {
        /// Where.
        place: Place,
        /// What is wrong, with the value.
        what: String,
        /// The remedy, or empty.
        help: String,
    },
    /// A model file that cannot be used.
    #[error("{}: {what}{}", path.display(), help_line(.help))]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// The remedy, or empty.
        help: String,
    },
    /// A cache of rows that cannot be used.
    #[error("{}: {what}{}", path.display(), help_line(.help))]
    CacheFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// The remedy, or empty.
        help: String,
    },
    /// A file that could not be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read", "write".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a loss or gradient is not finite, or a run diverged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A value in the data: far from all others, or too large by itself.
    Data,
    /// An overflow on the way through the model, of ordinary data and parameters.
    Overflow,
    /// A parameter that had grown too large before.
    Diverged,
}

/// Where a loss or gradient that is not finite came from, as far as it can be known.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// What was at fault.
    pub cause: Cause,
    /// The row of the data set, from 0.
    pub row: Option<usize>,
    /// The row's file and line, with the feature's column, where they are known.
    pub place: Option<Place>,
    /// The feature, from 0; none where the target is at fault.
    pub feature: Option<usize>,
    /// The feature's name, or `target`.
    pub column: Option<String>,
    /// The value at fault: of the feature or target, or of the parameter that diverged.
    pub value: Option<f64>,
    /// The parameter, and the element's index in it row by row.
    pub parameter: Option<(String, usize)>,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.row, &self.column) {
            (Some(place), ..) => write!(f, "{place}"),
            (None, Some(row), Some(column)) => write!(f, "row {row}, column \"{column}\""),
            (None, Some(row), None) => write!(f, "row {row}"),
            (None, None, _) => f.write_str("the data"),
        }
    }
}

fn because(culprit: &Option<Culprit>) -> String {
    let value = |culprit: &Culprit| culprit.value.map_or(String::new(), |value| format!(" is {value:e}"));
    culprit.as_ref().map_or(String::new(), |culprit| {
        format!("; {culprit}{}, far from every other value of its column", value(culprit))
    })
}

fn help_line(help: &str) -> String {
    if help.is_empty() { String::new() } else { format!("\nhelp: {help}") }
}

/// The numbers with commas between; of a long list the first few and how many there are.
fn listed(numbers: &[f64]) -> String {
    const SHOWN: usize = 6;
    let mut text = numbers.iter().take(SHOWN).map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ");
    if numbers.len() > SHOWN {
        text += &format!(", ... {} in all", numbers.len());
    }
    text
}

impl Error {
    /// The kind, with its facts.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// An array of the wrong shape.
    pub fn shape(what: impl Into<String>, expected: &[usize], found: &[usize]) -> Self {
        let mut help = String::new();
        if expected.len() == 2 && found.len() == 1 && expected[1] == 1 {
            help = "shapes are never broadcast: add the axis with `.insert_axis(Axis(1))`".into();
        }
        ErrorKind::Shape { what: what.into(), expected: expected.to_vec(), found: found.to_vec(), help }.into()
    }

    /// A setting that is refused.
    pub fn setting(name: &'static str, why: impl Into<String>) -> Self {
        ErrorKind::Setting { name, why: why.into() }.into()
    }

    /// A function that has no value or no derivative at `point`.
    pub fn domain(
        function: &'static str,
        point: impl Into<Vec<f64>>,
        why: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        ErrorKind::Domain { function, point: point.into(), why: why.into(), help: help.into() }.into()
    }

    /// A file that could not be read or written.
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: io::Error) -> Self {
        ErrorKind::Io { path: path.as_ref().to_owned(), action, source }.into()
    }

    /// Something in the data that cannot be used.
    pub fn data(place: Place, what: impl Into<String>, help: impl Into<String>) -> Self {
        ErrorKind::Data { place, what: what.into(), help: help.into() }.into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Error(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// `unwrap` and a `main` that returns `Result` print this: the message is worth more than the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Refuses a setting that is negative, infinite or NaN.
pub(crate) fn check_non_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(Error::setting(name, format!("{value} must be finite and not negative")))
    }
}

/// Refuses a setting that is not finite and above 0.
pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Error::setting(name, format!("{value} must be finite and above 0")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_place_and_ends_with_the_remedy() {
        let place = Place::file("a.csv").at_line(7).in_column("age");
        let error = Error::data(place, "\"x\" is not a number", "use --categorical age");
        assert_eq!(error.to_string(), "a.csv:7: column \"age\": \"x\" is not a number\nhelp: use --categorical age");
    }

    #[test]
    fn a_point_outside_the_domain_is_written_as_the_call_that_met_it() {
        let error = Error::domain("ln", [-1.0], "there is no real logarithm", "");
        assert_eq!(error.to_string(), "ln(-1.0): there is no real logarithm");
        let error = Error::domain("f", vec![1e300; 40], "the value is NaN", "");
        assert!(error.to_string().contains("1e300, ... 40 in all)"), "{error}");
    }

    #[test]
    fn a_missing_axis_is_named_in_the_help() {
        let error = Error::shape("targets", &[5, 1], &[5]);
        assert!(error.to_string().contains("insert_axis(Axis(1))"), "{error}");
        assert!(!Error::shape("targets", &[5, 2], &[4, 2]).to_string().contains("help"));
    }
}
