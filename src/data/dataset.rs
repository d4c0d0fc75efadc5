//! Rows to train on: features, targets, weights, and where each row came from.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::csv::RowLines;
use super::encode::EncodedRows;
use super::labels::TargetColumn;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::kernels;
use crate::loss::Targets;
use crate::scalar::Scalar;

/// Rows to train or evaluate on.
#[derive(Debug, Clone)]
pub struct Dataset<T> {
    features: Array2<T>,
    targets: TargetData<T>,
    weights: Option<Vec<T>>,
    feature_names: Vec<String>,
    target_name: String,
    origin: Option<Origin>,
}

#[derive(Debug, Clone)]
enum TargetData<T> {
    Values(Array2<T>),
    Classes(Vec<usize>),
}

/// Where the rows came from.
#[derive(Debug, Clone)]
struct Origin {
    file: String,
    lines: RowLines,
}

impl<T: Scalar> Dataset<T> {
    /// Rows with values to predict: features `[rows, features]`, values `[rows, outputs]`.
    ///
    /// Features beyond some megabytes are trained on faster from a matrix that was made by [`zero_matrix`].
    ///
    /// # Errors
    /// If there are no rows, or their numbers differ; [`Feature`](ErrorKind::Feature) if a feature is not finite.
    pub fn with_values(features: Array2<T>, values: Array2<T>) -> Result<Self> {
        check_finite(&features)?;
        let rows = values.nrows();
        Dataset::new(features, TargetData::Values(standard_layout(values)), rows)
    }

    /// Rows with classes to predict: features `[rows, features]`, class indices `[rows]` from 0. Features as in
    /// [`with_values`](Dataset::with_values).
    ///
    /// # Errors
    /// If there are no rows, or their numbers differ; [`Feature`](ErrorKind::Feature) if a feature is not finite.
    pub fn with_classes(features: Array2<T>, classes: Vec<usize>) -> Result<Self> {
        check_finite(&features)?;
        let rows = classes.len();
        Dataset::new(features, TargetData::Classes(classes), rows)
    }

    /// The same for features that are known to be finite, and one value a row.
    pub(crate) fn with_finite_values(features: Array2<T>, values: Vec<T>) -> Result<Self> {
        let rows = values.len();
        let values = Array2::from_shape_vec((rows, 1), values).expect("one value a row");
        Dataset::new(features, TargetData::Values(values), rows)
    }

    /// The same for features that are known to be finite.
    pub(crate) fn with_finite_classes(features: Array2<T>, classes: Vec<usize>) -> Result<Self> {
        let rows = classes.len();
        Dataset::new(features, TargetData::Classes(classes), rows)
    }

    fn new(features: Array2<T>, targets: TargetData<T>, target_rows: usize) -> Result<Self> {
        if features.nrows() != target_rows {
            return Err(Error::shape("targets", &[features.nrows()], &[target_rows]));
        }
        check_rows(features.nrows())?;
        debug_assert!(check_finite(&features).is_ok());
        let feature_names = (1..=features.ncols()).map(|c| format!("c{c}")).collect();
        let (features, target_name) = (standard_layout(features), "target".to_owned());
        Ok(Dataset { features, targets, weights: None, feature_names, target_name, origin: None })
    }

    /// Names the features, `[features]`. Default: `c1`, `c2`, ...
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if there is not one name for each.
    pub fn named(mut self, names: Vec<String>) -> Result<Self> {
        if names.len() != self.features.ncols() {
            return Err(Error::shape("feature names", &[self.features.ncols()], &[names.len()]));
        }
        self.feature_names = names;
        Ok(self)
    }

    /// Names the target, for messages. Default: `target`.
    pub fn target_named(mut self, name: &str) -> Self {
        self.target_name = name.to_owned();
        self
    }

    /// Gives each row a weight, `[rows]`, not negative and not all zero. Default: every row counts once.
    ///
    /// # Errors
    /// If there is not one for each row, or one is negative or not finite, or all are 0.
    pub fn weighted(mut self, weights: Vec<T>) -> Result<Self> {
        self.check_weights(&weights)?;
        self.weights = Some(weights);
        Ok(self)
    }

    fn check_weights(&self, weights: &[T]) -> Result<()> {
        if weights.len() != self.rows() {
            return Err(Error::shape("sample weights", &[self.rows()], &[weights.len()]));
        }
        if let Some(row) = weights.iter().position(|w| !w.is_finite() || *w < T::zero()) {
            let why = format!("row {row} has {}; it must be finite and not negative", weights[row]);
            return Err(Error::setting("sample weights", why));
        }
        if weights.iter().all(|w| w.is_zero()) {
            return Err(Error::setting("sample weights", "all are 0"));
        }
        Ok(())
    }

    /// Puts other weights in place of the rows', `[rows]`, and returns those. `None`: every row counts once.
    ///
    /// # Errors
    /// As [`weighted`](Dataset::weighted); the old weights are then kept.
    pub fn replace_weights(&mut self, weights: Option<Vec<T>>) -> Result<Option<Vec<T>>> {
        if let Some(weights) = &weights {
            self.check_weights(weights)?;
        }
        Ok(std::mem::replace(&mut self.weights, weights))
    }

    /// The rows of a file that were encoded, with these features and at least one row.
    pub(crate) fn from_encoded(rows: EncodedRows<T>, feature_names: Vec<String>, file: &str) -> Result<Self> {
        let EncodedRows { features, targets, weights, lines } = rows;
        check_rows(lines.len())?;
        let features =
            Array2::from_shape_vec((lines.len(), feature_names.len()), features).expect("features in each row");
        debug_assert!(check_finite(&features).is_ok());
        let targets = match targets {
            TargetColumn::Values(values) => {
                TargetData::Values(Array2::from_shape_vec((lines.len(), 1), values).expect("one value a row"))
            }
            TargetColumn::Classes(classes) => TargetData::Classes(classes),
        };
        let origin = Some(Origin { file: file.to_owned(), lines });
        let target_name = "target".to_owned();
        Ok(Dataset { features, targets, weights, feature_names, target_name, origin })
    }

    /// The rows' memory, to be cleared and used again: what it holds means nothing.
    pub(crate) fn into_encoded(self) -> EncodedRows<T> {
        EncodedRows {
            features: self.features.into_raw_vec_and_offset().0,
            targets: match self.targets {
                TargetData::Values(values) => TargetColumn::Values(values.into_raw_vec_and_offset().0),
                TargetData::Classes(classes) => TargetColumn::Classes(classes),
            },
            weights: self.weights,
            lines: self.origin.map(|origin| origin.lines).unwrap_or_default(),
        }
    }

    /// Says which file the rows came from, and the line of each, `[rows]`, for messages.
    pub(crate) fn located(mut self, file: &str, lines: RowLines) -> Self {
        debug_assert_eq!(lines.len(), self.rows());
        self.origin = Some(Origin { file: file.to_owned(), lines });
        self
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.features.nrows()
    }

    /// The features, `[rows, features]`.
    pub fn features(&self) -> ArrayView2<'_, T> {
        self.features.view()
    }

    /// One row's features.
    pub fn row(&self, row: usize) -> &[T] {
        let width = self.features.ncols();
        &self.all_features()[row * width..(row + 1) * width]
    }

    /// All rows' features, one row after another.
    pub(crate) fn all_features(&self) -> &[T] {
        self.features.as_slice().expect("kept in standard layout")
    }

    /// The same, to change.
    pub(crate) fn all_features_mut(&mut self) -> &mut [T] {
        self.features.as_slice_mut().expect("kept in standard layout")
    }

    /// The features' names.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// The target's name.
    pub fn target_name(&self) -> &str {
        &self.target_name
    }

    /// The targets, with the rows' weights.
    pub fn targets(&self) -> Targets<'_, T> {
        let targets = match &self.targets {
            TargetData::Values(values) => Targets::values(values),
            TargetData::Classes(classes) => Targets::classes(classes),
        };
        match &self.weights {
            Some(weights) => targets.weighted(weights),
            None => targets,
        }
    }

    /// The weight of a row.
    pub fn weight(&self, row: usize) -> T {
        self.weights.as_ref().map_or(T::one(), |weights| weights[row])
    }

    /// The file and line of a row, where they are known.
    pub fn place(&self, row: usize) -> Option<Place> {
        self.origin.as_ref().map(|origin| Place::file(&origin.file).at_line(origin.lines.line(row)))
    }

    /// The rows of these indices, in this order.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn select(&self, rows: &[usize]) -> Dataset<T> {
        Dataset {
            features: self.selected_features(rows),
            targets: match &self.targets {
                TargetData::Values(values) => TargetData::Values(values.select(Axis(0), rows)),
                TargetData::Classes(classes) => TargetData::Classes(rows.iter().map(|&r| classes[r]).collect()),
            },
            weights: self.weights.as_ref().map(|weights| rows.iter().map(|&r| weights[r]).collect()),
            feature_names: self.feature_names.clone(),
            target_name: self.target_name.clone(),
            origin: self.origin.as_ref().map(|origin| Origin {
                file: origin.file.clone(),
                lines: rows.iter().map(|&r| origin.lines.line(r)).collect(),
            }),
        }
    }

    fn selected_features(&self, rows: &[usize]) -> Array2<T> {
        let columns = self.features.ncols();
        let mut features = zero_matrix(rows.len(), columns);
        for (mut selected, row) in features.rows_mut().into_iter().zip(rows) {
            selected.as_slice_mut().expect("a row of a matrix in standard layout").copy_from_slice(self.row(*row));
        }
        features
    }
}

/// A matrix of zeros, `[rows, columns]`, to be filled with features: it lies where training reads it fastest, in large
/// pages of memory as far as the system grants them, and beginning with a cache line. A clone of it may lie anywhere.
///
/// ```
/// use gradus::data::zero_matrix;
///
/// let mut features = zero_matrix::<f32>(1000, 16);
/// features.indexed_iter_mut().for_each(|((row, column), x)| *x = (row * column) as f32);
/// let data = gradus::Dataset::with_classes(features, (0..1000).map(|row| row % 3).collect())?;
/// # assert_eq!(data.row(2)[3], 6.0);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// The vector within begins a few numbers before the matrix: `into_raw_vec_and_offset` says how many.
///
/// # Panics
/// If `rows * columns` overflows.
pub fn zero_matrix<T: Scalar>(rows: usize, columns: usize) -> Array2<T> {
    let count = rows.checked_mul(columns).expect("a matrix that memory can hold");
    let (zeros, first) = kernels::aligned_zeros(count);
    let zeros = Array1::from_vec(zeros).slice_move(s![first..first + count]);
    zeros.into_shape_with_order((rows, columns)).expect("as many numbers as rows and columns")
}

/// Refuses a number of rows that no data set has.
pub(crate) fn check_rows(rows: usize) -> Result<()> {
    if rows == 0 || u32::try_from(rows).is_err() {
        return Err(Error::setting("data", format!("{rows} rows: there must be at least 1 and fewer than 2^32")));
    }
    Ok(())
}

fn check_finite<T: Scalar>(features: &Array2<T>) -> Result<()> {
    // Without a way out in the middle, a piece is looked at many numbers at a time.
    let all_finite = |piece: &[T]| piece.iter().fold(true, |all, x| all & x.is_finite());
    if features.as_slice_memory_order().is_some_and(|all| all.chunks(1024).all(all_finite)) {
        return Ok(());
    }
    match features.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, feature), value)) => Err(ErrorKind::Feature { row, feature, value: value.as_f64() }.into()),
        None => Ok(()),
    }
}

/// The same array, copied only if it is in another layout.
fn standard_layout<T: Scalar>(array: Array2<T>) -> Array2<T> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Target;
    use ndarray::array;

    #[test]
    fn selected_rows_keep_their_targets_weights_and_lines() {
        let data = Dataset::with_classes(array![[1.0], [2.0], [3.0]], vec![0, 1, 2])
            .unwrap()
            .weighted(vec![1.0, 2.0, 3.0])
            .unwrap()
            .located("a.csv", [2, 3, 5].into_iter().collect());
        let part = data.select(&[2, 0]);
        assert_eq!((part.row(0), part.weight(0), part.targets().row(0)), (&[3.0][..], 3.0, Target::Class(2)));
        assert_eq!(part.place(0).unwrap().to_string(), "a.csv:5");
    }

    #[test]
    fn a_zero_matrix_has_its_shape_and_keeps_its_place_in_a_data_set() {
        for (rows, columns) in [(0, 3), (3, 0), (1, 1), (70, 33)] {
            let matrix = zero_matrix::<f32>(rows, columns);
            assert_eq!(matrix, Array2::<f32>::zeros((rows, columns)));
            if rows > 0 {
                let data = Dataset::with_classes(matrix, vec![0; rows]).unwrap();
                assert!(columns == 0 || data.all_features().as_ptr().addr().is_multiple_of(64));
            }
        }
    }

    #[test]
    fn data_that_cannot_be_trained_on_is_refused() {
        assert!(Dataset::with_values(array![[1.0], [2.0]], array![[1.0]]).is_err());
        assert!(Dataset::with_values(Array2::<f64>::zeros((0, 2)), Array2::zeros((0, 1))).is_err());
        assert!(Dataset::with_values(array![[f64::NAN]], array![[1.0]]).is_err());
        let data = || Dataset::with_values(array![[1.0]], array![[1.0]]).unwrap();
        assert!(data().weighted(vec![0.0]).is_err());
        assert!(data().weighted(vec![-1.0]).is_err());
        assert!(data().named(vec![]).is_err());
    }
}
