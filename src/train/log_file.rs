//! Reading a log of JSON lines back.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Error, Place, Result};

/// A log that was read back: what settled the run, and its steps.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// What messages call the file.
    pub file: String,
    /// The `start` line, where there is one, without its `kind`.
    pub start: Option<Map<String, Value>>,
    /// The steps, in order.
    pub steps: Vec<LoggedStep>,
}

/// One optimizer step of a log. A loss or norm that is `null` there is NaN here.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LoggedStep {
    /// The step, from 1.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// The mean loss of the effective batch before the update.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// The L2 norm of the gradient.
    #[serde(deserialize_with = "number_or_null")]
    pub grad_norm: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The rows of the effective batch.
    pub samples: u64,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Start(Map<String, Value>),
    Step(LoggedStep),
    #[serde(other)]
    Other,
}

/// JSON has no NaN: a log writes `null`.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

const HELP: &str = "a log is what `gradus train --log FILE.jsonl` writes: a JSON object on each line";

impl LogFile {
    /// Reads a log.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io), or [`Data`](crate::ErrorKind::Data) with the line: one that is not a JSON object
    /// of a log, a step that does not count up, no line of a run at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        LogFile::parse(&path.to_string_lossy(), &bytes)
    }

    /// Reads the bytes of a log; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`read`](LogFile::read).
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let mut log = LogFile { file: file.to_owned(), start: None, steps: Vec::new() };
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = || Place::file(file).at_line(at as u64 + 1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(Line::Start(_)) if log.start.is_some() || !log.steps.is_empty() => {
                    return Err(Error::data(place(), "a second run begins", "give each run a log of its own"));
                }
                Ok(Line::Start(start)) => log.start = Some(start),
                Ok(Line::Step(step)) => {
                    if let Some(last) = log.steps.last().filter(|last| last.step >= step.step) {
                        let what = format!("step {} after step {}: steps count up", step.step, last.step);
                        return Err(Error::data(place(), what, "give each run a log of its own"));
                    }
                    log.steps.push(step);
                }
                Ok(Line::Other) => {}
                Err(error) => {
                    let message = error.to_string();
                    // The line serde_json names is that of the line alone.
                    let what = message.split(" at line ").next().unwrap_or(&message);
                    return Err(Error::data(place(), format!("not a line of a log: {what}"), HELP));
                }
            }
        }
        if log.start.is_none() && log.steps.is_empty() {
            return Err(Error::data(Place::file(file), "no line that begins a run and no step: not a log", HELP));
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = r#"{"kind":"step","step":1,"epoch":1,"loss":0.5,"grad_norm":null,"lr":0.1,"samples":32}"#;

    #[test]
    fn a_log_reads_back_to_the_same_bits() {
        let text = format!(
            "{}\n\n{}\r\n{}\n",
            r#"{"kind":"start","version":"0.1.0","config":{"lr":0.1}}"#,
            STEP.replace("0.5", "0.30000000000000004"),
            r#"{"kind":"what comes in later versions"}"#,
        );
        let log = LogFile::parse("a", text.as_bytes()).unwrap();
        assert_eq!(log.steps[0].loss, 0.1 + 0.2);
        assert!(log.steps[0].grad_norm.is_nan());
        let start = log.start.unwrap();
        assert_eq!((start["config"]["lr"].as_f64(), start.get("kind")), (Some(0.1), None));
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_line() {
        let bad = |line: &str| LogFile::parse("a.jsonl", format!("{STEP}\n{line}").as_bytes()).unwrap_err().to_string();
        let cases = [
            (bad("step,epoch"), "a.jsonl:2: not a line of a log: "),
            (bad("{}"), "a.jsonl:2: not a line of a log: missing field `kind`"),
            (bad(&STEP.replace("\"lr\":0.1,", "")), "a.jsonl:2: not a line of a log: missing field `lr`"),
            (bad(&STEP.replace("0.5", "\"half\"")), "a.jsonl:2: not a line of a log: invalid type: string"),
            (bad(STEP), "a.jsonl:2: step 1 after step 1"),
            (bad(r#"{"kind":"start"}"#), "a.jsonl:2: a second run begins"),
            (bad("{\"kind\":\"st"), "a.jsonl:2: not a line of a log: EOF"),
            (LogFile::parse("a.jsonl", b"\n").unwrap_err().to_string(), "a.jsonl: no line that begins a run"),
            (LogFile::parse("a.jsonl", b"{\"kind\":\"end\"}").unwrap_err().to_string(), "a.jsonl: no line that begins"),
        ];
        for (message, expected) in cases {
            assert!(message.starts_with(expected), "{message:?} does not begin with {expected:?}");
            assert!(message.contains("\nhelp: "), "{message:?} has no remedy");
        }
    }
}
