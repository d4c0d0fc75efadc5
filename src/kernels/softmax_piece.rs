//! Softmax cross-entropy of rows of few classes, class by class: the rows' logits of a class lie side by side, so that a
//! register is full of rows however few classes there are, and nothing is added up across it.

use num_traits::Zero;

use super::block_rows::{MOST_ROWS, OutputGradient};
use super::element::Element;
use super::exponential::{exp, ln_1p};
use super::lanes::{GROUP, Lanes};
use super::loss_sum::LossSum;
use super::row_labels::{RowLabels, Smoothing, SoftmaxLoss};
use super::rows::RowIndex;
use super::vector::sum_lanes;

/// The numbers that a piece has room for.
const ROOM: usize = 1024;
/// The rows of a piece, at least: with fewer, what rows have in common is worked out too often. There are up to 64 classes.
const FEWEST_ROWS: usize = 16;

/// The most classes of which rows go through together.
pub(crate) const MOST_CLASSES: usize = ROOM / FEWEST_ROWS;

/// Bytes of rows that stay in the next cache until they go back.
const NEAR_BYTES: usize = 256 * 1024;

/// As many rows of so many bytes as stay in the next cache, of at most so many that there is room for.
#[inline(always)]
pub(super) fn near_rows(most: usize, row_bytes: usize) -> usize {
    (NEAR_BYTES / row_bytes.max(1)).max(FEWEST_ROWS).min(most)
}

/// Rows of so many classes and bytes that go through together at any level and stay in the next cache until they go back: a
/// multiple of [`FEWEST_ROWS`].
pub(super) fn piece_rows(classes: usize, row_bytes: usize) -> usize {
    near_rows(rows_with_room(classes), row_bytes) / FEWEST_ROWS * FEWEST_ROWS
}

/// The most rows of so many classes that there is room for.
#[inline(always)]
fn rows_with_room(classes: usize) -> usize {
    (ROOM / classes.max(1)).min(MOST_ROWS)
}

/// Room for a piece of rows, which means nothing between two of them: to clear it takes as long as some rows do.
// Aligned as a cache line is, and so are all its arrays, of which each is some lines long.
#[derive(Debug)]
#[repr(align(64))]
pub struct SoftmaxRoom<T> {
    /// `[classes, rows]`: the logits, then their exponentials, then the gradient.
    terms: [T; ROOM],
    /// The class of each row, as a number.
    labels: [T; MOST_ROWS],
    /// Each row's own weight, and that times its class's.
    row_weights: [T; MOST_ROWS],
    weights: [T; MOST_ROWS],
    /// What the label's logit is less than the largest of the row: at most 0.
    below: [T; MOST_ROWS],
    /// The label's exponential.
    own: [T; MOST_ROWS],
    /// With smoothing, what each class counts times its logit less the largest, added up.
    all_below: [T; MOST_ROWS],
}

impl<T: Element> Default for SoftmaxRoom<T> {
    fn default() -> Self {
        SoftmaxRoom::full_of(T::zero())
    }
}

impl<T: Element> SoftmaxRoom<T> {
    /// The gradient that a piece of so many classes and rows has left here.
    #[inline(always)]
    pub(super) fn gradient(&self, classes: usize, rows: usize) -> OutputGradient<'_, T> {
        OutputGradient::by_output(&self.terms[..classes * rows], classes, rows)
    }

    #[inline(always)]
    pub(super) fn full_of(number: T) -> Self {
        let numbers = [number; MOST_ROWS];
        SoftmaxRoom {
            terms: [number; ROOM],
            labels: numbers,
            row_weights: numbers,
            weights: numbers,
            below: numbers,
            own: numbers,
            all_below: numbers,
        }
    }
}

/// Rows that go through together. Each loop over them is done before the next begins: what is written one by one must lie in
/// the cache before it can be read as a register.
pub(super) struct Piece<'a, V: Lanes> {
    loss: SoftmaxLoss<'a>,
    smoothing: Option<Smoothing<V::Element>>,
    classes: usize,
    /// Rows that there is room for: some registers full of them.
    rows: usize,
    room: &'a mut SoftmaxRoom<V::Element>,
}

impl<'a, V: Lanes<Element = T>, T: Element> Piece<'a, V> {
    /// The rows of so many classes that there is room for, at most [`MOST_ROWS`]; times the classes at most [`ROOM`]. `None`
    /// where they are too few.
    #[inline(always)]
    pub fn most_rows(classes: usize) -> Option<usize> {
        const { assert!(FEWEST_ROWS.is_multiple_of(V::LANES) && V::LANES.is_multiple_of(GROUP)) };
        let rows = rows_with_room(classes) / V::LANES * V::LANES;
        (rows >= FEWEST_ROWS).then_some(rows)
    }

    /// For rows of so many classes, at most [`most_rows`](Piece::most_rows) of them at a time.
    #[inline(always)]
    pub fn new(classes: usize, rows: usize, loss: SoftmaxLoss<'a>, room: &'a mut SoftmaxRoom<T>) -> Self {
        assert!(classes * rows <= ROOM, "room for the rows");
        Piece { loss, smoothing: loss.smoothing(classes), classes, rows, room }
    }

    /// Takes the logits of a class for the rows from a place on. Those of a group that is not full may be any.
    #[inline(always)]
    pub fn set(&mut self, class: usize, place: usize, logits: [T; GROUP]) {
        self.room.terms[class * self.rows + place..][..GROUP].copy_from_slice(&logits);
    }

    /// What [`set`](Piece::set) has taken.
    #[inline(always)]
    pub fn group(&self, class: usize, place: usize) -> [T; GROUP] {
        std::array::from_fn(|row| self.room.terms[class * self.rows + place + row])
    }

    /// Takes the logits of `count` rows as sums of two halves, each `[classes, rows]`, and the biases, if there are any.
    #[inline(always)]
    pub fn set_sums(&mut self, [a, b]: [&[T]; 2], bias: &[T], count: usize) {
        for class in 0..self.classes {
            let bias = V::splat(bias.get(class).copied().unwrap_or(T::zero()));
            for first in (0..count).step_by(V::LANES) {
                let at = class * self.rows + first;
                self.set_register(class, first, load::<V>(a, at).add(load(b, at)).add(bias));
            }
        }
    }

    /// Takes the logits of rows, `[rows, classes]`.
    #[inline(always)]
    pub fn read_rows(&mut self, logits: &[T]) {
        for (class, terms) in self.room.terms.chunks_exact_mut(self.rows).take(self.classes).enumerate() {
            for (term, logits) in terms.iter_mut().zip(logits.chunks_exact(self.classes)) {
                *term = logits[class];
            }
        }
    }

    /// Replaces the logits of these rows with the gradient, and returns their loss.
    ///
    /// # Panics
    /// If a label is not below the number of classes, or there is no room for the rows.
    #[inline(always)]
    pub fn replace_with_gradient(&mut self, labels: RowLabels<'_, T>, rows: RowIndex<'_>) -> LossSum {
        let count = rows.len();
        assert!(count <= self.rows, "room for the rows");
        let weight = self.take_labels(labels, rows);
        for first in (0..count).step_by(V::LANES) {
            self.exponentials(first);
        }
        let mut loss = 0.0;
        for first in (0..count).step_by(V::LANES) {
            let of_rows = self.loss_and_gradient(first);
            // What an unused lane holds is no row's loss.
            loss += of_rows.first((count - first).min(V::LANES)).sum().as_f64();
        }
        LossSum { loss, weight }
    }

    /// Takes the labels and weights of rows, and returns the sum of the weights.
    #[inline(always)]
    fn take_labels(&mut self, labels: RowLabels<'_, T>, rows: RowIndex<'_>) -> f64 {
        let SoftmaxRoom { labels: numbers, row_weights, weights, .. } = &mut *self.room;
        let alike = labels.weights.is_none() && self.loss.class_weights.is_none();
        if alike {
            (*row_weights, *weights) = ([T::one(); MOST_ROWS], [T::one(); MOST_ROWS]);
        }
        for (place, row) in rows.iter().enumerate() {
            let (label, weight) = labels.at(row);
            assert!(label < self.classes, "a label among the classes");
            numbers[place] = T::from_f64(label as f64);
            if !alike {
                row_weights[place] = weight;
                weights[place] = self.loss.class_weight::<T>(label) * weight;
            }
        }
        if alike { rows.len() as f64 } else { weights[..rows.len()].iter().map(|weight| weight.as_f64()).sum() }
    }

    /// A class as the labels hold it, in every lane.
    #[inline(always)]
    fn number(class: usize) -> V {
        V::splat(T::from_f64(class as f64))
    }

    /// What the piece holds of a class, for each row.
    #[inline(always)]
    fn of_class(&self, class: usize) -> &[T] {
        &self.room.terms[class * self.rows..][..self.rows]
    }

    /// Adds up what it holds of each class for the first `count` rows: the gradient of the biases, if there are any.
    #[inline(always)]
    pub fn add_bias_gradient(&self, count: usize, gradient: &mut [T]) {
        for (class, bias) in gradient.iter_mut().enumerate() {
            *bias += sum_lanes::<V>(&self.of_class(class)[..count]);
        }
    }

    /// What it holds, for as many rows as it has room for.
    #[inline(always)]
    pub fn gradient(&self) -> OutputGradient<'_, T> {
        self.room.gradient(self.classes, self.rows)
    }

    /// Writes what it holds of rows as `[rows, classes]`.
    #[inline(always)]
    pub fn write_rows(&self, to: &mut [T]) {
        for class in 0..self.classes {
            for (row, &term) in to.chunks_exact_mut(self.classes).zip(self.of_class(class)) {
                row[class] = term;
            }
        }
    }

    /// Replaces the logits of a register of rows with `exp(z - largest)`, those of the labels with 0, and takes note of what is
    /// asked of the labels' own.
    #[inline(always)]
    fn exponentials(&mut self, first: usize) {
        let mut largest = V::splat(T::neg_infinity());
        for class in 0..self.classes {
            largest = largest.max(self.register(class, first));
        }
        let labels: V = load(&self.room.labels, first);
        let zero = V::splat(T::zero());
        let (mut own, mut own_below, mut all_below) = (zero, zero, zero);
        for class in 0..self.classes {
            let below = self.register(class, first).sub(largest);
            if self.smoothing.is_some() {
                let weight = self.loss.class_weight::<T>(class);
                // What does not count must not meet an infinite difference.
                if weight > T::zero() {
                    all_below = below.mul_add(V::splat(weight), all_below);
                }
            }
            let (this, exponential) = (Self::number(class), exp(below));
            own = labels.where_equal(this, exponential, own);
            own_below = labels.where_equal(this, below, own_below);
            self.set_register(class, first, labels.where_equal(this, zero, exponential));
        }
        store(own, &mut self.room.own, first);
        store(own_below, &mut self.room.below, first);
        store(all_below, &mut self.room.all_below, first);
    }

    /// Replaces the exponentials of a register of rows, where those of the labels are 0, with the gradient. Returns the
    /// losses.
    ///
    /// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
    /// other classes' probabilities have them exactly.
    #[inline(always)]
    fn loss_and_gradient(&mut self, first: usize) -> V {
        let (own, below, weight): (V, V, V) =
            (load(&self.room.own, first), load(&self.room.below, first), load(&self.room.weights, first));
        let (row_weight, all_below): (V, V) = (load(&self.room.row_weights, first), load(&self.room.all_below, first));
        let labels: V = load(&self.room.labels, first);
        let zero = V::splat(T::zero());
        let mut others = zero;
        for class in 0..self.classes {
            others = others.add(self.register(class, first));
        }
        let total = others.add(own);
        // The total's logarithm. A label that is more likely than not has the largest logit: its own term is 1.
        let likely = others.sub(own);
        let (rest, halvings) = halved(total);
        let above_one = likely.where_negative(others, rest.sub(V::splat(T::one())));
        let logarithm = ln_1p(above_one).add(likely.where_negative(zero, halvings));
        let of_label = logarithm.sub(below);

        let Some(smoothing) = self.smoothing else {
            let share = weight.div(total);
            let gradient = zero.sub(others.mul(share));
            for class in 0..self.classes {
                let other = self.register(class, first).mul(share);
                self.set_register(class, first, labels.where_equal(Self::number(class), gradient, other));
            }
            return of_label.mul(weight);
        };
        let kept = weight.mul(V::splat(smoothing.kept));
        let (spread, own_spread) = (row_weight.mul(V::splat(smoothing.each)), weight.mul(V::splat(smoothing.each)));
        let spread_over_all = row_weight.mul(V::splat(smoothing.all));
        let shares = kept.add(spread_over_all).div(total);
        let gradient = own.mul(spread_over_all).sub(others.mul(kept)).div(total).sub(own_spread);
        for class in 0..self.classes {
            let share = spread.mul(V::splat(self.loss.class_weight(class)));
            let other = self.register(class, first).mul(shares).sub(share);
            self.set_register(class, first, labels.where_equal(Self::number(class), gradient, other));
        }
        let of_all = logarithm.mul(spread_over_all).sub(all_below.mul(spread));
        of_label.mul(kept).add(of_all)
    }

    /// What the piece holds of a class for a register of rows.
    #[inline(always)]
    fn register(&self, class: usize, first: usize) -> V {
        load(&self.room.terms, class * self.rows + first)
    }

    #[inline(always)]
    fn set_register(&mut self, class: usize, first: usize, value: V) {
        store(value, &mut self.room.terms, class * self.rows + first);
    }
}

/// A register of numbers from a place on.
#[inline(always)]
fn load<V: Lanes>(numbers: &[V::Element], from: usize) -> V {
    // SAFETY: the slice has a register of numbers.
    unsafe { V::load(numbers[from..][..V::LANES].as_ptr()) }
}

/// Writes a register of numbers from a place on.
#[inline(always)]
fn store<V: Lanes>(value: V, numbers: &mut [V::Element], from: usize) {
    // SAFETY: as above.
    unsafe { value.store(numbers[from..][..V::LANES].as_mut_ptr()) };
}

/// Halves numbers from 1 to 64, the most classes, until none is above 2, and returns them with the logarithm of what they were
/// divided by.
#[inline(always)]
fn halved<V: Lanes>(numbers: V) -> (V, V) {
    let (mut rest, mut logarithm) = (numbers, V::splat(V::Element::zero()));
    for halvings in [4, 2, 1] {
        let factor = f64::from(1 << halvings);
        let constant = |value: f64| V::splat(V::Element::from_f64(value));
        let below = rest.sub(constant(factor));
        rest = below.where_negative(rest, rest.mul(constant(1.0 / factor)));
        let more = constant(f64::from(halvings) * std::f64::consts::LN_2);
        logarithm = below.where_negative(logarithm, logarithm.add(more));
    }
    (rest, logarithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_registers_of_every_level_for_which_there_is_room() {
        for (classes, row_bytes) in (2..=MOST_CLASSES).flat_map(|classes| [(classes, 4), (classes, 1 << 20)]) {
            let rows = piece_rows(classes, row_bytes);
            assert!((FEWEST_ROWS..=MOST_ROWS).contains(&rows) && rows.is_multiple_of(FEWEST_ROWS));
            assert!(rows * classes <= ROOM, "{classes} classes: {rows}");
        }
        assert_eq!([2, 10, 20, 33].map(|classes| piece_rows(classes, 3136)), [64, 64, 48, 16]);
        assert_eq!([4096, 4100, 12_000].map(|row_bytes| piece_rows(10, row_bytes)), [64, 48, 16]);
    }
}
