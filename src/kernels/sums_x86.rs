//! Sums over the lanes of x86-64's registers, and the largest lane.
//!
//! Every function may be called only where the CPU has its instructions, as those of [`lanes_x86`](super::lanes_x86).

use std::arch::x86_64::*;

use super::lanes::GROUP;

#[inline(always)]
pub(super) unsafe fn sum_f32x8(value: __m256) -> f32 {
    unsafe {
        let half = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
    }
}

#[inline(always)]
pub(super) unsafe fn largest_f32x8(value: __m256) -> f32 {
    unsafe {
        let half = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
        let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)))
    }
}

#[inline(always)]
pub(super) unsafe fn sum_f64x4(value: __m256d) -> f64 {
    unsafe {
        let half = _mm_add_pd(_mm256_castpd256_pd128(value), _mm256_extractf128_pd::<1>(value));
        _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)))
    }
}

#[inline(always)]
pub(super) unsafe fn largest_f64x4(value: __m256d) -> f64 {
    unsafe {
        let half = _mm_max_pd(_mm256_castpd256_pd128(value), _mm256_extractf128_pd::<1>(value));
        _mm_cvtsd_f64(_mm_max_sd(half, _mm_unpackhi_pd(half, half)))
    }
}

// Four sums at once: two vectors are interleaved and added to what is left of the two, so that each addition halves what
// belongs to each. The four take the same way, and so are added in the same order.

#[inline(always)]
pub(super) unsafe fn sums_f32x16(a: __m512, b: __m512, c: __m512, d: __m512) -> [f32; GROUP] {
    unsafe {
        let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
        let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
        let quarters = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
        let halves = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps::<1>(quarters));
        join_f32x4(halves)
    }
}

#[inline(always)]
pub(super) unsafe fn sums_f64x8(a: __m512d, b: __m512d, c: __m512d, d: __m512d) -> [f64; GROUP] {
    unsafe {
        let ab = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        let cd = _mm512_add_pd(_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
        let ab = _mm256_add_pd(_mm512_castpd512_pd256(ab), _mm512_extractf64x4_pd::<1>(ab));
        let cd = _mm256_add_pd(_mm512_castpd512_pd256(cd), _mm512_extractf64x4_pd::<1>(cd));
        join_f64x4(ab, cd)
    }
}

#[inline(always)]
pub(super) unsafe fn sums_f32x8(a: __m256, b: __m256, c: __m256, d: __m256) -> [f32; GROUP] {
    unsafe {
        let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
        let (low, high) = (_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd));
        let halves = _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
        join_f32x4(halves)
    }
}

#[inline(always)]
pub(super) unsafe fn sums_f64x4(a: __m256d, b: __m256d, c: __m256d, d: __m256d) -> [f64; GROUP] {
    unsafe {
        let ab = _mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        let cd = _mm256_add_pd(_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
        join_f64x4(ab, cd)
    }
}

/// The sums of two times two vectors, of which each holds two halves.
#[inline(always)]
unsafe fn join_f64x4(ab: __m256d, cd: __m256d) -> [f64; GROUP] {
    unsafe {
        let (low, high) = (_mm256_permute2f128_pd::<0x20>(ab, cd), _mm256_permute2f128_pd::<0x31>(ab, cd));
        let mut sums = [0.0; GROUP];
        _mm256_storeu_pd(sums.as_mut_ptr(), _mm256_add_pd(low, high));
        sums
    }
}

/// The sums of four vectors, of which `halves` holds two halves each.
#[inline(always)]
unsafe fn join_f32x4(halves: __m256) -> [f32; GROUP] {
    let mut sums = [0.0; GROUP];
    unsafe {
        let joined = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
        _mm_storeu_ps(sums.as_mut_ptr(), joined);
    }
    sums
}
