//! Values that threads write to while others read or write what is beside them.

use std::ops::{Deref, DerefMut};

/// On cache lines of its own, so that one thread's writing does not disturb another's reading or writing of something else.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Apart<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
