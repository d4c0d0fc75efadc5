//! Which rows of a table are used.

use std::ops::Range;

use rayon::prelude::*;

use super::csv::Table;
use super::schema::Missing;
use crate::error::Result;
use crate::scalar::Scalar;

/// Rows that one thread works on at a time.
const PART: usize = 1 << 16;

/// The rows of a table that are used, in their order.
#[derive(Debug, Clone)]
pub(crate) enum KeptRows {
    /// Those from one to before another.
    Range(Range<usize>),
    /// These.
    These(Vec<u32>),
}

impl KeptRows {
    /// All, or under [`Missing::Drop`] those with no missing value in the columns needed.
    pub(crate) fn of<T: Scalar>(table: &Table<T>, needed: &[usize], missing: Missing) -> Self {
        let gaps = || needed.iter().flat_map(|&column| table.column(column).missing_rows());
        if missing != Missing::Drop || gaps().next().is_none() {
            return KeptRows::Range(0..table.rows());
        }
        let mut keep = vec![true; table.rows()];
        gaps().for_each(|row| keep[row] = false);
        KeptRows::These((0..table.rows() as u32).filter(|&row| keep[row as usize]).collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            KeptRows::Range(rows) => rows.len(),
            KeptRows::These(rows) => rows.len(),
        }
    }

    /// The row of the table that is kept as this one.
    pub(crate) fn row(&self, index: usize) -> usize {
        match self {
            KeptRows::Range(rows) => rows.start + index,
            KeptRows::These(rows) => rows[index] as usize,
        }
    }

    /// As which a row is kept, if it is.
    pub(crate) fn index(&self, row: usize) -> Option<usize> {
        match self {
            KeptRows::Range(rows) => rows.contains(&row).then(|| row - rows.start),
            KeptRows::These(rows) => rows.binary_search(&(row as u32)).ok(),
        }
    }

    /// Those kept as these.
    pub(crate) fn part(&self, indices: Range<usize>) -> KeptRows {
        match self {
            KeptRows::Range(rows) => KeptRows::Range(rows.start + indices.start..rows.start + indices.end),
            KeptRows::These(rows) => KeptRows::These(rows[indices].to_vec()),
        }
    }

    /// What `work` makes of parts of the rows, in the rows' order. Many rows are shared among threads.
    pub(crate) fn in_parts<R: Send>(&self, work: impl Fn(&KeptRows) -> R + Sync) -> Vec<R> {
        if self.len() <= PART {
            return vec![work(self)];
        }
        let parts = (0..self.len().div_ceil(PART)).into_par_iter();
        parts.map(|part| work(&self.part(part * PART..self.len().min((part + 1) * PART)))).collect()
    }

    /// A value for each row, found by `fill` for parts of the rows. Many rows are shared among threads.
    ///
    /// # Errors
    /// The first, in the rows' order.
    pub(crate) fn values<R: Default + Clone + Send>(
        &self,
        fill: impl Fn(&KeptRows, &mut [R]) -> Result<()> + Sync,
    ) -> Result<Vec<R>> {
        let mut values = vec![R::default(); self.len()];
        if self.len() <= PART {
            fill(self, &mut values)?;
        } else {
            let parts = values.par_chunks_mut(PART).enumerate();
            let fill = |(part, of_part): (usize, &mut [R])| {
                fill(&self.part(part * PART..part * PART + of_part.len()), of_part)
            };
            // All parts, so that the error is that of the first row at fault.
            parts.map(fill).collect::<Vec<_>>().into_iter().collect::<Result<()>>()?;
        }
        Ok(values)
    }

    /// The rows, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|index| self.row(index))
    }
}
