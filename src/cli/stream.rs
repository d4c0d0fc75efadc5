//! `--stream`: training on a file larger than memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use gradus::data::{CacheOptions, RowCache, RowSource, RowStream, Schema, SchemaOptions, Share, Standardizer};
use gradus::remarks::remark;
use gradus::{Error, Result, Scalar};

use super::losses::{Entry, LossSettings};
use super::options::{SourceOptions, Validation};
use super::prepare::{Prepared, Request, SourceInfo, is_synthetic, new_model, note_constants, role_of, schema_options};
use super::rows::TrainingRows;

/// A file larger than memory.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Data")]
pub struct StreamOptions {
    /// Do not hold the data in memory: the file is read once into a cache on disk, and each epoch from there, a part at a
    /// time, shuffled by parts and within them
    #[arg(long)]
    pub stream: bool,
    /// The memory --stream gets by with, as 64MB or 2GB
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = bytes, requires = "stream")]
    pub memory: usize,
    /// Where --stream keeps its cache, to use it again while the file is unchanged [default: a temporary file]
    #[arg(long, value_name = "FILE", requires = "stream")]
    pub cache: Option<PathBuf>,
}

/// A number of bytes, with a unit or without.
fn bytes(text: &str) -> std::result::Result<usize, String> {
    const UNITS: [(&str, usize); 7] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("b", 1),
    ];
    const LEAST: usize = 16_000_000;
    let text = text.to_ascii_lowercase();
    let unit = UNITS.into_iter().find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number, bytes)));
    let (number, unit) = unit.unwrap_or((&text, 1));
    let size = number.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match size {
        Some(size) if size >= LEAST => Ok(size),
        Some(_) => Err("must be at least 16MB".into()),
        None => Err("must be a whole number of bytes, KB, MB, GB, KiB, MiB or GiB, as 64MB".into()),
    }
}

impl<T: Scalar> TrainingRows<T> for RowStream<T> {
    fn count(&self) -> usize {
        self.rows()
    }

    fn names(&self) -> &[String] {
        self.feature_names()
    }

    fn source(&mut self) -> Box<dyn RowSource<T> + '_> {
        Box::new(self)
    }
}

/// Reads the data into a cache, and makes the loss and the model.
pub fn prepare_stream<T: Scalar>(request: &Request<'_>, stream: &StreamOptions) -> Result<Prepared<T, RowStream<T>>> {
    let started = Instant::now();
    let SourceOptions { data, read, columns, model: model_options } = request.source;
    if is_synthetic(data) {
        return Err(Error::setting("--stream", "synthetic data are made in memory: leave it out"));
    }
    if model_options.class_weight.is_some() {
        let why = "it weighs rows in memory: leave out --stream, or put the weights in a column for --sample-weight";
        return Err(Error::setting("--class-weight", why));
    }
    let options = schema_options::<T>(request);
    let cache_options = CacheOptions { memory: stream.memory, file: stream.cache.clone(), ..CacheOptions::default() };
    let (cache, remarks) = RowCache::<T>::read(data, &read.csv(), &options, &cache_options)?;
    remarks.iter().for_each(remark);
    let (schema, mut notes) = cache.infer(&options)?;
    let cache = Arc::new(cache);
    // Training and validation rows have buffers of their own.
    let memory = if columns.validation.is_some() { stream.memory / 2 } else { stream.memory };
    let of_cache = |share| RowStream::new(&cache, &schema, share, memory);
    let (mut training, mut validation) = match &columns.validation {
        Some(Validation::Fraction(fraction)) => {
            let (held_out, seed) = (*fraction, request.seed);
            let validation = of_cache(Share::Validation { held_out, seed })?;
            (of_cache(Share::Training { held_out, seed })?, Some(validation))
        }
        Some(Validation::File(path)) => {
            let validation = validation_file(request, path, &schema, &options, memory)?;
            (of_cache(Share::All)?, Some(validation))
        }
        None => (of_cache(Share::All)?, None),
    };
    let standardizer = match (columns.standardizes(), model_options.no_bias) {
        (false, _) => None,
        (true, true) => Some(Standardizer::fit_rows_without_shift(&mut training)?),
        (true, false) => Some(Standardizer::fit_rows(&mut training)?),
    };
    if let Some(standardizer) = &standardizer {
        note_constants(standardizer, training.feature_names(), &mut notes);
        training = training.standardized(standardizer.clone());
        validation = validation.map(|rows| rows.standardized(standardizer.clone()));
    }
    let entry = Entry::<T>::find(&model_options.loss, role_of(schema.task)).expect("every task has a loss");
    let loss = entry.build(LossSettings { class_weights: None, label_smoothing: model_options.label_smoothing })?;
    let source = SourceInfo {
        file: cache.file().to_owned(),
        dialect: cache.dialect(),
        rows: cache.file_rows(),
        columns: cache.names().len(),
        dropped: cache.file_rows() - cache.rows(),
    };
    let model = new_model(&schema, model_options, request)?;
    Ok(Prepared {
        source,
        schema,
        notes,
        data: training,
        validation,
        own_weights: None,
        standardizer,
        loss,
        loss_name: entry.name,
        model,
        load_seconds: started.elapsed().as_secs_f64(),
    })
}

/// Another file's rows, by the schema of the first.
fn validation_file<T: Scalar>(
    request: &Request<'_>,
    path: &Path,
    schema: &Schema,
    options: &SchemaOptions,
    memory: usize,
) -> Result<RowStream<T>> {
    let options = SchemaOptions {
        target: Some(schema.target.clone()),
        features: Some(schema.columns.iter().map(|column| column.name.clone()).collect()),
        drop: Vec::new(),
        categorical: Vec::new(),
        ..options.clone()
    };
    let cache_options = CacheOptions { memory, ..CacheOptions::default() };
    let csv = request.source.read.csv_for(schema);
    let (cache, _) = RowCache::<T>::read(path, &csv, &options, &cache_options)?;
    cache.check(schema)?;
    RowStream::new(&Arc::new(cache), schema, Share::All, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("64MB"), Ok(64_000_000));
        assert_eq!(bytes("64 MiB"), Ok(64 << 20));
        assert_eq!(bytes("2gb"), Ok(2_000_000_000));
        assert_eq!(bytes("100000000"), Ok(100_000_000));
        for refused in ["", "MB", "-1GB", "1.5GB", "1KB", "99999999999999999999GB"] {
            assert!(bytes(refused).is_err(), "{refused}");
        }
    }
}
