//! System calls made without the C library: a number and words go in, the kernel's answer (or a
//! negative error number) comes out. It never touches `errno`, so an interposed call leaves the
//! target's as the real function set it, and it never enters a function that we interpose.

use core::arch::asm;

const _: () = assert!(size_of::<usize>() == 8, "the recorder is for x86-64");

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Makes the system call `number`; `-4095..0` of the result are negated error numbers.
///
/// # Safety
/// The call with these arguments must be one that breaks nothing of the target.
#[inline]
pub unsafe fn syscall(number: i64, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's x86-64 convention; what the call does is
    // the caller's contract.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The calling thread's id.
#[must_use]
pub fn thread_id() -> i32 {
    // SAFETY: gettid has no arguments and no effect.
    let id = unsafe { syscall(libc::SYS_gettid, [0; 6]) };
    id as i32
}

/// The calling process's id, asked of the kernel and not of a cache that a raw fork left behind.
#[must_use]
pub fn process_id() -> i32 {
    // SAFETY: getpid has no arguments and no effect.
    let id = unsafe { syscall(libc::SYS_getpid, [0; 6]) };
    id as i32
}

/// True when the eight bytes at `address` can be read now. Costs a system call; never faults.
///
/// The kernel copies the signal set in before it looks at `how`, and there is no such `how`: the
/// answer is EFAULT or EINVAL and nothing is changed. (`mincore` says nothing of protection, and
/// `process_vm_readv` is refused in many sandboxes.)
#[must_use]
pub fn is_readable(address: usize) -> bool {
    const NO_SUCH_HOW: usize = u32::MAX as usize;
    const SIGNAL_SET_BYTES: usize = 8;
    if address == 0 {
        // The kernel takes a null set for none and does not look.
        return false;
    }
    let arguments = [NO_SUCH_HOW, address, 0, SIGNAL_SET_BYTES, 0, 0];
    // SAFETY: with an invalid `how` the signal mask stays as it is.
    let answer = unsafe { syscall(libc::SYS_rt_sigprocmask, arguments) };
    answer != -(libc::EFAULT as isize)
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
    let count = unsafe { syscall(libc::SYS_readlink, arguments) };
    buffer.get(..usize::try_from(count).ok()?)
}

/// Fills `buffer` with the current directory (without the final NUL) and returns its length.
#[must_use]
pub fn current_directory(buffer: &mut [u8]) -> Option<usize> {
    let arguments = [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0];
    // SAFETY: the buffer is ours for its whole length.
    let count = unsafe { syscall(libc::SYS_getcwd, arguments) };
    usize::try_from(count).ok()?.checked_sub(1)
}
