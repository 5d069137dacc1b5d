//! The malloc family: stubs and the short paths of the four common calls.
//!
//! `cfree` and C23's sized frees end in the real `free`, and `reallocarray` in the real `realloc`:
//! an allocator that was put before the C library's may lack them, and must get its own blocks
//! back.
//!
//! A process that does not record goes straight on: its gate is shut only once the real functions
//! are known.

use super::{Caller, general};
use crate::recording::{self, operation};
use crate::{gate, next, process, thread};
use core::ffi::{c_int, c_void};
use heaptape_session::record::RingEvent;

stub!(
    /// Interposed `malloc`.
    malloc(size: usize) -> *mut c_void, "rsi", "rdx", malloc_body
);
stub!(
    /// Interposed `calloc`.
    calloc(count: usize, size: usize) -> *mut c_void, "rdx", "rcx", calloc_body
);
stub!(
    /// Interposed `realloc`.
    realloc(block: *mut c_void, size: usize) -> *mut c_void, "rdx", "rcx", realloc_body
);
stub!(
    /// Interposed `free`.
    free(block: *mut c_void), "rsi", "rdx", free_body
);
stub!(
    /// Interposed `reallocarray`.
    reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void,
    "rcx", "r8", general::reallocarray
);
stub!(
    /// Interposed `posix_memalign`.
    posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int,
    "rcx", "r8", general::posix_memalign
);
stub!(
    /// Interposed `aligned_alloc`.
    aligned_alloc(alignment: usize, size: usize) -> *mut c_void,
    "rdx", "rcx", general::aligned_alloc
);
stub!(
    /// Interposed `memalign`.
    memalign(alignment: usize, size: usize) -> *mut c_void, "rdx", "rcx", general::memalign
);
stub!(
    /// Interposed `valloc`.
    valloc(size: usize) -> *mut c_void, "rsi", "rdx", general::valloc
);
stub!(
    /// Interposed `pvalloc`.
    pvalloc(size: usize) -> *mut c_void, "rsi", "rdx", general::pvalloc
);
stub!(
    /// Interposed `cfree`, which old programs call.
    cfree(block: *mut c_void), "rsi", "rdx", general::cfree
);
stub!(
    /// Interposed `free_sized` of C23.
    free_sized(block: *mut c_void, size: usize), "rdx", "rcx", general::free_sized
);
stub!(
    /// Interposed `free_aligned_sized` of C23.
    free_aligned_sized(block: *mut c_void, alignment: usize, size: usize),
    "rcx", "r8", general::free_aligned_sized
);

unsafe extern "C" fn malloc_body(size: usize, sp: *const usize, frame: usize) -> *mut c_void {
    let caller = Caller { sp, frame };
    let mode = gate::mode();
    if mode == gate::OFF {
        // SAFETY: the caller's own call.
        return unsafe { next::known_malloc(size) };
    }
    if mode != gate::PLAIN || process::is_paused_plain() {
        // SAFETY: the caller's own call.
        return unsafe { general::malloc(size, caller) };
    }
    // SAFETY: the caller's own call.
    let block = unsafe { next::known_malloc(size) };
    if !block.is_null()
        && let Some(thread) = thread::current().or_else(thread::current_or_born)
    {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { recording::allocated::<true>(thread, operation::MALLOC, block, size, caller) };
    }
    block
}

unsafe extern "C" fn calloc_body(
    count: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    let mode = gate::mode();
    if mode == gate::OFF {
        // SAFETY: the caller's own call.
        return unsafe { next::known_calloc(count, size) };
    }
    if mode != gate::PLAIN || process::is_paused_plain() {
        // SAFETY: the caller's own call.
        return unsafe { general::calloc(count, size, caller) };
    }
    // SAFETY: the caller's own call.
    let block = unsafe { next::known_calloc(count, size) };
    if !block.is_null()
        && let Some(thread) = thread::current().or_else(thread::current_or_born)
    {
        // The real function has made sure that the product fits.
        let bytes = count.wrapping_mul(size);
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { recording::allocated::<true>(thread, operation::CALLOC, block, bytes, caller) };
    }
    block
}

unsafe extern "C" fn free_body(block: *mut c_void, sp: *const usize, frame: usize) {
    let caller = Caller { sp, frame };
    let mode = gate::mode();
    if mode == gate::OFF {
        // SAFETY: the caller's own call.
        return unsafe { next::known_free(block) };
    }
    if mode != gate::PLAIN {
        // SAFETY: the caller's own call.
        return unsafe { general::free(operation::FREE, block, caller) };
    }
    if !block.is_null()
        && let Some(thread) = thread::current().or_else(thread::current_or_born)
    {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { recording::freed::<true>(thread, operation::FREE, block, caller) };
    }
    // SAFETY: the caller's own call.
    unsafe { next::known_free(block) }
}

unsafe extern "C" fn realloc_body(
    block: *mut c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    let is_common = !block.is_null() && size != 0;
    let mode = gate::mode();
    if mode == gate::OFF {
        // SAFETY: the caller's own call.
        return unsafe { next::known_realloc(block, size) };
    }
    if mode != gate::PLAIN || !is_common || process::is_paused_plain() {
        // SAFETY: the caller's own call.
        return unsafe { general::realloc(general::PLAIN_REALLOC, block, size, caller) };
    }
    let thread = thread::current().or_else(thread::current_or_born);
    // SAFETY: the thread is the calling one, the caller alive.
    let change =
        thread.and_then(|thread| unsafe { recording::Change::begin::<true>(thread, caller) });
    // SAFETY: the caller's own call.
    let moved = unsafe { next::known_realloc(block, size) };
    let Some(change) = change else {
        return moved;
    };
    if moved.is_null() {
        change.leave();
        return moved;
    }
    let event = RingEvent {
        operation: operation::REALLOC,
        old_address: block as u64,
        address: moved as u64,
        size: size as u64,
        ..RingEvent::default()
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { change.changed::<true>(event, caller) };
    moved
}
