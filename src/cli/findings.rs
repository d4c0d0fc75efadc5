//! What `doctor` makes of the facts: findings, each with the option or the edit that mends it.

use gradus::Scalar;
use gradus::diagnose::{Collinear, SourceColumn};
use gradus::model::Model;
use serde::Serialize;

use super::doctor::{Diagnosis, Trial};
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
    /// The option or the edit that mends it.
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

/// A class to which other rows give less than this part of its share of the rows is a mistake more often than not,
/// unless it has too few rows to be known from others.
const MISLABELLED: f64 = 0.02;
const FEWEST: usize = 5;

/// Names that are listed in full.
const LISTED: usize = 5;

/// All findings, the worst first.
pub fn findings<T: Scalar>(diagnosis: &Diagnosis<T>, missing: MissingChoice) -> Vec<Finding> {
    let mut list = List(Vec::new());
    missing_values(diagnosis, missing, &mut list);
    training(diagnosis, &mut list);
    columns(diagnosis, &mut list);
    classes(diagnosis, &mut list);
    rows(diagnosis, &mut list);
    conditioning(diagnosis, &mut list);
    for note in &diagnosis.prepared.notes {
        let (message, remedy) = note.rsplit_once("; ").unwrap_or((note, "look at the data"));
        list.add(Severity::Warning, "remark", message.to_owned(), remedy.to_owned());
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

/// The option that leaves columns out, as a shell takes it.
fn drop_option<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if let Some(name) = names.iter().find(|name| name.contains(',')) {
        return format!("take column \"{name}\" out of the file: no option can name it for its comma");
    }
    let list = names.join(",");
    let plain = |c: char| c.is_alphanumeric() || "_-.,:=+%@/".contains(c);
    let joint = if list.starts_with('-') { '=' } else { ' ' };
    if list.chars().all(plain) {
        format!("--drop{joint}{list}")
    } else {
        format!("--drop{joint}'{}'", list.replace('\'', r"'\''"))
    }
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
            list.add(
                Severity::Note,
                "missing_values",
                message,
                "--missing mean fills them in and keeps the rows".into(),
            );
        }
        MissingChoice::Mean => {
            let remedy = "nothing more to do, or --missing drop leaves their rows out".into();
            list.add(Severity::Note, "missing_values", format!("{message}; filled in"), remedy);
        }
    }
}

/// What keeps training from coming to anything.
fn training<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    if let Trial::Fails(error) = &diagnosis.trial {
        let text = error.to_string();
        let (message, remedy) = text.split_once("\nhelp: ").unwrap_or((&text, "look at the data"));
        list.add(Severity::Problem, "training_fails", format!("training fails: {message}"), remedy.to_owned());
    }
    let target = &diagnosis.prepared.schema.target;
    let rows = diagnosis.prepared.data.rows();
    let first = diagnosis.target(0);
    if rows > 1 && (1..rows).all(|row| diagnosis.target(row) == first) {
        let message = format!("the target \"{target}\" is {} in every row: there is nothing to learn", short(first));
        list.add(Severity::Problem, "constant_target", message, "--target names another column".into());
    }
    if diagnosis.as_given.is_none() && diagnosis.standardised.is_some() {
        let data = &diagnosis.prepared.data;
        let mut largest = (0, 0.0_f64);
        for row in 0..rows {
            for (feature, value) in data.row(row).iter().enumerate() {
                if value.as_f64().abs() > largest.1.abs() {
                    largest = (feature, value.as_f64());
                }
            }
        }
        let (column, value) = (diagnosis.column_of(largest.0), short(largest.1));
        let message = format!("column \"{column}\" has values like {value}, whose squares overflow {}", T::NAME);
        let (severity, remedy) = if diagnosis.standardizes {
            (Severity::Note, "standardising, which is on, mends it; a smaller unit does for good")
        } else {
            (Severity::Problem, "leave out --no-standardize, or give the column a smaller unit")
        };
        list.add(severity, "overflow", message, remedy.into());
    }
}

fn columns<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let (facts, columns) = (&diagnosis.facts, &diagnosis.columns);
    let name = |index: &usize| -> &str { &columns[*index].name };
    for index in &facts.giveaways {
        let message = format!("column \"{}\" alone tells the target in every row", name(index));
        let remedy = format!("if it is not known when you predict: {}", drop_option([name(index)].into_iter()));
        list.add(Severity::Problem, "giveaway", message, remedy);
    }
    for index in &facts.row_numbers {
        let message = format!("column \"{}\" looks like a row number: a different whole number in each", name(index));
        list.add(Severity::Warning, "row_number", message, drop_option([name(index)].into_iter()));
    }
    for index in &facts.identifiers {
        let texts = columns[*index].features.len();
        let rows = count(diagnosis.prepared.data.rows(), "row");
        let message = format!("column \"{}\" names the rows: {texts} different texts in {rows}", name(index));
        list.add(Severity::Warning, "identifier", message, drop_option([name(index)].into_iter()));
    }
    for (repeated, first) in &facts.duplicates {
        let message = format!("column \"{}\" repeats \"{}\"", name(repeated), name(first));
        list.add(Severity::Warning, "duplicate", message, drop_option([name(repeated)].into_iter()));
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
        let remedy = format!("{}, or --weight-decay 0.001", drop_option([name(column)].into_iter()));
        list.add(severity, "collinear", message, remedy);
    }
    if !facts.constant.is_empty() {
        let names = || facts.constant.iter().map(name);
        let message = format!("{} the same in every row: {}", count(facts.constant.len(), "column"), listed(names()));
        list.add(Severity::Note, "constant", message, drop_option(names()));
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
    if few_rows(diagnosis) {
        let message = format!(
            "{} for {} a prediction: they can be fitted exactly, and say little",
            count(rows, "row"),
            count(parameters_of_output(diagnosis), "parameter")
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

/// The parameters that make up one output.
fn parameters_of_output<T: Scalar>(diagnosis: &Diagnosis<T>) -> usize {
    let model = &diagnosis.prepared.model;
    model.parameters().iter().map(gradus::Parameter::len).sum::<usize>() / model.outputs()
}

/// Whether there are so few rows that they can be fitted exactly.
fn few_rows<T: Scalar>(diagnosis: &Diagnosis<T>) -> bool {
    diagnosis.prepared.data.rows() <= parameters_of_output(diagnosis)
}

fn rows<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let suspects = &diagnosis.suspects;
    let (sizes, all) = (diagnosis.class_sizes(), diagnosis.prepared.data.rows());
    let likely = suspects.mislabelled.iter().filter(|m| {
        let size = sizes.get(diagnosis.target(m.row) as usize).copied().unwrap_or(0);
        let least = MISLABELLED * size as f64 / all as f64;
        size >= FEWEST && !few_rows(diagnosis) && m.probability.is_some_and(|p| p < least)
    });
    let lines: Vec<String> = likely.filter_map(|m| diagnosis.line(m.row)).map(|line| line.to_string()).collect();
    if !lines.is_empty() {
        let message = format!(
            "{} whose class other rows all but rule out, line {}",
            count(lines.len(), "row"),
            listed(lines.iter().map(String::as_str))
        );
        list.add(Severity::Warning, "mislabelled", message, "look at the class; see the list below".into());
    }
    let far_out = suspects.mistyped.iter().filter(|m| {
        let data = &diagnosis.prepared.data;
        let value = |row: usize| data.row(row)[m.feature].as_f64();
        let others = || (0..all).filter(|&row| row != m.row).map(value);
        m.deviations > MISTYPED && stands_alone(value(m.row), others)
    });
    for m in far_out.take(LISTED) {
        let place = diagnosis.prepared.data.place(m.row);
        let place = place.map_or(format!("row {}", m.row), |p| p.in_column(diagnosis.column_of(m.feature)).to_string());
        let value = diagnosis.prepared.data.row(m.row)[m.feature].as_f64();
        list.add(Severity::Warning, "mistyped", format!("{place}: {}", far_out_by(value, m.deviations)), LOOK.into());
    }
    if diagnosis.prepared.schema.classes.is_empty() && all > FEWEST {
        mistyped_target(diagnosis, list);
    }
}

/// What to do about a value that lies far out.
const LOOK: &str = "look at the cell: a decimal point, a unit, a code?";

fn far_out_by(value: f64, deviations: f64) -> String {
    const READABLE: f64 = 1e5;
    let far = if deviations < READABLE { format!("{} standard deviations", short(deviations)) } else { "far".into() };
    let value = short(value);
    format!("{value} lies {far} from the mean of the other rows")
}

/// The target that lies farthest out, if it stands alone.
fn mistyped_target<T: Scalar>(diagnosis: &Diagnosis<T>, list: &mut List) {
    let data = &diagnosis.prepared.data;
    let largest = |a: usize, b: usize| if diagnosis.target(b).abs() > diagnosis.target(a).abs() { b } else { a };
    let row = (0..data.rows()).fold(0, largest);
    let others = || (0..data.rows()).filter(|&other| other != row).map(|row| diagnosis.target(row));
    let n = others().count() as f64;
    let mean = others().sum::<f64>() / n;
    let deviations =
        (diagnosis.target(row) - mean).abs() / (others().map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt();
    if deviations > MISTYPED && stands_alone(diagnosis.target(row), others) {
        let target = &diagnosis.prepared.schema.target;
        let place = data.place(row).map_or(format!("row {row}"), |place| place.in_column(target).to_string());
        let message = format!("{place}: {}", far_out_by(diagnosis.target(row), deviations));
        list.add(Severity::Warning, "mistyped", message, LOOK.into());
    }
}

/// Whether a value lies much farther out than any of the others, and those do vary.
fn stands_alone<I: Iterator<Item = f64>>(value: f64, others: impl Fn() -> I) -> bool {
    const TIMES: f64 = 3.0;
    let mean = others().sum::<f64>() / others().count() as f64;
    let farthest = others().map(|x| (x - mean).abs()).fold(0.0, f64::max);
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
