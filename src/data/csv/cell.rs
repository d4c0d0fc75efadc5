//! What a single cell is: a number, a missing value, or text.

use crate::scalar::Scalar;

/// The cells that count as missing when nothing else is asked for.
pub const DEFAULT_MISSING: [&str; 7] = ["", "NA", "N/A", "NaN", "nan", "null", "?"];

/// The value of a cell that is a number: an optional sign, digits, point, exponent, and finite in `T`.
///
/// `inf`, `1e999`, `0x10`, `1_000` and `1,5` are not numbers.
pub(crate) fn parse_number<T: Scalar>(cell: &str) -> Option<T> {
    // The parser would take "inf" and "nan" as well.
    let first = cell.bytes().find(|b| !matches!(b, b'+' | b'-'))?;
    if !first.is_ascii_digit() && first != b'.' {
        return None;
    }
    let value = T::parse_decimal(cell)?;
    value.is_finite().then_some(value)
}

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content<'a, T> {
    Number(T),
    Missing,
    Text(&'a str),
}

/// Tells missing cells from others.
#[derive(Debug, Clone)]
pub(crate) struct MissingMarkers {
    words: Vec<String>,
    /// Markers that read as numbers, -999 say, compared by value.
    numbers: Vec<f64>,
}

impl MissingMarkers {
    /// These markers and the empty cell.
    pub(crate) fn new<S: AsRef<str>>(markers: &[S]) -> Self {
        let (mut words, mut numbers) = (vec![String::new()], Vec::new());
        for marker in markers {
            let marker = marker.as_ref().trim();
            match parse_number(marker) {
                Some(number) => numbers.push(number),
                None => words.push(marker.to_owned()),
            }
        }
        MissingMarkers { words, numbers }
    }

    /// Whether a cell that is not a number is missing.
    pub(crate) fn is_missing_word(&self, cell: &str) -> bool {
        self.words.iter().any(|word| word == cell)
    }

    /// Whether a number is missing.
    pub(crate) fn is_missing_number<T: Scalar>(&self, value: T) -> bool {
        self.numbers.iter().any(|&marker| T::from_f64(marker) == value)
    }

    /// What the cell holds.
    pub(crate) fn content<'a, T: Scalar>(&self, cell: &'a str) -> Content<'a, T> {
        match parse_number::<T>(cell) {
            Some(value) if self.is_missing_number(value) => Content::Missing,
            Some(value) => Content::Number(value),
            None if self.is_missing_word(cell) => Content::Missing,
            None => Content::Text(cell),
        }
    }
}

/// Why a text that a reader may take for a number is none, as a remark for a message; empty where there is none.
pub(crate) fn why_not_a_number(text: &str) -> &'static str {
    let lower = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let digits_and = |extra: &str| {
        lower.starts_with(|c: char| c.is_ascii_digit())
            && lower.chars().all(|c| c.is_ascii_digit() || extra.contains(c))
    };
    if lower == "inf" || lower == "infinity" {
        " (an infinite value cannot be trained on)"
    } else if lower.contains(',') && digits_and(",.") {
        " (numbers are written with a point and without thousands separators)"
    } else if digits_and("_") || lower.starts_with("0x") {
        " (numbers are plain decimals)"
    } else if f64::parse_decimal(text).is_some_and(f64::is_infinite) {
        " (too large for a finite number)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimals_with_sign_point_and_exponent() {
        let numbers = [("1", 1.0), ("-2.5", -2.5), ("+3", 3.0), (".5", 0.5), ("1.", 1.0), ("1e3", 1e3), ("1E-3", 1e-3)];
        for (text, value) in numbers {
            assert_eq!(parse_number::<f64>(text), Some(value), "{text:?}");
        }
        let others =
            ["", "inf", "-inf", "nan", "NaN", "1e999", "0x10", "1_000", "1,5", "1 2", "--1", "+-1", "e5", ".", "-"];
        for text in others {
            assert_eq!(parse_number::<f64>(text), None, "{text:?}");
        }
        assert_eq!(parse_number::<f32>("1e39"), None);
    }

    #[test]
    fn missing_markers_match_words_exactly_and_numbers_by_value() {
        let markers = MissingMarkers::new(&["-999", "none"]);
        assert_eq!(markers.content::<f64>("-999.0"), Content::Missing);
        assert_eq!(markers.content::<f64>("none"), Content::Missing);
        assert_eq!(markers.content::<f64>(""), Content::Missing);
        assert_eq!(markers.content::<f64>("None"), Content::Text("None"));
        assert_eq!(markers.content::<f64>("NA"), Content::Text("NA"));
        let default = MissingMarkers::new(&DEFAULT_MISSING);
        assert_eq!(default.content::<f64>("?"), Content::Missing);
    }

    #[test]
    fn near_numbers_are_explained() {
        for text in ["inf", "-Infinity", "1e999", "1,5", "1,234.5", "1_000", "0x10"] {
            assert!(!why_not_a_number(text).is_empty(), "{text:?}");
        }
        for text in ["male", "2020-01-01", "10.0.0.0", "e5"] {
            assert!(why_not_a_number(text).is_empty(), "{text:?}");
        }
    }
}
