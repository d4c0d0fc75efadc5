//! The text of a CSV file, checked to be text.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::lexer::count_line_ends;
use crate::error::{Error, Place, Result};

/// Reads a file, or standard input for `-`, whole.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let name = path.to_string_lossy();
    text(&name, bytes.map_err(|error| Error::io(path, "read", error))?)
}

/// Takes bytes as UTF-8 text, without its byte-order mark.
pub(crate) fn text(name: &str, bytes: Vec<u8>) -> Result<String> {
    if let Some(nul) = memchr::memchr(0, &bytes) {
        let place = Place::file(name).at_line(1 + count_line_ends(&bytes[..nul]));
        return Err(Error::data(place, "a NUL byte: this is not CSV text", "save it as CSV in UTF-8"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let bad = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let place = Place::file(name).at_line(1 + count_line_ends(&bytes[..bad]));
        let what = format!("byte 0x{:02X} is not UTF-8", bytes[bad]);
        Error::data(place, what, "save the file as UTF-8, or convert it: iconv -f LATIN1 -t UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_refused_with_their_line() {
        let message = text("a.csv", b"x\n1\ncaf\xe9\n".to_vec()).unwrap_err().to_string();
        assert!(message.starts_with("a.csv:3: byte 0xE9 is not UTF-8"), "{message}");
        let message = text("a.csv", b"x\r\n\0\n".to_vec()).unwrap_err().to_string();
        assert!(message.starts_with("a.csv:2: a NUL byte"), "{message}");
    }

    #[test]
    fn the_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text("a.csv", "\u{feff}x\n1\n".into()).unwrap(), "x\n1\n");
    }
}
