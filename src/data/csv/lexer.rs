//! Cuts CSV text into records and cells by RFC 4180, and knows the line of each.
//!
//! The `csv` crate reads the same language, but does not say whether a cell was quoted, on which line a quote was
//! opened, or what line a file with CR line ends is at; all three are needed for exact messages.

use std::borrow::Cow;
use std::str;

use memchr::{memchr, memchr2, memchr2_iter, memchr3};

use super::ends::Ends;
use super::number;
use crate::scalar::Scalar;

/// The two characters that shape the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    pub delimiter: u8,
    pub comment: Option<u8>,
}

impl Syntax {
    /// A space or tab that is not the delimiter.
    fn is_space(self, byte: u8) -> bool {
        (byte == b' ' || byte == b'\t') && byte != self.delimiter
    }
}

/// One cell of a record: where its text stands, without quotes and surrounding spaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    start: usize,
    end: usize,
    /// Whether `""` inside it stands for `"`.
    escaped: bool,
    /// The line on which it begins.
    line: u64,
}

/// What stops the cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A quote that never closes, and the line it opened on.
    UnterminatedQuote { line: u64 },
    /// Text between a closing quote and the next delimiter.
    TextAfterQuote { line: u64 },
    /// A byte that no text has: 0, or one that is not UTF-8.
    NotText { line: u64, byte: u8 },
    /// A record of another length.
    Ragged { line: u64, cells: usize },
}

/// Reads records one after another.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    syntax: Syntax,
    at: usize,
    /// The line of `at`, from 1.
    line: u64,
    /// Whether bytes that no cell shows must be text too.
    strict: bool,
}

impl<'a> Lexer<'a> {
    /// For all of the records in `bytes`, or the last ones: each byte is to be text.
    pub(crate) fn new(bytes: &'a [u8], syntax: Syntax) -> Self {
        Lexer { bytes, syntax, at: 0, line: 1, strict: true }
    }

    /// For bytes that may end anywhere, inside a character too.
    pub(crate) fn of_part(bytes: &'a [u8], syntax: Syntax) -> Self {
        Lexer { strict: false, ..Lexer::new(bytes, syntax) }
    }

    /// The text.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The line reached, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Skips blank lines and comments and stops on the next record; `false` at the end.
    pub(crate) fn begin_record(&mut self) -> Result<bool, Fault> {
        while let Some(&first) = self.bytes.get(self.at) {
            if Some(first) == self.syntax.comment {
                let end = memchr2(b'\n', b'\r', &self.bytes[self.at..]).map_or(self.bytes.len(), |n| self.at + n);
                if self.strict {
                    check_text(&self.bytes[self.at..end], self.line)?;
                }
                self.at = end;
            } else {
                let start = self.skip_spaces(self.at);
                match self.bytes.get(start) {
                    None | Some(b'\n' | b'\r') => self.at = start,
                    Some(_) => return Ok(true),
                }
            }
            self.skip_line_end();
        }
        Ok(false)
    }

    /// Reads one cell and stops on the delimiter or line end after it.
    pub(crate) fn read_cell(&mut self) -> Result<Cell, Fault> {
        let start = self.skip_spaces(self.at);
        if self.bytes.get(start) == Some(&b'"') {
            return self.read_quoted_cell(start + 1);
        }
        let rest = &self.bytes[start..];
        let length = memchr3(self.syntax.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
        self.at = start + length;
        let mut end = self.at;
        while end > start && self.syntax.is_space(self.bytes[end - 1]) {
            end -= 1;
        }
        Ok(Cell { start, end, escaped: false, line: self.line })
    }

    /// Reads the next cells into `row` as long as they are [plain](number::read_plain) numbers, of which `leave` leaves
    /// some to others. Stops at the next cell, or on the line end; how many were read, and whether there is another cell.
    /// The delimiter must be [no part of a number](number::is_part), and `ends` those of this text.
    #[inline(always)] // The state of `ends` stays in registers.
    pub(crate) fn take_plain_numbers<T: Scalar>(
        &mut self,
        ends: &mut Ends<'_>,
        row: &mut [T],
        leave: impl Fn(T) -> bool,
    ) -> (usize, bool) {
        let mut taken = 0;
        for number in row {
            let start = self.at;
            let end = ends.next(start);
            let short = self.bytes.get(start..).and_then(|rest| rest.first_chunk());
            let value = short.and_then(|bytes| number::read_short(bytes, end - start));
            match value.or_else(|| number::read_plain(self.bytes, self.skip_spaces(start)..end)) {
                Some(value) if !leave(value) => *number = value,
                _ => {
                    ends.put_back(end);
                    break;
                }
            }
            taken += 1;
            if self.bytes.get(end) != Some(&self.syntax.delimiter) {
                self.at = end;
                return (taken, false);
            }
            self.at = end + 1;
        }
        (taken, true)
    }

    /// Reads the next cell, which [`take_plain_numbers`](Self::take_plain_numbers) has left, if it is a finite number all
    /// the same: in quotes or not, with no spaces after it.
    pub(crate) fn take_number<T: Scalar>(&mut self, ends: &mut Ends<'_>) -> Option<T> {
        let start = self.skip_spaces(self.at);
        // Unless it is in quotes, the cell ends there.
        let end = ends.next(start);
        let quotes = usize::from(self.bytes.get(start) == Some(&b'"'));
        let number = self.bytes.get(start + quotes..)?;
        // The parser would take "inf" and "nan" as well.
        let first = number.iter().find(|b| !matches!(b, b'+' | b'-'))?;
        if !first.is_ascii_digit() && *first != b'.' {
            return None;
        }
        // Without quotes it was tried before.
        if quotes > 0
            && end > start + 1
            && self.bytes[end - 1] == b'"'
            && let Some(value) = number::read_plain(self.bytes, start + 1..end - 1)
        {
            self.at = end;
            return Some(value);
        }
        let (value, length) = T::parse_decimal_prefix(number)?;
        let end = start + quotes + length;
        let closed = quotes == 0 || self.bytes.get(end) == Some(&b'"');
        if !value.is_finite() || !closed || !self.is_cell_end(end + quotes) {
            return None;
        }
        self.at = end + quotes;
        Some(value)
    }

    #[inline]
    fn is_cell_end(&self, at: usize) -> bool {
        match self.bytes.get(at) {
            None | Some(b'\n' | b'\r') => true,
            Some(&byte) => byte == self.syntax.delimiter,
        }
    }

    /// Steps over the delimiter after a cell, or over the line end; whether there is another cell.
    #[inline]
    pub(crate) fn another_cell(&mut self) -> bool {
        if self.bytes.get(self.at) == Some(&self.syntax.delimiter) {
            self.at += 1;
            return true;
        }
        self.skip_line_end();
        false
    }

    /// Reads the next record into `cells`; `false` at the end.
    pub(crate) fn next_record(&mut self, cells: &mut Vec<Cell>) -> Result<bool, Fault> {
        cells.clear();
        if !self.begin_record()? {
            return Ok(false);
        }
        loop {
            cells.push(self.read_cell()?);
            if !self.another_cell() {
                return Ok(true);
            }
        }
    }

    /// The text of a cell.
    pub(crate) fn text(&self, cell: Cell) -> Result<Cow<'a, str>, Fault> {
        let text = check_text(&self.bytes[cell.start..cell.end], cell.line)?;
        Ok(if cell.escaped { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) })
    }

    /// The text of a cell, with replacement characters for what is none.
    pub(crate) fn text_lossy(&self, cell: Cell) -> String {
        let text = String::from_utf8_lossy(&self.bytes[cell.start..cell.end]);
        if cell.escaped { text.replace("\"\"", "\"") } else { text.into_owned() }
    }

    /// Steps over one LF, CR or CRLF.
    fn skip_line_end(&mut self) {
        let length = match &self.bytes[self.at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return,
        };
        self.at += length;
        self.line += 1;
    }

    fn read_quoted_cell(&mut self, start: usize) -> Result<Cell, Fault> {
        let bytes = self.bytes;
        let opened = self.line;
        let mut escaped = false;
        let mut at = start;
        let end = loop {
            let Some(length) = memchr(b'"', &bytes[at..]) else {
                if self.strict {
                    check_text(&bytes[start..], opened)?;
                }
                return Err(Fault::UnterminatedQuote { line: opened });
            };
            let quote = at + length;
            if bytes.get(quote + 1) != Some(&b'"') {
                break quote;
            }
            escaped = true;
            at = quote + 2;
        };
        self.at = self.skip_spaces(end + 1);
        self.line += count_line_ends(&bytes[start..end]);
        if !self.is_cell_end(self.at) {
            if self.strict {
                check_text(&bytes[start..end], opened)?;
            }
            return Err(Fault::TextAfterQuote { line: self.line });
        }
        Ok(Cell { start, end, escaped, line: opened })
    }

    #[inline]
    fn skip_spaces(&self, mut from: usize) -> usize {
        while self.bytes.get(from).is_some_and(|&byte| self.syntax.is_space(byte)) {
            from += 1;
        }
        from
    }
}

/// The bytes as text, or the fault of the first that no text has. They begin on `line`.
fn check_text(bytes: &[u8], line: u64) -> Result<&str, Fault> {
    let nul = memchr(0, bytes);
    let at = match (str::from_utf8(bytes), nul) {
        (Ok(text), None) => return Ok(text),
        (Ok(_), Some(nul)) => nul,
        (Err(error), nul) => error.valid_up_to().min(nul.unwrap_or(usize::MAX)),
    };
    Err(Fault::NotText { line: line + count_line_ends(&bytes[..at]), byte: bytes[at] })
}

/// Line ends in `bytes`: LF, CR, and CRLF as one.
pub(crate) fn count_line_ends(bytes: &[u8]) -> u64 {
    let ends = memchr2_iter(b'\n', b'\r', bytes);
    ends.filter(|&at| !(bytes[at] == b'\n' && at > 0 && bytes[at - 1] == b'\r')).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMA: Syntax = Syntax { delimiter: b',', comment: None };

    fn read(text: &str, syntax: Syntax) -> Result<Vec<(u64, Vec<String>)>, Fault> {
        let mut lexer = Lexer::new(text.as_bytes(), syntax);
        let (mut cells, mut records) = (Vec::new(), Vec::new());
        while lexer.next_record(&mut cells)? {
            let texts = cells.iter().map(|&cell| Ok(lexer.text(cell)?.into_owned())).collect::<Result<_, _>>()?;
            records.push((cells[0].line, texts));
        }
        Ok(records)
    }

    fn cells(text: &str) -> Vec<Vec<String>> {
        read(text, COMMA).unwrap().into_iter().map(|(_, cells)| cells).collect()
    }

    #[test]
    fn every_line_end_gives_the_same_records_and_lines() {
        let plain = read("a,b\n1,2\n3,4\n", COMMA).unwrap();
        assert_eq!(plain[2], (3, vec!["3".to_owned(), "4".to_owned()]));
        for text in ["a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r", "a,b\n1,2\n3,4"] {
            assert_eq!(read(text, COMMA).unwrap(), plain, "{text:?}");
        }
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_but_counted() {
        let syntax = Syntax { delimiter: b',', comment: Some(b'#') };
        let records = read("\n  \n# a \"quote\n1,2\n\n3,4\n \t", syntax).unwrap();
        assert_eq!(records.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn spaces_belong_to_quoted_cells_only() {
        assert_eq!(cells(" a b ,\" c \", \"d\" ,\n"), [["a b", " c ", "d", ""]]);
        let tab = Syntax { delimiter: b'\t', comment: None };
        assert_eq!(read("a\t\tb\n", tab).unwrap()[0].1, ["a", "", "b"]);
    }

    #[test]
    fn quoted_cells_hold_delimiters_line_ends_and_quotes() {
        let records = read("a,b\n\"x,\r\ny\",\"say \"\"hi\"\"\"\n1,2\n", COMMA).unwrap();
        assert_eq!(records[1].1, ["x,\r\ny", "say \"hi\""]);
        assert_eq!(records[2].0, 4);
    }

    #[test]
    fn faults_name_the_line_where_they_begin() {
        assert_eq!(read("a,b\n1,\"x\n2,y\n", COMMA), Err(Fault::UnterminatedQuote { line: 2 }));
        assert_eq!(read("a\n\"x\"y\n", COMMA), Err(Fault::TextAfterQuote { line: 2 }));
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_reads_back(
            records in prop::collection::vec(prop::collection::vec("[a-c,;\"\n\r #]{0,6}", 2..5), 1..8)
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true)
                .quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for record in &records {
                writer.write_record(record).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(cells(&text), records);
        }

        #[test]
        fn unquoted_text_is_cut_as_the_csv_crate_cuts_it(text in "[ab1,\n\r]{0,40}") {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> =
                reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
            prop_assert_eq!(cells(&text), expected);
        }
    }
}
