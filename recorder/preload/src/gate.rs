//! The one word that every hook tests first: does this process record, and how.
//!
//! The word lies alone on a page that the kernel empties in a child of a real fork, however the
//! fork was made (`fork`, `_Fork`, a raw system call). So a child finds [`NEW`] at its first event
//! and takes the slow path, which gives it its own place in the session. A child that shares the
//! memory (`vfork`, `posix_spawn`) sees the word as it is and goes on in the stream of its
//! suspended parent thread.

use heaptape_session::sync::{AtomicU32, Ordering};
use heaptape_session::sys;

/// Not started, or a fresh fork.
pub const NEW: u32 = 0;
/// Records the common way: time stamp counter, C library's allocator, no option that concerns the
/// hot path.
pub const PLAIN: u32 = 1;
/// Records, with something that the short path does not know.
pub const GENERAL: u32 = 2;
/// Does not record.
pub const OFF: u32 = 3;
/// No longer records, and counts what it does not.
pub const COUNTING: u32 = 4;

const PAGE_BYTES: usize = 4096;

#[repr(C, align(4096))]
struct Page {
    word: AtomicU32,
    rest: [u8; PAGE_BYTES - 4],
}

static PAGE: Page = Page {
    word: AtomicU32::new(NEW),
    rest: [0; PAGE_BYTES - 4],
};

/// How this process records now.
#[inline(always)]
#[must_use]
pub fn mode() -> u32 {
    // Relaxed: what the modes stand for was set up by this thread, or before this thread began,
    // or (turned off) makes no difference a moment later.
    PAGE.word.load(Ordering::Relaxed)
}

/// Sets the mode.
pub fn set(mode: u32) {
    // Release: pairs with the address dependency and program order of whoever loads it; on x86-64
    // all loads acquire.
    PAGE.word.store(mode, Ordering::Release);
}

/// Asks the kernel to empty the page in children. It cannot before Linux 4.14: then only forks
/// made through the C library are noticed.
pub fn arm() {
    let arguments = [
        (&raw const PAGE) as usize,
        PAGE_BYTES,
        libc::MADV_WIPEONFORK as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the page is ours, whole, and in this process nothing changes.
    unsafe { sys::syscall6(libc::SYS_madvise, arguments) };
}
