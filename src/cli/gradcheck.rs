//! `gradus gradcheck`.

use clap::Args;
use gradus::check::{GradCheck, Mode, Report};
use gradus::{Init, Linear, Result, Scalar};
use serde_json::json;

use super::options::{DtypeChoice, LoopOptions, OptimizerOptions, SourceOptions, at_least_one};
use super::output::{Done, Failure, count, figure, print, print_json};
use super::prepare::{Request, prepare};

/// Check the analytic gradient of the model that `train` would fit against a numerical one, on rows of your data.
///
/// The check is made where training starts and at random parameters. Any option of `train` that changes the loss or the
/// model counts; those of the optimizer and the loop are accepted and, but for the weight decay, make no difference.
/// Exit status 1: a gradient is wrong, or cannot be told from rounding.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  gradus gradcheck data/iris.csv --target species --label-smoothing 0.1 --loss cross-entropy"
)]
pub struct Gradcheck {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    optimizer: OptimizerOptions,
    #[command(flatten)]
    training: LoopOptions,
    /// Rows of the batch that is checked
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one, help_heading = "Check")]
    rows: usize,
    /// Check along N random directions for each parameter instead of every entry
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Check")]
    directions: Option<usize>,
    /// Print nothing but errors, and with --json the result
    #[arg(long, help_heading = "Output")]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl Gradcheck {
    pub fn run(&self) -> Done {
        let (reports, rows) = match self.source.model.dtype {
            DtypeChoice::F64 => self.check::<f64>()?,
            DtypeChoice::F32 => self.check::<f32>()?,
        };
        let passed = reports.iter().all(|(_, report)| report.passed());
        if self.json {
            let by_point: serde_json::Map<_, _> =
                reports.iter().map(|(point, report)| ((*point).to_owned(), json!(report))).collect();
            print_json(&json!({ "rows": rows, "passed": passed, "points": by_point }))?;
        } else if !self.quiet {
            let page = |(point, report): &(&str, Report)| {
                format!("at {point} parameters, {}, loss {}\n{report}\n", count(rows, "row"), figure(report.loss))
            };
            print(reports.iter().map(page).collect::<Vec<_>>().join("\n"))?;
        }
        if passed { Ok(()) } else { Err(Failure::Refused) }
    }

    /// The reports at the two points, and the rows that were checked.
    fn check<T: Scalar>(&self) -> Result<(Vec<(&'static str, Report)>, usize)> {
        let mut prepared = prepare::<T>(&Request {
            source: &self.source,
            decay_bias: self.optimizer.decay_bias,
            seed: self.training.seed,
        })?;
        let rows: Vec<usize> = gradus::data::random_rows(prepared.data.rows(), self.rows, self.training.seed);
        let batch = prepared.data.select(&rows);
        let mode = self.directions.map_or(Mode::Entries, Mode::Directions);
        let check = GradCheck::new().mode(mode).weight_decay(self.optimizer.weight_decay).seed(self.training.seed);
        let mut random = prepared.model.clone().initialized(Init::Uniform { seed: self.training.seed });
        let report = |model: &mut Linear<T>| check.model(model, &*prepared.loss, batch.features(), &batch.targets());
        let start = report(&mut prepared.model)?;
        let random_report = report(&mut random)?;
        Ok((vec![("starting", start), ("random", random_report)], rows.len()))
    }
}
