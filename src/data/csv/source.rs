//! The bytes of a CSV file, in blocks that end where a record ends.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use memchr::{memchr, memrchr2};

use super::lexer::{Fault, Lexer, Syntax};
use crate::error::Error;

/// Where bytes come from.
pub(crate) type Input<'a> = Box<dyn Read + Send + 'a>;

/// Opens a file, or standard input for `-`, and says how long it is where that is known.
pub(crate) fn open(path: &Path) -> crate::Result<(Input<'static>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| Error::io(path, "read", error))?;
    let length = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
    Ok((Box::new(file), length))
}

/// The room of a new buffer: a small file is not worth a large one.
const FIRST_READ: usize = 1 << 13;

/// Bytes that were read, in a buffer that keeps its size.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// Reads on until there are `length` bytes; whether the input ended before.
    pub(crate) fn fill(&mut self, input: &mut Input<'_>, length: usize) -> io::Result<bool> {
        while self.length < length {
            if self.length == self.bytes.len() {
                self.bytes.resize((2 * self.length).clamp(FIRST_READ, length.max(FIRST_READ)), 0);
            }
            let length = length.min(self.bytes.len());
            match input.read(&mut self.bytes[self.length..length]) {
                Ok(0) => return Ok(true),
                Ok(count) => self.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Puts these bytes in the place of all others.
    fn set(&mut self, bytes: &[u8]) {
        if self.bytes.len() < bytes.len() {
            self.bytes.resize(bytes.len(), 0);
        }
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.length = bytes.len();
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Cuts an input into blocks.
pub(crate) struct Source<'a> {
    input: Input<'a>,
    syntax: Syntax,
    /// The bytes of a block, if no record is longer.
    size: usize,
    /// What was read beyond the last block: no whole record.
    rest: Vec<u8>,
    ended: bool,
}

impl<'a> Source<'a> {
    /// For an input that begins with a record.
    pub(crate) fn new(input: Input<'a>, syntax: Syntax, size: usize) -> Self {
        Source { input, syntax, size, rest: Vec::new(), ended: false }
    }

    #[cfg(test)]
    pub(crate) fn set_size(&mut self, size: usize) {
        self.size = size;
    }

    /// Reads the next whole records into `block`; `false` at the end. Nothing follows a record that cannot be read.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn next_block(&mut self, block: &mut Buffer) -> io::Result<bool> {
        block.set(&self.rest);
        self.rest.clear();
        let mut size = self.size.max(block.len() + 1);
        while !self.ended {
            self.ended = block.fill(&mut self.input, size)?;
            if self.ended {
                break;
            }
            match last_record_end(block, self.syntax) {
                Ok(0) => size *= 2,
                Ok(end) => {
                    self.rest.extend_from_slice(&block[end..]);
                    block.length = end;
                    break;
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(!block.is_empty())
    }
}

/// How many of these bytes are whole records, or the fault of one that cannot be read whatever follows. They begin with
/// a record and may end anywhere.
fn last_record_end(bytes: &[u8], syntax: Syntax) -> Result<usize, Fault> {
    if memchr(b'"', bytes).is_none() {
        // After a CR at the very end the LF may be still to come.
        let settled = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        return Ok(memrchr2(b'\n', b'\r', settled).map_or(0, |at| at + 1));
    }
    let mut lexer = Lexer::of_part(bytes, syntax);
    let (mut cells, mut end) = (Vec::new(), 0);
    loop {
        match lexer.next_record(&mut cells) {
            // Here the record may go on, and a quote that seems to close it may be half of two.
            Ok(true) if lexer.position() == bytes.len() && bytes.last() != Some(&b'\n') => return Ok(end),
            Ok(true) => end = lexer.position(),
            Ok(false) | Err(Fault::UnterminatedQuote { .. }) => return Ok(end),
            Err(fault) => return Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Syntax = Syntax { delimiter: b',', comment: Some(b'#') };

    fn blocks(text: &str, size: usize) -> Vec<String> {
        let mut source = Source::new(Box::new(text.as_bytes()), COMMA, size);
        let (mut block, mut blocks) = (Buffer::default(), Vec::new());
        while source.next_block(&mut block).unwrap() {
            blocks.push(String::from_utf8(block.to_vec()).unwrap());
        }
        blocks
    }

    #[test]
    fn blocks_end_where_a_record_ends() {
        assert_eq!(blocks("1,2\n3,4\n5,6", 6), ["1,2\n", "3,4\n", "5,6"]);
        assert_eq!(blocks("1,2\n3,4\n5,6", 9), ["1,2\n3,4\n", "5,6"]);
        assert_eq!(blocks("1,2,3,4\n5\n6\n7\n", 3), ["1,2,3,4\n5\n6\n", "7\n"]);
        assert_eq!(blocks("", 3), [""; 0]);
    }

    #[test]
    fn a_line_end_of_two_bytes_is_never_cut_in_two() {
        assert_eq!(blocks("1\r\n2\r\n", 2), ["1\r\n", "2\r\n"]);
        assert_eq!(blocks("1\r2\r", 2), ["1\r", "2\r"]);
        assert_eq!(blocks("\"1\"\r\n234\r\n", 4), ["\"1\"\r\n", "234\r\n"]);
    }

    #[test]
    fn line_ends_in_quotes_are_no_ends_and_quotes_in_comments_no_quotes() {
        assert_eq!(blocks("\"1\n,\"\"\n\"\n2\n3\n4\n", 3), ["\"1\n,\"\"\n\"\n2\n", "3\n", "4\n"]);
        assert_eq!(blocks("# \"\n1\n2\n", 6), ["# \"\n1\n", "2\n"]);
        assert_eq!(blocks("a\"\n1\n", 3), ["a\"\n", "1\n"]);
    }

    #[test]
    fn nothing_follows_a_record_that_cannot_be_read() {
        assert_eq!(blocks("\"1\"2\n3\n4\n5\n", 8), ["\"1\"2\n3\n4"]);
    }
}
