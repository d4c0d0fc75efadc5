//! The log of a run: JSON lines, or the steps as a CSV table.

use std::io::{self, Write};
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
    /// Steps still to be written.
    steps: Vec<StepRow>,
    /// Room for lines.
    lines: Vec<u8>,
    ending: StepEnding,
    /// When the epoch under way began.
    epoch_began: Instant,
}

/// Steps written in one go: one by one, between steps of a few microseconds, the processor has forgotten the writing each
/// time.
const STEPS_AT_ONCE: usize = 64;

enum Sink {
    Json(AtomicFile),
    /// Boxed: a writer holds its buffer within itself.
    Csv(Box<csv::Writer<AtomicFile>>),
}

/// A line that is not a step's.
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

#[derive(Debug, Clone, Copy, Serialize)]
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
            steps: Vec::with_capacity(STEPS_AT_ONCE),
            lines: Vec::new(),
            ending: StepEnding::default(),
            epoch_began: Instant::now(),
        })
    }

    /// Writes the steps before a line, and the line.
    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        self.write_steps()?;
        let Some(Sink::Json(file)) = &mut self.sink else { return Ok(()) };
        self.lines.clear();
        let written = push_line(&mut self.lines, line).and_then(|()| file.write_all(&self.lines));
        written.map_err(|error| Error::io(&self.path, "write", error))
    }

    /// Writes the steps that still are to be.
    fn write_steps(&mut self) -> Result<()> {
        let mut steps = self.steps.drain(..);
        let written = match &mut self.sink {
            Some(Sink::Json(file)) => {
                self.lines.clear();
                let pushed = steps.try_for_each(|step| push_step(&mut self.lines, &step, &mut self.ending));
                pushed.and_then(|()| file.write_all(&self.lines))
            }
            Some(Sink::Csv(writer)) => steps.try_for_each(|step| writer.serialize(step)).map_err(Into::into),
            None => Ok(()),
        };
        written.map_err(|error| Error::io(&self.path, "write", error))
    }
}

fn push_line(lines: &mut Vec<u8>, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    Ok(())
}

/// The line of a step. The names stand here as they are: to look for what is to be escaped in them takes nearly as long
/// as all of the numbers, and there is a line for every few microseconds.
fn push_step(lines: &mut Vec<u8>, row: &StepRow, ending: &mut StepEnding) -> io::Result<()> {
    let StepRow { step, epoch, loss, grad_norm, lr, samples } = row;
    lines.extend_from_slice(br#"{"kind":"step","step":"#);
    serde_json::to_writer(&mut *lines, step)?;
    lines.extend_from_slice(br#","epoch":"#);
    serde_json::to_writer(&mut *lines, epoch)?;
    lines.extend_from_slice(br#","loss":"#);
    serde_json::to_writer(&mut *lines, loss)?;
    lines.extend_from_slice(br#","grad_norm":"#);
    serde_json::to_writer(&mut *lines, grad_norm)?;
    lines.extend_from_slice(ending.of(*lr, *samples)?);
    Ok(())
}

/// The end of a step's line, which most steps have in common with the one before: numbers take the longest to write.
#[derive(Default)]
struct StepEnding {
    /// The bits of the learning rate, and the samples, of `text`.
    key: Option<(u64, usize)>,
    text: Vec<u8>,
}

impl StepEnding {
    fn of(&mut self, lr: f64, samples: usize) -> io::Result<&[u8]> {
        let key = Some((lr.to_bits(), samples));
        if self.key != key {
            self.text.clear();
            self.text.extend_from_slice(br#","lr":"#);
            serde_json::to_writer(&mut self.text, &lr)?;
            self.text.extend_from_slice(br#","samples":"#);
            serde_json::to_writer(&mut self.text, &samples)?;
            self.text.extend_from_slice(b"}\n");
            self.key = key;
        }
        Ok(&self.text)
    }
}

/// What is written to as it is, a pipe say, gets the last steps of a run that an error ended, too.
impl Drop for RunLog {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.write_steps();
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
        self.steps.push(StepRow { step, epoch, loss, grad_norm, lr, samples });
        if self.steps.len() < STEPS_AT_ONCE { Ok(()) } else { self.write_steps() }
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
        let step =
            r#"{"kind":"step","step":1,"epoch":1,"loss":0.30000000000000004,"grad_norm":1e-300,"lr":0.1,"samples":3}"#;
        assert_eq!(log.lines().nth(1), Some(step));
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

    /// A rate that stays for some steps, and a batch that is smaller now and then.
    fn lr_and_samples(step: u64) -> (f64, usize) {
        (1.0 / (1 + step / 10) as f64, if step.is_multiple_of(7) { 2 } else { 3 })
    }

    /// Of a run of so many steps, with an epoch after each hundred.
    fn long_log(steps: u64, format: LogFormat) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RunLog::create(&path, format, LogHeader::default()).unwrap();
        for step in 1..=steps {
            let (lr, samples) = lr_and_samples(step);
            log.step(&StepEvent { step, epoch: 1, loss: f64::NAN, grad_norm: -0.0, lr, samples }).unwrap();
            if step % 100 == 0 {
                let epoch = EpochEvent { epoch: 1, loss: 0.3, valid_loss: None, grad_norm: 0.0, samples: 3 };
                log.epoch(&epoch).unwrap();
                log.warning(&RunWarning { code: "code", step, message: "what".into() }).unwrap();
            }
        }
        log.end(&RunEnd { reason: StopReason::Finished, steps, epochs: 1, loss: 0.25, seconds: 2.0 }).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn steps_written_in_one_go_are_all_there_and_in_order() {
        for steps in [1, STEPS_AT_ONCE as u64, STEPS_AT_ONCE as u64 + 1, 250] {
            let text = long_log(steps, LogFormat::JsonLines);
            let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
            for at in (0..kinds.len()).filter(|&at| kinds[at] == "epoch") {
                assert_eq!(lines[at - 1]["step"].as_u64().unwrap() % 100, 0);
                assert_eq!((kinds[at + 1], &lines[at + 1]["step"]), ("warning", &lines[at - 1]["step"]));
            }
            let logged: Vec<_> = lines.iter().filter(|line| line["kind"] == "step").collect();
            assert_eq!((logged.len() as u64, kinds.last()), (steps, Some(&"end")));
            for (step, line) in (1..).zip(logged) {
                let (lr, samples) = lr_and_samples(step);
                let expected = serde_json::json!({
                    "kind": "step", "step": step, "epoch": 1, "loss": null, "grad_norm": -0.0, "lr": lr,
                    "samples": samples
                });
                assert_eq!(*line, expected);
            }
            assert_eq!(long_log(steps, LogFormat::Csv).lines().count() as u64, steps + 1);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn steps_before_an_error_reach_what_is_written_to_as_it_is() {
        use std::io::{Read, Seek};
        use std::os::fd::AsRawFd;

        for (format, expected) in [(LogFormat::JsonLines, 3), (LogFormat::Csv, 4)] {
            let mut file = tempfile::tempfile().unwrap();
            let mut log =
                RunLog::create(format!("/proc/self/fd/{}", file.as_raw_fd()), format, LogHeader::default()).unwrap();
            for step in 1..=3 {
                log.step(&StepEvent { step, epoch: 1, loss: 0.5, grad_norm: 1.0, lr: 0.1, samples: 3 }).unwrap();
            }
            drop(log);
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text.lines().count(), expected, "{text}");
        }
    }

    #[test]
    fn the_format_follows_from_the_name() {
        assert_eq!(LogFormat::of(Path::new("a.CSV")), LogFormat::Csv);
        assert_eq!(LogFormat::of(Path::new("a.jsonl")), LogFormat::JsonLines);
    }
}
