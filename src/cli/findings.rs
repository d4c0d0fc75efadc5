//! What `doctor` makes of the facts: findings, each with the option or the edit that mends it.

use gradus::Scalar;
use gradus::diagnose::{Collinear, Mistyped, SourceColumn};
use gradus::model::Model;
use serde::Serialize;

use super::doctor::Diagnosis;
use super::doctor_page::short;
use super::options::MissingChoice;
use super::output::count;

/// How much a finding matters. The worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training fails, or its result is worth nothing.
    Problem,
    /// The result may be misleading.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something odd about the data.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What it is, in a word.
    pub code: &'static str,
    pub message: String,
    /// The option or the edit that mends it; empty where nothing has to be done.
    pub remedy: String,
}

/// Classes with fewer rows than this share of an even part are rare.
const RARE: f64 = 0.2;

/// Scales that differ by more than this are worth a word.
const FAR_APART: f64 = 100.0;

/// A condition number beyond which some directions are hopelessly slow.
const ILL_CONDITIONED: f64 = 1e6;

/// A value this many standard deviations from the other rows' mean is a mistake more often than not.
const MISTYPED: f64 = 15.0;

/// A class to which other rows give less than this is a mistake more often than not.
const MISLABELLED: f64 = 0.01;

/// Names that are listed in full.
const LISTED: usize = 5;

/// All findings, the worst first.
pub fn findings<T: Scalar>(diagnosis: &Diagnosis<T>, missing: MissingChoice) -> Vec<Finding> {
    let mut list = List(Vec::new());
    missing_values(diagnosis, missing, &mut list);
    columns(diagnosis, &mut list);
    classes(diagnosis, &mut list);
    rows(diagnosis, &mut list);
    conditioning(diagnosis, &mut list);
    for note in &diagnosis.prepared.notes {
        let codes = note.contains("--loss cross-entropy");
        list.add(if codes { Severity::Warning } else { Severity::Note }, "remark", note.clone(), String::new());
    }
    list.0.sort_by_key(|finding| finding.severity);
    list.0
}

struct List(Vec<Finding>);

impl List {
    fn add(&mut self, severity: Severity, code: &'static str, message: String, remedy: String) {
        self.0.push(Finding { severity, code, message, remedy });
    }
}

/// Names in a row, the first few of them.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let more = if all.len() > LISTED { format!(" and {} more", all.len() - LISTED) } else { String::new() };
    format!("{}{more}", all[..all.len().min(LISTED)].join(", "))
}

/// Names for an option that takes several.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let list = names.collect::<Vec<_>>().join(",");
    if list.contains(' ') { format!("\"{list}\"") } else { list }
}

fn missing_values<T: Scalar>(diagnosis: &Diagnosis<T>, choice: MissingChoice, list: &mut List) {
    if diagnosis.missing.is_empty() {
        return;
    }
    let cells: usize = diagnosis.missing.iter().map(|(_, cells)| cells).sum();
    let each: Vec<String> = diagnosis.missing.iter().map(|(name, cells)| format!("{name} {cells}")).collect();
    let message = format!("{} missing: {}", count(cells, "value"), listed(each.iter().map(String::as_str)));
    let dropped = diagnosis.prepared.source.dropped;
    match choice {
        MissingChoice::Error => {
            let target = diagnosis.missing.iter().any(|(name, _)| *name == diagnosis.prepared.schema.target);
            let fill = if target { "" } else { ", or --missing mean fills them in" };
            let remedy = format!("--missing drop leaves {} out, as here{fill}", count(dropped, "row"));
            list.add(Severity::Problem, "missing_values", message, remedy);
        }
        MissingChoice::Drop => {
            let message = format!("{message}; {} left out", count(dropped, "row"));
            list.add(Severity::Note, "missing_values", message, String::new());
        }
        MissingChoice::Mean => {
            list.add(Severity::Note, "missing_values", format!("{message}; filled in"), String::new());
        }
    }
}

fn columns<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let (facts, columns) = (&diagnosis.facts, &diagnosis.columns);
    let name = |index: &usize| -> &str { &columns[*index].name };
    for index in &facts.giveaways {
        let message = format!("column \"{}\" alone tells the target in every row", name(index));
        let remedy = format!("if it is not known when you predict: --drop {}", joined([name(index)].into_iter()));
        list.add(Severity::Problem, "giveaway", message, remedy);
    }
    for index in &facts.row_numbers {
        let message = format!("column \"{}\" looks like a row number: a different whole number in each", name(index));
        list.add(Severity::Warning, "row_number", message, format!("--drop {}", joined([name(index)].into_iter())));
    }
    for (repeated, first) in &facts.duplicates {
        let message = format!("column \"{}\" repeats \"{}\"", name(repeated), name(first));
        list.add(Severity::Warning, "duplicate", message, format!("--drop {}", joined([name(repeated)].into_iter())));
    }
    for Collinear { column, with, inflation } in &facts.collinear {
        let others = listed(with.iter().map(name));
        let (severity, message) = if inflation.is_finite() {
            let message = format!(
                "column \"{}\" is nearly made up of {others}: the variance of its coefficient is {} times as large",
                name(column),
                short(*inflation)
            );
            (Severity::Note, message)
        } else {
            (Severity::Warning, format!("column \"{}\" is exactly made up of {others}", name(column)))
        };
        let remedy = format!("--drop {}, or --weight-decay 0.001", joined([name(column)].into_iter()));
        list.add(severity, "collinear", message, remedy);
    }
    if !facts.constant.is_empty() {
        let names = || facts.constant.iter().map(name);
        let message = format!("{} the same in every row: {}", count(facts.constant.len(), "column"), listed(names()));
        list.add(Severity::Note, "constant", message, format!("--drop {}", joined(names())));
    }
    if let Some((widest, narrowest, ratio)) = facts.scales.filter(|(_, _, ratio)| *ratio > FAR_APART) {
        let names: [&SourceColumn; 2] = [&columns[widest], &columns[narrowest]];
        let message =
            format!("column \"{}\" varies {} times as widely as \"{}\"", names[0].name, short(ratio), names[1].name);
        if diagnosis.standardizes {
            let remedy = "standardising, which is on, mends it".to_owned();
            list.add(Severity::Note, "scales", message, remedy);
        } else {
            list.add(Severity::Warning, "scales", message, "leave out --no-standardize".into());
        }
    }
}

fn classes<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let sizes = diagnosis.class_sizes();
    let rows = diagnosis.prepared.data.rows();
    let parameters: usize = diagnosis.prepared.model.parameters().iter().map(gradus::Parameter::len).sum();
    let outputs = diagnosis.prepared.model.outputs();
    if rows <= parameters / outputs {
        let message = format!(
            "{} for {} a prediction: they can be fitted exactly, and say little",
            count(rows, "row"),
            count(parameters / outputs, "parameter")
        );
        list.add(Severity::Warning, "few_rows", message, "more rows, fewer columns, or --weight-decay 0.1".into());
    }
    let even = rows as f64 / sizes.len().max(1) as f64;
    let names = &diagnosis.prepared.schema.classes;
    let rare: Vec<String> = names
        .iter()
        .zip(&sizes)
        .filter(|(_, size)| (**size as f64) < RARE * even)
        .map(|(name, size)| format!("{name} {size}"))
        .collect();
    if !rare.is_empty() {
        let message = format!("rare classes, of {}: {}", count(rows, "row"), listed(rare.iter().map(String::as_str)));
        list.add(Severity::Warning, "imbalance", message, "--class-weight balanced lets each count alike".into());
    }
}

fn rows<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let suspects = &diagnosis.suspects;
    let likely = suspects.mislabelled.iter().filter(|m| m.probability.is_some_and(|p| p < MISLABELLED));
    let lines: Vec<String> = likely.filter_map(|m| diagnosis.line(m.row)).map(|line| line.to_string()).collect();
    if !lines.is_empty() {
        let message = format!(
            "{} whose class other rows all but rule out, line {}",
            count(lines.len(), "row"),
            listed(lines.iter().map(String::as_str))
        );
        list.add(Severity::Warning, "mislabelled", message, "look at the class; see the list below".into());
    }
    let far_out = suspects.mistyped.iter().filter(|m| m.deviations > MISTYPED && stands_alone(diagnosis, m));
    for m in far_out.take(LISTED) {
        let place = diagnosis.prepared.data.place(m.row);
        let place = place.map_or(format!("row {}", m.row), |p| p.in_column(diagnosis.column_of(m.feature)).to_string());
        let value = diagnosis.prepared.data.row(m.row)[m.feature].as_f64();
        let message = format!(
            "{place}: {} lies {} standard deviations from the mean of the other rows",
            short(value),
            short(m.deviations)
        );
        list.add(Severity::Warning, "mistyped", message, "look at the cell: a decimal point, a unit, a code?".into());
    }
}

/// Whether a value lies much farther out than any other of its column, and those do vary.
fn stands_alone<T: Scalar>(diagnosis: &Diagnosis<T>, suspect: &Mistyped) -> bool {
    const TIMES: f64 = 3.0;
    let data = &diagnosis.prepared.data;
    let others =
        || (0..data.rows()).filter(|&row| row != suspect.row).map(|row| data.row(row)[suspect.feature].as_f64());
    let mean = others().sum::<f64>() / others().count() as f64;
    let farthest = others().map(|x| (x - mean).abs()).fold(0.0, f64::max);
    let value = data.row(suspect.row)[suspect.feature].as_f64();
    farthest > 0.0 && (value - mean).abs() > TIMES * farthest
}

fn conditioning<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let Some(conditions) = diagnosis.trained() else { return };
    let condition = conditions.spectrum.condition;
    if condition > ILL_CONDITIONED {
        let message = format!("the condition number is {}: some directions are learnt very slowly", short(condition));
        let standardise = if diagnosis.standardizes { "" } else { "leave out --no-standardize, or " };
        let remedy = format!("{standardise}--weight-decay 0.001, or drop columns that others make up");
        list.add(Severity::Note, "ill_conditioned", message, remedy);
    }
}
