//! The system calls that only stacks and modules need, made as the session makes its own: without
//! the C library, so that `errno` stays as the target left it.

use heaptape_session::sys::syscall6;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// True when the eight bytes at `address` can be read now. Costs a system call; never faults.
///
/// The kernel copies the signal set in before it looks at `how`, and there is no such `how`: the
/// answer is EFAULT or EINVAL and nothing is changed. (`mincore` says nothing of protection, and
/// `process_vm_readv` is refused in many sandboxes.)
#[must_use]
pub fn is_readable(address: usize) -> bool {
    /// No address of a program is as high; numbers, texts and the like often are.
    const USER_BITS: u32 = 56;
    if address == 0 || address >> USER_BITS != 0 {
        // The kernel takes a null set for none and does not look.
        return false;
    }
    // Anything else (a filter of the program's) says nothing.
    probe(address) == -(libc::EINVAL as isize)
}

/// True when the eight bytes at `address` surely cannot be read: where the program forbids itself
/// the call that tells, nobody knows. Costs a system call; never faults.
#[must_use]
pub fn is_unreadable(address: usize) -> bool {
    address == 0 || probe(address) == -(libc::EFAULT as isize)
}

fn probe(address: usize) -> isize {
    const NO_SUCH_HOW: usize = u32::MAX as usize;
    const SIGNAL_SET_BYTES: usize = 8;
    let arguments = [NO_SUCH_HOW, address, 0, SIGNAL_SET_BYTES, 0, 0];
    // SAFETY: with an invalid `how` the signal mask stays as it is.
    unsafe { syscall6(libc::SYS_rt_sigprocmask, arguments) }
}

/// True when the address space of this process has a limit, or nobody can say.
#[must_use]
pub fn is_address_space_limited() -> bool {
    let mut limit = [0u64; 2];
    let arguments = [
        0,
        libc::RLIMIT_AS as usize,
        0,
        (&raw mut limit) as usize,
        0,
        0,
    ];
    // SAFETY: the two words are a valid rlimit64 for the kernel to fill in.
    let result = unsafe { syscall6(libc::SYS_prlimit64, arguments) };
    result != 0 || limit.first() != Some(&libc::RLIM64_INFINITY)
}

/// Fills `buffer` with the target of the symbolic link at `path` and returns the filled part.
#[must_use]
pub fn read_link<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let arguments = [
        path.as_ptr() as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
        0,
        0,
    ];
    // SAFETY: the path ends with NUL and the buffer is ours for its whole length.
    let count = unsafe { syscall6(libc::SYS_readlink, arguments) };
    buffer.get(..usize::try_from(count).ok()?)
}

/// Fills `buffer` with the current directory (without the final NUL) and returns its length.
#[must_use]
pub fn current_directory(buffer: &mut [u8]) -> Option<usize> {
    let arguments = [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0];
    // SAFETY: the buffer is ours for its whole length.
    let count = unsafe { syscall6(libc::SYS_getcwd, arguments) };
    usize::try_from(count).ok()?.checked_sub(1)
}
