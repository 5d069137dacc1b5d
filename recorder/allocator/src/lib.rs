//! The recorder as a program's global allocator, for programs into which nothing can be preloaded:
//! static ones.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: heaptape_recorder::Recorder = heaptape_recorder::Recorder;
//!
//! let text = String::from("recorded under `heaptape run -o app.tape -- ./app`");
//! # assert_eq!(text.len(), 50);
//! ```
//!
//! Under `heaptape run` a static program that has this line is recorded as any other: every block
//! that Rust's global allocator hands out and takes back, with time, size, alignment and the full
//! stack, of all threads and forked children. Without a session in the environment each call costs
//! one jump and one comparison more. In a dynamically linked program this allocator only passes on
//! what it is asked for: there the preloaded library records, and each block is recorded once.
//!
//! What does not go through the global allocator, such as C's `malloc`, is not seen in a static
//! program.

mod note;

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::CStr;
use heaptape_preload::caller::Caller;
use heaptape_preload::linked::{self, Birth};
use std::alloc::System;

/// The C library's `malloc` aligns to this by itself.
const MALLOC_ALIGNMENT: usize = 16;

/// The system's allocator, recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorder;

impl Recorder {
    /// The same as `Recorder`.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Another allocator, recorded: `static A: Around<Other> = Recorder::wrapping(Other)`.
    #[must_use]
    pub const fn wrapping<A: GlobalAlloc>(allocator: A) -> Around<A> {
        Around(allocator)
    }
}

/// An allocator, recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<A>(A);

// Never inlined: what is merged with other code of its caller has no line, and its frames are lost.
// SAFETY: every call is passed on as it is, and so is its answer.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Around<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        let block = unsafe { self.0.alloc(layout) };
        if linked::is_wanted() && !block.is_null() {
            let how = birth(layout, Birth::Plain);
            // SAFETY: the block is only noted.
            unsafe { linked::allocated(block.cast(), layout.size(), layout.align(), how) };
        }
        block
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if linked::is_wanted() && !block.is_null() {
            let how = birth(layout, Birth::Zeroed);
            // SAFETY: the block is only noted.
            unsafe { linked::allocated(block.cast(), layout.size(), layout.align(), how) };
        }
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if linked::is_wanted() {
            // SAFETY: the block is only noted.
            unsafe { linked::freed(block.cast()) };
        }
        // SAFETY: the caller's own call.
        unsafe { self.0.dealloc(block, layout) };
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let moving = if linked::is_wanted() {
            // SAFETY: this function is alive until `moved` was called.
            unsafe { linked::moves(block.cast(), Caller::here()) }
        } else {
            None
        };
        // SAFETY: the caller's own call.
        let moved = unsafe { self.0.realloc(block, layout, size) };
        if let Some(moving) = moving {
            // SAFETY: made above and not used again.
            unsafe { linked::moved(&raw const moving, moved.cast(), size) };
        }
        moved
    }
}

/// What a block with this layout is recorded as.
#[inline]
fn birth(layout: Layout, usual: Birth) -> Birth {
    if layout.align() > MALLOC_ALIGNMENT {
        Birth::Aligned
    } else {
        usual
    }
}

// SAFETY: every call is passed on as it is, and so is its answer.
unsafe impl GlobalAlloc for Recorder {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        unsafe { Around(System).alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        unsafe { Around(System).alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's own call.
        unsafe { Around(System).dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's own call.
        unsafe { Around(System).realloc(block, layout, size) }
    }
}

/// Sets a mark: a name for this moment, for `heaptape stats --at mark:NAME` and its kin. Does
/// nothing when the process is not recorded.
pub fn mark(name: &CStr) {
    let mark = note::preloaded_mark().unwrap_or(heaptape_preload::api::heaptape_mark);
    // SAFETY: a C string.
    unsafe { mark(name.as_ptr()) };
}
