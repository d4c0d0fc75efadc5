//! A source of rows as a user may write one.

use gradus::data::{InMemory, Pass, RowSource, Visitor};
use gradus::{Result, Scalar};

/// Rows in memory that do not say so.
pub struct Elsewhere<'a, T>(pub InMemory<'a, T>);

impl<T: Scalar> RowSource<T> for Elsewhere<'_, T> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn feature_names(&self) -> &[String] {
        self.0.feature_names()
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, T>) -> Result<()> {
        self.0.visit(pass, f)
    }
}
