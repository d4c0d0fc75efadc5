//! Vector registers of x86-64: AVX2 with FMA, and AVX-512.
//!
//! Every `unsafe` block here is a call of an instruction that the CPU must have: these types are used only inside
//! [`run`](super::level::run), which has looked. Pointers are the caller's promise, as [`Lanes`] states it.

use std::arch::x86_64::*;

use super::lanes::{GROUP, Lanes};
use super::sums_x86::*;

macro_rules! lanes {
    (
        $(#[$doc:meta])* $Name:ident: $Element:ty, $Register:ty, $lanes:expr, $registers:expr,
        splat $splat:ident, load $load:ident, store $store:ident, add $add:ident, sub $sub:ident, mul $mul:ident,
        div $div:ident, mul_add $fma:ident, max $max:ident,
        partial ($from:ident, $to:ident, $value:ident, $count:ident) {
            $load_partial:expr, $load_partial_or:expr, $store_partial:expr, end $end:ident, first $first:expr
        },
        negative $negative:ident, equal $equal:ident,
        power ($power:ident) { $times_power:expr }, sum $sum:expr, sums $sums:expr, largest $largest:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $Name($Register);

        impl Lanes for $Name {
            type Element = $Element;
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;

            #[inline(always)]
            fn splat(value: $Element) -> Self {
                $Name(unsafe { $splat(value) })
            }

            #[inline(always)]
            unsafe fn load(from: *const $Element) -> Self {
                $Name(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn load_partial($from: *const $Element, $count: usize) -> Self {
                $Name(unsafe { $load_partial })
            }

            #[inline(always)]
            unsafe fn load_end(from: *const $Element, count: usize) -> Self {
                let before = $lanes - count;
                $Name(unsafe { $end($load(from.sub(before)), before) })
            }

            #[inline(always)]
            unsafe fn load_partial_or($from: *const $Element, $count: usize, fill: Self) -> Self {
                let $value = fill.0;
                $Name(unsafe { $load_partial_or })
            }

            #[inline(always)]
            fn first(self, $count: usize) -> Self {
                let $value = self.0;
                $Name(unsafe { $first })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $Element) {
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn store_partial(self, $to: *mut $Element, $count: usize) {
                let $value = self.0;
                unsafe { $store_partial }
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
                $Name(unsafe { $fma(self.0, factor.0, addend.0) })
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                $Name(unsafe { $max(self.0, other.0) })
            }

            #[inline(always)]
            fn where_negative(self, then: Self, otherwise: Self) -> Self {
                $Name(unsafe { $negative(self.0, then.0, otherwise.0) })
            }

            #[inline(always)]
            fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
                $Name(unsafe { $equal(self.0, other.0, then.0, otherwise.0) })
            }

            #[inline(always)]
            fn times_power_of_two(self, exponent: Self) -> Self {
                let $power = exponent.0;
                $Name(unsafe { $times_power(self.0, $power) })
            }

            #[inline(always)]
            fn sum(self) -> $Element {
                unsafe { $sum(self.0) }
            }

            #[inline(always)]
            fn sums([a, b, c, d]: [Self; GROUP]) -> [$Element; GROUP] {
                unsafe { $sums(a.0, b.0, c.0, d.0) }
            }

            #[inline(always)]
            fn largest(self) -> $Element {
                unsafe { $largest(self.0) }
            }
        }
    };
}

lanes! {
    /// 16 single numbers in a register of 512 bits.
    Avx512F32: f32, __m512, 16, 32,
    splat _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps, add _mm512_add_ps, sub _mm512_sub_ps,
    mul _mm512_mul_ps, div _mm512_div_ps, mul_add _mm512_fmadd_ps, max _mm512_max_ps,
    partial (from, to, value, count) {
        _mm512_maskz_loadu_ps(mask16(count), from), _mm512_mask_loadu_ps(value, mask16(count), from),
        _mm512_mask_storeu_ps(to, mask16(count), value), end end_f32x16,
        first _mm512_maskz_mov_ps(mask16(count), value)
    },
    negative where_negative_f32x16, equal where_equal_f32x16,
    power (exponent) { _mm512_scalef_ps }, sum _mm512_reduce_add_ps, sums sums_f32x16,
    largest _mm512_reduce_max_ps
}

lanes! {
    /// 8 double numbers in a register of 512 bits.
    Avx512F64: f64, __m512d, 8, 32,
    splat _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd, add _mm512_add_pd, sub _mm512_sub_pd,
    mul _mm512_mul_pd, div _mm512_div_pd, mul_add _mm512_fmadd_pd, max _mm512_max_pd,
    partial (from, to, value, count) {
        _mm512_maskz_loadu_pd(mask8(count), from), _mm512_mask_loadu_pd(value, mask8(count), from),
        _mm512_mask_storeu_pd(to, mask8(count), value), end end_f64x8,
        first _mm512_maskz_mov_pd(mask8(count), value)
    },
    negative where_negative_f64x8, equal where_equal_f64x8,
    power (exponent) { _mm512_scalef_pd }, sum _mm512_reduce_add_pd, sums sums_f64x8,
    largest _mm512_reduce_max_pd
}

lanes! {
    /// 8 single numbers in a register of 256 bits.
    Avx2F32: f32, __m256, 8, 16,
    splat _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps, add _mm256_add_ps, sub _mm256_sub_ps,
    mul _mm256_mul_ps, div _mm256_div_ps, mul_add _mm256_fmadd_ps, max _mm256_max_ps,
    partial (from, to, value, count) {
        _mm256_maskload_ps(from, window32(count)),
        _mm256_blendv_ps(value, _mm256_maskload_ps(from, window32(count)), _mm256_castsi256_ps(window32(count))),
        _mm256_maskstore_ps(to, window32(count), value), end end_f32x8,
        first _mm256_and_ps(value, _mm256_castsi256_ps(window32(count)))
    },
    negative where_negative_f32x8, equal where_equal_f32x8,
    power (exponent) { times_power_f32x8 }, sum sum_f32x8, sums sums_f32x8,
    largest largest_f32x8
}

lanes! {
    /// 4 double numbers in a register of 256 bits.
    Avx2F64: f64, __m256d, 4, 16,
    splat _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd, add _mm256_add_pd, sub _mm256_sub_pd,
    mul _mm256_mul_pd, div _mm256_div_pd, mul_add _mm256_fmadd_pd, max _mm256_max_pd,
    partial (from, to, value, count) {
        _mm256_maskload_pd(from, window64(count)),
        _mm256_blendv_pd(value, _mm256_maskload_pd(from, window64(count)), _mm256_castsi256_pd(window64(count))),
        _mm256_maskstore_pd(to, window64(count), value), end end_f64x4,
        first _mm256_and_pd(value, _mm256_castsi256_pd(window64(count)))
    },
    negative where_negative_f64x4, equal where_equal_f64x4,
    power (exponent) { times_power_f64x4 }, sum sum_f64x4, sums sums_f64x4,
    largest largest_f64x4
}

/// The first `count` of 16 lanes.
#[inline(always)]
fn mask16(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

/// The first `count` of 8 lanes.
#[inline(always)]
fn mask8(count: usize) -> __mmask8 {
    ((1_u32 << count) - 1) as __mmask8
}

/// A window of 8 over these, begun `8 - count` from the start, has its first `count` lanes set.
static WINDOW32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static WINDOW64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
unsafe fn window32(count: usize) -> __m256i {
    // SAFETY: `count` is at most 8, so that the window lies within the 16 numbers.
    unsafe { _mm256_loadu_si256(WINDOW32.as_ptr().add(8 - count).cast()) }
}

#[inline(always)]
unsafe fn window64(count: usize) -> __m256i {
    // SAFETY: `count` is at most 4, so that the window lies within the 8 numbers.
    unsafe { _mm256_loadu_si256(WINDOW64.as_ptr().add(4 - count).cast()) }
}

// All lanes but some of the first, moved to the front, and 0 after them.

#[inline(always)]
unsafe fn end_f32x16(value: __m512, before: usize) -> __m512 {
    unsafe {
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let lanes = _mm512_add_epi32(lanes, _mm512_set1_epi32(before as i32));
        _mm512_maskz_permutexvar_ps(mask16(16 - before), lanes, value)
    }
}

#[inline(always)]
unsafe fn end_f64x8(value: __m512d, before: usize) -> __m512d {
    unsafe {
        let lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        let lanes = _mm512_add_epi64(lanes, _mm512_set1_epi64(before as i64));
        _mm512_maskz_permutexvar_pd(mask8(8 - before), lanes, value)
    }
}

#[inline(always)]
unsafe fn end_f32x8(value: __m256, before: usize) -> __m256 {
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let lanes = _mm256_add_epi32(lanes, _mm256_set1_epi32(before as i32));
        let moved = _mm256_permutevar8x32_ps(value, lanes);
        _mm256_and_ps(moved, _mm256_castsi256_ps(window32(8 - before)))
    }
}

#[inline(always)]
unsafe fn end_f64x4(value: __m256d, before: usize) -> __m256d {
    // As pairs of halves.
    unsafe { _mm256_castps_pd(end_f32x8(_mm256_castpd_ps(value), 2 * before)) }
}

#[inline(always)]
unsafe fn where_negative_f32x16(value: __m512, then: __m512, otherwise: __m512) -> __m512 {
    unsafe { _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(value)), otherwise, then) }
}

#[inline(always)]
unsafe fn where_negative_f64x8(value: __m512d, then: __m512d, otherwise: __m512d) -> __m512d {
    unsafe { _mm512_mask_blend_pd(_mm512_movepi64_mask(_mm512_castpd_si512(value)), otherwise, then) }
}

#[inline(always)]
unsafe fn where_negative_f32x8(value: __m256, then: __m256, otherwise: __m256) -> __m256 {
    unsafe { _mm256_blendv_ps(otherwise, then, value) }
}

#[inline(always)]
unsafe fn where_negative_f64x4(value: __m256d, then: __m256d, otherwise: __m256d) -> __m256d {
    unsafe { _mm256_blendv_pd(otherwise, then, value) }
}

#[inline(always)]
unsafe fn where_equal_f32x16(value: __m512, other: __m512, then: __m512, otherwise: __m512) -> __m512 {
    unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(value, other), otherwise, then) }
}

#[inline(always)]
unsafe fn where_equal_f64x8(value: __m512d, other: __m512d, then: __m512d, otherwise: __m512d) -> __m512d {
    unsafe { _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_EQ_OQ>(value, other), otherwise, then) }
}

#[inline(always)]
unsafe fn where_equal_f32x8(value: __m256, other: __m256, then: __m256, otherwise: __m256) -> __m256 {
    unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_EQ_OQ>(value, other)) }
}

#[inline(always)]
unsafe fn where_equal_f64x4(value: __m256d, other: __m256d, then: __m256d, otherwise: __m256d) -> __m256d {
    unsafe { _mm256_blendv_pd(otherwise, then, _mm256_cmp_pd::<_CMP_EQ_OQ>(value, other)) }
}

#[inline(always)]
unsafe fn times_power_f32x8(value: __m256, exponent: __m256) -> __m256 {
    unsafe {
        let bias = _mm256_set1_epi32(127);
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), bias);
        let biased = _mm256_max_epi32(biased, _mm256_setzero_si256());
        _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
    }
}

#[inline(always)]
unsafe fn times_power_f64x4(value: __m256d, exponent: __m256d) -> __m256d {
    unsafe {
        let whole = _mm_max_epi32(_mm256_cvtpd_epi32(exponent), _mm_set1_epi32(-1023));
        let whole = _mm256_cvtepi32_epi64(whole);
        let biased = _mm256_add_epi64(whole, _mm256_set1_epi64x(1023));
        _mm256_mul_pd(value, _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased)))
    }
}
