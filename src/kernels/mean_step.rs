//! A mean gradient, what its squares add up to, and the plain step along it, in one pass: of what another thread has added
//! up, lines come slowly enough for all three.

use num_traits::Zero;

use super::element::Element;
use super::lanes::{GROUP, Lanes, first_lanes, load, store};
use super::level::Kernel;
use super::vector::{FEW, SQUARES, dot};

/// Writes `sum / divisor` over `gradient`, all of one length, and puts what the squares of each [`SQUARES`] of
/// its elements add up to into `squares`: to the bit what [`quotient_of_sum`](super::quotient_of_sum) and
/// [`sum_of_squares`](super::sum_of_squares()) make.
pub struct MeanStep<'a, T> {
    pub sum: Summands<'a, T>,
    pub divisor: T,
    pub gradient: &'a mut [T],
    pub squares: &'a mut Vec<T>,
    pub step: Option<PlainStep<'a, T>>,
}

/// What adds up to what is divided.
#[derive(Clone, Copy)]
pub enum Summands<'a, T> {
    Two(&'a [T], &'a [T]),
    /// What `gradient` holds, and this.
    GradientAnd(&'a [T]),
    /// What `gradient` holds.
    Gradient,
}

/// Writes `values - lr gradient` over `next`, as long as the gradient: to the bit what [`add_scaled`](super::add_scaled())
/// makes of the values.
pub struct PlainStep<'a, T> {
    pub values: &'a [T],
    pub lr: T,
    pub next: &'a mut [T],
}

impl<T: Element> MeanStep<'_, T> {
    /// Does so.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn make(self) {
        T::run_mean_step(self);
    }
}

impl<T: Element> Kernel<T> for MeanStep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        let MeanStep { sum, divisor, gradient, squares, step } = self;
        let length = gradient.len();
        if let Some(PlainStep { values, next, .. }) = &step {
            assert!(values.len() == length && next.len() == length, "a value for each element");
        }
        let gradient = gradient.as_mut_ptr();
        let (divisor, steps) = (V::splat(divisor), step.is_some());
        let (values, neg_lr, next) = match step {
            Some(PlainStep { values, lr, next }) => (values.as_ptr(), -lr, next.as_mut_ptr()),
            None => (gradient.cast_const(), T::zero(), gradient),
        };
        let (first, last) = match sum {
            Summands::Two(first, last) => (Some(first), Some(last)),
            Summands::GradientAnd(last) => (None, Some(last)),
            Summands::Gradient => (None, None),
        };
        let is_as_long = |summand: Option<&[T]>| summand.is_none_or(|summand| summand.len() == length);
        assert!(is_as_long(first) && is_as_long(last), "sums of one length");
        let (first, adds) = (first.map_or(gradient.cast_const(), <[T]>::as_ptr), last.is_some());
        let (last, neg_lr) = (last.map_or(first, <[T]>::as_ptr), V::splat(neg_lr));
        let pass = Pass { first, last, divisor, gradient, values, neg_lr, next };
        for start in (0..length).step_by(SQUARES) {
            let end = (start + SQUARES).min(length);
            // SAFETY: all that the pass goes over is `length` long.
            squares.push(unsafe {
                match (adds, steps) {
                    (true, true) => pass.block::<true, true>(start, end),
                    (true, false) => pass.block::<true, false>(start, end),
                    (false, true) => pass.block::<false, true>(start, end),
                    (false, false) => pass.block::<false, false>(start, end),
                }
            });
        }
    }
}

/// Where a pass finds and puts its numbers. It may write where it has read.
struct Pass<V: Lanes> {
    first: *const V::Element,
    last: *const V::Element,
    divisor: V,
    gradient: *mut V::Element,
    values: *const V::Element,
    neg_lr: V,
    next: *mut V::Element,
}

impl<V: Lanes> Pass<V> {
    /// What the squares of a block add up to, in the order of [`dot`].
    ///
    /// # Safety
    /// All must be there up to `end`: the last summand only if it `ADDS`, values and what is next only if it `STEPS`.
    #[inline(always)]
    unsafe fn block<const ADDS: bool, const STEPS: bool>(&self, start: usize, end: usize) -> V::Element {
        let mut chains = [V::splat(V::Element::zero()); GROUP];
        let mut place = start;
        // SAFETY: no place is touched from `end` on.
        unsafe {
            while place + GROUP * V::LANES <= end {
                for (c, chain) in chains.iter_mut().enumerate() {
                    let mean = self.vector::<ADDS, STEPS>(place + c * V::LANES, V::LANES);
                    *chain = mean.mul_add(mean, *chain);
                }
                place += GROUP * V::LANES;
            }
            while place < end {
                let count = (end - place).min(V::LANES);
                let mean = self.vector::<ADDS, STEPS>(place, count);
                chains[0] = mean.mul_add(mean, chains[0]);
                place += count;
            }
        }
        if end - start <= FEW {
            // SAFETY: the gradient has just been written there.
            let block = unsafe { std::slice::from_raw_parts(self.gradient.add(start), end - start) };
            return dot(block, block);
        }
        let [a, b, c, d] = chains;
        a.add(b).add(c.add(d)).sum()
    }

    /// The mean of `count` elements from a place on, at most all lanes, written, and 0 in the other lanes.
    ///
    /// # Safety
    /// They must be there.
    #[inline(always)]
    unsafe fn vector<const ADDS: bool, const STEPS: bool>(&self, place: usize, count: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sum: V = load(self.first.add(place), count);
            if ADDS {
                sum = sum.add(load(self.last.add(place), count));
            }
            let mean = first_lanes(sum.div(self.divisor), count);
            store(mean, self.gradient.add(place), count);
            if STEPS {
                let value: V = load(self.values.add(place), count);
                store(value.add(self.neg_lr.mul(mean)), self.next.add(place), count);
            }
            mean
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{numbers, on_every_level};
    use crate::kernels::{add_scaled, divide, quotient_of_sum, sum_of_squares};

    #[test]
    fn one_pass_is_quotient_squares_and_step_to_the_bit() {
        on_every_level(|| {
            let around = |length: usize| length - 2..length + 20;
            for length in (0..70).chain(around(SQUARES)).chain(around(2 * SQUARES)) {
                check::<f64>(length);
                check::<f32>(length);
            }
        });
    }

    fn check<T: Element + std::fmt::Debug>(length: usize) {
        let [first, last, values]: [Vec<T>; 3] = [1, 2, 3].map(|seed| numbers(length, seed));
        for in_place in [false, true] {
            let and_last = if in_place { Summands::GradientAnd(&last) } else { Summands::Two(&first, &last) };
            let start = if in_place { first.clone() } else { vec![T::nan(); length] };
            check_sum(and_last, start, |mean, divisor| quotient_of_sum(mean, [&first, &last], divisor), &values);
        }
        let one = |mean: &mut [T], divisor| {
            mean.copy_from_slice(&first);
            divide(mean, divisor);
        };
        check_sum(Summands::Gradient, first.clone(), one, &values);
    }

    /// With a gradient that holds `start`, and so means.
    fn check_sum<T: Element + std::fmt::Debug>(
        sum: Summands<'_, T>,
        start: Vec<T>,
        mean_of: impl Fn(&mut [T], T),
        values: &[T],
    ) {
        let (divisor, lr) = (T::from_f64(7.0), T::from_f64(0.3));
        let (mut mean, mut stepped) = (vec![T::nan(); start.len()], values.to_vec());
        mean_of(&mut mean, divisor);
        add_scaled(&mut stepped, -lr, &mean);
        let blocks: Vec<T> = mean.chunks(SQUARES).map(sum_of_squares).collect();
        for steps in [false, true] {
            let mut gradient = start.clone();
            let (mut next, mut squares) = (vec![T::nan(); start.len()], Vec::new());
            let step = steps.then_some(PlainStep { values, lr, next: &mut next });
            MeanStep { sum, divisor, gradient: &mut gradient, squares: &mut squares, step }.make();
            assert_eq!((&gradient, &squares), (&mean, &blocks), "{}", start.len());
            let untouched = next.iter().all(|next| next.is_nan());
            assert!(if steps { next == stepped } else { untouched }, "{}: {next:?}", start.len());
        }
    }

    /// A pass over 3 elements, but for the lengths of some slices.
    fn of_lengths([first, last, values, next]: [usize; 4]) {
        let (of, mut next) = (|length| &[0.0; 9][..length], vec![0.0; next]);
        MeanStep {
            sum: Summands::Two(of(first), of(last)),
            divisor: 1.0,
            gradient: &mut [0.0; 3],
            squares: &mut Vec::new(),
            step: Some(PlainStep { values: of(values), lr: 0.1, next: &mut next }),
        }
        .make();
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        of_lengths([3; 4]);
        for slice in 0..4 {
            for length in [2, 4] {
                let mut lengths = [3; 4];
                lengths[slice] = length;
                assert!(std::panic::catch_unwind(|| of_lengths(lengths)).is_err(), "{lengths:?}");
            }
        }
    }
}
