//! Innermost parts of earlier stacks: where a program allocates in turn from several places below
//! the same frame, each of them is found again here. The state of a call goes in; the kept frame
//! that it leads to and the node of the innermost one come out.
//!
//! Right and safe for the reasons that `last` gives: the state equals the one that was kept, the
//! words are compared from the inside to the outside, and all of them lead to a state that equals
//! the one that [`LastStack`] still has; what is outside of that is for it to compare. Nothing that
//! was kept before rows, nodes or readable stretches were dropped is looked at.
//!
//! A function that allocates for many callers has the same state each time. So what stands in
//! place of the first word that differs leads to the next place to look at: a tree of a few steps,
//! in which each part is compared for itself.

use super::last::LastStack;
use super::words::NearWord;

/// Parts that are remembered.
const LEAVES: usize = 2048;
/// Places that are looked at for one stack.
const STEPS_MAX: usize = 4;
/// How many more searches than hits there are until few are made, since they cost too.
const VAIN_MAX: u32 = 32;
/// A hit counts for so many searches in vain.
const HIT_WEIGHT: u32 = 4;
/// Then one stack in so many is looked for.
const REST: u32 = 16;
/// Words that lead through one at most; larger parts are not kept.
const WORDS_MAX: usize = 8;

const _: () = assert!(LEAVES.is_power_of_two());
const _: () = assert!(size_of::<Leaf>() == 128);

/// One part: a line (of the processor's cache) that tells whether it is looked for, and one of
/// words. All-zero bytes are one that nothing leads to.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Leaf {
    /// The innermost frame's state.
    pc: usize,
    sp: usize,
    rbp: usize,
    /// The first frame outside of the part: its state but for the program counter, which its node
    /// tells.
    outer: OuterFrame,
    /// The innermost frame's node.
    node: u32,
    /// What the table's number was when it was kept: 32 bits, and so many changes take years.
    generation: u32,
    /// Frames.
    count: u8,
    /// Words in use.
    word_count: u8,
    /// The way out of the innermost frame depends on `rbp`.
    needs_rbp: bool,
    /// Those of the outermost step first, as in the last stack.
    words: [NearWord; WORDS_MAX],
}

/// What tells a frame of the last stack again, where an inner part of a stack leads to it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct OuterFrame {
    pub(super) rbp: usize,
    /// Of its stack pointer from that of the part, in bytes.
    pub(super) distance: u32,
    /// Never 0: it stands for the program counter.
    pub(super) node: u32,
    pub(super) words: u32,
    /// Its place.
    pub(super) index: u32,
}

impl OuterFrame {
    /// Of the frame `index`, for a part with the stack pointer `sp`; `None` when it is too far away
    /// or has no node.
    pub(super) fn of(last: &LastStack, index: usize, sp: usize) -> Option<Self> {
        let frame = last.frame(index);
        (frame.node != 0).then_some(Self {
            rbp: frame.rbp,
            distance: u32::try_from(frame.sp.wrapping_sub(sp)).ok()?,
            node: frame.node,
            words: frame.words,
            index: u32::try_from(index).ok()?,
        })
    }
}

/// The parts of a thread. All-zero bytes are valid and empty.
#[derive(Debug)]
pub(super) struct Leaves {
    places: [Leaf; LEAVES],
    generation: u32,
    /// Searches in vain, less those that were not.
    vain: u32,
    /// Stacks that were not looked for, for want of success.
    rested: u32,
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

    /// Whether a search is likely to pay.
    #[inline(always)]
    pub(super) fn is_worthwhile(&mut self) -> bool {
        if self.vain < VAIN_MAX {
            return true;
        }
        self.rested = self.rested.wrapping_add(1);
        self.rested.is_multiple_of(REST)
    }

    /// Notes how a search ended.
    #[inline(always)]
    pub(super) fn note(&mut self, is_hit: bool) {
        self.vain = if is_hit {
            self.vain.saturating_sub(HIT_WEIGHT)
        } else {
            VAIN_MAX.min(self.vain + 1)
        };
    }

    /// Looks for the part that a call in this state is the inside of.
    #[inline(always)]
    #[must_use]
    pub(super) fn get(&self, pc: usize, sp: usize, rbp: usize, last: &LastStack) -> Option<Found> {
        let mut place = place_of(pc, sp);
        for _ in 0..STEPS_MAX {
            let leaf = self.places.get(place)?;
            if !leaf.is_at(pc, sp, rbp, self.generation) {
                return None;
            }
            let Some(word) = leaf.first_difference() else {
                let index = last.place_of(&leaf.outer, sp)?;
                return Some(Found {
                    index,
                    count: usize::from(leaf.count),
                    node: leaf.node,
                });
            };
            place = place_after(place, word);
        }
        None
    }

    /// Keeps the frames of the last stack inside of the frame `outer_index`, when they are few and
    /// may be trusted. `rbp` is the frame pointer of the innermost one.
    #[inline(never)]
    pub(super) fn keep(&mut self, last: &LastStack, outer_index: usize, rbp: usize) {
        let (inner_index, inner) = last.innermost();
        let Some(words) = last.words_between(outer_index, inner_index) else {
            return;
        };
        let (Some(outer), Ok(count), Ok(word_count)) = (
            OuterFrame::of(last, outer_index, inner.sp),
            u8::try_from(inner_index - outer_index),
            u8::try_from(words.len()),
        ) else {
            return;
        };
        let mut kept = [NearWord::default(); WORDS_MAX];
        if words.len() > WORDS_MAX {
            return;
        }
        for (near, word) in kept.iter_mut().zip(words) {
            let Some(word) = NearWord::of(word, inner.sp) else {
                return;
            };
            *near = word;
        }
        let place = self.place_for(inner.pc, inner.sp, rbp);
        let Some(leaf) = self.places.get_mut(place) else {
            return;
        };
        *leaf = Leaf {
            pc: inner.pc,
            sp: inner.sp,
            rbp: inner.rbp,
            outer,
            node: inner.node,
            generation: self.generation,
            count,
            word_count,
            needs_rbp: inner.needs_rbp(),
            words: kept,
        };
    }

    /// Where a search for the stack that is there now ends.
    fn place_for(&self, pc: usize, sp: usize, rbp: usize) -> usize {
        let mut place = place_of(pc, sp);
        for _ in 1..STEPS_MAX {
            let known = self.places.get(place);
            let known = known.filter(|leaf| leaf.is_at(pc, sp, rbp, self.generation));
            let Some(word) = known.and_then(Leaf::first_difference) else {
                break;
            };
            place = place_after(place, word);
        }
        place
    }
}

impl Leaf {
    #[inline(always)]
    fn is_at(&self, pc: usize, sp: usize, rbp: usize, generation: u32) -> bool {
        self.sp == sp
            && self.pc == pc
            && (self.rbp == rbp || !self.needs_rbp)
            && self.generation == generation
    }

    /// What stands in memory in place of the first word that differs, from the inside on. To be
    /// asked in the state of the innermost frame only.
    #[inline(always)]
    fn first_difference(&self) -> Option<usize> {
        let words = self.words.get(..usize::from(self.word_count));
        let mut words = words.unwrap_or_default().iter().rev();
        words.find_map(|word| word.difference(self.sp))
    }
}

const PLACE_SHIFT: u32 = usize::BITS - LEAVES.trailing_zeros();

#[inline(always)]
fn place_of(pc: usize, sp: usize) -> usize {
    (pc ^ sp.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> PLACE_SHIFT
}

#[inline(always)]
fn place_after(place: usize, word: usize) -> usize {
    (place ^ word.rotate_left(8)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> PLACE_SHIFT
}
