//! Writes the rows of a CSV file, as they are read, to a cache.

use std::io::{self, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::chunk::Part;
use super::format::{ChunkEntry, Description, Key, head, index};
use super::identity::Identity;
use crate::data::csv::{Before, Block, Heading, MISSING, RowLines, Texts};
use crate::data::facts::ColumnFacts;
use crate::data::roles::Roles;
use crate::scalar::Scalar;

/// A cache that is being written.
pub(super) struct Builder<'w, T> {
    out: &'w mut (dyn Write + Send),
    /// Bytes written.
    position: u64,
    chunks: Vec<ChunkEntry>,
    roles: Roles,
    /// For each column of the file, which of those with a role it is.
    places: Vec<Option<usize>>,
    facts: Vec<ColumnFacts>,
    texts: Vec<Texts>,
    /// Whether rows with a missing value are left out.
    drop_missing: bool,
    file_rows: usize,
    rows: usize,
    chunk_rows: usize,
    /// The chunk that is being filled.
    features: Part<T>,
    labels: Part<T>,
    lines: RowLines,
    bytes: Vec<u8>,
}

impl<'w, T: Scalar> Builder<'w, T> {
    /// Begins a cache of chunks of `chunk_rows` rows.
    pub(super) fn new(
        out: &'w mut (dyn Write + Send),
        heading: &Heading,
        roles: Roles,
        drop_missing: bool,
        chunk_rows: usize,
    ) -> io::Result<Self> {
        let used = roles.used();
        let mut places = vec![None; heading.names.len()];
        used.iter().enumerate().for_each(|(place, &column)| places[column] = Some(place));
        let head = head();
        out.write_all(&head)?;
        Ok(Builder {
            out,
            position: head.len() as u64,
            chunks: Vec::new(),
            roles,
            places,
            facts: vec![ColumnFacts::default(); used.len()],
            texts: vec![Texts::default(); used.len()],
            drop_missing,
            file_rows: 0,
            rows: 0,
            chunk_rows,
            features: Part::default(),
            labels: Part::default(),
            lines: RowLines::default(),
            bytes: Vec::new(),
        })
    }

    /// Adds the next rows.
    pub(super) fn add(&mut self, block: &Block<T>, before: Before) -> io::Result<()> {
        let width = self.places.len();
        // What each column with a role calls the texts of the block's column.
        let mut codes = vec![Vec::new(); self.texts.len()];
        for (texts, place) in block.texts.iter().zip(&self.places) {
            if let Some(place) = *place {
                codes[place] = texts.list().iter().map(|text| self.texts[place].code(text)).collect();
            }
        }
        let mut others = block.others.as_slice();
        // The place and the code of the cells of one row that are not numbers.
        let mut found: Vec<(usize, u32)> = Vec::new();
        for ((row, numbers), line) in block.numbers.chunks_exact(width).enumerate().zip(block.lines.iter()) {
            found.clear();
            while let Some((other, rest)) = others.split_first().filter(|(other, _)| other.row as usize == row) {
                others = rest;
                let Some(place) = self.places[other.column as usize] else { continue };
                let code = if other.code == MISSING { MISSING } else { codes[place][other.code as usize] };
                self.note(place, code, before.lines + line);
                found.push((place, code));
            }
            if !(self.drop_missing && found.iter().any(|(_, code)| *code == MISSING)) {
                self.add_row(numbers, &found, before.lines + line);
                if self.lines.len() == self.chunk_rows {
                    self.write_chunk()?;
                }
            }
        }
        self.file_rows += block.rows();
        Ok(())
    }

    fn note(&mut self, place: usize, code: u32, line: u64) {
        let facts = &mut self.facts[place];
        if code == MISSING {
            facts.missing += 1;
            facts.first_missing.get_or_insert(line);
        } else {
            facts.texts += 1;
            facts.first_text.get_or_insert_with(|| (line, self.texts[place].list()[code as usize].clone()));
        }
    }

    fn add_row(&mut self, numbers: &[T], others: &[(usize, u32)], line: u64) {
        let Roles { target, weight, features } = &self.roles;
        self.features.numbers.extend(features.iter().map(|&column| numbers[column]));
        self.labels.numbers.push(numbers[*target]);
        self.labels.numbers.extend(weight.map(|column| numbers[column]));
        let row = self.lines.len() as u32;
        for &(place, code) in others {
            match place.checked_sub(features.len()) {
                None => self.features.others.push([row, place as u32, code]),
                Some(place) => self.labels.others.push([row, place as u32, code]),
            }
        }
        self.lines.push(line);
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        self.bytes.clear();
        self.labels.write(&self.lines, &mut self.bytes);
        let labels = self.bytes.len();
        self.features.write(&RowLines::default(), &mut self.bytes);
        self.chunks.push(ChunkEntry {
            start: self.position,
            labels: labels as u32,
            features: (self.bytes.len() - labels) as u32,
            labels_hash: xxh3_64(&self.bytes[..labels]),
            features_hash: xxh3_64(&self.bytes[labels..]),
        });
        self.out.write_all(&self.bytes)?;
        self.position += self.bytes.len() as u64;
        self.rows += self.lines.len();
        self.features.clear();
        self.labels.clear();
        self.lines = RowLines::default();
        Ok(())
    }

    /// Writes what is left, and the index.
    pub(super) fn finish(mut self, heading: &Arc<Heading>, key: Key, source: Option<Identity>) -> io::Result<()> {
        if self.lines.len() > 0 {
            self.write_chunk()?;
        }
        for facts in &mut self.facts {
            facts.numbers = self.file_rows - facts.missing - facts.texts;
        }
        let description = Description {
            key,
            source,
            file: heading.file.clone(),
            dialect: heading.dialect,
            names: heading.names.clone(),
            roles: self.roles,
            facts: self.facts,
            texts: self.texts.iter().map(|texts| texts.list().to_vec()).collect(),
            file_rows: self.file_rows,
            rows: self.rows,
            chunk_rows: self.chunk_rows,
        };
        self.out.write_all(&index(&description, &self.chunks, self.position))?;
        self.out.flush()
    }
}
