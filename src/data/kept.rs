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
        self.fill(&mut values, 1, PART, fill)?;
        Ok(values)
    }

    /// Has `fill` write `width` values for each row to `out`, for `part` rows at a time. More rows are shared among threads.
    ///
    /// # Errors
    /// The first, in the rows' order.
    pub(crate) fn fill<R: Send>(
        &self,
        out: &mut [R],
        width: usize,
        part: usize,
        fill: impl Fn(&KeptRows, &mut [R]) -> Result<()> + Sync,
    ) -> Result<()> {
        assert_eq!(out.len(), self.len() * width, "{width} values for each row");
        if self.len() <= part || width == 0 {
            return fill(self, out);
        }
        let fill = |(index, out): (usize, &mut [R])| {
            let first = index * part;
            fill(&self.part(first..first + out.len() / width), out)
        };
        // All parts, so that the error is that of the first row at fault.
        let parts: Vec<Result<()>> = out.par_chunks_mut(part * width).enumerate().map(fill).collect();
        parts.into_iter().collect()
    }

    /// The rows, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|index| self.row(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn values_stand_in_the_order_of_the_rows_and_the_first_error_is_told() {
        for count in [0, 5, PART, 2 * PART + 5] {
            let rows: Vec<usize> = (0..count).map(|index| 3 + 2 * index).collect();
            let these = KeptRows::These(rows.iter().map(|&row| row as u32).collect());
            for (keep, rows) in [(these, rows), (KeptRows::Range(7..7 + count), (7..7 + count).collect())] {
                let fill = |part: &KeptRows, values: &mut [usize]| {
                    part.iter().zip(values).for_each(|(row, value)| *value = row);
                    Ok(())
                };
                assert!(keep.values(fill).unwrap() == rows);
                let refuse = |part: &KeptRows, _: &mut [usize]| match part.iter().find(|row| row % 5 == 3) {
                    Some(row) => Err(Error::setting("row", row.to_string())),
                    None => Ok(()),
                };
                let refused = keep.values(refuse).err().map(|error| error.to_string());
                assert_eq!(refused, rows.iter().find(|&row| row % 5 == 3).map(|row| format!("row: {row}")));
            }
        }
    }
}
