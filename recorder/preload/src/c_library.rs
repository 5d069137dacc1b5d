//! What is asked of the C library, as each of them has it: to be told of forks and of the exit.

use core::ffi::{c_int, c_void};

/// Called before a fork, or after it.
pub type AtFork = unsafe extern "C" fn();
/// Called with the code that the process exits with.
pub type AtExit = unsafe extern "C" fn(c_int, *mut c_void);

/// Has these called before each fork, after it in the parent, and after it in the child.
#[cfg(target_env = "gnu")]
pub fn watch_forks(before: AtFork, in_parent: AtFork, in_child: AtFork) {
    unsafe extern "C" {
        fn __register_atfork(
            prepare: Option<AtFork>,
            parent: Option<AtFork>,
            child: Option<AtFork>,
            object: *mut c_void,
        ) -> c_int;
    }
    let [before, in_parent, in_child] = [before, in_parent, in_child].map(Some);
    // SAFETY: the handlers stay as long as the process.
    unsafe { __register_atfork(before, in_parent, in_child, core::ptr::null_mut()) };
}

/// See above.
#[cfg(not(target_env = "gnu"))]
pub fn watch_forks(before: AtFork, in_parent: AtFork, in_child: AtFork) {
    // SAFETY: the handlers stay as long as the process.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Has this called when the process exits.
#[cfg(target_env = "gnu")]
pub fn watch_exit(handler: AtExit) {
    unsafe extern "C" {
        fn on_exit(handler: AtExit, argument: *mut c_void) -> c_int;
    }
    // SAFETY: the handler stays as long as the process.
    unsafe { on_exit(handler, core::ptr::null_mut()) };
}

/// Only glibc tells the code, and without it there is nothing to note.
#[cfg(not(target_env = "gnu"))]
pub fn watch_exit(_handler: AtExit) {}
