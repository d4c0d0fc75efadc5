//! Where the rows of a block lie: they go forward, group by group, and back together.

use super::backward::Block;
use super::element::Element;
use super::forward::GroupRows;
use super::lanes::GROUP;
use super::rows::{Need, Rows};

/// The rows of a block, at most.
pub(super) const MOST_ROWS: usize = 64;

/// The bytes of a block that leave room in the nearest cache for what else is needed.
pub(super) const NEAREST_BYTES: usize = 16 * 1024;

/// The addresses of some rows, and of those that are fetched meanwhile.
pub(super) struct BlockRows<T> {
    inputs: [*const T; MOST_ROWS],
    next: [*const T; MOST_ROWS],
    /// The rows of `next`.
    ahead: [usize; MOST_ROWS],
    count: usize,
}

impl<T: Element> BlockRows<T> {
    /// None yet.
    #[inline(always)]
    pub fn new() -> Self {
        let nowhere = [std::ptr::null(); MOST_ROWS];
        BlockRows { inputs: nowhere, next: nowhere, ahead: [0; MOST_ROWS], count: 0 }
    }

    /// Finds `count` rows from a place on, and those `distance` rows after them, whose numbers are returned: what belongs to
    /// them may be fetched, too.
    #[inline(always)]
    pub fn find(&mut self, rows: &Rows<'_, T>, place: usize, count: usize, distance: usize) -> &[usize] {
        self.count = count;
        let ahead = &mut self.ahead[..count];
        rows.addresses(place, &mut self.inputs[..count]);
        rows.rows_ahead(place, distance, ahead);
        for (next, &row) in self.next.iter_mut().zip(&*ahead) {
            *next = rows.address(row);
        }
        ahead
    }

    // What others are fetched for is handed over, not kept: the compiler then knows it in the loops that fetch.

    /// The group of rows, so long, from a place in the block on. One that is not full has its last row more than once.
    #[inline(always)]
    pub fn group(&self, first: usize, width: usize, need: Need) -> GroupRows<T> {
        let at = |r: usize| (first + r).min(self.count - 1);
        GroupRows {
            inputs: std::array::from_fn(|r| self.inputs[at(r)]),
            next: std::array::from_fn(|r| self.next[at(r)]),
            need,
            then: std::array::from_fn(|r| self.inputs[at(GROUP + r)]),
            width,
        }
    }

    /// The rows, so long, with what comes back to them, `[rows, each]`; `anew`, if the gradient is to be written over.
    #[inline(always)]
    pub fn back<'a>(
        &'a self,
        width: usize,
        need: Need,
        output_gradient: &'a [T],
        each: usize,
        anew: bool,
    ) -> Block<'a, T> {
        debug_assert_eq!(output_gradient.len(), self.count * each);
        let (inputs, next) = (&self.inputs[..self.count], &self.next[..self.count]);
        Block { inputs, next, need, width, output_gradient, each, anew }
    }

    /// The places at which groups begin.
    #[inline(always)]
    pub fn groups(&self) -> impl Iterator<Item = usize> + use<T> {
        (0..self.count).step_by(GROUP)
    }
}
