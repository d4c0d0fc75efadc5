//! A cache gives the rows, the schema and the errors that a table in memory gives, or is refused.

use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::data::dataset::Dataset;
use crate::data::infer::TargetRole;
use crate::data::rows::{Order, Pass, RowSource};
use crate::data::schema::Schema;
use crate::data::stream::{RowStream, Share};
use crate::loss::Target;

/// Chunks of a few rows.
fn small_chunks() -> CacheOptions {
    CacheOptions { chunk: 64, ..CacheOptions::default() }
}

/// Every row with its place, in words that tell each bit.
fn rows_of<T: Scalar>(data: &Dataset<T>) -> Vec<String> {
    let bytes = |value: &T| format!("{:x?}", value.little_endian());
    let row = |row: usize| {
        let features: Vec<String> = data.row(row).iter().map(bytes).collect();
        let target = match data.targets().row(row) {
            Target::Class(class) => format!("class {class}"),
            Target::Values(values) => bytes(&values[0]),
        };
        format!("{} {features:?} {target} {}", data.place(row).unwrap(), bytes(&data.weight(row)))
    };
    (0..data.rows()).map(row).collect()
}

type Picture = std::result::Result<(Schema, Vec<String>, Vec<String>, usize), String>;

fn in_memory<T: Scalar>(text: &str, csv: &CsvOptions, options: &SchemaOptions) -> Picture {
    let read = || {
        let table = Table::<T>::parse("a.csv", text, csv)?;
        let (schema, notes) = Schema::infer(&table, options)?;
        let encoded = schema.encode_owned(table)?;
        Ok((schema, notes, rows_of(&encoded.data), encoded.dropped))
    };
    read().map_err(|error: Error| error.to_string())
}

fn through_a_cache<T: Scalar>(text: &str, csv: &CsvOptions, options: &SchemaOptions) -> Picture {
    let read = || {
        let cache = Arc::new(RowCache::<T>::parse("a.csv", text, csv, options, &small_chunks())?);
        let (schema, notes) = cache.infer(options)?;
        let mut rows = Vec::new();
        // Buffers of one row, of a few, and of all.
        for memory in [0, 2000, 1 << 20] {
            let mut part = Vec::new();
            let mut stream = RowStream::new(&cache, &schema, Share::All, memory)?;
            stream.visit(Pass { order: Order::File, multiple: 1 }, &mut |data, order| {
                assert!(order.iter().eq(0..data.rows()));
                part.extend(rows_of(data));
                Ok(ControlFlow::Continue(()))
            })?;
            assert!(rows.is_empty() || rows == part);
            rows = part;
        }
        Ok((schema, notes, rows, cache.file_rows() - cache.rows()))
    };
    read().map_err(|error: Error| error.to_string())
}

const MIXED: &str = "x,colour,w,id,y\n1.5,red,1,a,no\n,blue,2,b,yes\n\n3,?,0,c,no\n\"4\",red,1,d,yes\n5,green,1,e,no\n";

#[test]
fn rows_schemas_and_errors_are_those_of_a_table_in_memory() {
    let with = |missing, weight: Option<&str>| SchemaOptions {
        missing,
        sample_weight: weight.map(str::to_owned),
        drop: vec!["id".into()],
        ..SchemaOptions::default()
    };
    let cases = [
        (MIXED, with(Missing::Drop, Some("w"))),
        (MIXED, with(Missing::Mean, Some("w"))),
        (MIXED, with(Missing::Mean, None)),
        (MIXED, with(Missing::Error, None)),
        (MIXED, SchemaOptions { features: Some(vec!["w".into(), "colour".into()]), ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { features: Some(vec![]), ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { target: Some("w".into()), ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { target: Some("z".into()), ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { target_role: TargetRole::Number, ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { categorical: vec!["w".into()], ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { max_categories: 1, ..with(Missing::Drop, None) }),
        (MIXED, SchemaOptions { sample_weight: Some("colour".into()), ..with(Missing::Drop, None) }),
        ("x,w,y\n1,0,2\n2,0,3.5\n", SchemaOptions { sample_weight: Some("w".into()), ..SchemaOptions::default() }),
        ("x,w,y\n1,-1,2\n2,0,b\n", SchemaOptions { sample_weight: Some("w".into()), ..SchemaOptions::default() }),
        ("x,y,y\n1,2,3\n", SchemaOptions { features: Some(vec!["x".into()]), ..SchemaOptions::default() }),
        ("x,y\n,2\n1,\n", SchemaOptions { missing: Missing::Drop, ..SchemaOptions::default() }),
        ("x,y\n1,2\n3\n", SchemaOptions::default()),
        ("x,y\n", SchemaOptions::default()),
        ("", SchemaOptions::default()),
    ];
    for (text, options) in cases {
        let csv = CsvOptions::default();
        assert_eq!(through_a_cache::<f64>(text, &csv, &options), in_memory::<f64>(text, &csv, &options), "{options:?}");
        assert_eq!(through_a_cache::<f32>(text, &csv, &options), in_memory::<f32>(text, &csv, &options), "{options:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_table_is_the_same_through_a_cache(
        cells in prop::collection::vec(prop::array::uniform4(prop::sample::select(
            vec!["0", "1", "2.5", "-3", "", "NA", "a", "b", "\"c,\n\"", "1e5"]
        )), 1..40),
        numeric in prop::array::uniform4(prop::bool::weighted(0.7)),
        missing in prop::sample::select(vec![Missing::Error, Missing::Drop, Missing::Mean]),
        weight in prop::option::weighted(0.2, 0..4usize), categorical in prop::option::weighted(0.2, 0..4usize),
        role in prop::sample::select(vec![TargetRole::Auto, TargetRole::Number, TargetRole::TwoClasses, TargetRole::Classes]),
    ) {
        let mut text = String::from("p,q,r,s\n");
        for (line, row) in cells.iter().enumerate() {
            let cell = |c: usize| match row[c] {
                other if numeric[c] && other.parse::<f64>().is_err() && line % 7 != 0 => "4",
                other => other,
            };
            text += &format!("{},{},{},{}\n", cell(0), cell(1), cell(2), cell(3));
        }
        let name = |c: usize| ["p", "q", "r", "s"][c].to_owned();
        let options = SchemaOptions {
            missing,
            sample_weight: weight.map(name),
            categorical: categorical.map(name).into_iter().collect(),
            target_role: role,
            ..SchemaOptions::default()
        };
        let csv = CsvOptions { header: Some(true), delimiter: Some(b','), ..CsvOptions::default() };
        prop_assert_eq!(through_a_cache::<f64>(&text, &csv, &options), in_memory::<f64>(&text, &csv, &options));
    }
}

/// A folder with a CSV file and the cache that was made of it.
struct Made {
    folder: tempfile::TempDir,
    csv: PathBuf,
    cache: PathBuf,
}

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Made { csv: folder.path().join("a.csv"), cache: folder.path().join("a.cache"), folder };
        fs::write(&made.csv, MIXED).unwrap();
        assert_eq!(made.read(&made.csv).unwrap().1, [""; 0]);
        made
    }

    fn options() -> SchemaOptions {
        SchemaOptions { missing: Missing::Mean, drop: vec!["id".into()], ..SchemaOptions::default() }
    }

    fn read(&self, csv: &Path) -> Result<(RowCache<f64>, Vec<String>)> {
        self.read_with(csv, &Made::options())
    }

    fn read_with(&self, csv: &Path, schema: &SchemaOptions) -> Result<(RowCache<f64>, Vec<String>)> {
        let options = CacheOptions { file: Some(self.cache.clone()), ..small_chunks() };
        RowCache::read(csv, &CsvOptions::default(), schema, &options)
    }

    /// Reads everything in the cache.
    fn all(&self) -> Result<usize> {
        let (cache, _) = self.read(&self.csv)?;
        let mut bytes = Vec::new();
        (0..cache.chunk_count()).try_for_each(|index| cache.chunk(index, &mut bytes).map(drop))?;
        cache.infer(&Made::options())?;
        Ok(cache.rows())
    }
}

#[test]
fn any_flipped_byte_and_any_length_but_its_own_is_noticed() {
    let made = Made::new();
    let good = fs::read(&made.cache).unwrap();
    assert_eq!(made.all().unwrap(), 5);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&made.cache, &bad).unwrap();
        let error = made.all().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CacheFile { .. }), "byte {at}: {error}");
        assert_eq!(fs::read(&made.cache).unwrap(), bad, "a refused cache is left as it is");
    }
    for length in (0..good.len()).chain([good.len() + 1]) {
        let mut bad = good.clone();
        bad.resize(length, 0);
        fs::write(&made.cache, &bad).unwrap();
        let error = made.all().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CacheFile { .. }), "length {length}: {error}");
    }
}

#[test]
fn a_cache_is_used_while_the_csv_is_unchanged_and_made_anew_after_a_change() {
    let made = Made::new();
    let before = fs::metadata(&made.cache).unwrap().modified().unwrap();
    assert_eq!(made.read(&made.csv).unwrap().1, [""; 0]);
    assert_eq!(fs::metadata(&made.cache).unwrap().modified().unwrap(), before);

    let (_, notes) = made.read_with(&made.csv, &SchemaOptions { missing: Missing::Drop, ..Made::options() }).unwrap();
    assert!(notes[0].contains("a.cache is made anew: it was made with other options"), "{notes:?}");
    made.read(&made.csv).unwrap();
    // What concerns the meaning of columns alone asks for no other cache.
    let (_, notes) = made.read_with(&made.csv, &SchemaOptions { max_categories: 7, ..Made::options() }).unwrap();
    assert_eq!(notes, [""; 0]);

    fs::write(&made.csv, MIXED.replace("green", "black")).unwrap();
    let (cache, notes) = made.read(&made.csv).unwrap();
    assert!(notes[0].contains("a.csv has changed since it was made"), "{notes:?}");
    assert!(cache.infer(&Made::options()).unwrap().0.feature_names().contains(&"colour=black".to_owned()));
    assert_eq!(made.read(&made.csv).unwrap().1, [""; 0]);
}

#[test]
fn a_cache_of_another_file_and_what_is_no_cache_are_refused() {
    let made = Made::new();
    let other = made.folder.path().join("b.csv");
    fs::write(&other, MIXED.replace("green", "black")).unwrap();
    let message = made.read(&other).unwrap_err().to_string();
    assert!(message.contains("a.cache: a cache of ") && message.contains("a.csv, not of "), "{message}");
    assert!(message.contains("help: name another file in --cache"), "{message}");
    // A copy of the CSV has the same rows.
    fs::copy(&made.csv, &other).unwrap();
    assert_eq!(made.read(&other).unwrap().1, [""; 0]);

    fs::write(&made.cache, "my thesis").unwrap();
    let message = made.read(&made.csv).unwrap_err().to_string();
    assert!(message.contains("a.cache: this is no cache of gradus"), "{message}");
    assert_eq!(fs::read(&made.cache).unwrap(), b"my thesis");
    let message = made.read(Path::new("-")).unwrap_err().to_string();
    assert!(message.starts_with("--cache: standard input"), "{message}");
}

#[test]
fn a_csv_that_is_refused_leaves_the_older_cache() {
    let made = Made::new();
    let good = fs::read(&made.cache).unwrap();
    fs::write(&made.csv, "x,y\n1,2\n3\n").unwrap();
    assert!(made.read(&made.csv).is_err());
    assert_eq!(fs::read(&made.cache).unwrap(), good);
    assert_eq!(fs::read_dir(made.folder.path()).unwrap().count(), 2);
}
