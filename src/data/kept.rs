//! Which rows of a table are used.

use super::csv::Table;
use super::schema::Missing;
use crate::scalar::Scalar;

/// The rows of a table that are used, in their order.
#[derive(Debug, Clone)]
pub(crate) enum KeptRows {
    /// All of this many.
    All(usize),
    /// These.
    Some(Vec<u32>),
}

impl KeptRows {
    /// All, or under [`Missing::Drop`] those with no missing value in the columns needed.
    pub(crate) fn of<T: Scalar>(table: &Table<T>, needed: &[usize], missing: Missing) -> Self {
        let gaps = || needed.iter().flat_map(|&column| table.column(column).missing_rows());
        if missing != Missing::Drop || gaps().next().is_none() {
            return KeptRows::All(table.rows());
        }
        let mut keep = vec![true; table.rows()];
        gaps().for_each(|row| keep[row] = false);
        KeptRows::Some((0..table.rows() as u32).filter(|&row| keep[row as usize]).collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            KeptRows::All(rows) => *rows,
            KeptRows::Some(rows) => rows.len(),
        }
    }

    /// The row of the table that is kept as this one.
    pub(crate) fn row(&self, index: usize) -> usize {
        match self {
            KeptRows::All(_) => index,
            KeptRows::Some(rows) => rows[index] as usize,
        }
    }

    /// Whether a row is kept.
    pub(crate) fn contains(&self, row: usize) -> bool {
        match self {
            KeptRows::All(rows) => row < *rows,
            KeptRows::Some(rows) => rows.binary_search(&(row as u32)).is_ok(),
        }
    }

    /// The rows, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|index| self.row(index))
    }
}
