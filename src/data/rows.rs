//! Rows to train on, whether they are all in memory or not.

use std::ops::ControlFlow;

use super::dataset::Dataset;
use super::order::{each_shuffled_part, generator_of_epoch};
use crate::error::Result;
use crate::kernels::RowIndex;
use crate::scalar::Scalar;

/// In which order rows are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the file.
    File,
    /// In a random order, a function of the rows, the seed and the epoch.
    Shuffled {
        /// The seed.
        seed: u64,
        /// The epoch, from 1.
        epoch: usize,
    },
}

/// How rows are visited once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// In which order.
    pub order: Order,
    /// Each time but the last a multiple of so many rows is visited, if as many fit in memory: batches of this many rows
    /// are then cut at the same places as in one list of all rows.
    pub multiple: usize,
}

impl Pass {
    /// In the file's order, cut anywhere.
    pub const FILE: Pass = Pass { order: Order::File, multiple: 1 };
}

/// Rows that can be visited again and again.
pub trait RowSource<T: Scalar> {
    /// The number of rows.
    fn rows(&self) -> usize;

    /// The features' names.
    fn feature_names(&self) -> &[String];

    /// The threads that a visit keeps busy besides the caller's. Default: none.
    fn busy_threads(&self) -> usize {
        0
    }

    /// All rows, where they are in memory together: the data set that [`visit`](RowSource::visit) hands over each time, in
    /// every pass, as it is before the first. It is checked once, before a run begins, and training on few rows need not
    /// visit them. Default: they are not.
    fn in_memory(&self) -> Option<&Dataset<T>> {
        None
    }

    /// Visits each row once: calls `f` with rows in memory and which of them to take, in order, until all were visited or `f`
    /// breaks off.
    ///
    /// # Errors
    /// That of `f`, or one of reading the rows.
    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, T>) -> Result<()>;

    /// Visits each row once, in the file's order.
    ///
    /// # Errors
    /// As [`visit`](RowSource::visit).
    fn each_block(&mut self, f: &mut dyn FnMut(&Dataset<T>, RowIndex<'_>) -> Result<()>) -> Result<()> {
        self.visit(Pass::FILE, &mut |data, rows| f(data, rows).map(ControlFlow::Continue))
    }
}

/// What is done with rows in memory, and which of them to take, in order. A data set may come again with others of its rows
/// to take; in the file's order it comes once, and all its rows are taken.
pub type Visitor<'a, T> = dyn FnMut(&Dataset<T>, RowIndex<'_>) -> Result<ControlFlow<()>> + 'a;

/// The most rows of a shuffled data set that are visited at once, unless a batch has more; always whole batches.
const PART_ROWS: usize = 1 << 16;

/// The rows of a data set, all in memory, shuffled as by [`permutation`](super::permutation).
#[derive(Debug, Clone)]
pub struct InMemory<'a, T> {
    data: &'a Dataset<T>,
    /// Room for a part of an order.
    part: Vec<u32>,
}

impl<'a, T: Scalar> InMemory<'a, T> {
    /// The rows of this data set.
    pub fn new(data: &'a Dataset<T>) -> Self {
        InMemory { data, part: Vec::new() }
    }
}

impl<T: Scalar> RowSource<T> for InMemory<'_, T> {
    fn rows(&self) -> usize {
        self.data.rows()
    }

    fn feature_names(&self) -> &[String] {
        self.data.feature_names()
    }

    fn in_memory(&self) -> Option<&Dataset<T>> {
        Some(self.data)
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, T>) -> Result<()> {
        let InMemory { data, part } = self;
        match pass.order {
            Order::File => f(data, RowIndex::range(0, data.rows())).map(drop),
            Order::Shuffled { seed, epoch } => {
                let multiple = pass.multiple.max(1);
                let part_rows = PART_ROWS.max(multiple) / multiple * multiple;
                let rng = &mut generator_of_epoch(seed, epoch);
                each_shuffled_part(part, data.rows(), rng, part_rows, &mut |part| f(data, RowIndex::list(part)))
            }
        }
    }
}

impl<T: Scalar, S: RowSource<T> + ?Sized> RowSource<T> for &mut S {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn feature_names(&self) -> &[String] {
        (**self).feature_names()
    }

    fn busy_threads(&self) -> usize {
        (**self).busy_threads()
    }

    fn in_memory(&self) -> Option<&Dataset<T>> {
        (**self).in_memory()
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, T>) -> Result<()> {
        (**self).visit(pass, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::permutation;
    use ndarray::Array2;

    #[test]
    fn many_rows_are_visited_in_parts_of_whole_batches_in_the_order_of_the_permutation() {
        const ROWS: usize = 150_000;
        let data = Dataset::with_classes(Array2::<f32>::zeros((ROWS, 1)), vec![0; ROWS]).unwrap();
        let mut expected = Vec::new();
        permutation(&mut expected, ROWS, 4, 2);
        let mut rows = InMemory::new(&data);
        for (multiple, counts) in [
            (0, vec![PART_ROWS, PART_ROWS, ROWS - 2 * PART_ROWS]),
            (1_000, vec![65_000, 65_000, 20_000]),
            (100_000, vec![100_000, 50_000]),
            (usize::MAX, vec![ROWS]),
        ] {
            let (mut visited, mut found) = (Vec::new(), Vec::new());
            let pass = Pass { order: Order::Shuffled { seed: 4, epoch: 2 }, multiple };
            rows.visit(pass, &mut |_, part| {
                visited.extend(part.iter().map(|row| row as u32));
                found.push(part.len());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            assert_eq!(found, counts, "multiples of {multiple}");
            assert!(visited == expected, "multiples of {multiple}");
        }
    }
}
