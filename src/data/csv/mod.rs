//! CSV in: dialect, types and cells, with the line of every row.

mod cell;
mod dialect;
mod lexer;
mod source;
mod table;

pub use cell::DEFAULT_MISSING;
pub use dialect::Dialect;
pub use table::{CsvOptions, Table};

pub(crate) use cell::why_not_a_number;
pub(crate) use table::{CellContent, Column, Cursor, list};
