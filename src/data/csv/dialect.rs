//! Finds a file's delimiter and header.

use super::cell::parse_number;
use super::lexer::{Fault, Lexer, Syntax};

/// The delimiters looked for, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many records are looked at.
const SAMPLE: usize = 100;

/// How a CSV file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The delimiter under which most records have one number of cells, and then the largest number of cells.
///
/// One that cannot be read to the end, because of its quotes, counts for what was read.
pub(crate) fn detect_delimiter(text: &str, comment: Option<u8>) -> u8 {
    let mut best = (DELIMITERS[0], (0.0, 0));
    for delimiter in DELIMITERS {
        let widths: Vec<usize> =
            sample(text, Syntax { delimiter, comment }).0.iter().map(|record| record.len()).collect();
        let score = consistency(&widths);
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
pub(crate) fn detect_header(text: &str, syntax: Syntax, is_missing: impl Fn(&str) -> bool) -> bool {
    let (records, _) = sample(text, syntax);
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

/// The first records, and what stopped the reading.
fn sample(text: &str, syntax: Syntax) -> (Vec<Vec<String>>, Option<Fault>) {
    let mut lexer = Lexer::new(text, syntax);
    let mut records = Vec::new();
    while records.len() < SAMPLE {
        match lexer.next_record() {
            Ok(true) => records.push(lexer.cells().iter().map(|&cell| lexer.text(cell).into_owned()).collect()),
            Ok(false) => break,
            Err(fault) => return (records, Some(fault)),
        }
    }
    (records, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> bool {
        detect_header(text, Syntax { delimiter: b',', comment: None }, |cell| cell.is_empty() || cell == "NA")
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
            assert_eq!(detect_delimiter(text, None), delimiter, "{text:?}");
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
