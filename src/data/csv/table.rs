//! A CSV file in memory: numbers as one matrix, everything else beside it.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::block::Block;
use super::column::{CellContent, Column, Cursor, MISSING, Texts};
use super::dialect::Dialect;
use super::heading::Heading;
use super::lines::RowLines;
use super::reader::{Before, CsvOptions, Reader};
use crate::data::kept::KeptRows;
use crate::error::{Error, Place, Result};
use crate::kernels::Reserve;
use crate::scalar::Scalar;

/// A CSV file in memory.
#[derive(Debug, Clone)]
pub struct Table<T> {
    heading: Arc<Heading>,
    columns: Vec<Column>,
    /// `[rows, columns]`, row by row; NaN where the cell is not a number.
    numbers: Vec<T>,
    lines: RowLines,
}

impl<T: Scalar> Table<T> {
    /// Reads a CSV file, or standard input for `-`.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io), or [`Data`](crate::ErrorKind::Data) with the line: bytes that are not UTF-8, a
    /// row of another length, a quote that never closes, no rows.
    pub fn read(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Self> {
        Table::from_reader(Reader::open(path.as_ref(), options)?)
    }

    /// Reads CSV text; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`read`](Table::read).
    pub fn parse(file: &str, text: &str, options: &CsvOptions) -> Result<Self> {
        Table::from_reader(Reader::new(file, Box::new(text.as_bytes()), Some(text.len() as u64), options)?)
    }

    /// Reads what was opened.
    pub(crate) fn from_reader(reader: Reader<'_>) -> Result<Self> {
        Table::grow(reader, &OnceLock::new())
    }

    /// The same with a place for the memory that is reserved.
    fn grow(reader: Reader<'_>, reserve: &OnceLock<Reserve>) -> Result<Self> {
        let mut growing = Growing {
            numbers: Vec::new(),
            lines: RowLines::default(),
            columns: vec![Column::default(); reader.heading.names.len()],
            texts: vec![Texts::default(); reader.heading.names.len()],
            length: reader.length,
            reserve,
        };
        let heading = Arc::clone(&reader.heading);
        let take = |block: &Block<T>, before| growing.append(block, before).map_err(|bytes| too_large(&heading, bytes));
        let clear_ahead = || reserve.get().map_or((), Reserve::clear_ahead);
        reader.read(take, clear_ahead)?;
        let Growing { numbers, lines, mut columns, texts, .. } = growing;
        for (column, texts) in columns.iter_mut().zip(texts) {
            column.finish(lines.len(), texts);
        }
        Ok(Table { heading, columns, numbers, lines })
    }

    /// Some rows of a file: `columns` and `numbers` are those of the heading's names.
    pub(crate) fn from_parts(heading: Arc<Heading>, columns: Vec<Column>, numbers: Vec<T>, lines: RowLines) -> Self {
        debug_assert_eq!((columns.len(), numbers.len()), (heading.names.len(), lines.len() * columns.len()));
        Table { heading, columns, numbers, lines }
    }

    /// What messages call the file.
    pub fn file(&self) -> &str {
        &self.heading.file
    }

    /// How the file is written.
    pub fn dialect(&self) -> Dialect {
        self.heading.dialect
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The columns' names, in the file's order: those of the header, or `c1`, `c2`, ...
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.heading.names.iter().map(String::as_str)
    }

    /// How many cells of each column are missing, in the file's order.
    pub fn missing_cells(&self) -> impl ExactSizeIterator<Item = usize> {
        self.columns.iter().map(|column| column.missing)
    }

    /// The line of each row, from 1.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = u64> {
        self.lines.iter()
    }

    /// The index of the only column of this name.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) if there is none, or more than one.
    pub fn column_named(&self, name: &str) -> Result<usize> {
        self.heading.column_named(name)
    }

    pub(crate) fn heading(&self) -> &Arc<Heading> {
        &self.heading
    }

    pub(crate) fn column(&self, column: usize) -> &Column {
        &self.columns[column]
    }

    /// The numbers of whole rows, NaN where a cell is not a number.
    pub(crate) fn numbers_of(&self, rows: Range<usize>) -> &[T] {
        let width = self.columns.len();
        &self.numbers[rows.start * width..rows.end * width]
    }

    /// The number in a cell, NaN where it is not a number.
    #[inline]
    pub(crate) fn number(&self, row: usize, column: usize) -> T {
        self.numbers[row * self.columns.len() + column]
    }

    /// What each cell of a column holds, in row order.
    #[cfg(test)]
    pub(crate) fn cells(&self, column: usize) -> impl Iterator<Item = CellContent<T>> + '_ {
        let mut cursor = Cursor::default();
        (0..self.rows()).map(move |row| self.cell(row, column, &mut cursor))
    }

    /// What a cell holds. For each column there is a cursor, and rows are asked for in ascending order.
    pub(crate) fn cell(&self, row: usize, column: usize, cursor: &mut Cursor) -> CellContent<T> {
        match cursor.seek(&self.columns[column], row) {
            Some(code) => CellContent::of_code(code),
            None => CellContent::Number(self.number(row, column)),
        }
    }

    /// The lines of the rows kept.
    pub(crate) fn row_lines(&self, keep: &KeptRows) -> RowLines {
        if keep.len() == self.rows() {
            self.lines.clone()
        } else {
            keep.iter().map(|row| self.lines.line(row)).collect()
        }
    }

    /// The mean of each column's numbers, kept from overflowing by dividing first.
    pub(crate) fn means(&self) -> Vec<f64> {
        let mut means = vec![0.0; self.columns.len()];
        for row in self.numbers.chunks_exact(self.columns.len()) {
            for ((mean, value), column) in means.iter_mut().zip(row).zip(&self.columns) {
                if !value.is_nan() {
                    *mean += value.as_f64() / column.numbers as f64;
                }
            }
        }
        means
    }

    /// The numbers of some columns, `[rows, columns]`, in the rows kept, with what missing cells become in each. The
    /// columns are no more than the table's; rows are moved within the table's memory.
    pub(crate) fn into_numbers(mut self, columns: &[usize], fills: &[Option<T>], keep: &KeptRows) -> Vec<T> {
        let (from_width, width) = (self.columns.len(), columns.len());
        assert!(width <= from_width, "rows would be written over before they are read");
        for (&column, fill) in columns.iter().zip(fills) {
            let Some(fill) = *fill else { continue };
            for row in self.columns[column].missing_rows() {
                self.numbers[row * from_width + column] = fill;
            }
        }
        let neighbours = columns.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let mut row_copy = Vec::with_capacity(from_width);
        for index in 0..keep.len() {
            let (from, to) = (keep.row(index) * from_width, index * width);
            if neighbours {
                let from = from + columns.first().map_or(0, |&first| first);
                self.numbers.copy_within(from..from + width, to);
                continue;
            }
            row_copy.clear();
            row_copy.extend_from_slice(&self.numbers[from..from + from_width]);
            for (number, &column) in self.numbers[to..to + width].iter_mut().zip(columns) {
                *number = row_copy[column];
            }
        }
        self.numbers.truncate(keep.len() * width);
        self.numbers
    }

    /// The place of a cell.
    pub(crate) fn place(&self, row: usize, column: usize) -> Place {
        self.heading.column(column).at_line(self.lines.line(row))
    }
}

/// A table that blocks are added to.
struct Growing<'a, T> {
    numbers: Vec<T>,
    lines: RowLines,
    columns: Vec<Column>,
    /// The texts of each column.
    texts: Vec<Texts>,
    /// The length of the file in bytes, where it is known.
    length: Option<u64>,
    /// The memory of the numbers, once it is reserved.
    reserve: &'a OnceLock<Reserve>,
}

impl<T: Scalar> Growing<'_, T> {
    /// Adds a block; the bytes that are lacking if there is too little memory.
    fn append(&mut self, block: &Block<T>, before: Before) -> std::result::Result<(), usize> {
        if let (0, 1.., Some(length)) = (before.rows, block.rows(), self.length) {
            // Of room that is not used only a few pages are ever touched.
            let blocks = length as f64 / block.bytes.max(1) as f64;
            let numbers = (block.numbers.len() as f64 * blocks * 1.02) as usize;
            self.numbers.try_reserve_exact(numbers).map_err(|_| numbers * size_of::<T>())?;
            self.reserve.get_or_init(|| Reserve::of(&mut self.numbers));
        }
        if let Some(reserve) = self.reserve.get() {
            if self.numbers.len() + block.numbers.len() <= self.numbers.capacity() {
                reserve.fill(size_of_val(&block.numbers[..]));
            } else {
                reserve.end();
            }
        }
        self.numbers.extend_from_slice(&block.numbers);
        self.lines.append(&block.lines, before.lines);
        // What each column calls the texts of the block's column.
        let rename = |(texts, block): (&mut Texts, &Texts)| block.list().iter().map(|text| texts.code(text)).collect();
        let codes: Vec<Vec<u32>> = self.texts.iter_mut().zip(&block.texts).map(rename).collect();
        for other in &block.others {
            let column = other.column as usize;
            let code = if other.code == MISSING { MISSING } else { codes[column][other.code as usize] };
            self.columns[column].note(before.rows as u32 + other.row, code);
        }
        Ok(())
    }
}

fn too_large(heading: &Heading, bytes: usize) -> Error {
    let what = format!("a table of {:.1} GB does not fit in memory", bytes as f64 / 1e9);
    Error::data(heading.place(), what, "read fewer rows or columns, or train with --stream")
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
        assert_eq!(table.lines().collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn columns_without_a_name_are_named_by_their_place() {
        assert_eq!(parse("1,2\n3,4\n").unwrap().names().collect::<Vec<_>>(), ["c1", "c2"]);
        assert_eq!(parse(",x\n0,4\n").unwrap().names().collect::<Vec<_>>(), ["c1", "x"]);
    }

    #[test]
    fn the_memory_of_a_large_table_is_cleared_ahead() {
        let text = "1,2,3,4,5,6,7,8\n".repeat(600_000);
        // A first block without a row says nothing of how many there will be.
        let comments = "# nothing\n".repeat(150_000);
        for text in [text.clone(), format!("a,b,c,d,e,f,g,h\n{comments}{text}")] {
            let options = CsvOptions { comment: Some(b'#'), ..CsvOptions::default() };
            let bytes = text.as_bytes();
            let reader = Reader::new("a.csv", Box::new(bytes), Some(bytes.len() as u64), &options).unwrap();
            let reserve = OnceLock::new();
            let table = Table::<f64>::grow(reader, &reserve).unwrap();
            assert_eq!(table.rows(), 600_000);
            assert!(table.numbers_of(0..600_000).iter().copied().eq((0..4_800_000).map(|i| f64::from(i % 8 + 1))));
            let cleared = reserve.get().expect("reserved").cleared();
            assert!(cleared >= size_of_val(table.numbers_of(0..300_000)), "{cleared}");
        }
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
