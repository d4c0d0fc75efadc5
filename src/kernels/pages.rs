//! Large pages of memory: a matrix that is read row by row at random needs the address of a page for every row, and with
//! pages of 4 KiB the processor cannot keep them at hand.

/// Bytes from which it pays to ask.
const LARGE: usize = 8 << 20;

/// A large page.
const PAGE: usize = 2 << 20;

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
    fn memory_holds_what_it_held() {
        let mut values: Vec<u32> = Vec::with_capacity(5 << 20);
        prefer_large_pages(&mut values);
        values.extend(0..5 << 20);
        assert!(values.iter().copied().eq(0..5 << 20));
        prefer_large_pages::<u32>(&mut Vec::new());
    }
}
