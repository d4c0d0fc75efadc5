//! Rows as bytes: the numbers row by row, then the cells that are none, then the lines.

use std::sync::Arc;

use crate::data::csv::{Column, Heading, MISSING, RowLines, Table};
use crate::scalar::Scalar;

/// Some columns of some rows on their way to a file.
#[derive(Debug, Clone)]
pub(super) struct Part<T> {
    /// `[rows, columns]`, row by row; NaN where the cell is not a number.
    pub numbers: Vec<T>,
    /// Row, column and code of the cells that are not numbers, in row order.
    pub others: Vec<[u32; 3]>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Part { numbers: Vec::new(), others: Vec::new() }
    }
}

impl<T: Scalar> Part<T> {
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.others.clear();
    }

    /// Appends the part as bytes, with the lines of its rows, if they are to be kept with it.
    pub(super) fn write(&self, lines: &RowLines, bytes: &mut Vec<u8>) {
        let runs = lines.runs();
        bytes.extend((self.others.len() as u32).to_le_bytes());
        bytes.extend((runs.len() as u32).to_le_bytes());
        T::write_bytes(&self.numbers, bytes);
        bytes.extend(self.others.iter().flatten().flat_map(|number| number.to_le_bytes()));
        for (row, line) in runs {
            bytes.extend(row.to_le_bytes());
            bytes.extend(line.to_le_bytes());
        }
    }
}

/// The rows that a part was written from, as a table. `texts` are those of each column, `lines` those of the rows, if they
/// are not in the part. `None` if the bytes are no part of so many rows.
pub(super) fn read<T: Scalar>(
    mut bytes: &[u8],
    rows: usize,
    heading: &Arc<Heading>,
    texts: &[Arc<Vec<String>>],
    lines: Option<&RowLines>,
) -> Option<Table<T>> {
    let columns = heading.names.len();
    let others = number(&mut bytes)? as usize;
    let runs = number(&mut bytes)? as usize;
    let mut numbers = Vec::with_capacity(rows * columns);
    T::read_bytes(take(&mut bytes, rows * columns * size_of::<T>())?, &mut numbers);
    let mut table_columns: Vec<Column> = texts.iter().map(|texts| Column::of_texts(Arc::clone(texts))).collect();
    for _ in 0..others {
        let (row, column, code) = (number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?);
        let texts = texts.get(column as usize)?.len();
        if row as usize >= rows || (code != MISSING && code as usize >= texts) {
            return None;
        }
        table_columns[column as usize].note(row, code);
    }
    let mut pairs = Vec::with_capacity(runs);
    for _ in 0..runs {
        let row = number(&mut bytes)?;
        pairs.push((row, u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)));
    }
    let lines = match lines {
        Some(lines) => lines.clone(),
        None if pairs.first().is_some_and(|&(row, _)| row == 0) => RowLines::from_runs(pairs, rows),
        None => return None,
    };
    bytes.is_empty().then(|| Table::from_parts(Arc::clone(heading), table_columns, numbers, lines))
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}
