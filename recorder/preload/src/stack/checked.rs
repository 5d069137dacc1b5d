//! How much of a very deep stack may have changed since it was last compared with memory: so that
//! a recursion that allocates at every level is not compared from end to end at every level.
//!
//! A frame can only change after all frames inside of it were left, and the stack can only have as
//! many frames again after as many calls. A processor makes no more than so many calls in a tick of
//! its time stamp counter. So what lies further out than the calls that can have been made since
//! then is as it was. That holds for whatever runs on the stack: other threads that go on with a
//! coroutine, exceptions and `longjmp`, which leave many frames at once, and stacks that are
//! copied, since no copy is as fast. (Who puts other pages in the place of a stack's between two
//! allocations can be faster.)
//!
//! Without the counter everything is compared.

use core::arch::x86_64::_rdtsc;
use core::cell::Cell;

use crate::clock;

/// Frames that are always compared. More than a processor makes while it has instructions in
/// flight, or while the counters of two cores differ.
pub(super) const FRAMES_ALWAYS: usize = 4096;
/// More calls than a processor makes in a tick: one in a cycle at most, and cycles are at most
/// some three times as fast as the counter.
const CALLS_A_TICK: u64 = 8;

/// As [`FRAMES_ALWAYS`], for frames of Python: to leave one and to enter another takes dozens of
/// instructions.
const PYTHON_FRAMES_ALWAYS: usize = 512;
/// Ticks that pass at least until a frame of Python was left and another one entered: both together
/// take an interpreter some ten nanoseconds at its best, and counters tick more than once in one.
const TICKS_A_PYTHON_CALL: u64 = 4;

/// What was last compared. All-zero bytes are valid: nothing was.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The innermost frame that was as it was kept, and all outside of it; 0: none.
    index: Cell<usize>,
    /// When that was so.
    ticks: Cell<u64>,
}

impl Checked {
    /// The frame outside of which nothing can have changed in a stack that has come to the frame
    /// `index`; 0: that is not known.
    #[must_use]
    pub(super) fn unchanged(&self, index: usize) -> usize {
        let calls = |ticks: u64| ticks.saturating_mul(CALLS_A_TICK);
        self.unchanged_after(index, calls, FRAMES_ALWAYS)
    }

    /// As [`Checked::unchanged`], for frames of Python.
    #[inline(always)]
    #[must_use]
    pub(super) fn unchanged_python(&self, index: usize) -> usize {
        if index <= PYTHON_FRAMES_ALWAYS {
            return 0;
        }
        self.unchanged_after(
            index,
            |ticks| ticks / TICKS_A_PYTHON_CALL,
            PYTHON_FRAMES_ALWAYS,
        )
    }

    fn unchanged_after(&self, index: usize, calls: impl Fn(u64) -> u64, always: usize) -> usize {
        if self.index.get() == 0 || !clock::is_counter() {
            return 0;
        }
        let Some(ticks) = now().checked_sub(self.ticks.get()) else {
            return 0;
        };
        let calls = usize::try_from(calls(ticks)).unwrap_or(usize::MAX);
        let outer = index.saturating_sub(calls.saturating_add(always));
        outer.min(self.index.get())
    }

    /// All from the frame `index` on outwards is as it was kept.
    #[inline(always)]
    pub(super) fn note(&self, index: usize) {
        if clock::is_counter() {
            self.index.set(index);
            self.ticks.set(now());
        }
    }

    /// Frames inside of `index` are others from here on.
    #[inline(always)]
    pub(super) fn keep(&self, index: usize) {
        self.index.set(self.index.get().min(index));
    }
}

fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; the recording's clock is the counter, so
    // the program may read it.
    unsafe { _rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_frames_and_those_that_were_never_compared_are_compared() {
        let checked = Checked::default();
        assert_eq!(checked.unchanged(1 << 20), 0);
        checked.note(100_000);
        assert_eq!(checked.unchanged(FRAMES_ALWAYS), 0);
        assert!(checked.unchanged(usize::MAX) <= 100_000);
        checked.keep(50_000);
        assert!(checked.unchanged(usize::MAX) <= 50_000);
        checked.keep(60_000);
        assert!(checked.unchanged(usize::MAX) <= 50_000);
    }

    /// The longer ago, the more calls may have been made.
    #[test]
    fn time_lets_everything_change() {
        let checked = Checked::default();
        checked.note(100_000);
        checked.ticks.set(now() - 12_500);
        assert_eq!(checked.unchanged(100_000), 0);
        assert!(checked.unchanged(usize::MAX) > 0);
        checked.ticks.set(u64::MAX);
        assert_eq!(checked.unchanged(100_000), 0, "the counter went back");
    }
}
