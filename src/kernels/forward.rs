//! Outputs of a linear layer for some rows: `weight row + bias`.

use std::ops::RangeInclusive;

use num_traits::Zero;

use super::element::Element;
use super::lanes::{GROUP, Lanes, last_touched, load, load_of_row, store};
use super::level::Kernel;
use super::rows::{FETCHED, LINE, Need, Rows, per_line, prefetch};

/// Writes `weight row + bias` of each row over `outputs`, `[rows, outputs]`. `weight` is `[outputs, width]`, `bias`
/// `[outputs]` or empty.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn linear_forward<T: Element>(rows: &Rows<'_, T>, weight: &[T], bias: &[T], outputs: &mut [T]) {
    let width = rows.width();
    if rows.is_empty() {
        return;
    }
    let each = outputs.len() / rows.len();
    assert!(
        outputs.len() == each * rows.len() && Some(weight.len()) == each.checked_mul(width),
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
        let rows = self.rows;
        let weight = WeightRows { first: self.weight.as_ptr(), step: rows.width() };
        let mut place = 0;
        while place < rows.len() {
            let group = (rows.len() - place).min(GROUP);
            let (mut inputs, mut ahead) = ([std::ptr::null(); GROUP], [0; GROUP]);
            rows.addresses(place, &mut inputs[..group]);
            rows.rows_ahead(place, rows.len(), &mut ahead[..group]);
            let mut then = [inputs[0]; GROUP];
            let after = place + group;
            rows.addresses(after, &mut then[..GROUP.min(rows.len() - after)]);
            // A group that is not full computes its last row more than once.
            let last = group - 1;
            let group_rows = GroupRows {
                inputs: std::array::from_fn(|r| inputs[r.min(last)]),
                next: std::array::from_fn(|r| rows.address(ahead[r.min(last)])),
                need: Need::Soon,
                then,
                width: rows.width(),
            };
            let out = &mut self.outputs[place * self.each..(place + group) * self.each];
            let write = |first: usize, sums: &[[T; GROUP]]| {
                for (k, sums) in sums.iter().enumerate() {
                    let bias = self.bias.get(first + k).copied().unwrap_or(T::zero());
                    for (row, &sum) in out.chunks_exact_mut(self.each).zip(sums) {
                        row[first + k] = sum + bias;
                    }
                }
            };
            // SAFETY: `Rows::new` has found each row's `width` numbers to be there, and `linear_forward` the weight's.
            unsafe { group_rows.products::<V>(weight, self.each, write) };
            place += group;
        }
    }
}

/// Rows of a weight, or some columns of them.
#[derive(Clone, Copy)]
pub(super) struct WeightRows<T> {
    /// Where the first row begins, and how many numbers after that the next does.
    pub first: *const T,
    pub step: usize,
}

/// Rows, or some columns of them, that go forward together.
pub(super) struct GroupRows<T> {
    /// Where each begins.
    pub inputs: [*const T; GROUP],
    /// Where the rows begin that are fetched meanwhile.
    pub next: [*const T; FETCHED],
    /// For what.
    pub need: Need,
    /// Where the rows of the group after this one begin.
    pub then: [*const T; GROUP],
    pub width: usize,
}

/// Half of a group.
const HALF: usize = GROUP / 2;

/// The outputs whose products with half of a group have room in the registers of a processor that has 32.
const WIDE: usize = 10;

/// The bytes of so many rows of the weight for which it pays to take them together. More come from the next cache, which two
/// halves of a group ask for them twice; beside fewer a whole group has room in the nearest cache.
const WIDE_BYTES: RangeInclusive<usize> = 28 << 10..=42 << 10;

/// Whether rows of this width are faster [`WIDE`] outputs at a time. A half of a group reads the weight twice as often, so its
/// rows must not lie across cache lines: they do not, if the first begins one, as a parameter's does.
#[inline(always)]
fn is_wide_faster<V: Lanes>(width: usize) -> bool {
    let row_bytes = width * size_of::<V::Element>();
    V::REGISTERS >= 32 && row_bytes.is_multiple_of(LINE) && WIDE_BYTES.contains(&(WIDE * row_bytes))
}

impl<T: Element> GroupRows<T> {
    /// Hands on the rows' products with `outputs` rows of the weight, some at a time, and which is the first of these.
    ///
    /// # Safety
    /// Each input and each of `outputs` rows of the weight must have `width` numbers.
    #[inline(always)]
    pub unsafe fn products<V: Lanes<Element = T>>(
        &self,
        weight: WeightRows<T>,
        outputs: usize,
        mut write: impl FnMut(usize, &[[T; GROUP]]),
    ) {
        let GroupRows { inputs, next, then, .. } = self;
        let (width, need) = (self.width, self.need);
        // The outputs that have room for their sums in registers: the most that a pass below takes.
        let most = if V::REGISTERS >= 32 { 5 } else { 2 };
        let (mut first, mut pass) = (0, 0);
        while first < outputs {
            let left = outputs - first;
            let wide = left >= WIDE && is_wide_faster::<V>(width);
            // Memory is asked evenly: in the first two passes over the columns for one row each, in an only pass for both. So is
            // the next cache for the rows of the group after this one, unless a block has room in the nearest.
            let (fetch, near): (&[_], &[_]) = match pass {
                0 if left <= most => (&next[..], &then[..]),
                0 => (&next[..1], &then[..HALF]),
                1 => (&next[1..], &then[HALF..]),
                _ => (&[], &[]),
            };
            let near = if matches!(need, Need::Soon) { near } else { &[] };
            pass += if wide { 2 } else { 1 };
            let weight = WeightRows { first: weight.first.wrapping_add(first * weight.step), ..weight };
            let mut write = |sums: &[[T; GROUP]]| {
                write(first, sums);
                sums.len()
            };
            // SAFETY: the caller's promise: from `weight` on there are the rows of `left` outputs.
            first += unsafe {
                match left {
                    WIDE.. if wide && first == 0 => {
                        let [a, b] = *next;
                        write(&wide_tile::<V, 1>(inputs, then, [[a], [b]], need, weight, width))
                    }
                    WIDE.. if wide => write(&wide_tile::<V, 0>(inputs, then, [[]; 2], need, weight, width)),
                    5.. if V::REGISTERS >= 32 => write(&tile::<V, 5>(inputs, fetch, near, need, weight, width)),
                    1 => write(&tile::<V, 1>(inputs, fetch, near, need, weight, width)),
                    2 => write(&tile::<V, 2>(inputs, fetch, near, need, weight, width)),
                    4 if V::REGISTERS >= 32 => write(&tile::<V, 4>(inputs, fetch, near, need, weight, width)),
                    _ if V::REGISTERS >= 32 => write(&tile::<V, 3>(inputs, fetch, near, need, weight, width)),
                    _ => write(&tile::<V, 2>(inputs, fetch, near, need, weight, width)),
                }
            };
        }
    }
}

/// The products of a group of rows with `OUTPUTS` rows of the weight. Each sum is added in the same order, whichever rows
/// and outputs are its neighbours.
/// Meanwhile the lines of two kinds of rows, which are not read, are asked for: from memory those of `fetch`, to the nearest
/// cache those of `near`.
///
/// # Safety
/// Each input and each of `OUTPUTS` rows of the weight must have `width` numbers.
#[inline(always)]
pub(super) unsafe fn tile<V: Lanes, const OUTPUTS: usize>(
    inputs: &[*const V::Element; GROUP],
    fetch: &[*const V::Element],
    near: &[*const V::Element],
    need: Need,
    weight: WeightRows<V::Element>,
    width: usize,
) -> [[V::Element; GROUP]; OUTPUTS] {
    // SAFETY: the caller's promise.
    let sums = unsafe { sums_of_products::<V, GROUP, OUTPUTS>(inputs, fetch, near, need, weight, width) };
    let mut totals = [[V::Element::zero(); GROUP]; OUTPUTS];
    // Not `map`: a closure would be compiled for any processor.
    for (totals, sums) in totals.iter_mut().zip(sums) {
        *totals = V::sums(sums);
    }
    totals
}

/// The same for [`WIDE`] outputs, of half of the rows and then of the others: each column of a row is read once, so that what
/// comes from the next cache and what is fetched from memory come evenly. `fetch` is for each half, and its length known to
/// the compiler; `then` are the rows after these.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn wide_tile<V: Lanes, const FETCH: usize>(
    inputs: &[*const V::Element; GROUP],
    then: &[*const V::Element; GROUP],
    fetch: [[*const V::Element; FETCH]; 2],
    need: Need,
    weight: WeightRows<V::Element>,
    width: usize,
) -> [[V::Element; GROUP]; WIDE] {
    const { assert!(HALF == 2 && WIDE.is_multiple_of(2)) };
    // Apart: as one, what is written in two parts would soon be read as a whole, and the processor wait for that.
    let mut halves = [[[V::Element::zero(); HALF]; WIDE]; 2];
    for (half, (fetch, totals)) in fetch.iter().zip(&mut halves).enumerate() {
        let place = half * HALF;
        let rows = [inputs[place], inputs[place + 1]];
        let near = if half == 0 { [inputs[HALF], inputs[HALF + 1]] } else { [then[0], then[1]] };
        // SAFETY: the caller's promise.
        let sums = unsafe { sums_of_products::<V, HALF, WIDE>(&rows, fetch, &near, need, weight, width) };
        for (totals, sums) in totals.chunks_exact_mut(2).zip(sums.chunks_exact(2)) {
            let [a, b, c, d] = V::sums([sums[0][0], sums[0][1], sums[1][0], sums[1][1]]);
            (totals[0], totals[1]) = ([a, b], [c, d]);
        }
    }
    let mut totals = [[V::Element::zero(); GROUP]; WIDE];
    for ((totals, low), high) in totals.iter_mut().zip(halves[0]).zip(halves[1]) {
        *totals = [low[0], low[1], high[0], high[1]];
    }
    totals
}

/// What adds up to the products of `ROWS` rows with `OUTPUTS` rows of the weight. Meanwhile the lines of two kinds of rows are
/// asked for: from memory those of `fetch`, to the nearest cache those of `near`, which are about to be read.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn sums_of_products<V: Lanes, const ROWS: usize, const OUTPUTS: usize>(
    inputs: &[*const V::Element; ROWS],
    fetch: &[*const V::Element],
    near: &[*const V::Element],
    need: Need,
    weight: WeightRows<V::Element>,
    width: usize,
) -> [[V; ROWS]; OUTPUTS] {
    let mut sums = [[V::splat(V::Element::zero()); ROWS]; OUTPUTS];
    let whole = width - width % V::LANES;
    let mut column = 0;
    while column < whole {
        if column.is_multiple_of(per_line::<V::Element>()) {
            fetch.iter().for_each(|row| prefetch(row.wrapping_add(column), need));
            near.iter().for_each(|row| prefetch(row.wrapping_add(column), Need::Now));
        }
        // SAFETY: `column + LANES` is at most `width`.
        unsafe { add_products(&mut sums, inputs, weight, column, V::LANES) };
        column += V::LANES;
    }
    if column < width && column.is_multiple_of(per_line::<V::Element>()) {
        fetch.iter().for_each(|row| prefetch(row.wrapping_add(column), need));
    }
    // The end may lie on a line of its own.
    fetch.iter().for_each(|row| prefetch(row.wrapping_add(last_touched::<V>(width)), need));
    if column < width {
        // SAFETY: as many numbers are left of each row.
        unsafe { add_products(&mut sums, inputs, weight, column, width - column) };
    }
    sums
}

/// Adds the products of `count` columns, at most `LANES`.
///
/// # Safety
/// From `column` on, each input and each of `OUTPUTS` rows of the weight must have `count` numbers, and before a whole number
/// of vectors.
#[inline(always)]
unsafe fn add_products<V: Lanes, const ROWS: usize, const OUTPUTS: usize>(
    sums: &mut [[V; ROWS]; OUTPUTS],
    inputs: &[*const V::Element; ROWS],
    weight: WeightRows<V::Element>,
    column: usize,
    count: usize,
) {
    let mut x = [V::splat(V::Element::zero()); ROWS];
    for (x, input) in x.iter_mut().zip(inputs) {
        // SAFETY: the caller says that the numbers are there.
        *x = unsafe { load_of_row(*input, column, count) };
    }
    for (k, sums) in sums.iter_mut().enumerate() {
        // SAFETY: as above.
        let w: V = unsafe { load(weight.first.add(k * weight.step + column), count) };
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = x.mul_add(w, *sum);
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
#[path = "forward_tests.rs"]
mod tests;
