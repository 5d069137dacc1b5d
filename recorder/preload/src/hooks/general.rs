//! The malloc family off the short path: rare entry points, the first call of a process or a
//! thread, fresh forks, options, other allocators than the C library's.

use super::Caller;
use crate::recording::{self, Change, operation};
use crate::thread::Thread;
use crate::{next, process, python, thread};
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use heaptape_session::record::RingEvent;

/// What `realloc` is recorded as: a change, a new block, the end of one.
pub type ReallocOperations = [u8; 3];
/// For `realloc` itself.
pub const PLAIN_REALLOC: ReallocOperations = [
    operation::REALLOC,
    operation::REALLOC_NEW,
    operation::REALLOC_FREE,
];
const REALLOCARRAY: ReallocOperations = [
    operation::REALLOCARRAY,
    operation::REALLOCARRAY_NEW,
    operation::REALLOC_FREE,
];

/// A call into the real allocator. With an allocator of its own kind (not the C library's) calls
/// that it makes to our hooks while it serves one are its own affair, and not recorded; the C
/// library's never makes any, so what comes while it works comes from a signal handler.
pub(super) struct Inside {
    pub(super) thread: NonNull<Thread>,
    pub(super) is_marked: bool,
}

impl Inside {
    /// `None`: the call is not to be recorded.
    pub(super) fn enter(caller: Caller) -> Option<Self> {
        let thread = thread::admitted()?;
        let is_marked = process::is_allocator_foreign();
        if is_marked {
            // SAFETY: the calling thread's own state.
            let depth = unsafe { &mut (*thread.as_ptr()).depth };
            if *depth != 0 && !thread::is_stale(*depth, caller) {
                let is_marked = false;
                return is_exceptions(caller).then_some(Self { thread, is_marked });
            }
            *depth = caller.sp as usize;
        }
        Some(Self { thread, is_marked })
    }

    pub(super) fn leave(self) -> NonNull<Thread> {
        if self.is_marked {
            // SAFETY: the calling thread's own state.
            unsafe { (*self.thread.as_ptr()).depth = 0 };
        }
        self.thread
    }
}

/// True when a call inside the allocator is no affair of its own: it throws, and the exception
/// outlives the call.
#[cfg(any(test, feature = "allocators"))]
fn is_exceptions(caller: Caller) -> bool {
    super::around::makes_exceptions(caller)
}

/// Without the hooks of `operator new` nothing that throws is between two of ours.
#[cfg(not(any(test, feature = "allocators")))]
fn is_exceptions(_caller: Caller) -> bool {
    false
}

/// Any allocation: the real call, then the event.
unsafe fn allocate(
    operation: u8,
    size: usize,
    alignment: usize,
    caller: Caller,
    real: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    if python::settle() {
        return real();
    }
    let Some(inside) = Inside::enter(caller) else {
        return real();
    };
    let block = real();
    let thread = inside.leave();
    if !block.is_null() && process::wants(size) {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe {
            recording::allocated_generally(thread, operation, block, size, alignment, caller)
        };
    }
    block
}

#[cold]
#[inline(never)]
pub(super) unsafe fn malloc(size: usize, caller: Caller) -> *mut c_void {
    // SAFETY: the caller's own call.
    let real = || unsafe { next::malloc(size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::MALLOC, size, 0, caller, real) }
}

#[cold]
#[inline(never)]
pub(super) unsafe fn calloc(count: usize, size: usize, caller: Caller) -> *mut c_void {
    // SAFETY: the caller's own call.
    let real = || unsafe { next::calloc(count, size) };
    let bytes = count.wrapping_mul(size);
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::CALLOC, bytes, 0, caller, real) }
}

pub(super) unsafe extern "C" fn aligned_alloc(
    alignment: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the caller's own call.
    let real = || unsafe { next::aligned_alloc(alignment, size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::ALIGNED_ALLOC, size, alignment, caller, real) }
}

pub(super) unsafe extern "C" fn memalign(
    alignment: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the caller's own call.
    let real = || unsafe { next::memalign(alignment, size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::MEMALIGN, size, alignment, caller, real) }
}

pub(super) unsafe extern "C" fn valloc(size: usize, sp: *const usize, frame: usize) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the caller's own call.
    let real = || unsafe { next::valloc(size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::VALLOC, size, 0, caller, real) }
}

pub(super) unsafe extern "C" fn pvalloc(
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the caller's own call.
    let real = || unsafe { next::pvalloc(size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operation::PVALLOC, size, 0, caller, real) }
}

pub(super) unsafe extern "C" fn posix_memalign(
    place: *mut *mut c_void,
    alignment: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> c_int {
    let caller = Caller { sp, frame };
    // SAFETY: the caller's own call.
    let real = || unsafe { next::posix_memalign(place, alignment, size) };
    let Some(inside) = Inside::enter(caller) else {
        return real();
    };
    let result = real();
    let thread = inside.leave();
    if result == 0 && process::wants(size) {
        // SAFETY: the real function has just written there.
        let block = unsafe { place.read() };
        let operation = operation::POSIX_MEMALIGN;
        if !block.is_null() {
            // SAFETY: the thread is the calling one, the caller alive.
            unsafe {
                recording::allocated_generally(thread, operation, block, size, alignment, caller)
            };
        }
    }
    result
}

/// `free` and its kin.
#[inline(never)]
pub(super) unsafe fn free(operation: u8, block: *mut c_void, caller: Caller) {
    if block.is_null() || crate::bootstrap::contains(block) {
        return;
    }
    let Some(inside) = Inside::enter(caller) else {
        // SAFETY: the caller's own call.
        return unsafe { next::free(block) };
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::freed::<false>(inside.thread, operation, block, caller) };
    // SAFETY: the caller's own call.
    unsafe { next::free(block) };
    inside.leave();
}

pub(super) unsafe extern "C" fn cfree(block: *mut c_void, sp: *const usize, frame: usize) {
    // SAFETY: the caller's own call.
    unsafe { free(operation::CFREE, block, Caller { sp, frame }) };
}

pub(super) unsafe extern "C" fn free_sized(
    block: *mut c_void,
    _size: usize,
    sp: *const usize,
    frame: usize,
) {
    // SAFETY: the caller's own call.
    unsafe { free(operation::FREE_SIZED, block, Caller { sp, frame }) };
}

pub(super) unsafe extern "C" fn free_aligned_sized(
    block: *mut c_void,
    _alignment: usize,
    _size: usize,
    sp: *const usize,
    frame: usize,
) {
    // SAFETY: the caller's own call.
    unsafe { free(operation::FREE_ALIGNED_SIZED, block, Caller { sp, frame }) };
}

pub(super) unsafe extern "C" fn reallocarray(
    block: *mut c_void,
    count: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else {
        // The function's documented answer.
        next::set_errno(libc::ENOMEM);
        return core::ptr::null_mut();
    };
    // SAFETY: the caller's own call.
    unsafe { realloc(REALLOCARRAY, block, bytes, Caller { sp, frame }) }
}

#[inline(never)]
pub(super) unsafe fn realloc(
    [change_operation, new_operation, end_operation]: ReallocOperations,
    block: *mut c_void,
    size: usize,
    caller: Caller,
) -> *mut c_void {
    // SAFETY: the caller's own call.
    let real = || unsafe { next::realloc(block, size) };
    if block.is_null() || crate::bootstrap::contains(block) {
        // SAFETY: the caller is alive.
        return unsafe { allocate(new_operation, size, 0, caller, real) };
    }
    let Some(inside) = Inside::enter(caller) else {
        return real();
    };
    // SAFETY: the thread is the calling one, the caller alive.
    let change = unsafe { Change::begin::<false>(inside.thread, caller) };
    let moved = real();
    inside.leave();
    let Some(change) = change else {
        return moved;
    };
    let event = RingEvent {
        operation: change_operation,
        old_address: block as u64,
        address: moved as u64,
        size: size as u64,
        ..RingEvent::default()
    };
    let end = RingEvent {
        operation: end_operation,
        old_address: block as u64,
        ..RingEvent::default()
    };
    if moved.is_null() && size != 0 {
        // It failed, and the old block lives on.
        change.leave();
    } else if moved.is_null() || !process::wants(size) {
        // Freed; or it lives on as a block that is not to be recorded.
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { change.ended(end, caller) };
    } else {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { change.changed::<false>(event, caller) };
    }
    moved
}
