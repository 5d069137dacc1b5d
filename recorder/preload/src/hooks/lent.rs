//! Children that share the memory of their parent: `vfork`, and `clone` as `vfork` does it or
//! without waiting.
//!
//! Such a child writes to its parent's stream. So that this is its parent's, and not one
//! under its own number, the parent takes its place in the session before: when it is a fork that
//! nobody has seen, or its thread has made no event yet. The real functions return to the caller.

use crate::{gate, next, process, thread};
use core::ffi::{c_int, c_void};

/// Interposed `vfork`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() -> libc::pid_t {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {prepare}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        prepare = sym prepare_vfork,
    )
}

extern "C" fn prepare_vfork() -> usize {
    take_place();
    match next::VFORK.find() {
        // It promises less.
        0 => libc::fork as *const () as usize,
        real => real,
    }
}

/// Interposed `clone`, which takes more arguments than these for some flags.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn clone(
    function: extern "C" fn(*mut c_void) -> c_int,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
) -> c_int {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        "push r8",
        ".cfi_adjust_cfa_offset 8",
        "push r9",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "mov edi, edx",
        "call {prepare}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop r9",
        ".cfi_adjust_cfa_offset -8",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        prepare = sym prepare_clone,
    )
}

extern "C" fn prepare_clone(flags: c_int) -> usize {
    let is_process = flags & libc::CLONE_THREAD == 0;
    if flags & libc::CLONE_VFORK != 0 || flags & libc::CLONE_VM != 0 && is_process {
        take_place();
    }
    match next::CLONE.find() {
        0 => missing as *const () as usize,
        real => real,
    }
}

extern "C" fn missing() -> c_int {
    next::set_errno(libc::ENOSYS);
    -1
}

/// Gives the process and the calling thread their places in the session.
fn take_place() {
    if gate::mode() == gate::NEW {
        process::start();
    }
    if matches!(gate::mode(), gate::PLAIN | gate::GENERAL) {
        let _its_stream = thread::admitted();
    }
}
