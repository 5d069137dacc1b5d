//! Calls of an allocator's entry points that nobody has: the real malloc family serves them.
//!
//! A shape and arguments go in, what the function would return comes out. Nothing is recorded
//! here.

use super::shapes::{ARGUMENTS, Action, Shape};
use crate::next;
use core::ffi::c_void;
use core::ptr;

/// The result of a call that has no next definition, from the real malloc family.
#[cold]
pub(super) fn serve(shape: &Shape, arguments: &[usize; ARGUMENTS]) -> usize {
    let block = shape.block(arguments) as *mut c_void;
    let bytes = shape.bytes(arguments);
    match shape.action {
        Action::Alloc => {
            let served = bytes.map_or(0, |bytes| serve_alloc(shape, arguments, bytes));
            if served == 0 && shape.throws {
                // Nobody is there who could throw; an exception that nobody catches ends so too.
                // SAFETY: ends the process.
                unsafe { libc::abort() };
            }
            served
        }
        Action::AllocAt => {
            let alignment = shape.alignment(arguments);
            // SAFETY: the caller's own call.
            let result =
                unsafe { next::posix_memalign(block.cast(), alignment, bytes.unwrap_or(0)) };
            result as usize
        }
        Action::Free => {
            // SAFETY: the caller's own call.
            unsafe { next::free(block) };
            0
        }
        Action::Realloc => bytes.map_or(0, |bytes| serve_realloc(shape, block, bytes)),
        Action::ReallocAt => {
            let place: *mut *mut c_void = block.cast();
            // SAFETY: the caller's own call.
            let old = unsafe { place.read() };
            let moved = bytes.map_or(0, |bytes| serve_realloc(shape, old, bytes));
            if moved == 0 {
                return libc::ENOMEM as usize;
            }
            // SAFETY: as above.
            unsafe { place.write(moved as *mut c_void) };
            0
        }
        // SAFETY: the caller's own block.
        Action::Resize => unsafe { libc::malloc_usable_size(block) },
        // Their other functions are missing too, so nobody calls these.
        Action::Text => 0,
    }
}

fn serve_alloc(shape: &Shape, arguments: &[usize; ARGUMENTS], bytes: usize) -> usize {
    /// What any block of `malloc` is aligned to.
    const USUAL: usize = 16;
    let alignment = shape.alignment(arguments);
    if alignment > USUAL {
        // SAFETY: the caller's own call.
        let block = unsafe { next::memalign(alignment, bytes) };
        if !block.is_null() && shape.wants_zeroes(arguments) {
            // SAFETY: a new block of as many bytes.
            unsafe { ptr::write_bytes(block.cast::<u8>(), 0, bytes) };
        }
        return block as usize;
    }
    if shape.wants_zeroes(arguments) {
        // SAFETY: the caller's own call.
        return unsafe { next::calloc(1, bytes) } as usize;
    }
    // SAFETY: the caller's own call.
    (unsafe { next::malloc(bytes) }) as usize
}

fn serve_realloc(shape: &Shape, block: *mut c_void, bytes: usize) -> usize {
    // SAFETY: null, or the caller's own block.
    let before = unsafe { libc::malloc_usable_size(block) };
    // SAFETY: the caller's own call.
    let moved = unsafe { next::realloc(block, bytes) };
    if moved.is_null() && shape.frees_on_failure && bytes != 0 {
        // SAFETY: as above.
        unsafe { next::free(block) };
    }
    if let Some(more) = bytes.checked_sub(before).filter(|_| shape.is_zeroed)
        && !moved.is_null()
    {
        // SAFETY: the block has as many bytes.
        let start = unsafe { moved.cast::<u8>().add(before) };
        // SAFETY: as above.
        unsafe { ptr::write_bytes(start, 0, more) };
    }
    moved as usize
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{alloc, alloc_aligned, alloc_many, free, realloc, resize};
    use super::*;

    fn bytes_at(block: usize, count: usize) -> Vec<u8> {
        // SAFETY: the caller's own block of as many bytes.
        unsafe { core::slice::from_raw_parts(block as *const u8, count) }.to_vec()
    }

    #[test]
    fn blocks_come_zeroed_and_aligned_and_go() {
        let [zeroed, aligned] = [
            serve(&alloc_many().zeroed(), &[30, 10, 0, 0, 0, 0]),
            serve(&alloc_aligned().zeroed(), &[4096, 300, 0, 0, 0, 0]),
        ];
        assert_eq!(bytes_at(zeroed, 300), [0; 300]);
        assert_eq!(bytes_at(aligned, 300), [0; 300]);
        assert_eq!(aligned % 4096, 0);
        for block in [zeroed, aligned] {
            assert_eq!(serve(&free(), &[block, 0, 0, 0, 0, 0]), 0);
        }
        let too_many = [usize::MAX, 2, 0, 0, 0, 0];
        assert_eq!(serve(&alloc_many(), &too_many), 0);
    }

    #[test]
    fn blocks_grow_with_zeroes_behind() {
        let block = serve(&alloc(), &[8, 0, 0, 0, 0, 0]);
        // SAFETY: a block of at least 8 bytes.
        unsafe { ptr::write_bytes(block as *mut u8, 7, 8) };
        let usable = serve(&resize(), &[block, 8, 0, 0, 0, 0]);
        assert!((8..4096).contains(&usable), "{usable}");
        let moved = serve(&realloc().zeroed(), &[block, 9000, 0, 0, 0, 0]);
        let content = bytes_at(moved, 9000);
        assert_eq!(content[..8], [7; 8]);
        assert!(content[usable..].iter().all(|byte| *byte == 0));
        serve(&free(), &[moved, 0, 0, 0, 0, 0]);
    }
}
