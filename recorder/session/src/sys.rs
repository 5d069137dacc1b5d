//! Raw system calls (x86_64 Linux).
//!
//! The recorder lives in other people's processes: its own calls must not touch `errno`, must not
//! go through a symbol that it interposes itself, and must be usable in signal handlers. A program
//! may forbid itself system calls on pain of death (seccomp): those are [`refuse`]d here, and from
//! then on fail without being made.

use core::arch::asm;
// The calls of this process, not of a model: never loom's.
use core::sync::atomic::{AtomicU64, Ordering};

/// Numbers of system calls that a [`CallSet`] knows.
pub const CALLS: usize = 512;
/// Words of a [`CallSet`].
const SET_WORDS: usize = CALLS / 64;

/// A set of system calls, a bit each, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSet(pub [u64; SET_WORDS]);

impl CallSet {
    /// All calls.
    pub const ALL: Self = Self([u64::MAX; SET_WORDS]);

    /// Takes a call out.
    pub fn remove(&mut self, number: i64) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Puts a call in.
    pub fn insert(&mut self, number: i64) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Puts all calls of another set in as well.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }

    /// True when the call is in the set; one with a number beyond all sets never is.
    #[must_use]
    pub fn has(&self, number: i64) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

/// Relaxed everywhere: whoever refuses a call waits for other threads by other means.
static REFUSED: [AtomicU64; SET_WORDS] = [const { AtomicU64::new(0) }; SET_WORDS];

/// From now on these calls, and no others, fail with EPERM without being made.
pub fn refuse(calls: CallSet) {
    for (place, word) in REFUSED.iter().zip(calls.0) {
        place.store(word, Ordering::Relaxed);
    }
}

/// The calls that are refused now.
#[must_use]
pub fn refused() -> CallSet {
    let mut set = CallSet([0; SET_WORDS]);
    for (word, place) in set.0.iter_mut().zip(&REFUSED) {
        *word = place.load(Ordering::Relaxed);
    }
    set
}

/// True when the call is refused now.
#[inline]
#[must_use]
pub fn is_refused(number: i64) -> bool {
    let word = REFUSED.get(number as usize / 64);
    word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (number % 64) != 0)
}

/// A call of our own with up to six arguments; returns the kernel's value, negative errno on
/// failure, which is EPERM when the call is refused.
///
/// # Safety
/// The number and its arguments must be such that the call upholds memory safety: pointers valid
/// for what the call reads and writes, no mapping replaced that is in use.
#[inline]
pub unsafe fn syscall6(number: i64, args: [usize; 6]) -> isize {
    if is_refused(number) {
        return -(libc::EPERM as isize);
    }
    // SAFETY: as for this function.
    unsafe { passed_on(number, args) }
}

/// A call that the program itself makes through us: it is made in any case.
///
/// # Safety
/// As for [`syscall6`].
#[inline]
pub unsafe fn passed_on(number: i64, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the call; the kernel clobbers rcx and r11 and nothing else.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Fresh zeroed private memory of `bytes` (rounded up to pages), or `None`.
#[must_use]
pub fn map_private(bytes: usize) -> Option<*mut u8> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing in use.
    let result = unsafe { syscall6(libc::SYS_mmap, [0, bytes, prot, flags, usize::MAX, 0]) };
    pointer(result)
}

/// Maps `bytes` of the file `fd` from `offset`, shared and writable, or `None`.
#[must_use]
pub fn map_shared(fd: i32, offset: usize, bytes: usize) -> Option<*mut u8> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = libc::MAP_SHARED as usize;
    // SAFETY: a mapping at an address of the kernel's choice touches nothing in use.
    let result = unsafe { syscall6(libc::SYS_mmap, [0, bytes, prot, flags, fd as usize, offset]) };
    pointer(result)
}

fn pointer(result: isize) -> Option<*mut u8> {
    if (-4095..=0).contains(&result) {
        None
    } else {
        Some(result as *mut u8)
    }
}

/// Unmaps memory that one of the functions above returned.
///
/// # Safety
/// Nothing may use the range any more.
pub unsafe fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: the caller gives up the range.
    unsafe { syscall6(libc::SYS_munmap, [start as usize, bytes, 0, 0, 0, 0]) };
}

/// Opens the file of the zero-terminated `path` with `flags`; a descriptor, or a negative errno.
#[must_use]
pub fn open(path: &core::ffi::CStr, flags: i32) -> i32 {
    let flags = (flags | libc::O_CLOEXEC) as usize;
    // SAFETY: the path is zero-terminated and valid for the call.
    let result = unsafe {
        syscall6(
            libc::SYS_openat,
            [
                libc::AT_FDCWD as usize,
                path.as_ptr() as usize,
                flags,
                0,
                0,
                0,
            ],
        )
    };
    result as i32
}

/// Reads up to `buffer.len()` bytes at `offset`; the count, or a negative errno.
pub fn read_at(fd: i32, buffer: &mut [u8], offset: u64) -> isize {
    let (start, bytes) = (buffer.as_mut_ptr() as usize, buffer.len());
    // SAFETY: the buffer is valid for writes of its length.
    unsafe {
        syscall6(
            libc::SYS_pread64,
            [fd as usize, start, bytes, offset as usize, 0, 0],
        )
    }
}

/// Closes a descriptor that [`open`] returned.
pub fn close(fd: i32) {
    // SAFETY: closing a descriptor of ours touches no memory.
    unsafe { syscall6(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Sleeps for about `ns` nanoseconds (below one second); may return early.
pub fn sleep_ns(ns: u32) {
    let time = [0i64, i64::from(ns)];
    // SAFETY: the two words are a valid timespec for the call.
    unsafe { syscall6(libc::SYS_nanosleep, [time.as_ptr() as usize, 0, 0, 0, 0, 0]) };
}

/// The calling process's id, from the kernel and not from a cache.
#[must_use]
pub fn process_id() -> u32 {
    // SAFETY: getpid has no arguments and cannot fail.
    unsafe { syscall6(libc::SYS_getpid, [0; 6]) as u32 }
}

/// The calling thread's id.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { syscall6(libc::SYS_gettid, [0; 6]) as u32 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let mut set = CallSet::ALL;
        for number in [0, 63, 64, 511] {
            assert!(set.has(number));
            set.remove(number);
            assert!(!set.has(number) && set.has(1), "{number}");
        }
        assert_eq!(set.0.map(u64::count_ones).iter().sum::<u32>(), 508);
        for beyond in [-1, 512, i64::MAX] {
            set.remove(beyond);
            set.insert(beyond);
            assert!(!set.has(beyond));
        }
        assert_eq!(set.with(CallSet::ALL), CallSet::ALL);
        set.insert(64);
        assert!(set.has(64) && !set.has(63));
    }
}
