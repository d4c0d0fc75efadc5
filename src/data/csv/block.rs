//! Reads one block of a CSV file: numbers as a matrix, everything else beside it.

use super::cell::{Content, MissingMarkers};
use super::column::{MISSING, Texts};
use super::ends::Ends;
use super::lexer::{Fault, Lexer, Syntax};
use super::lines::RowLines;
use super::number;
use crate::scalar::Scalar;

/// The rows of one block. Rows and lines count from the block's beginning.
#[derive(Debug)]
pub(crate) struct Block<T> {
    /// `[rows, columns]`, row by row; NaN where the cell is not a number.
    pub numbers: Vec<T>,
    /// The cells that are not numbers, row by row.
    pub others: Vec<Other>,
    /// For each column the different texts, in the order they were met.
    pub texts: Vec<Texts>,
    /// The line of each row, from 1.
    pub lines: RowLines,
    /// How many lines there are.
    pub line_count: u64,
    /// How many bytes there are.
    pub bytes: usize,
    /// What ended the reading before its time; then the rest is of no use.
    pub fault: Option<Fault>,
}

/// A cell that is not a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Other {
    pub row: u32,
    pub column: u32,
    /// [`MISSING`], or an index into the column's texts.
    pub code: u32,
}

impl<T> Default for Block<T> {
    fn default() -> Self {
        Block {
            numbers: Vec::new(),
            others: Vec::new(),
            texts: Vec::new(),
            lines: RowLines::default(),
            line_count: 0,
            bytes: 0,
            fault: None,
        }
    }
}

impl<T: Scalar> Block<T> {
    /// How many rows were read.
    pub(crate) fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Notes a cell that is not a number in the row that is being read; the number that it is not.
    fn note_other(&mut self, column: usize, code: u32) -> Option<T> {
        self.others.push(Other { row: self.rows() as u32, column: column as u32, code });
        None
    }
}

/// Reads blocks, each by itself.
#[derive(Debug, Clone)]
pub(crate) struct BlockReader {
    syntax: Syntax,
    markers: MissingMarkers,
    columns: usize,
    /// Whether the delimiter cannot be taken for a part of a number.
    plain_delimiter: bool,
}

impl BlockReader {
    /// For rows of as many `columns`.
    pub(crate) fn new(syntax: Syntax, markers: MissingMarkers, columns: usize) -> Self {
        let plain_delimiter = !number::is_part(syntax.delimiter);
        BlockReader { syntax, markers, columns, plain_delimiter }
    }

    /// Reads what is in `bytes`, which begin with a record, up to the first fault.
    pub(crate) fn read<T: Scalar>(&self, bytes: &[u8], block: &mut Block<T>) {
        block.numbers.clear();
        block.others.clear();
        block.texts.iter_mut().for_each(Texts::clear);
        block.texts.resize_with(self.columns, Texts::default);
        block.lines = RowLines::default();
        let mut lexer = Lexer::new(bytes, self.syntax);
        block.fault = self.read_rows(&mut lexer, block).err();
        block.line_count = lexer.line() - 1;
        block.bytes = bytes.len();
    }

    fn read_rows<T: Scalar>(&self, lexer: &mut Lexer<'_>, block: &mut Block<T>) -> Result<(), Fault> {
        let mut ends = Ends::new(lexer.bytes(), self.syntax);
        while lexer.begin_record()? {
            let line = lexer.line();
            let first = block.numbers.len();
            block.numbers.resize(first + self.columns, T::nan());
            let cells = self.read_row(lexer, &mut ends, block, first)?;
            if cells != self.columns {
                return Err(Fault::Ragged { line, cells });
            }
            block.lines.push(line);
        }
        Ok(())
    }

    /// Reads a record, whose numbers go to `first` in the block and after it, as far as there are columns for them; how
    /// many cells it has.
    #[inline(always)] // The state of `ends` stays in registers.
    fn read_row<T: Scalar>(
        &self,
        lexer: &mut Lexer<'_>,
        ends: &mut Ends<'_>,
        block: &mut Block<T>,
        first: usize,
    ) -> Result<usize, Fault> {
        let is_missing = |number| self.markers.is_missing_number(number);
        let mut cells = 0;
        loop {
            let mut number = None;
            if self.plain_delimiter {
                let row = block.numbers.get_mut(first + cells..).unwrap_or_default();
                let (taken, more) = lexer.take_plain_numbers(ends, row, is_missing);
                cells += taken;
                if !more {
                    lexer.another_cell();
                    return Ok(cells);
                }
                number = lexer.take_number(ends);
            }
            let number = match number {
                Some(number) if is_missing(number) => block.note_other(cells, MISSING),
                Some(number) => Some(number),
                None => self.read_cell(lexer, block, cells)?,
            };
            if let (Some(place), Some(number)) = (block.numbers.get_mut(first + cells), number) {
                *place = number;
            }
            cells += 1;
            if !lexer.another_cell() {
                return Ok(cells);
            }
        }
    }

    /// Reads a cell of any kind: its number, or notes what else it is.
    fn read_cell<T: Scalar>(
        &self,
        lexer: &mut Lexer<'_>,
        block: &mut Block<T>,
        column: usize,
    ) -> Result<Option<T>, Fault> {
        let cell = lexer.read_cell()?;
        let text = lexer.text(cell)?;
        let code = match self.markers.content(&text) {
            Content::Number(value) => return Ok(Some(value)),
            Content::Missing => MISSING,
            // A row that is too long has no column for it, and is a fault.
            Content::Text(text) => block.texts.get_mut(column).map_or(MISSING, |texts| texts.code(text)),
        };
        Ok(block.note_other(column, code))
    }
}
