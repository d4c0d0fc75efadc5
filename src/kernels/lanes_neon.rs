//! Vector registers of 64-bit ARM, which every such CPU has.
//!
//! Every `unsafe` block here is a call of such an instruction, or a pointer that is the caller's promise, as [`Lanes`]
//! states it.

use std::arch::aarch64::*;

use super::lanes::Lanes;

macro_rules! lanes {
    (
        $(#[$doc:meta])* $Name:ident: $Element:ty, $Register:ty, $lanes:expr,
        splat $splat:ident, load $load:ident, store $store:ident, add $add:ident, sub $sub:ident, mul $mul:ident,
        div $div:ident, mul_add $fma:ident, larger $larger:ident, below $below:ident, select $select:ident, sum $sum:ident,
        largest $largest:ident, power ($value:ident, $power:ident) $times_power:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $Name($Register);

        impl Lanes for $Name {
            type Element = $Element;
            const LANES: usize = $lanes;
            const REGISTERS: usize = 32;

            #[inline(always)]
            fn splat(value: $Element) -> Self {
                $Name(unsafe { $splat(value) })
            }

            #[inline(always)]
            unsafe fn load(from: *const $Element) -> Self {
                $Name(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn load_partial(from: *const $Element, count: usize) -> Self {
                unsafe { Self::load_partial_or(from, count, Self::splat(0.0)) }
            }

            #[inline(always)]
            unsafe fn load_partial_or(from: *const $Element, count: usize, fill: Self) -> Self {
                let mut lanes = [0.0; $lanes];
                unsafe { fill.store(lanes.as_mut_ptr()) };
                lanes[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
                unsafe { Self::load(lanes.as_ptr()) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $Element) {
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn store_partial(self, to: *mut $Element, count: usize) {
                let mut lanes = [0.0; $lanes];
                unsafe { self.store(lanes.as_mut_ptr()) };
                unsafe { std::slice::from_raw_parts_mut(to, count) }.copy_from_slice(&lanes[..count]);
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                $Name(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                $Name(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                $Name(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                $Name(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                $Name(unsafe { $fma(addend.0, self.0, factor.0) })
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                $Name(unsafe { $select($larger(self.0, other.0), self.0, other.0) })
            }

            #[inline(always)]
            fn where_negative(self, then: Self, otherwise: Self) -> Self {
                $Name(unsafe { $select($below(self.0, $splat(0.0)), then.0, otherwise.0) })
            }

            #[inline(always)]
            fn times_power_of_two(self, exponent: Self) -> Self {
                let ($value, $power) = (self.0, exponent.0);
                $Name(unsafe { $times_power })
            }

            #[inline(always)]
            fn sum(self) -> $Element {
                unsafe { $sum(self.0) }
            }

            #[inline(always)]
            fn largest(self) -> $Element {
                unsafe { $largest(self.0) }
            }
        }
    };
}

lanes! {
    /// 4 single numbers.
    NeonF32: f32, float32x4_t, 4,
    splat vdupq_n_f32, load vld1q_f32, store vst1q_f32, add vaddq_f32, sub vsubq_f32, mul vmulq_f32, div vdivq_f32,
    mul_add vfmaq_f32, larger vcgtq_f32, below vcltq_f32, select vbslq_f32, sum vaddvq_f32, largest vmaxvq_f32,
    power (value, exponent) {
        let biased = vaddq_s32(vcvtnq_s32_f32(vmaxq_f32(exponent, vdupq_n_f32(-127.0))), vdupq_n_s32(127));
        vmulq_f32(value, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
    }
}

lanes! {
    /// 2 double numbers.
    NeonF64: f64, float64x2_t, 2,
    splat vdupq_n_f64, load vld1q_f64, store vst1q_f64, add vaddq_f64, sub vsubq_f64, mul vmulq_f64, div vdivq_f64,
    mul_add vfmaq_f64, larger vcgtq_f64, below vcltq_f64, select vbslq_f64, sum vaddvq_f64, largest vmaxvq_f64,
    power (value, exponent) {
        let biased = vaddq_s64(vcvtnq_s64_f64(vmaxq_f64(exponent, vdupq_n_f64(-1023.0))), vdupq_n_s64(1023));
        vmulq_f64(value, vreinterpretq_f64_s64(vshlq_n_s64::<52>(biased)))
    }
}
