//! The words of memory that the steps of a walk read: what led from one frame to the next goes in,
//! whether it would lead there still comes out. When they may be read at all is told in `last`.

use super::bounds::load;
use super::row::RowKind;
use super::walk::Frame;
use crate::arena::Plain;

/// Words that the step out of one frame reads at most.
pub(super) const WORDS_A_STEP: usize = 3;

/// A word of memory that a step read.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    address: usize,
    value: usize,
}

// SAFETY: two numbers.
unsafe impl Plain for Word {}

/// Keeps the words that the step from `frame` to `outer` has read behind those that there are: then
/// there are as many as this tells, as [`KeptFrame::words`]; `None` when the step is not to be
/// trusted.
#[inline(always)]
#[must_use]
pub(super) fn keep_step(
    outer: &Frame,
    frame: &Frame,
    words: u32,
    is_outermost: bool,
    memory: &mut [Word],
) -> Option<u32> {
    let row = frame.row;
    // Searches want stack pointers in order.
    if !row.is_plain() || outer.sp <= frame.sp {
        return keep_rare_step(outer, frame, words, is_outermost, memory);
    }
    let kept = words as usize >> 1;
    let [first, second] = memory.get_mut(kept..kept + 2)? else {
        return None;
    };
    *first = Word {
        address: outer.sp.wrapping_sub(8),
        value: outer.pc,
    };
    let from_rbp = u32::from(row.counts_from_rbp());
    if !row.saves_rbp() {
        return Some((words + 2) | from_rbp);
    }
    let needs_rbp = words & 1;
    if needs_rbp != 0 {
        *second = Word {
            address: outer.sp.wrapping_add_signed(row.rbp_offset()),
            value: outer.rbp,
        };
    }
    Some((words + 2 + needs_rbp) | from_rbp)
}

/// As [`keep_step`].
#[cold]
#[inline(never)]
fn keep_rare_step(
    outer: &Frame,
    frame: &Frame,
    words: u32,
    is_outermost: bool,
    memory: &mut [Word],
) -> Option<u32> {
    let row = frame.row;
    if row.kind() == RowKind::End {
        return is_outermost.then_some(words & !1);
    }
    if row.kind() != RowKind::Realigned || outer.sp <= frame.sp {
        return None;
    }
    let at = |offset| frame.rbp.wrapping_add_signed(offset);
    // The word that says where the CFA is comes last: it is compared first.
    let read = [
        (outer.sp.wrapping_sub(8), outer.pc, true),
        (at(row.rbp_offset()), outer.rbp, words & 1 != 0),
        (at(row.cfa_offset()), outer.sp, true),
    ];
    let mut kept = words >> 1;
    for (address, value, matters) in read {
        if matters {
            *memory.get_mut(kept as usize)? = Word { address, value };
            kept += 1;
        }
    }
    Some(kept << 1 | 1)
}

impl Word {
    /// True when memory still holds the word. To be asked only of the innermost word of a frame
    /// whose state was found again, and then of each next one.
    #[inline(always)]
    #[must_use]
    pub(super) fn stands(&self) -> bool {
        self.difference().is_none()
    }

    /// What memory holds instead, as [`Word::stands`].
    #[inline(always)]
    #[must_use]
    pub(super) fn difference(&self) -> Option<usize> {
        // SAFETY: all that the walk would read before this word in that state has the value that it
        // had then, so the walk would now read this word, from a stretch of memory that was found
        // readable and has not been dropped since.
        let found = unsafe { load(self.address) };
        (found != self.value).then_some(found)
    }
}

/// A word of memory near a stack pointer, in half the space of a [`Word`]. The lower 48 bits are
/// its value: addresses and small numbers have no more. The others are how many words its place
/// lies above the stack pointer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NearWord(u64);

const VALUE_BITS: u32 = 48;
const WORD_BYTES: isize = size_of::<usize>() as isize;

impl NearWord {
    /// One that means nothing.
    pub(super) const NONE: Self = Self(0);

    /// `None` when it is too far from `sp`, or too large.
    pub(super) fn of(word: &Word, sp: usize) -> Option<Self> {
        let distance = word.address.wrapping_sub(sp) as isize;
        let words = i16::try_from(distance / WORD_BYTES).ok()?;
        let is_near = distance % WORD_BYTES == 0 && word.value >> VALUE_BITS == 0;
        let place = u64::from(words as u16) << VALUE_BITS;
        is_near.then_some(Self(place | word.value as u64))
    }

    /// What memory held.
    #[inline(always)]
    pub(super) fn value(self) -> usize {
        self.0 as usize & ((1 << VALUE_BITS) - 1)
    }

    /// As [`Word::difference`], with the stack pointer that it was made with.
    #[inline(always)]
    pub(super) fn difference(self, sp: usize) -> Option<usize> {
        // With the sign of the upper 16 bits.
        let words = self.0 as isize >> VALUE_BITS;
        let value = self.value();
        // SAFETY: as there.
        let found = unsafe { load(sp.wrapping_add_signed(words * WORD_BYTES)) };
        (found != value).then_some(found)
    }
}
