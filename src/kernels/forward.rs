//! Outputs of a linear layer for some rows: `weight row + bias`.

use std::ops::Range;

use num_traits::Zero;

use super::element::Element;
use super::lanes::{GROUP, Lanes, load, store};
use super::level::Kernel;
use super::rows::{FETCHED, Rows, per_line, prefetch};

/// Columns from which the products of a row are added up in two halves.
const WIDE: usize = 256;

/// The first column of the second half of a row of so many, whose products are added up apart from those of the first, so
/// that two threads may each take one; `None` for a row that is not cut.
pub fn second_half<T>(columns: usize) -> Option<usize> {
    (columns >= WIDE).then(|| columns / 2 / per_line::<T>() * per_line::<T>())
}

/// Writes `weight row + bias` of each row over `outputs`, `[rows, outputs]`. `weight` is `[outputs, width]`, `bias`
/// `[outputs]` or empty. Of rows that are cut down to some columns these columns' part of the product; that of all columns
/// is the sum of those of the halves ([`second_half`]), to the last bit.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn linear_forward<T: Element>(rows: &Rows<'_, T>, weight: &[T], bias: &[T], outputs: &mut [T]) {
    if rows.is_empty() {
        return;
    }
    let each = outputs.len() / rows.len();
    assert!(
        outputs.len() == each * rows.len() && Some(weight.len()) == each.checked_mul(rows.stride()),
        "outputs that fit rows and weight"
    );
    assert!(bias.is_empty() || bias.len() == each, "a bias for each output");
    T::run_forward(Forward { rows, weight, bias, outputs, each });
}

pub struct Forward<'a, T> {
    rows: &'a Rows<'a, T>,
    weight: &'a [T],
    bias: &'a [T],
    outputs: &'a mut [T],
    /// Outputs of a row.
    each: usize,
}

impl<T: Element> Kernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        if self.each == 1
            && self.rows.width() == 1
            && let Some(column) = self.rows.contiguous()
        {
            return scale_column::<V>(column, self.weight[0], self.bias.first().copied(), self.outputs);
        }
        let (rows, first_column, width) = (self.rows, self.rows.first_column(), self.rows.width());
        let cut = second_half::<T>(rows.stride()).and_then(|cut| cut.checked_sub(first_column));
        let cut = cut.filter(|cut| (1..width).contains(cut)).unwrap_or(width);
        // The outputs that have room for their sums in registers.
        let most = if V::REGISTERS >= 32 { 5 } else { 2 };
        let mut place = 0;
        while place < rows.len() {
            let group = (rows.len() - place).min(GROUP);
            // A group that is not full computes its last row more than once.
            let (mut inputs, mut ahead) = ([std::ptr::null(); GROUP], [0; GROUP]);
            rows.addresses(place, &mut inputs[..group]);
            rows.rows_ahead(place, rows.len(), &mut ahead[..group]);
            let last = group - 1;
            let inputs: [_; GROUP] = std::array::from_fn(|r| inputs[r.min(last)]);
            let next: [_; FETCHED] = std::array::from_fn(|r| rows.address(ahead[r.min(last)]));
            let (mut first, mut pass) = (0, 0);
            while first < self.each {
                let left = self.each - first;
                let weight = self.weight[first * rows.stride() + first_column..].as_ptr();
                let layer = Layer { inputs: &inputs, weight, stride: rows.stride() };
                let out = &mut self.outputs[place * self.each..(place + group) * self.each];
                let mut write = |sums: &[[T; GROUP]]| {
                    for (k, sums) in sums.iter().enumerate() {
                        let bias = self.bias.get(first + k).copied().unwrap_or(T::zero());
                        for (row, &sum) in out.chunks_exact_mut(self.each).zip(sums) {
                            row[first + k] = sum + bias;
                        }
                    }
                    sums.len()
                };
                // In the first two passes over the columns one row each, in an only pass both: memory is asked evenly.
                let fetch = match pass {
                    0 if left <= most => &next[..],
                    0 => &next[..1],
                    1 => &next[1..],
                    _ => &[],
                };
                pass += 1;
                // SAFETY: `Rows::new` has found each row's numbers to be there, and from `weight` on there are those of
                // `left` outputs.
                first += unsafe {
                    match left {
                        5.. if V::REGISTERS >= 32 => write(&layer.halves::<V, 5>(fetch, cut, width)),
                        1 => write(&layer.halves::<V, 1>(fetch, cut, width)),
                        2 => write(&layer.halves::<V, 2>(fetch, cut, width)),
                        4 if V::REGISTERS >= 32 => write(&layer.halves::<V, 4>(fetch, cut, width)),
                        _ if V::REGISTERS >= 32 => write(&layer.halves::<V, 3>(fetch, cut, width)),
                        _ => write(&layer.halves::<V, 2>(fetch, cut, width)),
                    }
                };
            }
            place += group;
        }
    }
}

/// A group of rows, and the weight of some outputs for the same columns.
pub(super) struct Layer<'a, T> {
    pub inputs: &'a [*const T; GROUP],
    pub weight: *const T,
    /// From one output's weight to the next one's.
    pub stride: usize,
}

impl<T: Element> Layer<'_, T> {
    /// The products over the columns up to `cut` and over those from there to `width`, each added up apart, and the two.
    ///
    /// # Safety
    /// As [`products`](Layer::products), for `width` columns.
    #[inline(always)]
    unsafe fn halves<V: Lanes<Element = T>, const OUTPUTS: usize>(
        &self,
        fetch: &[*const T],
        cut: usize,
        width: usize,
    ) -> [[T; GROUP]; OUTPUTS] {
        // SAFETY: the caller's promise.
        let mut sums = unsafe { self.products::<V, OUTPUTS>(fetch, 0..cut) };
        if cut < width {
            // SAFETY: as above.
            let second = unsafe { self.products::<V, OUTPUTS>(fetch, cut..width) };
            for (sums, second) in sums.iter_mut().zip(second) {
                for (sum, second) in sums.iter_mut().zip(second) {
                    *sum += second;
                }
            }
        }
        sums
    }

    /// The products of the rows with the weight of `OUTPUTS` outputs over some columns. Each sum is added in the same
    /// order, whichever rows and outputs are its neighbours. Meanwhile the columns of the rows of `fetch` are fetched from
    /// memory.
    ///
    /// # Safety
    /// Each input and each output's weight must have these columns.
    #[inline(always)]
    pub unsafe fn products<V: Lanes<Element = T>, const OUTPUTS: usize>(
        &self,
        fetch: &[*const T],
        columns: Range<usize>,
    ) -> [[T; GROUP]; OUTPUTS] {
        let mut sums = [[V::splat(T::zero()); GROUP]; OUTPUTS];
        let mut column = columns.start;
        while column + V::LANES <= columns.end {
            if column.is_multiple_of(per_line::<T>()) {
                fetch.iter().for_each(|row| prefetch(row.wrapping_add(column)));
            }
            // SAFETY: `column + LANES` is at most the end.
            unsafe { self.add_products(&mut sums, column, V::LANES) };
            column += V::LANES;
        }
        // The end may lie on a line of its own.
        fetch.iter().for_each(|row| prefetch(row.wrapping_add(columns.end.saturating_sub(1))));
        if column < columns.end {
            // SAFETY: as many numbers are left of each row.
            unsafe { self.add_products(&mut sums, column, columns.end - column) };
        }
        let mut totals = [[T::zero(); GROUP]; OUTPUTS];
        for (totals, sums) in totals.iter_mut().zip(sums) {
            *totals = V::sums(sums);
        }
        totals
    }

    /// Adds the products of `count` columns, at most `LANES`.
    ///
    /// # Safety
    /// From `column` on, each input and each output's weight must have `count` numbers.
    #[inline(always)]
    unsafe fn add_products<V: Lanes<Element = T>, const OUTPUTS: usize>(
        &self,
        sums: &mut [[V; GROUP]; OUTPUTS],
        column: usize,
        count: usize,
    ) {
        let mut x = [V::splat(T::zero()); GROUP];
        for (x, input) in x.iter_mut().zip(self.inputs) {
            // SAFETY: the caller says that the numbers are there.
            *x = unsafe { load(input.add(column), count) };
        }
        for (k, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let w: V = unsafe { load(self.weight.add(k * self.stride + column), count) };
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = x.mul_add(w, *sum);
            }
        }
    }
}

/// One feature, one output, rows one after another: a column that is scaled and shifted.
#[inline(always)]
fn scale_column<V: Lanes>(
    column: &[V::Element],
    weight: V::Element,
    bias: Option<V::Element>,
    outputs: &mut [V::Element],
) {
    let (w, b) = (V::splat(weight), V::splat(bias.unwrap_or(V::Element::zero())));
    let mut place = 0;
    while place < column.len() {
        let count = (column.len() - place).min(V::LANES);
        // SAFETY: from `place` on, column and outputs have `count` numbers.
        unsafe {
            let x: V = load(column.as_ptr().add(place), count);
            store(x.mul_add(w, b), outputs.as_mut_ptr().add(place), count);
        }
        place += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::RowIndex;
    use crate::kernels::test_levels::{close, numbers, on_every_level};

    #[test]
    fn every_level_gives_the_sums_of_products_on_odd_shapes() {
        on_every_level(|| {
            for (count, width, outputs) in
                [(1, 1, 1), (5, 1, 1), (7, 3, 1), (9, 17, 2), (6, 33, 5), (3, 100, 10), (4, 8, 70)]
            {
                check::<f64>(count, width, outputs, 1e-13);
                check::<f32>(count, width, outputs, 1e-5);
            }
        });
    }

    fn check<T: Element + std::fmt::Debug>(count: usize, width: usize, outputs: usize, tolerance: f64) {
        let matrix: Vec<T> = numbers(20 * width, 1);
        let (weight, bias): (Vec<T>, Vec<T>) = (numbers(outputs * width, 2), numbers(outputs, 3));
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % 20).collect();
        for index in [RowIndex::List(&list), RowIndex::Range { start: 2, len: count }] {
            for bias in [&bias[..], &[]] {
                let rows = Rows::new(&matrix, width, index);
                let mut out = vec![T::nan(); count * outputs];
                linear_forward(&rows, &weight, bias, &mut out);
                for (i, row) in rows.iter().enumerate() {
                    for k in 0..outputs {
                        let w = &weight[k * width..(k + 1) * width];
                        let sum: f64 = row.iter().zip(w).map(|(x, w)| x.as_f64() * w.as_f64()).sum();
                        let expected = sum + bias.get(k).map_or(0.0, |b| b.as_f64());
                        close(out[i * outputs + k].as_f64(), expected, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        on_every_level(|| {
            let matrix: Vec<f64> = numbers(9 * 37, 1);
            let weight: Vec<f64> = numbers(6 * 37, 2);
            let mut together = vec![0.0; 9 * 6];
            linear_forward(&Rows::new(&matrix, 37, RowIndex::Range { start: 0, len: 9 }), &weight, &[], &mut together);
            for row in 0..9_u32 {
                let mut alone = vec![0.0; 6];
                linear_forward(&Rows::new(&matrix, 37, RowIndex::List(&[row])), &weight, &[], &mut alone);
                assert_eq!(alone, together[row as usize * 6..][..6]);
            }
        });
    }
}
