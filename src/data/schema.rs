//! What the columns of a file mean to a model, and how a table becomes a data set by it.

use std::collections::HashMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::csv::{CellContent, Cursor, Table, list, why_not_a_number};
use super::dataset::Dataset;
use crate::error::{Error, Place, Result};
use crate::scalar::Scalar;

/// What is to be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A number: one output.
    Regression,
    /// One of two classes: one output, the logit of the second.
    Binary,
    /// One of several classes: an output for each.
    Multiclass,
}

/// What to do with a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Refuse it, with its place. The default.
    #[default]
    Error,
    /// Leave its row out.
    Drop,
    /// Put in the column's mean, or the most frequent value of a text column.
    Mean,
}

/// What to do with a text value that training did not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// Refuse it, with its place. The default.
    #[default]
    Error,
    /// Set all the column's one-hot features to 0.
    Zero,
}

/// A column that becomes one or more features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// The column's name in the file.
    pub name: String,
    /// How it becomes features.
    #[serde(flatten)]
    pub encoding: Encoding,
}

/// How a column becomes features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "encoding", rename_all = "kebab-case")]
pub enum Encoding {
    /// The number itself: one feature.
    Number {
        /// What a missing value becomes; `None`: it is refused.
        fill: Option<f64>,
    },
    /// One feature for each value, 1 where the cell has it and 0 elsewhere.
    OneHot {
        /// The values, in order.
        values: Vec<String>,
        /// What a missing value becomes; `None`: it is refused.
        fill: Option<String>,
    },
}

/// What the columns of a file mean to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// What is to be predicted.
    pub task: Task,
    /// The target's column.
    pub target: String,
    /// The classes, in the order of their indices; empty for regression.
    pub classes: Vec<String>,
    /// The columns that become features, in order.
    pub columns: Vec<FeatureColumn>,
    /// The column of sample weights, if there is one.
    pub sample_weight: Option<String>,
    /// What to do with missing values.
    pub missing: Missing,
    /// The cells that count as missing, besides the empty cell.
    pub missing_markers: Vec<String>,
}

/// A table made into a data set.
#[derive(Debug, Clone)]
pub struct Encoded<T> {
    /// The rows that were kept.
    pub data: Dataset<T>,
    /// How many rows were left out for a missing value.
    pub dropped: usize,
}

impl Schema {
    /// The outputs of a model for this schema.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Regression | Task::Binary => 1,
            Task::Multiclass => self.classes.len(),
        }
    }

    /// The names of the features: the column's, or `NAME=VALUE` for each value of a one-hot column.
    pub fn feature_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for column in &self.columns {
            match &column.encoding {
                Encoding::Number { .. } => names.push(column.name.clone()),
                Encoding::OneHot { values, .. } => {
                    names.extend(values.iter().map(|value| format!("{}={value}", column.name)));
                }
            }
        }
        names
    }

    /// Features, targets and weights of a table that has them all. Columns are matched by name.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) with the place: a column that is missing or there twice, a value that does
    /// not fit, a class or text value that the schema does not know, a missing value unless it is filled or
    /// dropped.
    pub fn encode<T: Scalar>(&self, table: &Table<T>) -> Result<Encoded<T>> {
        let target = table.column_named(&self.target)?;
        let weight = self.sample_weight.as_ref().map(|name| table.column_named(name)).transpose()?;
        let mut needed = self.find_columns(table)?;
        needed.push(target);
        needed.extend(weight);
        let keep = kept_rows(table, &needed, self.missing);
        let features = self.features(table, &keep, Unknown::Error)?;
        let data = match self.task {
            Task::Regression => {
                let values = numbers(table, target, &keep, "the target must be a number")?;
                Dataset::with_values(features, column_array(values))?
            }
            Task::Binary => {
                let classes = self.class_indices(table, target, &keep)?;
                let values = classes.into_iter().map(|class| T::from_f64(class as f64)).collect();
                Dataset::with_values(features, column_array(values))?
            }
            Task::Multiclass => Dataset::with_classes(features, self.class_indices(table, target, &keep)?)?,
        };
        let lines = keep.iter().map(|&row| table.lines()[row]).collect();
        let mut data = data.named(self.feature_names())?.target_named(&self.target).located(table.file(), lines);
        if let Some(weight) = weight {
            let weights = numbers(table, weight, &keep, "a sample weight must be a number")?;
            if let Some(at) = weights.iter().position(|w| *w < T::zero()) {
                let what = format!("the sample weight {} is negative", weights[at]);
                return Err(Error::data(table.place(keep[at], weight), what, "weights count rows: 0 or more"));
            }
            if weights.iter().all(|w| w.is_zero()) {
                let place = Place::file(table.file()).in_column(&table.column(weight).name);
                return Err(Error::data(place, "every sample weight is 0", "weights count rows: some must be above 0"));
            }
            data = data.weighted(weights)?;
        }
        Ok(Encoded { data, dropped: table.rows() - keep.len() })
    }

    /// The features alone, `[rows, features]`, a row for each of the table's. Columns are matched by name; others are
    /// ignored, and no target is needed.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode). A missing value is refused here under [`Missing::Drop`] too: each row gets its
    /// prediction or the file is refused.
    pub fn encode_features<T: Scalar>(&self, table: &Table<T>, unknown: Unknown) -> Result<Array2<T>> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        self.features(table, &rows, unknown)
    }

    fn find_columns<T: Scalar>(&self, table: &Table<T>) -> Result<Vec<usize>> {
        self.columns.iter().map(|column| table.column_named(&column.name)).collect()
    }

    fn features<T: Scalar>(&self, table: &Table<T>, rows: &[usize], unknown: Unknown) -> Result<Array2<T>> {
        let found = self.find_columns(table)?;
        let mut readers: Vec<ColumnReader<'_>> = Vec::new();
        let mut width = 0;
        for (column, &index) in self.columns.iter().zip(&found) {
            let reader = ColumnReader::new(column, index, width, table);
            width += reader.width;
            readers.push(reader);
        }
        let mut features = Array2::zeros((rows.len(), width));
        if width == 0 {
            return Ok(features);
        }
        let all: &mut [T] = features.as_slice_mut().expect("standard layout");
        for (&row, out) in rows.iter().zip(all.chunks_exact_mut(width)) {
            for reader in &mut readers {
                reader.read(table, row, out, unknown)?;
            }
        }
        Ok(features)
    }

    fn class_indices<T: Scalar>(&self, table: &Table<T>, target: usize, rows: &[usize]) -> Result<Vec<usize>> {
        let index: HashMap<&str, usize> = self.classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let mut cursor = Cursor::default();
        let mut classes = Vec::with_capacity(rows.len());
        for &row in rows {
            let cell = table.cell(row, target, &mut cursor);
            let Some(text) = category(table, target, cell) else {
                return Err(missing_value(table, row, target, "a row without a target can only be dropped"));
            };
            let Some(&class) = index.get(text.as_str()) else {
                let what = format!("the class \"{text}\" was not seen in training");
                let help = format!("the classes are {}", list(self.classes.iter().map(String::as_str)));
                return Err(Error::data(table.place(row, target), what, help));
            };
            classes.push(class);
        }
        Ok(classes)
    }
}

/// Reads one column of a table into the features it becomes.
struct ColumnReader<'a> {
    column: &'a FeatureColumn,
    /// Where the column stands in the table, and where its features begin in a row.
    index: usize,
    offset: usize,
    width: usize,
    cursor: Cursor,
    /// The feature of each value.
    values: HashMap<&'a str, usize>,
    /// The feature of each text of the table's column, by its code.
    by_code: Vec<Option<usize>>,
}

impl<'a> ColumnReader<'a> {
    fn new<T: Scalar>(column: &'a FeatureColumn, index: usize, offset: usize, table: &Table<T>) -> Self {
        let mut values = HashMap::new();
        let mut width = 1;
        if let Encoding::OneHot { values: all, .. } = &column.encoding {
            values = all.iter().enumerate().map(|(i, value)| (value.as_str(), i)).collect();
            width = all.len();
        }
        let by_code = table.column(index).texts.iter().map(|text| values.get(text.as_str()).copied()).collect();
        ColumnReader { column, index, offset, width, cursor: Cursor::default(), values, by_code }
    }

    fn read<T: Scalar>(&mut self, table: &Table<T>, row: usize, out: &mut [T], unknown: Unknown) -> Result<()> {
        let cell = table.cell(row, self.index, &mut self.cursor);
        let value = match (&self.column.encoding, cell) {
            (Encoding::Number { .. }, CellContent::Number(value)) => {
                out[self.offset] = value;
                return Ok(());
            }
            (Encoding::Number { fill: Some(fill) }, CellContent::Missing) => {
                out[self.offset] = T::from_f64(*fill);
                return Ok(());
            }
            (Encoding::Number { .. }, CellContent::Text(code)) => {
                let text = &table.column(self.index).texts[code as usize];
                return Err(not_a_number(table, row, self.index, text));
            }
            (Encoding::OneHot { fill: Some(fill), .. }, CellContent::Missing) => {
                self.values.get(fill.as_str()).copied()
            }
            (_, CellContent::Missing) => return Err(missing_value(table, row, self.index, NOT_FILLED)),
            (Encoding::OneHot { .. }, CellContent::Text(code)) => self.by_code[code as usize],
            (Encoding::OneHot { .. }, CellContent::Number(value)) => {
                self.values.get(number_text(value).as_str()).copied()
            }
        };
        match value {
            Some(value) => out[self.offset + value] = T::one(),
            None if unknown == Unknown::Zero => {}
            None => {
                let text = category(table, self.index, cell).unwrap_or_default();
                let what = format!("the value \"{text}\" was not seen in training");
                let help = "mend the cell; `gradus predict --unknown zero` gives unseen values no effect";
                return Err(Error::data(table.place(row, self.index), what, help));
            }
        }
        Ok(())
    }
}

/// The help for a missing value in a file that a schema without fill values reads.
const NOT_FILLED: &str =
    "every value is needed here: complete the row, or train with --missing mean to have it filled in";

/// The rows that are used: all, or under [`Missing::Drop`] those with no missing value in the columns needed.
pub(crate) fn kept_rows<T: Scalar>(table: &Table<T>, needed: &[usize], missing: Missing) -> Vec<usize> {
    let mut keep = vec![true; table.rows()];
    if missing == Missing::Drop {
        for &column in needed {
            for row in table.column(column).missing_rows() {
                keep[row] = false;
            }
        }
    }
    (0..table.rows()).filter(|&row| keep[row]).collect()
}

/// The text of a cell as a category; `None` if it is missing. A number is written in its shortest form, so that
/// `1` and `1.0` are one category.
pub(crate) fn category<T: Scalar>(table: &Table<T>, column: usize, cell: CellContent<T>) -> Option<String> {
    match cell {
        CellContent::Missing => None,
        CellContent::Number(value) => Some(number_text(value)),
        CellContent::Text(code) => Some(table.column(column).texts[code as usize].clone()),
    }
}

fn number_text<T: Scalar>(value: T) -> String {
    // Adding 0 turns -0 into 0.
    (value + T::zero()).to_string()
}

/// The numbers of a column in the rows given.
fn numbers<T: Scalar>(table: &Table<T>, column: usize, rows: &[usize], what: &str) -> Result<Vec<T>> {
    let mut cursor = Cursor::default();
    let mut values = Vec::with_capacity(rows.len());
    for &row in rows {
        match table.cell(row, column, &mut cursor) {
            CellContent::Number(value) => values.push(value),
            CellContent::Missing => {
                return Err(missing_value(table, row, column, "--missing drop leaves such rows out"));
            }
            CellContent::Text(code) => {
                let text = &table.column(column).texts[code as usize];
                let what = format!("\"{text}\" is not a number: {what}");
                return Err(Error::data(table.place(row, column), what, "for classes, use --loss cross-entropy"));
            }
        }
    }
    Ok(values)
}

fn column_array<T: Scalar>(values: Vec<T>) -> Array2<T> {
    Array2::from_shape_vec((values.len(), 1), values).expect("one value a row")
}

/// The error for a missing value.
pub(crate) fn missing_value<T: Scalar>(table: &Table<T>, row: usize, column: usize, help: &str) -> Error {
    Error::data(table.place(row, column), "the value is missing", help)
}

/// The error for a text in a column of numbers.
pub(crate) fn not_a_number<T: Scalar>(table: &Table<T>, row: usize, column: usize, text: &str) -> Error {
    let name = &table.column(column).name;
    let what = format!("\"{text}\" is not a number{}", why_not_a_number(text));
    let help = format!(
        "the column holds numbers: mend the cell, add --na \"{text}\" if it means missing, or --categorical {name}"
    );
    Error::data(table.place(row, column), what, help)
}
