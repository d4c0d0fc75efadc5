//! What a column of a table holds besides numbers.

use std::collections::HashMap;

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
    pub name: String,
    /// How many cells are numbers.
    pub numbers: usize,
    /// How many cells are missing.
    pub missing: usize,
    /// The different texts, in the order they were met.
    pub texts: Vec<String>,
    /// Row and code of each cell that is not a number, in row order.
    others: Vec<(u32, u32)>,
}

impl Column {
    pub(crate) fn named(name: String) -> Self {
        Column { name, ..Column::default() }
    }

    /// Notes a cell that is not a number, [`MISSING`] or the code of a text, in a row after all noted before.
    pub(crate) fn note(&mut self, row: u32, code: u32) {
        self.missing += usize::from(code == MISSING);
        self.others.push((row, code));
    }

    /// Counts the numbers in all rows, and takes the texts.
    pub(crate) fn finish(&mut self, rows: usize, texts: Texts) {
        self.numbers = rows - self.others.len();
        self.texts = texts.list;
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
