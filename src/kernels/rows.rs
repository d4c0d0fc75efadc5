//! Rows of a matrix, named by their indices and read where they lie.

/// Which rows, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowIndex<'a> {
    /// `len` rows one after another, from `start` on.
    Range {
        /// The first.
        start: usize,
        /// How many.
        len: usize,
    },
    /// These.
    List(&'a [u32]),
}

impl<'a> RowIndex<'a> {
    /// No rows.
    pub const NONE: RowIndex<'static> = RowIndex::List(&[]);

    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            RowIndex::Range { len, .. } => *len,
            RowIndex::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at a place.
    ///
    /// # Panics
    /// If the place is not below [`len`](RowIndex::len).
    #[inline]
    pub fn at(&self, place: usize) -> usize {
        match *self {
            RowIndex::Range { start, len } => {
                assert!(place < len, "place {place} of {len} rows");
                start + place
            }
            RowIndex::List(list) => list[place] as usize,
        }
    }

    /// The rows from place `from` up to place `to`, or the last; none where `from` is past the end.
    pub fn part(&self, from: usize, to: usize) -> RowIndex<'a> {
        let to = to.min(self.len());
        let from = from.min(to);
        match *self {
            RowIndex::Range { start, .. } => RowIndex::Range { start: start + from, len: to - from },
            RowIndex::List(list) => RowIndex::List(&list[from..to]),
        }
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
        let past_the_last = match index {
            RowIndex::Range { start, len } => start + len,
            RowIndex::List(list) => list.iter().max().map_or(0, |last| *last as usize + 1),
        };
        let fits = past_the_last.checked_mul(width).is_some_and(|end| end <= matrix.len());
        assert!(fits, "the matrix has no row {}", past_the_last.saturating_sub(1));
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

    /// Where a row begins. It is not read, and may be any.
    #[inline(always)]
    pub(super) fn address(&self, row: usize) -> *const T {
        self.matrix.as_ptr().wrapping_add(row * self.width)
    }

    /// The row that will be read `distance` rows after a place, here or among those ahead; the row at the place where
    /// there is none.
    #[inline(always)]
    pub(super) fn row_ahead(&self, place: usize, distance: usize) -> usize {
        let then = place + distance;
        match then.checked_sub(self.len()) {
            None => self.index.at(then),
            Some(then) if then < self.ahead.len() => self.ahead.at(then),
            Some(_) => self.index.at(place),
        }
    }

    /// The rows as one piece of memory, where they are.
    pub(super) fn contiguous(&self) -> Option<&'a [T]> {
        match self.index {
            RowIndex::Range { start, len } => Some(&self.matrix[start * self.width..(start + len) * self.width]),
            RowIndex::List(_) => None,
        }
    }
}

/// Asks for `count` numbers to be fetched from memory, near to the processor but not nearest: they will be needed soon, not
/// at once.
#[inline(always)]
pub(super) fn prefetch<T>(from: *const T, count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        const LINE: usize = 64;
        let from = from.cast::<i8>();
        let first = from.wrapping_sub(from.addr() % LINE);
        let bytes = from.addr() % LINE + count * size_of::<T>();
        for offset in (0..bytes).step_by(LINE) {
            // SAFETY: a prefetch reads nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(first.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}
