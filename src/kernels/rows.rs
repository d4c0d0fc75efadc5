//! Rows of a matrix, named by their indices and read where they lie.

use std::ops::Range;

use super::lanes::GROUP;

/// Which rows, in order: those of a range, or those of a list.
// Numbers, not an enum, so that the compiler can keep them in registers: what is written to memory number by number and
// copied from there as a whole makes the processor wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowIndex<'a> {
    list: Option<&'a [u32]>,
    /// The first row of a range.
    start: usize,
    len: usize,
}

impl<'a> RowIndex<'a> {
    /// No rows.
    pub const NONE: RowIndex<'static> = RowIndex::range(0, 0);

    /// `len` rows one after another, from `start` on.
    pub const fn range(start: usize, len: usize) -> Self {
        RowIndex { list: None, start, len }
    }

    /// These rows.
    pub const fn list(rows: &'a [u32]) -> Self {
        RowIndex { list: Some(rows), start: 0, len: rows.len() }
    }

    /// The rows' numbers, where they are a range.
    pub fn as_range(&self) -> Option<Range<usize>> {
        self.list.is_none().then_some(self.start..self.start + self.len)
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row at a place.
    ///
    /// # Panics
    /// If the place is not below [`len`](RowIndex::len).
    #[inline]
    pub fn at(&self, place: usize) -> usize {
        match self.list {
            Some(list) => list[place] as usize,
            None => {
                if place >= self.len {
                    no_such_place(place, self.len);
                }
                self.start + place
            }
        }
    }

    /// The rows from place `from` up to place `to`, or the last; none where `from` is past the end.
    #[inline]
    pub fn part(&self, from: usize, to: usize) -> RowIndex<'a> {
        let to = to.min(self.len);
        let from = from.min(to);
        match self.list {
            Some(list) => RowIndex::list(&list[from..to]),
            None => RowIndex::range(self.start + from, to - from),
        }
    }

    /// Each place and its row, in order.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        match self.list {
            Some(list) => list.iter().enumerate().for_each(|(place, row)| f(place, *row as usize)),
            None => (0..self.len).for_each(|place| f(place, self.start + place)),
        }
    }

    /// What `all`, one for each row of a matrix, hold for the rows from a place on: as many as `room` is for, where they are
    /// gathered unless they lie together.
    #[inline(always)]
    pub(super) fn gather<'b, T: Copy>(&self, place: usize, all: &'b [T], room: &'b mut [T]) -> &'b [T] {
        debug_assert!(place + room.len() <= self.len, "so many rows from there on");
        let Some(list) = self.list else {
            return &all[self.start + place..self.start + place + room.len()];
        };
        let rows = &list[place..place + room.len()];
        for (value, &row) in room.iter_mut().zip(rows) {
            *value = all[row as usize];
        }
        room
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + 'a {
        let rows = *self;
        (0..rows.len()).map(move |place| rows.at(place))
    }
}

/// Rows of a matrix that is stored row by row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    matrix: &'a [T],
    width: usize,
    index: RowIndex<'a>,
    ahead: RowIndex<'a>,
}

impl<'a, T> Rows<'a, T> {
    /// The rows of `index` in a matrix `[rows, width]`.
    ///
    /// # Panics
    /// If the matrix does not have such a row.
    pub fn new(matrix: &'a [T], width: usize, index: RowIndex<'a>) -> Self {
        let past_the_last = match index.list {
            None => index.start.checked_add(index.len),
            Some([]) => Some(0),
            // Not `max`, which looks at one number at a time.
            Some(list) => (list.iter().fold(0, |last, &row| row.max(last)) as usize).checked_add(1),
        };
        let end = past_the_last.and_then(|rows| rows.checked_mul(width));
        if end.is_none_or(|end| end > matrix.len()) {
            no_such_row(past_the_last.unwrap_or(usize::MAX), width, matrix.len());
        }
        Rows { matrix, width, index, ahead: RowIndex::NONE }
    }

    /// The rows that will be read after these, which are fetched from memory meanwhile. Default: none.
    pub fn ahead(mut self, ahead: RowIndex<'a>) -> Self {
        self.ahead = ahead;
        self
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The row at a place.
    ///
    /// # Panics
    /// If the place is not below [`len`](Rows::len).
    #[inline]
    pub fn row(&self, place: usize) -> &'a [T] {
        let row = self.index.at(place);
        &self.matrix[row * self.width..(row + 1) * self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [T]> {
        let rows = Rows { ahead: RowIndex::NONE, ..*self };
        (0..self.len()).map(move |place| rows.row(place))
    }

    /// Which rows.
    pub(super) fn index(&self) -> RowIndex<'a> {
        self.index
    }

    /// Where a row begins: one of [`index`](Rows::index), whose `width` numbers [`new`](Rows::new) has found to be there,
    /// or any, which must not be read.
    #[inline(always)]
    pub(super) fn address(&self, row: usize) -> *const T {
        self.matrix.as_ptr().wrapping_add(row.wrapping_mul(self.width))
    }

    /// Where the rows from a place on begin.
    #[inline(always)]
    pub(super) fn addresses(&self, place: usize, addresses: &mut [*const T]) {
        let rows = self.index.part(place, place + addresses.len());
        assert_eq!(rows.len(), addresses.len(), "so many rows from there on");
        rows.each(|r, row| addresses[r] = self.address(row));
    }

    /// Rows between one that is read and one that is best fetched from memory meanwhile: more would leave the cache again
    /// before they are read.
    #[inline(always)]
    pub(super) fn distance_ahead(&self, need: Need) -> usize {
        let bytes = match need {
            // Some processors keep what is read once in the nearest cache alone.
            Need::Once | Need::Now => 8 * 1024,
            Need::Soon => 256 * 1024,
        };
        self.len().min(bytes / (self.width * size_of::<T>()).max(1))
    }

    /// The rows that will be read `distance` rows after those from a place on, here or among those ahead; the row at the
    /// place where there is none.
    #[inline(always)]
    pub(super) fn rows_ahead(&self, place: usize, distance: usize, rows: &mut [usize]) {
        rows.fill(self.index.at(place));
        let then = place + distance;
        let here = self.index.part(then, then + rows.len());
        here.each(|r, row| rows[r] = row);
        let rest = &mut rows[here.len()..];
        let then = (then + here.len()).saturating_sub(self.len());
        self.ahead.part(then, then + rest.len()).each(|r, row| rest[r] = row);
    }

    /// The rows as one piece of memory, where they are.
    pub(crate) fn contiguous(&self) -> Option<&'a [T]> {
        let rows = self.index.as_range()?;
        Some(&self.matrix[rows.start * self.width..rows.end * self.width])
    }
}

// Functions of their own, that are given numbers: what a message borrows lies in memory from then on.
#[cold]
fn no_such_row(past_the_last: usize, width: usize, numbers: usize) -> ! {
    panic!("the matrix has no such row: {past_the_last} rows of {width} are more than its {numbers} numbers");
}

#[cold]
fn no_such_place(place: usize, rows: usize) -> ! {
    panic!("place {place} of {rows} rows");
}

/// The bytes of a cache line.
pub(super) const LINE: usize = 64;

/// The numbers of a cache line.
#[inline(always)]
pub(super) const fn per_line<T>() -> usize {
    LINE / size_of::<T>()
}

/// Rows of a group whose lines are fetched on the way forward; those of the others are on the way back, so that memory is
/// kept busy all the time.
pub(super) const FETCHED: usize = GROUP / 2;

/// How soon, and how often, a line that is fetched will be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need {
    /// Very soon: it is wanted in the nearest cache.
    Now,
    /// Soon, and perhaps again later: in the next cache.
    Soon,
    /// Soon, and then no more: nothing that lies in the caches further out should make room for it.
    Once,
}

/// Asks for the line of a number to be fetched from memory.
#[inline(always)]
pub(super) fn prefetch<T>(number: *const T, need: Need) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_NTA, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let number = number.cast();
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe {
            match need {
                Need::Now => _mm_prefetch::<_MM_HINT_T0>(number),
                Need::Soon => _mm_prefetch::<_MM_HINT_T1>(number),
                Need::Once => _mm_prefetch::<_MM_HINT_NTA>(number),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (number, need);
}

/// Asks for the target of a row, and for its weight where rows have some. Both hold those of all rows.
#[inline(always)]
pub(super) fn prefetch_of_row<A, T>(targets: &[A], weights: Option<&[T]>, row: usize) {
    prefetch(targets.as_ptr().wrapping_add(row), Need::Soon);
    if let Some(weights) = weights {
        prefetch(weights.as_ptr().wrapping_add(row), Need::Soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn rows_that_the_matrix_does_not_have_are_refused() {
        let matrix = [1.0; 6];
        for index in [
            RowIndex::range(2, 2),
            RowIndex::range(usize::MAX, 1),
            RowIndex::range(usize::MAX, 2),
            RowIndex::list(&[0, 3]),
            RowIndex::list(&[u32::MAX]),
        ] {
            assert!(catch_unwind(|| Rows::new(&matrix, 2, index).len()).is_err(), "{index:?}");
        }
        assert_eq!(Rows::new(&matrix, 2, RowIndex::range(1, 2)).row(1), [1.0; 2]);
    }

    #[test]
    fn parts_end_with_the_rows() {
        for rows in [RowIndex::range(10, 5), RowIndex::list(&[10, 11, 12, 13, 14])] {
            assert_eq!(rows.part(1, 3).iter().collect::<Vec<_>>(), [11, 12]);
            assert_eq!(rows.part(3, 99).iter().collect::<Vec<_>>(), [13, 14]);
            assert!(rows.part(5, 9).is_empty() && rows.part(8, 9).is_empty() && rows.part(3, 3).is_empty());
        }
    }

    #[test]
    fn every_row_ahead_is_met_once_whatever_the_distance() {
        let (rows, ahead) = (RowIndex::range(0, 10), RowIndex::list(&[20, 21, 22, 23]));
        let matrix = [0.0; 10];
        let rows = Rows::new(&matrix, 1, rows).ahead(ahead);
        for distance in [4, 10] {
            let mut met = [0; 10];
            // In pieces, as the kernels ask.
            for (piece, met) in met.chunks_mut(4).enumerate() {
                rows.rows_ahead(piece * 4, distance, met);
            }
            let expected = (distance..10).chain(20..24).collect::<Vec<_>>();
            let new: Vec<usize> =
                met.iter().enumerate().filter(|(place, row)| place / 4 * 4 != **row).map(|(_, row)| *row).collect();
            assert_eq!(new, expected, "distance {distance}");
        }
    }
}
