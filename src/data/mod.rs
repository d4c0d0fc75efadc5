//! Data: CSV files, synthetic sets, and what is done to them before training.

mod category;
mod csv;
mod dataset;
mod encode;
mod infer;
mod kept;
mod moments;
mod order;
mod schema;
mod source;
mod standardize;
mod synthetic;

pub use csv::{CsvOptions, DEFAULT_MISSING, Dialect, Table};
pub use dataset::Dataset;
pub use encode::Encoded;
pub use infer::{SchemaOptions, TargetRole};
pub use order::{permutation, random_rows, split};
pub use schema::{Encoding, FeatureColumn, Missing, Schema, Task, Unknown};
pub use source::{InMemory, Order, RowSource, Visit};
pub use standardize::Standardizer;
pub use synthetic::{Synthetic, SyntheticOptions};
