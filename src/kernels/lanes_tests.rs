use super::*;
use crate::kernels::level::{Kernel, run};
use crate::kernels::test_levels::{numbers, on_every_level};

/// Loads a row piece by piece, and writes out all of each register.
struct Reload<'a, T>(&'a [T]);

impl<T: Element> Kernel<T> for Reload<'_, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Vec<T> {
        let row = self.0;
        let mut loaded = vec![T::nan(); row.len().next_multiple_of(V::LANES)];
        for column in (0..row.len()).step_by(V::LANES) {
            let count = (row.len() - column).min(V::LANES);
            // SAFETY: the row has so many numbers, and `loaded` whole registers.
            unsafe { load_of_row::<V>(row.as_ptr(), column, count).store(loaded.as_mut_ptr().add(column)) };
        }
        loaded
    }
}

/// The first lanes of a register.
struct First<'a, T>(&'a [T], usize);

impl<T: Element> Kernel<T> for First<'_, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Vec<T> {
        let mut lanes = vec![T::nan(); V::LANES];
        // SAFETY: there are as many numbers as any register has, and `lanes` is one.
        unsafe { V::load(self.0.as_ptr()).first(self.1.min(V::LANES)).store(lanes.as_mut_ptr()) };
        lanes
    }
}

/// 1 where two registers are equal, 0 elsewhere.
struct Equal<'a, T>(&'a [T], &'a [T]);

impl<T: Element> Kernel<T> for Equal<'_, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Vec<T> {
        let mut lanes = vec![T::nan(); V::LANES];
        let (one, zero) = (V::splat(T::one()), V::splat(T::zero()));
        // SAFETY: there are as many numbers as any register has, and `lanes` is one.
        unsafe {
            let equal = V::load(self.0.as_ptr()).where_equal(V::load(self.1.as_ptr()), one, zero);
            equal.store(lanes.as_mut_ptr());
        }
        lanes
    }
}

#[test]
fn nothing_equals_nan_and_zeros_are_equal() {
    fn check<T: Element + std::fmt::Debug>() {
        let (one, nan) = (T::one(), T::nan());
        let [a, b]: [[T; MOST_LANES]; 2] = [0, 1].map(|side| {
            let pairs = [[one, one], [one, -one], [nan, nan], [nan, one], [T::zero(), -T::zero()]];
            std::array::from_fn(|lane| pairs[lane % pairs.len()][side])
        });
        for (lane, equal) in run(Equal(&a, &b)).into_iter().enumerate() {
            assert_eq!(equal == one, lane % 5 == 0 || lane % 5 == 4, "lane {lane}");
        }
    }
    on_every_level(|| {
        check::<f32>();
        check::<f64>();
    });
}

#[test]
fn lanes_after_the_first_are_0_whatever_they_were() {
    on_every_level(|| {
        for count in 0..=16 {
            let (single, double) = (run(First(&[f32::NAN; 16], count)), run(First(&[f64::NAN; 16], count)));
            assert!(single.iter().enumerate().all(|(lane, x)| x.is_nan() == (lane < count)), "{single:?}");
            assert!(double.iter().enumerate().all(|(lane, x)| x.is_nan() == (lane < count)), "{double:?}");
        }
    });
}

#[test]
fn the_end_of_a_row_is_loaded_with_zeros_behind_it() {
    on_every_level(|| {
        check::<f32>();
        check::<f64>();
    });
}

fn check<T: Element + std::fmt::Debug>() {
    for width in 1..=40 {
        // What lies around the row must not be seen.
        let row: Vec<T> = numbers(width + 2, 1);
        let loaded = run(Reload(&row[1..=width]));
        assert_eq!(loaded[..width], row[1..=width]);
        assert!(loaded[width..].iter().all(|rest| *rest == T::zero()), "{width}: {loaded:?}");
    }
}
