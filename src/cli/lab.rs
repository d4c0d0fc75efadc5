//! `gradus lab`.

use std::fmt::Write;

use clap::Args;
use clap::builder::PossibleValuesParser;
use gradus::lab::{Bug, Fact, Version, bug, bugs};
use gradus::{Error, Result};
use serde_json::{Value, json};

use super::output::{Done, WIDTH, figure, paragraph, print, print_json};
use super::plot::{BOTH, Curve, plot};

/// The bug lab: famous gradient bugs, reproduced, detected, mended.
///
/// Each is really run, beside the right loop: the lines that differ, both loss curves, what finds it and what it says.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  gradus lab\n  gradus lab missing-zero-grad")]
pub struct Lab {
    /// The bug [default: list them]
    #[arg(value_parser = PossibleValuesParser::new(bugs().iter().map(|bug| bug.name)), hide_possible_values = true)]
    name: Option<String>,
    /// Print the result as one JSON object: both trajectories, the message, the figures
    #[arg(long)]
    json: bool,
    /// Print nothing but errors, and with --json the result
    #[arg(long)]
    quiet: bool,
}

const WRONG: char = 'x';
const RIGHT: char = 'o';

impl Lab {
    pub fn run(&self) -> Done {
        let Some(name) = &self.name else { return self.list() };
        let found = bug(name).ok_or_else(|| Error::setting("NAME", format!("there is no bug \"{name}\"")))?;
        let exhibit = Exhibit::run(found)?;
        match (self.json, self.quiet) {
            (true, _) => print_json(&exhibit.json()),
            (false, true) => Ok(()),
            (false, false) => print(exhibit.page()),
        }
    }

    fn list(&self) -> Done {
        if self.json {
            let all: Vec<Value> = bugs().iter().map(|bug| json!({"name": bug.name, "title": bug.title})).collect();
            return print_json(&json!({ "bugs": all }));
        }
        if self.quiet {
            return Ok(());
        }
        let lines = bugs().iter().map(|bug| format!("{:<24}{}\n", bug.name, bug.title));
        print(format!("{}\n`gradus lab NAME` runs one beside the right loop.\n", lines.collect::<String>()))
    }
}

/// A bug with what came of its runs.
struct Exhibit {
    bug: &'static Bug,
    wrong: Vec<f64>,
    right: Vec<f64>,
    /// What the detector says of the wrong run, and of the right one.
    messages: [Option<String>; 2],
    facts: Vec<Fact>,
}

impl Exhibit {
    fn run(bug: &'static Bug) -> Result<Self> {
        Ok(Exhibit {
            bug,
            wrong: bug.losses(Version::Wrong)?,
            right: bug.losses(Version::Right)?,
            messages: [bug.detect(Version::Wrong)?, bug.detect(Version::Right)?],
            facts: bug.facts()?,
        })
    }

    fn json(&self) -> Value {
        let Bug { name, title, story, setting, unit, found_by, mend, .. } = self.bug;
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|fact| (fact.name.to_owned(), json!(fact.value))).collect();
        let run = |version, losses: &[f64], message: &Option<String>| json!({ "lines": self.bug.lines(version), "losses": losses, "message": message });
        json!({
            "name": name,
            "title": title,
            "story": story,
            "setting": setting,
            "unit": unit,
            "wrong": run(Version::Wrong, &self.wrong, &self.messages[0]),
            "right": run(Version::Right, &self.right, &self.messages[1]),
            "found_by": found_by,
            "mend": mend,
            "facts": facts,
        })
    }

    fn page(&self) -> String {
        let bug = self.bug;
        let mut text = format!("{}: {}\n\n", bug.name, bug.title);
        text += &paragraph("", bug.story);
        for (heading, version) in [("wrong", Version::Wrong), ("right", Version::Right)] {
            let _ = writeln!(text, "\n{heading}");
            for line in bug.lines(version) {
                let _ = writeln!(text, "    {line}");
            }
        }
        self.curves(&mut text);
        for fact in &self.facts {
            let _ = writeln!(text, "{:<60}{:>12}", fact.meaning, figure(fact.value));
        }
        text.push_str(if self.facts.is_empty() { "" } else { "\n" });
        text += &paragraph("", &format!("found by {}:", bug.found_by));
        for (message, run) in self.messages.iter().zip(["wrong", "right"]) {
            let said = message.as_deref().unwrap_or("nothing is reported");
            for (at, line) in said.lines().enumerate() {
                let start = if at == 0 { format!("  {run}  ") } else { " ".repeat(9) };
                text += &paragraph(&start, line);
            }
        }
        text.push('\n');
        text += &paragraph("mend: ", bug.mend);
        text
    }

    /// Both trajectories, drawn, and their numbers at a few places.
    fn curves(&self, text: &mut String) {
        let curves = [Curve { mark: WRONG, values: &self.wrong }, Curve { mark: RIGHT, values: &self.right }];
        let (lines, log) = plot(&curves, WIDTH);
        let unit = self.bug.unit;
        text.push('\n');
        let axis = if log { " (logarithmic)" } else { "" };
        let heading =
            format!("mean loss of all rows before each {unit}{axis}: {WRONG} wrong, {RIGHT} right, {BOTH} both");
        *text += &paragraph("", &heading);
        *text += &paragraph("", self.bug.setting);
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        let places = places(self.wrong.len());
        let mut row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            let _ = write!(text, "{name:<8}");
            for cell in cells {
                let _ = write!(text, "{cell:>12}");
            }
            text.push('\n');
        };
        row(unit, &mut places.iter().map(|place| place.to_string()));
        row("wrong", &mut places.iter().map(|place| figure(self.wrong[place - 1])));
        row("right", &mut places.iter().map(|place| figure(self.right[place - 1])));
        text.push('\n');
    }
}

/// Six places in a series of this length, from 1 to the last.
fn places(length: usize) -> Vec<usize> {
    let mut places: Vec<usize> =
        [1, 2, 3, length / 4, length / 2, length].into_iter().filter(|place| (1..=length).contains(place)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_run_from_the_first_to_the_last_once_each() {
        assert_eq!(places(60), [1, 2, 3, 15, 30, 60]);
        assert_eq!(places(4), [1, 2, 3, 4]);
        assert_eq!(places(1), [1]);
    }
}
