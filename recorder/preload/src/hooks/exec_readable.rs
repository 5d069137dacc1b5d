//! Which of a program's lists and texts can be read, before anything of ours reads them.
//!
//! In: what a program gives to exec or posix_spawn. Out: whether all of it can be read. With a bad
//! pointer the kernel says EFAULT and the program goes on; it must not fall over us. A page is
//! tried once, by a system call that reports a fault instead of raising one; where the program
//! forbids itself that call, nobody knows, and the pointers are taken for good.

use super::exec::List;
use crate::syscall::{PAGE_BYTES, is_unreadable};
use core::ffi::c_char;
use core::ptr;

/// Pages that are remembered, each in its place.
const PAGES: usize = 64;
/// A longer text is refused by the kernel.
const TEXT_BYTES_MAX: usize = 32 * PAGE_BYTES;

/// The pages that were tried.
#[derive(Debug)]
pub(super) struct Readable {
    pages: [usize; PAGES],
}

impl Readable {
    pub(super) fn new() -> Self {
        Self { pages: [0; PAGES] }
    }

    /// True when all of it can be read.
    pub(super) fn all(&mut self, text: Option<*const c_char>, lists: &[List]) -> bool {
        text.is_none_or(|text| self.text(text)) && lists.iter().all(|list| self.list(*list))
    }

    /// True when the page of `address` can be read.
    fn has(&mut self, address: usize) -> bool {
        let page = address & !(PAGE_BYTES - 1);
        let Some(place) = self.pages.get_mut(page / PAGE_BYTES % PAGES) else {
            return false;
        };
        if *place == page {
            // No page was tried there, and the first one is never mapped.
            return page != 0;
        }
        if is_unreadable(page) {
            return false;
        }
        *place = page;
        true
    }

    /// True when the text at `text` can be read to its zero.
    pub(super) fn text(&mut self, text: *const c_char) -> bool {
        let mut at = text;
        let mut bytes = 0;
        while bytes <= TEXT_BYTES_MAX && self.has(at.addr()) {
            let rest = PAGE_BYTES - at.addr() % PAGE_BYTES;
            // SAFETY: up to the end of a page that can be read.
            if unsafe { libc::strnlen(at, rest) } < rest {
                return true;
            }
            at = at.wrapping_add(rest);
            bytes += rest;
        }
        false
    }

    /// True when `list` and its texts can be read to the null at the end. None at all is a list.
    pub(super) fn list(&mut self, list: List) -> bool {
        if list.is_null() {
            return true;
        }
        let mut at = list;
        loop {
            let last = at.cast::<u8>().wrapping_add(size_of::<List>() - 1);
            if !self.has(at.addr()) || !self.has(last.addr()) {
                return false;
            }
            // SAFETY: all eight bytes lie in pages that can be read.
            let entry = unsafe { ptr::read_unaligned(at) };
            if entry.is_null() {
                return true;
            }
            if !self.text(entry) {
                return false;
            }
            at = at.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena;
    use heaptape_session::sys::syscall6;

    /// Two pages of which the second cannot be read.
    fn edge() -> *mut u8 {
        let mapped = arena::map(2 * PAGE_BYTES)
            .expect("memory")
            .as_ptr()
            .cast::<u8>();
        let second = mapped.addr() + PAGE_BYTES;
        // SAFETY: the page belongs to the test's own mapping.
        let answer = unsafe { syscall6(libc::SYS_mprotect, [second, PAGE_BYTES, 0, 0, 0, 0]) };
        assert_eq!(answer, 0);
        mapped.wrapping_add(PAGE_BYTES)
    }

    #[test]
    fn texts_end_before_what_cannot_be_read() {
        let edge = edge();
        let text = edge.wrapping_sub(3);
        // SAFETY: the last bytes of the page that can be written to.
        unsafe { text.copy_from(b"abc".as_ptr(), 3) };
        assert!(!Readable::new().text(text.cast()));
        // SAFETY: as above.
        unsafe { text.wrapping_add(2).write(0) };
        assert!(Readable::new().text(text.cast()));
        for bad in [0, 8, usize::MAX - 3, edge.addr()] {
            assert!(
                !Readable::new().text(ptr::without_provenance(bad)),
                "{bad:#x}"
            );
        }
    }

    #[test]
    fn lists_are_read_to_their_null() {
        let edge = edge();
        let place = |index| edge.cast::<*const c_char>().wrapping_sub(index);
        let set = |index, entry| {
            // SAFETY: the last words of the page that can be written to.
            unsafe { place(index).write(entry) };
        };
        set(2, c"A=1".as_ptr());
        set(1, ptr::null());
        assert!(Readable::new().list(place(2)));
        assert!(Readable::new().list(ptr::null()));
        set(1, c"B".as_ptr());
        assert!(!Readable::new().list(place(2)));
        set(2, ptr::without_provenance(8));
        set(1, ptr::null());
        assert!(!Readable::new().list(place(2)));
        assert!(!Readable::new().list(ptr::without_provenance(8)));
    }

    #[test]
    fn long_texts_cross_pages() {
        let mut text = vec![b'x'; 20 * PAGE_BYTES];
        text.push(0);
        assert!(Readable::new().text(text.as_ptr().cast()));
        let endless = vec![b'x'; TEXT_BYTES_MAX + 2 * PAGE_BYTES];
        assert!(!Readable::new().text(endless.as_ptr().cast()));
    }
}
