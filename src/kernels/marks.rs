//! Where certain bytes stand in a text, found 64 at a time.

use super::level::Level;

/// Bytes for which one number has a bit each.
pub const MARKED_AT_ONCE: usize = 64;

/// Sets a bit of `marks` for each byte that is one of `wanted`, the first byte's in the lowest bit of the first number.
///
/// # Panics
/// If there is not one number for each [`MARKED_AT_ONCE`] bytes, with the last for what is left.
pub fn mark_bytes(bytes: &[u8], wanted: [u8; 3], marks: &mut [u64]) {
    assert_eq!(marks.len(), bytes.len().div_ceil(MARKED_AT_ONCE), "a number for every 64 bytes");
    match Level::in_use() {
        // SAFETY: a level is in use only where its instructions were found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { mark_avx512(bytes, wanted, marks) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { mark_avx2(bytes, wanted, marks) },
        _ => mark_all(bytes, wanted, marks, mark_plain),
    }
}

/// Marks what `mark` marks of 64 bytes, and of the rest with other bytes after it.
#[inline(always)]
fn mark_all(bytes: &[u8], wanted: [u8; 3], marks: &mut [u64], mark: impl Fn(&[u8; MARKED_AT_ONCE], [u8; 3]) -> u64) {
    let (whole, rest) = bytes.as_chunks();
    let (of_whole, of_rest) = marks.split_at_mut(whole.len());
    for (marks, bytes) in of_whole.iter_mut().zip(whole) {
        *marks = mark(bytes, wanted);
    }
    if let [marks] = of_rest {
        let mut padded = [0; MARKED_AT_ONCE];
        padded[..rest.len()].copy_from_slice(rest);
        *marks = mark(&padded, wanted) & ((1 << rest.len()) - 1);
    }
}

fn mark_plain(bytes: &[u8; MARKED_AT_ONCE], wanted: [u8; 3]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().enumerate().fold(0, |marks, (index, &eight)| {
        let eight = u64::from_le_bytes(eight);
        let found = wanted.iter().fold(0, |found, &byte| found | equal_bytes(eight, byte));
        // The highest bits of eight bytes side by side: no two of the products' bits meet.
        let side_by_side = (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        marks | side_by_side << (8 * index)
    })
}

/// The highest bit of each of eight bytes that is `byte`.
fn equal_bytes(eight: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differences = eight ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    // No carry leaves a byte, and a byte other than 0 gets its highest bit from the sum, or has it.
    !(((differences & LOW) + LOW) | differences | LOW)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn mark_avx512(bytes: &[u8], wanted: [u8; 3], marks: &mut [u64]) {
    use std::arch::x86_64::*;

    let wanted_lanes = wanted.map(|byte| _mm512_set1_epi8(byte as i8));
    mark_all(bytes, wanted, marks, |bytes, _| {
        // SAFETY: there are 64 bytes.
        let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        let [a, b, c] = wanted_lanes.map(|wanted| _mm512_cmpeq_epi8_mask(bytes, wanted));
        a | b | c
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn mark_avx2(bytes: &[u8], wanted: [u8; 3], marks: &mut [u64]) {
    use std::arch::x86_64::*;

    let wanted_lanes = wanted.map(|byte| _mm256_set1_epi8(byte as i8));
    mark_all(bytes, wanted, marks, |bytes, _| {
        let halves = [0, 32].map(|from| {
            // SAFETY: there are 64 bytes.
            let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(from).cast()) };
            let [a, b, c] = wanted_lanes.map(|wanted| _mm256_cmpeq_epi8(bytes, wanted));
            let found = _mm256_or_si256(_mm256_or_si256(a, b), c);
            u64::from(_mm256_movemask_epi8(found) as u32)
        });
        halves[0] | halves[1] << 32
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::kernels::test_levels::on_every_level;

    #[test]
    fn marks_are_where_the_bytes_are_on_every_level() {
        let texts =
            prop::collection::vec(prop_oneof![any::<u8>(), Just(b','), Just(b'\n'), Just(0x8a), Just(0)], 0..300);
        on_every_level(|| {
            let check = |(bytes, wanted): (Vec<u8>, [u8; 3])| {
                // What was there before must go.
                let mut marks = vec![u64::MAX; bytes.len().div_ceil(MARKED_AT_ONCE)];
                mark_bytes(&bytes, wanted, &mut marks);
                for (at, byte) in bytes.iter().enumerate() {
                    prop_assert_eq!(
                        marks[at / 64] >> (at % 64) & 1 == 1,
                        wanted.contains(byte),
                        "{} of {:?}",
                        at,
                        bytes
                    );
                }
                let beyond = marks.last().filter(|_| bytes.len() % 64 > 0).map_or(0, |last| last >> (bytes.len() % 64));
                prop_assert_eq!(beyond, 0);
                Ok(())
            };
            let wanted = prop_oneof![Just([b',', b'\n', b'\r']), Just([0, 0xff, b'\n']), any::<[u8; 3]>()];
            TestRunner::default().run(&(&texts, wanted), check).unwrap();
        });
    }
}
