//! Memory for allocations that happen while we look for the real allocator: `dlsym` itself may
//! allocate. Blocks are never given back; there are few, and only at the start.

use core::ffi::c_void;
use heaptape_session::sync::{AtomicU64, Ordering};

const ARENA_BYTES: usize = 64 << 10;
/// Bytes before a block: as in glibc's chunks, the word before the block holds its length and
/// flags, so that even `malloc_usable_size` gets an answer.
const HEADER_BYTES: usize = 16;
/// glibc's mark of a chunk that has its own mapping: nothing looks at its neighbours.
const IS_MAPPED: usize = 2;

#[repr(C, align(4096))]
struct Arena(core::cell::UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: every byte is handed out once, by an atomic addition.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(core::cell::UnsafeCell::new([0; ARENA_BYTES]));
static USED: AtomicU64 = AtomicU64::new(0);

/// A zeroed block of `size` bytes aligned to `alignment` (a power of two), or null.
#[must_use]
pub fn allocate(size: usize, alignment: usize) -> *mut c_void {
    let alignment = alignment.max(16);
    if size > ARENA_BYTES || alignment > 4096 {
        return core::ptr::null_mut();
    }
    let taken = HEADER_BYTES + alignment + size.next_multiple_of(16);
    // Relaxed: the addition alone makes ranges distinct.
    let start = USED.fetch_add(taken as u64, Ordering::Relaxed) as usize;
    let offset = (start + HEADER_BYTES).next_multiple_of(alignment);
    if offset + size > ARENA_BYTES {
        return core::ptr::null_mut();
    }
    let base: *mut u8 = ARENA.0.get().cast();
    // SAFETY: `offset` and the header before it lie in the range that was just taken.
    let block = unsafe { base.add(offset) };
    let length = (size.next_multiple_of(16) + HEADER_BYTES) | IS_MAPPED;
    // SAFETY: the word before the block is in our range.
    let header = unsafe { block.cast::<usize>().sub(1) };
    // SAFETY: as above, and it is 8-byte aligned.
    unsafe { header.write(length) };
    block.cast()
}

/// True when a block was ever handed out.
#[must_use]
pub fn is_used() -> bool {
    USED.load(Ordering::Relaxed) != 0
}

/// True for blocks of the arena.
#[inline(always)]
#[must_use]
pub fn contains(block: *const c_void) -> bool {
    (block as usize).wrapping_sub(ARENA.0.get() as usize) < ARENA_BYTES
}

/// Bytes that can be read at a block of the arena.
///
/// # Safety
/// The block must be one of [`allocate`].
#[must_use]
pub unsafe fn size_of_block(block: *const c_void) -> usize {
    // SAFETY: a block of the arena has a word before it.
    let header = unsafe { block.cast::<usize>().sub(1) };
    // SAFETY: `allocate` wrote it.
    let length = unsafe { header.read() };
    (length & !15) - HEADER_BYTES
}
