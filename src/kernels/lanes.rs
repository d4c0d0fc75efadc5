//! Several numbers side by side, as a vector register holds them.

use super::element::Element;

/// Vectors that are added up together, and rows that go through a kernel together.
pub const GROUP: usize = 4;

/// As many lanes as any register has.
pub(super) const MOST_LANES: usize = 16;

/// A vector of numbers. Kernels are written once over this trait, and compiled for each instruction set.
///
/// The implementations for an instruction set may run only where the CPU has it: [`run`](super::level::run) sees to that.
pub trait Lanes: Copy {
    /// What each lane holds.
    type Element: Element;

    /// Numbers side by side.
    const LANES: usize;

    /// Registers of the instruction set.
    const REGISTERS: usize;

    /// The same number in every lane.
    fn splat(value: Self::Element) -> Self;

    /// `LANES` numbers from memory.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load(from: *const Self::Element) -> Self;

    /// The first `count` numbers from memory, at most `LANES`, and 0 in the other lanes.
    ///
    /// # Safety
    /// `count` numbers must be readable.
    unsafe fn load_partial(from: *const Self::Element, count: usize) -> Self;

    /// The same without touching what lies behind them: the numbers before them are read instead. A processor may fetch the
    /// cache line of lanes that it leaves out; behind a row that is another row's, which nobody asked memory for in time.
    ///
    /// # Safety
    /// `count` numbers and the `LANES - count` before them must be readable.
    unsafe fn load_end(from: *const Self::Element, count: usize) -> Self;

    /// The first `count` numbers from memory, at most `LANES`, and those of `fill` in the other lanes.
    ///
    /// # Safety
    /// `count` numbers must be readable.
    unsafe fn load_partial_or(from: *const Self::Element, count: usize, fill: Self) -> Self;

    /// The first `count` lanes, at most all, and 0 in the others.
    fn first(self, count: usize) -> Self;

    /// Writes `LANES` numbers.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store(self, to: *mut Self::Element);

    /// Writes the first `count` numbers, at most `LANES`.
    ///
    /// # Safety
    /// `count` numbers must be writable.
    unsafe fn store_partial(self, to: *mut Self::Element, count: usize);

    /// `self + other`.
    fn add(self, other: Self) -> Self;

    /// `self - other`.
    fn sub(self, other: Self) -> Self;

    /// `self * other`.
    fn mul(self, other: Self) -> Self;

    /// `self / other`.
    fn div(self, other: Self) -> Self;

    /// `self * factor + addend`, rounded once where the instruction set can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// The larger of the two; `other` where either is NaN.
    fn max(self, other: Self) -> Self;

    /// `then` in the lanes whose sign is negative, `otherwise` in the others.
    fn where_negative(self, then: Self, otherwise: Self) -> Self;

    /// `then` in the lanes that are equal to those of `other`, `otherwise` in the others and where either is NaN.
    fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self;

    /// `self * 2^exponent` for whole exponents up to 127 (f32) or 1023 (f64); from -127 or -1023 down it may be 0.
    fn times_power_of_two(self, exponent: Self) -> Self;

    /// The sum of all lanes, always added in the same order.
    fn sum(self) -> Self::Element;

    /// The sum of all lanes of each vector, always added in the same order, whatever the other vectors hold and
    /// whichever place it has. The order may be another than that of [`sum`](Lanes::sum).
    fn sums(vectors: [Self; GROUP]) -> [Self::Element; GROUP];

    /// The largest lane.
    fn largest(self) -> Self::Element;
}

/// `count` numbers from memory, at most all lanes, and 0 in the others.
///
/// # Safety
/// `count` numbers must be readable.
#[inline(always)]
pub unsafe fn load<V: Lanes>(from: *const V::Element, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if count < V::LANES { V::load_partial(from, count) } else { V::load(from) } }
}

/// `count` numbers of a row from a column on, at most all lanes, and 0 in the others.
///
/// # Safety
/// The row must have so many numbers from there on, and a whole number of vectors before.
#[inline(always)]
pub unsafe fn load_of_row<V: Lanes>(row: *const V::Element, column: usize, count: usize) -> V {
    debug_assert!(column.is_multiple_of(V::LANES) && count <= V::LANES, "{count} numbers from {column} on");
    // SAFETY: the caller's promise: before the column there is a whole vector, or nothing.
    unsafe {
        let from = row.add(column);
        if count < V::LANES && column > 0 { V::load_end(from, count) } else { load(from, count) }
    }
}

/// The last number whose cache line reading a row may fetch: that of the row, or of a whole register if the row is shorter.
#[inline(always)]
pub fn last_touched<V: Lanes>(width: usize) -> usize {
    width.max(V::LANES) - 1
}

/// What the first `count` lanes hold, at most all, and 0 in the others: what is there belongs to nobody.
#[inline(always)]
pub fn first_lanes<V: Lanes>(value: V, count: usize) -> V {
    if count < V::LANES { value.first(count) } else { value }
}

/// Writes the first `count` numbers, at most all lanes.
///
/// # Safety
/// `count` numbers must be writable.
#[inline(always)]
pub unsafe fn store<V: Lanes>(value: V, to: *mut V::Element, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count < V::LANES { value.store_partial(to, count) } else { value.store(to) } }
}

/// Lanes on any machine: the compiler makes of them what the machine has.
#[derive(Debug, Clone, Copy)]
pub struct Plain<T>([T; PLAIN]);

/// Enough lanes to fill two registers of the least machines.
const PLAIN: usize = 8;

macro_rules! plain {
    ($T:ty, $Bits:ty, $bias:expr, $mantissa:expr) => {
        impl Lanes for Plain<$T> {
            type Element = $T;
            const LANES: usize = PLAIN;
            const REGISTERS: usize = 16;

            #[inline(always)]
            fn splat(value: $T) -> Self {
                Plain([value; PLAIN])
            }

            #[inline(always)]
            unsafe fn load(from: *const $T) -> Self {
                // SAFETY: the caller says that so many numbers are readable; an array needs no more alignment.
                Plain(unsafe { from.cast::<[$T; PLAIN]>().read() })
            }

            #[inline(always)]
            unsafe fn load_partial(from: *const $T, count: usize) -> Self {
                // SAFETY: the caller says that `count` numbers are readable.
                unsafe { Self::load_partial_or(from, count, Self::splat(0.0)) }
            }

            #[inline(always)]
            unsafe fn load_end(from: *const $T, count: usize) -> Self {
                // No more is read than asked for.
                // SAFETY: the caller says that `count` numbers are readable.
                unsafe { Self::load_partial(from, count) }
            }

            #[inline(always)]
            unsafe fn load_partial_or(from: *const $T, count: usize, fill: Self) -> Self {
                let Plain(mut lanes) = fill;
                // SAFETY: the caller says that `count` numbers are readable.
                lanes[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
                Plain(lanes)
            }

            #[inline(always)]
            fn first(self, count: usize) -> Self {
                let Plain(mut lanes) = self;
                lanes[count..].fill(0.0);
                Plain(lanes)
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $T) {
                // SAFETY: the caller says that so many numbers are writable.
                unsafe { to.cast::<[$T; PLAIN]>().write(self.0) }
            }

            #[inline(always)]
            unsafe fn store_partial(self, to: *mut $T, count: usize) {
                // SAFETY: the caller says that `count` numbers are writable.
                unsafe { std::slice::from_raw_parts_mut(to, count) }.copy_from_slice(&self.0[..count]);
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                let Plain(mut lanes) = self;
                for (lane, other) in lanes.iter_mut().zip(other.0) {
                    *lane += other;
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                let Plain(mut lanes) = self;
                for (lane, other) in lanes.iter_mut().zip(other.0) {
                    *lane -= other;
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                let Plain(mut lanes) = self;
                for (lane, other) in lanes.iter_mut().zip(other.0) {
                    *lane *= other;
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                let Plain(mut lanes) = self;
                for (lane, other) in lanes.iter_mut().zip(other.0) {
                    *lane /= other;
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                // Two roundings: without the instruction a fused one would be a call for each lane.
                let Plain(mut lanes) = self;
                for (i, lane) in lanes.iter_mut().enumerate() {
                    *lane = *lane * factor.0[i] + addend.0[i];
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                let mut lanes = other.0;
                for (lane, own) in lanes.iter_mut().zip(self.0) {
                    if own > *lane {
                        *lane = own;
                    }
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn where_negative(self, then: Self, otherwise: Self) -> Self {
                let mut lanes = otherwise.0;
                for (i, lane) in lanes.iter_mut().enumerate() {
                    if self.0[i].is_sign_negative() {
                        *lane = then.0[i];
                    }
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
                let mut lanes = otherwise.0;
                for (i, lane) in lanes.iter_mut().enumerate() {
                    if self.0[i] == other.0[i] {
                        *lane = then.0[i];
                    }
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn times_power_of_two(self, exponent: Self) -> Self {
                // The exponent's bits of a floating-point number are its power of two plus the bias.
                let Plain(mut lanes) = self;
                for (lane, exponent) in lanes.iter_mut().zip(exponent.0) {
                    let biased = (exponent as i32).max(-$bias) + $bias;
                    *lane *= <$T>::from_bits((biased as $Bits) << $mantissa);
                }
                Plain(lanes)
            }

            #[inline(always)]
            fn sum(self) -> $T {
                let [a, b, c, d, e, f, g, h] = self.0;
                ((a + e) + (c + g)) + ((b + f) + (d + h))
            }

            #[inline(always)]
            fn sums(vectors: [Self; GROUP]) -> [$T; GROUP] {
                vectors.map(Self::sum)
            }

            #[inline(always)]
            fn largest(self) -> $T {
                self.0.into_iter().fold(<$T>::NEG_INFINITY, |most, lane| if most > lane { most } else { lane })
            }
        }
    };
}

plain!(f32, u32, 127, 23);
plain!(f64, u64, 1023, 52);

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
