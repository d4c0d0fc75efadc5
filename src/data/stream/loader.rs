//! Fills buffers with the rows of a cache, in the order of a pass.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::cache::{Chunk, RowCache};
use super::share::Share;
use crate::data::csv::RowLines;
use crate::data::dataset::Dataset;
use crate::data::encode::EncodedRows;
use crate::data::kept::KeptRows;
use crate::data::labels::TargetColumn;
use crate::data::order::generator_of_epoch;
use crate::data::rows::Order;
use crate::data::schema::Schema;
use crate::data::standardize::Standardizer;
use crate::error::Result;
use crate::scalar::Scalar;

/// Which rows are loaded, and how.
#[derive(Debug)]
pub(super) struct Loading<'a, T> {
    pub cache: &'a RowCache<T>,
    pub schema: &'a Schema,
    pub feature_names: &'a [String],
    pub share: Share,
    pub standardizer: Option<&'a Standardizer>,
    pub order: Order,
    /// The rows of a buffer.
    pub buffer_rows: usize,
}

/// The way of one pass through a cache.
pub(super) struct Loader<'a, T> {
    loading: Loading<'a, T>,
    /// The chunks still to come, the next one last.
    chunks: Vec<u32>,
    current: Option<Current<T>>,
    bytes: Vec<u8>,
}

/// A chunk that was read, and which of its rows are still to be loaded.
struct Current<T> {
    chunk: Chunk<T>,
    rows: KeptRows,
    next: usize,
}

impl<'a, T: Scalar> Loader<'a, T> {
    /// With the generator that goes on to shuffle the rows of each buffer, if they are to be.
    pub(super) fn new(loading: Loading<'a, T>) -> (Self, Option<ChaCha8Rng>) {
        let mut chunks: Vec<u32> = (0..loading.cache.chunk_count() as u32).rev().collect();
        let mut rng = None;
        if let Order::Shuffled { seed, epoch } = loading.order {
            chunks.shuffle(rng.insert(generator_of_epoch(seed, epoch)));
        }
        (Loader { loading, chunks, current: None, bytes: Vec::new() }, rng)
    }

    /// Fills a buffer, which may have room of earlier rows, with the next ones; `false` if there are none. `between` is called
    /// before each chunk is read.
    pub(super) fn fill(&mut self, buffer: &mut Option<Dataset<T>>, between: impl Fn()) -> Result<bool> {
        if self.current.is_none() && self.chunks.is_empty() {
            return Ok(false); // With the buffer as it is, to be used again.
        }
        let width = self.loading.feature_names.len();
        let mut rows = buffer.take().map_or_else(empty, Dataset::into_encoded);
        rows.features.clear();
        rows.weights.iter_mut().for_each(Vec::clear);
        rows.lines = RowLines::default();
        match &mut rows.targets {
            TargetColumn::Values(values) => values.clear(),
            TargetColumn::Classes(classes) => classes.clear(),
        }
        rows.features.reserve_exact(self.loading.buffer_rows * width);
        while rows.lines.len() < self.loading.buffer_rows {
            if self.current.is_none() {
                let Some(index) = self.chunks.pop() else { break };
                between();
                self.current = Some(self.read(index as usize)?);
            }
            let Some(current) = &mut self.current else { break };
            let count = (self.loading.buffer_rows - rows.lines.len()).min(current.rows.len() - current.next);
            let part = current.rows.part(current.next..current.next + count);
            let start = rows.features.len();
            self.loading.schema.append((&current.chunk.0, &current.chunk.1), &part, &mut rows)?;
            // While they are in the cache.
            if let Some(standardizer) = self.loading.standardizer {
                standardizer.apply_to(&mut rows.features[start..]);
            }
            current.next += count;
            if current.next == current.rows.len() {
                self.current = None;
            }
        }
        if rows.lines.len() == 0 {
            return Ok(false);
        }
        let (names, file) = (self.loading.feature_names.to_vec(), self.loading.cache.file());
        *buffer = Some(Dataset::from_encoded(rows, names, file)?.target_named(&self.loading.schema.target));
        Ok(true)
    }

    fn read(&mut self, index: usize) -> Result<Current<T>> {
        let cache = self.loading.cache;
        let chunk = cache.chunk(index, &mut self.bytes)?;
        let rows = self.loading.share.of_chunk(cache.first_row(index), chunk.1.rows());
        Ok(Current { chunk, rows, next: 0 })
    }
}

fn empty<T>() -> EncodedRows<T> {
    EncodedRows {
        features: Vec::new(),
        targets: TargetColumn::Values(Vec::new()),
        weights: None,
        lines: RowLines::default(),
    }
}
