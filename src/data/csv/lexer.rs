//! Cuts CSV text into records and cells by RFC 4180, and knows the line of each.
//!
//! The `csv` crate reads the same language, but does not say whether a cell was quoted, on which line a quote was
//! opened, or what line a file with CR line ends is at; all three are needed for exact messages.

use std::borrow::Cow;

use memchr::{memchr, memchr3};

/// The two characters that shape the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    pub delimiter: u8,
    pub comment: Option<u8>,
}

/// One cell of a record: where its text stands, without quotes and surrounding spaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    start: usize,
    end: usize,
    /// Whether `""` inside it stands for `"`.
    escaped: bool,
}

/// What stops the cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A quote that never closes, and the line it opened on.
    UnterminatedQuote { line: u64 },
    /// Text between a closing quote and the next delimiter.
    TextAfterQuote { line: u64 },
}

/// Reads records one after another.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    syntax: Syntax,
    at: usize,
    /// The line of `at`, from 1.
    line: u64,
    cells: Vec<Cell>,
    /// The line on which the record in `cells` begins.
    pub record_line: u64,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, syntax: Syntax) -> Self {
        Lexer { text, syntax, at: 0, line: 1, cells: Vec::new(), record_line: 1 }
    }

    /// Reads the next record that is neither blank nor a comment; `false` at the end.
    pub(crate) fn next_record(&mut self) -> Result<bool, Fault> {
        self.cells.clear();
        self.skip_blank_lines_and_comments();
        if self.at >= self.text.len() {
            return Ok(false);
        }
        self.record_line = self.line;
        loop {
            self.read_cell()?;
            match self.bytes().get(self.at) {
                Some(&byte) if byte == self.syntax.delimiter => self.at += 1,
                _ => {
                    self.skip_line_end();
                    return Ok(true);
                }
            }
        }
    }

    /// The cells of the record last read.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The text of a cell.
    pub(crate) fn text(&self, cell: Cell) -> Cow<'a, str> {
        let text = &self.text[cell.start..cell.end];
        if cell.escaped { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn skip_blank_lines_and_comments(&mut self) {
        while self.at < self.text.len() {
            let rest = &self.bytes()[self.at..];
            let blank = rest.iter().take_while(|&&b| self.is_space(b)).count();
            let commented = self.syntax.comment.is_some_and(|comment| rest[0] == comment);
            match rest.get(blank) {
                _ if commented => self.at = self.end_of_line(),
                None | Some(b'\n' | b'\r') => self.at += blank,
                Some(_) => return,
            }
            self.skip_line_end();
        }
    }

    /// A space or tab that is not the delimiter.
    fn is_space(&self, byte: u8) -> bool {
        (byte == b' ' || byte == b'\t') && byte != self.syntax.delimiter
    }

    fn end_of_line(&self) -> usize {
        memchr::memchr2(b'\n', b'\r', &self.bytes()[self.at..]).map_or(self.text.len(), |n| self.at + n)
    }

    /// Steps over one LF, CR or CRLF.
    fn skip_line_end(&mut self) {
        let rest = &self.bytes()[self.at..];
        let length = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return,
        };
        self.at += length;
        self.line += 1;
    }

    /// Reads one cell and stops on the delimiter or line end after it.
    fn read_cell(&mut self) -> Result<(), Fault> {
        let bytes = self.bytes();
        let start = self.skip_spaces(self.at);
        if bytes.get(start) == Some(&b'"') {
            return self.read_quoted_cell(start + 1);
        }
        let rest = &bytes[start..];
        let length = memchr3(self.syntax.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
        self.at = start + length;
        let mut end = self.at;
        while end > start && self.is_space(bytes[end - 1]) {
            end -= 1;
        }
        self.cells.push(Cell { start, end, escaped: false });
        Ok(())
    }

    fn read_quoted_cell(&mut self, start: usize) -> Result<(), Fault> {
        let bytes = self.bytes();
        let opened = self.line;
        let mut escaped = false;
        let mut at = start;
        let end = loop {
            let Some(length) = memchr(b'"', &bytes[at..]) else {
                return Err(Fault::UnterminatedQuote { line: opened });
            };
            let quote = at + length;
            if bytes.get(quote + 1) != Some(&b'"') {
                break quote;
            }
            escaped = true;
            at = quote + 2;
        };
        self.line += count_line_ends(&bytes[start..end]);
        self.at = self.skip_spaces(end + 1);
        match bytes.get(self.at) {
            None | Some(b'\n' | b'\r') => {}
            Some(&byte) if byte == self.syntax.delimiter => {}
            Some(_) => return Err(Fault::TextAfterQuote { line: self.line }),
        }
        self.cells.push(Cell { start, end, escaped });
        Ok(())
    }

    fn skip_spaces(&self, from: usize) -> usize {
        from + self.bytes()[from..].iter().take_while(|&&b| self.is_space(b)).count()
    }
}

/// Line ends in `bytes`: LF, CR, and CRLF as one.
pub(crate) fn count_line_ends(bytes: &[u8]) -> u64 {
    let ends = memchr::memchr2_iter(b'\n', b'\r', bytes);
    ends.filter(|&at| !(bytes[at] == b'\n' && at > 0 && bytes[at - 1] == b'\r')).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMA: Syntax = Syntax { delimiter: b',', comment: None };

    fn read(text: &str, syntax: Syntax) -> Result<Vec<(u64, Vec<String>)>, Fault> {
        let mut lexer = Lexer::new(text, syntax);
        let mut records = Vec::new();
        while lexer.next_record()? {
            let cells = lexer.cells().iter().map(|&cell| lexer.text(cell).into_owned()).collect();
            records.push((lexer.record_line, cells));
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
