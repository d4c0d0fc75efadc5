//! Numbers as most files write them, read in a few steps.
//!
//! A sign, up to 7 digits, and a point with up to 8 more are read here, eight bytes at a time; all other numbers by
//! `fast-float2`. A whole number below 2^53 and a power of ten up to 10^22 are exact in `f64`, so that one division
//! rounds their quotient correctly (Clinger 1990); in `f32` they are below 2^24 and up to 10^10. A quotient in `f64` that is
//! made an `f32` is rounded a second time, which is right unless the first time has put it in the middle of two.

use std::ops::Range;

use crate::scalar::Scalar;

/// Whether a byte can be a part of a number, so that it does not end one.
pub(crate) fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
}

/// The bytes of a text that [`read_short`] may look at.
const SHORT: usize = 11;

/// A sign, seven digits, a point, eight digits.
const LONGEST: usize = 17;

/// The most digits after the point.
const DECIMALS: usize = 8;

/// The number that the first `length` bytes are, if they are a sign or none, a single digit, a point and up to 8 digits:
/// most numbers of most files.
#[inline(always)]
pub(crate) fn read_short<T: Scalar>(bytes: &[u8; SHORT], length: usize) -> Option<T> {
    let negative = usize::from(bytes[0] == b'-');
    let whole = (eight_values(&bytes[negative..]) & 0xffff) ^ POINT;
    let decimals = length.wrapping_sub(negative + 2);
    if whole > 9 || decimals.wrapping_sub(1) >= DECIMALS {
        return None;
    }
    quotient(negative, whole, decimals_of(&bytes[negative + 2..], decimals)?, decimals)
}

/// The number that these bytes of a text are, if they are a sign or none, up to 7 digits, and none or a point with up to 8
/// more; eight bytes must follow its sign and its point.
///
/// "Cold" is not what it is, but keeps the loop that calls it fast: `read_short` has the registers.
#[cold]
#[inline(never)]
pub(crate) fn read_plain<T: Scalar>(bytes: &[u8], Range { start, end }: Range<usize>) -> Option<T> {
    if end.saturating_sub(start) > LONGEST {
        return None;
    }
    let negative = usize::from(*bytes.get(start)? == b'-');
    let values = eight_values(bytes.get(start + negative..).filter(|rest| rest.len() >= 8)?);
    let count = others(values).trailing_zeros() as usize / 8;
    if count == 0 || count == 8 {
        return None;
    }
    let whole = number(values << (64 - 8 * count));
    let point = start + negative + count;
    let decimals = end.saturating_sub(point + 1);
    let fraction = match decimals {
        0 if point == end || (point + 1 == end && bytes[point] == b'.') => 0,
        1..=DECIMALS if bytes[point] == b'.' => {
            decimals_of(bytes.get(point + 1..).filter(|rest| rest.len() >= 8)?, decimals)?
        }
        _ => return None,
    };
    quotient(negative, whole, fraction, decimals)
}

/// The number that the first `count` of eight bytes, at least one, are the digits of.
#[inline(always)]
fn decimals_of(bytes: &[u8], count: usize) -> Option<u64> {
    let digits = eight_values(bytes) << (64 - 8 * count);
    (others(digits) == 0).then(|| number(digits))
}

/// What to divide by for so many decimals, for a number without a sign and for one with it: signs are hard to foresee, and
/// are to cost no branch.
static DIVISORS: [[f64; DECIMALS + 1]; 2] =
    [[1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8], [-1.0, -1e1, -1e2, -1e3, -1e4, -1e5, -1e6, -1e7, -1e8]];
static SINGLE_DIVISORS: [[f32; DECIMALS + 1]; 2] =
    [[1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8], [-1.0, -1e1, -1e2, -1e3, -1e4, -1e5, -1e6, -1e7, -1e8]];

/// A sign, a whole number, and so many decimals, to the nearest number; `None` if that cannot be told: in `f32` one that was
/// rounded to the middle of two.
#[inline(always)]
fn quotient<T: Scalar>(negative: usize, whole: u64, fraction: u64, decimals: usize) -> Option<T> {
    const WHOLE: [u64; DECIMALS + 1] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

    let dividend = (whole * WHOLE[decimals] + fraction) as i64;
    let single = size_of::<T>() < size_of::<f64>();
    if single && dividend < 1 << f32::MANTISSA_DIGITS {
        return Some(T::from_f64(f64::from(dividend as f32 / SINGLE_DIVISORS[negative][decimals])));
    }
    let value = dividend as f64 / DIVISORS[negative][decimals];
    // Half-way between two f32: which is nearer was lost when it was rounded the first time.
    let half_way = single && value.to_bits() << 35 == 1 << 63;
    (!half_way).then(|| T::from_f64(value))
}

/// A point as the second of eight values.
const POINT: u64 = ((b'.' ^ b'0') as u64) << 8;

/// The values of the first eight bytes as digits, the first lowest; of other bytes something above 9.
#[inline(always)]
fn eight_values(bytes: &[u8]) -> u64 {
    let eight = *bytes.first_chunk().expect("eight bytes");
    u64::from_le_bytes(eight) ^ 0x3030_3030_3030_3030
}

/// The highest bits of those of eight values that are no digits. Above the first of them, others may be wrong.
#[inline(always)]
fn others(values: u64) -> u64 {
    // The highest bit of a byte is set where it or, above 9, its sum with 0x76 has it. What a byte carries over reaches
    // only those after it.
    (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080
}

/// The number that eight values are the digits of.
#[inline(always)]
fn number(digits: u64) -> u64 {
    // Neighbours put together thrice.
    let pairs = (digits.wrapping_mul(10 * 0x100 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 * 0x1_0000 + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cell between others.
    fn plain<T: Scalar>(cell: &[u8]) -> Option<T> {
        let text = [b"12,", cell, b",34.5678,90"].concat();
        read_plain::<T>(&text, 3..3 + cell.len())
    }

    fn short<T: Scalar>(cell: &[u8]) -> Option<T> {
        let text = [cell, b",34.5678,90"].concat();
        read_short::<T>(text.first_chunk().unwrap(), cell.len())
    }

    /// Whether what is read of a cell, if anything is, is what `fast-float2` makes of it, to the bit.
    fn agrees<T: Scalar>(cell: &str) -> bool {
        let expected = T::parse_decimal(cell).map(T::little_endian);
        let is_expected = |value: T| Some(value.little_endian()) == expected;
        plain(cell.as_bytes()).is_none_or(is_expected) && short(cell.as_bytes()).is_none_or(is_expected)
    }

    fn is_plain(cell: &str) -> bool {
        plain::<f64>(cell.as_bytes()).is_some()
    }

    #[test]
    fn the_commonest_numbers_are_plain() {
        for cell in ["0", "-0", "7.", "-0.123456", "3.14159265", "1234567", "1234567.12345678", "-99.5"] {
            assert!(is_plain(cell) && agrees::<f64>(cell) && agrees::<f32>(cell), "{cell}");
        }
        for cell in ["", "-", ".", ".5", "--1", "+1", "12345678", "1e5x", "x", "1.123456789"] {
            assert!(!is_plain(cell) || agrees::<f64>(cell), "{cell}");
        }
        for cell in ["0.1", "-0.0", "-0.123456", "3.14159265"] {
            assert!(short::<f64>(cell.as_bytes()).is_some(), "{cell}");
        }
        assert!(!is_plain(".5") && !is_plain("12345678") && !is_plain("1.123456789"));
    }

    #[test]
    fn what_is_half_way_between_two_f32_is_left_to_others() {
        // 2^23 + 1/2, where f32 has whole numbers alone.
        assert_eq!((plain::<f32>(b"8388608.5"), plain(b"8388608.5")), (None, Some(8388608.5)));
        // Their digits are 2^24 + 1 and 2 * 10^8 + 1, which `f32` does not have: they are divided in `f64`.
        assert_eq!((plain::<f32>(b"1677721.7"), short::<f32>(b"2.00000001")), (Some(1677721.7), Some(2.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn plain_numbers_are_read_to_the_bit(whole in 0..12usize, decimals in 0..12usize, digits in any::<u128>()) {
            for sign in ["", "-", "+"] {
                let all = format!("{digits:039}");
                let (whole, decimals) = (&all[..whole], &all[20..20 + decimals]);
                for cell in [format!("{sign}{whole}.{decimals}"), format!("{sign}{whole}")] {
                    if f64::parse_decimal(&cell).is_some() {
                        prop_assert!(agrees::<f64>(&cell) && agrees::<f32>(&cell), "{}", cell);
                    }
                }
            }
        }

        #[test]
        fn numbers_near_the_middle_of_two_f32_are_read_to_the_bit(bits in any::<u32>(), places in 0..9usize) {
            let below = f32::from_bits(bits & 0x7fff_ffff);
            if (1e-9..1e7).contains(&below) {
                let above = f32::from_bits((bits & 0x7fff_ffff) + 1);
                let middle = (f64::from(below) + f64::from(above)) / 2.0;
                let cell = format!("{middle:.places$}");
                prop_assert!(agrees::<f32>(&cell), "{}", cell);
            }
        }

        #[test]
        fn other_bytes_are_no_numbers(cell in "[0-9.+eE ,\"-]{0,12}", at in 0..12usize, byte in any::<u8>()) {
            let mut bytes = cell.into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            match std::str::from_utf8(&bytes) {
                Ok(cell) => prop_assert!(agrees::<f64>(cell) && agrees::<f32>(cell), "{}", cell),
                Err(_) => prop_assert!(plain::<f64>(&bytes).is_none() && short::<f64>(&bytes).is_none(), "{:?}", bytes),
            }
        }

        #[test]
        fn short_numbers_are_plain(sign in "-?", whole in 0..10u32, decimals in "[0-9]{1,8}") {
            let cell = format!("{sign}{whole}.{decimals}");
            prop_assert!(short::<f64>(cell.as_bytes()).is_some() && agrees::<f64>(&cell) && agrees::<f32>(&cell));
            prop_assert!(is_plain(&cell));
        }
    }
}
