//! `gradus diff`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use gradus::train::{Difference, EpochDifference, LogDiff, LogFile, SettingDiff, ValidationParting};
use serde_json::{Value, json};

use super::output::{Done, count, figure, print, print_json};

/// Compare two logs: the first step where they part, in what and by how much, and which settings differ.
///
/// Logs are compared to the last bit, steps and validation losses; seconds are not compared. The exit status is 0 whether they part or not, and 1 if
/// a file is not a log: scripts ask --json for "equal".
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    gradus train data/iris.csv --log a.jsonl\n  \
    gradus train data/iris.csv --seed 1 --batch-size 50 --log b.jsonl\n  \
    gradus diff a.jsonl b.jsonl")]
pub struct Diff {
    /// A log that `gradus train --log` wrote: FILE.jsonl, or FILE.csv, which has the steps alone
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Print nothing but errors, and with --json the result
    #[arg(long)]
    quiet: bool,
}

impl Diff {
    pub fn run(&self) -> Done {
        let (a, b) = (LogFile::read(&self.a)?, LogFile::read(&self.b)?);
        let diff = LogDiff::of(&a, &b);
        match (self.json, self.quiet) {
            (true, _) => print_json(&as_json(&diff, [&a, &b])),
            (false, true) => Ok(()),
            (false, false) => print(as_text(&diff, [&a, &b])),
        }
    }
}

fn as_json(diff: &LogDiff, logs: [&LogFile; 2]) -> Value {
    let mut object = json!(diff);
    object["a"] = json!(logs[0].file);
    object["b"] = json!(logs[1].file);
    object["equal"] = json!(diff.is_equal());
    object["same_trajectory"] = json!(diff.same_trajectory());
    object
}

fn as_text(diff: &LogDiff, logs: [&LogFile; 2]) -> String {
    let mut text = String::new();
    let [a, b] = logs.map(|log| log.file.as_str());
    trajectory(&mut text, diff, [a, b]);
    validation(&mut text, diff);
    match &diff.settings {
        None => {
            for log in logs.iter().filter(|log| log.start.is_none()) {
                let _ = writeln!(text, "{} has no start line: settings cannot be compared", log.file);
            }
        }
        Some(settings) if settings.is_empty() => text.push_str("the settings are the same\n"),
        Some(settings) => {
            let _ = writeln!(text, "\n{} of different values", count(settings.len(), "setting"));
            settings_table(&mut text, settings, [a, b]);
        }
    }
    text
}

fn trajectory(text: &mut String, diff: &LogDiff, [a, b]: [&str; 2]) {
    let [steps_a, steps_b] = diff.steps;
    if steps_a == 0 && steps_b == 0 {
        let _ = writeln!(text, "neither log has a step");
        return;
    }
    for (file, steps) in [(a, steps_a), (b, steps_b)] {
        if steps == 0 {
            let _ = writeln!(text, "{file} has no steps");
        }
    }
    if steps_a != steps_b {
        let _ = writeln!(text, "{a} has {}, {b} has {}", count(steps_a, "step"), count(steps_b, "step"));
    }
    let Some(first) = &diff.first else {
        match (steps_a.min(steps_b), steps_a == steps_b) {
            (0, _) => {}
            (steps, true) => {
                let _ = writeln!(text, "{}, the same to the last bit", count(steps, "step"));
            }
            (1, false) => text.push_str("the first step is the same to the last bit\n"),
            (steps, false) => {
                let _ = writeln!(text, "the first {steps} steps are the same to the last bit");
            }
        }
        return;
    };
    let names: Vec<&str> = first.quantities.iter().map(|difference| difference.name).collect();
    let _ = writeln!(text, "the logs part at step {}, in {}", first.step, names.join(", "));
    let width = column_width([a, b]);
    let _ = writeln!(
        text,
        "{:<12}  {:>width$}  {:>width$}  {:>12}  {:>12}",
        "quantity",
        file_label(a),
        file_label(b),
        "difference",
        "relative"
    );
    for Difference { name, a, b, absolute, relative, .. } in &first.quantities {
        let [a, b, absolute] = apart(*a, *b, *absolute);
        let relative = figure(*relative);
        let _ = writeln!(text, "{name:<12}  {a:>width$}  {b:>width$}  {absolute:>12}  {relative:>12}");
    }
    if let Some(largest) = diff.largest.filter(|largest| largest.step != first.step) {
        let _ = writeln!(
            text,
            "the losses are farthest apart at step {}: {} and {}, relative {}",
            largest.step,
            figure(largest.a),
            figure(largest.b),
            figure(largest.relative)
        );
    }
}

fn validation(text: &mut String, diff: &LogDiff) {
    let Some(ValidationParting { first, largest }) = &diff.validation else { return };
    let mut line = |what: &str, difference: &EpochDifference| {
        let EpochDifference { epoch, a, b, absolute, relative } = *difference;
        let [a, b, _] = apart(a, b, absolute);
        let _ =
            writeln!(text, "the validation losses {what} epoch {epoch}: {a} and {b}, relative {}", figure(relative));
    };
    line("part at", first);
    if largest.epoch != first.epoch {
        line("are farthest apart at", largest);
    }
}

/// Two numbers and their difference in six digits; the two in all of theirs if those do not tell them apart.
fn apart(a: f64, b: f64, absolute: f64) -> [String; 3] {
    let whole = |value: f64| value.fract() == 0.0 && value.abs() < 1e15;
    if whole(a) && whole(b) {
        return [a, b, absolute].map(|value| format!("{value:.0}"));
    }
    let short = [a, b, absolute].map(figure);
    if short[0] == short[1] { [a.to_string(), b.to_string(), figure(absolute)] } else { short }
}

/// Long values are for `--json`.
const LONGEST: usize = 28;

fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 3).chain("...".chars()).collect()
}

/// The end of a path, which is what tells files apart.
fn file_label(file: &str) -> String {
    let length = file.chars().count();
    if length <= LONGEST {
        return file.to_owned();
    }
    "...".chars().chain(file.chars().skip(length - (LONGEST - 3))).collect()
}

fn column_width(files: [&str; 2]) -> usize {
    files.map(|file| file_label(file).chars().count()).into_iter().fold(20, usize::max)
}

fn settings_table(text: &mut String, settings: &[SettingDiff], [a, b]: [&str; 2]) {
    let width = column_width([a, b]);
    let _ = writeln!(text, "{:<20}  {:<width$}  {}", "setting", file_label(a), file_label(b));
    for SettingDiff { name, a, b } in settings {
        let [a, b] = values(a, b);
        let _ = writeln!(text, "{name:<20}  {a:<width$}  {b}");
    }
}

/// Two values for a table: of two lists what only one of them has.
fn values(a: &Value, b: &Value) -> [String; 2] {
    if let (Value::Array(a), Value::Array(b)) = (a, b) {
        let only = |own: &[Value], other: &[Value]| {
            let rest: Vec<String> = own.iter().filter(|item| !other.contains(item)).map(plain).collect();
            if rest.is_empty() { String::new() } else { shortened(format!("only here: {}", rest.join(", "))) }
        };
        let sides = [only(a, b), only(b, a)];
        if sides != ["", ""] {
            return sides.map(|side| if side.is_empty() { "-".into() } else { side });
        }
    }
    [shortened(plain(a)), shortened(plain(b))]
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
