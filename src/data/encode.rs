//! How a table becomes a data set by a schema.

use ndarray::Array2;

use super::csv::{RowLines, Table};
use super::dataset::{Dataset, check_rows};
use super::features::{FeatureEncoder, check_numbers};
use super::kept::KeptRows;
use super::labels::{TargetColumn, checked_weights, weights};
use super::schema::{Encoding, FeatureColumn, Schema, Unknown};
use crate::error::Result;
use crate::scalar::Scalar;

/// A table made into a data set.
#[derive(Debug, Clone)]
pub struct Encoded<T> {
    /// The rows that were kept.
    pub data: Dataset<T>,
    /// How many rows were left out for a missing value.
    pub dropped: usize,
}

impl Schema {
    /// Features, targets and weights of a table that has them all. Columns are matched by name.
    ///
    /// # Errors
    /// [`Data`](crate::ErrorKind::Data) with the place: a column that is missing or there twice, a value that does
    /// not fit, a class or text value that the schema does not know, a missing value unless it is filled or
    /// dropped.
    pub fn encode<T: Scalar>(&self, table: &Table<T>) -> Result<Encoded<T>> {
        self.encode_owned(table.clone())
    }

    /// The same for a table that is needed no more: where all columns are numbers, its memory becomes that of the
    /// features.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode).
    pub fn encode_owned<T: Scalar>(&self, table: Table<T>) -> Result<Encoded<T>> {
        let target = table.column_named(&self.target)?;
        let weight = self.sample_weight.as_ref().map(|name| table.column_named(name)).transpose()?;
        let columns = self.find_columns(&table)?;
        let needed: Vec<usize> = columns.iter().copied().chain([target]).chain(weight).collect();
        let keep = KeptRows::of(&table, &needed, self.missing);
        let features = self.features(&table, &columns, &keep, Unknown::Error)?;
        let targets = self.targets(&table, target, &keep)?;
        check_rows(keep.len())?;
        let weights = weight.map(|column| checked_weights(&table, column, &keep)).transpose()?;
        let (file, dropped) = (table.file().to_owned(), table.rows() - keep.len());
        let lines = table.row_lines(&keep);
        let features = features.matrix(table, &keep);
        let data = match targets {
            TargetColumn::Values(values) => Dataset::with_finite_values(features, values),
            TargetColumn::Classes(classes) => Dataset::with_finite_classes(features, classes),
        };
        let mut data = data?.named(self.feature_names())?.target_named(&self.target).located(&file, lines);
        if let Some(weights) = weights {
            data = data.weighted(weights)?;
        }
        Ok(Encoded { data, dropped })
    }

    /// The features alone, `[rows, features]`, a row for each of the table's. Columns are matched by name; others are
    /// ignored, and no target is needed.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode). A missing value is refused here under [`Missing::Drop`](super::Missing::Drop)
    /// too: each row gets its prediction or the file is refused.
    pub fn encode_features<T: Scalar>(&self, table: &Table<T>, unknown: Unknown) -> Result<Array2<T>> {
        self.encode_features_owned(table.clone(), unknown)
    }

    /// The same for a table that is needed no more.
    ///
    /// # Errors
    /// As [`encode_features`](Schema::encode_features).
    pub fn encode_features_owned<T: Scalar>(&self, table: Table<T>, unknown: Unknown) -> Result<Array2<T>> {
        let keep = KeptRows::Range(0..table.rows());
        let columns = self.find_columns(&table)?;
        Ok(self.features(&table, &columns, &keep, unknown)?.matrix(table, &keep))
    }

    fn find_columns<T: Scalar>(&self, table: &Table<T>) -> Result<Vec<usize>> {
        self.columns.iter().map(|column| table.column_named(&column.name)).collect()
    }

    /// The features of the rows that are kept. `columns` are those of the schema in the table.
    fn features<T: Scalar>(
        &self,
        table: &Table<T>,
        columns: &[usize],
        keep: &KeptRows,
        unknown: Unknown,
    ) -> Result<Features<T>> {
        if let Some(fills) = self.all_numbers()
            && columns.len() <= table.names().len()
        {
            check_numbers(table, columns, &fills, keep)?;
            let fills = fills.into_iter().map(|fill| fill.map(T::from_f64)).collect();
            return Ok(Features::OfTable { columns: columns.to_vec(), fills });
        }
        let encoder = FeatureEncoder::new(self, table, columns, unknown);
        let mut features = Array2::zeros((keep.len(), encoder.width));
        let all: &mut [T] = features.as_slice_mut().expect("standard layout");
        keep.fill(all, encoder.width, PART, |part, out| encoder.fill(table, part.iter(), out))?;
        Ok(Features::Made(features))
    }

    /// Adds rows of a piece of a table to `rows`. The columns of `features` are the schema's, in its order; those of
    /// `labels` are the target and the sample weight.
    ///
    /// # Errors
    /// As [`encode`](Schema::encode), of the rows kept.
    pub(crate) fn append<T: Scalar>(
        &self,
        (features, labels): (&Table<T>, &Table<T>),
        keep: &KeptRows,
        rows: &mut EncodedRows<T>,
    ) -> Result<()> {
        let columns: Vec<usize> = (0..self.columns.len()).collect();
        let start = rows.features.len();
        if let Some(fills) = self.all_numbers() {
            check_numbers(features, &columns, &fills, keep)?;
            match keep {
                KeptRows::Range(range) => rows.features.extend_from_slice(features.numbers_of(range.clone())),
                KeptRows::These(these) => {
                    let numbers = |&row: &u32| features.numbers_of(row as usize..row as usize + 1);
                    these.iter().for_each(|row| rows.features.extend_from_slice(numbers(row)));
                }
            }
            for (column, fill) in fills.into_iter().enumerate() {
                let Some(fill) = fill.map(T::from_f64) else { continue };
                for index in features.column(column).missing_rows().filter_map(|row| keep.index(row)) {
                    rows.features[start + index * columns.len() + column] = fill;
                }
            }
        } else {
            let encoder = FeatureEncoder::new(self, features, &columns, Unknown::Error);
            rows.features.resize(start + keep.len() * encoder.width, T::zero());
            encoder.fill(features, keep.iter(), &mut rows.features[start..])?;
        }
        match (&mut rows.targets, self.targets(labels, 0, keep)?) {
            (TargetColumn::Values(all), TargetColumn::Values(part)) => all.extend(part),
            (TargetColumn::Classes(all), TargetColumn::Classes(part)) => all.extend(part),
            (all, part) => *all = part,
        }
        if self.sample_weight.is_some() {
            let part = weights(labels, 1, keep)?;
            rows.weights.get_or_insert_default().extend(part);
        }
        rows.lines.append(&labels.row_lines(keep), 0);
        Ok(())
    }

    /// What a missing value becomes in each column, if all are numbers.
    fn all_numbers(&self) -> Option<Vec<Option<f64>>> {
        let fill = |column: &FeatureColumn| match column.encoding {
            Encoding::Number { fill } => Some(fill),
            Encoding::OneHot { .. } => None,
        };
        self.columns.iter().map(fill).collect()
    }
}

/// The rows that one thread encodes at a time.
const PART: usize = 4096;

/// Features, checked and as good as made.
enum Features<T> {
    Made(Array2<T>),
    /// The numbers of a table, which has these columns in this order, and what a missing one becomes.
    OfTable {
        columns: Vec<usize>,
        fills: Vec<Option<T>>,
    },
}

impl<T: Scalar> Features<T> {
    fn matrix(self, table: Table<T>, keep: &KeptRows) -> Array2<T> {
        match self {
            Features::Made(features) => features,
            Features::OfTable { columns, fills } => {
                let numbers = table.into_numbers(&columns, &fills, keep);
                Array2::from_shape_vec((keep.len(), columns.len()), numbers).expect("a number for each cell")
            }
        }
    }
}

/// Rows that were encoded, not yet a data set.
#[derive(Debug, Clone)]
pub(crate) struct EncodedRows<T> {
    /// `[rows, features]`, row by row.
    pub features: Vec<T>,
    pub targets: TargetColumn<T>,
    pub weights: Option<Vec<T>>,
    pub lines: RowLines,
}
