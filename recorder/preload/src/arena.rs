//! Private memory of the recorder, straight from the kernel: a byte count goes in, zeroed pages
//! come out. It never goes through an allocator that we interpose, and a refusal by the kernel is
//! an answer (`None`), not an error.

use core::ptr::NonNull;

use heaptape_session::sys;

use crate::syscall::PAGE_BYTES;

/// Maps at least `bytes` zeroed bytes that only this process sees; resident once touched.
#[must_use]
pub fn map(bytes: usize) -> Option<NonNull<u8>> {
    NonNull::new(sys::map_private(bytes)?)
}

/// Gives back what [`map`] gave for the same `bytes`.
///
/// # Safety
/// The memory came from [`map`] with this length and nothing uses it any more.
pub unsafe fn unmap(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller owns these pages and is done with them.
    unsafe { sys::unmap(memory.as_ptr(), bytes) };
}

/// A zeroed table of plain values in private memory; gives its pages back when dropped.
#[derive(Debug)]
pub struct Table<T: Plain> {
    memory: NonNull<T>,
    count: usize,
}

/// A value for which all bit patterns, zero above all, are valid.
///
/// # Safety
/// Every pattern of bits must be a valid value of the type, and it must not need dropping.
pub unsafe trait Plain: Copy {}

// SAFETY: a table owns its memory as a boxed slice would.
unsafe impl<T: Plain + Send> Send for Table<T> {}

impl<T: Plain> Table<T> {
    /// A table of `count` zeroed values.
    #[must_use]
    pub fn new(count: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= PAGE_BYTES) };
        let memory = map(count.checked_mul(size_of::<T>())?)?.cast();
        Some(Self { memory, count })
    }

    /// The values.
    #[inline]
    #[must_use]
    pub fn values(&self) -> &[T] {
        // SAFETY: the pages hold `count` values, zeroed by the kernel or written since.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.count) }
    }

    /// The values, to change.
    #[inline]
    pub fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`, and `self` is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.count) }
    }
}

impl<T: Plain> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: the memory came from `map` with this length; the table is going away.
        unsafe { unmap(self.memory.cast(), self.count * size_of::<T>()) };
    }
}
