//! Innermost parts of earlier stacks: where a program allocates in turn from several places below
//! the same frame, each of them is found again here. The state of a call goes in; the kept frame
//! that it leads to and the node of the innermost one come out.
//!
//! Right and safe for the reasons that `last` gives: the state equals the one that was kept, the
//! words are compared from the inside to the outside, and all of them lead to a state that equals
//! the one that [`LastStack`] still has; what is outside of that is for it to compare. Nothing that
//! was kept before rows, nodes or readable stretches were dropped is looked at.

use super::last::{KeptFrame, LastStack, Word};

/// Parts that are remembered.
const LEAVES: usize = 64;
/// Parts that are kept without finding one again; after that few are, since keeping costs too.
const VAIN_MAX: u32 = 32;
/// One in so many.
const VAIN_STEP: u32 = 16;
/// Words that lead through one at most; larger parts are not kept.
const WORDS_MAX: usize = 11;

const _: () = assert!(LEAVES.is_power_of_two());
const _: () = assert!(size_of::<Leaf>() == 256);

/// One part. All-zero bytes are one that nothing leads to.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Leaf {
    /// The innermost frame.
    inner: KeptFrame,
    /// The first frame outside of the part.
    outer: KeptFrame,
    /// What the table's number was when it was kept: 32 bits, and so many changes take years.
    generation: u32,
    /// Place of `outer` in the last stack.
    outer_index: u16,
    /// Frames.
    count: u8,
    /// Words in use.
    word_count: u8,
    /// Those of the outermost step first, as in the last stack.
    words: [Word; WORDS_MAX],
}

/// The parts of a thread. All-zero bytes are valid and empty.
#[derive(Debug)]
pub(super) struct Leaves {
    places: [Leaf; LEAVES],
    generation: u32,
    /// Parts that were kept since one was last found again.
    vain: u32,
}

/// What is known of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The frame of the last stack outside of which everything must be compared.
    pub(super) index: usize,
    /// Frames inside of it.
    pub(super) count: usize,
    /// The innermost one's node.
    pub(super) node: u32,
}

impl Leaves {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Looks for the part that a call in this state is the inside of.
    #[inline(always)]
    #[must_use]
    pub(super) fn get(&self, pc: usize, sp: usize, rbp: usize, last: &LastStack) -> Option<Found> {
        let leaf = self.places.get(place_of(pc, sp))?;
        if leaf.inner.sp != sp
            || !leaf.inner.is_at(pc, rbp)
            || leaf.generation != self.generation
            || !last.still_has(usize::from(leaf.outer_index), &leaf.outer)
        {
            return None;
        }
        let words = leaf.words.get(..usize::from(leaf.word_count))?;
        words.iter().rev().all(Word::stands).then_some(Found {
            index: usize::from(leaf.outer_index),
            count: usize::from(leaf.count),
            node: leaf.inner.node,
        })
    }

    /// The last part that was looked for was the right one.
    #[inline(always)]
    pub(super) fn note_success(&mut self) {
        self.vain = 0;
    }

    /// Keeps the frames of the last stack inside of the frame `outer_index`, when they are few and
    /// may be trusted.
    #[inline(always)]
    pub(super) fn keep(&mut self, last: &LastStack, outer_index: usize) {
        self.vain = self.vain.wrapping_add(1);
        if self.vain < VAIN_MAX || self.vain.is_multiple_of(VAIN_STEP) {
            self.copy(last, outer_index);
        }
    }

    #[inline(never)]
    fn copy(&mut self, last: &LastStack, outer_index: usize) {
        let (inner_index, inner) = last.innermost();
        let outer = last.frame(outer_index);
        let Some(words) = last.words_between(outer_index, inner_index) else {
            return;
        };
        let (Ok(index), Ok(count), Ok(word_count)) = (
            u16::try_from(outer_index),
            u8::try_from(inner_index - outer_index),
            u8::try_from(words.len()),
        ) else {
            return;
        };
        let Some(leaf) = self.places.get_mut(place_of(inner.pc, inner.sp)) else {
            return;
        };
        let Some(kept) = leaf.words.get_mut(..words.len()) else {
            return;
        };
        kept.copy_from_slice(words);
        leaf.inner = *inner;
        leaf.outer = *outer;
        leaf.generation = self.generation;
        leaf.outer_index = index;
        leaf.count = count;
        leaf.word_count = word_count;
    }
}

#[inline(always)]
fn place_of(pc: usize, sp: usize) -> usize {
    const SHIFT: u32 = usize::BITS - LEAVES.trailing_zeros();
    (pc ^ sp.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHIFT
}
