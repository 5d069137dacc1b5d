//! What this process was started with and Rust's start-up code changes before `main`.
//!
//! In: the process as the loader found it. Out: facts, for the command, which must be started with
//! the same, and for verbs whose standard output is closed: Rust opens `/dev/null` in its place,
//! and nobody would notice that the answer went nowhere.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
/// By descriptor.
static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

extern "C" fn note() {
    // Relaxed, here and below: written before `main`, when there is one thread.
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    for (descriptor, was_closed) in WAS_CLOSED.iter().enumerate() {
        // SAFETY: only asks for flags.
        let flags = unsafe { libc::fcntl(descriptor as libc::c_int, libc::F_GETFD) };
        was_closed.store(flags < 0, Ordering::Relaxed);
    }
}

#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this one
// makes a few system calls.
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn() = note;

/// SIGPIPE was ignored.
pub(crate) fn pipe_was_ignored() -> bool {
    PIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Standard output was closed.
pub(crate) fn output_was_closed() -> bool {
    WAS_CLOSED
        .get(1)
        .is_some_and(|was_closed| was_closed.load(Ordering::Relaxed))
}

/// Closes the standard descriptors that were closed. System calls only.
pub(crate) fn close_what_was_closed() {
    for (descriptor, was_closed) in WAS_CLOSED.iter().enumerate() {
        if was_closed.load(Ordering::Relaxed) {
            // SAFETY: `/dev/null`, which nobody opened knowingly.
            unsafe { libc::close(descriptor as libc::c_int) };
        }
    }
}

/// True when this process ignores `signal`.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the structure is valid for the call to fill in; nothing is changed.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed or filled in, and all-zero bytes are valid.
    let action = unsafe { action.assume_init() };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
