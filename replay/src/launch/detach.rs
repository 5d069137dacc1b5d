//! Going on in the background, as a process of its own that nobody waits for.
//!
//! In: work. Out: a forked process in its own session that does it, with none of the descriptors
//! that we were given, so that `$(heaptape run …)` does not wait for it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Forks; true in the new process, which is detached.
///
/// This process must have one thread.
pub(crate) fn fork() -> io::Result<bool> {
    // SAFETY: one thread, so both sides may go on as they like.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            detach();
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Leaves the session, the folder and the descriptors that this process was started with.
pub(crate) fn detach() {
    // SAFETY: a plain call; fails for the leader of a session, which is one already.
    unsafe { libc::setsid() };
    // Fails when the root is hidden: then the folder stays in use.
    let _ = std::env::set_current_dir("/");
    close_inherited();
    if let Ok(nothing) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        for standard in 0..3 {
            // SAFETY: replaces a standard descriptor of this process by an open one.
            unsafe { libc::dup2(nothing.as_raw_fd(), standard) };
        }
    }
}

/// Closes what is not close-on-exec: everything that we opened ourselves is.
fn close_inherited() {
    let inherited: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&descriptor: &RawFd| {
            // SAFETY: only asks for flags.
            let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
            descriptor > 2 && flags >= 0 && flags & libc::FD_CLOEXEC == 0
        })
        .collect();
    for descriptor in inherited {
        // SAFETY: nobody in this process uses a descriptor that it did not open.
        unsafe { libc::close(descriptor) };
    }
}
