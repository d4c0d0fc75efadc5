//! Where the cells of a text may end, found ahead of their reading.
//!
//! A reader that looks for each cell's end must wait for it before it can begin the next cell. With the ends known, the
//! processor works on several cells at once.

use super::lexer::Syntax;
use crate::kernels::{MARKED_AT_ONCE, mark_bytes};

/// The bytes that are marked in one go: enough to make up for the call, and their marks few enough to stay at hand.
/// In tests so few that the texts of a test have several.
const WINDOW: usize = if cfg!(test) { 2 } else { 64 } * MARKED_AT_ONCE;

/// The delimiters and line ends of a text, in quotes and outside, one after another.
pub(crate) struct Ends<'a> {
    bytes: &'a [u8],
    wanted: [u8; 3],
    /// A bit for each byte of the window.
    marks: [u64; WINDOW / MARKED_AT_ONCE],
    /// Where the window ends.
    marked: usize,
    /// The marks in use that are still to come, and where the byte of the lowest bit stands.
    left: u64,
    base: usize,
}

impl<'a> Ends<'a> {
    pub(crate) fn new(bytes: &'a [u8], syntax: Syntax) -> Self {
        let wanted = [syntax.delimiter, b'\n', b'\r'];
        // As if the bytes before the first were used up.
        let base = 0_usize.wrapping_sub(MARKED_AT_ONCE);
        Ends { bytes, wanted, marks: [0; WINDOW / MARKED_AT_ONCE], marked: 0, left: 0, base }
    }

    /// The first delimiter or line end at `from` or after it, or the end of the text. Each call goes on after what the
    /// one before returned, and `from` never goes back.
    #[inline]
    pub(crate) fn next(&mut self, from: usize) -> usize {
        loop {
            while self.left == 0 {
                self.base = self.base.wrapping_add(MARKED_AT_ONCE);
                if self.base >= self.marked && !self.mark_window() {
                    return self.bytes.len();
                }
                self.left = self.marks[self.base % WINDOW / MARKED_AT_ONCE];
            }
            let end = self.base + self.left.trailing_zeros() as usize;
            self.left &= self.left - 1;
            if end >= from {
                return end;
            }
        }
    }

    /// Has the last call of [`next`](Self::next) undone, which returned `end`.
    #[inline]
    pub(crate) fn put_back(&mut self, end: usize) {
        if end < self.bytes.len() {
            self.left |= 1 << (end - self.base);
        }
    }

    /// Marks the window that begins where the last one ended; `false` at the end of the text.
    #[inline(never)]
    fn mark_window(&mut self) -> bool {
        let end = (self.marked + WINDOW).min(self.bytes.len());
        let window = &self.bytes[self.marked..end];
        mark_bytes(window, self.wanted, &mut self.marks[..window.len().div_ceil(MARKED_AT_ONCE)]);
        self.marked = end;
        !window.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMA: Syntax = Syntax { delimiter: b',', comment: None };

    /// A text of this many bytes in which cells of up to 200 bytes follow each other.
    fn text(length: usize, seed: usize) -> Vec<u8> {
        let mut text: Vec<u8> = Vec::new();
        while text.len() < length {
            text.resize(text.len() + (text.len() * 7 + seed) % 200, b'1');
            text.push([b',', b'\n', b'\r'][(text.len() + seed) % 3]);
        }
        text.truncate(length);
        text
    }

    proptest! {
        #[test]
        fn every_end_is_found_in_order(length in 0..5 * WINDOW, seed in 0..200usize) {
            let text = text(length, seed);
            let mut ends = Ends::new(&text, COMMA);
            let mut from = 0;
            while from <= text.len() {
                let expected = text[from..].iter().position(|b| b",\n\r".contains(b)).map_or(text.len(), |n| from + n);
                prop_assert_eq!(ends.next(from), expected);
                from = expected + 1;
            }
        }

        #[test]
        fn an_end_that_is_put_back_comes_again(length in 0..5 * WINDOW, seed in 0..200usize, again in any::<u64>()) {
            let text = text(length, seed);
            let mut ends = Ends::new(&text, COMMA);
            let mut from = 0;
            while from <= text.len() {
                let end = ends.next(from);
                if again >> (from % 64) & 1 == 1 {
                    ends.put_back(end);
                    prop_assert_eq!(ends.next(from), end);
                }
                from = end + 1;
            }
        }

        #[test]
        fn ends_are_left_out_up_to_where_the_reading_goes_on(length in 1..5 * WINDOW, seed in 0..200usize) {
            let text = text(length, seed);
            let mut ends = Ends::new(&text, COMMA);
            let mut from = seed;
            while from < text.len() {
                let expected = text[from..].iter().position(|b| b",\n\r".contains(b)).map_or(text.len(), |n| from + n);
                prop_assert_eq!(ends.next(from), expected);
                // As a quoted cell does.
                from = expected + 1 + (from * 13 + seed) % (2 * WINDOW);
            }
        }
    }
}
