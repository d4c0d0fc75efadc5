//! A diagnosis as a page to read and as a JSON object.

use std::fmt::Write;

use gradus::Scalar;
use gradus::optim::Momentum;
use gradus::train::auto::Plan;
use serde_json::{Value, json};

use super::doctor::{Conditions, Diagnosis, Trial};
use super::findings::Severity;
use super::output::{count, paragraph};
use super::report;

/// A number in about four digits.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&magnitude) {
        let decimals = (3 - magnitude.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.3e}")
    }
}

/// The page.
pub fn page<T: Scalar>(diagnosis: &Diagnosis<T>) -> String {
    let mut text = String::new();
    detected(diagnosis, &mut text);
    found(diagnosis, &mut text);
    conditions(diagnosis, &mut text);
    suspicious(diagnosis, &mut text);
    text
}

fn detected<T: Scalar>(diagnosis: &Diagnosis<T>, text: &mut String) {
    text.push_str(&paragraph("", &report::source(&diagnosis.prepared.source)));
    let schema = &diagnosis.prepared.schema;
    let task = if schema.classes.is_empty() {
        let rows = diagnosis.prepared.data.rows();
        let values = (0..rows).map(|row| diagnosis.target(row));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low == high {
            format!("a number, {}", short(low))
        } else {
            format!("a number, {} to {}", short(low), short(high))
        }
    } else {
        classes(&schema.classes, &diagnosis.class_sizes())
    };
    let target = format!("target \"{}\": {task}, loss {}", schema.target, diagnosis.prepared.loss_name);
    text.push_str(&paragraph("", &target));
    let texts = diagnosis.columns.iter().filter(|column| column.one_hot).count();
    let numbers = diagnosis.columns.len() - texts;
    let features = diagnosis.prepared.data.features().ncols();
    let _ = match (numbers, texts) {
        (_, 0) => writeln!(text, "features: {} of numbers", count(numbers, "column")),
        (0, _) => writeln!(text, "features: {} of text, {features} values in all", count(texts, "column")),
        _ => {
            let values = features - numbers;
            writeln!(text, "features: {} of numbers, {texts} of text with {values} values", count(numbers, "column"))
        }
    };
}

/// The classes with their rows: each, or of many the smallest and the largest.
fn classes(names: &[String], sizes: &[usize]) -> String {
    const LISTED: usize = 12;
    let each: Vec<String> = names.iter().zip(sizes).map(|(name, size)| format!("{name} {size}")).collect();
    if each.len() <= LISTED {
        return format!("{} classes ({})", each.len(), each.join(", "));
    }
    let by_size = |at: &usize| sizes[*at];
    let (least, most) = ((0..sizes.len()).min_by_key(by_size), (0..sizes.len()).max_by_key(by_size));
    let named = |at: Option<usize>| at.map_or("", |at| each[at].as_str());
    format!("{} classes (from {} to {} rows)", each.len(), named(least), named(most))
}

fn found<T: Scalar>(diagnosis: &Diagnosis<T>, text: &mut String) {
    let heading = if diagnosis.findings.is_empty() { "nothing odd was found" } else { "findings, the worst first" };
    let _ = writeln!(text, "\n{heading}");
    for finding in &diagnosis.findings {
        let name = match finding.severity {
            Severity::Problem => "problem",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text.push_str(&paragraph(&format!("  {name:<9}"), &finding.message));
        if !finding.remedy.is_empty() {
            text.push_str(&paragraph("           -> ", &finding.remedy));
        }
    }
}

fn conditions<T: Scalar>(diagnosis: &Diagnosis<T>, text: &mut String) {
    let (given, standardised) = (diagnosis.as_given.as_ref(), diagnosis.standardised.as_ref());
    if given.is_none() && standardised.is_none() {
        text.push_str("\nthe loss has no curvature that could be told: no learning rate is known to be stable\n");
        return;
    }
    let mark = |trained| if trained { " *" } else { "  " };
    let (first, second) = (mark(!diagnosis.standardizes), mark(diagnosis.standardizes));
    let _ = writeln!(text, "\n{:<31}{:>16}{first}{:>16}{second}", "features", "as given", "standardised");
    let mut row = |name: &str, figure: &dyn Fn(&Conditions) -> String| {
        // What is missing overflows; a finding says so.
        let [given, standardised] = [given, standardised].map(|c| c.map_or("-".to_owned(), figure));
        let _ = writeln!(text, "{name:<31}{given:>16}{standardised:>18}");
    };
    let bound = |c: &Conditions, mark: &str| if c.spectrum.complete { String::new() } else { mark.to_owned() };
    row("largest curvature", &|c| short(c.spectrum.largest));
    row("smallest curvature", &|c| bound(c, "at most ") + &short(c.spectrum.smallest));
    row("condition number", &|c| bound(c, "at least ") + &short(c.spectrum.condition));
    if [given, standardised].iter().flatten().any(|c| c.spectrum.flat_directions > 0) {
        row("flat directions", &|c| c.spectrum.flat_directions.to_string());
    }
    row("stable, full batch: lr below", &|c| short(c.rates.full_batch));
    row(&format!("  momentum {}", diagnosis.momentum), &|c| short(c.rates.momentum));
    row(&format!("  Nesterov momentum {}", diagnosis.momentum), &|c| short(c.rates.nesterov));
    row(&format!("stable, batches of {}", diagnosis.batch), &|c| short(c.rates.mini_batch));
    text.push_str("* what `train` runs on, with these options\n");
    if let Some(plan) = &diagnosis.plan {
        let epochs = match diagnosis.trial {
            Trial::Ends { epochs } if epochs == plan.epochs => "; it runs them all".to_owned(),
            Trial::Ends { epochs } => format!("; it ends after {}", count(epochs, "epoch")),
            Trial::Fails(_) => "; it fails".to_owned(),
            Trial::Untried => String::new(),
        };
        text.push_str(&paragraph("", &format!("--lr auto takes {}{epochs}", report::chosen(plan))));
    }
}

fn suspicious<T: Scalar>(diagnosis: &Diagnosis<T>, text: &mut String) {
    let line = |row| diagnosis.line(row).map_or(String::new(), |line| line.to_string());
    let clip = |name: &str| name.chars().take(20).collect::<String>();
    if !diagnosis.suspects.mislabelled.is_empty() {
        let _ = writeln!(text, "\nmost at odds with a fit on other rows: is the target right?");
        let classes = !diagnosis.prepared.schema.classes.is_empty();
        let last = if classes { "probability" } else { "residual" };
        let _ = writeln!(text, "{:>8}  {:<20}  {:<20}  {last:>11}", "line", "target", "other rows say");
        for m in &diagnosis.suspects.mislabelled {
            let (target, predicted) = (diagnosis.in_words(diagnosis.target(m.row)), diagnosis.in_words(m.predicted));
            let last = m.probability.unwrap_or(m.residual);
            let (target, predicted) = (clip(&target), clip(&predicted));
            let _ = writeln!(text, "{:>8}  {target:<20}  {predicted:<20}  {:>11}", line(m.row), short(last));
        }
    }
    if !diagnosis.suspects.mistyped.is_empty() {
        let _ = writeln!(text, "\nfarthest out, by gradient norm and leverage: are the features right?");
        let _ = writeln!(
            text,
            "{:>8}  {:>13}  {:>8}  {:<20}  {:>10}  {:>10}",
            "line", "gradient norm", "leverage", "column", "value", "deviations"
        );
        for m in &diagnosis.suspects.mistyped {
            let leverage = m.leverage.map_or(String::new(), |leverage| format!("{leverage:.3}"));
            let value = short(diagnosis.prepared.data.row(m.row)[m.feature].as_f64());
            let column = clip(&diagnosis.prepared.data.feature_names()[m.feature]);
            let norm = short(m.gradient_norm);
            // The other rows do not vary.
            let far = if m.deviations.is_finite() { short(m.deviations) } else { "-".into() };
            let _ =
                writeln!(text, "{:>8}  {norm:>13}  {leverage:>8}  {column:<20}  {value:>10}  {far:>10}", line(m.row));
        }
    }
}

/// The diagnosis as one JSON object.
pub fn json<T: Scalar>(diagnosis: &Diagnosis<T>) -> Value {
    let prepared = &diagnosis.prepared;
    let (source, schema, data) = (&prepared.source, &prepared.schema, &prepared.data);
    let classes: Vec<Value> = schema
        .classes
        .iter()
        .zip(diagnosis.class_sizes())
        .map(|(name, rows)| json!({"name": name, "rows": rows}))
        .collect();
    let missing = |name: &str| diagnosis.missing.iter().find(|(n, _)| n == name).map_or(0, |(_, cells)| *cells);
    let columns: Vec<Value> = diagnosis
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": if column.one_hot { "text" } else { "number" },
                "features": column.features.len(),
                "missing": missing(&column.name),
            })
        })
        .collect();
    let mislabelled: Vec<Value> = diagnosis
        .suspects
        .mislabelled
        .iter()
        .map(|m| {
            json!({
                "line": diagnosis.line(m.row),
                "row": m.row,
                "target": target_json(diagnosis, diagnosis.target(m.row)),
                "predicted": target_json(diagnosis, m.predicted),
                "probability": m.probability,
                "residual": m.residual,
            })
        })
        .collect();
    let mistyped: Vec<Value> = diagnosis
        .suspects
        .mistyped
        .iter()
        .map(|m| {
            json!({
                "line": diagnosis.line(m.row),
                "row": m.row,
                "gradient_norm": m.gradient_norm,
                "leverage": m.leverage,
                "column": diagnosis.column_of(m.feature),
                "feature": data.feature_names()[m.feature],
                "value": data.row(m.row)[m.feature].as_f64(),
                "deviations": m.deviations,
            })
        })
        .collect();
    json!({
        "data": source.file,
        "delimiter": char::from(source.dialect.delimiter).to_string(),
        "header": source.dialect.header,
        "rows": data.rows(),
        "dropped_rows": source.dropped,
        "target": schema.target,
        "task": schema.task,
        "classes": if classes.is_empty() { Value::Null } else { json!(classes) },
        "loss": prepared.loss_name,
        "columns": columns,
        "findings": diagnosis.findings,
        "standardize": diagnosis.standardizes,
        "as_given": conditions_json(diagnosis, diagnosis.as_given.as_ref()),
        "standardized": conditions_json(diagnosis, diagnosis.standardised.as_ref()),
        "auto": diagnosis.plan.as_ref().map(|plan| plan_json(plan, &diagnosis.trial, data.rows())),
        "suspicious_rows": { "mislabelled": mislabelled, "mistyped": mistyped },
        "held_out_accuracy": diagnosis.suspects.accuracy,
    })
}

fn target_json<T: Scalar>(diagnosis: &Diagnosis<T>, target: f64) -> Value {
    match diagnosis.prepared.schema.classes.get(target as usize) {
        Some(class) => json!(class),
        None => json!(target),
    }
}

fn conditions_json<T: Scalar>(diagnosis: &Diagnosis<T>, conditions: Option<&Conditions>) -> Value {
    let Some(Conditions { spectrum, rates, .. }) = conditions else { return Value::Null };
    json!({
        "largest_curvature": spectrum.largest,
        "smallest_curvature": spectrum.smallest,
        "condition_number": spectrum.condition,
        "flat_directions": spectrum.flat_directions,
        "complete": spectrum.complete,
        "rows_measured": spectrum.rows,
        "stable_lr": {
            "full_batch": rates.full_batch,
            "momentum": { "momentum": diagnosis.momentum, "classic": rates.momentum, "nesterov": rates.nesterov },
            "mini_batch": { "batch_size": diagnosis.batch, "lr": rates.mini_batch },
        },
    })
}

fn plan_json(plan: &Plan, trial: &Trial, rows: usize) -> Value {
    json!({
        "lr": plan.lr,
        "momentum": plan.momentum.factor(),
        "nesterov": matches!(plan.momentum, Momentum::Nesterov { .. }),
        "schedule": plan.schedule.to_string(),
        "batch_size": plan.batch_size.of(rows),
        "most_epochs": plan.epochs,
        "epochs": if let Trial::Ends { epochs } = trial { Some(epochs) } else { None },
    })
}
