//! How a table becomes a data set by a schema.

use ndarray::Array2;
use rayon::prelude::*;

use super::category::{Categories, category};
use super::csv::{CellContent, Cursor, Table, list, why_not_a_number};
use super::dataset::{Dataset, check_rows};
use super::kept::KeptRows;
use super::schema::{Encoding, FeatureColumn, Schema, Task, Unknown};
use crate::error::{Error, Place, Result};
use crate::scalar::Scalar;

/// A table made into a data set.
#[derive(Debug, Clone)]
pub struct Encoded<T> {
    /// The rows that were kept.
    pub data: Dataset<T>,
    /// How many rows were left out for a missing value.
    pub dropped: usize,
}

impl Schema {
    /// Features, targets and weights of a table that has them all. Columns are matched by name.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) with the place: a column that is missing or there twice, a value that does
    /// not fit, a class or text value that the schema does not know, a missing value unless it is filled or
    /// dropped.
    pub fn encode<T: Scalar>(&self, table: &Table<T>) -> Result<Encoded<T>> {
        self.encode_owned(table.clone())
    }

    /// The same for a table that is needed no more: where all columns are numbers, its memory becomes that of the
    /// features.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode).
    pub fn encode_owned<T: Scalar>(&self, table: Table<T>) -> Result<Encoded<T>> {
        let target = table.column_named(&self.target)?;
        let weight = self.sample_weight.as_ref().map(|name| table.column_named(name)).transpose()?;
        let columns = self.find_columns(&table)?;
        let needed: Vec<usize> = columns.iter().copied().chain([target]).chain(weight).collect();
        let keep = KeptRows::of(&table, &needed, self.missing);
        let features = self.features(&table, &columns, &keep, Unknown::Error)?;
        let targets = self.targets(&table, target, &keep)?;
        check_rows(keep.len())?;
        let weights = weight.map(|column| sample_weights(&table, column, &keep)).transpose()?;
        let (file, dropped) = (table.file().to_owned(), table.rows() - keep.len());
        let lines = table.row_lines(&keep);
        let features = features.matrix(table, &keep);
        let data = match targets {
            TargetColumn::Values(values) => Dataset::with_finite_values(features, values),
            TargetColumn::Classes(classes) => Dataset::with_finite_classes(features, classes),
        };
        let mut data = data?.named(self.feature_names())?.target_named(&self.target).located(&file, lines);
        if let Some(weights) = weights {
            data = data.weighted(weights)?;
        }
        Ok(Encoded { data, dropped })
    }

    /// The features alone, `[rows, features]`, a row for each of the table's. Columns are matched by name; others are
    /// ignored, and no target is needed.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode). A missing value is refused here under [`Missing::Drop`](super::Missing::Drop)
    /// too: each row gets its prediction or the file is refused.
    pub fn encode_features<T: Scalar>(&self, table: &Table<T>, unknown: Unknown) -> Result<Array2<T>> {
        self.encode_features_owned(table.clone(), unknown)
    }

    /// The same for a table that is needed no more.
    ///
    /// # Errors
    /// As [`encode_features`](Schema::encode_features).
    pub fn encode_features_owned<T: Scalar>(&self, table: Table<T>, unknown: Unknown) -> Result<Array2<T>> {
        let keep = KeptRows::All(table.rows());
        let columns = self.find_columns(&table)?;
        Ok(self.features(&table, &columns, &keep, unknown)?.matrix(table, &keep))
    }

    fn find_columns<T: Scalar>(&self, table: &Table<T>) -> Result<Vec<usize>> {
        self.columns.iter().map(|column| table.column_named(&column.name)).collect()
    }

    /// The features of the rows that are kept. `columns` are those of the schema in the table.
    fn features<T: Scalar>(
        &self,
        table: &Table<T>,
        columns: &[usize],
        keep: &KeptRows,
        unknown: Unknown,
    ) -> Result<Features<T>> {
        if let Some(fills) = self.all_numbers() {
            if columns.len() <= table.names().len() {
                check_numbers(table, columns, &fills, keep)?;
                let fills = fills.into_iter().map(|fill| fill.map(T::from_f64)).collect();
                return Ok(Features::OfTable { columns: columns.to_vec(), fills });
            }
        }
        let mut readers: Vec<ColumnReader<'_>> = Vec::new();
        let mut width = 0;
        for (column, &index) in self.columns.iter().zip(columns) {
            let reader = ColumnReader::new(column, index, width, table);
            width += reader.width;
            readers.push(reader);
        }
        let mut features = Array2::zeros((keep.len(), width));
        if width == 0 {
            return Ok(Features::Made(features));
        }
        let all: &mut [T] = features.as_slice_mut().expect("standard layout");
        let read = |(part, out): (usize, &mut [T])| -> Result<()> {
            let mut readers = readers.clone();
            for (index, out) in (part * PART..).zip(out.chunks_exact_mut(width)) {
                let row = keep.row(index);
                readers.iter_mut().try_for_each(|reader| reader.read(table, row, out, unknown))?;
            }
            Ok(())
        };
        if keep.len() <= PART {
            read((0, all))?;
        } else {
            // All parts, so that the error is that of the first row at fault.
            let parts: Vec<Result<()>> = all.par_chunks_mut(PART * width).enumerate().map(read).collect();
            parts.into_iter().collect::<Result<()>>()?;
        }
        Ok(Features::Made(features))
    }

    /// What a missing value becomes in each column, if all are numbers.
    fn all_numbers(&self) -> Option<Vec<Option<f64>>> {
        let fill = |column: &FeatureColumn| match column.encoding {
            Encoding::Number { fill } => Some(fill),
            Encoding::OneHot { .. } => None,
        };
        self.columns.iter().map(fill).collect()
    }

    fn targets<T: Scalar>(&self, table: &Table<T>, target: usize, keep: &KeptRows) -> Result<TargetColumn<T>> {
        Ok(match self.task {
            Task::Regression => TargetColumn::Values(numbers(table, target, keep, "the target must be a number")?),
            Task::Binary => {
                let value = |class| T::from_f64(class as f64);
                TargetColumn::Values(self.class_indices(table, target, keep, value)?)
            }
            Task::Multiclass => TargetColumn::Classes(self.class_indices(table, target, keep, |class| class)?),
        })
    }

    /// What `each` makes of the index of each row's class.
    fn class_indices<T: Scalar, C>(
        &self,
        table: &Table<T>,
        target: usize,
        keep: &KeptRows,
        each: impl Fn(usize) -> C,
    ) -> Result<Vec<C>> {
        let mut categories = Categories::new(&self.classes, &table.column(target).texts);
        let mut cursor = Cursor::default();
        let mut classes = Vec::with_capacity(keep.len());
        for row in keep.iter() {
            let cell = table.cell(row, target, &mut cursor);
            let class = match cell {
                CellContent::Number(value) => categories.of_number(value),
                CellContent::Text(code) => categories.of_text(code),
                CellContent::Missing => {
                    let help = "a row without a target can only be dropped";
                    return Err(missing_value(table, row, target, help));
                }
            };
            let Some(class) = class else {
                let text = category(table, target, cell).unwrap_or_default();
                let what = format!("the class \"{text}\" was not seen in training");
                let help = format!("the classes are {}", list(self.classes.iter().map(String::as_str)));
                return Err(Error::data(table.place(row, target), what, help));
            };
            classes.push(each(class));
        }
        Ok(classes)
    }
}

/// The rows that one thread encodes at a time.
const PART: usize = 4096;

/// Features, checked and as good as made.
enum Features<T> {
    Made(Array2<T>),
    /// The numbers of a table, which has these columns in this order, and what a missing one becomes.
    OfTable {
        columns: Vec<usize>,
        fills: Vec<Option<T>>,
    },
}

impl<T: Scalar> Features<T> {
    fn matrix(self, table: Table<T>, keep: &KeptRows) -> Array2<T> {
        match self {
            Features::Made(features) => features,
            Features::OfTable { columns, fills } => {
                let numbers = table.into_numbers(&columns, &fills, keep);
                Array2::from_shape_vec((keep.len(), columns.len()), numbers).expect("a number for each cell")
            }
        }
    }
}

enum TargetColumn<T> {
    Values(Vec<T>),
    Classes(Vec<usize>),
}

/// Refuses the first cell, row by row, of these columns of numbers that is none and cannot be filled.
fn check_numbers<T: Scalar>(table: &Table<T>, columns: &[usize], fills: &[Option<f64>], keep: &KeptRows) -> Result<()> {
    let first = |(order, (&column, fill)): (usize, (&usize, &Option<f64>))| {
        let faulty = |code| CellContent::<T>::of_code(code) != CellContent::Missing || fill.is_none();
        let others = table.column(column).others().iter();
        let found = others.copied().find(|&(row, code)| faulty(code) && keep.contains(row as usize));
        found.map(|(row, code)| (row as usize, order, column, CellContent::of_code(code)))
    };
    let faults = columns.iter().zip(fills).enumerate().filter_map(first);
    match faults.min_by_key(|&(row, order, ..)| (row, order)) {
        None => Ok(()),
        Some((row, _, column, CellContent::<T>::Text(code))) => {
            Err(not_a_number(table, row, column, &table.column(column).texts[code as usize]))
        }
        Some((row, _, column, _)) => Err(missing_value(table, row, column, NOT_FILLED)),
    }
}

/// Reads one column of a table into the features it becomes.
#[derive(Clone)]
struct ColumnReader<'a> {
    encoding: &'a Encoding,
    /// Where the column stands in the table, and where its features begin in a row.
    index: usize,
    offset: usize,
    width: usize,
    cursor: Cursor,
    categories: Categories<'a>,
}

impl<'a> ColumnReader<'a> {
    fn new<T: Scalar>(column: &'a FeatureColumn, index: usize, offset: usize, table: &Table<T>) -> Self {
        let (values, width): (&[String], usize) = match &column.encoding {
            Encoding::Number { .. } => (&[], 1),
            Encoding::OneHot { values, .. } => (values, values.len()),
        };
        let categories = Categories::new(values, &table.column(index).texts);
        ColumnReader { encoding: &column.encoding, index, offset, width, cursor: Cursor::default(), categories }
    }

    fn read<T: Scalar>(&mut self, table: &Table<T>, row: usize, out: &mut [T], unknown: Unknown) -> Result<()> {
        let cell = table.cell(row, self.index, &mut self.cursor);
        let value = match (self.encoding, cell) {
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
            (Encoding::OneHot { fill: Some(fill), .. }, CellContent::Missing) => self.categories.find(fill),
            (_, CellContent::Missing) => return Err(missing_value(table, row, self.index, NOT_FILLED)),
            (Encoding::OneHot { .. }, CellContent::Text(code)) => self.categories.of_text(code),
            (Encoding::OneHot { .. }, CellContent::Number(value)) => self.categories.of_number(value),
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

/// The numbers of a column in the rows kept.
fn numbers<T: Scalar>(table: &Table<T>, column: usize, keep: &KeptRows, what: &str) -> Result<Vec<T>> {
    let mut cursor = Cursor::default();
    let mut values = Vec::with_capacity(keep.len());
    for row in keep.iter() {
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

fn sample_weights<T: Scalar>(table: &Table<T>, column: usize, keep: &KeptRows) -> Result<Vec<T>> {
    let weights = numbers(table, column, keep, "a sample weight must be a number")?;
    if let Some(at) = weights.iter().position(|w| *w < T::zero()) {
        let what = format!("the sample weight {} is negative", weights[at]);
        return Err(Error::data(table.place(keep.row(at), column), what, "weights count rows: 0 or more"));
    }
    if weights.iter().all(|w| w.is_zero()) {
        let place = Place::file(table.file()).in_column(&table.column(column).name);
        return Err(Error::data(place, "every sample weight is 0", "weights count rows: some must be above 0"));
    }
    Ok(weights)
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
