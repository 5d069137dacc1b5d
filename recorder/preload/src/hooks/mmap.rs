//! Address space: mmap, munmap, mremap, sbrk and brk, in their own domain and only when asked for.
//!
//! Sizes are those that the program gave; the reader rounds to pages, and knows that a map over
//! something unmaps it. The C library's own calls do not come through here; a preloaded
//! allocator's do, and are recorded, since they are address space and never heap.

use super::Caller;
use crate::recording::{self, Change, operation};
use crate::thread::Thread;
use crate::{next, process, thread};
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use heaptape_session::layout::options;
use heaptape_session::record::RingEvent;
use heaptape_session::sys;

const FAILED: *mut c_void = libc::MAP_FAILED;

type Mmap =
    unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, libc::off_t) -> *mut c_void;
type Munmap = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
type Mremap = unsafe extern "C" fn(*mut c_void, usize, usize, c_int, *mut c_void) -> *mut c_void;
type Sbrk = unsafe extern "C" fn(isize) -> *mut c_void;
type Brk = unsafe extern "C" fn(*mut c_void) -> c_int;

wide_stub!(
    /// Interposed `mmap`.
    mmap(address: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int,
         offset: libc::off_t) -> *mut c_void,
    mmap_body
);
wide_stub!(
    /// Interposed `mmap64`.
    mmap64(address: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int,
         offset: libc::off_t) -> *mut c_void,
    mmap_body
);
stub!(
    /// Interposed `munmap`.
    munmap(address: *mut c_void, length: usize) -> c_int, "rdx", "rcx", munmap_body
);
wide_stub!(
    /// Interposed `mremap`: the fifth argument counts with `MREMAP_FIXED` alone.
    mremap(old: *mut c_void, old_length: usize, length: usize, flags: c_int,
         address: *mut c_void) -> *mut c_void,
    mremap_body
);
stub!(
    /// Interposed `sbrk`.
    sbrk(increment: isize) -> *mut c_void, "rsi", "rdx", sbrk_body
);
stub!(
    /// Interposed `brk`.
    brk(address: *mut c_void) -> c_int, "rsi", "rdx", brk_body
);

/// The thread, when the call is to be recorded.
fn recorded() -> Option<NonNull<Thread>> {
    let thread = thread::admitted()?;
    (process::has(options::MMAP)).then_some(thread)
}

/// What a system call returns, as the C library does.
fn answer(result: isize) -> *mut c_void {
    if (-4095..0).contains(&result) {
        next::set_errno(-result as c_int);
        return FAILED;
    }
    result as *mut c_void
}

unsafe extern "C" fn mmap_body(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    // SAFETY: the type is that of mmap.
    let mapped = match unsafe { next::MMAP.pointer::<Mmap>() } {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(address, length, protection, flags, fd, offset) },
        None => {
            let arguments = [
                address as usize,
                length,
                protection as usize,
                flags as usize,
                fd as usize,
                offset as usize,
            ];
            // SAFETY: the caller's own call.
            answer(unsafe { sys::passed_on(libc::SYS_mmap, arguments) })
        }
    };
    if mapped != FAILED {
        // SAFETY: the caller is alive.
        unsafe { note_grown(operation::MMAP, mapped, length, Caller { sp, frame }) };
    }
    mapped
}

/// Address space was added.
unsafe fn note_grown(operation: u8, address: *mut c_void, length: usize, caller: Caller) {
    let Some(thread) = recorded().filter(|_| !process::is_paused()) else {
        return;
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::allocated::<false>(thread, operation, address, length, caller) };
}

unsafe extern "C" fn munmap_body(
    address: *mut c_void,
    length: usize,
    sp: *const usize,
    frame: usize,
) -> c_int {
    let caller = Caller { sp, frame };
    let real = || {
        // SAFETY: the type is that of munmap.
        match unsafe { next::MUNMAP.pointer::<Munmap>() } {
            // SAFETY: the caller's own call.
            Some(real) => unsafe { real(address, length) },
            None => {
                let arguments = [address as usize, length, 0, 0, 0, 0];
                // SAFETY: the caller's own call.
                let result = unsafe { sys::passed_on(libc::SYS_munmap, arguments) };
                if answer(result) == FAILED { -1 } else { 0 }
            }
        }
    };
    let event = RingEvent {
        operation: operation::MUNMAP,
        old_address: address as u64,
        old_size: length as u64,
        ..RingEvent::default()
    };
    // SAFETY: the caller is alive.
    unsafe { shrink(caller, real, |result| (*result == 0).then_some(event)) }
}

/// A call that takes address space away: stamped before, recorded when `event` says so after.
unsafe fn shrink<R>(
    caller: Caller,
    real: impl FnOnce() -> R,
    event: impl FnOnce(&R) -> Option<RingEvent>,
) -> R {
    // SAFETY: the thread is the calling one, the caller alive.
    let change = recorded().and_then(|thread| unsafe { Change::begin::<false>(thread, caller) });
    let result = real();
    let Some(change) = change else {
        return result;
    };
    match event(&result) {
        // SAFETY: the caller is alive.
        Some(event) => unsafe { change.ended(event, caller) },
        None => change.leave(),
    }
    result
}

unsafe extern "C" fn mremap_body(
    old: *mut c_void,
    old_length: usize,
    length: usize,
    flags: c_int,
    address: *mut c_void,
    _unused: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the thread is the calling one, the caller alive.
    let change = recorded().and_then(|thread| unsafe { Change::begin::<false>(thread, caller) });
    // SAFETY: the type is that of mremap on x86-64, where all arguments travel in registers.
    let moved = match unsafe { next::MREMAP.pointer::<Mremap>() } {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(old, old_length, length, flags, address) },
        None => {
            let arguments = [
                old as usize,
                old_length,
                length,
                flags as usize,
                address as usize,
                0,
            ];
            // SAFETY: the caller's own call.
            answer(unsafe { sys::passed_on(libc::SYS_mremap, arguments) })
        }
    };
    let Some(change) = change else {
        return moved;
    };
    // With a length of 0, or when asked to, the old mapping stays and a second one begins.
    let stays = old_length == 0 || flags & libc::MREMAP_DONTUNMAP != 0;
    let (ended, ended_length) = if stays {
        (0, 0)
    } else {
        (old as u64, old_length as u64)
    };
    if moved == FAILED || process::is_paused() {
        change.leave();
    } else {
        let event = RingEvent {
            operation: operation::MREMAP,
            old_address: ended,
            old_size: ended_length,
            address: moved as u64,
            size: length as u64,
            ..RingEvent::default()
        };
        // SAFETY: the caller is alive.
        unsafe { change.changed::<false>(event, caller) };
    }
    moved
}

unsafe extern "C" fn sbrk_body(increment: isize, sp: *const usize, frame: usize) -> *mut c_void {
    let caller = Caller { sp, frame };
    // SAFETY: the type is that of sbrk.
    let Some(sbrk) = (unsafe { next::SBRK.pointer::<Sbrk>() }) else {
        next::set_errno(libc::ENOMEM);
        return FAILED;
    };
    // SAFETY: the caller's own call.
    let real = || unsafe { sbrk(increment) };
    if increment < 0 {
        let event = |before: &*mut c_void| {
            (*before != FAILED).then(|| shrunk(*before as usize, increment.unsigned_abs()))
        };
        // SAFETY: the caller is alive.
        return unsafe { shrink(caller, real, event) };
    }
    let before = real();
    if increment > 0 && before != FAILED {
        // SAFETY: the caller is alive.
        unsafe { note_grown(operation::SBRK_GROW, before, increment as usize, caller) };
    }
    before
}

/// The break went down by `by` bytes from `from`.
fn shrunk(from: usize, by: usize) -> RingEvent {
    RingEvent {
        operation: operation::SBRK_SHRINK,
        old_address: from.wrapping_sub(by) as u64,
        old_size: by as u64,
        ..RingEvent::default()
    }
}

unsafe extern "C" fn brk_body(address: *mut c_void, sp: *const usize, frame: usize) -> c_int {
    let caller = Caller { sp, frame };
    // SAFETY: the type is that of brk.
    let brk = unsafe { next::BRK.pointer::<Brk>() };
    // SAFETY: the type is that of sbrk.
    let sbrk = unsafe { next::SBRK.pointer::<Sbrk>() };
    let (Some(brk), Some(sbrk)) = (brk, sbrk) else {
        next::set_errno(libc::ENOMEM);
        return -1;
    };
    // SAFETY: asks for the break and moves nothing.
    let before = unsafe { sbrk(0) } as usize;
    // SAFETY: the caller's own call.
    let real = || unsafe { brk(address) };
    let after = address as usize;
    if after < before {
        let event = |result: &c_int| (*result == 0).then(|| shrunk(before, before - after));
        // SAFETY: the caller is alive.
        return unsafe { shrink(caller, real, event) };
    }
    let result = real();
    if result == 0 && after > before {
        let grown = before as *mut c_void;
        // SAFETY: the caller is alive.
        unsafe { note_grown(operation::SBRK_GROW, grown, after - before, caller) };
    }
    result
}
