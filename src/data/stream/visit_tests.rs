//! Each row comes once in each epoch, in an order set by the seed, the epoch and the memory.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::*;
use crate::data::csv::{CsvOptions, Table};
use crate::data::infer::SchemaOptions;
use crate::data::rows::{InMemory, Order};
use crate::data::stream::CacheOptions;

/// Rows `i, i*i + 0.25` with target `i + 0.5`, in chunks of ten rows.
fn text(rows: usize) -> String {
    (0..rows).fold("x,z,y\n".into(), |text, i| text + &format!("{i},{}.25,{i}.5\n", i * i))
}

fn cache(rows: usize) -> (Arc<RowCache<f64>>, Schema) {
    let options = CacheOptions { chunk: 240, ..CacheOptions::default() };
    let schema = SchemaOptions::default();
    let cache = RowCache::parse("a.csv", &text(rows), &CsvOptions::default(), &schema, &options).unwrap();
    let schema = cache.infer(&schema).unwrap().0;
    (Arc::new(cache), schema)
}

/// Memory for buffers of so many rows.
fn memory(rows: usize) -> usize {
    4 * 36 * rows
}

/// The rows in the order of a visit, and how many there were each time.
fn visited(stream: &mut dyn RowSource<f64>, order: Order, multiple: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    let visit = &mut |data: &Dataset<f64>, order: RowIndex<'_>| {
        assert_eq!(order.len(), data.rows());
        counts.push(order.len());
        for row in order.iter() {
            let i = data.row(row)[0];
            assert_eq!(data.row(row)[1], i * i + 0.25);
            assert_eq!(data.targets().row(row).values(), [i + 0.5]);
            assert_eq!(data.place(row).unwrap().line, Some(i as u64 + 2));
            rows.push(i as usize);
        }
        Ok(ControlFlow::Continue(()))
    };
    stream.visit(Pass { order, multiple }, visit).unwrap();
    (rows, counts)
}

#[test]
fn every_row_comes_once_in_an_order_set_by_seed_epoch_and_memory() {
    let (cache, schema) = cache(95);
    let shuffled = |memory, seed, epoch| {
        let mut stream = RowStream::new(&cache, &schema, Share::All, memory).unwrap();
        visited(&mut stream, Order::Shuffled { seed, epoch }, 1).0
    };
    for rows in [1, 7, 30, 95, 1000] {
        let order = shuffled(memory(rows), 3, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..95).collect::<Vec<_>>());
        assert_eq!(order, shuffled(memory(rows), 3, 1));
        assert_ne!(order, shuffled(memory(rows), 3, 2));
        assert_ne!(order, shuffled(memory(rows), 4, 1));
    }
    // A buffer mixes the rows of its chunks.
    let chunks: HashSet<usize> = shuffled(memory(30), 3, 1)[..10].iter().map(|row| row / 10).collect();
    assert!(chunks.len() > 1);
}

#[test]
fn an_epoch_is_the_same_whatever_was_visited_before() {
    let (cache, schema) = cache(95);
    let mut stream = RowStream::new(&cache, &schema, Share::All, memory(20)).unwrap();
    let order = |epoch| Order::Shuffled { seed: 1, epoch };
    let second = visited(&mut stream, order(2), 1);
    visited(&mut stream, order(1), 1);
    assert_eq!(visited(&mut stream, Order::File, 1).0, (0..95).collect::<Vec<_>>());
    assert_eq!(visited(&mut stream, order(2), 1), second);
}

#[test]
fn all_times_but_the_last_a_multiple_of_rows_is_visited() {
    let (cache, schema) = cache(95);
    let mut stream = RowStream::new(&cache, &schema, Share::All, memory(30)).unwrap();
    let mut counts = |multiple| visited(&mut stream, Order::Shuffled { seed: 1, epoch: 1 }, multiple).1;
    assert_eq!(counts(1), [30, 30, 30, 5]);
    assert_eq!(counts(8), [24, 24, 24, 23]);
    assert_eq!(counts(30), [30, 30, 30, 5]);
    // As many do not fit.
    assert_eq!(counts(64), [30, 30, 30, 5]);
}

#[test]
fn training_and_validation_share_the_rows() {
    let (cache, schema) = cache(200);
    let rows = |share| {
        let mut stream = RowStream::new(&cache, &schema, share, memory(16)).unwrap();
        let rows = visited(&mut stream, Order::File, 1).0;
        assert_eq!(rows.len(), stream.rows());
        rows
    };
    let (held_out, seed) = (0.25, 5);
    let (training, validation) = (rows(Share::Training { held_out, seed }), rows(Share::Validation { held_out, seed }));
    assert!(training.is_sorted() && validation.is_sorted() && validation.len() > 20);
    let mut all = [training, validation].concat();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<_>>());
    let none = RowStream::new(&cache, &schema, Share::Validation { held_out: 0.0, seed }, memory(16)).unwrap_err();
    assert!(none.to_string().starts_with("--validation: of 200 rows none is left"), "{none}");
}

#[test]
fn standardising_is_to_the_bit_what_it_is_in_memory() {
    let text = (0..30_000).fold("x,z,y\n".to_owned(), |text, i: u64| {
        text + &format!("{},{}e-3,{}.5\n", i * i % 9973, i * 7919 % 1009, i % 50)
    });
    let options = SchemaOptions::default();
    let table = Table::<f32>::parse("a.csv", &text, &CsvOptions::default()).unwrap();
    let (schema, _) = Schema::infer(&table, &options).unwrap();
    let mut data = schema.encode_owned(table).unwrap().data;
    let expected = Standardizer::fit(&data);
    let small = CacheOptions { chunk: 5000, ..CacheOptions::default() };
    let cache = RowCache::<f32>::parse("a.csv", &text, &CsvOptions::default(), &options, &small).unwrap();
    let mut stream = RowStream::new(&Arc::new(cache), &schema, Share::All, 4 * 20 * 18_000).unwrap();
    let standardizer = Standardizer::fit_rows(&mut stream).unwrap();
    assert_eq!(format!("{standardizer:?}"), format!("{expected:?}"));
    assert_eq!(format!("{expected:?}"), format!("{:?}", Standardizer::fit_rows(&mut InMemory::new(&data)).unwrap()));

    expected.apply(&mut data).unwrap();
    let mut stream = stream.standardized(standardizer);
    let mut first = 0;
    stream
        .visit(Pass { order: Order::File, multiple: 1 }, &mut |part, _| {
            assert!((0..part.rows()).all(|row| part.row(row) == data.row(first + row)));
            first += part.rows();
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(first, 30_000);
}

#[test]
fn a_visit_ends_when_it_is_broken_off_or_fails() {
    let (cache, schema) = cache(95);
    let mut stream = RowStream::new(&cache, &schema, Share::All, memory(10)).unwrap();
    for times in 1..4 {
        let mut count = 0;
        let breaks = &mut |_: &Dataset<f64>, _: RowIndex<'_>| {
            count += 1;
            Ok(if count == times { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        stream.visit(Pass { order: Order::File, multiple: 1 }, breaks).unwrap();
        assert_eq!(count, times);
    }
    let fails = &mut |_: &Dataset<f64>, _: RowIndex<'_>| Err(Error::setting("x", "is wrong"));
    let error = stream.visit(Pass { order: Order::File, multiple: 1 }, fails).unwrap_err();
    assert_eq!(error.to_string(), "x: is wrong");
    // And begins anew.
    assert_eq!(visited(&mut stream, Order::File, 1).0.len(), 95);
}

#[test]
fn few_rows_in_memory_are_visited_at_once_in_the_order_of_the_permutation() {
    let table = Table::<f64>::parse("a.csv", &text(20), &CsvOptions::default()).unwrap();
    let (schema, _) = Schema::infer(&table, &SchemaOptions::default()).unwrap();
    let data = schema.encode_owned(table).unwrap().data;
    let mut rows = InMemory::new(&data);
    let mut expected = Vec::new();
    crate::data::permutation(&mut expected, 20, 4, 2);
    let (order, counts) = visited(&mut rows, Order::Shuffled { seed: 4, epoch: 2 }, 8);
    assert_eq!(counts, [20]);
    assert!(order.iter().eq(expected.iter().map(|&row| row as usize).collect::<Vec<_>>().iter()));
    assert_eq!(visited(&mut rows, Order::File, 1).0, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_stream_keeps_a_thread_busy_and_rows_in_memory_none() {
    let (cache, schema) = cache(20);
    let mut stream = RowStream::new(&cache, &schema, Share::All, memory(10)).unwrap();
    assert_eq!(stream.busy_threads(), 1);
    // Through a reference as well.
    let borrowed = &mut stream;
    assert_eq!(RowSource::<f64>::busy_threads(&borrowed), 1);
    let data = Dataset::with_classes(ndarray::array![[1.0], [2.0]], vec![0, 1]).unwrap();
    assert_eq!(InMemory::new(&data).busy_threads(), 0);
}
