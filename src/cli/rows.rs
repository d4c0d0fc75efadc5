//! Rows to train on, in memory or streamed from a file: what `train` asks of both.

use gradus::data::{InMemory, RowSource};
use gradus::{Dataset, Result, Scalar};

use super::least_squares::Comparison;
use super::prepare::Prepared;

/// Rows to train on.
pub trait TrainingRows<T: Scalar>: Sized {
    /// How many.
    fn count(&self) -> usize;

    /// The features' names.
    fn names(&self) -> &[String];

    /// The rows, to be visited.
    fn source(&mut self) -> Box<dyn RowSource<T> + '_>;

    /// Gives rows whose classes were balanced by their weights their own weights back: what is measured is not balanced.
    fn unbalance(_prepared: &mut Prepared<T, Self>) -> Result<()> {
        Ok(())
    }

    /// A trained model beside least squares; `None` where that cannot be told, as of rows that are not in memory.
    fn compare(_prepared: &Prepared<T, Self>, _reached: f64) -> Result<Option<Comparison>> {
        Ok(None)
    }
}

impl<T: Scalar> TrainingRows<T> for Dataset<T> {
    fn count(&self) -> usize {
        self.rows()
    }

    fn names(&self) -> &[String] {
        self.feature_names()
    }

    fn source(&mut self) -> Box<dyn RowSource<T> + '_> {
        Box::new(InMemory::new(self))
    }

    fn unbalance(prepared: &mut Prepared<T>) -> Result<()> {
        prepared.unbalance()
    }

    fn compare(prepared: &Prepared<T>, reached: f64) -> Result<Option<Comparison>> {
        Comparison::of(prepared, reached)
    }
}
