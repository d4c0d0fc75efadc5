//! From a CSV file to a table and from a table to a data set, beside a plain read of the file.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read, Write};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::data::{CsvOptions, Encoded, Schema, SchemaOptions, Table};
use tempfile::NamedTempFile;

const ROWS: usize = 50_000;
const FEATURES: usize = 28;

/// A file of numbers such as -0.123456, with a target of 0 and 1.
fn numbers() -> std::io::Result<NamedTempFile> {
    let file = NamedTempFile::with_suffix(".csv")?;
    let mut writer = BufWriter::new(file.as_file());
    let names: Vec<String> = (1..=FEATURES).map(|column| format!("x{column}")).collect();
    writeln!(writer, "{},target", names.join(","))?;
    for row in 0..ROWS {
        for column in 0..FEATURES {
            write!(writer, "{:.6},", ((row * FEATURES + column) as f64).sin())?;
        }
        writeln!(writer, "{}", row % 2)?;
    }
    writer.flush()?;
    drop(writer);
    Ok(file)
}

fn read(criterion: &mut Criterion) {
    let file = numbers().expect("the folder for temporary files takes one");
    let bytes = file.as_file().metadata().expect("it was just written").len();
    let table = Table::<f32>::read(file.path(), &CsvOptions::default()).expect("the file is in order");

    let mut group = criterion.benchmark_group("CSV, 50,000 x 28");
    group.throughput(Throughput::Bytes(bytes));
    let mut content = Vec::with_capacity(bytes as usize);
    group.bench_function("plain read", |b| {
        b.iter(|| {
            content.clear();
            File::open(file.path()).and_then(|mut file| file.read_to_end(&mut content)).expect("the file is there");
            black_box(&content);
        });
    });
    group.bench_function("to a Table", |b| {
        b.iter(|| Table::<f32>::read(file.path(), &CsvOptions::default()).expect("the file is in order"));
    });
    group.bench_function("Table to Dataset", |b| b.iter(|| dataset(&table)));
}

fn dataset(table: &Table<f32>) -> Encoded<f32> {
    let (schema, _) = Schema::infer(table, &SchemaOptions::default()).expect("the columns are numbers");
    schema.encode(table).expect("no cell is missing")
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .sample_size(15);
    targets = read
}
criterion_main!(benches);
