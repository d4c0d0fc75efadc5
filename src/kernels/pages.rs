//! Where a matrix lies in memory. One that is read row by row at random needs the address of a page for every row, and
//! with pages of 4 KiB the processor cannot keep them at hand; rows that begin with a cache line need no line more than
//! they fill.

use super::element::Element;
use super::rows::LINE;

/// Bytes from which it pays to ask.
const LARGE: usize = 8 << 20;

/// The bytes of a large page.
const PAGE: usize = 2 << 20;

/// So many zeros, after a few more: they begin at the place that is returned, with a cache line. Large pages are asked for;
/// the system hands out zeros untouched, so that it can still grant them.
pub fn aligned_zeros<T: Element>(count: usize) -> (Vec<T>, usize) {
    let mut zeros = vec![T::zero(); count + LINE / size_of::<T>()];
    prefer_large_pages(&mut zeros);
    let first = zeros.as_ptr().align_offset(LINE);
    (zeros, first)
}

/// Asks for large pages for memory that has been reserved but not written to: a large matrix that will be trained on is
/// read faster from them. It is a wish: nothing is said where the system does not grant it.
pub fn prefer_large_pages<T>(reserved: &mut Vec<T>) {
    let start = reserved.as_mut_ptr() as usize;
    let bytes = reserved.capacity() * size_of::<T>();
    let (first, end) = (start.next_multiple_of(PAGE), (start + bytes) / PAGE * PAGE);
    if bytes >= LARGE && first < end {
        advise(first, end - first);
    }
}

#[cfg(target_os = "linux")]
fn advise(first: usize, bytes: usize) {
    // SAFETY: the advice does not change what the memory holds, and these whole pages belong to the one allocation that
    // the caller has exclusively.
    unsafe { libc::madvise(first as *mut libc::c_void, bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_first: usize, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_zeros_begin_with_a_line_and_are_as_many_as_asked_for() {
        for count in [0, 1, 100, 3 << 20] {
            let (zeros, first) = aligned_zeros::<f32>(count);
            assert_eq!(zeros[first..].as_ptr() as usize % LINE, 0);
            assert!(zeros[first..].len() >= count && zeros.iter().all(|zero| *zero == 0.0));
        }
    }

    #[test]
    fn memory_holds_what_it_held() {
        let mut values: Vec<u32> = Vec::with_capacity(5 << 20);
        prefer_large_pages(&mut values);
        values.extend(0..5 << 20);
        assert!(values.iter().copied().eq(0..5 << 20));
        prefer_large_pages::<u32>(&mut Vec::new());
    }
}
