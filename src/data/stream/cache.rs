//! The rows of a CSV file in a form that is read again fast.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::build::Builder;
use super::chunk;
use super::format::{ChunkEntry, Description, Key, Refusal, read_index};
use super::identity::{Change, ContentHash, Identity};
use crate::data::csv::{CsvOptions, Dialect, Heading, Input, Reader, Table, open};
use crate::data::facts::ColumnFacts;
use crate::data::infer::SchemaOptions;
use crate::data::kept::KeptRows;
use crate::data::roles::Roles;
use crate::data::schema::Missing;
use crate::error::{Error, ErrorKind, Result};
use crate::files::AtomicFile;
use crate::scalar::Scalar;

/// Where rows are kept, and with how much memory.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// The memory to get by with, in bytes. Default: 256 MiB.
    pub memory: usize,
    /// A file to keep the rows in, and to read them from as long as the CSV file is unchanged. Default: a temporary file.
    pub file: Option<PathBuf>,
    /// The bytes of a chunk, about. Default: 1 MiB.
    pub chunk: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions { memory: 256 << 20, file: None, chunk: 1 << 20 }
    }
}

/// The rows of a CSV file that have all values needed, in a file that is read a chunk at a time.
///
/// Each chunk has a checksum, which is verified when it is read.
#[derive(Debug)]
pub struct RowCache<T> {
    /// What messages call the file.
    path: PathBuf,
    file: Mutex<File>,
    chunks: Vec<ChunkEntry>,
    pub(super) heading: Arc<Heading>,
    pub(super) roles: Roles,
    /// What each column with a role holds, in all rows of the file.
    pub(super) facts: Vec<ColumnFacts>,
    pub(super) features: Columned,
    pub(super) labels: Columned,
    file_rows: usize,
    rows: usize,
    chunk_rows: usize,
    number: PhantomData<T>,
}

/// The columns of one part of each chunk.
#[derive(Debug)]
pub(super) struct Columned {
    heading: Arc<Heading>,
    pub texts: Vec<Arc<Vec<String>>>,
}

/// Features and labels of a chunk's rows.
pub(super) type Chunk<T> = (Table<T>, Table<T>);

/// What messages call a file without a name.
const TEMPORARY: &str = "the temporary cache";

impl<T: Scalar> RowCache<T> {
    /// Reads a CSV file, or standard input for `-`, into a cache, or takes the cache that was made of it before; with
    /// remarks on which. `schema` says which columns are needed.
    ///
    /// # Errors
    /// Those of [`Table::read`] and of names in `schema`; [`CacheFile`](ErrorKind::CacheFile) for a cache that is
    /// damaged, of another file, or no cache.
    pub fn read(
        path: impl AsRef<Path>,
        csv: &CsvOptions,
        schema: &SchemaOptions,
        options: &CacheOptions,
    ) -> Result<(Self, Vec<String>)> {
        let path = path.as_ref();
        let mut notes = Vec::new();
        let Some(file) = &options.file else {
            let (input, length) = open(path)?;
            return Ok((RowCache::temporary(&path.to_string_lossy(), input, length, csv, schema, options)?, notes));
        };
        if path == Path::new("-") {
            return Err(Error::setting("--cache", "standard input cannot be compared with it later: leave it out"));
        }
        if file.exists() {
            match RowCache::reuse(file, path, &Key::new(T::NAME, csv, schema))? {
                Ok(cache) => return Ok((cache, notes)),
                Err(note) => notes.push(note),
            }
        }
        let mut out = AtomicFile::create(file)?;
        let unreadable = |error| Error::io(path, "read", error);
        let before = std::fs::metadata(path).map_err(unreadable)?;
        let (input, length) = open(path)?;
        let hash = ContentHash::default();
        let reader = Reader::new(&path.to_string_lossy(), Box::new(hash.reading(input)), length, csv)?;
        let identity = || Identity::of(path, hash.digest(), &before).map(Some).map_err(unreadable);
        write::<T>(reader, (csv, schema, options), &mut out, file, identity)?;
        out.commit()?;
        let opened = File::open(file).map_err(|error| Error::io(file, "read", error))?;
        Ok((RowCache::open(file, opened)?.0, notes))
    }

    /// The same for CSV text; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`read`](RowCache::read).
    pub fn parse(
        file: &str,
        text: &str,
        csv: &CsvOptions,
        schema: &SchemaOptions,
        options: &CacheOptions,
    ) -> Result<Self> {
        RowCache::temporary(file, Box::new(text.as_bytes()), Some(text.len() as u64), csv, schema, options)
    }

    fn temporary(
        name: &str,
        input: Input<'_>,
        length: Option<u64>,
        csv: &CsvOptions,
        schema: &SchemaOptions,
        options: &CacheOptions,
    ) -> Result<Self> {
        let path = Path::new(TEMPORARY);
        // It has no name in any folder, so that nothing is left of it however the process ends.
        let mut file = tempfile::tempfile().map_err(|error| Error::io(path, "write", error))?;
        let reader = Reader::new(name, input, length, csv)?;
        write::<T>(reader, (csv, schema, options), &mut file, path, || Ok(None))?;
        Ok(RowCache::open(path, file)?.0)
    }

    /// A cache that was made before, or why it has to be made anew.
    fn reuse(file: &Path, data: &Path, key: &Key) -> Result<std::result::Result<Self, String>> {
        let opened = File::open(file).map_err(|error| Error::io(file, "read", error))?;
        let (cache, of, source) = RowCache::open(file, opened)?;
        let change = source.map(|source| source.compare(data)).transpose();
        let anew = |why: &str| Ok(Err(format!("the cache {} is made anew: {why}", file.display())));
        match change.map_err(|error| Error::io(data, "read", error))? {
            Some(Change::None) if of == *key => Ok(Ok(cache)),
            Some(Change::None) => anew("it was made with other options"),
            Some(Change::Content) => anew(&format!("{} has changed since it was made", data.display())),
            other => {
                let made = if let Some(Change::Other(made)) = other { made } else { "another source".into() };
                let what = format!("a cache of {made}, not of {}", data.display());
                Err(unusable(file, what, "name another file in --cache, or delete this one"))
            }
        }
    }

    fn open(path: &Path, mut file: File) -> Result<(Self, Key, Option<Identity>)> {
        let (description, chunks) = read_index(&mut file).map_err(|refusal| refused(path, refusal))?;
        let Description { key, source, file: name, dialect, names, roles, facts, texts, file_rows, rows, chunk_rows } =
            description;
        let used = roles.used();
        let whole = used.iter().all(|&column| column < names.len())
            && (facts.len(), texts.len()) == (used.len(), used.len())
            && chunks.len() == rows.div_ceil(chunk_rows.max(1));
        if !whole {
            return Err(refused(path, Refusal::Damaged));
        }
        let heading = Arc::new(Heading { file: name, dialect, names });
        let mut texts: Vec<_> = texts.into_iter().map(Arc::new).collect();
        let label_texts = texts.split_off(roles.features.len().min(texts.len()));
        let part = |columns: &[usize], texts| {
            let names = columns.iter().map(|&column| heading.names[column].clone()).collect();
            Columned { heading: Arc::new(Heading { names, ..(*heading).clone() }), texts }
        };
        let labels: Vec<usize> = [roles.target].into_iter().chain(roles.weight).collect();
        let cache = RowCache {
            path: path.to_owned(),
            file: Mutex::new(file),
            chunks,
            features: part(&roles.features, texts),
            labels: part(&labels, label_texts),
            heading,
            roles,
            facts,
            file_rows,
            rows,
            chunk_rows,
            number: PhantomData,
        };
        Ok((cache, key, source))
    }
}

impl<T: Scalar> RowCache<T> {
    /// What messages call the CSV file.
    pub fn file(&self) -> &str {
        &self.heading.file
    }

    /// How the CSV file is written.
    pub fn dialect(&self) -> Dialect {
        self.heading.dialect
    }

    /// The columns' names, in the file's order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.heading.names.iter().map(String::as_str)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows of the CSV file, those left out for a missing value included.
    pub fn file_rows(&self) -> usize {
        self.file_rows
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// The first row of a chunk.
    pub(super) fn first_row(&self, index: usize) -> usize {
        index * self.chunk_rows
    }

    /// The labels of a chunk's rows.
    pub(super) fn labels(&self, index: usize, bytes: &mut Vec<u8>) -> Result<Table<T>> {
        let entry = self.chunks[index];
        self.fetch(entry.start, entry.labels as usize, bytes)?;
        self.labels_of(index, bytes)
    }

    /// The features and the labels of a chunk's rows.
    pub(super) fn chunk(&self, index: usize, bytes: &mut Vec<u8>) -> Result<Chunk<T>> {
        let entry = self.chunks[index];
        self.fetch(entry.start, entry.labels as usize + entry.features as usize, bytes)?;
        let (labels, features) = bytes.split_at(entry.labels as usize);
        let labels = self.labels_of(index, labels)?;
        let lines = labels.row_lines(&KeptRows::Range(0..labels.rows()));
        let Columned { heading, texts } = &self.features;
        let features = (xxh3_64(features) == entry.features_hash)
            .then(|| chunk::read(features, labels.rows(), heading, texts, Some(&lines)))
            .flatten();
        Ok((features.ok_or_else(|| refused(&self.path, Refusal::Damaged))?, labels))
    }

    fn labels_of(&self, index: usize, bytes: &[u8]) -> Result<Table<T>> {
        let rows = self.chunk_rows.min(self.rows - self.first_row(index));
        let Columned { heading, texts } = &self.labels;
        let labels = (xxh3_64(bytes) == self.chunks[index].labels_hash)
            .then(|| chunk::read(bytes, rows, heading, texts, None))
            .flatten();
        labels.ok_or_else(|| refused(&self.path, Refusal::Damaged))
    }

    fn fetch(&self, start: u64, length: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.resize(length, 0);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(bytes));
        read.map_err(|error| refused(&self.path, error.into()))
    }
}

/// Writes the rows of a CSV file to a cache file, which messages call `path`.
fn write<T: Scalar>(
    mut reader: Reader<'_>,
    (csv, schema, options): (&CsvOptions, &SchemaOptions, &CacheOptions),
    out: &mut (dyn Write + Send),
    path: &Path,
    source: impl FnOnce() -> Result<Option<Identity>>,
) -> Result<()> {
    let unwritable = |error| Error::io(path, "write", error);
    // A thread has a block and a few results at a time, of about 1 MB each.
    reader.limit_threads((options.memory >> 23).max(1));
    let heading = Arc::clone(&reader.heading);
    let roles = Roles::find(&heading, schema)?;
    let chunk_rows = (options.chunk.min(1 << 26) / (roles.used().len() * size_of::<T>())).max(1);
    let drop_missing = schema.missing == Missing::Drop;
    let mut builder = Builder::<T>::new(out, &heading, roles, drop_missing, chunk_rows).map_err(unwritable)?;
    reader.read(|block, before| builder.add(block, before).map_err(unwritable), || {})?;
    builder.finish(&heading, Key::new(T::NAME, csv, schema), source()?).map_err(unwritable)
}

fn refused(path: &Path, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Foreign => unusable(path, "this is no cache of gradus".into(), "name another file in --cache"),
        Refusal::Newer(version) => {
            unusable(path, format!("cache format version {version}, not 1"), "delete the file, and it is made anew")
        }
        Refusal::Damaged => unusable(path, "the cache is damaged".into(), "delete the file, and it is made anew"),
        Refusal::Io(error) => Error::io(path, "read", error),
    }
}

fn unusable(path: &Path, what: String, help: &str) -> Error {
    ErrorKind::CacheFile { path: path.to_owned(), what, help: help.into() }.into()
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
