//! Numbers that begin with a cache line.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::slice;

use super::apart::Apart;
use super::element::Element;

/// A fixed number of numbers, the first of which begins a cache line: a register full of them comes from one line, where it
/// would else come from two. They have no line in common with anything else.
#[derive(Clone)]
pub(crate) struct Aligned<T> {
    blocks: Vec<Block>,
    len: usize,
    numbers: PhantomData<T>,
}

/// Bytes of some lines.
type Block = Apart<[u8; align_of::<Apart<()>>()]>;

impl<T: Element> Aligned<T> {
    /// So many zeros.
    pub fn zeros(len: usize) -> Self {
        // More bytes than there are addresses would become few.
        let bytes = len.checked_mul(size_of::<T>()).expect("numbers that memory can hold");
        let blocks = bytes.div_ceil(size_of::<Block>());
        Aligned { blocks: vec![Apart([0; align_of::<Apart<()>>()]); blocks], len, numbers: PhantomData }
    }
}

impl<T: Element> From<&[T]> for Aligned<T> {
    fn from(numbers: &[T]) -> Self {
        let mut aligned = Aligned::zeros(numbers.len());
        aligned.copy_from_slice(numbers);
        aligned
    }
}

// For any type, so that what holds the numbers can be printed without saying of what type they are; there are none but
// those that `zeros` makes.
impl<T> Deref for Aligned<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the blocks have room for so many elements, and are aligned for them; their bytes are zeros, which are the
        // element zero, or what was written as elements.
        unsafe { slice::from_raw_parts(self.blocks.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and a block's bytes may be whatever is written.
        unsafe { slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.len) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_and_begin_with_a_line_also_in_a_clone() {
        fn check<T: Element + fmt::Debug>() {
            for len in [0, 1, 7, 8, 9, 16, 17, 1000] {
                let mut zeros = Aligned::<T>::zeros(len);
                assert!(zeros.len() == len && zeros.iter().all(|number| *number == T::zero()));
                for (place, number) in zeros.iter_mut().enumerate() {
                    *number = T::from_f64(place as f64 + 0.5);
                }
                for copy in [zeros.clone(), Aligned::from(&zeros[..])] {
                    assert_eq!(copy[..], zeros[..]);
                    assert!(copy.as_ptr().addr().is_multiple_of(align_of::<Block>()));
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    #[should_panic(expected = "numbers that memory can hold")]
    fn more_than_there_are_addresses_are_refused() {
        Aligned::<f64>::zeros(1 << 61);
    }
}
