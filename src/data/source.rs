//! Rows in blocks: all at once from memory, or one block after another from a file larger than memory.

use std::ops::ControlFlow;

use super::dataset::Dataset;
use super::order::permutation;
use crate::error::Result;
use crate::kernels::RowIndex;

/// In which order rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they stand in the file.
    File,
    /// At random, as a function of the seed, the epoch (from 1) and the source alone.
    Shuffled {
        /// The seed.
        seed: u64,
        /// The epoch, from 1.
        epoch: usize,
    },
}

/// What is done with a block: the rows of `rows`, in their order, of a data set. `Break` ends the visit.
pub type Visit<'a, T> = dyn FnMut(&Dataset<T>, RowIndex<'_>) -> Result<ControlFlow<()>> + 'a;

/// Rows to train or measure on, visited in blocks.
pub trait RowSource<T> {
    /// How many rows a visit comes by.
    fn rows(&self) -> usize;

    /// The features' names.
    fn feature_names(&self) -> &[String];

    /// Gives every row to `visit` once, in blocks.
    ///
    /// # Errors
    /// Whatever `visit` returns, or what reading the rows meets.
    fn visit(&mut self, order: Order, visit: &mut Visit<'_, T>) -> Result<()>;

    /// Gives every block in the file's order to `visit`, whole.
    ///
    /// # Errors
    /// As [`visit`](RowSource::visit).
    fn each_block(&mut self, visit: &mut dyn FnMut(&Dataset<T>, RowIndex<'_>) -> Result<()>) -> Result<()> {
        self.visit(Order::File, &mut |data, rows| visit(data, rows).map(ControlFlow::Continue))
    }
}

/// A data set as one block.
#[derive(Debug)]
pub struct InMemory<'a, T> {
    data: &'a Dataset<T>,
    /// The order of the last visit, to be written over by the next.
    order: Vec<u32>,
}

impl<'a, T> InMemory<'a, T> {
    /// All rows of a data set.
    pub fn new(data: &'a Dataset<T>) -> Self {
        InMemory { data, order: Vec::new() }
    }
}

impl<T: crate::Scalar> RowSource<T> for InMemory<'_, T> {
    fn rows(&self) -> usize {
        self.data.rows()
    }

    fn feature_names(&self) -> &[String] {
        self.data.feature_names()
    }

    fn visit(&mut self, order: Order, visit: &mut Visit<'_, T>) -> Result<()> {
        // One block: it makes no difference whether the visit goes on.
        let _ = match order {
            Order::File => visit(self.data, RowIndex::Range { start: 0, len: self.data.rows() })?,
            Order::Shuffled { seed, epoch } => {
                permutation(&mut self.order, self.data.rows(), seed, epoch);
                visit(self.data, RowIndex::List(&self.order))?
            }
        };
        Ok(())
    }
}
