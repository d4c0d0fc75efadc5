//! What is told of a run: remarks at its beginning, a table or a JSON object at its end.

use std::fmt::Write;
use std::path::Path;

use gradus::Scalar;
use gradus::data::Schema;
use gradus::model::Model;
use gradus::optim::Momentum;
use gradus::predictor::Metrics;
use gradus::train::auto::Plan;
use gradus::train::{BatchSize, StopReason};
use serde_json::{Value, json};

use super::least_squares::Comparison;
use super::output::{count, figure};
use super::prepare::{Prepared, SourceInfo};
use super::rows::TrainingRows;
use super::train::{Quality, Trained};

/// What was found in the data and what was chosen, a line each.
pub fn beginning<T: Scalar, R: TrainingRows<T>>(prepared: &Prepared<T, R>, plan: Option<&Plan>) -> String {
    let Prepared { source, schema, loss_name, .. } = prepared;
    let mut text = String::new();
    let _ = writeln!(text, "{}", self::source(source));
    if source.dropped > 0 {
        let _ = writeln!(text, "{} left out for missing values", count(source.dropped, "row"));
    }
    let _ = writeln!(text, "target \"{}\": {}, loss {loss_name}", schema.target, task(schema));
    for note in &prepared.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(plan) = plan {
        let _ = writeln!(text, "chosen: {}", chosen(plan));
    }
    text
}

/// How a file is written and what size it is.
pub fn source(source: &SourceInfo) -> String {
    let header = if source.dialect.header { "a header" } else { "no header" };
    let delimited =
        if source.columns > 1 { format!("{}-separated, ", source.dialect.delimiter_name()) } else { String::new() };
    let (rows, columns) = (count(source.rows, "row"), count(source.columns, "column"));
    format!("{}: {delimited}{header}, {rows}, {columns}", source.file)
}

fn task(schema: &Schema) -> String {
    const SHOWN: usize = 10;
    let classes = &schema.classes;
    if classes.is_empty() {
        return "a number".into();
    }
    let more = if classes.len() > SHOWN { ", ..." } else { "" };
    format!("{} classes ({}{more})", classes.len(), classes[..classes.len().min(SHOWN)].join(", "))
}

/// The settings of a plan in a line.
pub fn chosen(plan: &Plan) -> String {
    let momentum = match plan.momentum {
        Momentum::None => "no momentum".to_owned(),
        Momentum::Classic { momentum, .. } => format!("momentum {momentum:.3}"),
        Momentum::Nesterov { momentum } => format!("Nesterov momentum {momentum:.3}"),
    };
    let batch = match plan.batch_size {
        BatchSize::Full => "full batch".to_owned(),
        BatchSize::Rows(rows) => format!("batches of {rows}"),
    };
    let most = if plan.optimality.is_some() || plan.plateau.is_some() { "at most " } else { "" };
    format!(
        "learning rate {} (curvature {}), {momentum}, schedule {}, {batch}, {most}{} epochs",
        figure(plan.lr),
        figure(plan.curvature),
        plan.schedule,
        plan.epochs
    )
}

/// The end of a run as a table to read.
pub fn train_table<T: Scalar, R: TrainingRows<T>>(
    trained: &Trained<T, R>,
    quality: &Quality,
    saved: Option<&Path>,
) -> String {
    let Trained { prepared, report, .. } = trained;
    let Quality { metrics, valid_metrics, least_squares } = quality;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let valid = prepared.validation.as_ref().map_or(String::new(), |data| format!(", {} for validation", data.count()));
    row(
        "data",
        format!(
            "{}: {}{valid}, {}",
            prepared.source.file,
            count(prepared.data.count(), "row"),
            count(prepared.model.inputs(), "feature")
        ),
    );
    row("task", format!("{}, loss {}", task(&prepared.schema), prepared.loss_name));
    let parameters: usize = prepared.model.parameters().iter().map(gradus::Parameter::len).sum();
    row(
        "trained",
        format!(
            "{}, {}, {} in {}{}",
            count(parameters, "parameter"),
            count(report.epochs, "epoch"),
            count(report.steps as usize, "step"),
            seconds(report.seconds),
            ending(trained)
        ),
    );
    if report.skipped_steps > 0 {
        row(
            "left out",
            format!("{} whose loss or gradient was not finite", count(report.skipped_steps as usize, "step")),
        );
    }
    row("loss", figure(report.loss));
    if report.objective != report.loss {
        row("objective", format!("{} (loss and weight decay)", figure(report.objective)));
    }
    if let Some(least_squares) = least_squares {
        row("least sq.", least_squares.line());
    }
    row("metrics", summary(metrics));
    if let Some(metrics) = valid_metrics {
        row("validation", summary(metrics));
    }
    let warnings: Vec<String> = report.warnings.iter().map(|(code, times)| format!("{code} ({times})")).collect();
    if !warnings.is_empty() {
        row("warnings", warnings.join(", "));
    }
    row("saved", saved.map_or("nowhere; -o FILE keeps the model".into(), |path| path.display().to_string()));
    text.push_str(&least_squares.as_ref().map_or(String::new(), Comparison::table));
    text.push_str(&confusion(valid_metrics.as_ref().unwrap_or(metrics), &prepared.schema.classes));
    text
}

fn ending<T: Scalar, R: TrainingRows<T>>(trained: &Trained<T, R>) -> String {
    let report = &trained.report;
    match (report.reason, report.best_epoch) {
        (StopReason::Interrupted, _) => ", interrupted".into(),
        (_, Some(best)) => format!(", best parameters of epoch {best}"),
        (StopReason::EarlyStop, None) => ", until the loss settled".into(),
        (StopReason::Finished, None) if trained.settles => ", not settled yet: --epochs N gives it more".into(),
        _ => String::new(),
    }
}

/// Seconds in a unit that suits them.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// The metrics in a line.
pub fn summary(metrics: &Metrics) -> String {
    match metrics {
        Metrics::Regression { mse, rmse, mae, r2 } => {
            format!("R2 {r2:.5}, RMSE {}, MAE {}, MSE {}", figure(*rmse), figure(*mae), figure(*mse))
        }
        Metrics::Classification { log_loss, accuracy, .. } => {
            format!("accuracy {accuracy:.4}, log loss {}", figure(*log_loss))
        }
    }
}

/// The confusion matrix of a classifier of few classes; nothing for others.
pub fn confusion(metrics: &Metrics, classes: &[String]) -> String {
    const MOST_CLASSES: usize = 12;
    const WIDEST: usize = 12;
    let Metrics::Classification { confusion, .. } = metrics else { return String::new() };
    if classes.len() > MOST_CLASSES {
        return String::new();
    }
    let short = |name: &str| name.chars().take(WIDEST).collect::<String>();
    let width = classes.iter().map(|class| short(class).chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!("\n{:>width$}  predicted\n{:>width$}", "true", "");
    for class in classes {
        let _ = write!(text, "  {:>width$}", short(class));
    }
    text.push('\n');
    for (class, row) in classes.iter().zip(confusion) {
        let _ = write!(text, "{:>width$}", short(class));
        for count in row {
            let _ = write!(text, "  {count:>width$}");
        }
        text.push('\n');
    }
    text
}

/// The end of a run as one JSON object.
pub fn train_json<T: Scalar, R: TrainingRows<T>>(
    trained: &Trained<T, R>,
    quality: &Quality,
    saved: Option<&Path>,
) -> Value {
    let Trained { prepared, report, config, .. } = trained;
    let Quality { metrics, valid_metrics, least_squares } = quality;
    let warnings: serde_json::Map<String, Value> =
        report.warnings.iter().map(|(code, times)| (code.to_owned(), json!(times))).collect();
    let mut object = json!({
        "data": prepared.source.file,
        "rows": prepared.data.count(),
        "dropped_rows": prepared.source.dropped,
        "features": prepared.data.names(),
        "classes": if prepared.schema.classes.is_empty() { Value::Null } else { json!(prepared.schema.classes) },
        "loss": prepared.loss_name,
        "reason": report.reason.as_str(),
        "epochs": report.epochs,
        "steps": report.steps,
        "best_epoch": report.best_epoch,
        "skipped_steps": report.skipped_steps,
        "warnings": warnings,
        "train_loss": report.loss,
        "objective": report.objective,
        "metrics": metrics,
        "load_seconds": prepared.load_seconds,
        "train_seconds": report.seconds,
        "model": saved.map(|path| path.to_string_lossy()),
        "notes": prepared.notes,
        "config": config,
    });
    if let Some(least_squares) = least_squares {
        object["least_squares"] = least_squares.json();
    }
    if let Some(metrics) = valid_metrics {
        object["valid_metrics"] = json!(metrics);
    }
    object
}
