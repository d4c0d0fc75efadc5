//! The rows of a cache, visited a buffer at a time while the next buffer is filled.

use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::cache::RowCache;
use super::loader::{Loader, Loading};
use super::share::Share;
use crate::data::dataset::Dataset;
use crate::data::order::put_shuffled;
use crate::data::rows::{Pass, RowSource, Visitor};
use crate::data::schema::{Schema, Task};
use crate::data::standardize::Standardizer;
use crate::error::{Error, Result};
use crate::kernels::{RowIndex, SideBySide};
use crate::scalar::Scalar;

/// Rows of a cache as data to train or evaluate on.
///
/// Chunks are read in a random order, and the rows of all chunks in a buffer shuffled together: a function of the rows,
/// the seed, the epoch and the memory.
///
/// ```
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
///
/// use gradus::data::{CacheOptions, CsvOptions, Order, Pass, RowCache, RowSource, RowStream, SchemaOptions, Share};
///
/// let (csv, options) = (CsvOptions::default(), SchemaOptions::default());
/// let cache = RowCache::<f32>::parse("a.csv", "x,y\n1,2.5\n2,4.5\n3,6.5\n", &csv, &options, &CacheOptions::default())?;
/// let (schema, _) = cache.infer(&options)?;
/// let mut rows = RowStream::new(&Arc::new(cache), &schema, Share::All, 1 << 20)?;
/// let mut sum = 0.0;
/// rows.visit(Pass { order: Order::Shuffled { seed: 0, epoch: 1 }, multiple: 32 }, &mut |data, order| {
///     sum += order.iter().map(|row| data.row(row)[0]).sum::<f32>();
///     Ok(ControlFlow::Continue(()))
/// })?;
/// assert_eq!(sum, 6.0);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct RowStream<T> {
    cache: Arc<RowCache<T>>,
    schema: Schema,
    feature_names: Vec<String>,
    share: Share,
    rows: usize,
    standardizer: Option<Standardizer>,
    /// The rows of a buffer.
    buffer_rows: usize,
    /// Buffers to use again; `None` has no room yet.
    spare: Vec<Option<Dataset<T>>>,
    /// Room for the order of a buffer's rows.
    row_order: Vec<u32>,
}

impl<T: Scalar> RowStream<T> {
    /// A share of the rows, by the schema that was inferred of them, in two buffers that take half of `memory` bytes.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if the share has no rows.
    pub fn new(cache: &Arc<RowCache<T>>, schema: &Schema, share: Share, memory: usize) -> Result<Self> {
        let rows = match share {
            Share::All => cache.rows(),
            _ => (0..cache.rows()).filter(|&row| share.has(row)).count(),
        };
        if rows == 0 {
            let why = format!("of {} rows none is left: choose another fraction, or another --seed", cache.rows());
            return Err(Error::setting("--validation", why));
        }
        let feature_names = schema.feature_names();
        let target = if schema.task == Task::Multiclass { size_of::<usize>() } else { size_of::<T>() };
        // With a place in an order, though one order serves both buffers: where they end decides how rows are shuffled.
        let row = (feature_names.len() + 1) * size_of::<T>() + target + size_of::<u32>();
        let buffer_rows = (memory / 4 / row).clamp(1, rows);
        let (cache, schema) = (Arc::clone(cache), schema.clone());
        Ok(RowStream {
            cache,
            schema,
            feature_names,
            share,
            rows,
            standardizer: None,
            buffer_rows,
            spare: Vec::new(),
            row_order: Vec::new(),
        })
    }

    /// Standardises the features of every row that is visited. Default: they are as in the file.
    pub fn standardized(mut self, standardizer: Standardizer) -> Self {
        self.standardizer = Some(standardizer);
        self
    }
}

impl<T: Scalar> RowSource<T> for RowStream<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// One: it fills the next buffer.
    fn busy_threads(&self) -> usize {
        1
    }

    fn visit(&mut self, pass: Pass, f: &mut Visitor<'_, T>) -> Result<()> {
        let multiple = pass.multiple.max(1);
        let loading = Loading {
            cache: &self.cache,
            schema: &self.schema,
            feature_names: &self.feature_names,
            share: self.share,
            standardizer: self.standardizer.as_ref(),
            order: pass.order,
            buffer_rows: if self.buffer_rows < multiple {
                self.buffer_rows
            } else {
                self.buffer_rows / multiple * multiple
            },
        };
        let mut buffers = std::mem::take(&mut self.spare);
        buffers.resize_with(2, || None);
        let (done, to_fill) = channel();
        let (filled, to_visit) = sync_channel(1);
        for buffer in buffers {
            done.send(buffer).expect("the receiver is here");
        }
        let RowStream { spare, row_order, .. } = self;
        let (mut loader, mut rng) = Loader::new(loading);
        let side_by_side = &SideBySide::new(2);
        thread::scope(|scope| {
            let loader = scope.spawn(move || {
                let mut spare = Vec::new();
                // Ends when there are no more rows, or nobody takes them.
                for mut buffer in &to_fill {
                    match loader.fill(&mut buffer, || side_by_side.spread(1)) {
                        Ok(true) => {
                            if filled.send(Ok(buffer)).is_err() {
                                break;
                            }
                        }
                        Ok(false) => {
                            spare.push(buffer);
                            break;
                        }
                        Err(error) => {
                            let _ = filled.send(Err(error));
                            break;
                        }
                    }
                }
                drop(filled);
                spare.extend(to_fill);
                spare
            });
            let outcome = to_visit.iter().try_for_each(|buffer| {
                side_by_side.spread(0);
                let buffer: Option<Dataset<T>> = buffer.map_err(Some)?;
                let data = buffer.as_ref().expect("a buffer that was filled");
                // Here, and not where it was filled: that takes longer than most visits.
                let rows = match &mut rng {
                    None => RowIndex::range(0, data.rows()),
                    Some(rng) => {
                        put_shuffled(row_order, data.rows(), rng);
                        RowIndex::list(row_order)
                    }
                };
                let flow = f(data, rows).map_err(Some)?;
                // Who does not listen any more has loaded the last rows.
                let _ = done.send(buffer);
                if flow.is_break() { Err(None) } else { Ok(()) }
            });
            drop((to_visit, done));
            *spare = loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome.or_else(|stopped| stopped.map_or(Ok(()), Err))
        })
    }
}

#[cfg(test)]
#[path = "visit_tests.rs"]
mod tests;
