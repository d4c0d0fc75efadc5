//! Dot products, rank-1 updates and sums on slices of one length.

use num_traits::Zero;

use super::element::Element;
use super::lanes::{Lanes, load};
use super::level::Kernel;

/// `sum a[i] * b[i]`. Both slices have one length.
pub fn dot<T: Element>(a: &[T], b: &[T]) -> T {
    debug_assert_eq!(a.len(), b.len());
    if a.len() <= FEW {
        return a.iter().zip(b).map(|(&a, &b)| a * b).sum();
    }
    T::run_dot(Dot(a, b))
}

/// The two vectors.
pub struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Element> Kernel<T> for Dot<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> T {
        dot_lanes::<V>(self.0, self.1)
    }
}

/// Partial sums kept side by side, so that one addition need not wait for the one before.
const CHAINS: usize = 4;

/// `sum a[i] * b[i]` on lanes.
#[inline(always)]
pub(super) fn dot_lanes<V: Lanes>(a: &[V::Element], b: &[V::Element]) -> V::Element {
    let mut chains = [V::splat(V::Element::zero()); CHAINS];
    let length = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut place = 0;
    // SAFETY: no place is read from `length` on.
    unsafe {
        while place + CHAINS * V::LANES <= length {
            for (c, chain) in chains.iter_mut().enumerate() {
                let at = place + c * V::LANES;
                *chain = V::load(a.add(at)).mul_add(V::load(b.add(at)), *chain);
            }
            place += CHAINS * V::LANES;
        }
        while place < length {
            let count = (length - place).min(V::LANES);
            let (a, b): (V, V) = (load(a.add(place), count), load(b.add(place), count));
            chains[0] = a.mul_add(b, chains[0]);
            place += count;
        }
    }
    let [a, b, c, d] = chains;
    a.add(b).add(c.add(d)).sum()
}

/// `sum a[i]` on lanes.
#[inline(always)]
pub(super) fn sum_lanes<V: Lanes>(a: &[V::Element]) -> V::Element {
    let mut chains = [V::splat(V::Element::zero()); CHAINS];
    let mut place = 0;
    // SAFETY: no place is read from the slice's length on.
    unsafe {
        while place + CHAINS * V::LANES <= a.len() {
            for (c, chain) in chains.iter_mut().enumerate() {
                *chain = chain.add(V::load(a.as_ptr().add(place + c * V::LANES)));
            }
            place += CHAINS * V::LANES;
        }
        while place < a.len() {
            let count = (a.len() - place).min(V::LANES);
            chains[0] = chains[0].add(load(a.as_ptr().add(place), count));
            place += count;
        }
    }
    let [a, b, c, d] = chains;
    a.add(b).add(c.add(d)).sum()
}

/// Elements whose squares are added up before those of others.
pub(crate) const SQUARES: usize = 1024;

/// `sum a[i]^2`, of each 1,024 elements first: threads may take them apart and come to the same bits.
pub fn sum_of_squares<T: Element>(a: &[T]) -> T {
    if a.len() <= SQUARES { dot(a, a) } else { sum_of_many_squares(a) }
}

// A function of its own: the short way is in line.
#[inline(never)]
fn sum_of_many_squares<T: Element>(a: &[T]) -> T {
    a.chunks(SQUARES).map(|a| dot(a, a)).sum()
}

/// `sum (a[i] + alpha * b[i])^2`. Both slices have one length.
pub fn sum_of_squared_sums<T: Element>(a: &[T], alpha: T, b: &[T]) -> T {
    debug_assert_eq!(a.len(), b.len());
    let mut sum = T::zero();
    for (&a, &b) in a.iter().zip(b) {
        let element = a + alpha * b;
        sum += element * element;
    }
    sum
}

/// `y[i] += alpha * x[i]`: one row of a rank-1 update. Both slices have one length.
pub fn add_scaled<T: Element>(y: &mut [T], alpha: T, x: &[T]) {
    debug_assert_eq!(y.len(), x.len());
    if y.len() <= FEW {
        return AddScaled(y, alpha, x).each();
    }
    T::run_add_scaled(AddScaled(y, alpha, x));
}

/// `y[i] += x[i]`. Both slices have one length.
pub fn add<T: Element>(y: &mut [T], x: &[T]) {
    debug_assert_eq!(y.len(), x.len());
    if y.len() <= FEW {
        return Add(y, x).each();
    }
    T::run_add(Add(y, x));
}

/// `y[i] = x[i] / divisor`. Both slices have one length.
pub fn quotient<T: Element>(y: &mut [T], x: &[T], divisor: T) {
    debug_assert_eq!(y.len(), x.len());
    if y.len() <= FEW {
        return Quotient(y, x, divisor).each();
    }
    T::run_quotient(Quotient(y, x, divisor));
}

/// `y[i] = (a[i] + b[i]) / divisor`. All slices have one length.
pub fn quotient_of_sum<T: Element>(y: &mut [T], [a, b]: [&[T]; 2], divisor: T) {
    debug_assert_eq!((y.len(), y.len()), (a.len(), b.len()));
    if y.len() <= FEW {
        return QuotientOfSum(y, a, b, divisor).each();
    }
    T::run_quotient_of_sum(QuotientOfSum(y, a, b, divisor));
}

/// Elements that are done before the instructions are picked.
pub(super) const FEW: usize = 4;

/// Kernels that go element by element: the compiler makes lanes of their loops.
macro_rules! elementwise {
    ($(#[$doc:meta] $Name:ident($($Field:ty),*): |$this:ident| $body:block)*) => {
        $(#[$doc]
        pub struct $Name<'a, T>($($Field),*);

        impl<T: Element> Kernel<T> for $Name<'_, T> {
            type Output = ();

            #[inline(always)]
            fn run<V: Lanes<Element = T>>(self) {
                self.each();
            }
        }

        impl<T: Element> $Name<'_, T> {
            #[inline(always)]
            fn each(self) {
                let $this = self;
                $body
            }
        })*
    };
}

elementwise! {
    /// y, x.
    Add(&'a mut [T], &'a [T]): |this| {
        for (y, &x) in this.0.iter_mut().zip(this.1) {
            *y += x;
        }
    }
    /// y, alpha, x.
    AddScaled(&'a mut [T], T, &'a [T]): |this| {
        for (y, &x) in this.0.iter_mut().zip(this.2) {
            *y += this.1 * x;
        }
    }
    /// y, x, divisor.
    Quotient(&'a mut [T], &'a [T], T): |this| {
        for (y, &x) in this.0.iter_mut().zip(this.1) {
            *y = x / this.2;
        }
    }
    /// y, a, b, divisor.
    QuotientOfSum(&'a mut [T], &'a [T], &'a [T], T): |this| {
        for ((y, &a), &b) in this.0.iter_mut().zip(this.1).zip(this.2) {
            *y = (a + b) / this.3;
        }
    }
}

/// `y[i] *= factor`.
pub fn scale<T: Element>(y: &mut [T], factor: T) {
    for y in y {
        *y *= factor;
    }
}

/// `y[i] /= divisor`.
pub fn divide<T: Element>(y: &mut [T], divisor: T) {
    for y in y {
        *y /= divisor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{close, numbers, on_every_level};

    #[test]
    fn dot_products_of_whole_numbers_are_exact_at_every_length() {
        for n in 0..70 {
            let a: Vec<f64> = (0..n).map(|i| i as f64 - 7.0).collect();
            let b: Vec<f64> = (0..n).map(|i| (3 * i % 11) as f64).collect();
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected, "length {n}");
        }
    }

    #[test]
    fn squares_are_added_block_by_block() {
        on_every_level(|| {
            for n in [0, 1, 5, SQUARES - 1, SQUARES, SQUARES + 1, 2 * SQUARES + 300] {
                let a: Vec<f64> = numbers(n, 1);
                let blocks: f64 = a.chunks(SQUARES).map(|block| dot(block, block)).sum();
                assert_eq!(sum_of_squares(&a), blocks, "length {n}");
                close(blocks, a.iter().map(|a| a * a).sum(), 1e-13);
            }
        });
    }

    #[test]
    fn a_scaled_row_is_added_in_place() {
        let mut y = [1.0, 2.0, 3.0];
        add_scaled(&mut y, 2.0, &[10.0, 20.0, 30.0]);
        assert_eq!(y, [21.0, 42.0, 63.0]);
    }

    #[test]
    fn every_level_agrees_with_the_formulas_at_every_length() {
        on_every_level(|| {
            for n in 0..70 {
                let (a, b): (Vec<f64>, Vec<f64>) = (numbers(n, 1), numbers(n, 2));
                close(dot(&a, &b), a.iter().zip(&b).map(|(a, b)| a * b).sum(), 1e-14);
                let changed = |change: &dyn Fn(&mut [f64])| {
                    let mut y = a.clone();
                    change(&mut y);
                    y
                };
                let each = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(&y, &x)| f(y, x)).collect::<Vec<_>>();
                assert_eq!(changed(&|y| add(y, &b)), each(&|y, x| y + x), "length {n}");
                assert_eq!(changed(&|y| add_scaled(y, 0.3, &b)), each(&|y, x| y + 0.3 * x), "length {n}");
                assert_eq!(changed(&|y| quotient(y, &b, 3.0)), each(&|_, x| x / 3.0), "length {n}");
                let of_sum = changed(&|y| quotient_of_sum(y, [&a, &b], 3.0));
                assert_eq!(of_sum, each(&|a, b| (a + b) / 3.0), "length {n}");
            }
        });
    }
}
