//! Reading a log back: JSON lines, or the table of steps.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Error, Place, Result};

/// A log that was read back: what settled the run, its steps and its epochs. A table has steps alone.
#[derive(Debug, Clone, Default)]
pub struct LogFile {
    /// What messages call the file.
    pub file: String,
    /// The `start` line, where there is one, without its `kind`.
    pub start: Option<Map<String, Value>>,
    /// The steps, in order.
    pub steps: Vec<LoggedStep>,
    /// The epochs, in order.
    pub epochs: Vec<LoggedEpoch>,
}

/// One epoch of a log. A loss that is `null` there is NaN here.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LoggedEpoch {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The mean of the steps' losses.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// The mean loss of the validation rows, if there were any.
    #[serde(default, deserialize_with = "some_number_or_null")]
    pub valid_loss: Option<f64>,
}

/// One optimizer step of a log. A loss or norm that is `null` there, or empty in a table, is NaN here.
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
    Epoch(LoggedEpoch),
    #[serde(other)]
    Other,
}

/// JSON has no NaN: a log writes `null`.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn some_number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    number_or_null(deserializer).map(Some)
}

const HELP: &str = "a log is what `gradus train --log` writes: to FILE.jsonl a JSON object on each line, to FILE.csv a \
                    table with a header and a step on each line";

impl LogFile {
    /// Reads a log.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io), or [`Data`](crate::ErrorKind::Data) with the line: one that is not a JSON object
    /// of a log or a row of its table, a step that does not count up, no line of a run at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        LogFile::parse(&path.to_string_lossy(), &bytes)
    }

    /// Reads the bytes of a log; `file` is what messages call it. A first line with a cell `step` begins a table.
    ///
    /// # Errors
    /// As [`read`](LogFile::read).
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut log = LogFile { file: file.to_owned(), ..LogFile::default() };
        if first.split(|byte| *byte == b',').any(|cell| cell.trim_ascii() == b"step") {
            log.read_table(bytes)?;
        } else {
            log.read_lines(bytes)?;
        }
        if log.start.is_none() && log.steps.is_empty() {
            return Err(Error::data(Place::file(file), "no line that begins a run and no step: not a log", HELP));
        }
        Ok(log)
    }

    fn read_lines(&mut self, bytes: &[u8]) -> Result<()> {
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = || Place::file(&self.file).at_line(at as u64 + 1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(Line::Start(_)) if self.start.is_some() || !self.steps.is_empty() => {
                    return Err(Error::data(place(), "a second run begins", "give each run a log of its own"));
                }
                Ok(Line::Start(start)) => self.start = Some(start),
                Ok(Line::Step(step)) => self.push(step, place())?,
                Ok(Line::Epoch(epoch)) => self.epochs.push(epoch),
                Ok(Line::Other) => {}
                Err(error) => {
                    let message = error.to_string();
                    // The line serde_json names is that of the line alone.
                    let what = message.split(" at line ").next().unwrap_or(&message);
                    return Err(Error::data(place(), format!("not a line of a log: {what}"), HELP));
                }
            }
        }
        Ok(())
    }

    fn read_table(&mut self, bytes: &[u8]) -> Result<()> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let mut rows = reader.deserialize();
        loop {
            let line = rows.reader().position().line();
            match rows.next() {
                None => return Ok(()),
                Some(Ok(step)) => self.push(step, Place::file(&self.file).at_line(line))?,
                Some(Err(error)) => {
                    let line = error.position().map_or(1, csv::Position::line);
                    let what = match error.kind() {
                        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
                        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                            format!("{len} cells, and {expected_len} in the header")
                        }
                        _ => error.to_string(),
                    };
                    let place = Place::file(&self.file).at_line(line);
                    return Err(Error::data(place, format!("not a line of a log: {what}"), HELP));
                }
            }
        }
    }

    fn push(&mut self, step: LoggedStep, place: Place) -> Result<()> {
        if let Some(last) = self.steps.last().filter(|last| last.step >= step.step) {
            let what = format!("step {} after step {}: steps count up", step.step, last.step);
            return Err(Error::data(place, what, "give each run a log of its own"));
        }
        self.steps.push(step);
        Ok(())
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

    const TABLE: &str = "step,epoch,loss,grad_norm,lr,samples\n1,1,0.30000000000000004,NaN,0.1,32\n";

    #[test]
    fn a_table_reads_back_to_the_same_bits() {
        let log = LogFile::parse("a.csv", TABLE.as_bytes()).unwrap();
        let step = log.steps[0];
        assert_eq!((step.loss, step.lr, step.samples, log.start), (0.1 + 0.2, 0.1, 32, None));
        assert!(step.grad_norm.is_nan());
        // Columns go by their names, whatever their order and line ends.
        let turned = "loss,step,epoch,lr,samples,grad_norm\r\n0.5,1,1,0.1,32,\r\n";
        assert_eq!(LogFile::parse("a.csv", turned.as_bytes()).unwrap().steps[0].loss, 0.5);
    }

    #[test]
    fn epochs_are_read_with_their_validation_loss() {
        let epoch =
            |valid: &str| format!("{STEP}\n{{\"kind\":\"epoch\",\"epoch\":1,\"loss\":0.5{valid},\"seconds\":1.0}}");
        let read = |valid: &str| LogFile::parse("a", epoch(valid).as_bytes()).unwrap().epochs[0].valid_loss;
        assert_eq!((read(""), read(",\"valid_loss\":0.25")), (None, Some(0.25)));
        assert!(read(",\"valid_loss\":null").is_some_and(f64::is_nan));
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_line() {
        let bad = |line: &str| LogFile::parse("a.jsonl", format!("{STEP}\n{line}").as_bytes()).unwrap_err().to_string();
        let table = |rest: &str| LogFile::parse("a.csv", format!("{TABLE}{rest}").as_bytes()).unwrap_err().to_string();
        let cases = [
            (table("2,1,0.5"), "a.csv:3: not a line of a log: 3 cells, and 6 in the header"),
            (table("2,1,half,1,0.1,32"), "a.csv:3: not a line of a log: "),
            (table("1,1,0.5,1,0.1,32"), "a.csv:3: step 1 after step 1"),
            (LogFile::parse("a.csv", b"step,loss\n1,2\n").unwrap_err().to_string(), "a.csv:2: not a line of a log: "),
            (LogFile::parse("a.csv", b"step,loss\n").unwrap_err().to_string(), "a.csv: no line that begins a run"),
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
