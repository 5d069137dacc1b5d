//! The recorder as part of a program: what its global allocator calls for each block
//! (`heaptape_recorder`).
//!
//! The allocator itself is called by the program's code and calls the real one; here the event is
//! recorded, as a hook does it. The stack begins in the function that calls the stub.

use crate::caller::Caller;
use crate::recording::{self, Change, operation};
use crate::{gate, process, thread};
use core::ffi::c_void;
use heaptape_session::record::RingEvent;

/// Starts recording, unless an event did so before. Called once before `main`, for programs that
/// allocate nothing before they fork.
pub fn start() {
    if gate::mode() == gate::NEW {
        process::start();
    }
}

/// False when no event of this process is wanted, as in one without a session.
#[inline(always)]
#[must_use]
pub fn is_wanted() -> bool {
    gate::mode() != gate::OFF
}

/// How a block came to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Birth {
    /// Uninitialised, as `malloc` gives it.
    Plain = operation::MALLOC,
    /// Zeroed, as `calloc` gives it.
    Zeroed = operation::CALLOC,
    /// Aligned to more than `malloc` does.
    Aligned = operation::ALIGNED_ALLOC,
}

/// Records that the caller has just been given a block.
///
/// # Safety
/// `block` is only noted.
#[unsafe(naked)]
pub unsafe extern "C" fn allocated(block: *mut c_void, size: usize, alignment: usize, how: Birth) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r8, rsp",
        "mov r9, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym allocated_body,
    )
}

unsafe extern "C" fn allocated_body(
    block: *mut c_void,
    size: usize,
    alignment: usize,
    how: Birth,
    sp: *const usize,
    frame: usize,
) {
    let Some(thread) = thread::admitted().filter(|_| process::wants(size)) else {
        return;
    };
    let caller = Caller { sp, frame };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::allocated_generally(thread, how as u8, block, size, alignment, caller) };
}

/// Records that the caller is about to give a block back.
///
/// # Safety
/// `block` is only noted.
#[unsafe(naked)]
pub unsafe extern "C" fn freed(block: *mut c_void) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rsi, rsp",
        "mov rdx, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym freed_body,
    )
}

unsafe extern "C" fn freed_body(block: *mut c_void, sp: *const usize, frame: usize) {
    let Some(thread) = thread::admitted() else {
        return;
    };
    let caller = Caller { sp, frame };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::freed::<false>(thread, operation::FREE, block, caller) };
}

/// A block that is about to move.
#[derive(Debug)]
pub struct Moving {
    change: Change,
    block: *mut c_void,
}

/// Notes the moment before a block moves. `None`: it is not recorded.
///
/// # Safety
/// `caller` must be alive, and [`moved`] must follow before anything else of this thread.
#[inline(never)]
#[must_use]
pub unsafe fn moves(block: *mut c_void, caller: Caller) -> Option<Moving> {
    let thread = thread::admitted()?;
    // SAFETY: the thread is the calling one, the caller alive.
    let change = unsafe { Change::begin::<false>(thread, caller) }?;
    Some(Moving { change, block })
}

/// Records where the block has moved to; null: it stays as it was.
///
/// # Safety
/// `moving` must be valid, and is not to be used again; `block` is only noted.
#[unsafe(naked)]
pub unsafe extern "C" fn moved(moving: *const Moving, block: *mut c_void, size: usize) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rcx, rsp",
        "mov r8, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym moved_body,
    )
}

unsafe extern "C" fn moved_body(
    moving: *const Moving,
    block: *mut c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) {
    // SAFETY: valid by the caller's word, who does not use it again.
    let Moving { change, block: old } = unsafe { moving.read() };
    let caller = Caller { sp, frame };
    let event = |operation| RingEvent {
        operation,
        old_address: old as u64,
        ..RingEvent::default()
    };
    if block.is_null() {
        change.leave();
    } else if process::wants(size) {
        let event = RingEvent {
            address: block as u64,
            size: size as u64,
            ..event(operation::REALLOC)
        };
        // SAFETY: the caller is alive.
        unsafe { change.changed::<false>(event, caller) };
    } else {
        // It lives on as a block that is not to be recorded.
        // SAFETY: the caller is alive.
        unsafe { change.ended(event(operation::REALLOC_FREE), caller) };
    }
}

/// The end by a call that runs no exit handlers: the code is noted, nothing else. These definitions
/// stand before the C library's, of which a static program takes what it does not have.
#[cfg(target_feature = "crt-static")]
pub mod end {
    use crate::process;
    use core::ffi::c_int;
    use heaptape_session::sys;

    /// `_exit` of the C library.
    ///
    /// # Safety
    /// As the C function.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn _exit(code: c_int) -> ! {
        process::ends_with(code);
        loop {
            // SAFETY: ends the process, as the caller wishes.
            unsafe { sys::passed_on(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
        }
    }

    /// `_Exit` of the C library.
    ///
    /// # Safety
    /// As the C function.
    #[unsafe(no_mangle)]
    #[allow(non_snake_case, reason = "the C library's name")]
    pub unsafe extern "C" fn _Exit(code: c_int) -> ! {
        // SAFETY: the caller's own call.
        unsafe { _exit(code) }
    }
}
