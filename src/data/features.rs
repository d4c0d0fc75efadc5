//! How the cells of a row become features.

use super::category::{Categories, category};
use super::csv::{CellContent, Cursor, Table, why_not_a_number};
use super::kept::KeptRows;
use super::schema::{Encoding, FeatureColumn, Schema, Unknown};
use crate::error::{Error, Place, Result};
use crate::scalar::Scalar;

/// Writes the features of a table's rows.
pub(crate) struct FeatureEncoder<'a> {
    readers: Vec<ColumnReader<'a>>,
    pub width: usize,
    unknown: Unknown,
}

impl<'a> FeatureEncoder<'a> {
    /// For the schema's columns, which are these of the table.
    pub(crate) fn new<T: Scalar>(schema: &'a Schema, table: &Table<T>, columns: &[usize], unknown: Unknown) -> Self {
        let mut readers: Vec<ColumnReader<'_>> = Vec::new();
        let mut width = 0;
        for (column, &index) in schema.columns.iter().zip(columns) {
            let reader = ColumnReader::new(column, index, width, table);
            width += reader.width;
            readers.push(reader);
        }
        FeatureEncoder { readers, width, unknown }
    }

    /// Writes the features of these rows, in ascending order, until `out` is full, which is 0 before.
    pub(crate) fn fill<T: Scalar>(
        &self,
        table: &Table<T>,
        rows: impl Iterator<Item = usize>,
        out: &mut [T],
    ) -> Result<()> {
        if self.width == 0 {
            return Ok(());
        }
        let mut readers = self.readers.clone();
        for (row, out) in rows.zip(out.chunks_exact_mut(self.width)) {
            readers.iter_mut().try_for_each(|reader| reader.read(table, row, out, self.unknown))?;
        }
        Ok(())
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
                return Err(not_a_number(table.place(row, self.index), text));
            }
            (Encoding::OneHot { fill: Some(fill), .. }, CellContent::Missing) => self.categories.find(fill),
            (_, CellContent::Missing) => return Err(missing_value(table.place(row, self.index), NOT_FILLED)),
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

/// Refuses the first cell, row by row, of these columns of numbers that is none and cannot be filled.
pub(crate) fn check_numbers<T: Scalar>(
    table: &Table<T>,
    columns: &[usize],
    fills: &[Option<f64>],
    keep: &KeptRows,
) -> Result<()> {
    let first = |(order, (&column, fill)): (usize, (&usize, &Option<f64>))| {
        let faulty = |code| CellContent::<T>::of_code(code) != CellContent::Missing || fill.is_none();
        let others = table.column(column).others().iter();
        let found = others.copied().find(|&(row, code)| faulty(code) && keep.index(row as usize).is_some());
        found.map(|(row, code)| (row as usize, order, column, CellContent::of_code(code)))
    };
    let faults = columns.iter().zip(fills).enumerate().filter_map(first);
    match faults.min_by_key(|&(row, order, ..)| (row, order)) {
        None => Ok(()),
        Some((row, _, column, CellContent::<T>::Text(code))) => {
            Err(not_a_number(table.place(row, column), &table.column(column).texts[code as usize]))
        }
        Some((row, _, column, _)) => Err(missing_value(table.place(row, column), NOT_FILLED)),
    }
}

/// The error for a missing value.
pub(crate) fn missing_value(place: Place, help: &str) -> Error {
    Error::data(place, "the value is missing", help)
}

/// The error for a text in a column of numbers.
pub(crate) fn not_a_number(place: Place, text: &str) -> Error {
    let name = place.column.clone().unwrap_or_default();
    let what = format!("\"{text}\" is not a number{}", why_not_a_number(text));
    let help = format!(
        "the column holds numbers: mend the cell, add --na \"{text}\" if it means missing, or --categorical {name}"
    );
    Error::data(place, what, help)
}
