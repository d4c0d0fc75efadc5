//! Rows of a file that need not fit in memory: read once into a cache, then visited a buffer at a time.

mod build;
mod cache;
mod chunk;
mod columns;
mod format;
mod identity;
mod loader;
mod share;
mod visit;

pub use cache::{CacheOptions, RowCache};
pub use share::Share;
pub use visit::RowStream;
