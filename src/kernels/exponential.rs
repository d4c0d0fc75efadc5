//! Exponential and logarithm on lanes.
//!
//! `exp(x) = 2^n exp(r)` with `n` the whole number nearest to `x / ln 2`, so that `|r| <= ln 2 / 2`, where Taylor's series
//! ends soon (Cody and Waite 1980). `ln(1 + t) = 2 artanh(s)` with `s = t / (2 + t)`, at most 1/3, so that nothing cancels.

use super::element::Element;
use super::lanes::Lanes;

/// What the two functions take from a number type.
pub trait Series {
    /// exp of all below it is taken for 0.
    const LEAST: f64;
    /// The powers of r in the series of exp, and those of s^2 in that of artanh.
    const EXP_TERMS: usize;
    const ARTANH_TERMS: usize;
    /// ln 2 in two parts: the first has so few digits that its product with a whole number is exact.
    const LN2_HIGH: f64;
    const LN2_LOW: f64;
    /// Adding it and taking it away again rounds to a whole number.
    const ROUNDER: f64;
}

impl Series for f32 {
    const LEAST: f64 = -87.0;
    const EXP_TERMS: usize = 7;
    const ARTANH_TERMS: usize = 7;
    const LN2_HIGH: f64 = 0.693_359_375;
    const LN2_LOW: f64 = std::f64::consts::LN_2 - 0.693_359_375;
    const ROUNDER: f64 = 12_582_912.0; // 1.5 * 2^23
}

impl Series for f64 {
    const LEAST: f64 = -708.0;
    const EXP_TERMS: usize = 13;
    const ARTANH_TERMS: usize = 17;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
}

/// The series of exp: 1 / k! for each k. Tables, for the compiler does not work out long series beforehand, and would
/// divide anew for each vector.
const EXP_SERIES: [f64; 14] = {
    let (mut series, mut factorial, mut k) = ([1.0; 14], 1.0, 1);
    while k < series.len() {
        factorial *= k as f64;
        series[k] = 1.0 / factorial;
        k += 1;
    }
    series
};

/// That of artanh: 1 / (2 k + 1) for each k.
const ARTANH_SERIES: [f64; 18] = {
    let (mut series, mut k) = ([1.0; 18], 1);
    while k < series.len() {
        series[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    series
};

/// `exp(x)` of `x <= 0`, within 2 units in the last place; 0 below -87 (f32) or -708 (f64), where the true value is subnormal:
/// processors take a hundred times as long for such a number, and for whatever it is multiplied with. NaN stays NaN.
#[inline(always)]
pub(super) fn exp<V: Lanes>(x: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    // NaN, as the second, is what `max` keeps.
    let (least, given) = (constant(V::Element::LEAST), x);
    let x = least.max(x);
    let rounder = constant(V::Element::ROUNDER);
    let n = x.mul_add(constant(std::f64::consts::LOG2_E), rounder).sub(rounder);
    let r = n.mul_add(constant(-V::Element::LN2_HIGH), x);
    let r = n.mul_add(constant(-V::Element::LN2_LOW), r);
    let mut sum = constant(EXP_SERIES[V::Element::EXP_TERMS]);
    for k in (0..V::Element::EXP_TERMS).rev() {
        sum = sum.mul_add(r, constant(EXP_SERIES[k]));
    }
    let value = given.sub(least).where_negative(constant(0.0), sum.times_power_of_two(n));
    // A NaN may have a negative sign.
    value.add(x.sub(x))
}

/// `ln(1 + t)` of `t` from 0 to 1, within 3 units in the last place. NaN stays NaN.
#[inline(always)]
pub(super) fn ln_1p<V: Lanes>(t: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    let s = t.div(t.add(constant(2.0)));
    let square = s.mul(s);
    let mut sum = constant(ARTANH_SERIES[V::Element::ARTANH_TERMS]);
    for k in (1..V::Element::ARTANH_TERMS).rev() {
        sum = sum.mul_add(square, constant(ARTANH_SERIES[k]));
    }
    // 2 s + 2 s s^2 (1/3 + ...): the largest part is added last.
    let twice = s.add(s);
    twice.mul(square).mul_add(sum, twice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::level::{Kernel, run};
    use crate::kernels::test_levels::on_every_level;

    struct Each<'a, T>(&'a [T], &'a mut [T], bool);

    impl<T: Element> Kernel<T> for Each<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes<Element = T>>(self) {
            for (x, out) in self.0.chunks(V::LANES).zip(self.1.chunks_mut(V::LANES)) {
                // SAFETY: both pieces have `x.len()` numbers, at most `LANES`.
                unsafe {
                    let x = V::load_partial(x.as_ptr(), x.len());
                    let y = if self.2 { exp(x) } else { ln_1p(x) };
                    y.store_partial(out.as_mut_ptr(), out.len());
                }
            }
        }
    }

    /// The largest error in units of the last place.
    fn worst<T: Element>(points: &[f64], exponential: bool, truth: fn(f64) -> f64) -> f64 {
        let x: Vec<T> = points.iter().map(|&x| T::from_f64(x)).collect();
        let mut y = vec![T::zero(); x.len()];
        run(Each(&x, &mut y, exponential));
        let error = |(x, y): (&T, &T)| {
            let truth = truth(x.as_f64());
            (y.as_f64() - truth).abs() / (truth.abs() * T::epsilon().as_f64()).max(f64::MIN_POSITIVE)
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_two_units_and_ln_within_three_on_every_level() {
        on_every_level(|| {
            let spread =
                |from: f64, to: f64| (0..100_000).map(|i| from + (to - from) * i as f64 / 99_999.0).collect::<Vec<_>>();
            for from in [-1.0, -20.0, -87.0] {
                assert!(worst::<f32>(&spread(from, 0.0), true, f64::exp) < 2.0);
            }
            for from in [-1.0, -20.0, -700.0] {
                let error = worst::<f64>(&spread(from, 0.0), true, f64::exp);
                assert!(error < 2.0, "{error}");
            }
            for to in [1.0, 1e-3, 1e-12] {
                assert!(worst::<f32>(&spread(0.0, to), false, f64::ln_1p) < 3.0);
                assert!(worst::<f64>(&spread(0.0, to), false, f64::ln_1p) < 3.0);
            }
        });
    }

    #[test]
    fn the_ends_of_the_range_are_kept() {
        on_every_level(|| {
            let x = [0.0, -1e300, f64::NEG_INFINITY, f64::NAN, -745.0];
            let mut y = [9.0; 5];
            run(Each(&x, &mut y, true));
            assert_eq!(y[0], 1.0);
            assert_eq!([y[1], y[2], y[4]], [0.0; 3]);
            assert!(y[3].is_nan());
            run(Each(&[-708.0, -708.1, -f64::NAN], &mut y[..3], true));
            assert!(y[0] >= f64::MIN_POSITIVE && y[1] == 0.0 && y[2].is_nan(), "{y:?}");
            let mut single = [9.0_f32; 4];
            run(Each(&[-87.0, -87.01, f32::NEG_INFINITY, -f32::NAN], &mut single, true));
            assert!(single[0] >= f32::MIN_POSITIVE && single[1..3] == [0.0; 2] && single[3].is_nan(), "{single:?}");
            run(Each(&[0.0, f64::NAN], &mut y[..2], false));
            assert!(y[0] == 0.0 && y[1].is_nan());
        });
    }
}
