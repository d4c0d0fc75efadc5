//! A CSV file in memory: numbers as one matrix, everything else beside it.

use std::collections::HashMap;
use std::path::Path;

use super::cell::{Content, DEFAULT_MISSING, MissingMarkers};
use super::dialect::{Dialect, detect_delimiter, detect_header};
use super::lexer::{Fault, Lexer};
use super::source;
use crate::error::{Error, Place, Result};
use crate::scalar::Scalar;

/// How to read a CSV file. What is not given is detected.
#[derive(Debug, Clone)]
pub struct CsvOptions {
    /// The byte between cells. Default: detected among `,`, `;`, tab and `|`.
    pub delimiter: Option<u8>,
    /// Whether the first record names the columns. Default: detected.
    pub header: Option<bool>,
    /// Names that make a first record which has one of them a header, when `header` is not given. Default: none.
    pub expected_names: Vec<String>,
    /// The byte that starts a comment line. Default: none.
    pub comment: Option<u8>,
    /// The cells that are missing values, besides the empty cell. Default: [`DEFAULT_MISSING`].
    pub missing_markers: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            delimiter: None,
            header: None,
            expected_names: Vec::new(),
            comment: None,
            missing_markers: DEFAULT_MISSING.map(str::to_owned).to_vec(),
        }
    }
}

/// A CSV file in memory.
#[derive(Debug, Clone)]
pub struct Table<T> {
    file: String,
    dialect: Dialect,
    columns: Vec<Column>,
    /// `[rows, columns]`, row by row; NaN where the cell is not a number.
    numbers: Vec<T>,
    /// The line of each row, from 1.
    lines: Vec<u64>,
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
    codes: HashMap<String, u32>,
    /// Row and code of each cell that is not a number, in row order.
    others: Vec<(u32, u32)>,
}

/// The code of a missing cell.
const MISSING: u32 = u32::MAX;

/// What a cell of a table holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellContent<T> {
    Number(T),
    Missing,
    /// An index into the column's texts.
    Text(u32),
}

/// How far a walk down a column has come among the cells that are not numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor(usize);

impl Column {
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

    fn note<T: Scalar>(&mut self, row: u32, content: Content<'_, T>) -> T {
        match content {
            Content::Number(value) => {
                self.numbers += 1;
                return value;
            }
            Content::Missing => {
                self.missing += 1;
                self.others.push((row, MISSING));
            }
            Content::Text(text) => {
                let code = match self.codes.get(text) {
                    Some(&code) => code,
                    None => {
                        let code = self.texts.len() as u32;
                        self.codes.insert(text.to_owned(), code);
                        self.texts.push(text.to_owned());
                        code
                    }
                };
                self.others.push((row, code));
            }
        }
        T::nan()
    }
}

impl<T: Scalar> Table<T> {
    /// Reads a CSV file, or standard input for `-`.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io), or [`Data`](crate::ErrorKind::Data) with the line: bytes that are not UTF-8, a
    /// row of another length, a quote that never closes, no rows.
    pub fn read(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Self> {
        let path = path.as_ref();
        Table::parse(&path.to_string_lossy(), &source::read(path)?, options)
    }

    /// Reads CSV text; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`read`](Table::read).
    pub fn parse(file: &str, text: &str, options: &CsvOptions) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::data(Place::file(file), "the file is empty", "a CSV file has a row on each line"));
        }
        let markers = MissingMarkers::new(&options.missing_markers);
        let comment = options.comment;
        let delimiter = options.delimiter.unwrap_or_else(|| detect_delimiter(text, comment));
        let mut dialect = Dialect { delimiter, header: false, comment };
        dialect.header = options.header.unwrap_or_else(|| {
            has_cell_of(text, &dialect, &options.expected_names)
                || detect_header(text, dialect.syntax(), |cell| markers.is_missing_word(cell))
        });

        let mut lexer = Lexer::new(text, dialect.syntax());
        let fault = |fault| fault_error(file, fault);
        let mut columns: Vec<Column> = Vec::new();
        let mut numbers = Vec::new();
        let mut lines = Vec::new();
        let mut first_line = 0;
        while lexer.next_record().map_err(fault)? {
            let record = lexer.cells();
            if columns.is_empty() {
                first_line = lexer.record_line;
                let name = |(c, &cell)| match lexer.text(cell).trim() {
                    name if dialect.header && !name.is_empty() => name.to_owned(),
                    _ => format!("c{}", c + 1),
                };
                let named = record.iter().enumerate().map(name);
                columns = named.map(|name| Column { name, ..Column::default() }).collect();
                if dialect.header {
                    continue;
                }
            }
            if record.len() != columns.len() {
                return Err(ragged(file, &dialect, lexer.record_line, record.len(), (first_line, columns.len())));
            }
            let row = u32::try_from(lines.len()).map_err(|_| {
                let place = Place::file(file).at_line(lexer.record_line);
                Error::data(place, "more than 4294967295 rows", "train on a part of the file")
            })?;
            for (&cell, column) in record.iter().zip(&mut columns) {
                numbers.push(column.note(row, markers.content(&lexer.text(cell))));
            }
            lines.push(lexer.record_line);
            if lines.len() == RESERVE_AFTER {
                // By now the length of a row is known well enough to guess the rest of the file.
                let rows = text.len() / (lexer.position() / RESERVE_AFTER).max(1);
                numbers.reserve(rows.saturating_sub(RESERVE_AFTER) * columns.len());
            }
        }
        if lines.is_empty() {
            let help = if dialect.header { "if the first line is data, add --no-header" } else { "" };
            let what = if dialect.header { "a header, but no rows below it" } else { "no rows" };
            return Err(Error::data(Place::file(file), what, help));
        }
        Ok(Table { file: file.to_owned(), dialect, columns, numbers, lines })
    }

    /// What messages call the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How the file is written.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The columns' names, in the file's order: those of the header, or `c1`, `c2`, ...
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// How many cells of each column are missing, in the file's order.
    pub fn missing_cells(&self) -> impl ExactSizeIterator<Item = usize> {
        self.columns.iter().map(|column| column.missing)
    }

    /// The line of each row, from 1.
    pub fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// The index of the only column of this name.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) if there is none, or more than one.
    pub fn column_named(&self, name: &str) -> Result<usize> {
        let mut found = self.names().enumerate().filter(|(_, n)| *n == name).map(|(c, _)| c);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (Some(_), Some(_)) => Err(self.duplicate(name)),
            (None, _) => {
                let place = Place::file(&self.file);
                let unnamed =
                    if self.dialect.header { "" } else { " (taken without a header: if there is one, add --header)" };
                let help = format!("the columns are {}{unnamed}", list(self.names()));
                Err(Error::data(place, format!("there is no column \"{name}\""), help))
            }
        }
    }

    /// The error for a name that more than one column has.
    pub(crate) fn duplicate(&self, name: &str) -> Error {
        let place = Place::file(&self.file).in_column(name);
        Error::data(place, "two columns have this name", "rename one of them, or leave both out with --drop")
    }

    pub(crate) fn column(&self, column: usize) -> &Column {
        &self.columns[column]
    }

    /// A whole row's numbers, NaN where a cell is not a number.
    fn row_numbers(&self, row: usize) -> &[T] {
        let width = self.columns.len();
        &self.numbers[row * width..(row + 1) * width]
    }

    /// What each cell of a column holds, in row order.
    #[cfg(test)]
    pub(crate) fn cells(&self, column: usize) -> impl Iterator<Item = CellContent<T>> + '_ {
        let mut cursor = Cursor::default();
        (0..self.rows()).map(move |row| self.cell(row, column, &mut cursor))
    }

    /// What a cell holds. For each column there is a cursor, and rows are asked for in ascending order.
    pub(crate) fn cell(&self, row: usize, column: usize, cursor: &mut Cursor) -> CellContent<T> {
        let others = &self.columns[column].others;
        while others.get(cursor.0).is_some_and(|(other, _)| (*other as usize) < row) {
            cursor.0 += 1;
        }
        match others.get(cursor.0) {
            Some(&(other, MISSING)) if other as usize == row => CellContent::Missing,
            Some(&(other, code)) if other as usize == row => CellContent::Text(code),
            _ => CellContent::Number(self.row_numbers(row)[column]),
        }
    }

    /// The place of a cell.
    pub(crate) fn place(&self, row: usize, column: usize) -> Place {
        Place::file(&self.file).at_line(self.lines[row]).in_column(&self.columns[column].name)
    }
}

/// Rows after which the length of the whole is estimated.
const RESERVE_AFTER: usize = 1000;

/// Names in a row, the first twenty of them.
pub(crate) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let count = names.len();
    let mut list = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        list.push_str(&format!(" and {} more", count - SHOWN));
    }
    list
}

/// Whether the first record has a cell that is one of these names.
fn has_cell_of(text: &str, dialect: &Dialect, names: &[String]) -> bool {
    let mut lexer = Lexer::new(text, dialect.syntax());
    let read = lexer.next_record().unwrap_or(false);
    read && lexer.cells().iter().any(|&cell| names.iter().any(|name| lexer.text(cell).trim() == name))
}

fn ragged(file: &str, dialect: &Dialect, line: u64, cells: usize, first: (u64, usize)) -> Error {
    let plural = if cells == 1 { "" } else { "s" };
    let what = format!("{cells} cell{plural} where line {} has {}", first.0, first.1);
    let help = format!(
        "the delimiter is taken to be {}; if that is wrong give --delimiter, and quote cells that contain it",
        dialect.delimiter_name()
    );
    Error::data(Place::file(file).at_line(line), what, help)
}

fn fault_error(file: &str, fault: Fault) -> Error {
    let (line, what, help) = match fault {
        Fault::UnterminatedQuote { line } => {
            (line, "a quote opens here and never closes", "close it, or write a quote inside a cell as \"\"")
        }
        Fault::TextAfterQuote { line } => {
            (line, "text after a closing quote", "write a quote inside a quoted cell as \"\"")
        }
    };
    Error::data(Place::file(file).at_line(line), what, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table<f64>> {
        Table::parse("a.csv", text, &CsvOptions::default())
    }

    #[test]
    fn numbers_texts_and_missing_cells_are_told_apart() {
        let table = parse("x,kind\n1,a\nNA,b\n3,\n4,a\n").unwrap();
        assert_eq!(table.names().collect::<Vec<_>>(), ["x", "kind"]);
        assert_eq!(
            table.cells(0).collect::<Vec<_>>(),
            [CellContent::Number(1.0), CellContent::Missing, CellContent::Number(3.0), CellContent::Number(4.0)]
        );
        assert_eq!(
            table.cells(1).collect::<Vec<_>>(),
            [CellContent::Text(0), CellContent::Text(1), CellContent::Missing, CellContent::Text(0)]
        );
        assert_eq!((table.column(0).numbers, table.column(0).missing, table.column(1).text_count()), (3, 1, 3));
        assert_eq!(table.lines(), [2, 3, 4, 5]);
    }

    #[test]
    fn columns_without_a_name_are_named_by_their_place() {
        assert_eq!(parse("1,2\n3,4\n").unwrap().names().collect::<Vec<_>>(), ["c1", "c2"]);
        assert_eq!(parse(",x\n0,4\n").unwrap().names().collect::<Vec<_>>(), ["c1", "x"]);
    }

    #[test]
    fn malformed_files_are_refused_with_their_line() {
        let cases = [
            ("a,b\n1,2\n3\n", "a.csv:3: 1 cell where line 1 has 2"),
            ("a,b\n1,2\n\n3,4,5\n", "a.csv:4: 3 cells where line 1 has 2"),
            ("a,b\n1,\"2\n3,4\n", "a.csv:2: a quote opens here"),
            ("", "a.csv: the file is empty"),
            ("\n \n", "a.csv: the file is empty"),
            ("a,b\n", "a.csv: a header, but no rows"),
        ];
        for (text, expected) in cases {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text:?} gives {message:?}");
        }
    }

    #[test]
    fn a_name_that_is_missing_or_there_twice_is_refused() {
        let table = parse("x,y,x\n1,2,3\n").unwrap();
        assert_eq!(table.column_named("y").unwrap(), 1);
        assert!(table.column_named("x").unwrap_err().to_string().contains("two columns"));
        assert!(table.column_named("z").unwrap_err().to_string().contains("the columns are x, y, x"));
    }
}
