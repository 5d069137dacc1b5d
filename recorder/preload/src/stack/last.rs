//! The last stacks of a thread, kept so that the next one need not be walked to its end: frames
//! and the words of memory that led from one to the next go in, "everything outside of this frame
//! is still so" comes out.
//!
//! Why it is right. A step of the walk is a function of the state (program counter, stack pointer,
//! frame pointer where it is needed) and of the words that it reads, at addresses that follow from
//! the state and from words read before. A state that equals a kept one, and words outside of it
//! that all equal the kept ones, therefore lead to the same frames. That the innermost frames look
//! the same says nothing of the outer ones: all words are compared, at every event.
//!
//! Why it is safe. Words are compared from the inside to the outside and the first difference ends
//! it, so each word is read only when the walk, in the same state, would read it too. The walk
//! would read it without asking: it was asked for when the word was kept, and whenever
//! [`StackBounds`](super::bounds::StackBounds) drops a stretch that it knew, its epoch changes and
//! nothing kept is trusted any more.
//!
//! Steps that read anything else (rules that need the interpreter, signal frames, code without
//! rules, a walk that was cut) are never trusted, nor is any frame inside of one.

use super::CutReason;
use super::bounds::load;
use super::row::RowKind;
use super::walk::{End, FRAMES_MAX, Frame, Position};

/// Words that the step out of one frame reads at most.
const WORDS_A_STEP: usize = 3;

/// One frame. The one outside of it has the index below.
#[derive(Debug, Clone, Copy)]
pub struct KeptFrame {
    /// The program counter, as in [`Frame`].
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer register, as it was when the frame was kept.
    rbp: usize,
    /// The frame's node.
    pub node: u32,
    /// How many words lead from here to the end of the stack, doubled; odd: the way out of this
    /// frame depends on `rbp`.
    words: u32,
}

impl KeptFrame {
    /// True when a walk in this state goes on as the kept one did, as far as memory agrees.
    #[inline(always)]
    #[must_use]
    pub fn is_at(&self, pc: usize, rbp: usize) -> bool {
        self.pc == pc && (self.rbp == rbp || !self.needs_rbp())
    }

    #[inline(always)]
    fn needs_rbp(&self) -> bool {
        self.words & 1 != 0
    }

    #[inline(always)]
    fn word_count(&self) -> usize {
        self.words as usize >> 1
    }
}

/// A word of memory that a step read.
#[derive(Debug, Clone, Copy)]
struct Word {
    address: usize,
    value: usize,
}

/// The frames of the last stack, and those of earlier ones that lie further inside. All-zero
/// bytes are valid until [`LastStack::start`].
#[derive(Debug)]
pub struct LastStack {
    /// **Outermost** first, from 1 on; 0 is a frame above all memory that ends searches.
    frames: [KeptFrame; FRAMES_MAX + 1],
    /// Those of the outermost step first, and in a step the last read first.
    words: [Word; FRAMES_MAX * WORDS_A_STEP],
    /// Frames whose nodes are valid.
    count: usize,
    /// Frames, from the outermost on, whose states and words may be trusted.
    trusted: usize,
    /// Where the last search ended.
    hint: usize,
    /// Frames of a stack that was cut at the depth limit; 0: it was not.
    cut_depth: usize,
    /// What the root of the stack is interned by: 0, or a cut.
    pub root: usize,
}

/// A stack that is put together, outermost frame first.
#[derive(Debug)]
pub struct Rebuild {
    /// Frames that stand.
    index: usize,
    /// Words that stand.
    words: usize,
    /// The state outside of the next frame.
    pc: usize,
    sp: usize,
    rbp: usize,
    needs_rbp: bool,
    /// All so far may be trusted.
    is_trusted: bool,
    /// All nodes so far are those that stood there before.
    is_same: bool,
}

impl LastStack {
    /// Forgets everything.
    pub fn start(&mut self) {
        let [end, ..] = &mut self.frames;
        *end = KeptFrame {
            pc: usize::MAX,
            sp: usize::MAX,
            rbp: 0,
            node: 0,
            words: 1,
        };
        self.count = 0;
        self.root = 0;
        self.distrust();
    }

    /// From here on no state is trusted; nodes are.
    pub fn distrust(&mut self) {
        self.trusted = 0;
        self.hint = 0;
        self.cut_depth = 0;
    }

    /// The frame `index`; 0 and whatever is too large give one that is above all memory.
    #[inline(always)]
    #[must_use]
    pub fn frame(&self, index: usize) -> &KeptFrame {
        let [end, ..] = &self.frames;
        self.frames.get(index).unwrap_or(end)
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

    /// Compares all words outside of a frame whose state was found again.
    ///
    /// # Errors
    /// The index of the frame that the first difference leads to: the step to it goes elsewhere.
    #[inline(always)]
    pub fn verify(&self, index: usize) -> Result<(), usize> {
        let count = self.frame(index).word_count();
        let words = self.words.get(..count).unwrap_or_default();
        let mut fours = words.rchunks_exact(4);
        for four in &mut fours {
            let [one, two, three, last] = four else { break };
            if !(last.stands() && three.stands() && two.stands() && one.stands()) {
                return Err(self.first_difference(index));
            }
        }
        // An exact chunk leaves its rest at the outer end.
        if fours.remainder().iter().rev().all(Word::stands) {
            Ok(())
        } else {
            Err(self.first_difference(index))
        }
    }

    #[cold]
    #[inline(never)]
    fn first_difference(&self, index: usize) -> usize {
        let count = self.frame(index).word_count();
        let words = self.words.get(..count).unwrap_or_default();
        let same = words.iter().rev().take_while(|word| word.stands()).count();
        let mut inner = index;
        // The step that read the word goes out of the outermost frame which it lies outside of.
        while inner > 1 && self.frame(inner - 1).word_count() + same >= count {
            inner -= 1;
        }
        inner.saturating_sub(1)
    }

    /// True when a stack of `found` frames inside of the kept frame `index` has the same end, as
    /// far as the depth limit goes.
    #[inline(always)]
    #[must_use]
    pub fn joins(&self, found: usize, index: usize, depth_max: usize) -> bool {
        let total = found + index;
        if self.cut_depth == 0 {
            total <= depth_max
        } else {
            total == self.cut_depth
        }
    }

    /// The frame `index` is the innermost of the stack that was asked for: its node.
    #[inline(always)]
    pub fn settle(&mut self, index: usize) -> u32 {
        self.hint = index;
        self.frame(index).node
    }

    /// Begins a stack that has the trusted frame `index` in it, and all outside of that.
    #[inline]
    #[must_use]
    pub fn rebuild_from(&mut self, index: usize) -> Rebuild {
        self.trusted = index;
        let frame = self.frame(index);
        Rebuild {
            index,
            words: frame.word_count(),
            pc: frame.pc,
            sp: frame.sp,
            rbp: frame.rbp,
            needs_rbp: frame.needs_rbp(),
            is_trusted: true,
            is_same: true,
        }
    }

    /// Begins a stack whose walk ended so at the state `at`, with `root` outside of it. Its frames
    /// may be trusted only if all that the walk found are kept, and if no stretch was dropped.
    #[must_use]
    pub fn rebuild(&mut self, at: &Position, end: End, root: usize, is_whole: bool) -> Rebuild {
        let is_same = self.root == root;
        self.root = root;
        self.trusted = 0;
        self.cut_depth = match end {
            End::Cut(CutReason::Depth) => at.count,
            _ => 0,
        };
        Rebuild {
            index: 0,
            words: 0,
            pc: at.pc,
            sp: at.sp,
            rbp: at.rbp,
            needs_rbp: false,
            is_trusted: is_whole && end != End::Cut(CutReason::Unknown),
            is_same,
        }
    }

    /// Adds a frame. Its node when it is the one that stood there, under the same node; otherwise
    /// `None`, and [`LastStack::name`] or [`LastStack::break_off`] must follow.
    #[inline(always)]
    pub fn add(&mut self, rebuild: &mut Rebuild, frame: &Frame) -> Option<u32> {
        let needs_rbp = if rebuild.is_trusted {
            let needs = rebuild.keep_step(frame, &mut self.words);
            rebuild.is_trusted = needs.is_some();
            needs.unwrap_or(true)
        } else {
            true
        };
        let index = rebuild.index + 1;
        let slot = self.frames.get_mut(index)?;
        rebuild.is_same &= slot.pc == frame.pc && index <= self.count;
        *slot = KeptFrame {
            pc: frame.pc,
            sp: frame.sp,
            rbp: frame.rbp,
            node: slot.node,
            words: (rebuild.words as u32) << 1 | u32::from(needs_rbp),
        };
        rebuild.index = index;
        if rebuild.is_trusted {
            self.trusted = index;
        }
        rebuild.pc = frame.pc;
        rebuild.sp = frame.sp;
        rebuild.rbp = frame.rbp;
        rebuild.needs_rbp = needs_rbp;
        rebuild.is_same.then_some(slot.node)
    }

    /// Sets the node of the frame that was added last.
    #[inline(always)]
    pub fn name(&mut self, rebuild: &Rebuild, node: u32) {
        if let Some(frame) = self.frames.get_mut(rebuild.index) {
            frame.node = node;
        }
    }

    /// The frame that was added last is the innermost.
    #[inline(always)]
    pub fn finish(&mut self, rebuild: &Rebuild) {
        self.count = rebuild.index;
        self.hint = self.trusted;
    }

    /// The frame that was added last has no node: the stack ends outside of it.
    #[cold]
    pub fn break_off(&mut self, rebuild: &Rebuild) {
        self.count = rebuild.index.saturating_sub(1);
        self.distrust();
    }
}

impl Rebuild {
    /// Keeps the words that the step out of `frame` has read. Whether the way from there depends
    /// on rbp; `None` when the step is not to be trusted.
    #[inline(always)]
    fn keep_step(&mut self, frame: &Frame, words: &mut [Word]) -> Option<bool> {
        if frame.row.kind() == RowKind::End {
            return (self.index == 0).then_some(false);
        }
        // Searches want stack pointers in order.
        if self.sp <= frame.sp {
            return None;
        }
        let row = frame.row;
        if row.is_plain() {
            self.keep(self.sp.wrapping_sub(8), self.pc, words)?;
            if row.saves_rbp() && self.needs_rbp {
                let address = self.sp.wrapping_add_signed(row.rbp_offset());
                self.keep(address, self.rbp, words)?;
            }
            return Some(row.counts_from_rbp() || self.needs_rbp && !row.saves_rbp());
        }
        if row.kind() == RowKind::Realigned {
            // The word that says where the CFA is comes last: it is compared first.
            self.keep(self.sp.wrapping_sub(8), self.pc, words)?;
            if self.needs_rbp {
                let saved = frame.rbp.wrapping_add_signed(row.rbp_offset());
                self.keep(saved, self.rbp, words)?;
            }
            let cfa = frame.rbp.wrapping_add_signed(row.cfa_offset());
            self.keep(cfa, self.sp, words)?;
            return Some(true);
        }
        None
    }

    #[inline(always)]
    fn keep(&mut self, address: usize, value: usize, words: &mut [Word]) -> Option<()> {
        *words.get_mut(self.words)? = Word { address, value };
        self.words += 1;
        Some(())
    }
}

impl Word {
    /// True when memory still holds the word. To be asked only of the innermost word of a frame
    /// whose state was found again, and then of each next one.
    #[inline(always)]
    fn stands(&self) -> bool {
        // SAFETY: all that the walk would read before this word in that state has the value that it
        // had then, so the walk would now read this word, from a stretch of memory that was found
        // readable and has not been dropped since.
        unsafe { load(self.address) == self.value }
    }
}
