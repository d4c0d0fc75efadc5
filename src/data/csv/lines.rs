//! The line of each row of a file, in a few bytes for all.

/// The line of each row. Rows on consecutive lines are kept as one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowLines {
    /// The first row of each run, and its line.
    runs: Vec<(u32, u64)>,
    rows: usize,
}

impl RowLines {
    /// From the first row of each run and its line.
    pub(crate) fn from_runs(runs: Vec<(u32, u64)>, rows: usize) -> Self {
        RowLines { runs, rows }
    }

    /// The first row of each run of rows on consecutive lines, and its line.
    pub(crate) fn runs(&self) -> &[(u32, u64)] {
        &self.runs
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, line: u64) {
        let follows = self.runs.last().is_some_and(|&(row, first)| first + (self.rows as u64 - u64::from(row)) == line);
        if !follows {
            self.runs.push((self.rows as u32, line));
        }
        self.rows += 1;
    }

    /// Adds the rows of a part, whose lines count from the line after `before`.
    pub(crate) fn append(&mut self, part: &RowLines, before: u64) {
        for (run, &(row, line)) in part.runs.iter().enumerate() {
            let end = part.runs.get(run + 1).map_or(part.rows, |&(row, _)| row as usize);
            self.push(before + line);
            self.rows += end - row as usize - 1;
        }
    }

    /// The line of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn line(&self, row: usize) -> u64 {
        assert!(row < self.rows, "there are {} rows and no row {row}", self.rows);
        let after = self.runs.partition_point(|&(first, _)| first as usize <= row);
        let (first, line) = self.runs[after - 1];
        line + (row as u64 - u64::from(first))
    }

    /// The line of each row.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        let mut run = 0;
        (0..self.rows).map(move |row| {
            if self.runs.get(run + 1).is_some_and(|&(first, _)| first as usize == row) {
                run += 1;
            }
            let (first, line) = self.runs[run];
            line + (row as u64 - u64::from(first))
        })
    }
}

impl FromIterator<u64> for RowLines {
    fn from_iter<I: IntoIterator<Item = u64>>(lines: I) -> Self {
        let mut all = RowLines::default();
        lines.into_iter().for_each(|line| all.push(line));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_on_consecutive_lines_are_one_run() {
        let lines: RowLines = [2, 3, 4, 7, 8, 3].into_iter().collect();
        assert_eq!(lines.runs, [(0, 2), (3, 7), (5, 3)]);
    }

    proptest! {
        #[test]
        fn every_row_keeps_its_line(lines in prop::collection::vec(0..6u64, 0..40), cut in 0..40usize) {
            let all: RowLines = lines.iter().copied().collect();
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), lines.clone());
            prop_assert_eq!((0..lines.len()).map(|row| all.line(row)).collect::<Vec<_>>(), lines.clone());
            let (head, tail) = lines.split_at(cut.min(lines.len()));
            let mut joined: RowLines = head.iter().copied().collect();
            let shifted: Vec<u64> = tail.iter().map(|line| line + 3).collect();
            joined.append(&tail.iter().copied().collect(), 3);
            prop_assert_eq!(joined, [head, &shifted].concat().into_iter().collect());
        }
    }
}
