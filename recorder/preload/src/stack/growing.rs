//! An array for what usually is small: it begins in memory that it is given, and goes on in pages
//! of its own when it must hold more. A refusal by the kernel leaves it as it is.
//!
//! It is one thread's, or one level's of a thread: a signal handler has its own, so that it never
//! meets one that is just moving.

use core::ptr::NonNull;

use crate::arena::{self, Plain};

/// The array. It always holds one value at least.
#[derive(Debug)]
pub(super) struct Growing<T: Plain> {
    values: NonNull<T>,
    count: usize,
    /// Where it began.
    first: NonNull<T>,
    first_count: usize,
}

// SAFETY: an array has its values for itself, as a boxed slice would.
unsafe impl<T: Plain + Send> Send for Growing<T> {}

impl<T: Plain> Growing<T> {
    /// An array of the `count` values at `first`.
    ///
    /// # Safety
    /// So many values lie there, one at least; they outlive the array, and nobody else uses them.
    #[must_use]
    pub(super) unsafe fn new(first: NonNull<T>, count: usize) -> Self {
        Self {
            values: first,
            count,
            first,
            first_count: count,
        }
    }

    /// The values.
    #[inline(always)]
    #[must_use]
    pub(super) fn values(&self) -> &[T] {
        // SAFETY: so many values lie there, by the contract of `new` or mapped by `grow`.
        unsafe { core::slice::from_raw_parts(self.values.as_ptr(), self.count) }
    }

    /// The values, to change.
    #[inline(always)]
    pub(super) fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`, and `self` is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.values.as_ptr(), self.count) }
    }

    /// The value at `index`, or the first one.
    #[inline(always)]
    #[must_use]
    pub(super) fn get_or_first(&self, index: usize) -> &T {
        let index = if index < self.count { index } else { 0 };
        // SAFETY: below the count, which is not 0.
        let value = unsafe { self.values.add(index) };
        // SAFETY: one of the values, as in `values`.
        unsafe { value.as_ref() }
    }

    /// True when it has left the memory that it began in.
    #[must_use]
    pub(super) fn is_grown(&self) -> bool {
        self.values != self.first
    }

    /// Makes it `count` values long, where there are fewer: the first `kept` stay, the rest is
    /// anything. False: the kernel refused, and nothing has changed.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&mut self, count: usize, kept: usize) -> bool {
        if count <= self.count {
            return true;
        }
        let bytes = count.checked_mul(size_of::<T>());
        let Some(memory) = bytes.and_then(arena::map) else {
            return false;
        };
        let memory: NonNull<T> = memory.cast();
        let kept = kept.min(self.count);
        // SAFETY: both hold so many values, and the pages are new.
        unsafe { memory.copy_from_nonoverlapping(self.values, kept) };
        self.shrink();
        self.values = memory;
        self.count = count;
        true
    }

    /// Goes back to where it began and gives its pages back. What it held is gone.
    pub(super) fn shrink(&mut self) {
        let (memory, count) = (self.values, self.count);
        self.values = self.first;
        self.count = self.first_count;
        if memory != self.first {
            // SAFETY: mapped by `grow` with this length, and left just now.
            unsafe { arena::unmap(memory.cast(), count * size_of::<T>()) };
        }
    }
}

impl<T: Plain> Drop for Growing<T> {
    fn drop(&mut self) {
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SAFETY: any bits are a number.
    unsafe impl Plain for u64 {}

    #[test]
    fn values_move_and_what_was_given_is_left() {
        let mut given = [1u64, 2, 3];
        let first = NonNull::from(&mut given).cast();
        // SAFETY: three values, which outlive the array and are not looked at meanwhile.
        let mut array = unsafe { Growing::<u64>::new(first, 3) };
        assert!(array.grow(2, 0) && !array.is_grown());
        assert_eq!(array.values(), [1, 2, 3]);
        assert!(array.grow(10_000, 2) && array.is_grown());
        assert_eq!(array.values().len(), 10_000);
        assert_eq!(array.values().first_chunk(), Some(&[1, 2, 0]));
        array.values_mut().fill(7);
        assert!(array.grow(20_000, usize::MAX));
        assert_eq!(array.get_or_first(9_999), &7);
        assert_eq!(array.get_or_first(10_000), &0);
        assert_eq!(array.get_or_first(20_000), &7);
        assert!(!array.grow(usize::MAX / 16, 5));
        assert_eq!(array.values().len(), 20_000);
        array.shrink();
        assert_eq!(array.values(), [1, 2, 3]);
    }
}
