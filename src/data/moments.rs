//! Means and deviations of columns, over blocks of rows whose results are put together.

use crate::kernels::{ColumnMoments, column_moments};
use crate::scalar::Scalar;

/// The numbers of a block: it stays in a core's cache while it is read three times.
const BLOCK: usize = 1 << 15;

/// The rows of a block of so many columns.
pub(crate) fn block_rows(columns: usize) -> usize {
    (BLOCK / columns.max(1)).max(1)
}

/// What is known of each column of some rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    rows: f64,
    columns: Vec<ColumnMoments>,
}

impl Moments {
    /// Of a block of rows, `[rows, columns]`, of at least one row and column.
    pub(crate) fn of<T: Scalar>(block: &[T], columns: usize) -> Self {
        let mut of_columns = vec![ColumnMoments::default(); columns];
        column_moments(block, &mut of_columns);
        Moments { rows: (block.len() / columns) as f64, columns: of_columns }
    }

    /// Of the rows of both (Chan, Golub and LeVeque 1979).
    pub(crate) fn with(mut self, other: Moments) -> Self {
        let rows = self.rows + other.rows;
        let (share, both) = (other.rows / rows, self.rows * other.rows / rows);
        for (a, b) in self.columns.iter_mut().zip(&other.columns) {
            let unit = a.unit.max(b.unit);
            let (of_a, of_b) = (a.unit / unit, b.unit / unit);
            let apart = b.mean * of_b - a.mean * of_a;
            *a = ColumnMoments {
                least: a.least.min(b.least),
                most: a.most.max(b.most),
                unit,
                mean: a.mean * of_a + apart * share,
                squares: a.squares * of_a * of_a + b.squares * of_b * of_b + apart * apart * both,
            };
        }
        self.rows = rows;
        self
    }

    /// The mean of each column.
    pub(crate) fn means(&self) -> Vec<f64> {
        self.columns.iter().map(|column| column.mean * column.unit).collect()
    }

    /// What brings the deviation from the mean of each column to 1, or, if not `centred`, its root mean square; 0 for
    /// one that is constant (or all 0). What is less than a few `epsilon` of the largest number is rounding.
    pub(crate) fn factors(&self, centred: bool, epsilon: f64) -> Vec<f64> {
        let factor = |column: &ColumnMoments| {
            let largest = column.least.abs().max(column.most.abs());
            let variance = column.squares / self.rows;
            let deviation = if centred { variance } else { variance + column.mean * column.mean }.sqrt();
            // What is left of a constant that was rounded in different ways is no feature.
            let rounded = deviation < 16.0 * epsilon * (largest / column.unit);
            let nothing = if centred { column.least == column.most || rounded } else { largest == 0.0 };
            let factor = 1.0 / (deviation * column.unit);
            if nothing || !factor.is_finite() { 0.0 } else { factor }
        };
        self.columns.iter().map(factor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn however_rows_are_cut_the_moments_are_those_of_all(
            rows in prop::collection::vec(prop::array::uniform3(-1.0..1.0f64), 2..60), cut in 1..60usize,
            scales in prop::array::uniform3(-150..150i32), offset in -1e6..1e6f64,
        ) {
            let value = |x: &[f64; 3], c: usize| (x[c] + if c == 0 { offset } else { 0.0 }) * 10f64.powi(scales[c]);
            let all: Vec<f64> = rows.iter().flat_map(|x| (0..3).map(|c| value(x, c))).collect();
            let parts = all.chunks(cut * 3).map(|block| Moments::of(block, 3)).reduce(Moments::with).unwrap();
            let (means, factors) = (parts.means(), parts.factors(true, f64::EPSILON));
            for c in 0..3 {
                // Divided by the power of ten, and summed in the plainest way.
                let column: Vec<f64> = all.iter().skip(c).step_by(3).map(|x| x / 10f64.powi(scales[c])).collect();
                let mean = column.iter().sum::<f64>() / column.len() as f64;
                let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / column.len() as f64;
                let (scale, deviation) = (10f64.powi(scales[c]), variance.sqrt());
                prop_assert!((means[c] / scale - mean).abs() <= 1e-13 * (1.0 + mean.abs()));
                // Numbers nearly alike were rounded when scaled, and have lost as many digits as they share.
                let largest = column.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                let off = (factors[c] * scale * deviation - 1.0).abs() * deviation;
                prop_assert!(off <= 1e-14 * (deviation + largest), "{off:e} of {deviation:e}");
            }
        }
    }

    #[test]
    fn tiny_and_huge_numbers_neither_vanish_nor_overflow() {
        let block = [1e300, 5e-324, -1e300, 1e-323, 0.0, 0.0];
        for moments in [Moments::of(&block, 2), Moments::of(&block[..4], 2).with(Moments::of(&block[4..], 2))] {
            let factors = moments.factors(true, f64::EPSILON);
            assert!((factors[0] * 1e300 - 1.5f64.sqrt()).abs() < 1e-12, "{factors:?}");
            // The factor of numbers this small is not finite: they count as constant.
            assert_eq!(factors[1], 0.0);
        }
    }
}
