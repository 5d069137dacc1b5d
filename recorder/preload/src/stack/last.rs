//! The last stacks of a thread, kept so that the next one need not be walked to its end: frames
//! and the words of memory that led from one to the next go in, "everything outside of this frame
//! is still so" comes out.
//!
//! Why it is right. A step of the walk is a function of the state (program counter, stack pointer,
//! frame pointer where it is needed) and of the words that it reads, at addresses that follow from
//! the state and from words read before. A state that equals a kept one, and words outside of it
//! that all equal the kept ones, therefore lead to the same frames. That the innermost frames look
//! the same says nothing of the outer ones: all words are compared, at every event, but for those
//! thousands of frames further out that cannot have changed in so short a time (see `checked.rs`).
//!
//! Why it is safe. Words are compared from the inside to the outside and the first difference ends
//! it, so each word is read only when the walk, in the same state, would read it too. The walk
//! would read it without asking: it was asked for when the word was kept, and whenever
//! [`StackBounds`](super::bounds::StackBounds) drops a stretch that it knew, its epoch changes and
//! nothing kept is trusted any more.
//!
//! Steps that read anything else (rules that need the interpreter, signal frames, code without
//! rules, a walk that was cut) are never trusted, nor is any frame inside of one.

use core::ptr::NonNull;

use super::CutReason;
use super::checked::Checked;
use super::depth::{Depth, FRAMES_KEPT_MAX, FRAMES_USUAL};
use super::growing::Growing;
use super::intern::InternTable;
use super::leaves::OuterFrame;
use super::row::{Row, RowKind};
use super::walk::{End, Frame, Position};
use super::words::{WORDS_A_STEP, Word, keep_step};
use crate::arena::Plain;

/// One frame. The one outside of it has the index below.
#[derive(Debug, Clone, Copy)]
pub struct KeptFrame {
    /// The program counter, as in [`Frame`].
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer register, as it was when the frame was kept.
    pub rbp: usize,
    /// The frame's node.
    pub node: u32,
    /// How many words lead from here to the end of the stack, doubled; odd: the way out of this
    /// frame depends on `rbp`.
    pub(super) words: u32,
}

impl KeptFrame {
    /// True when a walk in this state goes on as the kept one did, as far as memory agrees.
    #[inline(always)]
    #[must_use]
    pub fn is_at(&self, pc: usize, rbp: usize) -> bool {
        self.pc == pc && (self.rbp == rbp || !self.needs_rbp())
    }

    /// True when the way out of the frame depends on `rbp`.
    #[inline(always)]
    #[must_use]
    pub fn needs_rbp(&self) -> bool {
        self.words & 1 != 0
    }

    #[inline(always)]
    fn word_count(&self) -> usize {
        self.words as usize >> 1
    }
}

// SAFETY: numbers.
unsafe impl Plain for KeptFrame {}

/// Entries of `frames` that are no frame: the one above all memory, and one behind the innermost.
const EDGES: usize = 2;
/// Words of this many are compared whole.
const WORDS_COMPARED: usize = 4096;

/// The memory that a [`LastStack`] begins in, zeroed.
#[derive(Debug)]
#[repr(C)]
pub struct Memory {
    frames: [KeptFrame; FRAMES_USUAL + EDGES],
    words: [Word; FRAMES_USUAL * WORDS_A_STEP],
}

/// The frames of the last stack, and those of earlier ones that lie further inside.
#[derive(Debug)]
pub struct LastStack {
    /// **Outermost** first, from 1 on; 0 is a frame above all memory that ends searches.
    frames: Growing<KeptFrame>,
    /// Those of the outermost step first, and in a step the last read first.
    words: Growing<Word>,
    /// Frames of the last stack. The one inside of them has no program counter.
    count: usize,
    /// Frames, from the outermost on, whose states and words may be trusted.
    trusted: usize,
    /// Where the last search ended.
    hint: usize,
    /// How many frames, at least and at most, a stack has that ends where this one does.
    least: usize,
    most: usize,
    /// What the root of the stack is interned by: 0, or a cut.
    pub root: usize,
    /// What need not be compared again.
    checked: Checked,
}

/// What a stack is put together from, outermost frame first: what is outside of the next one.
#[derive(Debug, Clone, Copy)]
pub struct Outer {
    /// Its index; 0: there is none.
    index: usize,
    /// The frame there, or the state in which the walk ended.
    frame: Frame,
    /// As in [`KeptFrame`].
    pub(super) words: u32,
    /// All so far may be trusted.
    is_trusted: bool,
    /// All nodes so far are those that stood there before.
    is_same: bool,
}

impl LastStack {
    /// One that begins in this memory; to be [started](LastStack::start).
    ///
    /// # Safety
    /// The memory is zeroed, outlives it, and nobody else uses it.
    #[must_use]
    pub unsafe fn new(memory: NonNull<Memory>) -> Self {
        // SAFETY: a field of the memory.
        let frames = unsafe { memory.byte_add(core::mem::offset_of!(Memory, frames)) };
        // SAFETY: as before.
        let words = unsafe { memory.byte_add(core::mem::offset_of!(Memory, words)) };
        Self {
            // SAFETY: an array of so many, by the caller's contract for it alone.
            frames: unsafe { Growing::new(frames.cast(), FRAMES_USUAL + EDGES) },
            // SAFETY: as before.
            words: unsafe { Growing::new(words.cast(), FRAMES_USUAL * WORDS_A_STEP) },
            count: 0,
            trusted: 0,
            hint: 0,
            least: 0,
            most: 0,
            root: 0,
            checked: Checked::default(),
        }
    }

    /// Frames that there is room for.
    #[inline(always)]
    #[must_use]
    pub fn room(&self) -> usize {
        self.frames.values().len() - EDGES
    }

    /// Makes room for so many frames; false when there is no memory for them.
    #[cold]
    #[inline(never)]
    pub fn grow(&mut self, frames: usize) -> bool {
        let frames = frames.max(2 * self.room()).min(FRAMES_KEPT_MAX.max(frames));
        let kept = self.frame(self.trusted).word_count();
        self.words.grow(frames * WORDS_A_STEP, kept) && self.frames.grow(frames + EDGES, usize::MAX)
    }

    /// True when it took memory for a deep stack.
    #[must_use]
    pub fn is_grown(&self) -> bool {
        self.frames.is_grown() || self.words.is_grown()
    }

    /// Gives that memory back. Must be started before it is used again.
    pub fn shrink(&mut self) {
        self.frames.shrink();
        self.words.shrink();
    }

    /// Forgets everything.
    pub fn start(&mut self) {
        if let Some(end) = self.frames.values_mut().first_mut() {
            *end = KeptFrame {
                pc: usize::MAX,
                sp: usize::MAX,
                rbp: 0,
                node: 0,
                words: 1,
            };
        }
        self.root = 0;
        self.end_at(0);
        self.distrust();
    }

    /// From here on no state is trusted; nodes are.
    pub fn distrust(&mut self) {
        self.trusted = 0;
        self.hint = 0;
        self.checked.keep(0);
    }

    /// The stack's frames.
    #[inline(always)]
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The frame `index`; 0 and whatever is too large give one that is above all memory.
    #[inline(always)]
    #[must_use]
    pub fn frame(&self, index: usize) -> &KeptFrame {
        self.frames.get_or_first(index)
    }

    /// The innermost trusted frame at or above `sp`; 0 when there is none.
    #[inline(always)]
    #[must_use]
    pub fn search(&self, sp: usize) -> usize {
        let mut index = self.hint;
        while self.frame(index).sp < sp {
            index = index.saturating_sub(1);
        }
        while index < self.trusted && self.frame(index + 1).sp >= sp {
            index += 1;
        }
        index
    }

    /// The place of a frame that `kept` was made of, in a part of a stack with the stack pointer
    /// `sp`, when it may be trusted, is as it was then, and a state that leads to `kept` leads to
    /// it.
    #[inline(always)]
    #[must_use]
    pub(super) fn place_of(&self, kept: &OuterFrame, sp: usize) -> Option<usize> {
        // The same node: the same program counter.
        let index = usize::from(kept.index);
        let is_same = self.frame(index).node == kept.node;
        (is_same && self.is_placed(kept, sp)).then_some(index)
    }

    /// As [`LastStack::place_of`] for a frame with this program counter, whatever node it has.
    #[inline(always)]
    #[must_use]
    pub(super) fn place_with(&self, kept: &OuterFrame, pc: usize, sp: usize) -> Option<usize> {
        let index = usize::from(kept.index);
        let is_same = self.frame(index).pc == pc;
        (is_same && self.is_placed(kept, sp)).then_some(index)
    }

    #[inline(always)]
    fn is_placed(&self, kept: &OuterFrame, sp: usize) -> bool {
        let index = usize::from(kept.index);
        let frame = self.frame(index);
        // As many words and the same need of rbp: whatever led to `kept` compared rbp if this one
        // needs it.
        index <= self.trusted
            && frame.sp.wrapping_sub(sp) == kept.distance as usize
            && frame.words == u32::from(kept.words)
            && (frame.rbp == kept.rbp || !frame.needs_rbp())
    }

    /// The innermost frame of the last stack, and its index.
    #[must_use]
    pub fn innermost(&self) -> (usize, &KeptFrame) {
        (self.count, self.frame(self.count))
    }

    /// The words that lead from the frame `inner` to the frame `outer`, those of the outermost step
    /// first; `None` where they may not be trusted, or there is no such way.
    #[must_use]
    pub fn words_between(&self, outer: usize, inner: usize) -> Option<&[Word]> {
        if outer == 0 || inner <= outer || inner > self.trusted {
            return None;
        }
        let [from, to] = [outer, inner].map(|index| self.frame(index).word_count());
        self.words.values().get(from..to)
    }

    /// Compares all words outside of a frame whose state was found again.
    ///
    /// # Errors
    /// The index of the frame that the first difference leads to: the step to it goes elsewhere.
    #[inline(always)]
    pub fn verify(&self, index: usize) -> Result<(), usize> {
        let count = self.frame(index).word_count();
        if count > WORDS_COMPARED {
            return self.verify_deep(index, count);
        }
        self.compare(index, 0, count)
    }

    /// As [`LastStack::verify`], where that would take long: what cannot have changed is left out.
    #[cold]
    #[inline(never)]
    fn verify_deep(&self, index: usize, count: usize) -> Result<(), usize> {
        let outer = self.checked.unchanged(index);
        self.compare(index, self.frame(outer).word_count(), count)?;
        self.checked.note(index);
        Ok(())
    }

    /// Compares the words from the place `from` to the place `to`, the last of those that lead
    /// from the frame `index` to the end.
    #[inline(always)]
    fn compare(&self, index: usize, from: usize, to: usize) -> Result<(), usize> {
        let all = self.words.values();
        let mut words = all.get(from..to).unwrap_or_default();
        while let [outer @ .., four, three, two, one] = words {
            if !(one.stands() && two.stands() && three.stands() && four.stands()) {
                return Err(self.first_difference(index, from, words));
            }
            words = outer;
        }
        if words.iter().rev().all(Word::stands) {
            Ok(())
        } else {
            Err(self.first_difference(index, from, words))
        }
    }

    /// As [`LastStack::compare`], where one of the last `words` is known to differ.
    #[cold]
    #[inline(never)]
    fn first_difference(&self, index: usize, from: usize, words: &[Word]) -> usize {
        let same = words.iter().rev().take_while(|word| word.stands()).count();
        // The words from the outermost up to, and with, the one that differs.
        let different = from + words.len() - same;
        // The step that read it leads to the innermost frame that is reached without it.
        let mut outer = index.saturating_sub(1);
        while outer > 0 && self.frame(outer).word_count() >= different {
            outer -= 1;
        }
        outer
    }

    /// True when a stack of `found` frames inside of the kept frame `index` has the same end, as
    /// far as the limit of depth goes.
    #[inline(always)]
    #[must_use]
    pub fn joins(&self, found: usize, index: usize) -> bool {
        let total = found + index;
        self.least <= total && total <= self.most
    }

    /// The frame `index` is the innermost of the stack that was asked for: its node.
    #[inline(always)]
    pub fn settle(&mut self, index: usize) -> u32 {
        self.hint = index;
        self.frame(index).node
    }

    /// Begins a stack that has the trusted frame `index` in it, and all outside of that. Those
    /// inside of it are to be trusted next time if `is_kept`.
    #[inline(always)]
    #[must_use]
    pub fn rebuild_from(&self, index: usize, is_kept: bool) -> Outer {
        let frame = self.frame(index);
        Outer {
            index,
            frame: Frame {
                pc: frame.pc,
                sp: frame.sp,
                rbp: frame.rbp,
                row: Row::bare(RowKind::Special),
            },
            words: frame.words,
            is_trusted: is_kept,
            is_same: true,
        }
    }

    /// Begins a stack whose walk ended so at the state `at`, with `root` outside of it. Its frames
    /// may be trusted only if no stretch was dropped and they are to be kept.
    #[must_use]
    pub fn rebuild(
        &mut self,
        at: &Position,
        end: End,
        root: usize,
        depth: Depth,
        is_kept: bool,
    ) -> Outer {
        let is_same = self.root == root;
        self.root = root;
        (self.least, self.most) = match end {
            End::Cut(CutReason::Depth) => (depth.least, depth.most),
            _ => (0, depth.anew),
        };
        Outer {
            index: 0,
            frame: Frame {
                pc: at.pc,
                sp: at.sp,
                rbp: at.rbp,
                row: Row::bare(RowKind::Special),
            },
            words: 0,
            is_trusted: is_kept && end != End::Cut(CutReason::Unknown),
            is_same,
        }
    }

    /// Puts the frames of `found`, innermost first, inside of `outer`. The index of the first one
    /// that has no node yet: it and all inside of it must be [named](LastStack::name_known).
    #[inline(never)]
    pub fn extend(&mut self, outer: &Outer, found: &[Frame]) -> usize {
        let first = outer.index + 1;
        self.checked.keep(outer.index);
        let slots = self.frames.values_mut().get_mut(first..);
        let slots = slots.unwrap_or_default();
        let frames = found.iter().rev();
        let mut same = 0;
        if outer.is_same {
            let pairs = slots.iter().zip(frames.clone());
            same = pairs
                .take_while(|(slot, frame)| slot.pc == frame.pc)
                .count();
        }
        // Two loops, and each is left with registers enough.
        for (slot, frame) in slots.iter_mut().zip(frames.clone()) {
            slot.pc = frame.pc;
            slot.sp = frame.sp;
            slot.rbp = frame.rbp;
        }
        let mut trusted = outer.index;
        if outer.is_trusted {
            let mut before = &outer.frame;
            let mut words = outer.words;
            let memory = self.words.values_mut();
            for (slot, frame) in slots.iter_mut().zip(frames) {
                let is_outermost = trusted == 0;
                let Some(kept) = keep_step(before, frame, words, is_outermost, memory) else {
                    break;
                };
                slot.words = kept;
                trusted += 1;
                before = frame;
                words = kept;
            }
        }
        self.trusted = trusted;
        self.hint = trusted;
        self.end_at(outer.index + found.len());
        first + same
    }

    /// Names the frames from `index` on, of which the outermost lies under the node `parent`, until
    /// one has a node that `nodes` does not remember: its index, and the node that it lies under.
    /// Apart, so that the loop has all registers for itself.
    #[inline(never)]
    pub fn name_known(
        &mut self,
        mut index: usize,
        mut parent: u32,
        nodes: &InternTable,
    ) -> (usize, u32) {
        let slots = self.frames.values_mut().get_mut(index..=self.count);
        for slot in slots.unwrap_or_default() {
            let Some(node) = nodes.get(parent, slot.pc) else {
                break;
            };
            slot.node = node;
            parent = node;
            index += 1;
        }
        (index, parent)
    }

    /// The program counter of the frame `index`, when the stack has so many.
    #[inline(always)]
    #[must_use]
    pub fn nameless(&self, index: usize) -> Option<usize> {
        let frame = self.frames.values().get(index)?;
        (index <= self.count).then_some(frame.pc)
    }

    /// Sets the node of a frame.
    #[inline(always)]
    pub fn name(&mut self, index: usize, node: u32) {
        if let Some(frame) = self.frames.values_mut().get_mut(index) {
            frame.node = node;
        }
    }

    /// The frame `index` has no node: the stack ends outside of it.
    #[cold]
    pub fn break_off(&mut self, index: usize) {
        self.end_at(index.saturating_sub(1));
        self.distrust();
    }

    /// The frame `index` is the innermost. Nodes that stand further inside are none of its.
    #[inline(always)]
    fn end_at(&mut self, index: usize) {
        self.count = index;
        if let Some(frame) = self.frames.values_mut().get_mut(index + 1) {
            frame.pc = 0;
        }
    }
}
