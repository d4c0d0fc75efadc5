//! Cells as categories: by their texts, and numbers by their shortest forms, so that `1` and `1.0` are one.

use std::collections::HashMap;
use std::sync::Arc;

use super::csv::{CellContent, Table};
use crate::scalar::Scalar;

/// The text of a cell as a category; `None` if it is missing.
pub(crate) fn category<T: Scalar>(table: &Table<T>, column: usize, cell: CellContent<T>) -> Option<String> {
    match cell {
        CellContent::Missing => None,
        CellContent::Number(value) => Some(number_text(value)),
        CellContent::Text(code) => Some(table.column(column).texts[code as usize].clone()),
    }
}

fn number_text<T: Scalar>(value: T) -> String {
    // Adding 0 turns -0 into 0.
    (value + T::zero()).to_string()
}

/// What tells numbers apart.
fn bits<T: Scalar>(value: T) -> u64 {
    (value + T::zero()).as_f64().to_bits()
}

/// Instead of a category: it is none, or has to be looked up.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Numbers that are kept in a list, where they are found at once. More of them take a map.
const FEW: usize = 16;

/// Numbers whose category is remembered: more than a column of categories has.
const MOST_LOOKED_UP: usize = 1 << 12;

/// Where a key stands among a few different ones. All are compared, without a branch: which of them a cell is cannot be
/// foreseen.
fn place_among_few(keys: &[u64], key: u64) -> Option<usize> {
    const NOWHERE: usize = usize::MAX;
    let place = keys.iter().enumerate().fold(NOWHERE, |found, (at, other)| if *other == key { at } else { found });
    (place != NOWHERE).then_some(place)
}

/// How often each category occurs.
#[derive(Debug)]
pub(crate) struct Tally<T> {
    texts: Arc<Vec<String>>,
    text_counts: Vec<usize>,
    few_keys: Vec<u64>,
    /// Of each key, its number and how often that occurs.
    few_numbers: Vec<(T, usize)>,
    more_numbers: HashMap<u64, (T, usize)>,
    most_numbers: usize,
}

impl<T: Scalar> Tally<T> {
    /// For cells of a column with these texts. More numbers than `most_numbers` are not told apart.
    pub(crate) fn new(texts: Arc<Vec<String>>, most_numbers: usize) -> Self {
        let text_counts = vec![0; texts.len()];
        Tally {
            texts,
            text_counts,
            few_keys: Vec::new(),
            few_numbers: Vec::new(),
            more_numbers: HashMap::new(),
            most_numbers,
        }
    }

    /// Counts a cell; one that is missing is none.
    pub(crate) fn add(&mut self, cell: CellContent<T>) {
        match cell {
            CellContent::Missing => {}
            CellContent::Text(code) => self.text_counts[code as usize] += 1,
            CellContent::Number(value) => self.add_number(value, 1),
        }
    }

    fn add_number(&mut self, value: T, count: usize) {
        let key = bits(value);
        if let Some(place) = place_among_few(&self.few_keys, key) {
            self.few_numbers[place].1 += count;
        } else if self.few_keys.len() < FEW {
            self.few_keys.push(key);
            self.few_numbers.push((value, count));
        } else if !self.is_over() {
            self.more_numbers.entry(key).or_insert((value, 0)).1 += count;
        }
    }

    /// Adds what was counted in other rows of the column.
    pub(crate) fn merge(&mut self, other: &Tally<T>) {
        self.text_counts.iter_mut().zip(&other.text_counts).for_each(|(count, more)| *count += more);
        let few = other.few_numbers.iter();
        few.chain(other.more_numbers.values()).for_each(|&(value, count)| self.add_number(value, count));
    }

    /// Whether there are more numbers than are told apart.
    pub(crate) fn is_over(&self) -> bool {
        self.few_numbers.len() + self.more_numbers.len() > self.most_numbers
    }

    /// The categories and how often they occur; `None` if there were more numbers than are told apart.
    pub(crate) fn counts(&self) -> Option<HashMap<String, usize>> {
        if self.is_over() {
            return None;
        }
        let numbers = self.few_numbers.iter().chain(self.more_numbers.values());
        let numbers = numbers.map(|(value, count)| (number_text(*value), *count));
        let texts = self.texts.iter().cloned().zip(self.text_counts.iter().copied()).filter(|(_, count)| *count > 0);
        let mut counts = HashMap::new();
        numbers.chain(texts).for_each(|(text, count)| *counts.entry(text).or_insert(0) += count);
        Some(counts)
    }
}

/// Finds which of a list of categories a column's cells are.
#[derive(Debug, Clone)]
pub(crate) struct Categories<'a> {
    index: HashMap<&'a str, usize>,
    /// The category of each text of the column, by its code.
    by_code: Vec<Option<usize>>,
    /// A few numbers that were looked up, and the category of each.
    few_keys: Vec<u64>,
    by_number: Vec<Option<usize>>,
    /// The same of others.
    by_other_number: HashMap<u64, Option<usize>>,
}

impl<'a> Categories<'a> {
    /// For cells of a column with these texts.
    pub(crate) fn new(categories: &'a [String], texts: &[String]) -> Self {
        let index: HashMap<&str, usize> = categories.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let by_code = texts.iter().map(|text| index.get(text.as_str()).copied()).collect();
        Categories { index, by_code, few_keys: Vec::new(), by_number: Vec::new(), by_other_number: HashMap::new() }
    }

    /// The index of this category.
    pub(crate) fn find(&self, category: &str) -> Option<usize> {
        self.index.get(category).copied()
    }

    /// The category of a text, by its code.
    pub(crate) fn of_text(&self, code: u32) -> Option<usize> {
        self.by_code[code as usize]
    }

    /// The category of a number.
    #[inline]
    pub(crate) fn of_number<T: Scalar>(&mut self, value: T) -> Option<usize> {
        let key = bits(value);
        if let Some(place) = place_among_few(&self.few_keys, key) {
            return self.by_number[place];
        }
        self.look_up(key, value)
    }

    /// Whether some numbers were looked up, and all so far had room among the few.
    pub(crate) fn are_few(&self) -> bool {
        !self.few_keys.is_empty() && self.by_other_number.is_empty()
    }

    /// The categories of numbers that are among the first few that were looked up; [`UNKNOWN`] for others, and for NaN. One
    /// by one they take several times as long.
    #[inline]
    pub(crate) fn of_few_numbers<T: Scalar, const N: usize>(&self, values: &[T; N]) -> [u32; N] {
        let mut found = [UNKNOWN; N];
        for (&key, &category) in self.few_keys.iter().zip(&self.by_number) {
            let (key, category) = (
                T::from_f64(f64::from_bits(key)),
                category.and_then(|category| u32::try_from(category).ok()).unwrap_or(UNKNOWN),
            );
            for (found, &value) in found.iter_mut().zip(values) {
                *found = if value == key { category } else { *found };
            }
        }
        found
    }

    #[inline(never)]
    fn look_up<T: Scalar>(&mut self, key: u64, value: T) -> Option<usize> {
        if let Some(category) = self.by_other_number.get(&key) {
            return *category;
        }
        let category = self.find(&number_text(value));
        if self.few_keys.len() < FEW {
            self.few_keys.push(key);
            self.by_number.push(category);
        } else if self.by_other_number.len() < MOST_LOOKED_UP {
            self.by_other_number.insert(key, category);
        }
        category
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_value_are_one_category_however_many_there_are() {
        let texts = Arc::new(vec!["a".to_owned(), "1".to_owned()]);
        let mut tally = Tally::new(Arc::clone(&texts), usize::MAX);
        for value in (0..40).map(f64::from).chain([0.0, -0.0, 39.0]) {
            tally.add(CellContent::Number(value));
        }
        [CellContent::Text(0), CellContent::Missing].into_iter().for_each(|cell| tally.add(cell));
        let mut twice = Tally::new(texts, usize::MAX);
        (0..2).for_each(|_| twice.merge(&tally));
        let counts = tally.counts().unwrap();
        assert!(twice.counts().unwrap().iter().all(|(text, count)| *count == 2 * counts[text]));
        assert_eq!(counts.len(), 41);
        assert_eq!((counts["0"], counts["39"], counts["7"], counts["a"]), (3, 2, 1, 1));
    }

    #[test]
    fn more_numbers_than_are_of_use_are_not_counted() {
        for most in [0, 5, FEW, 30] {
            let mut tally = Tally::new(Arc::default(), most);
            (0..most).for_each(|n| tally.add(CellContent::Number(n as f64)));
            assert_eq!(tally.counts().map(|counts| counts.len()), Some(most));
            tally.add(CellContent::Number(-1.0));
            assert!(tally.is_over() && tally.counts().is_none());
        }
    }

    #[test]
    fn categories_are_found_by_text_and_by_number() {
        let names: Vec<String> = (0..40).map(|n| n.to_string()).chain(["a".to_owned()]).collect();
        let mut categories = Categories::new(&names, &["b".to_owned(), "a".to_owned()]);
        assert_eq!((categories.of_text(0), categories.of_text(1)), (None, Some(40)));
        for _ in 0..2 {
            assert_eq!(categories.of_number(-0.0_f64), Some(0));
            assert_eq!(categories.of_number(0.5_f32), None);
            assert!((0..40).all(|n| categories.of_number(n as f32) == Some(n)));
        }
        // -0, 0.5 and the numbers up to 14 were the first few.
        let found = categories.of_few_numbers(&[0.0, -0.0, 7.0, 14.0, 15.0, 0.5, 100.0, f32::NAN]);
        assert_eq!(found, [0, 0, 7, 14, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]);
    }
}
