//! Softmax cross-entropy of rows of few classes, class by class: the rows' logits of a class lie side by side, so that a
//! register is full of rows however few classes there are, and nothing is added up across it.

use num_traits::Zero;

use super::block_rows::MOST_ROWS;
use super::element::Element;
use super::exponential::{exp, ln_1p};
use super::lanes::{GROUP, Lanes};
use super::rows::RowIndex;
use super::softmax_loss::{LossSum, RowLabels, SoftmaxLoss};

/// The numbers that a piece has room for.
pub(super) const ROOM: usize = 1024;

/// Rows that go through together. Each loop over them is done before the next begins: what is written one by one must lie in
/// the cache before it can be read as a register.
pub(super) struct Piece<T> {
    classes: usize,
    /// Rows that there is room for: some registers full of them.
    rows: usize,
    /// `[classes, rows]`: the logits, then their exponentials, then the gradient.
    terms: [T; ROOM],
    /// The class of each row.
    labels: [usize; MOST_ROWS],
    /// Each row's own weight, and that times its class's.
    row_weights: [T; MOST_ROWS],
    weights: [T; MOST_ROWS],
    /// The label's logit, then what it is less than the largest of the row: at most 0.
    below: [T; MOST_ROWS],
    /// The label's exponential, then its gradient.
    own: [T; MOST_ROWS],
    /// With smoothing, what each class counts times its logit less the largest, added up.
    all_below: [T; MOST_ROWS],
}

impl<T: Element> Piece<T> {
    /// For rows of so many classes, if there is room for a register of them.
    #[inline(always)]
    pub fn of<V: Lanes<Element = T>>(classes: usize) -> Option<Self> {
        const { assert!(MOST_ROWS.is_multiple_of(V::LANES) && V::LANES.is_multiple_of(GROUP)) };
        let rows = (ROOM / classes.max(1)).min(MOST_ROWS) / V::LANES * V::LANES;
        let numbers = [T::zero(); MOST_ROWS];
        (rows > 0).then_some(Piece {
            classes,
            rows,
            terms: [T::zero(); ROOM],
            labels: [0; MOST_ROWS],
            row_weights: numbers,
            weights: numbers,
            below: numbers,
            own: numbers,
            all_below: numbers,
        })
    }

    /// Rows that there is room for, at most [`MOST_ROWS`]; times the classes at most [`ROOM`].
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the logits of a class for the rows from a place on. Those of a group that is not full may be any.
    #[inline(always)]
    pub fn set(&mut self, class: usize, place: usize, logits: [T; GROUP]) {
        self.terms[class * self.rows + place..][..GROUP].copy_from_slice(&logits);
    }

    /// Takes the logits of rows, `[rows, classes]`.
    #[inline(always)]
    pub fn read_rows(&mut self, logits: &[T]) {
        for (class, terms) in self.terms.chunks_exact_mut(self.rows).take(self.classes).enumerate() {
            for (term, logits) in terms.iter_mut().zip(logits.chunks_exact(self.classes)) {
                *term = logits[class];
            }
        }
    }

    /// Replaces the logits of these rows with the gradient, and returns their loss.
    ///
    /// # Panics
    /// If a label is not below the number of classes.
    #[inline(always)]
    pub fn add_up<V: Lanes<Element = T>>(&mut self, labels: RowLabels<'_, T>, rows: RowIndex<'_>) -> LossSum {
        let count = rows.len();
        assert!(count <= self.rows, "room for the rows");
        for (place, row) in rows.iter().enumerate() {
            let (label, weight) = labels.at(row);
            assert!(label < self.classes, "a label among the classes");
            (self.labels[place], self.row_weights[place]) = (label, weight);
            self.weights[place] = labels.loss.class_weight::<T>(label) * weight;
            self.below[place] = self.terms[label * self.rows + place];
        }
        for first in (0..count).step_by(V::LANES) {
            self.exponentials::<V>(labels.loss, first);
        }
        for (place, &label) in self.labels[..count].iter().enumerate() {
            self.own[place] = std::mem::replace(&mut self.terms[label * self.rows + place], T::zero());
        }
        let mut loss = 0.0;
        for first in (0..count).step_by(V::LANES) {
            let of_rows = self.loss_and_gradient::<V>(labels.loss, first);
            // What an unused lane holds is no row's loss.
            loss += of_rows.first((count - first).min(V::LANES)).sum().as_f64();
        }
        for (place, &label) in self.labels[..count].iter().enumerate() {
            self.terms[label * self.rows + place] = self.own[place];
        }
        LossSum { loss, weight: self.weights[..count].iter().map(|weight| weight.as_f64()).sum() }
    }

    /// What the piece holds of a class, for each row.
    #[inline(always)]
    pub fn of_class(&self, class: usize) -> &[T] {
        &self.terms[class * self.rows..][..self.rows]
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

    /// Replaces the logits of a register of rows with `exp(z - largest)`.
    #[inline(always)]
    fn exponentials<V: Lanes<Element = T>>(&mut self, loss: SoftmaxLoss<'_>, first: usize) {
        let mut largest = V::splat(T::neg_infinity());
        for class in 0..self.classes {
            largest = largest.max(self.register(class, first));
        }
        let mut all_below = V::splat(T::zero());
        for class in 0..self.classes {
            let below = self.register::<V>(class, first).sub(largest);
            if loss.label_smoothing > 0.0 {
                let weight = loss.class_weight::<T>(class);
                // What does not count must not meet an infinite difference.
                if weight > T::zero() {
                    all_below = below.mul_add(V::splat(weight), all_below);
                }
            }
            self.set_register(class, first, exp(below));
        }
        // SAFETY: a register of rows from `first` on is within `self.rows`, which is at most `MOST_ROWS`.
        unsafe {
            let below = self.below.as_mut_ptr().add(first);
            V::load(below).sub(largest).store(below);
            all_below.store(self.all_below.as_mut_ptr().add(first));
        }
    }

    /// Replaces the exponentials of a register of rows, where those of the labels are 0, with the gradient, and the labels'
    /// own with theirs. Returns the losses.
    ///
    /// For a label that is nearly certain both the loss and the label's `p - 1` are differences of nearly equal numbers: the
    /// other classes' probabilities have them exactly.
    #[inline(always)]
    fn loss_and_gradient<V: Lanes<Element = T>>(&mut self, loss: SoftmaxLoss<'_>, first: usize) -> V {
        let load = |numbers: &[T; MOST_ROWS]| {
            // SAFETY: a register of rows from `first` on is within `self.rows`, which is at most `MOST_ROWS`.
            unsafe { V::load(numbers.as_ptr().add(first)) }
        };
        let (own, below, weight) = (load(&self.own), load(&self.below), load(&self.weights));
        let (row_weight, all_below) = (load(&self.row_weights), load(&self.all_below));
        let zero = V::splat(T::zero());
        let mut others = zero;
        for class in 0..self.classes {
            others = others.add(self.register(class, first));
        }
        let total = others.add(own);
        // ln(1 + others / own) of a label that is more likely than not, else ln(total) - below.
        let likely = others.sub(own);
        let (rest, halvings) = halved(total);
        let rest = rest.sub(V::splat(T::one()));
        let odds = likely.where_negative(others.div(own), rest);
        let more = likely.where_negative(zero, halvings.sub(below));
        let of_label = ln_1p(odds).add(more);

        let Some((kept, of_each)) = loss.smoothing::<T>(self.classes) else {
            let share = weight.div(total);
            for class in 0..self.classes {
                let term: V = self.register(class, first);
                self.set_register(class, first, term.mul(share));
            }
            self.set_own(first, zero.sub(others.mul(share)));
            return of_label.mul(weight);
        };
        // The shares of the label's own and of what is spread.
        let (kept, spread) = (weight.mul(V::splat(kept)), row_weight.mul(V::splat(of_each)));
        let spread_over_all = spread.mul(V::splat(loss.total_class_weight(self.classes)));
        let share = kept.add(spread_over_all).div(total);
        for class in 0..self.classes {
            let of_class = spread.mul(V::splat(loss.class_weight(class)));
            let term: V = self.register(class, first);
            self.set_register(class, first, term.mul(share).sub(of_class));
        }
        let own_spread = weight.mul(V::splat(of_each));
        let gradient = own.mul(spread_over_all).sub(others.mul(kept)).div(total);
        self.set_own(first, gradient.sub(own_spread));
        let logarithm = ln_1p(rest).add(halvings);
        let of_all = logarithm.mul(spread_over_all).sub(all_below.mul(spread));
        of_label.mul(kept).add(of_all)
    }

    #[inline(always)]
    fn set_own<V: Lanes<Element = T>>(&mut self, first: usize, gradient: V) {
        debug_assert!(first + V::LANES <= self.rows);
        // SAFETY: a register of rows from `first` on is within `self.rows`, which is at most `MOST_ROWS`.
        unsafe { gradient.store(self.own.as_mut_ptr().add(first)) };
    }

    /// What the piece holds of a class for a register of rows.
    #[inline(always)]
    fn register<V: Lanes<Element = T>>(&self, class: usize, first: usize) -> V {
        debug_assert!(class < self.classes && first + V::LANES <= self.rows);
        // SAFETY: `classes` times `rows` are at most `ROOM`, and the caller's register of rows is within `rows`.
        unsafe { V::load(self.terms.as_ptr().add(class * self.rows + first)) }
    }

    #[inline(always)]
    fn set_register<V: Lanes<Element = T>>(&mut self, class: usize, first: usize, value: V) {
        debug_assert!(class < self.classes && first + V::LANES <= self.rows);
        // SAFETY: as above.
        unsafe { value.store(self.terms.as_mut_ptr().add(class * self.rows + first)) };
    }
}

/// Halves numbers from 1 to [`ROOM`] until none is above 2, and returns them with the logarithm of what they were divided
/// by.
#[inline(always)]
fn halved<V: Lanes>(numbers: V) -> (V, V) {
    let (mut rest, mut logarithm) = (numbers, V::splat(V::Element::zero()));
    for halvings in [8, 4, 2, 1] {
        let factor = f64::from(1 << halvings);
        let constant = |value: f64| V::splat(V::Element::from_f64(value));
        let below = rest.sub(constant(factor));
        rest = below.where_negative(rest, rest.mul(constant(1.0 / factor)));
        let more = constant(f64::from(halvings) * std::f64::consts::LN_2);
        logarithm = below.where_negative(logarithm, logarithm.add(more));
    }
    (rest, logarithm)
}
