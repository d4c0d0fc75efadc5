//! A cache file: a head, the chunks, an index of them, and a foot by which the index is found.
//!
//! ```text
//! "gradus cache\0\0\0\0"  version: u32
//! labels, features        of each chunk
//! description             JSON; where the chunks are: 32 bytes each
//! start of the description: u64  its length: u64  length of all: u64  hash of all of the index and the foot: u64
//! ```
//! All numbers have the least significant byte first. Every byte is a part of something that is compared or hashed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::identity::Identity;
use crate::data::csv::{CsvOptions, Dialect};
use crate::data::facts::ColumnFacts;
use crate::data::infer::SchemaOptions;
use crate::data::roles::Roles;
use crate::data::schema::Missing;

const MAGIC: [u8; 16] = *b"gradus cache\0\0\0\0";
const VERSION: u32 = 1;
const HEAD: usize = 20;
const FOOT: usize = 32;

/// What a cache was made with. With any of it different it would have other rows or columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    dtype: String,
    delimiter: Option<u8>,
    header: Option<bool>,
    expected_names: Vec<String>,
    comment: Option<u8>,
    missing_markers: Vec<String>,
    target: Option<String>,
    features: Option<Vec<String>>,
    drop: Vec<String>,
    sample_weight: Option<String>,
    missing: Missing,
}

impl Key {
    pub(super) fn new(dtype: &str, csv: &CsvOptions, schema: &SchemaOptions) -> Self {
        Key {
            dtype: dtype.to_owned(),
            delimiter: csv.delimiter,
            header: csv.header,
            expected_names: csv.expected_names.clone(),
            comment: csv.comment,
            missing_markers: csv.missing_markers.clone(),
            target: schema.target.clone(),
            features: schema.features.clone(),
            drop: schema.drop.clone(),
            sample_weight: schema.sample_weight.clone(),
            missing: schema.missing,
        }
    }
}

/// What a cache holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub key: Key,
    /// The CSV file it was made of, where there was one.
    pub source: Option<Identity>,
    /// What messages call it.
    pub file: String,
    pub dialect: Dialect,
    pub names: Vec<String>,
    pub roles: Roles,
    /// What each column with a role holds, and its texts: the features, the target, the sample weight.
    pub facts: Vec<ColumnFacts>,
    pub texts: Vec<Vec<String>>,
    /// The rows of the file, those of the cache, and those of each of its chunks but the last.
    pub file_rows: usize,
    pub rows: usize,
    pub chunk_rows: usize,
}

/// Where a chunk stands, and the hashes of its two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkEntry {
    pub start: u64,
    pub labels: u32,
    pub features: u32,
    pub labels_hash: u64,
    pub features_hash: u64,
}

/// Why a file is not a usable cache.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is something else.
    Foreign,
    /// It has a later format.
    Newer(u32),
    Damaged,
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::Damaged,
            _ => Refusal::Io(error),
        }
    }
}

/// What a cache file begins with.
pub(super) fn head() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

/// What a cache file with `start` bytes of head and chunks ends with.
pub(super) fn index(description: &Description, chunks: &[ChunkEntry], start: u64) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(description).expect("strings and numbers can be written");
    let length = bytes.len() as u64;
    for chunk in chunks {
        bytes.extend(chunk.start.to_le_bytes());
        bytes.extend(chunk.labels.to_le_bytes());
        bytes.extend(chunk.features.to_le_bytes());
        bytes.extend(chunk.labels_hash.to_le_bytes());
        bytes.extend(chunk.features_hash.to_le_bytes());
    }
    let total = start + (bytes.len() + FOOT) as u64;
    [start, length, total].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// Reads the index of a cache file.
pub(super) fn read_index(file: &mut File) -> Result<(Description, Vec<ChunkEntry>), Refusal> {
    let total = file.metadata()?.len();
    let mut head = Vec::new();
    file.rewind()?;
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    if head.len() < HEAD || head[..MAGIC.len()] != MAGIC {
        return Err(Refusal::Foreign);
    }
    let version = u32::from_le_bytes(head[MAGIC.len()..].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(Refusal::Newer(version));
    }
    let mut foot = [0; FOOT];
    let before_foot = total.checked_sub(FOOT as u64).ok_or(Refusal::Damaged)?;
    file.seek(SeekFrom::Start(before_foot))?;
    file.read_exact(&mut foot)?;
    let number = |at: usize| u64::from_le_bytes(foot[at..at + 8].try_into().expect("eight bytes"));
    let (start, length, hash) = (number(0), number(8), number(24));
    let size = before_foot.checked_sub(start).filter(|size| length <= *size && number(16) == total);
    let mut bytes = vec![0; size.ok_or(Refusal::Damaged)? as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    let mut found = Xxh3::new();
    found.update(&bytes);
    found.update(&foot[..24]);
    if found.digest() != hash {
        return Err(Refusal::Damaged);
    }
    let (json, entries) = bytes.split_at(length as usize);
    let description = serde_json::from_slice(json).map_err(|_| Refusal::Damaged)?;
    let entry = |bytes: &[u8]| {
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (labels_hash, features_hash) = (long(16), long(24));
        ChunkEntry { start: long(0), labels: short(8), features: short(12), labels_hash, features_hash }
    };
    Ok((description, entries.chunks_exact(32).map(entry).collect()))
}
