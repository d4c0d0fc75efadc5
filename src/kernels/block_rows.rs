//! Where the rows of a block lie: they go forward, group by group, and back together.

use std::ops::Range;

use super::backward::Block;
use super::element::Element;
use super::forward::{GroupRows, WeightRows};
use super::lanes::{GROUP, Lanes};
use super::rows::{LINE, Need, Rows, per_line};

/// The rows of a block, at most.
pub(super) const MOST_ROWS: usize = 64;

/// The bytes of a block that leave room in the nearest cache for what else is needed.
pub(super) const NEAREST_BYTES: usize = 16 * 1024;

/// What comes back to the outputs of rows: row by row, or as a piece holds it.
#[derive(Clone, Copy)]
pub(super) struct OutputGradient<'a, T> {
    pub numbers: &'a [T],
    pub outputs: usize,
    /// From the number of a row, or of an output, to that of the next.
    pub row_step: usize,
    pub output_step: usize,
}

impl<'a, T> OutputGradient<'a, T> {
    /// `[rows, outputs]`.
    #[inline(always)]
    pub fn by_row(numbers: &'a [T], outputs: usize) -> Self {
        OutputGradient { numbers, outputs, row_step: outputs, output_step: 1 }
    }

    /// `[outputs, rows]`.
    #[inline(always)]
    pub fn by_output(numbers: &'a [T], outputs: usize, rows: usize) -> Self {
        OutputGradient { numbers, outputs, row_step: 1, output_step: rows }
    }

    /// Whether it has a number for each output of so many rows.
    #[inline(always)]
    pub fn is_of(&self, rows: usize) -> bool {
        let outputs = self.outputs;
        rows == 0 || outputs == 0 || (rows - 1) * self.row_step + (outputs - 1) * self.output_step < self.numbers.len()
    }
}

/// Bytes of a row beyond which a block of rows goes forward some columns after the others: the weight's stay in the nearest
/// cache while the rows come from the next.
const WHOLE_BYTES: usize = 3300;

/// Bytes of those columns of a row, at most.
const COLUMN_BYTES: usize = 1600;

/// Columns of rows of this width that go forward together, at least one; whole cache lines where not all do.
#[inline(always)]
fn columns_together<T>(width: usize) -> usize {
    if width * size_of::<T>() <= WHOLE_BYTES {
        return width.max(1);
    }
    let lines = width.div_ceil(per_line::<T>());
    lines.div_ceil((lines * LINE).div_ceil(COLUMN_BYTES)) * per_line::<T>()
}

/// The addresses of some rows, and of those that are fetched meanwhile.
pub(super) struct BlockRows<T> {
    /// The column from which on they are taken.
    column: usize,
    inputs: [*const T; MOST_ROWS],
    next: [*const T; MOST_ROWS],
    /// The rows of `next`.
    ahead: [usize; MOST_ROWS],
    count: usize,
}

impl<T: Element> BlockRows<T> {
    /// None yet.
    #[inline(always)]
    pub fn new() -> Self {
        BlockRows::from_column(0)
    }

    /// The same, of the columns from this one on.
    #[inline(always)]
    pub fn from_column(column: usize) -> Self {
        let nowhere = [std::ptr::null(); MOST_ROWS];
        BlockRows { column, inputs: nowhere, next: nowhere, ahead: [0; MOST_ROWS], count: 0 }
    }

    /// Finds `count` rows from a place on, and those `distance` rows after them, whose numbers are returned: what belongs to
    /// them may be fetched, too.
    #[inline(always)]
    pub fn find(&mut self, rows: &Rows<'_, T>, place: usize, count: usize, distance: usize) -> &[usize] {
        self.count = count;
        let ahead = &mut self.ahead[..count];
        rows.addresses(place, &mut self.inputs[..count]);
        rows.rows_ahead(place, distance, ahead);
        for (next, &row) in self.next.iter_mut().zip(&*ahead) {
            *next = rows.address(row).wrapping_add(self.column);
        }
        for input in &mut self.inputs[..count] {
            *input = input.wrapping_add(self.column);
        }
        ahead
    }

    // What others are fetched for is handed over, not kept: the compiler then knows it in the loops that fetch.

    /// These columns of the group of rows from a place in the block on. One that is not full has its last row more than once.
    #[inline(always)]
    pub fn group(&self, first: usize, columns: Range<usize>, need: Need) -> GroupRows<T> {
        let at = |r: usize| (first + r).min(self.count - 1);
        let from = columns.start;
        GroupRows {
            inputs: std::array::from_fn(|r| self.inputs[at(r)].wrapping_add(from)),
            next: std::array::from_fn(|r| self.next[at(r)].wrapping_add(from)),
            need,
            then: std::array::from_fn(|r| self.inputs[at(GROUP + r)].wrapping_add(from)),
            width: columns.len(),
        }
    }

    /// Hands on the products of the rows, so long, with those of `weight`, `[outputs, width]`, of some columns after the
    /// others: for which outputs, from which row on, and whether they go with those of columns that came before.
    ///
    /// # Safety
    /// Each row must have `width` numbers, and so must each of `outputs` rows of the weight.
    #[inline(always)]
    pub unsafe fn forward<V: Lanes<Element = T>>(
        &self,
        weight: &[T],
        width: usize,
        outputs: usize,
        need: Need,
        mut write: impl FnMut(Range<usize>, usize, bool, &[[T; GROUP]]),
    ) {
        let columns = columns_together::<T>(width);
        for from in (0..width.max(1)).step_by(columns) {
            let weight = WeightRows { first: weight.as_ptr().wrapping_add(from), step: width };
            for first in self.groups() {
                let group = self.group(first, from..(from + columns).min(width), need);
                let write = |output: usize, sums: &[[T; GROUP]]| write(output..outputs, first, from > 0, sums);
                // SAFETY: the caller's promise.
                unsafe { group.products::<V>(weight, outputs, write) };
            }
        }
    }

    /// The rows, so long, with what comes back to them; `anew`, if the gradient is to be written over.
    #[inline(always)]
    pub fn back<'a>(
        &'a self,
        width: usize,
        need: Need,
        output_gradient: OutputGradient<'a, T>,
        anew: bool,
    ) -> Block<'a, T> {
        debug_assert!(output_gradient.is_of(self.count), "a number for each row and output");
        let (inputs, next) = (&self.inputs[..self.count], &self.next[..self.count]);
        Block { inputs, next, need, width, output_gradient, anew }
    }

    /// The places at which groups begin.
    #[inline(always)]
    pub fn groups(&self) -> impl Iterator<Item = usize> + use<T> {
        (0..self.count).step_by(GROUP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::level::{Kernel, run};
    use crate::kernels::test_levels::{numbers, on_every_level};
    use crate::kernels::{RowIndex, linear_backward_anew};

    struct ByOutput<'a> {
        rows: Rows<'a, f32>,
        gradient: OutputGradient<'a, f32>,
        sum: &'a mut [f32],
    }

    impl Kernel<f32> for ByOutput<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes<Element = f32>>(self) {
            let mut block = BlockRows::new();
            block.find(&self.rows, 0, self.rows.len(), 0);
            let block = block.back(self.rows.width(), Need::Soon, self.gradient, true);
            // SAFETY: the test's rows and gradient are as long as they say.
            unsafe { block.add_all::<V>(self.sum) };
        }
    }

    #[test]
    fn wide_rows_go_forward_in_parts_of_whole_lines_of_about_one_length() {
        for width in [0, 1, 784, 825] {
            assert_eq!(columns_together::<f32>(width), width.max(1), "all together");
        }
        for width in [826, 1000, 1200, 1217, 4000, 100_000] {
            let columns = columns_together::<f32>(width);
            assert!(columns.is_multiple_of(LINE / 4) && columns * 4 <= COLUMN_BYTES, "{width}: {columns}");
            let parts = width.div_ceil(columns);
            assert!(width > columns * (parts - 1) && columns * 4 > COLUMN_BYTES / 2, "{width}: {columns}");
        }
        assert_eq!(columns_together::<f64>(412), 412);
        assert_eq!(columns_together::<f64>(413), 144);
    }

    #[test]
    fn a_gradient_is_of_as_many_rows_as_have_all_their_numbers() {
        let numbers = [0.0; 12];
        for (gradient, rows) in
            [(OutputGradient::by_row(&numbers, 3), 4), (OutputGradient::by_output(&numbers[..11], 3, 4), 3)]
        {
            assert!(gradient.is_of(0) && gradient.is_of(rows) && !gradient.is_of(rows + 1));
        }
        assert!(OutputGradient::by_row(&numbers[..0], 0).is_of(5));
    }

    #[test]
    fn a_gradient_lies_output_by_output_as_well_as_row_by_row() {
        const ROOM: usize = 48;
        on_every_level(|| {
            for outputs in [1, 2, 3, 5, 10, 13] {
                let (count, width) = (37, 70);
                let matrix: Vec<f32> = numbers(count * width, 1);
                let by_row: Vec<f32> = numbers(count * outputs, 2);
                let by_output: Vec<f32> = (0..outputs * ROOM)
                    .map(|i| if i % ROOM < count { by_row[i % ROOM * outputs + i / ROOM] } else { f32::NAN })
                    .collect();
                let rows = Rows::new(&matrix, width, RowIndex::range(0, count));
                let (mut expected, mut sum) = (vec![0.0; outputs * width], vec![f32::NAN; outputs * width]);
                linear_backward_anew(&rows, &by_row, &mut expected, &mut []);
                let gradient = OutputGradient::by_output(&by_output, outputs, ROOM);
                run(ByOutput { rows, gradient, sum: &mut sum });
                assert_eq!(sum, expected);
            }
        });
    }
}
