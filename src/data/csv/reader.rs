//! A CSV file opened: its dialect and columns are known, its rows still to come.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use super::block::{Block, BlockReader};
use super::cell::{DEFAULT_MISSING, MissingMarkers};
use super::dialect::{Beginning, Dialect, detect_delimiter, detect_header, has_cell_of};
use super::heading::Heading;
use super::lexer::{Fault, Lexer};
use super::source::{Buffer, Input, Source, open};
use super::turns::in_turn;
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

/// The bytes by which the dialect is told, unless the first record is longer.
const BEGINNING: usize = 1 << 20;

/// The bytes read at a time: enough to make the turns rare, little enough to stay in a core's cache.
const BLOCK: usize = 1 << 20;

/// A CSV file whose rows are still to be read.
pub(crate) struct Reader<'a> {
    pub heading: Arc<Heading>,
    /// The length of the file in bytes, where it is known.
    pub length: Option<u64>,
    /// The line of the first record, whose cells all others must match in number.
    first_line: u64,
    /// The lines that were read.
    lines: u64,
    blocks: BlockReader,
    source: Source<'a>,
    threads: usize,
}

/// Where a block stands in its file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    pub rows: usize,
    pub lines: u64,
}

impl Reader<'static> {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path, options: &CsvOptions) -> Result<Self> {
        let (input, length) = open(path)?;
        Reader::new(&path.to_string_lossy(), input, length, options)
    }
}

impl<'a> Reader<'a> {
    /// Reads the beginning of an input, whose length may be known; messages call it `file`.
    pub(crate) fn new(file: &str, input: Input<'a>, length: Option<u64>, options: &CsvOptions) -> Result<Self> {
        Reader::begin(file, input, length, options, BEGINNING)
    }

    /// The same with a beginning of `size` bytes.
    fn begin(
        file: &str,
        mut input: Input<'a>,
        length: Option<u64>,
        options: &CsvOptions,
        mut size: usize,
    ) -> Result<Self> {
        for (setting, byte) in [("delimiter", options.delimiter), ("comment", options.comment)] {
            if let Some(byte @ (b'"' | b'\n' | b'\r')) = byte {
                let why = format!("{:?} has another meaning in CSV", char::from(byte));
                return Err(Error::setting(setting, why));
            }
        }
        let markers = MissingMarkers::new(&options.missing_markers);
        let mut buffer = Buffer::default();
        loop {
            let whole = buffer.fill(&mut input, size).map_err(|error| Error::io(file, "read", error))?;
            let bytes = buffer.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&buffer);
            if whole && String::from_utf8_lossy(bytes).trim().is_empty() {
                return Err(Error::data(Place::file(file), "the file is empty", "a CSV file has a row on each line"));
            }
            let beginning = Beginning { bytes, whole };
            let dialect = detect(beginning, options, &markers);
            let first = First::read(beginning, dialect).map_err(|fault| fault_error(file, dialect, fault, 0, None))?;
            let Some(first) = first else {
                // Longer than what was read.
                size *= 2;
                continue;
            };
            if first.names.is_empty() {
                return Err(no_rows(file, dialect));
            }
            let rest = Cursor::new(bytes[first.length..].to_vec());
            let input: Input<'a> = if whole { Box::new(rest) } else { Box::new(rest.chain(input)) };
            return Ok(Reader {
                blocks: BlockReader::new(dialect.syntax(), markers, first.names.len()),
                first_line: first.line,
                heading: Arc::new(Heading { file: file.to_owned(), dialect, names: first.names }),
                length,
                lines: first.lines,
                source: Source::new(input, dialect.syntax(), BLOCK),
                // What fits in one block needs no other thread.
                threads: if whole { 1 } else { rayon::current_num_threads() },
            });
        }
    }

    /// Uses this many threads at most.
    pub(crate) fn limit_threads(&mut self, threads: usize) {
        self.threads = self.threads.min(threads);
    }

    /// Reads blocks of this many bytes on as many threads, which changes nothing that is read.
    #[cfg(test)]
    fn in_blocks(mut self, bytes: usize, threads: usize) -> Self {
        self.source.set_size(bytes);
        self.threads = threads;
        self
    }

    /// Reads all rows and gives them to `take`, a block at a time, in the file's order. Each thread that
    /// reads blocks calls `between` after each.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) or [`Data`](crate::ErrorKind::Data), whichever comes first in the file, or that of
    /// `take`.
    pub(crate) fn read<T: Scalar>(
        self,
        mut take: impl FnMut(&Block<T>, Before) -> Result<()> + Send,
        between: impl Fn() + Sync,
    ) -> Result<()> {
        let Reader { heading, first_line, lines, blocks, mut source, threads, .. } = self;
        let Heading { file, dialect, names } = &*heading;
        let mut before = Before { rows: 0, lines };
        let next = |bytes: &mut Buffer| source.next_block(bytes).map_err(|error| Error::io(file, "read", error));
        let take = |block: &Block<T>| {
            if before.rows + block.rows() > u32::MAX as usize {
                let line = before.lines + block.lines.line(u32::MAX as usize - before.rows);
                let help = "train on a part of the file";
                return Err(Error::data(Place::file(file).at_line(line), "more than 4294967295 rows", help));
            }
            if let Some(fault) = block.fault {
                return Err(fault_error(file, *dialect, fault, before.lines, Some((first_line, names.len()))));
            }
            take(block, before)?;
            before.rows += block.rows();
            before.lines += block.line_count;
            Ok(())
        };
        in_turn(threads, next, |bytes: &Buffer, block| blocks.read(bytes, block), take, between)?;
        if before.rows == 0 { Err(no_rows(file, *dialect)) } else { Ok(()) }
    }
}

/// What was not given is found out.
fn detect(beginning: Beginning<'_>, options: &CsvOptions, markers: &MissingMarkers) -> Dialect {
    let comment = options.comment;
    let delimiter = options.delimiter.unwrap_or_else(|| detect_delimiter(beginning, comment));
    let dialect = Dialect { delimiter, header: false, comment };
    let header = options.header.unwrap_or_else(|| {
        has_cell_of(beginning, dialect.syntax(), &options.expected_names)
            || detect_header(beginning, dialect.syntax(), |cell| markers.is_missing_word(cell))
    });
    Dialect { header, ..dialect }
}

/// The first record, by which the columns are named and counted.
struct First {
    /// One for each column; none if there is no record.
    names: Vec<String>,
    line: u64,
    /// The bytes and lines that are no rows.
    length: usize,
    lines: u64,
}

impl First {
    /// `None` if the beginning is too short to tell.
    fn read(beginning: Beginning<'_>, dialect: Dialect) -> std::result::Result<Option<Self>, Fault> {
        let Beginning { bytes, whole } = beginning;
        let mut scout = Lexer::of_part(bytes, dialect.syntax());
        let settled = match scout.next_record(&mut Vec::new()) {
            Ok(true) => scout.position() < bytes.len(),
            Ok(false) | Err(Fault::UnterminatedQuote { .. }) => false,
            Err(_) => true,
        };
        if !settled && !whole {
            return Ok(None);
        }
        let mut lexer = Lexer::new(bytes, dialect.syntax());
        let mut names = Vec::new();
        let mut more = lexer.begin_record()?;
        let line = lexer.line();
        while more {
            let cell = lexer.read_cell()?;
            let text = lexer.text(cell)?;
            let name = Some(text.trim()).filter(|name| dialect.header && !name.is_empty());
            names.push(name.map_or_else(|| format!("c{}", names.len() + 1), str::to_owned));
            more = lexer.another_cell();
        }
        let (length, lines) = if dialect.header { (lexer.position(), lexer.line() - 1) } else { (0, 0) };
        Ok(Some(First { names, line, length, lines }))
    }
}

fn no_rows(file: &str, dialect: Dialect) -> Error {
    let help = if dialect.header { "if the first line is data, add --no-header" } else { "" };
    let what = if dialect.header { "a header, but no rows below it" } else { "no rows" };
    Error::data(Place::file(file), what, help)
}

/// The error for a fault below `lines` lines, in a file whose first record is on a line and has as many cells.
fn fault_error(file: &str, dialect: Dialect, fault: Fault, lines: u64, first: Option<(u64, usize)>) -> Error {
    let (line, what, help) = match fault {
        Fault::UnterminatedQuote { line } => (
            line,
            "a quote opens here and never closes".into(),
            "close it, or write a quote inside a cell as \"\"".into(),
        ),
        Fault::TextAfterQuote { line } => {
            (line, "text after a closing quote".into(), "write a quote inside a quoted cell as \"\"".into())
        }
        Fault::NotText { line, byte: 0 } => {
            (line, "a NUL byte: this is not CSV text".into(), "save it as CSV in UTF-8".into())
        }
        Fault::NotText { line, byte } => (
            line,
            format!("byte 0x{byte:02X} is not UTF-8"),
            "save the file as UTF-8, or convert it: iconv -f LATIN1 -t UTF-8".into(),
        ),
        Fault::Ragged { line, cells } => {
            let plural = if cells == 1 { "" } else { "s" };
            let place = first.map(|(line, cells)| format!(" where line {line} has {cells}")).unwrap_or_default();
            let help = format!(
                "the delimiter is taken to be {}; if that is wrong give --delimiter, and quote cells that contain it",
                dialect.delimiter_name()
            );
            (line, format!("{cells} cell{plural}{place}"), help)
        }
    };
    Error::data(Place::file(file).at_line(lines + line), what, help)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
