//! CSV in: dialect, types and cells, with the line of every row.

mod block;
mod cell;
mod column;
mod dialect;
mod ends;
mod heading;
mod lexer;
mod lines;
mod number;
mod reader;
mod source;
mod table;
mod turns;

pub use cell::DEFAULT_MISSING;
pub use dialect::Dialect;
pub use reader::CsvOptions;
pub use table::Table;

pub(crate) use block::Block;
pub(crate) use cell::why_not_a_number;
pub(crate) use column::{CellContent, Column, Cursor, MISSING, Texts};
pub(crate) use heading::{Heading, list};
pub(crate) use lines::RowLines;
pub(crate) use reader::{Before, Reader};
pub(crate) use source::{Input, open};
