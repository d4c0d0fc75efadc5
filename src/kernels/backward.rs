//! The gradient of a linear layer, summed over some rows: of the weight `sum g row'`, of the bias `sum g`.

use super::block_rows::{BlockRows, MOST_ROWS, OutputGradient};
use super::element::Element;
use super::lanes::{GROUP, Lanes, last_touched, load_of_row, store};
use super::level::Kernel;
use super::rows::{FETCHED, Need, Rows, per_line, prefetch};
use super::vector::{dot_lanes, sum_lanes};

/// Adds each row's gradient to `weight_gradient`, `[outputs, width]`, and to `bias_gradient`, `[outputs]` or empty.
/// `output_gradient` is `[rows, outputs]`.
///
/// # Panics
/// If there are rows, and the lengths do not fit each other.
pub fn linear_backward<T: Element>(
    rows: &Rows<'_, T>,
    output_gradient: &[T],
    weight_gradient: &mut [T],
    bias_gradient: &mut [T],
) {
    if !rows.is_empty() {
        backward(rows, output_gradient, weight_gradient, bias_gradient, false);
    }
}

/// Writes the sum of the rows' gradients over what the gradients hold: to the last bit, but for the sign of a zero, what
/// [`linear_backward`] adds to zeros, without their being read.
///
/// # Panics
/// If there are rows, and the lengths do not fit each other.
pub fn linear_backward_anew<T: Element>(
    rows: &Rows<'_, T>,
    output_gradient: &[T],
    weight_gradient: &mut [T],
    bias_gradient: &mut [T],
) {
    if rows.is_empty() {
        weight_gradient.fill(T::zero());
        return bias_gradient.fill(T::zero());
    }
    backward(rows, output_gradient, weight_gradient, bias_gradient, true);
}

fn backward<T: Element>(
    rows: &Rows<'_, T>,
    output_gradient: &[T],
    weight_gradient: &mut [T],
    bias_gradient: &mut [T],
    anew: bool,
) {
    let (width, each) = (rows.width(), output_gradient.len() / rows.len());
    assert!(output_gradient.len() == each * rows.len(), "a gradient for each row's outputs");
    assert!(Some(weight_gradient.len()) == each.checked_mul(width), "a gradient that fits rows and outputs");
    assert!(bias_gradient.is_empty() || bias_gradient.len() == each, "a bias for each output");
    if anew {
        bias_gradient.fill(T::zero());
    }
    T::run_backward(Backward { rows, output_gradient, weight_gradient, bias_gradient, each, anew });
}

pub struct Backward<'a, T> {
    rows: &'a Rows<'a, T>,
    output_gradient: &'a [T],
    weight_gradient: &'a mut [T],
    bias_gradient: &'a mut [T],
    /// Outputs of a row.
    each: usize,
    /// Whether the weight's gradient is written over.
    anew: bool,
}

impl<T: Element> Kernel<T> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        add_bias::<V>(self.output_gradient, self.bias_gradient);
        if self.each == 1
            && self.rows.width() == 1
            && let Some(column) = self.rows.contiguous()
        {
            let before = if self.anew { T::zero() } else { self.weight_gradient[0] };
            self.weight_gradient[0] = before + dot_lanes::<V>(column, self.output_gradient);
            return;
        }
        let (rows, each) = (self.rows, self.each);
        let mut block = BlockRows::new();
        let mut place = 0;
        while place < rows.len() {
            let count = (rows.len() - place).min(MOST_ROWS);
            block.find(rows, place, count, rows.len());
            let output_gradient = OutputGradient::by_row(&self.output_gradient[place * each..], each);
            let block = block.back(rows.width(), Need::Soon, output_gradient, self.anew && place == 0);
            // SAFETY: `Rows::new` has found the rows' numbers to be there, and `backward` those of the weight and of the output
            // gradient.
            unsafe { block.add_all::<V>(self.weight_gradient) };
            place += count;
        }
    }
}

/// Some rows and what comes back to their outputs.
pub(super) struct Block<'a, T> {
    /// Where each row begins.
    pub inputs: &'a [*const T],
    /// Where the row begins that is to be fetched from memory meanwhile.
    pub next: &'a [*const T],
    /// For what.
    pub need: Need,
    pub width: usize,
    pub output_gradient: OutputGradient<'a, T>,
    /// Whether the gradient is written over.
    pub anew: bool,
}

impl<T: Element> Block<'_, T> {
    /// Adds the gradient of the weight, `[outputs, width]`.
    ///
    /// # Safety
    /// Each input must have `width` numbers, the gradient `outputs` times as many, and the output gradient must be
    /// [of](OutputGradient::is_of) all inputs.
    #[inline(always)]
    pub unsafe fn add_all<V: Lanes<Element = T>>(&self, gradient: &mut [T]) {
        let (mut first, outputs) = (0, self.output_gradient.outputs);
        while first < outputs {
            let gradient = &mut gradient[first * self.width..];
            // SAFETY: the caller's promise.
            first += unsafe {
                match outputs - first {
                    10.. if V::REGISTERS >= 32 => self.add_outputs::<V, 10, 2>(first, gradient),
                    10.. => self.add_outputs::<V, 10, 1>(first, gradient),
                    5.. if V::REGISTERS >= 32 => self.add_outputs::<V, 5, 4>(first, gradient),
                    5.. => self.add_outputs::<V, 5, 2>(first, gradient),
                    3.. if V::REGISTERS >= 32 => self.add_outputs::<V, 3, 6>(first, gradient),
                    3.. => self.add_outputs::<V, 3, 3>(first, gradient),
                    2 if V::REGISTERS >= 32 => self.add_outputs::<V, 2, 8>(first, gradient),
                    2 => self.add_outputs::<V, 2, 4>(first, gradient),
                    _ => self.add_output::<V>(first, gradient),
                }
            };
        }
    }

    /// Adds the gradient of `OUTPUTS` rows of the weight, from output `first` on, in strips of `REGISTERS` vectors. Returns
    /// `OUTPUTS`.
    ///
    /// # Safety
    /// As [`add_all`](Block::add_all), with a `gradient` of `OUTPUTS` rows; there must be outputs up to `first + OUTPUTS`.
    #[inline(always)]
    unsafe fn add_outputs<V: Lanes<Element = T>, const OUTPUTS: usize, const REGISTERS: usize>(
        &self,
        first: usize,
        gradient: &mut [T],
    ) -> usize {
        debug_assert!(gradient.len() >= OUTPUTS * self.width && first + OUTPUTS <= self.output_gradient.outputs);
        let gradient = gradient.as_mut_ptr();
        let mut column = 0;
        // SAFETY: every strip lies within `width`, the length the caller gives each input and each of the gradient's rows, and
        // the outputs are those of the caller's promise.
        unsafe {
            while column + REGISTERS * V::LANES <= self.width {
                self.add_strip::<V, OUTPUTS, REGISTERS>(first, gradient, column, V::LANES);
                column += REGISTERS * V::LANES;
            }
            // What is left goes vector by vector: a strip of every length for every number of outputs would be a lot of
            // code for little.
            while column < self.width {
                let last = (self.width - column).min(V::LANES);
                self.add_strip::<V, OUTPUTS, 1>(first, gradient, column, last);
                column += last;
            }
        }
        OUTPUTS
    }

    /// The same for one output, whose strips may have any length: rows are read once.
    ///
    /// # Safety
    /// As [`add_all`](Block::add_all), with a `gradient` of one row; there must be such an output.
    #[inline(always)]
    pub unsafe fn add_output<V: Lanes<Element = T>>(&self, output: usize, gradient: &mut [T]) -> usize {
        debug_assert!(gradient.len() >= self.width && output < self.output_gradient.outputs);
        let gradient = gradient.as_mut_ptr();
        let mut column = 0;
        while column < self.width {
            let left = self.width - column;
            let vectors = left.div_ceil(V::LANES).min(8);
            let last = (left - (vectors - 1) * V::LANES).min(V::LANES);
            // SAFETY: every strip lies within `width`, the length the caller gives each input and the gradient's row, and the
            // output is that of the caller's promise.
            unsafe {
                match vectors {
                    8 => self.add_strip::<V, 1, 8>(output, gradient, column, last),
                    7 => self.add_strip::<V, 1, 7>(output, gradient, column, last),
                    6 => self.add_strip::<V, 1, 6>(output, gradient, column, last),
                    5 => self.add_strip::<V, 1, 5>(output, gradient, column, last),
                    4 => self.add_strip::<V, 1, 4>(output, gradient, column, last),
                    3 => self.add_strip::<V, 1, 3>(output, gradient, column, last),
                    2 => self.add_strip::<V, 1, 2>(output, gradient, column, last),
                    _ => self.add_strip::<V, 1, 1>(output, gradient, column, last),
                }
            }
            column += (vectors - 1) * V::LANES + last;
        }
        1
    }

    /// One strip of columns, kept in registers over all rows, and then added to what is there: so two blocks come to the same
    /// sum, whichever is the first. Its last vector has `last` numbers.
    ///
    /// # Safety
    /// From `column` on, each input and each of `OUTPUTS` rows of `gradient` must have the strip's numbers, and before a whole
    /// number of vectors. The output gradient must be [of](OutputGradient::is_of) all inputs, and have outputs up to
    /// `first + OUTPUTS`.
    #[inline(always)]
    unsafe fn add_strip<V: Lanes<Element = T>, const OUTPUTS: usize, const VECTORS: usize>(
        &self,
        first: usize,
        gradient: *mut T,
        column: usize,
        last: usize,
    ) {
        let mut sums = [[V::splat(T::zero()); VECTORS]; OUTPUTS];
        let OutputGradient { numbers, row_step, output_step, .. } = self.output_gradient;
        let mut gradients = numbers.as_ptr().wrapping_add(first * output_step);
        for (r, (&input, next)) in self.inputs.iter().zip(self.next).enumerate() {
            if first == 0 && r % GROUP >= FETCHED {
                fetch::<V>(*next, self.need, column, VECTORS, self.width);
            }
            let mut x = [V::splat(T::zero()); VECTORS];
            // SAFETY: the caller says that the strip is there.
            unsafe { load_strip(input, column, last, &mut x) };
            for (k, sums) in sums.iter_mut().enumerate() {
                // SAFETY: this row and output have a number, by the caller's promise.
                let g = V::splat(unsafe { *gradients.add(k * output_step) });
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = x.mul_add(g, *sum);
                }
            }
            gradients = gradients.wrapping_add(row_step);
        }
        for (k, mut sums) in sums.into_iter().enumerate() {
            if !self.anew {
                let mut before = [V::splat(T::zero()); VECTORS];
                // SAFETY: as above.
                unsafe { load_strip(gradient.add(k * self.width), column, last, &mut before) };
                for (sum, before) in sums.iter_mut().zip(before) {
                    *sum = before.add(*sum);
                }
            }
            // SAFETY: as above.
            unsafe { store_strip(sums, gradient.add(k * self.width + column), last) };
        }
    }
}

/// Asks for the lines of a strip of a row, and for the end of the row, which may lie on a line of its own.
#[inline(always)]
pub(super) fn fetch<V: Lanes>(row: *const V::Element, need: Need, column: usize, vectors: usize, width: usize) {
    for column in (column..).step_by(V::LANES).take(vectors) {
        if column.is_multiple_of(per_line::<V::Element>()) {
            prefetch(row.wrapping_add(column), need);
        }
    }
    if column + vectors * V::LANES >= width {
        prefetch(row.wrapping_add(last_touched::<V>(width)), need);
    }
}

/// Loads a strip of a row, of features or of the gradient. Its last vector has `last` numbers.
///
/// # Safety
/// The row must have the strip's numbers from the column on, and a whole number of vectors before.
#[inline(always)]
unsafe fn load_strip<V: Lanes>(row: *const V::Element, column: usize, last: usize, strip: &mut [V]) {
    let vectors = strip.len();
    for (vector, lanes) in strip.iter_mut().enumerate() {
        let count = if vector + 1 == vectors { last } else { V::LANES };
        // SAFETY: the caller's promise.
        *lanes = unsafe { load_of_row(row, column + vector * V::LANES, count) };
    }
}

/// Writes a strip whose last vector has `last` numbers.
///
/// # Safety
/// They must be writable.
#[inline(always)]
pub(super) unsafe fn store_strip<V: Lanes, const VECTORS: usize>(
    strip: [V; VECTORS],
    to: *mut V::Element,
    last: usize,
) {
    for (vector, lanes) in strip.into_iter().enumerate() {
        let count = if vector + 1 == VECTORS { last } else { V::LANES };
        // SAFETY: the caller's promise.
        unsafe { store(lanes, to.add(vector * V::LANES), count) };
    }
}

/// Adds up what comes back to each output.
#[inline(always)]
pub(super) fn add_bias<V: Lanes>(output_gradient: &[V::Element], bias: &mut [V::Element]) {
    match bias {
        [] => {}
        [bias] => *bias += sum_lanes::<V>(output_gradient),
        _ => {
            for row in output_gradient.chunks_exact(bias.len()) {
                for (bias, &g) in bias.iter_mut().zip(row) {
                    *bias += g;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::RowIndex;
    use crate::kernels::test_levels::{close, numbers, on_every_level};

    #[test]
    fn every_level_adds_the_rank_one_updates_on_odd_shapes() {
        on_every_level(|| {
            let widths = [0, 1, 2, 3, 8, 17, 31, 64, 100, 129, 130, 200];
            for width in widths {
                for outputs in [1, 2, 3, 4, 5, 7, 10, 13] {
                    for count in [1, 5, 64, 67] {
                        check::<f64>(count, width, outputs, 1e-12);
                        check::<f32>(count, width, outputs, 1e-4);
                    }
                }
            }
            check::<f64>(9, 33, 70, 1e-12);
        });
    }

    #[test]
    fn two_blocks_add_up_to_the_same_in_either_order() {
        on_every_level(|| {
            for (width, outputs) in [(1, 1), (33, 1), (70, 3), (200, 10), (41, 13)] {
                let matrix: Vec<f32> = numbers(107 * width, 1);
                let output_gradient: Vec<f32> = numbers(107 * outputs, 2);
                let sum = |blocks: [(usize, usize); 2]| {
                    let mut weight = vec![0.0; outputs * width];
                    for (start, count) in blocks {
                        let rows = Rows::new(&matrix, width, RowIndex::range(start, count));
                        let own = &output_gradient[start * outputs..(start + count) * outputs];
                        linear_backward(&rows, own, &mut weight, &mut []);
                    }
                    weight
                };
                assert_eq!(sum([(0, 64), (64, 43)]), sum([(64, 43), (0, 64)]), "{width} x {outputs}");
            }
        });
    }

    fn check<T: Element + std::fmt::Debug>(count: usize, width: usize, outputs: usize, tolerance: f64) {
        let matrix: Vec<T> = numbers(80 * width, 1);
        let output_gradient: Vec<T> = numbers(count * outputs, 2);
        let (start, bias_start): (Vec<T>, Vec<T>) = (numbers(outputs * width, 3), numbers(outputs, 4));
        let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % 80).collect();
        for index in [RowIndex::list(&list), RowIndex::range(2, count)] {
            let rows = Rows::new(&matrix, width, index);
            let (mut weight, mut bias) = (vec![T::zero(); start.len()], vec![T::zero(); outputs]);
            linear_backward(&rows, &output_gradient, &mut weight, &mut bias);
            let (mut weight_anew, mut bias_anew) = (start.clone(), bias_start.clone());
            linear_backward_anew(&rows, &output_gradient, &mut weight_anew, &mut bias_anew);
            assert_eq!((weight_anew, bias_anew), (weight, bias));

            let (mut weight, mut bias) = (start.clone(), bias_start.clone());
            linear_backward(&rows, &output_gradient, &mut weight, &mut bias);
            for k in 0..outputs {
                let of_row = |i: usize| output_gradient[i * outputs + k].as_f64();
                let expected = (0..count).map(of_row).sum::<f64>() + bias_start[k].as_f64();
                close(bias[k].as_f64(), expected, tolerance);
                for c in 0..width {
                    let sum: f64 = rows.iter().enumerate().map(|(i, row)| row[c].as_f64() * of_row(i)).sum();
                    close(weight[k * width + c].as_f64(), sum + start[k * width + c].as_f64(), tolerance);
                }
            }
        }
    }

    #[test]
    fn without_a_bias_none_is_written() {
        let mut weight = [0.0; 2];
        let rows = Rows::new(&[1.0, 2.0, 3.0, 4.0], 2, RowIndex::range(0, 2));
        linear_backward(&rows, &[1.0, 10.0], &mut weight, &mut []);
        assert_eq!(weight, [31.0, 42.0]);
        linear_backward_anew(&Rows::new(&[], 2, RowIndex::NONE), &[], &mut weight, &mut []);
        assert_eq!(weight, [0.0; 2]);
    }
}
