//! Numbers as most files write them, read without looking for the cell's end first.
//!
//! A sign, up to 7 digits, and a point with up to 8 more are read here, eight bytes at a time; all other numbers by
//! `fast-float2`. A whole number below 2^53 and a power of ten up to 10^22 are exact in `f64`, so that one division
//! rounds their quotient correctly (Clinger 1990). It halves the time a file of such numbers takes.

use crate::scalar::Scalar;

/// Whether a byte can be a part of a number, so that it does not end one.
pub(crate) fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Reads the number at `at` and says where it ends, if it is one of these and eight bytes follow its sign and its
/// point. It goes on, and has another value, if the byte there [is a part of a number](is_part).
#[inline]
pub(crate) fn read_plain<T: Scalar>(bytes: &[u8], at: usize) -> Option<(T, usize)> {
    let negative = *bytes.get(at)? == b'-';
    let mut end = at + usize::from(negative);
    let values = eight_values(bytes, end)?;
    // A single digit before the point is foreseen by the processor, which need not wait for a count then.
    let mut mantissa = if values & 0xff00 == POINT && values & 0xff < 10 {
        end += 1;
        values & 0xff
    } else {
        let count = leading_digits(values);
        if count == 0 || count == 8 {
            return None;
        }
        end += count;
        number(values, count)
    };
    let mut decimals = 0;
    if *bytes.get(end)? == b'.' {
        let values = eight_values(bytes, end + 1)?;
        decimals = leading_digits(values);
        mantissa = mantissa * WHOLE_POWERS[decimals] + number(values, decimals);
        end += 1 + decimals;
    }
    // Signs are hard to foresee: no branch for them.
    let sign = u64::from(negative) << 63;
    let value = f64::from_bits((mantissa as i64 as f64 / POWERS[decimals]).to_bits() | sign);
    if size_of::<T>() < size_of::<f64>() && value.to_bits() << 35 == 1 << 63 {
        // Half-way between two f32: which is nearer was lost when it was rounded the first time.
        return None;
    }
    Some((T::from_f64(value), end))
}

const WHOLE_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
const POWERS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

/// A point as the second of eight values.
const POINT: u64 = ((b'.' ^ b'0') as u64) << 8;

/// The values of the eight bytes at `at` as digits, the first lowest; of other bytes something above 9.
#[inline]
fn eight_values(bytes: &[u8], at: usize) -> Option<u64> {
    let eight: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(eight) ^ 0x3030_3030_3030_3030)
}

/// How many of eight values are digits before the first that is none.
#[inline]
fn leading_digits(values: u64) -> usize {
    // The highest bit of a byte is set where it or, above 9, its sum with 0x76 has it. What a byte carries over reaches
    // only those after it.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    others.trailing_zeros() as usize / 8
}

/// The number that the first `count` of eight values are the digits of.
#[inline]
fn number(values: u64, count: usize) -> u64 {
    // Zeros before the digits, and neighbours put together thrice.
    let digits = values.checked_shl(64 - 8 * count as u32).unwrap_or(0);
    let pairs = (digits.wrapping_mul(10 * 0x100 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 * 0x1_0000 + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both ways of reading a cell: a plain number must be what `fast-float2` makes of it, to the bit.
    fn agrees<T: Scalar>(cell: &str) -> bool {
        let text = format!("{cell},{}", "x".repeat(16));
        match read_plain::<T>(text.as_bytes(), 0) {
            Some((value, end)) if !is_part(text.as_bytes()[end]) => {
                assert_eq!(&text[..end], cell);
                let expected = T::parse_decimal(cell).unwrap();
                value.little_endian() == expected.little_endian()
            }
            _ => true,
        }
    }

    fn is_plain(cell: &str) -> bool {
        let text = format!("{cell},{}", "x".repeat(16));
        read_plain::<f64>(text.as_bytes(), 0).is_some_and(|(_, end)| end == cell.len())
    }

    #[test]
    fn the_commonest_numbers_are_plain() {
        for cell in ["0", "-0", "7.", "-0.123456", "3.14159265", "1234567", "1234567.12345678", "-99.5"] {
            assert!(is_plain(cell) && agrees::<f64>(cell) && agrees::<f32>(cell), "{cell}");
        }
        for cell in ["", "-", ".", ".5", "--1", "+1", "12345678", "1e5x", "x", "1.123456789"] {
            assert!(!is_plain(cell) || agrees::<f64>(cell), "{cell}");
        }
        assert!(!is_plain(".5") && !is_plain("12345678") && !is_plain("1.123456789"));
    }

    #[test]
    fn what_is_half_way_between_two_f32_is_left_to_others() {
        // 2^23 + 1/2, where f32 has whole numbers alone.
        let text = b"8388608.5,xxxxxxxxxxxx";
        assert!(read_plain::<f32>(text, 0).is_none());
        assert_eq!(read_plain::<f64>(text, 0), Some((8388608.5, 9)));
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
        fn other_bytes_never_count_as_digits(bytes in prop::array::uniform8(any::<u8>()), at in 0..8usize) {
            let mut text = *b"12345678";
            text[at..].copy_from_slice(&bytes[at..]);
            let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
            let values = eight_values(&text, 0).unwrap();
            prop_assert_eq!(leading_digits(values), count);
            let expected: u64 = String::from_utf8_lossy(&text[..count]).parse().unwrap_or(0);
            prop_assert_eq!(number(values, count), expected);
        }
    }
}
