//! Finds out what the columns of a training file mean.

use std::collections::{BTreeSet, HashMap};

use super::category::Tally;
use super::csv::{CellContent, Column, Table, list};
use super::encode::{missing_value, not_a_number};
use super::kept::KeptRows;
use super::schema::{Encoding, FeatureColumn, Missing, Schema, Task};
use crate::error::{Error, Place, Result};
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
        let roles = Roles::find(table, options)?;
        let rows = KeptRows::of(table, &roles.used(), options.missing);
        if rows.len() == 0 {
            let place = Place::file(table.file());
            let missing: Vec<usize> = table.missing_cells().collect();
            let used = roles.used();
            let empty = used.iter().filter(|&&column| missing[column] == table.rows());
            let empty: Vec<&str> = empty.map(|&column| table.column(column).name.as_str()).collect();
            let help = if empty.is_empty() {
                "--missing mean fills them in; --drop leaves out a column that is mostly empty".to_owned()
            } else {
                format!("--drop {} leaves out what is empty in every row", empty.join(","))
            };
            return Err(Error::data(place, "every row has a missing value", help));
        }
        let means = if options.missing == Missing::Mean { table.means() } else { Vec::new() };
        let mut inference = Inference { table, options, rows, means, notes: Vec::new() };
        let (task, classes) = inference.target(roles.target)?;
        let columns = roles.features.iter().map(|&c| inference.feature(c)).collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            inference.notes.push("there are no feature columns: only the bias is trained".into());
        }
        let schema = Schema {
            task,
            target: table.column(roles.target).name.clone(),
            classes,
            columns,
            sample_weight: options.sample_weight.clone(),
            missing: options.missing,
            missing_markers: options.missing_markers.clone(),
        };
        Ok((schema, inference.notes))
    }
}

/// Which column is what.
struct Roles {
    target: usize,
    weight: Option<usize>,
    features: Vec<usize>,
}

impl Roles {
    fn find<T: Scalar>(table: &Table<T>, options: &SchemaOptions) -> Result<Self> {
        let target = match &options.target {
            Some(name) => table.column_named(name)?,
            None => {
                let kept = |c: &usize| !options.drop.contains(&table.column(*c).name);
                let last = (0..table.names().len()).rev().find(kept);
                last.ok_or_else(|| {
                    Error::data(Place::file(table.file()), "every column is dropped", "keep the target")
                })?
            }
        };
        let weight = options.sample_weight.as_ref().map(|name| table.column_named(name)).transpose()?;
        for name in options.drop.iter().chain(&options.categorical) {
            if !table.names().any(|n| n == name) {
                table.column_named(name)?;
            }
        }
        let taken = |c: &usize| *c == target || Some(*c) == weight;
        for column in [Some(target), weight].into_iter().flatten() {
            if options.drop.contains(&table.column(column).name) {
                return Err(taken_twice(table, column, "it is dropped, and the target or the sample weight"));
            }
        }
        if weight == Some(target) {
            return Err(taken_twice(table, target, "the target cannot be the sample weight too"));
        }
        let features: Vec<usize> = match &options.features {
            Some(names) => {
                let found = names.iter().map(|name| table.column_named(name)).collect::<Result<BTreeSet<_>>>()?;
                if let Some(&column) = found.iter().find(|c| taken(c)) {
                    return Err(taken_twice(table, column, "it is the target or the sample weight, and no feature"));
                }
                found.into_iter().collect()
            }
            None => (0..table.names().len()).filter(|c| !taken(c)).collect(),
        };
        let features: Vec<usize> =
            features.into_iter().filter(|&c| !options.drop.contains(&table.column(c).name)).collect();
        for &column in &features {
            let name = &table.column(column).name;
            if table.names().filter(|n| n == name).count() > 1 {
                return Err(table.duplicate(name));
            }
        }
        Ok(Roles { target, weight, features })
    }

    fn used(&self) -> Vec<usize> {
        let mut used = self.features.clone();
        used.push(self.target);
        used.extend(self.weight);
        used
    }
}

fn taken_twice<T: Scalar>(table: &Table<T>, column: usize, what: &str) -> Error {
    let place = Place::file(table.file()).in_column(&table.column(column).name);
    Error::data(place, what, "name another column")
}

struct Inference<'a, T> {
    table: &'a Table<T>,
    options: &'a SchemaOptions,
    /// The rows that are used.
    rows: KeptRows,
    /// The mean of each column, where it fills in missing values; then all rows are used.
    means: Vec<f64>,
    notes: Vec<String>,
}

impl<T: Scalar> Inference<'_, T> {
    /// Whether a column is text. One in ten or fewer texts among numbers are a mistake in the file.
    fn is_text(&self, index: usize) -> Result<bool> {
        let column = self.table.column(index);
        if self.options.categorical.contains(&column.name) {
            return Ok(true);
        }
        let texts = column.text_count();
        if texts > 0 && column.numbers >= 9 * texts {
            let (row, text) = column.text_rows().next().expect("there is a text");
            return Err(not_a_number(self.table, row, index, text));
        }
        Ok(texts > 0)
    }

    fn feature(&mut self, index: usize) -> Result<FeatureColumn> {
        let column = self.table.column(index);
        let is_text = self.is_text(index)?;
        if self.options.missing == Missing::Error {
            if let Some(row) = column.missing_rows().next() {
                let help = format!(
                    "--missing drop leaves such rows out ({} here), --missing mean fills them in",
                    column.missing
                );
                return Err(missing_value(self.table, row, index, &help));
            }
        }
        if column.missing == self.table.rows() {
            let place = Place::file(self.table.file()).in_column(&column.name);
            return Err(Error::data(place, "every value is missing", format!("--drop {}", column.name)));
        }
        let fill = self.options.missing == Missing::Mean;
        let encoding = if is_text {
            let counts = self.counts(index);
            self.check_categories(column, &counts)?;
            let values = in_order(counts.keys().cloned());
            // Of two values as frequent, the first in order.
            let frequent = values.iter().rev().max_by_key(|value| counts[*value]).cloned();
            Encoding::OneHot { values, fill: frequent.filter(|_| fill) }
        } else {
            Encoding::Number { fill: self.means.get(index).copied() }
        };
        Ok(FeatureColumn { name: column.name.clone(), encoding })
    }

    /// How often each value occurs in the rows used.
    fn counts(&self, index: usize) -> HashMap<String, usize> {
        let mut tally = Tally::new(&self.table.column(index).texts);
        self.used_cells(index).for_each(|cell| tally.add(cell));
        tally.counts()
    }

    fn used_cells(&self, index: usize) -> impl Iterator<Item = CellContent<T>> + '_ {
        let mut cursor = Default::default();
        self.rows.iter().map(move |row| self.table.cell(row, index, &mut cursor))
    }

    fn check_categories(&self, column: &Column, counts: &HashMap<String, usize>) -> Result<()> {
        let most = self.options.max_categories;
        if counts.len() <= most {
            return Ok(());
        }
        let place = Place::file(self.table.file()).in_column(&column.name);
        let example = column.texts.first().map_or("", String::as_str);
        let remark = super::csv::why_not_a_number(example);
        let what = format!("{} different texts, more than {most}; the first is \"{example}\"{remark}", counts.len());
        let help = format!("leave the column out with --drop {}, or raise --max-categories", column.name);
        Err(Error::data(place, what, help))
    }

    fn target(&mut self, index: usize) -> Result<(Task, Vec<String>)> {
        let column = self.table.column(index);
        if self.options.missing != Missing::Drop {
            if let Some(row) = column.missing_rows().next() {
                let help = "a target cannot be filled in: --missing drop leaves such rows out";
                return Err(missing_value(self.table, row, index, help));
            }
        }
        let role = self.options.target_role;
        if role == TargetRole::Number {
            return Ok((Task::Regression, Vec::new()));
        }
        let is_text = self.is_text(index)?;
        let counts = if role == TargetRole::Auto && !is_text {
            let Some(counts) = self.few_values(index) else { return Ok((Task::Regression, Vec::new())) };
            let values = in_order(counts.keys().cloned());
            if values != ["0", "1"] {
                self.note_class_codes(index, &values);
                return Ok((Task::Regression, Vec::new()));
            }
            counts
        } else {
            self.counts(index)
        };
        self.check_class_count(column, &counts)?;
        let classes = in_order(counts.into_keys());
        let two = classes.len() == 2;
        let task = match role {
            TargetRole::Classes => Task::Multiclass,
            TargetRole::TwoClasses => Task::Binary,
            _ if two => Task::Binary,
            _ => Task::Multiclass,
        };
        Ok((task, classes))
    }

    fn check_class_count(&self, column: &Column, counts: &HashMap<String, usize>) -> Result<()> {
        let place = Place::file(self.table.file()).in_column(&column.name);
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

    /// The different values of a column of numbers, and how often they occur; `None` if there are more than the limit.
    fn few_values(&self, index: usize) -> Option<HashMap<String, usize>> {
        let mut tally = Tally::new(&self.table.column(index).texts);
        for cell in self.used_cells(index) {
            tally.add(cell);
            if tally.numbers() > CODES {
                return None;
            }
        }
        Some(tally.counts())
    }

    /// Remarks on a target of few whole numbers: it may be classes.
    fn note_class_codes(&mut self, index: usize, values: &[String]) {
        let whole = values.iter().all(|value| value.parse::<u64>().is_ok());
        if whole && values.len() > 1 && self.rows.len() > 2 * values.len() {
            let name = &self.table.column(index).name;
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
