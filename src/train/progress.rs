//! A run shown while it runs: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::{EpochEvent, Observer, RunEnd, RunStart, RunWarning, StepEvent};
use crate::error::Result;
use crate::remarks::remark;

/// Shows a run on standard error.
pub struct Progress {
    display: Display,
    epochs: usize,
    refreshed: Instant,
    /// The last epoch that was told of.
    told: usize,
}

enum Display {
    Bar(ProgressBar),
    Lines,
    Warnings,
    Nothing,
}

/// Time between refreshes of a bar.
const BAR_EVERY: Duration = Duration::from_millis(50);

/// Time after which a line is due, whatever the epoch.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Lines of a run that ends before any is due by time.
const LINES: usize = 5;

impl Progress {
    /// A bar: epoch, loss, gradient norm, rows a second, time left.
    pub fn bar() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{bar:24} {msg}  {per_sec} left {eta}";
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        let style = style.with_key("per_sec", |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", rate(state.per_sec()));
        });
        bar.set_style(style);
        Progress::new(Display::Bar(bar))
    }

    /// Plain lines.
    pub fn lines() -> Self {
        Progress::new(Display::Lines)
    }

    /// Warnings alone.
    pub fn warnings_only() -> Self {
        Progress::new(Display::Warnings)
    }

    /// Nothing.
    pub fn silent() -> Self {
        Progress::new(Display::Nothing)
    }

    fn new(display: Display) -> Self {
        Progress { display, epochs: 0, refreshed: Instant::now(), told: 0 }
    }
}

/// Rows a second, in short.
fn rate(rows: f64) -> String {
    match rows {
        r if r >= 1e9 => format!("{:.1}G rows/s", r / 1e9),
        r if r >= 1e6 => format!("{:.1}M rows/s", r / 1e6),
        r if r >= 1e3 => format!("{:.1}k rows/s", r / 1e3),
        r => format!("{r:.0} rows/s"),
    }
}

impl Observer for Progress {
    fn start(&mut self, start: &RunStart) -> Result<()> {
        self.epochs = start.epochs;
        (self.refreshed, self.told) = (Instant::now(), 0);
        if let Display::Bar(bar) = &self.display {
            bar.set_length(start.rows.saturating_mul(start.epochs) as u64);
        }
        Ok(())
    }

    fn step(&mut self, event: &StepEvent) -> Result<()> {
        if let Display::Bar(bar) = &self.display {
            bar.inc(event.samples as u64);
            if self.refreshed.elapsed() >= BAR_EVERY {
                self.refreshed = Instant::now();
                let StepEvent { epoch, loss, grad_norm, .. } = event;
                bar.set_message(format!("epoch {epoch}/{} loss {loss:.5e} grad {grad_norm:.2e}", self.epochs));
            }
        }
        Ok(())
    }

    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        if let Display::Lines = self.display {
            let every = self.epochs.div_ceil(LINES);
            let due = event.epoch == 1 || event.epoch.is_multiple_of(every) || self.refreshed.elapsed() >= LINE_EVERY;
            if due {
                let seconds = self.refreshed.elapsed().as_secs_f64();
                let rows = (event.epoch - self.told) * event.samples;
                (self.refreshed, self.told) = (Instant::now(), event.epoch);
                let EpochEvent { epoch, loss, grad_norm, .. } = event;
                let valid = event.valid_loss.map_or(String::new(), |loss| format!("  valid loss {loss:.6e}"));
                remark(format!(
                    "epoch {epoch}/{}  loss {loss:.6e}{valid}  grad norm {grad_norm:.3e}  {}",
                    self.epochs,
                    rate(rows as f64 / seconds.max(1e-9))
                ));
            }
        }
        Ok(())
    }

    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        match &self.display {
            Display::Bar(bar) => bar.suspend(|| remark(format!("warning: {}", warning.message))),
            Display::Lines | Display::Warnings => remark(format!("warning: {}", warning.message)),
            Display::Nothing => {}
        }
        Ok(())
    }

    fn end(&mut self, _end: &RunEnd) -> Result<()> {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        Ok(())
    }
}
