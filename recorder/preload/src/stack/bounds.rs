//! Which memory the walk may read: addresses go in, the end of the readable stretch around them
//! comes out. Nothing here is asked of a library: a stretch is known because every page of it was
//! tried with a system call that reports a fault instead of raising one, once per page.
//!
//! Two stretches are kept. `home` ends at this thread's own anchor (its thread control block, or
//! the auxiliary vector's bytes above the first thread's stack), so it lives as long as the
//! thread. `other` is wherever else the stack pointer was seen: coroutines, alternate signal
//! stacks. It may be unmapped behind our back; that is harmless as long as the walk follows
//! right rules from a live frame, since these only lead to live frames, and [`StackBounds::doubt`]
//! drops it when the walk has to guess.

use core::arch::asm;

use heaptape_session::sys::thread_id;

use super::expression::Memory;
use crate::syscall::{PAGE_BYTES, is_readable};
use crate::{process, thread};

/// Pages tried at a stretch: a stack that grew by more since the last event is cut.
const TRIES_MAX: usize = 16384;
/// Longest way of a guess on a stretch that would have to be tried first.
const GUESS_BYTES_MAX: usize = 64 << 10;

/// Addresses from `low` up to, not with, `high`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stretch {
    low: usize,
    high: usize,
}

impl Stretch {
    #[inline]
    fn holds(&self, from: usize, to: usize) -> bool {
        self.low <= from && to <= self.high
    }
}

/// The readable memory around this thread's stack pointers.
#[derive(Debug, Default)]
pub struct StackBounds {
    home: Stretch,
    other: Stretch,
    /// Changes whenever a known address is not known any more.
    epoch: u64,
}

fn page_of(address: usize) -> usize {
    address & !(PAGE_BYTES - 1)
}

fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

impl StackBounds {
    /// Learns the calling thread's own stack.
    pub fn start(&mut self) {
        let anchor = if thread_id() == process::id() {
            // SAFETY: getauxval only looks into the auxiliary vector.
            unsafe { libc::getauxval(libc::AT_RANDOM) as usize }
        } else {
            // glibc and musl lay it above the thread's stack.
            thread::control_block()
        };
        let page = page_of(anchor);
        self.drop_other();
        self.home = Stretch::default();
        self.epoch += 1;
        if is_readable(page) {
            self.home = Stretch {
                low: page,
                high: page + PAGE_BYTES,
            };
            let pointer = stack_pointer();
            // Joined when the thread runs on its own stack now; else later, or never.
            let _end = self.cover(pointer, anchor.max(pointer));
        }
    }

    /// The end of the known stretch that holds the word below `pointer`.
    #[inline(always)]
    #[must_use]
    pub fn end_around(&self, pointer: usize) -> Option<usize> {
        let word = pointer.wrapping_sub(8);
        if self.home.holds(word, pointer) {
            return Some(self.home.high);
        }
        self.other.holds(word, pointer).then_some(self.other.high)
    }

    /// Makes sure that `from .. to` can be read and returns the end of the stretch around it.
    #[inline]
    pub fn cover(&mut self, from: usize, to: usize) -> Option<usize> {
        if self.home.holds(from, to) {
            return Some(self.home.high);
        }
        if self.other.holds(from, to) {
            return Some(self.other.high);
        }
        self.explore(from, to)
    }

    #[cold]
    #[inline(never)]
    fn explore(&mut self, from: usize, to: usize) -> Option<usize> {
        if to <= from || to > isize::MAX.cast_unsigned() {
            return None;
        }
        let low = page_of(from);
        let mut found = Stretch { low, high: low };
        let mut is_home = false;
        let mut tries = 0;
        while found.high < to {
            let page = found.high;
            if self.home.holds(page, page + 1) {
                found.high = self.home.high;
                is_home = true;
            } else if self.other.holds(page, page + 1) {
                found.high = self.other.high;
            } else if is_home {
                // Nothing of a stack lies above the thread's anchor. All below of it was tried.
                self.home.low = found.low.min(self.home.low);
                return None;
            } else if tries == TRIES_MAX || !is_readable(page) {
                return None;
            } else {
                found.high += PAGE_BYTES;
                tries += 1;
            }
        }
        if is_home || found.high == self.home.low {
            self.home.low = found.low.min(self.home.low);
            return Some(self.home.high);
        }
        // A walk comes from below, and a frame may begin where what is known ends.
        let is_behind = self.other.low <= found.low && found.low <= self.other.high;
        if found.high == self.other.low || is_behind {
            found.low = found.low.min(self.other.low);
            found.high = found.high.max(self.other.high);
        }
        if !found.holds(self.other.low, self.other.high) {
            self.drop_other();
        }
        self.other = found;
        Some(found.high)
    }

    /// As [`StackBounds::cover`], for a way that is only guessed: on memory that is not known it
    /// must be short, or a wrong guess would have many pages tried each time.
    pub fn cover_guess(&mut self, from: usize, to: usize) -> Option<usize> {
        if to.checked_sub(from)? > GUESS_BYTES_MAX {
            self.end_around(from.checked_add(8)?)?;
        }
        self.cover(from, to)
    }

    /// From here on the walk follows guesses: only what surely stays mapped is trusted untried.
    pub fn doubt(&mut self) {
        self.drop_other();
    }

    /// A number that changes whenever something that was known to be readable is dropped: as long
    /// as it stays, what was read once may be read again without asking.
    #[inline(always)]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn drop_other(&mut self) {
        if self.other != Stretch::default() {
            self.other = Stretch::default();
            self.epoch += 1;
        }
    }
}

impl Memory for StackBounds {
    fn read(&mut self, address: usize) -> Option<usize> {
        let end = address.checked_add(8)?;
        self.cover(address, end)?;
        // SAFETY: all eight bytes lie in pages that were found readable.
        Some(unsafe { load(address) })
    }
}

/// The word at `address`.
///
/// # Safety
/// The eight bytes at `address` must be readable.
#[inline(always)]
pub unsafe fn load(address: usize) -> usize {
    let pointer: *const usize = core::ptr::with_exposed_provenance(address);
    // SAFETY: readable by the caller's contract; alignment is not asked for.
    unsafe { pointer.read_unaligned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena;
    use heaptape_session::sys::syscall6;

    fn protect(address: usize, bytes: usize) {
        // SAFETY: the pages belong to the test's own mapping.
        let answer = unsafe { syscall6(libc::SYS_mprotect, [address, bytes, 0, 0, 0, 0]) };
        assert_eq!(answer, 0);
    }

    #[test]
    fn home_is_joined_on_a_threads_own_stack() {
        let check = || {
            let mut bounds = StackBounds::default();
            bounds.start();
            let pointer = stack_pointer();
            assert_eq!(bounds.end_around(pointer), Some(bounds.home.high));
        };
        check();
        std::thread::spawn(check)
            .join()
            .expect("the thread's checks");
    }

    #[test]
    fn a_guard_page_ends_a_stretch() {
        let mapped = arena::map(8 * PAGE_BYTES).expect("memory").as_ptr() as usize;
        protect(mapped + 4 * PAGE_BYTES, PAGE_BYTES);
        let mut bounds = StackBounds::default();
        assert_eq!(
            bounds.cover(mapped + 100, mapped + 200),
            Some(mapped + PAGE_BYTES)
        );
        let end = mapped + 4 * PAGE_BYTES;
        assert_eq!(bounds.cover(mapped + 100, end), Some(end));
        assert_eq!(bounds.cover(mapped + 100, end + 1), None);
        assert_eq!(bounds.read(end - 7), None);
        assert_eq!(bounds.read(end - 8), Some(0));
        assert_eq!(bounds.read(end), None);
        // What was known stays known after a refusal.
        assert_eq!(bounds.end_around(mapped + 208), Some(end));
        assert_eq!(bounds.read(usize::MAX - 3), None);
        assert_eq!(bounds.read(8), None);
    }

    /// Page after page, as a walk goes out from far below what is known: nothing is dropped, where
    /// a frame begins at the end of a page either.
    #[test]
    fn a_stretch_grows_outwards() {
        let mapped = arena::map(8 * PAGE_BYTES).expect("memory").as_ptr() as usize;
        let mut bounds = StackBounds::default();
        for from in [mapped + 8, mapped + PAGE_BYTES, mapped + 2 * PAGE_BYTES - 8] {
            assert!(bounds.cover(from, from + 16).is_some());
        }
        let end = mapped + 3 * PAGE_BYTES;
        assert_eq!(bounds.end_around(mapped + 16), Some(end));
        assert_eq!(bounds.epoch(), 0);
    }

    #[test]
    fn guesses_go_far_on_known_memory_alone() {
        let mapped = arena::map(64 * PAGE_BYTES).expect("memory").as_ptr() as usize;
        let end = mapped + 64 * PAGE_BYTES;
        let mut bounds = StackBounds::default();
        assert_eq!(bounds.cover_guess(mapped, end), None);
        let near = mapped + GUESS_BYTES_MAX;
        assert_eq!(bounds.cover_guess(mapped, near), Some(near));
        assert_eq!(bounds.cover_guess(mapped + 8, end), Some(end));
        assert_eq!(bounds.cover_guess(mapped + 8, mapped), None);
    }

    /// What was tried on the way to the thread's own stack is not tried again.
    #[test]
    fn a_refusal_above_home_still_joins_it() {
        let mut bounds = StackBounds::default();
        bounds.start();
        let high = bounds.home.high;
        let low = page_of(stack_pointer());
        bounds.home.low = high - PAGE_BYTES;
        assert_eq!(bounds.cover(low, high + 8), None);
        assert_eq!(bounds.home, Stretch { low, high });
    }

    #[test]
    fn doubt_tries_again() {
        let mapped = arena::map(2 * PAGE_BYTES).expect("memory").as_ptr() as usize;
        let mut bounds = StackBounds::default();
        assert_eq!(bounds.read(mapped), Some(0));
        protect(mapped, PAGE_BYTES);
        bounds.doubt();
        assert_eq!(bounds.read(mapped), None);
    }
}
