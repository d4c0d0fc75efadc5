//! The log of a run: JSON lines, or the steps as a CSV table.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::event::{EpochEvent, Observer, RunEnd, RunStart, RunWarning, StepEvent};
use crate::error::{Error, Result};
use crate::files::AtomicFile;

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line: `start`, `step`, `epoch`, `warning`, `end`.
    JsonLines,
    /// A table of the steps alone.
    Csv,
}

impl LogFormat {
    /// CSV for a name that ends in `.csv`, JSON lines for any other.
    pub fn of(path: &Path) -> Self {
        let csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if csv { LogFormat::Csv } else { LogFormat::JsonLines }
    }
}

/// What the log says of a run that the run itself does not know.
#[derive(Debug, Clone, Default)]
pub struct LogHeader {
    /// The classes, in order; empty for regression.
    pub classes: Vec<String>,
    /// The settings, by name.
    pub config: serde_json::Value,
    /// Seconds it took to read the data.
    pub load_seconds: f64,
}

/// Writes the log of a run. The file appears when the run has ended, diverged or not; a run that could not begin
/// leaves what stood there.
pub struct RunLog {
    path: std::path::PathBuf,
    header: LogHeader,
    /// Taken at the end.
    sink: Option<Sink>,
    /// Room for a line.
    line: Vec<u8>,
    /// When the epoch under way began.
    epoch_began: Instant,
}

enum Sink {
    Json(AtomicFile),
    /// Boxed: a writer holds its buffer within itself.
    Csv(Box<csv::Writer<AtomicFile>>),
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Start {
        version: &'static str,
        rows: usize,
        features: &'a [String],
        classes: Option<&'a [String]>,
        loss: &'static str,
        parameters: usize,
        config: &'a serde_json::Value,
    },
    Step(StepRow),
    Epoch {
        epoch: usize,
        loss: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        valid_loss: Option<f64>,
        seconds: f64,
    },
    Warning {
        code: &'static str,
        step: u64,
        message: &'a str,
    },
    End {
        reason: &'static str,
        steps: u64,
        loss: f64,
        load_seconds: f64,
        train_seconds: f64,
    },
}

#[derive(Serialize)]
struct StepRow {
    step: u64,
    epoch: usize,
    loss: f64,
    grad_norm: f64,
    lr: f64,
    samples: usize,
}

impl RunLog {
    /// Starts a log.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if the file cannot be written.
    pub fn create(path: impl AsRef<Path>, format: LogFormat, header: LogHeader) -> Result<Self> {
        let file = AtomicFile::create(&path)?;
        let sink = match format {
            LogFormat::JsonLines => Sink::Json(file),
            LogFormat::Csv => Sink::Csv(Box::new(csv::Writer::from_writer(file))),
        };
        Ok(RunLog {
            path: path.as_ref().to_owned(),
            header,
            sink: Some(sink),
            line: Vec::new(),
            epoch_began: Instant::now(),
        })
    }

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        let written = match (&mut self.sink, line) {
            (Some(Sink::Json(file)), line) => {
                // One piece a line: a line is many small pieces, and each would be written by itself.
                self.line.clear();
                let whole = serde_json::to_writer(&mut self.line, line).map_err(Into::into);
                self.line.push(b'\n');
                whole.and_then(|()| file.write_all(&self.line))
            }
            (Some(Sink::Csv(writer)), Line::Step(row)) => writer.serialize(row).map_err(Into::into),
            _ => Ok(()),
        };
        written.map_err(|error| Error::io(&self.path, "write", error))
    }
}

impl Observer for RunLog {
    fn start(&mut self, start: &RunStart) -> Result<()> {
        self.epoch_began = Instant::now();
        let header = std::mem::take(&mut self.header);
        let classes = (!header.classes.is_empty()).then_some(&header.classes[..]);
        let line = Line::Start {
            version: env!("CARGO_PKG_VERSION"),
            rows: start.rows,
            features: &start.features,
            classes,
            loss: start.loss,
            parameters: start.parameters,
            config: &header.config,
        };
        let written = self.write(&line);
        self.header = header;
        written
    }

    fn step(&mut self, event: &StepEvent) -> Result<()> {
        let StepEvent { step, epoch, loss, grad_norm, lr, samples } = *event;
        self.write(&Line::Step(StepRow { step, epoch, loss, grad_norm, lr, samples }))
    }

    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        let EpochEvent { epoch, loss, valid_loss, .. } = *event;
        let ended = Instant::now();
        let seconds = (ended - std::mem::replace(&mut self.epoch_began, ended)).as_secs_f64();
        self.write(&Line::Epoch { epoch, loss, valid_loss, seconds })
    }

    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        self.write(&Line::Warning { code: warning.code, step: warning.step, message: &warning.message })
    }

    fn end(&mut self, end: &RunEnd) -> Result<()> {
        self.write(&Line::End {
            reason: end.reason.as_str(),
            steps: end.steps,
            loss: end.loss,
            load_seconds: self.header.load_seconds,
            train_seconds: end.seconds,
        })?;
        match self.sink.take() {
            Some(Sink::Json(file)) => file.commit(),
            Some(Sink::Csv(writer)) => {
                let file = writer.into_inner();
                file.map_err(|error| Error::io(&self.path, "write", error.into_error()))?.commit()
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::StopReason;

    fn log(format: LogFormat) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let header = LogHeader { classes: vec!["a".into()], config: serde_json::json!({"lr": 0.1}), load_seconds: 0.5 };
        let mut log = RunLog::create(&path, format, header).unwrap();
        let start = RunStart { rows: 3, features: vec!["x".into()], loss: "mse", parameters: 2, epochs: 1 };
        log.start(&start).unwrap();
        log.step(&StepEvent { step: 1, epoch: 1, loss: 0.1 + 0.2, grad_norm: 1e-300, lr: 0.1, samples: 3 }).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let epoch = EpochEvent { epoch: 1, loss: 0.3, valid_loss: None, grad_norm: 1e-300, samples: 3 };
        log.epoch(&epoch).unwrap();
        log.epoch(&EpochEvent { epoch: 2, valid_loss: Some(0.5), ..epoch }).unwrap();
        assert!(!path.exists(), "the log must appear whole");
        log.end(&RunEnd { reason: StopReason::Finished, steps: 1, epochs: 1, loss: 0.25, seconds: 2.0 }).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn json_lines_hold_numbers_that_read_back_to_the_same_bits() {
        let log = log(LogFormat::JsonLines);
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["kind"], "start");
        assert_eq!(lines[0]["config"]["lr"], 0.1);
        assert_eq!(lines[1]["loss"].as_f64(), Some(0.1 + 0.2));
        assert_eq!(lines[1]["grad_norm"].as_f64(), Some(1e-300));
        assert_eq!(
            (&lines[2]["kind"], &lines[2]["epoch"], lines[2].get("valid_loss")),
            (&"epoch".into(), &1.into(), None)
        );
        assert!(lines[2]["seconds"].as_f64().unwrap() >= 2e-3, "{}", lines[2]);
        assert_eq!(lines[3]["valid_loss"], 0.5);
        assert!(lines[3]["seconds"].as_f64().unwrap() >= 0.0, "{}", lines[3]);
        assert_eq!((&lines[4]["kind"], &lines[4]["load_seconds"]), (&"end".into(), &0.5.into()));
    }

    #[test]
    fn a_csv_log_holds_the_steps() {
        let log = log(LogFormat::Csv);
        assert_eq!(log, "step,epoch,loss,grad_norm,lr,samples\n1,1,0.30000000000000004,1e-300,0.1,3\n");
    }

    #[test]
    fn the_format_follows_from_the_name() {
        assert_eq!(LogFormat::of(Path::new("a.CSV")), LogFormat::Csv);
        assert_eq!(LogFormat::of(Path::new("a.jsonl")), LogFormat::JsonLines);
    }
}
