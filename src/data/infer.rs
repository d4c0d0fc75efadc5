//! Finds out what the columns of a training file mean.

use std::collections::HashMap;

use super::csv::{Table, list, why_not_a_number};
use super::facts::{ColumnFacts, Columns, Counted, Wanted};
use super::features::{missing_value, not_a_number};
use super::roles::Roles;
use super::schema::{Encoding, FeatureColumn, Missing, Schema, Task};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// What kind of target is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetRole {
    /// By its values: text is classes; numbers that are just 0 and 1 are two classes; others are numbers. The
    /// default.
    #[default]
    Auto,
    /// A number.
    Number,
    /// One of exactly two classes.
    TwoClasses,
    /// One of two or more classes.
    Classes,
}

/// How to read a table as training data.
#[derive(Debug, Clone)]
pub struct SchemaOptions {
    /// The target's column. Default: the last one.
    pub target: Option<String>,
    /// The columns to use. Default: all others.
    pub features: Option<Vec<String>>,
    /// Columns to leave out. Default: none.
    pub drop: Vec<String>,
    /// Columns of numbers that are codes. Default: none.
    pub categorical: Vec<String>,
    /// The column of sample weights. Default: none.
    pub sample_weight: Option<String>,
    /// Default: [`Missing::Error`].
    pub missing: Missing,
    /// The largest number of different values of a text column. Default: 100.
    pub max_categories: usize,
    /// Default: [`TargetRole::Auto`].
    pub target_role: TargetRole,
    /// What the file was read with; kept for files to come.
    pub missing_markers: Vec<String>,
}

impl Default for SchemaOptions {
    fn default() -> Self {
        SchemaOptions {
            target: None,
            features: None,
            drop: Vec::new(),
            categorical: Vec::new(),
            sample_weight: None,
            missing: Missing::Error,
            max_categories: 100,
            target_role: TargetRole::Auto,
            missing_markers: super::csv::DEFAULT_MISSING.map(str::to_owned).to_vec(),
        }
    }
}

impl Schema {
    /// What the columns of a table mean, with remarks on what a reader may want to know.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) with the place: a name that is not there or there twice, a text among
    /// numbers, too many categories, a missing value under [`Missing::Error`], a single class.
    pub fn infer<T: Scalar>(table: &Table<T>, options: &SchemaOptions) -> Result<(Schema, Vec<String>)> {
        let roles = Roles::find(table.heading(), options)?;
        infer(table, &roles, options)
    }
}

/// What columns of these roles mean.
pub(crate) fn infer<C: Columns>(table: &C, roles: &Roles, options: &SchemaOptions) -> Result<(Schema, Vec<String>)> {
    let heading = table.heading();
    let mut inference = Inference { table, options, counted: Counted::default(), notes: Vec::new() };
    let wanted = inference.wanted(roles);
    inference.counted = table.count(&roles.used(), options.missing, &wanted)?;
    if inference.counted.rows == 0 {
        let used = roles.used();
        let empty = used.iter().filter(|&&column| table.facts(column).missing == table.all_rows());
        let empty: Vec<&str> = empty.map(|&column| heading.names[column].as_str()).collect();
        let help = if empty.is_empty() {
            "--missing mean fills them in; --drop leaves out a column that is mostly empty".to_owned()
        } else {
            format!("--drop {} leaves out what is empty in every row", empty.join(","))
        };
        return Err(Error::data(heading.place(), "every row has a missing value", help));
    }
    let (task, classes) = inference.target(roles.target)?;
    let columns = roles.features.iter().map(|&c| inference.feature(c)).collect::<Result<Vec<_>>>()?;
    if columns.is_empty() {
        inference.notes.push("there are no feature columns: only the bias is trained".into());
    }
    let schema = Schema {
        task,
        target: heading.names[roles.target].clone(),
        classes,
        columns,
        sample_weight: options.sample_weight.clone(),
        missing: options.missing,
        missing_markers: options.missing_markers.clone(),
    };
    Ok((schema, inference.notes))
}

struct Inference<'a, C> {
    table: &'a C,
    options: &'a SchemaOptions,
    counted: Counted,
    notes: Vec<String>,
}

impl<C: Columns> Inference<'_, C> {
    fn name(&self, index: usize) -> &str {
        &self.table.heading().names[index]
    }

    /// The columns whose values are to be counted. One that is refused needs no counting.
    fn wanted(&self, roles: &Roles) -> Vec<Wanted> {
        let all = |column| Wanted { column, most_numbers: usize::MAX };
        let is_text = |column: usize| self.is_text(column, &self.table.facts(column));
        let target = match (self.options.target_role, is_text(roles.target)) {
            (TargetRole::Number, _) | (_, Err(_)) => None,
            (TargetRole::Auto, Ok(false)) => Some(Wanted { column: roles.target, most_numbers: CODES }),
            _ => Some(all(roles.target)),
        };
        let texts = roles.features.iter().filter(|&&column| matches!(is_text(column), Ok(true)));
        target.into_iter().chain(texts.map(|&column| all(column))).collect()
    }

    /// How often each value of a column occurs in the rows used; `None` if it has too many numbers.
    fn counts(&self, index: usize) -> Option<&HashMap<String, usize>> {
        self.counted.values.get(&index).and_then(Option::as_ref)
    }

    /// Whether a column is text. One in ten or fewer texts among numbers are a mistake in the file.
    fn is_text(&self, index: usize, facts: &ColumnFacts) -> Result<bool> {
        if self.options.categorical.iter().any(|name| name == self.name(index)) {
            return Ok(true);
        }
        match &facts.first_text {
            Some((line, text)) if facts.numbers >= 9 * facts.texts => {
                Err(not_a_number(self.table.heading().column(index).at_line(*line), text))
            }
            first => Ok(first.is_some()),
        }
    }

    fn feature(&mut self, index: usize) -> Result<FeatureColumn> {
        let place = self.table.heading().column(index);
        let facts = self.table.facts(index);
        let is_text = self.is_text(index, &facts)?;
        if let (Missing::Error, Some(line)) = (self.options.missing, facts.first_missing) {
            let help =
                format!("--missing drop leaves such rows out ({} here), --missing mean fills them in", facts.missing);
            return Err(missing_value(place.at_line(line), &help));
        }
        if facts.missing == self.table.all_rows() {
            return Err(Error::data(place, "every value is missing", format!("--drop {}", self.name(index))));
        }
        let encoding = if is_text {
            let counts = self.counts(index).expect("texts are counted");
            self.check_categories(index, &facts, counts)?;
            let values = in_order(counts.keys().cloned());
            // Of two values as frequent, the first in order.
            let frequent = values.iter().rev().max_by_key(|value| counts[*value]).cloned();
            Encoding::OneHot { values, fill: frequent.filter(|_| self.options.missing == Missing::Mean) }
        } else {
            Encoding::Number { fill: self.counted.means.get(index).copied() }
        };
        Ok(FeatureColumn { name: self.name(index).to_owned(), encoding })
    }

    fn check_categories(&self, index: usize, facts: &ColumnFacts, counts: &HashMap<String, usize>) -> Result<()> {
        let most = self.options.max_categories;
        if counts.len() <= most {
            return Ok(());
        }
        let example = facts.first_text.as_ref().map_or("", |(_, text)| text);
        let remark = why_not_a_number(example);
        let what = format!("{} different texts, more than {most}; the first is \"{example}\"{remark}", counts.len());
        let help = format!("leave the column out with --drop {}, or raise --max-categories", self.name(index));
        Err(Error::data(self.table.heading().column(index), what, help))
    }

    fn target(&mut self, index: usize) -> Result<(Task, Vec<String>)> {
        let facts = self.table.facts(index);
        if let (Missing::Error | Missing::Mean, Some(line)) = (self.options.missing, facts.first_missing) {
            let help = "a target cannot be filled in: --missing drop leaves such rows out";
            return Err(missing_value(self.table.heading().column(index).at_line(line), help));
        }
        let role = self.options.target_role;
        if role == TargetRole::Number {
            return Ok((Task::Regression, Vec::new()));
        }
        let is_text = self.is_text(index, &facts)?;
        let Some(counts) = self.counts(index) else { return Ok((Task::Regression, Vec::new())) };
        if role == TargetRole::Auto && !is_text {
            let values = in_order(counts.keys().cloned());
            if values != ["0", "1"] {
                self.note_class_codes(index, &values);
                return Ok((Task::Regression, Vec::new()));
            }
        }
        self.check_class_count(index, counts)?;
        let classes = in_order(counts.keys().cloned());
        let two = classes.len() == 2;
        let task = match role {
            TargetRole::Classes => Task::Multiclass,
            TargetRole::TwoClasses => Task::Binary,
            _ if two => Task::Binary,
            _ => Task::Multiclass,
        };
        Ok((task, classes))
    }

    fn check_class_count(&self, index: usize, counts: &HashMap<String, usize>) -> Result<()> {
        let place = self.table.heading().column(index);
        if let [only] = counts.keys().collect::<Vec<_>>()[..] {
            let what = format!("the target has a single class, \"{only}\"");
            return Err(Error::data(place, what, "a classifier needs rows of at least two classes"));
        }
        if self.options.target_role == TargetRole::TwoClasses && counts.len() > 2 {
            let classes = in_order(counts.keys().cloned());
            let what = format!("{} classes ({})", classes.len(), list(classes.iter().map(String::as_str)));
            let what = format!("{what}, and the binary loss takes two");
            return Err(Error::data(place, what, "use --loss cross-entropy"));
        }
        if counts.len() > self.options.max_categories {
            let what = format!("{} classes, more than {}", counts.len(), self.options.max_categories);
            let help = "for a number to predict use --loss mse; otherwise choose --target, or raise --max-categories";
            return Err(Error::data(place, what, help));
        }
        Ok(())
    }

    /// Remarks on a target of few whole numbers: it may be classes.
    fn note_class_codes(&mut self, index: usize, values: &[String]) {
        let whole = values.iter().all(|value| value.parse::<u64>().is_ok());
        if whole && values.len() > 1 && self.counted.rows > 2 * values.len() {
            let name = self.name(index);
            self.notes.push(format!(
                "the target \"{name}\" has just {} values, all whole numbers ({}), and is taken as a number; if they \
                 are classes, add --loss cross-entropy",
                values.len(),
                list(values.iter().map(String::as_str))
            ));
        }
    }
}

/// The most different whole numbers that look like class codes.
const CODES: usize = 20;

/// In the order of numbers if all are numbers, else of text.
fn in_order(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut values: Vec<String> = values.collect();
    let number = |text: &String| text.parse::<f64>().ok().filter(|number| number.is_finite());
    if values.iter().all(|value| number(value).is_some()) {
        values.sort_by(|a, b| number(a).partial_cmp(&number(b)).expect("finite"));
    } else {
        values.sort();
    }
    values
}

#[cfg(test)]
#[path = "infer_tests.rs"]
mod tests;
