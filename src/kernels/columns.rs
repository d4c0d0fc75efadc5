//! What is known of the columns of a matrix stored row by row, and standardising them.
//!
//! The loops go over several columns side by side, and the compiler makes each level's instructions of them, for there is
//! nothing but a few operations a number; lanes are not named. Each column is added up by itself, row by row, in double
//! precision, so that every level gives the same bits.

use super::element::Element;
use super::lanes::Lanes;
use super::level::Kernel;

/// What is known of one column. Sums are of numbers divided by the unit, a power of two near the largest, so that the
/// squares of huge and tiny numbers stay finite and nothing is rounded by the division.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColumnMoments {
    /// The least number.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    /// The power of two at or below the largest magnitude, or `f64::MIN_POSITIVE` above a smaller one; 1 where that is 0.
    pub unit: f64,
    /// The mean, in units.
    pub mean: f64,
    /// The sum of the squared deviations from the mean, in squared units.
    pub squares: f64,
}

/// Finds the moments of each column of `rows`, `[rows, columns]`: at least one row, and no NaN.
///
/// # Panics
/// If there is not a whole number of rows.
pub fn column_moments<T: Element>(rows: &[T], columns: &mut [ColumnMoments]) {
    assert!(!rows.is_empty() && rows.len().is_multiple_of(columns.len()), "whole rows");
    T::run_measure_columns(MeasureColumns { rows, columns });
}

/// Makes `(x - shift) * factor` of each number, with the shift and factor of its column.
///
/// # Panics
/// If there is not a whole number of rows.
pub fn standardize_columns<T: Element>(rows: &mut [T], shift: &[f64], factor: &[f64]) {
    assert!(shift.len() == factor.len() && rows.len().is_multiple_of(shift.len()), "whole rows");
    let together = ENOUGH / shift.len().max(1);
    if together < 2 {
        return T::run_standardize(Standardize { rows, shift, factor });
    }
    // Several short rows are one to the kernel.
    let (shift, factor) = (&shift.repeat(together), &factor.repeat(together));
    T::run_standardize(Standardize { rows, shift, factor });
}

/// Numbers of a row with which what is left over of registers does not count.
const ENOUGH: usize = 256;

/// Finds moments.
pub struct MeasureColumns<'a, T> {
    rows: &'a [T],
    columns: &'a mut [ColumnMoments],
}

impl<T: Element> Kernel<T> for MeasureColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        // Two or four registers of each thing that is kept, if there are as many columns: their additions need not wait for
        // each other.
        match self.columns.len() {
            16.. => self.in_strips::<16>(),
            8.. => self.in_strips::<8>(),
            4.. => self.in_strips::<4>(),
            2.. => self.in_strips::<2>(),
            _ => self.in_strips::<1>(),
        }
    }
}

impl<T: Element> MeasureColumns<'_, T> {
    /// Measures `N` columns at a time, of at least as many.
    #[inline(always)]
    fn in_strips<const N: usize>(self) {
        let width = self.columns.len();
        for first in (0..width).step_by(N) {
            // The last strip may measure some columns again.
            let first = first.min(width - N);
            let measured: [ColumnMoments; N] = measure(self.rows, width, first);
            self.columns[first..first + N].copy_from_slice(&measured);
        }
    }
}

/// The moments of as many columns from `first` on.
#[inline(always)]
fn measure<T: Element, const N: usize>(rows: &[T], width: usize, first: usize) -> [ColumnMoments; N] {
    let strip = |row: &[T]| -> [T; N] { *row[first..].first_chunk().expect("as many columns") };
    let (mut least, mut most) = (strip(rows), strip(rows));
    for x in rows.chunks_exact(width).map(strip) {
        for c in 0..N {
            least[c] = if x[c] < least[c] { x[c] } else { least[c] };
            most[c] = if x[c] > most[c] { x[c] } else { most[c] };
        }
    }
    let mut columns = [ColumnMoments::default(); N];
    let mut per_unit = [0.0; N];
    for c in 0..N {
        let (least, most) = (least[c].as_f64(), most[c].as_f64());
        let unit = power_of_two_below(least.abs().max(most.abs()));
        (columns[c].least, columns[c].most, columns[c].unit, per_unit[c]) = (least, most, unit, 1.0 / unit);
    }
    let mut means = [0.0; N];
    for x in rows.chunks_exact(width).map(strip) {
        for c in 0..N {
            means[c] += x[c].as_f64() * per_unit[c];
        }
    }
    means = means.map(|sum| sum / (rows.len() / width) as f64);
    let mut squares = [0.0; N];
    for x in rows.chunks_exact(width).map(strip) {
        for c in 0..N {
            let deviation = x[c].as_f64() * per_unit[c] - means[c];
            squares[c] += deviation * deviation;
        }
    }
    for c in 0..N {
        (columns[c].mean, columns[c].squares) = (means[c], squares[c]);
    }
    columns
}

/// The power of two at or below a magnitude, as [`ColumnMoments::unit`].
#[inline(always)]
fn power_of_two_below(magnitude: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    let power = f64::from_bits(magnitude.to_bits() & EXPONENT);
    if power > 0.0 {
        power
    } else if magnitude > 0.0 {
        f64::MIN_POSITIVE
    } else {
        1.0
    }
}

/// Standardises.
pub struct Standardize<'a, T> {
    rows: &'a mut [T],
    shift: &'a [f64],
    factor: &'a [f64],
}

impl<T: Element> Kernel<T> for Standardize<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        for row in self.rows.chunks_mut(self.shift.len().max(1)) {
            for ((x, shift), factor) in row.iter_mut().zip(self.shift).zip(self.factor) {
                *x = T::from_f64((x.as_f64() - shift) * factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{numbers, on_every_level};

    #[test]
    fn every_level_measures_columns_alike_to_the_bit() {
        on_every_level(|| {
            for width in [1, 2, 3, 7, 8, 15, 16, 17, 28, 33] {
                for rows in [1, 2, 9] {
                    measured::<f32>(rows, width);
                    measured::<f64>(rows, width);
                }
            }
        });
    }

    fn measured<T: Element>(rows: usize, width: usize) {
        let mut matrix: Vec<T> = numbers(rows * width, 1);
        // A column of zeros, and one of numbers that are all negative.
        matrix.iter_mut().skip(1).step_by(width).for_each(|x| *x = T::zero());
        matrix.iter_mut().skip(2).step_by(width).for_each(|x| *x = -x.abs() - T::one());
        let mut columns = vec![ColumnMoments::default(); width];
        column_moments(&matrix, &mut columns);
        for (c, column) in columns.iter().enumerate() {
            let of_column = || matrix.iter().skip(c).step_by(width).map(|&x| x.as_f64());
            let (least, most) = (of_column().fold(f64::MAX, f64::min), of_column().fold(f64::MIN, f64::max));
            assert_eq!((column.least, column.most), (least, most));
            let largest = least.abs().max(most.abs());
            let fits = column.unit <= largest && largest < 2.0 * column.unit && column.unit.log2().fract() == 0.0;
            assert!(fits || (largest == 0.0 && column.unit == 1.0), "{column:?}");
            let mean = of_column().map(|x| x / column.unit).sum::<f64>() / rows as f64;
            let squares = of_column().map(|x| (x / column.unit - mean).powi(2)).sum::<f64>();
            assert_eq!((column.mean, column.squares), (mean, squares), "{rows} x {width}, column {c}");
        }
    }

    #[test]
    fn the_unit_of_subnormal_numbers_is_the_least_normal_one() {
        let mut columns = [ColumnMoments::default()];
        column_moments(&[5e-324, 0.0], &mut columns);
        assert_eq!(columns[0].unit, f64::MIN_POSITIVE);
    }

    #[test]
    fn every_level_standardizes_alike_to_the_bit() {
        on_every_level(|| {
            for (rows, width) in [(1, 1), (7, 1), (300, 1), (5, 28), (9, 28), (20, 28), (3, 128), (3, 129), (3, 300)] {
                standardized::<f32>(rows, width);
                standardized::<f64>(rows, width);
            }
        });
    }

    fn standardized<T: Element + std::fmt::Debug>(rows: usize, width: usize) {
        let (shift, factor): (Vec<f64>, Vec<f64>) = (numbers(width, 2), numbers(width, 3));
        let before: Vec<T> = numbers(rows * width, 1);
        let mut after = before.clone();
        standardize_columns(&mut after, &shift, &factor);
        for (place, (after, before)) in after.into_iter().zip(before).enumerate() {
            let c = place % width;
            let expected = T::from_f64((before.as_f64() - shift[c]) * factor[c]);
            assert_eq!(after, expected, "{rows} x {width}, {place}");
        }
    }
}
