//! Where two logs part.

use serde::Serialize;
use serde_json::{Map, Value};

use super::log_file::{LogFile, LoggedEpoch, LoggedStep};

/// How two logs differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogDiff {
    /// Steps of each.
    pub steps: [usize; 2],
    /// Steps from the first on that are the same to the last bit.
    pub same_steps: usize,
    /// The first step that both have and that is not the same.
    pub first: Option<Parting>,
    /// The step with the largest relative difference in the loss, and that difference; among the steps both have.
    pub largest: Option<Difference>,
    /// Where the validation losses part, of the epochs in which both logs have one.
    pub validation: Option<ValidationParting>,
    /// The settings in which the runs differ, by name; `None` where a log has no start line.
    pub settings: Option<Vec<SettingDiff>>,
}

/// The first step where two logs part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parting {
    /// The step, from 1, as the first log numbers it.
    pub step: u64,
    /// The quantities that differ, the ones that can cause others first.
    pub quantities: Vec<Difference>,
}

/// One quantity of one step, in both logs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The step, from 1, as the first log numbers it.
    pub step: u64,
    /// `step`, `epoch`, `samples`, `lr`, `loss` or `grad_norm`.
    pub name: &'static str,
    /// In the first log; NaN is `null` there.
    pub a: f64,
    /// In the second log.
    pub b: f64,
    /// `|a - b|`.
    pub absolute: f64,
    /// `|a - b|` by the larger magnitude.
    pub relative: f64,
}

/// Where the validation losses of two logs part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ValidationParting {
    /// The first epoch whose validation losses differ.
    pub first: EpochDifference,
    /// The epoch with the largest relative difference.
    pub largest: EpochDifference,
}

/// The validation loss of one epoch, in both logs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochDifference {
    /// The epoch, from 1.
    pub epoch: u64,
    /// In the first log; NaN is `null` there.
    pub a: f64,
    /// In the second log.
    pub b: f64,
    /// `|a - b|`.
    pub absolute: f64,
    /// `|a - b|` by the larger magnitude.
    pub relative: f64,
}

/// A setting of two values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingDiff {
    /// The name, as in the start line; those of its `config` by their own names.
    pub name: String,
    /// In the first log; `null` if it is not there.
    pub a: Value,
    /// In the second log.
    pub b: Value,
}

impl LogDiff {
    /// Compares two logs: steps one after another, to the last bit, and the settings of their start lines. What
    /// depends on the machine, seconds, is not compared.
    pub fn of(a: &LogFile, b: &LogFile) -> Self {
        let pairs = || a.steps.iter().zip(&b.steps);
        let same_steps = pairs().take_while(|(a, b)| differences(a, b).is_empty()).count();
        let first = pairs().nth(same_steps).map(|(a, b)| Parting { step: a.step, quantities: differences(a, b) });
        let losses = pairs().flat_map(|(a, b)| differences(a, b)).filter(|difference| difference.name == "loss");
        let largest =
            losses.reduce(|most, other| if size(other.relative) > size(most.relative) { other } else { most });
        let settings = match (&a.start, &b.start) {
            (Some(a), Some(b)) => Some(setting_differences(a, b)),
            _ => None,
        };
        let validation = validation_parting(&a.epochs, &b.epochs);
        LogDiff { steps: [a.steps.len(), b.steps.len()], same_steps, first, largest, validation, settings }
    }

    /// Whether both have the same steps, and as many.
    pub fn same_trajectory(&self) -> bool {
        self.first.is_none() && self.steps[0] == self.steps[1]
    }

    /// Whether both have the same steps, validation losses, and start lines that say the same.
    pub fn is_equal(&self) -> bool {
        self.same_trajectory() && self.validation.is_none() && self.settings.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A difference from NaN is beyond all others.
fn size(relative: f64) -> f64 {
    if relative.is_nan() { f64::INFINITY } else { relative }
}

fn differs(a: f64, b: f64) -> bool {
    a != b && !(a.is_nan() && b.is_nan())
}

fn validation_parting(a: &[LoggedEpoch], b: &[LoggedEpoch]) -> Option<ValidationParting> {
    let pairs = a.iter().zip(b).filter_map(|(a, b)| Some((a.epoch, a.valid_loss?, b.valid_loss?)));
    let mut parted = pairs.filter(|(_, a, b)| differs(*a, *b)).map(|(epoch, a, b)| {
        let absolute = (a - b).abs();
        EpochDifference { epoch, a, b, absolute, relative: absolute / a.abs().max(b.abs()) }
    });
    let first = parted.next()?;
    let largest =
        parted.fold(first, |most, other| if size(other.relative) > size(most.relative) { other } else { most });
    Some(ValidationParting { first, largest })
}

/// The quantities of one step that are not the same to the last bit.
fn differences(a: &LoggedStep, b: &LoggedStep) -> Vec<Difference> {
    let quantities = |s: &LoggedStep| {
        [
            ("step", s.step as f64),
            ("epoch", s.epoch as f64),
            ("samples", s.samples as f64),
            ("lr", s.lr),
            ("loss", s.loss),
            ("grad_norm", s.grad_norm),
        ]
    };
    let pairs = quantities(a).into_iter().zip(quantities(b));
    pairs
        .filter(|((_, a), (_, b))| differs(*a, *b))
        .map(|((name, x), (_, y))| {
            let absolute = (x - y).abs();
            Difference { step: a.step, name, a: x, b: y, absolute, relative: absolute / x.abs().max(y.abs()) }
        })
        .collect()
}

/// The settings of two start lines that differ, in the order of their names; those of `config` last.
fn setting_differences(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<SettingDiff> {
    let config =
        |start: &Map<String, Value>| start.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut all = map_differences(a, b);
    all.retain(|setting| setting.name != "config");
    all.extend(map_differences(&config(a), &config(b)));
    all
}

fn map_differences(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<SettingDiff> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let value = |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .map(|name| SettingDiff { name: name.clone(), a: value(a, name), b: value(b, name) })
        .filter(|setting| setting.a != setting.b)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(step: u64, loss: f64) -> LoggedStep {
        LoggedStep { step, epoch: 1, loss, grad_norm: 1.0, lr: 0.1, samples: 32 }
    }

    fn log(start: Value, steps: &[LoggedStep]) -> LogFile {
        LogFile { file: "a".into(), start: start.as_object().cloned(), steps: steps.to_vec(), epochs: Vec::new() }
    }

    #[test]
    fn the_first_step_of_another_bit_is_found_with_what_differs() {
        let a = log(json!({}), &[step(1, 1.0), step(2, 0.5), step(3, 0.4), step(4, 0.3)]);
        let other = LoggedStep { grad_norm: 2.0, ..step(3, 0.4 + f64::EPSILON) };
        let b = log(json!({}), &[step(1, 1.0), step(2, 0.5), other, step(4, 0.6)]);
        let diff = LogDiff::of(&a, &b);
        let first = diff.first.clone().unwrap();
        assert_eq!((first.step, diff.same_steps), (3, 2));
        let names: Vec<&str> = first.quantities.iter().map(|difference| difference.name).collect();
        assert_eq!(names, ["loss", "grad_norm"]);
        assert_eq!((first.quantities[1].absolute, first.quantities[1].relative), (1.0, 0.5));
        assert_eq!(diff.largest.map(|largest| (largest.step, largest.relative)), Some((4, 0.5)));
        assert!(!diff.same_trajectory() && !diff.is_equal());
        let swapped = LogDiff::of(&b, &a);
        assert_eq!(swapped.first.unwrap().quantities[0].absolute, first.quantities[0].absolute);
    }

    #[test]
    fn logs_of_different_lengths_agree_as_far_as_the_shorter_goes() {
        let (a, b) = (log(json!({}), &[step(1, 1.0), step(2, 0.5)]), log(json!({}), &[step(1, 1.0)]));
        let diff = LogDiff::of(&a, &b);
        assert_eq!((diff.steps, diff.same_steps, diff.first.is_none()), ([2, 1], 1, true));
        assert!(!diff.same_trajectory());
    }

    #[test]
    fn nan_is_the_same_as_nan_and_far_from_any_number() {
        let (a, b) = (log(json!({}), &[step(1, f64::NAN)]), log(json!({}), &[step(1, f64::NAN)]));
        assert!(LogDiff::of(&a, &b).is_equal());
        let diff = LogDiff::of(&a, &log(json!({}), &[step(1, 2.0), step(2, 3.0)]));
        assert_eq!(diff.largest.map(|largest| largest.step), Some(1));
        assert!(diff.first.unwrap().quantities[0].relative.is_nan());
    }

    #[test]
    fn validation_losses_are_compared_where_both_logs_have_them() {
        let with = |losses: &[Option<f64>]| {
            let epochs = (1..).zip(losses).map(|(epoch, &valid_loss)| LoggedEpoch { epoch, loss: 1.0, valid_loss });
            LogFile { epochs: epochs.collect(), ..log(json!({}), &[step(1, 1.0)]) }
        };
        let a = with(&[Some(1.0), Some(0.5), Some(0.4), None]);
        let diff = LogDiff::of(&a, &with(&[Some(1.0), Some(0.4), Some(0.2), Some(0.1)]));
        let ValidationParting { first, largest } = diff.validation.unwrap();
        assert_eq!((first.epoch, first.a, first.b), (2, 0.5, 0.4));
        assert_eq!((largest.epoch, largest.relative), (3, 0.5));
        assert!(diff.same_trajectory() && !diff.is_equal());
        assert!(LogDiff::of(&a, &a).is_equal());
        assert_eq!(LogDiff::of(&a, &with(&[])).validation, None, "nothing to compare with");
    }

    #[test]
    fn settings_are_compared_by_name_and_value() {
        let a = log(json!({"rows": 3, "classes": null, "config": {"lr": 0.1, "seed": 0}}), &[]);
        let b = log(json!({"rows": 4, "classes": ["a"], "config": {"lr": 0.1, "seed": 1, "new": true}}), &[]);
        let settings = LogDiff::of(&a, &b).settings.unwrap();
        let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
        assert_eq!(names, ["classes", "rows", "new", "seed"]);
        assert_eq!((&settings[2].a, &settings[2].b), (&Value::Null, &Value::Bool(true)));
        let no_start = LogFile { start: None, ..a.clone() };
        assert_eq!(LogDiff::of(&a, &no_start).settings, None);
        assert!(!LogDiff::of(&no_start, &no_start).is_equal(), "nothing is known of the settings");
    }
}
