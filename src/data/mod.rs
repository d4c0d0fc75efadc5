//! Data: CSV files, synthetic sets, and what is done to them before training.

mod category;
mod csv;
mod dataset;
mod encode;
mod facts;
mod features;
mod infer;
mod kept;
mod labels;
mod moments;
mod order;
mod roles;
mod rows;
mod schema;
mod standardize;
mod stream;
mod synthetic;

pub use csv::{CsvOptions, DEFAULT_MISSING, Dialect, Table};
pub use dataset::{Dataset, zero_matrix};
pub use encode::Encoded;
pub use infer::{SchemaOptions, TargetRole};
pub use order::{permutation, random_rows, split};
pub use rows::{InMemory, Order, Pass, RowSource, Visitor};
pub use schema::{Encoding, FeatureColumn, Missing, Schema, Task, Unknown};
pub use standardize::Standardizer;
pub use stream::{CacheOptions, RowCache, RowStream, Share};
pub use synthetic::{Synthetic, SyntheticOptions};
