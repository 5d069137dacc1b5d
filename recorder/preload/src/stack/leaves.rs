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
    /// The first frame outside of the part, as in [`OuterFrame`].
    outer_rbp: usize,
    outer_distance: u32,
    outer_node: u32,
    outer_words: u16,
    outer_index: u16,
    /// The innermost frame's node.
    node: u32,
    /// As in [`InnerPython`].
    python_parent: u32,
    python_node: u32,
    python_place: u16,
    /// What the table's number was when it was kept.
    generation: u16,
    /// Frames.
    count: u8,
    /// Words in use.
    word_count: u8,
    /// The way out of the innermost frame depends on `rbp`.
    needs_rbp: bool,
    /// Those of the outermost step first, as in the last stack.
    words: [NearWord; WORDS_MAX],
}

/// What tells a frame of the last stack again, where an inner part of a stack leads to it: its
/// state but for the program counter, which its node tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct OuterFrame {
    pub(super) rbp: usize,
    /// Of its stack pointer from that of the part, in bytes.
    pub(super) distance: u32,
    /// Never 0: it stands for the program counter.
    pub(super) node: u32,
    pub(super) words: u16,
    /// Its place.
    pub(super) index: u16,
}

/// The Python frames of a part, when they are those of one segment. All zeros: it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InnerPython {
    /// The node that the segment lies under.
    pub(super) parent: u32,
    /// The node of its innermost frame.
    pub(super) node: u32,
    /// Where it runs: so many words above the part's stack pointer.
    pub(super) place: u16,
}

impl InnerPython {
    /// Of a segment that runs at `address`; `None` when that is too far from the stack pointer.
    pub(super) fn of(parent: u32, node: u32, address: usize, sp: usize) -> Option<Self> {
        let distance = address.checked_sub(sp)?;
        let place = u16::try_from(distance / size_of::<usize>()).ok()?;
        let is_word = distance.is_multiple_of(size_of::<usize>());
        (node != 0 && is_word).then_some(Self {
            parent,
            node,
            place,
        })
    }
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
            words: u16::try_from(frame.words).ok()?,
            index: u16::try_from(index).ok()?,
        })
    }
}

/// The parts of a thread. All-zero bytes are valid and empty.
#[derive(Debug)]
pub(super) struct Leaves {
    places: [Leaf; LEAVES],
    /// Those of another number are forgotten.
    generation: u16,
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

/// A part that a call is the inside of, unless the nodes that it was kept with are others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) found: Found,
    /// The node that the outer frame had.
    pub(super) outer_node: u32,
    pub(super) python: InnerPython,
    /// Where it was.
    place: Place,
}

/// Where a part is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    index: usize,
    /// Places that were looked at before.
    steps: usize,
}

impl Place {
    /// Where the search for a call begins.
    #[inline(always)]
    pub(super) fn of(pc: usize, sp: usize) -> Self {
        Self {
            index: place_of(pc, sp),
            steps: 0,
        }
    }

    /// Where it goes on when there is another `word` than was kept; `None`: it does not.
    #[inline(always)]
    fn after(self, word: usize) -> Option<Self> {
        (self.steps + 1 < STEPS_MAX).then_some(Self {
            index: place_after(self.index, word),
            steps: self.steps + 1,
        })
    }
}

impl Candidate {
    /// Where to look on when the frame outside of it has this node instead.
    #[inline(always)]
    pub(super) fn after_outer(&self, node: u32) -> Option<Place> {
        self.place.after(OUTER_NODE | node as usize)
    }

    /// Where to look on when that is the same, and its innermost Python frame has this node.
    #[inline(always)]
    pub(super) fn after_python(&self, node: u32) -> Option<Place> {
        self.place.after(PYTHON_NODE | node as usize)
    }
}

/// Mark what leads on in place of a word.
const OUTER_NODE: usize = 1 << 62;
const PYTHON_NODE: usize = 1 << 63;

impl Leaves {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // The number comes again.
            self.places.fill(Leaf::NONE);
        }
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
        let mut place = Place::of(pc, sp);
        loop {
            let leaf = self.places.get(place.index)?;
            if !leaf.is_at(pc, sp, rbp, self.generation) {
                return None;
            }
            let Some(word) = leaf.first_difference() else {
                let index = last.place_of(&leaf.outer(), sp)?;
                return Some(leaf.found_at(index));
            };
            place = place.after(word)?;
        }
    }

    /// As [`Leaves::get`], from some place on, in a process that runs Python, where nodes are other
    /// ones although no word of the stack is.
    #[inline(always)]
    #[must_use]
    pub(super) fn candidate(
        &self,
        mut place: Place,
        (pc, sp, rbp): (usize, usize, usize),
        last: &LastStack,
    ) -> Option<Candidate> {
        loop {
            let leaf = self.places.get(place.index)?;
            if !leaf.is_at(pc, sp, rbp, self.generation) {
                return None;
            }
            let Some(word) = leaf.first_difference() else {
                // The outermost step's first word is the outer frame's program counter.
                let pc = leaf.words.first()?.value();
                let index = last.place_with(&leaf.outer(), pc, sp)?;
                return Some(Candidate {
                    found: leaf.found_at(index),
                    outer_node: leaf.outer_node,
                    python: leaf.python(),
                    place,
                });
            };
            place = place.after(word)?;
        }
    }

    /// Keeps the frames of the last stack inside of the frame `outer_index`, when they are few and
    /// may be trusted. `rbp` is the frame pointer of the innermost one, `python` what they have of
    /// Python.
    #[inline(never)]
    pub(super) fn keep(
        &mut self,
        last: &LastStack,
        outer_index: usize,
        rbp: usize,
        python: InnerPython,
    ) {
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
        let place = self.place_for((inner.pc, inner.sp, rbp), outer.node, python);
        let Some(leaf) = self.places.get_mut(place) else {
            return;
        };
        *leaf = Leaf {
            pc: inner.pc,
            sp: inner.sp,
            rbp: inner.rbp,
            outer_rbp: outer.rbp,
            outer_distance: outer.distance,
            outer_node: outer.node,
            outer_words: outer.words,
            outer_index: outer.index,
            node: inner.node,
            generation: self.generation,
            count,
            word_count,
            needs_rbp: inner.needs_rbp(),
            python_parent: python.parent,
            python_node: python.node,
            python_place: python.place,
            words: kept,
        };
    }

    /// Where a search for the stack that is there now ends.
    fn place_for(
        &self,
        (pc, sp, rbp): (usize, usize, usize),
        outer_node: u32,
        python: InnerPython,
    ) -> usize {
        let mut place = Place::of(pc, sp);
        loop {
            let known = self.places.get(place.index);
            let known = known.filter(|leaf| leaf.is_at(pc, sp, rbp, self.generation));
            let word = known.and_then(|leaf| {
                leaf.first_difference()
                    .or_else(|| leaf.other_nodes(outer_node, python))
            });
            match word.and_then(|word| place.after(word)) {
                Some(next) => place = next,
                None => return place.index,
            }
        }
    }
}

impl Leaf {
    const NONE: Self = Self {
        pc: 0,
        sp: 0,
        rbp: 0,
        outer_rbp: 0,
        outer_distance: 0,
        outer_node: 0,
        outer_words: 0,
        outer_index: 0,
        node: 0,
        python_parent: 0,
        python_node: 0,
        python_place: 0,
        generation: 0,
        count: 0,
        word_count: 0,
        needs_rbp: false,
        words: [NearWord::NONE; WORDS_MAX],
    };

    #[inline(always)]
    fn outer(&self) -> OuterFrame {
        OuterFrame {
            rbp: self.outer_rbp,
            distance: self.outer_distance,
            node: self.outer_node,
            words: self.outer_words,
            index: self.outer_index,
        }
    }

    #[inline(always)]
    fn python(&self) -> InnerPython {
        InnerPython {
            parent: self.python_parent,
            node: self.python_node,
            place: self.python_place,
        }
    }

    /// What leads on where the nodes are these; `None`: they are its own.
    fn other_nodes(&self, outer: u32, python: InnerPython) -> Option<usize> {
        if self.outer_node != outer {
            Some(OUTER_NODE | outer as usize)
        } else if self.python() != python {
            Some(PYTHON_NODE | python.node as usize)
        } else {
            None
        }
    }

    #[inline(always)]
    fn is_at(&self, pc: usize, sp: usize, rbp: usize, generation: u16) -> bool {
        self.sp == sp
            && self.pc == pc
            && (self.rbp == rbp || !self.needs_rbp)
            && self.generation == generation
    }

    #[inline(always)]
    fn found_at(&self, index: usize) -> Found {
        Found {
            index,
            count: usize::from(self.count),
            node: self.node,
        }
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
