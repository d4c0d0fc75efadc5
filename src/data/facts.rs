//! What inference asks of a file's columns, whether the file is in memory or not.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::category::Tally;
use super::csv::{Cursor, Heading, Table};
use super::kept::KeptRows;
use super::schema::Missing;
use crate::error::Result;
use crate::scalar::Scalar;

/// What a column holds, in all rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ColumnFacts {
    /// How many cells are numbers.
    pub numbers: usize,
    /// How many cells are missing.
    pub missing: usize,
    /// How many cells are text.
    pub texts: usize,
    /// The line of the first missing cell.
    pub first_missing: Option<u64>,
    /// The first text and its line.
    pub first_text: Option<(u64, String)>,
}

/// A column whose values are to be counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub column: usize,
    /// With more different numbers than this there is no need to know more.
    pub most_numbers: usize,
}

/// What was counted in the rows that are used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// How many rows that is.
    pub rows: usize,
    /// How often each value occurs, for each column wanted; `None` where there were too many.
    pub values: HashMap<usize, Option<HashMap<String, usize>>>,
    /// The mean of each column's numbers, under [`Missing::Mean`].
    pub means: Vec<f64>,
}

/// The columns of a file.
pub(crate) trait Columns {
    /// The file.
    fn heading(&self) -> &Heading;

    /// The number of rows, those that are not used included.
    fn all_rows(&self) -> usize;

    /// What a column holds.
    fn facts(&self, column: usize) -> ColumnFacts;

    /// Counts values in the rows that are used, if the columns `used` must be there.
    fn count(&self, used: &[usize], missing: Missing, wanted: &[Wanted]) -> Result<Counted>;
}

impl<T: Scalar> Columns for Table<T> {
    fn heading(&self) -> &Heading {
        Table::heading(self)
    }

    fn all_rows(&self) -> usize {
        self.rows()
    }

    fn facts(&self, index: usize) -> ColumnFacts {
        let column = self.column(index);
        let line = |row| self.place(row, index).line.expect("rows have lines");
        ColumnFacts {
            numbers: column.numbers,
            missing: column.missing,
            texts: column.text_count(),
            first_missing: column.missing_rows().next().map(line),
            first_text: column.text_rows().next().map(|(row, text)| (line(row), text.to_owned())),
        }
    }

    fn count(&self, used: &[usize], missing: Missing, wanted: &[Wanted]) -> Result<Counted> {
        let rows = KeptRows::of(self, used, missing);
        let values = wanted.iter().map(|wanted| {
            let tally_of = |part: &KeptRows| {
                let mut tally = Tally::new(Arc::clone(&self.column(wanted.column).texts), wanted.most_numbers);
                let mut cursor = Cursor::default();
                for row in part.iter() {
                    tally.add(self.cell(row, wanted.column, &mut cursor));
                    if tally.is_over() {
                        break;
                    }
                }
                tally
            };
            let mut parts = rows.in_parts(tally_of).into_iter();
            let mut tally = parts.next().expect("at least one part");
            parts.for_each(|part| tally.merge(&part));
            (wanted.column, tally.counts())
        });
        let values = values.collect();
        let means = if missing == Missing::Mean { self.means() } else { Vec::new() };
        Ok(Counted { rows: rows.len(), values, means })
    }
}
