//! Private memory of the recorder, straight from the kernel: a byte count goes in, zeroed pages
//! come out. It never goes through an allocator that we interpose, and a refusal by the kernel is
//! an answer (`None`), not an error.

use core::ptr::NonNull;

use crate::syscall::{PAGE_BYTES, syscall};

/// Maps at least `bytes` zeroed bytes that only this process sees; resident once touched.
#[must_use]
pub fn map(bytes: usize) -> Option<NonNull<u8>> {
    let length = bytes.checked_next_multiple_of(PAGE_BYTES)?;
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    let arguments = [0, length, protection, flags, usize::MAX, 0];
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
    let address = unsafe { syscall(libc::SYS_mmap, arguments) };
    if address < 0 {
        return None;
    }
    NonNull::new(address as *mut u8)
}

/// Gives back what [`map`] gave for the same `bytes`.
///
/// # Safety
/// The memory came from [`map`] with this length and nothing uses it any more.
pub unsafe fn unmap(memory: NonNull<u8>, bytes: usize) {
    let length = bytes.next_multiple_of(PAGE_BYTES);
    let arguments = [memory.as_ptr() as usize, length, 0, 0, 0, 0];
    // SAFETY: the caller owns these pages and is done with them.
    let _answer = unsafe { syscall(libc::SYS_munmap, arguments) };
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
