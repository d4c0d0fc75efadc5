//! What a column of a table holds besides numbers.

use std::collections::HashMap;
use std::sync::Arc;

/// The code of a missing cell.
pub(crate) const MISSING: u32 = u32::MAX;

/// What a cell of a table holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellContent<T> {
    Number(T),
    Missing,
    /// An index into the column's texts.
    Text(u32),
}

impl<T> CellContent<T> {
    /// A cell that is not a number.
    pub(crate) fn of_code(code: u32) -> Self {
        if code == MISSING { CellContent::Missing } else { CellContent::Text(code) }
    }
}

/// Different texts, numbered in the order they were met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    list: Vec<String>,
    codes: HashMap<String, u32>,
}

impl Texts {
    /// The number of a text, a new one for a new text.
    pub(crate) fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.codes.get(text) {
            return code;
        }
        let code = self.list.len() as u32;
        self.codes.insert(text.to_owned(), code);
        self.list.push(text.to_owned());
        code
    }

    /// The texts, by their numbers.
    pub(crate) fn list(&self) -> &[String] {
        &self.list
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.codes.clear();
    }
}

/// What one column holds besides numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    /// How many cells are numbers.
    pub numbers: usize,
    /// How many cells are missing.
    pub missing: usize,
    /// The different texts, in the order they were met.
    pub texts: Arc<Vec<String>>,
    /// Row and code of each cell that is not a number, in row order.
    others: Vec<(u32, u32)>,
}

impl Column {
    /// Of a part of a table; how many numbers it has is not counted.
    pub(crate) fn of_texts(texts: Arc<Vec<String>>) -> Self {
        Column { texts, ..Column::default() }
    }

    /// Notes a cell that is not a number, [`MISSING`] or the code of a text, in a row after all noted before.
    pub(crate) fn note(&mut self, row: u32, code: u32) {
        self.missing += usize::from(code == MISSING);
        self.others.push((row, code));
    }

    /// Counts the numbers in all rows, and takes the texts.
    pub(crate) fn finish(&mut self, rows: usize, texts: Texts) {
        self.numbers = rows - self.others.len();
        self.texts = Arc::new(texts.list);
    }

    /// Row and code of each cell that is not a number, in row order.
    pub(crate) fn others(&self) -> &[(u32, u32)] {
        &self.others
    }

    /// How many cells are text.
    pub(crate) fn text_count(&self) -> usize {
        self.others.len() - self.missing
    }

    /// The rows whose cells are missing.
    pub(crate) fn missing_rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.others.iter().filter(|(_, code)| *code == MISSING).map(|(row, _)| *row as usize)
    }

    /// The rows whose cells are text, with the text.
    pub(crate) fn text_rows(&self) -> impl Iterator<Item = (usize, &str)> + '_ {
        let texts = self.others.iter().filter(|(_, code)| *code != MISSING);
        texts.map(|(row, code)| (*row as usize, self.texts[*code as usize].as_str()))
    }
}

/// How far a walk down a column has come among the cells that are not numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor(Option<usize>);

impl Cursor {
    /// The code of the cell in this row, if it is not a number. Rows are asked for in ascending order.
    pub(crate) fn seek(&mut self, column: &Column, row: usize) -> Option<u32> {
        let others = column.others();
        // A walk may begin anywhere.
        let at = self.0.get_or_insert_with(|| others.partition_point(|(other, _)| (*other as usize) < row));
        while others.get(*at).is_some_and(|(other, _)| (*other as usize) < row) {
            *at += 1;
        }
        others.get(*at).filter(|(other, _)| *other as usize == row).map(|(_, code)| *code)
    }
}
