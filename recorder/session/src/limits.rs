//! Limits of a process (`ulimit`) under which an image is better not recorded.
//!
//! The launcher looks at them for the command, the recorder for every image that a recorded
//! program executes. What the recorder takes in a program counts for the program's limit, so under
//! a very tight one the program would fail, or not even be loaded, where it runs when bare.

use crate::sys::syscall6;

/// Smallest limit of data (`ulimit -d`) in bytes: the recorder takes about 1.5 MiB in a small
/// program.
pub const DATA_MIN: u64 = 4 << 20;
/// Smallest limit of address space (`ulimit -v`) in bytes: the recorder takes 8 MiB in a program,
/// the launcher needs 17 MiB to drain it.
pub const ADDRESSES_MIN: u64 = 24 << 20;
/// Smallest limit of open files (`ulimit -n`): the dynamic loader opens our library behind the
/// three standard ones.
pub const FILES_MIN: u64 = 4;

/// Smallest limit of the stack (`ulimit -s`) in bytes: starting the recorder takes some 8 KiB, and
/// arguments and environment stand there too.
pub const STACK_MIN: u64 = 32 << 10;

/// True when a limit of this process is too low to record what it executes. A limit that it forbids
/// itself to ask for is none.
#[must_use]
pub fn are_too_low() -> bool {
    soft(libc::RLIMIT_DATA as usize) < DATA_MIN
        || soft(libc::RLIMIT_STACK as usize) < STACK_MIN
        || soft(libc::RLIMIT_AS as usize) < ADDRESSES_MIN
        || soft(libc::RLIMIT_NOFILE as usize) < FILES_MIN
}

/// `u64::MAX`: there is none.
fn soft(resource: usize) -> u64 {
    let mut limit = [u64::MAX; 2];
    let place = limit.as_mut_ptr() as usize;
    let arguments = [0, resource, 0, place, 0, 0];
    // SAFETY: valid for the kernel to fill in; nothing is changed.
    let result = unsafe { syscall6(libc::SYS_prlimit64, arguments) };
    let [soft, _] = limit;
    if result == 0 { soft } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_process_has_enough() {
        assert!(!are_too_low());
        assert!(soft(libc::RLIMIT_NOFILE as usize) >= FILES_MIN);
    }
}
