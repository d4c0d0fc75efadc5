//! Finds a file's delimiter and header.

use serde::{Deserialize, Serialize};

use super::cell::parse_number;
use super::lexer::{Lexer, Syntax};

/// The delimiters looked for, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many records are looked at.
const SAMPLE: usize = 100;

/// How a CSV file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// The byte between cells.
    pub delimiter: u8,
    /// Whether the first record names the columns.
    pub header: bool,
    /// The byte that starts a comment line, if there are any.
    pub comment: Option<u8>,
}

impl Dialect {
    /// The delimiter as a word: `comma`, `tab`, or the character itself.
    pub fn delimiter_name(&self) -> String {
        match self.delimiter {
            b',' => "comma".into(),
            b';' => "semicolon".into(),
            b'\t' => "tab".into(),
            b'|' => "bar".into(),
            other => format!("'{}'", char::from(other)),
        }
    }

    pub(crate) fn syntax(&self) -> Syntax {
        Syntax { delimiter: self.delimiter, comment: self.comment }
    }
}

/// The beginning of a file, by which its dialect is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning<'a> {
    pub bytes: &'a [u8],
    /// Whether it is the whole file.
    pub whole: bool,
}

impl Beginning<'_> {
    /// The first records. Nothing is said of one that cannot be read to its end.
    fn records(&self, syntax: Syntax, most: usize) -> Vec<Vec<String>> {
        let mut lexer = Lexer::of_part(self.bytes, syntax);
        let (mut cells, mut records) = (Vec::new(), Vec::new());
        while records.len() < most && lexer.next_record(&mut cells).unwrap_or(false) {
            if !self.whole && lexer.position() == self.bytes.len() {
                break;
            }
            records.push(cells.iter().map(|&cell| lexer.text_lossy(cell)).collect());
        }
        records
    }
}

/// The delimiter under which most records have one number of cells, and then the largest number of cells.
///
/// One that cannot be read to the end, because of its quotes, counts for what was read.
pub(crate) fn detect_delimiter(beginning: Beginning<'_>, comment: Option<u8>) -> u8 {
    let mut best = (DELIMITERS[0], (0.0, 0));
    for delimiter in DELIMITERS {
        let records = beginning.records(Syntax { delimiter, comment }, SAMPLE);
        let score = consistency(&records.iter().map(Vec::len).collect::<Vec<_>>());
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best.0
}

/// The share of records with the commonest width, and that width; nothing for files of one column.
fn consistency(widths: &[usize]) -> (f64, usize) {
    let count = |width: usize| widths.iter().filter(|&&w| w == width).count();
    let Some(&width) = widths.iter().filter(|&&w| w > 1).max_by_key(|&&w| (count(w), w)) else {
        return (0.0, 0);
    };
    (count(width) as f64 / widths.len() as f64, width)
}

/// Whether the first record names the columns.
///
/// It does not if one of its cells is a number. It does if below one of its cells all present values are numbers,
/// or, in a file of text alone, if its cells differ from each other and none recurs below.
pub(crate) fn detect_header(beginning: Beginning<'_>, syntax: Syntax, is_missing: impl Fn(&str) -> bool) -> bool {
    let records = beginning.records(syntax, SAMPLE);
    let Some((first, below)) = records.split_first() else { return false };
    let is_number = |cell: &str| parse_number::<f64>(cell).is_some();
    if first.iter().any(|cell| is_number(cell)) {
        return false;
    }
    let column = |c: usize| below.iter().filter_map(move |record| record.get(c)).filter(|cell| !is_missing(cell));
    if (0..first.len()).any(|c| column(c).count() > 0 && column(c).all(|cell| is_number(cell))) {
        return true;
    }
    first.iter().enumerate().all(|(c, cell)| {
        let recurs_beside = first[..c].contains(cell);
        let recurs_below = column(c).any(|below| below == cell);
        !recurs_beside && !recurs_below
    })
}

/// Whether the first record has a cell that is one of these names.
pub(crate) fn has_cell_of(beginning: Beginning<'_>, syntax: Syntax, names: &[String]) -> bool {
    let first = beginning.records(syntax, 1);
    first.iter().flatten().any(|cell| names.iter().any(|name| cell.trim() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Beginning<'_> {
        Beginning { bytes: text.as_bytes(), whole: true }
    }

    fn header(text: &str) -> bool {
        detect_header(whole(text), Syntax { delimiter: b',', comment: None }, |cell| cell.is_empty() || cell == "NA")
    }

    #[test]
    fn delimiters_are_found_by_consistency() {
        let cases: [(&str, u8); 7] = [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2,5\n3,5;4\n", b';'),
            ("a\tb c\n1\t2\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("a,b\n\"x;y;z\",1\n\"u;v;w\",2\n", b','),
            ("just one\n1\n2\n", b','),
            ("a;b;c\n1;2;3\n4;5\n6;7;8\n", b';'),
        ];
        for (text, delimiter) in cases {
            assert_eq!(detect_delimiter(whole(text), None), delimiter, "{text:?}");
        }
    }

    #[test]
    fn headers_are_found_by_the_types_below() {
        assert!(header("x,y\n1,2\n"));
        assert!(header("x,kind\n1,a\n2,b\n"));
        assert!(header("name,kind\nann,a\nbob,b\n"));
        assert!(header("x,y\nNA,a\n1,b\n"));
        assert!(!header("1,2\n3,4\n"));
        assert!(!header("5.1,setosa\n4.9,setosa\n"));
        assert!(!header("a,b\na,c\nd,b\n"));
        assert!(!header("a,a\nb,c\n"));
        assert!(!header(""));
    }
}
