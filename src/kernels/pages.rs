//! Where a matrix lies in memory. One that is read row by row at random needs the address of a page for every row, and
//! with pages of 4 KiB the processor cannot keep them at hand; rows that begin with a cache line need no line more than
//! they fill.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
fn prefer_large_pages<T>(reserved: &mut Vec<T>) {
    advise(whole_pages(reserved), Advice::LargePages);
}

/// Memory that has been reserved and will be filled from its beginning on, by one thread at a time, with what several threads
/// make.
///
/// The system clears a page when it is first touched, which takes longer than writing to it, and much longer where a
/// virtual machine has to ask for the page. Here each thread has its share of that done. If the memory turns out to be too
/// little and what is in it moves, there is nothing left to clear: tell it by [`end`](Reserve::end).
#[derive(Debug)]
pub struct Reserve {
    pages: Range<usize>,
    /// The bytes that are filled, or will be soon.
    wanted: AtomicUsize,
    /// The pages that are cleared, or being so.
    cleared: AtomicUsize,
}

impl Reserve {
    /// The bytes that are cleared before they are wanted: who fills them should not meet one that still clears them.
    const AHEAD: usize = 4 * PAGE;

    /// Of memory that has not been written to; large pages are asked for.
    pub fn of<T>(reserved: &mut Vec<T>) -> Self {
        prefer_large_pages(reserved);
        let (wanted, cleared) = (AtomicUsize::new(Self::AHEAD), AtomicUsize::new(0));
        Reserve { pages: whole_pages(reserved), wanted, cleared }
    }

    /// Notes that so many more bytes will be filled now.
    pub fn fill(&self, bytes: usize) {
        self.wanted.fetch_add(bytes, Relaxed);
    }

    /// Ends the clearing: what is left counts as cleared.
    pub fn end(&self) {
        self.cleared.store(self.pages.len() / PAGE, Relaxed);
    }

    /// The bytes that are cleared, or being so.
    #[cfg(test)]
    pub fn cleared(&self) -> usize {
        self.cleared.load(Relaxed) * PAGE
    }

    /// Clears what will soon be filled and that no other thread clears.
    pub fn clear_ahead(&self) {
        let wanted = self.wanted.load(Relaxed).min(self.pages.len());
        let page_below = |page: usize| (page * PAGE < wanted).then_some(page + 1);
        while let Ok(page) = self.cleared.fetch_update(Relaxed, Relaxed, page_below) {
            let first = self.pages.start + page * PAGE;
            advise(first..first + PAGE, Advice::Clear);
        }
    }
}

/// The addresses of the large pages that lie within the memory of a large vector; none in that of others.
fn whole_pages<T>(vector: &mut Vec<T>) -> Range<usize> {
    let start = vector.as_mut_ptr() as usize;
    let bytes = vector.capacity() * size_of::<T>();
    let pages = start.next_multiple_of(PAGE)..(start + bytes) / PAGE * PAGE;
    if bytes >= LARGE { pages } else { 0..0 }
}

/// What the system is told of memory.
#[derive(Debug, Clone, Copy)]
enum Advice {
    /// That it should consist of large pages.
    LargePages,
    /// That its pages will be written to at once.
    Clear,
}

#[cfg(target_os = "linux")]
fn advise(pages: Range<usize>, advice: Advice) {
    if pages.is_empty() {
        return;
    }
    let advice = match advice {
        Advice::LargePages => libc::MADV_HUGEPAGE,
        // Since Linux 5.14; before it is refused, and they are cleared when they are touched.
        Advice::Clear => libc::MADV_POPULATE_WRITE,
    };
    // SAFETY: neither changes what memory holds, and where there is none any more the call is refused: also the pages of a
    // `Reserve` whose memory was moved meanwhile may be named.
    unsafe { libc::madvise(pages.start as *mut libc::c_void, pages.len(), advice) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_pages: Range<usize>, _advice: Advice) {}

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

    #[test]
    fn a_reserve_is_cleared_ahead_and_holds_what_it_held() {
        let mut values: Vec<u32> = Vec::with_capacity(5 << 20);
        let reserve = Reserve::of(&mut values);
        values.extend(0..1 << 20);
        assert_eq!(reserve.cleared(), 0);
        reserve.clear_ahead();
        assert_eq!(reserve.cleared(), Reserve::AHEAD);
        reserve.fill(1);
        reserve.clear_ahead();
        assert_eq!(reserve.cleared(), Reserve::AHEAD + PAGE);
        // More than there is, on two threads.
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        reserve.fill(1 << 20);
                        reserve.clear_ahead();
                    }
                });
            }
        });
        assert_eq!(reserve.cleared(), reserve.pages.len());
        values.extend(1 << 20..5 << 20);
        assert!(values.iter().copied().eq(0..5 << 20));
        // A small vector has no large pages.
        let reserve = Reserve::of(&mut vec![0_u8; 100]);
        reserve.fill(100);
        reserve.clear_ahead();
        assert_eq!((reserve.cleared(), reserve.pages), (0, 0..0));
    }

    #[test]
    fn a_reserve_that_has_ended_clears_nothing_more() {
        let reserve = Reserve::of(&mut Vec::<u32>::with_capacity(5 << 20));
        reserve.end();
        reserve.fill(30 << 20);
        reserve.clear_ahead();
        assert_eq!(reserve.cleared(), reserve.pages.len());
    }
}
