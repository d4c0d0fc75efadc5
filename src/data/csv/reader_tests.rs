//! However a file is cut into blocks and shared among threads, the table and the error are those of reading it cell by
//! cell from its first byte to its last.

use proptest::prelude::*;

use super::super::lexer::Syntax;
use super::*;
use crate::data::csv::cell::Content;
use crate::data::csv::column::CellContent;
use crate::data::csv::table::Table;

/// A table, or an error, in a form to compare.
#[derive(Debug, Clone, PartialEq)]
enum Picture {
    Table {
        names: Vec<String>,
        /// The line of each row, and its cells in words.
        rows: Vec<(u64, Vec<String>)>,
        /// For each column how many numbers there are, how many missing cells, and the different texts.
        columns: Vec<(usize, usize, Vec<String>)>,
    },
    /// How the message begins.
    Error(String),
}

fn options(header: bool) -> CsvOptions {
    CsvOptions { delimiter: Some(b','), header: Some(header), comment: Some(b'#'), ..CsvOptions::default() }
}

/// In blocks of `size` bytes, after a beginning of as many.
fn in_blocks<T: Scalar>(bytes: &[u8], header: bool, size: usize, threads: usize) -> Picture {
    let reader = Reader::begin("a.csv", Box::new(bytes), Some(bytes.len() as u64), &options(header), size);
    let table = reader.and_then(|reader| Table::<T>::from_reader(reader.in_blocks(size, threads)));
    let table = match table {
        Ok(table) => table,
        Err(error) => return Picture::Error(error.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    let names: Vec<String> = table.names().map(str::to_owned).collect();
    let mut rows: Vec<(u64, Vec<String>)> = table.lines().map(|line| (line, Vec::new())).collect();
    let mut columns = Vec::new();
    for c in 0..names.len() {
        let column = table.column(c);
        for (cell, (_, row)) in table.cells(c).zip(&mut rows) {
            row.push(match cell {
                CellContent::Number(value) => format!("{:x}", value.as_f64().to_bits()),
                CellContent::Missing => "-".into(),
                CellContent::Text(code) => format!("\"{}", column.texts[code as usize]),
            });
        }
        columns.push((column.numbers, column.missing, column.texts.to_vec()));
    }
    Picture::Table { names, rows, columns }
}

/// Cell by cell, by the lexer alone.
fn cell_by_cell<T: Scalar>(bytes: &[u8], header: bool) -> Picture {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if String::from_utf8_lossy(bytes).trim().is_empty() {
        return Picture::Error("a.csv: the file is empty".into());
    }
    let markers = MissingMarkers::new(&DEFAULT_MISSING);
    let mut lexer = Lexer::new(bytes, Syntax { delimiter: b',', comment: Some(b'#') });
    let mut records: Vec<(u64, Vec<String>)> = Vec::new();
    let mut fault = None;
    'records: loop {
        match lexer.begin_record() {
            Ok(true) => {}
            Ok(false) => break,
            Err(found) => {
                fault = Some(found);
                break;
            }
        }
        let line = lexer.line();
        let mut cells = Vec::new();
        loop {
            match lexer.read_cell().and_then(|cell| lexer.text(cell)) {
                Ok(text) => cells.push(text.into_owned()),
                Err(found) => {
                    fault = Some(found);
                    break 'records;
                }
            }
            if !lexer.another_cell() {
                break;
            }
        }
        if records.first().is_some_and(|(_, first)| first.len() != cells.len()) {
            fault = Some(Fault::Ragged { line, cells: cells.len() });
            break;
        }
        records.push((line, cells));
    }
    let at = |line: u64, what: String| Picture::Error(format!("a.csv:{line}: {what}"));
    match fault {
        Some(Fault::UnterminatedQuote { line }) => return at(line, "a quote opens here and never closes".into()),
        Some(Fault::TextAfterQuote { line }) => return at(line, "text after a closing quote".into()),
        Some(Fault::NotText { line, byte: 0 }) => return at(line, "a NUL byte: this is not CSV text".into()),
        Some(Fault::NotText { line, byte }) => return at(line, format!("byte 0x{byte:02X} is not UTF-8")),
        Some(Fault::Ragged { line, cells }) => {
            let (first, width) = (records[0].0, records[0].1.len());
            let s = if cells == 1 { "" } else { "s" };
            return at(line, format!("{cells} cell{s} where line {first} has {width}"));
        }
        None => {}
    }
    let none = if header { "a.csv: a header, but no rows below it" } else { "a.csv: no rows" };
    let Some((_, first)) = records.first() else { return Picture::Error(none.into()) };
    let name = |(c, cell): (usize, &String)| match cell.trim() {
        name if header && !name.is_empty() => name.to_owned(),
        _ => format!("c{}", c + 1),
    };
    let names: Vec<String> = first.iter().enumerate().map(name).collect();
    let mut columns = vec![(0, 0, Vec::new()); names.len()];
    let mut rows = Vec::new();
    for (line, cells) in &records[usize::from(header)..] {
        let mut row = Vec::new();
        for (cell, (numbers, missing, texts)) in cells.iter().zip(&mut columns) {
            match markers.content::<T>(cell) {
                Content::Number(value) => {
                    *numbers += 1;
                    row.push(format!("{:x}", value.as_f64().to_bits()));
                }
                Content::Missing => {
                    *missing += 1;
                    row.push("-".into());
                }
                Content::Text(text) => {
                    if !texts.iter().any(|other| other == text) {
                        texts.push(text.to_owned());
                    }
                    row.push(format!("\"{text}"));
                }
            }
        }
        rows.push((*line, row));
    }
    if rows.is_empty() {
        return Picture::Error(none.into());
    }
    Picture::Table { names, rows, columns }
}

/// A cell; now and then one that spoils its row.
fn cell() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "-?[0-9]{1,9}(\\.[0-9]{0,9})?",
        8 => "-?[0-9]\\.[0-9]{1,8}",
        2 => " {0,2}-?[0-9]{1,3}\\.[0-9]{1,4} ?",
        1 => "\"-?[0-9]{1,3}\\.[0-9]{1,9}\"",
        2 => "[-+0-9.eE]{1,6}",
        4 => "[ab NA?é\t]{0,4}",
        4 => "\"([a1é, \n\r]|\"\"){0,4}\"",
        1 => " *\"[a,]{0,2}\" *",
        1 => "[a1#]{0,2}\"[a ]{0,2}",
    ]
    .prop_map(String::into_bytes)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let end =
        prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r"), 1 => Just("\n\n"), 1 => Just("\n \t\r\n")];
    let comment = prop_oneof![9 => Just(String::new()), 1 => "#[a\"é,]{0,5}[\n\r]"];
    let row = move |width: usize| (comment.clone(), prop::collection::vec(cell(), width), end.clone());
    let rows = (1..4usize).prop_flat_map(move |width| prop::collection::vec(row(width), 1..20));
    // Something out of place, in few files.
    let spoilt = prop_oneof![
        6 => Just(Vec::new()),
        1 => Just(b"\0".to_vec()),
        1 => Just(b"\xe9".to_vec()),
        1 => Just(b"\xc3".to_vec()),
        1 => Just(b",".to_vec()),
        1 => Just(b"\"".to_vec()),
        1 => Just(b"\n".to_vec()),
    ];
    (rows, spoilt, any::<prop::sample::Index>(), any::<bool>(), any::<bool>()).prop_map(
        |(rows, spoilt, place, mark, ended)| {
            let mut bytes = Vec::new();
            for (comment, cells, end) in rows {
                bytes.extend(comment.bytes());
                bytes.extend(cells.join(&b','));
                bytes.extend(end.bytes());
            }
            if !ended {
                bytes.pop();
            }
            let at = place.index(bytes.len() + 1);
            bytes.splice(at..at, spoilt);
            if mark {
                bytes.splice(0..0, "\u{feff}".bytes());
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60000))]

    #[test]
    fn blocks_and_threads_change_nothing(
        bytes in text(), header in any::<bool>(), sizes in prop::array::uniform3(1..60usize), threads in 2..5usize,
    ) {
        let expected = cell_by_cell::<f64>(&bytes, header);
        for size in sizes {
            prop_assert_eq!(&in_blocks::<f64>(&bytes, header, size, 1), &expected, "blocks of {}", size);
            prop_assert_eq!(&in_blocks::<f64>(&bytes, header, size, threads), &expected, "{} threads", threads);
        }
        prop_assert_eq!(&in_blocks::<f64>(&bytes, header, 1 << 20, 1), &expected);
        prop_assert_eq!(in_blocks::<f32>(&bytes, header, sizes[0], 1), cell_by_cell::<f32>(&bytes, header), "in f32");
    }

    #[test]
    fn any_bytes_at_all_are_read_or_refused_alike(
        bytes in prop::collection::vec(prop::sample::select(b"1a,\"\n\r #\0\xc3\xa9".to_vec()), 0..30), size in 1..12usize,
    ) {
        prop_assert_eq!(in_blocks::<f64>(&bytes, false, size, 2), cell_by_cell::<f64>(&bytes, false));
    }
}

#[test]
fn numbers_that_stand_for_missing_values_are_found_however_they_are_read() {
    let options = CsvOptions { missing_markers: vec!["-9.5".into()], ..options(false) };
    let text = "1.25,-9.5,7.5\n-9.50,12.5,\"-9.5\"\n0.5,-95e-1,1.5\n";
    let table = Table::<f32>::parse("a.csv", text, &options).unwrap();
    let columns: Vec<Vec<CellContent<f32>>> = (0..3).map(|column| table.cells(column).collect()).collect();
    let (number, missing) = (CellContent::Number, CellContent::Missing);
    assert_eq!(columns[0], [number(1.25), missing, number(0.5)]);
    assert_eq!(columns[1], [missing, number(12.5), missing]);
    assert_eq!(columns[2], [number(7.5), missing, number(1.5)]);
    assert_eq!(table.missing_cells().collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn bytes_that_shape_a_csv_file_are_no_delimiters_or_comments() {
    for byte in *b"\"\n\r" {
        let delimiter = CsvOptions { delimiter: Some(byte), ..CsvOptions::default() };
        let comment = CsvOptions { comment: Some(byte), ..CsvOptions::default() };
        for (options, setting) in [(delimiter, "delimiter"), (comment, "comment")] {
            let message = Table::<f64>::parse("a.csv", "1.5\n", &options).unwrap_err().to_string();
            assert!(message.contains(setting), "{message}");
        }
    }
}

#[test]
fn the_first_fault_of_the_file_is_the_one_reported() {
    let cases: [(&[u8], &str); 6] = [
        (b"a,b\n1\n\0,2\n", "a.csv:2: 1 cell where line 1 has 2"),
        (b"a,b\n1,\0\n1\n", "a.csv:2: a NUL byte"),
        (b"a,b\n1,\"x\n2,\xe9\n", "a.csv:3: byte 0xE9 is not UTF-8"),
        (b"a,b\n1,\"x\"y\n2,\xe9\n", "a.csv:2: text after a closing quote"),
        (b"a,b\n#\xe9\n1,2,3\n", "a.csv:2: byte 0xE9"),
        (b"a,b\r\n\r\n1,2,3\r\n", "a.csv:3: 3 cells"),
    ];
    for (bytes, expected) in cases {
        for size in [2, 5, 1 << 20] {
            let Picture::Error(message) = in_blocks::<f64>(bytes, true, size, 3) else { panic!("{bytes:?} was read") };
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
