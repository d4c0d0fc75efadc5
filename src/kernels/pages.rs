//! Large pages of memory: a matrix that is read row by row at random needs the address of a page for every row, and with
//! pages of 4 KiB the processor cannot keep them at hand.

/// Bytes from which it pays to ask.
const LARGE: usize = 8 << 20;

/// A large page.
const PAGE: usize = 2 << 20;

/// Asks for large pages for memory that has been reserved but not written to. It is a wish: nothing is said where the
/// system does not grant it.
pub fn prefer_large_pages<T>(reserved: &mut Vec<T>) {
    let bytes = reserved.capacity() * size_of::<T>();
    advise(reserved.as_mut_ptr() as usize, bytes, Advice::Prefer);
}

/// The same for memory that holds something, which the system moves together: that takes about as long as copying it.
pub fn gather_into_large_pages<T>(values: &mut [T]) {
    let (start, bytes) = (values.as_mut_ptr() as usize, size_of_val(values));
    advise(start, bytes, Advice::Prefer);
    advise(start, bytes, Advice::Gather);
}

#[derive(Clone, Copy)]
enum Advice {
    Prefer,
    Gather,
}

#[cfg(target_os = "linux")]
fn advise(start: usize, bytes: usize, advice: Advice) {
    /// Since Linux 6.1; an older one refuses it.
    const MADV_COLLAPSE: i32 = 25;
    let (first, end) = (start.next_multiple_of(PAGE), (start + bytes) / PAGE * PAGE);
    if bytes < LARGE || first >= end {
        return;
    }
    let advice = match advice {
        Advice::Prefer => libc::MADV_HUGEPAGE,
        Advice::Gather => MADV_COLLAPSE,
    };
    // SAFETY: neither advice changes what the memory holds, and the whole pages between `first` and `end` belong to the
    // one allocation that the caller has exclusively.
    unsafe { libc::madvise(first as *mut libc::c_void, end - first, advice) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_start: usize, _bytes: usize, _advice: Advice) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_holds_what_it_held() {
        let mut values: Vec<u32> = Vec::with_capacity(5 << 20);
        prefer_large_pages(&mut values);
        values.extend(0..5 << 20);
        gather_into_large_pages(&mut values);
        assert!(values.iter().copied().eq(0..5 << 20));
        gather_into_large_pages::<u32>(&mut []);
    }
}
