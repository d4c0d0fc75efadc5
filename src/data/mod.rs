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
mod schema;
mod standardize;
mod synthetic;

pub use csv::{CsvOptions, DEFAULT_MISSING, Dialect, Table};
pub use dataset::Dataset;
pub use encode::Encoded;
pub use infer::{SchemaOptions, TargetRole};
pub use order::{permutation, random_rows, split};
pub use schema::{Encoding, FeatureColumn, Missing, Schema, Task, Unknown};
pub use standardize::Standardizer;
pub use synthetic::{Synthetic, SyntheticOptions};
