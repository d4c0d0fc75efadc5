//! Reads a CSV of numbers with the csv crate, so that no reference figure rests on the library's own reader.

use ndarray::Array2;

/// The cells of a file given from the project's root, `[rows, columns]`, without its header.
pub fn read_numbers(path: &str) -> Array2<f64> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut reader = csv::Reader::from_path(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let columns = reader.headers().unwrap().len();
    let cells: Vec<f64> = reader
        .records()
        .flat_map(|record| record.unwrap().iter().map(|cell| cell.parse().unwrap()).collect::<Vec<f64>>())
        .collect();
    Array2::from_shape_vec((cells.len() / columns, columns), cells).unwrap()
}
