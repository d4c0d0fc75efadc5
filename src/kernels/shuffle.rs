//! A random order of many numbers, in which each is computed by itself. To change places one by one, as a shuffle of a list
//! does, waits for memory at every turn.

use super::level::Level;

/// Rounds of the function that shuffles. With five, one order of 32,768 in some dozen keeps a trace of which places lie half
/// of it apart, with six one in thousands; the rest is margin.
const ROUNDS: usize = 8;

/// Random numbers for each round: one is added, and one multiplied with.
type ShuffleKeys = [[u32; 2]; ROUNDS];

/// Numbers that are computed together.
const AT_ONCE: usize = 64;

/// The numbers below some length, each once, in an order that looks random and is a function of the length and the keys
/// alone.
///
/// A one-to-one function of the numbers of as many bits as the length needs is put together from random ones, and what it
/// gives beyond the length is left out (Mitchell, Stokes, Frank and Holmes 2022, "Bandwidth-Optimal Random Shuffling for
/// GPUs").
#[derive(Debug, Clone)]
pub struct ShuffledNumbers {
    length: u32,
    /// How many are still to come.
    left: usize,
    /// The number whose value is looked at next.
    next: u32,
    bijection: Bijection,
}

impl ShuffledNumbers {
    /// All of them still to come.
    pub fn new(length: u32, keys: ShuffleKeys) -> Self {
        ShuffledNumbers { length, left: length as usize, next: 0, bijection: Bijection::of_numbers_below(length, keys) }
    }

    /// Writes as many as come next over `numbers`.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn put_next(&mut self, numbers: &mut [u32]) {
        self.left = self.left.checked_sub(numbers.len()).expect("so many numbers are left");
        match Level::in_use() {
            // SAFETY: a level is in use only where its instructions were found.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { put_avx512(self, numbers) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { put_avx2(self, numbers) },
            _ => self.put_all(numbers, keep),
        }
    }

    /// Puts what comes next, of which `keep` writes those of [`AT_ONCE`] that are below the length, and says how many.
    #[inline(always)]
    fn put_all(&mut self, numbers: &mut [u32], keep: impl Fn(&mut [u32; AT_ONCE], &[u32; AT_ONCE], u32) -> usize) {
        let ShuffledNumbers { length, next, bijection, .. } = self;
        let mut put = 0;
        // Where as many are still to be put, as many values at least were not looked at: it does not begin anew.
        while let Some(room) = numbers[put..].first_chunk_mut() {
            let found = std::array::from_fn(|k| bijection.of(next.wrapping_add(k as u32)));
            *next = next.wrapping_add(AT_ONCE as u32);
            put += keep(room, &found, *length);
        }
        while put < numbers.len() {
            numbers[put] = bijection.of(*next);
            put += usize::from(numbers[put] < *length);
            *next = next.wrapping_add(1);
        }
    }
}

/// A one-to-one function of numbers of some bits: each of its rounds is one, and so is what it is made of.
#[derive(Debug, Clone, Copy)]
struct Bijection {
    /// The numbers' bits.
    mask: u32,
    /// Half of them, or one more.
    half: u32,
    keys: ShuffleKeys,
}

impl Bijection {
    /// Of the fewest bits that the numbers below `length` need, at least one.
    fn of_numbers_below(length: u32, keys: ShuffleKeys) -> Self {
        let bits = (u32::BITS - length.saturating_sub(1).leading_zeros()).max(1);
        // A product with an odd number can be undone, one with an even number not.
        let keys = keys.map(|[added, multiplied]| [added, multiplied | 1]);
        Bijection { mask: u32::MAX >> (u32::BITS - bits), half: bits.div_ceil(2), keys }
    }

    /// Sums and products carry each bit to those above it, and the shift those in the upper half to the lower one.
    #[inline(always)]
    fn of(&self, mut number: u32) -> u32 {
        for [added, multiplied] in self.keys {
            number = number.wrapping_add(added).wrapping_mul(multiplied) & self.mask;
            number ^= number >> self.half;
        }
        number
    }
}

/// Without a branch: which numbers are kept, no processor foresees.
#[inline(always)]
fn keep(room: &mut [u32; AT_ONCE], numbers: &[u32; AT_ONCE], length: u32) -> usize {
    let mut kept = 0;
    for &number in numbers {
        // `kept` is less than `AT_ONCE`, which the compiler does not know.
        room[kept % AT_ONCE] = number;
        kept += usize::from(number < length);
    }
    kept
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn put_avx2(shuffled: &mut ShuffledNumbers, numbers: &mut [u32]) {
    shuffled.put_all(numbers, keep);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn put_avx512(shuffled: &mut ShuffledNumbers, numbers: &mut [u32]) {
    use std::arch::x86_64::*;

    shuffled.put_all(numbers, |room, numbers, length| {
        let mut kept = 0;
        for numbers in numbers.as_chunks::<16>().0 {
            let room: &mut [u32; 16] = room[kept..].first_chunk_mut().expect("no more kept than were looked at");
            // SAFETY: both have 16 numbers. Those beyond what is kept are written over by what comes next.
            let below = unsafe {
                let numbers = _mm512_loadu_si512(numbers.as_ptr().cast());
                let below = _mm512_cmplt_epu32_mask(numbers, _mm512_set1_epi32(length as i32));
                _mm512_storeu_si512(room.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(below, numbers));
                below
            };
            kept += below.count_ones() as usize;
        }
        kept
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::on_every_level;

    const KEYS: ShuffleKeys = [
        [1, 0x9e37_79b9],
        [2, 0x85eb_ca6b],
        [3, 0xc2b2_ae35],
        [4, 0x27d4_eb2f],
        [5, 0x1656_67b1],
        [6, 0x9e37_79b0],
        [7, 0x2c1b_3c6d],
        [8, 0x297a_2d39],
    ];

    fn order(length: usize, keys: ShuffleKeys) -> Vec<u32> {
        let mut order = vec![u32::MAX; length];
        ShuffledNumbers::new(length as u32, keys).put_next(&mut order);
        order
    }

    #[test]
    fn every_number_comes_once_in_the_same_order_on_every_level() {
        for length in [0, 1, 2, 3, 5, 63, 64, 65, 127, 128, 129, 1_000, 4_096, 4_097, 100_000, 131_072] {
            for keys in [KEYS, [[0; 2]; ROUNDS], [[u32::MAX; 2]; ROUNDS]] {
                let mut orders = Vec::new();
                on_every_level(|| orders.push(order(length, keys)));
                assert!(orders.windows(2).all(|two| two[0] == two[1]), "{length} numbers");
                let mut numbers = orders.swap_remove(0);
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..length as u32), "{length} numbers");
            }
        }
    }

    #[test]
    fn it_is_the_composition_of_its_rounds() {
        // Of 10 bits, half of which are 5; each step in words of its own.
        let expected: Vec<u32> = (0..1024_u64)
            .map(|number| {
                KEYS.iter().fold(number, |number, &[added, multiplied]| {
                    let number = (number + u64::from(added)) * u64::from(multiplied | 1) % 1024;
                    number ^ (number / 32)
                }) as u32
            })
            .collect();
        assert_eq!(order(1024, KEYS), expected);
        assert_eq!(order(1000, KEYS), expected.into_iter().filter(|&number| number < 1000).collect::<Vec<_>>());
    }

    #[test]
    fn parts_are_those_of_the_whole() {
        on_every_level(|| {
            for part in [1, 17, 64, 100, 999] {
                let mut numbers = ShuffledNumbers::new(1000, KEYS);
                let mut parts = vec![0; 1000];
                parts.chunks_mut(part).for_each(|part| numbers.put_next(part));
                assert_eq!(parts, order(1000, KEYS), "parts of {part}");
                assert!(std::panic::catch_unwind(move || numbers.put_next(&mut [0])).is_err());
            }
        });
    }

    #[test]
    fn a_function_of_any_number_of_bits_is_one_to_one() {
        for bits in 1..=32_u32 {
            let bijection = Bijection::of_numbers_below((1_u64 << bits).min(u64::from(u32::MAX)) as u32, KEYS);
            assert_eq!(bijection.mask, u32::MAX >> (32 - bits));
            // What undoes a round: the half that the shift left alone gives back the other, and an odd number has an inverse.
            let undo = |mut number: u32| {
                for [added, multiplied] in bijection.keys.into_iter().rev() {
                    number ^= number >> bijection.half;
                    // Each turn doubles the bits that are right (Newton).
                    let inverse = (0..5).fold(multiplied, |inverse, _| {
                        inverse.wrapping_mul(2_u32.wrapping_sub(multiplied.wrapping_mul(inverse)))
                    });
                    number = number.wrapping_mul(inverse).wrapping_sub(added) & bijection.mask;
                }
                number
            };
            for number in (0..2_000).map(|k: u32| k.wrapping_mul(0x9e37_79b9) & bijection.mask) {
                assert_eq!(undo(bijection.of(number)), number, "{bits} bits");
            }
        }
    }
}
