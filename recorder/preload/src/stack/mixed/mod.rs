//! Stacks of programs that run Python: the native frames as ever, and in place of each native
//! frame that runs the interpreter's loop the Python frames that it runs.
//!
//! Which frame that is, is told by addresses and by no name: a segment of Python frames
//! ([`super::python`]) has something in the loop's own frame on the C stack. Native frames keep
//! the nodes that they were given as long as no Python frame outside of them changes; where one
//! does, the native stack is walked again from the frame that runs it.

mod leaf;
mod limited;
mod memory;

use super::depth::Depth;
use super::python::{UNPLACED, Update};
use super::{CallerContext, StackCapture, StackConfig, StackSink};
use crate::python as interpreter;
use crate::python::layout::{Family, Layout};
use crate::{arena, modules};
use core::ops::Range;
use memory::{Home, Python};

pub(super) use memory::OwnedPython;

/// Marks the key of a frame of Python; no address of user memory has this bit, and no cut.
pub(super) const PYTHON: usize = 1 << 61;
/// Bits of the number of an instruction.
const UNIT_BITS: u32 = 28;
const UNIT_MASK: usize = (1 << UNIT_BITS) - 1;

impl StackCapture {
    /// Starts a stream.
    pub(super) fn start_python(&mut self, config: StackConfig) {
        self.only_python = config.only_python;
        if let Some(OwnedPython(python)) = &mut self.python {
            // SAFETY: made by `Python::create`, and this capture's alone.
            let python = unsafe { python.as_mut() };
            python.stack.start();
            python.met.forget();
            python.stale = 1;
            python.limit = 0;
        }
    }

    /// Gives back what was taken for deep stacks.
    pub(super) fn shrink_python(&mut self) {
        if let Some(OwnedPython(python)) = &mut self.python {
            // SAFETY: as in `start_python`.
            let python = unsafe { python.as_mut() };
            python.stack.shrink();
        }
    }

    /// Gives everything back.
    pub(super) fn drop_python(&mut self) {
        self.shrink_python();
        if let Some(OwnedPython(python)) = self.python.take() {
            // SAFETY: mapped by `Python::create` with this length.
            unsafe { arena::unmap(python.cast(), size_of::<Home>()) };
        }
    }

    /// As [`StackCapture::capture`], in a process that runs Python. `state` is the calling thread's
    /// thread state, 0: it has none.
    #[inline(never)]
    pub fn capture_mixed(
        &mut self,
        caller: CallerContext,
        state: usize,
        sink: &mut impl StackSink,
    ) -> u32 {
        let changes = modules::changes();
        if changes != self.changes {
            self.catch_up(changes);
        }
        if self.python.is_none() {
            self.python = Python::create();
        }
        let python = self.python.as_ref().map(|OwnedPython(python)| *python);
        let (Some(layout), Some(mut python)) = (interpreter::frames(), python) else {
            return 0;
        };
        // SAFETY: made by `Python::create`, and this capture's alone: it does not reach it in
        // another way before this reference ends.
        let python = unsafe { python.as_mut() };
        let top = interpreter::current_frame(layout, state);
        // SAFETY: the current frame of the calling thread; it was seen to look as the table says.
        let update = unsafe { python.stack.update(layout, state, top) };
        if let Update::From(native) = update {
            python.stale = python.stale.min(native.max(1));
        }
        if self.depth.is_asked() {
            // Where the Python frames stand is seen in the whole native stack alone.
            python.limit = self.depth.most;
            self.keep_depth(Depth::asked(0));
        }
        if python.limit != 0 {
            return self.capture_limited(python, caller, layout, sink);
        }
        if self.only_python && !python.stack.is_empty() {
            return self.name_python(python, layout, sink);
        }
        self.capture_both(python, caller, layout, sink)
    }

    /// Captures a stack of native frames and of Python frames, which are up to date. Apart, so that
    /// Python frames alone have no more registers to save.
    #[inline(never)]
    fn capture_both(
        &mut self,
        python: &mut Python,
        caller: CallerContext,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        let mut kept = self.last.search(caller.sp);
        let frame = self.last.frame(kept);
        if frame.sp == caller.sp && frame.is_at(caller.pc, caller.rbp) {
            kept = match self.last.verify(kept) {
                Ok(()) if self.last.joins(0, kept) && python.can_stay(kept, caller.sp) => {
                    self.trials.failed = 0;
                    let node = self.last.settle(kept);
                    if kept < python.stale {
                        return node;
                    }
                    let first = core::mem::replace(&mut python.stale, kept + 1);
                    return self.name_mixed(python, first..kept + 1, caller.sp, layout, sink);
                }
                Ok(()) => 0,
                Err(outer) => {
                    self.trials.vain = kept - outer;
                    outer
                }
            };
        }
        self.capture_mixed_leaf(python, caller, kept, layout, sink)
    }

    /// Names these native frames, the last of which is the innermost, and the Python frames that
    /// stand in or between them. The node of the innermost; 0: a record was refused.
    #[inline(always)]
    fn name_mixed(
        &mut self,
        python: &mut Python,
        native: Range<usize>,
        inner_sp: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        let placed = self.name_placed(python, native, inner_sp, layout, sink);
        let Some((mut parent, mut segment)) = placed else {
            return 0;
        };
        // Nothing native is known of these.
        while python.stack.address_of(segment).is_some() {
            parent = match self.name_segment(python, segment, parent, UNPLACED, layout, sink) {
                Some(node) => node,
                None => return self.give_up(python, 1),
            };
            segment += 1;
        }
        parent
    }

    /// As [`StackCapture::name_mixed`], without the Python frames that stand further inside: also
    /// their first segment. `None`: a record was refused.
    #[inline(never)]
    fn name_placed(
        &mut self,
        python: &mut Python,
        native: Range<usize>,
        inner_sp: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> Option<(u32, usize)> {
        let first = native.start;
        let mut parent = self.last.frame(first - 1).node;
        if first == 1 && self.last.root != 0 {
            parent = match self.node_of(0, self.last.root, sink) {
                0 => {
                    self.give_up(python, 1);
                    return None;
                }
                root => root,
            };
        }
        let mut segment = python.stack.take_up(first);
        if layout.family == Family::Objects {
            self.find_addresses(python, native.clone(), segment);
        }
        let is_elsewhere = python.stack.innermost_address() < inner_sp;
        for index in native {
            let (pc, sp) = (self.last.frame(index).pc, self.last.frame(index).sp);
            let end = self.last.frame(index - 1).sp;
            while let Some(address) = python.stack.address_of(segment)
                && (is_elsewhere || address >= end)
            {
                parent = match self.name_segment(python, segment, parent, index - 1, layout, sink) {
                    Some(node) => node,
                    None => {
                        self.give_up(python, index);
                        return None;
                    }
                };
                segment += 1;
            }
            let address = python.stack.address_of(segment);
            let named = if address.is_some_and(|address| address >= sp) {
                segment += 1;
                self.name_segment(python, segment - 1, parent, index, layout, sink)
            } else {
                Some(self.node_of(parent, pc, sink)).filter(|&node| node != 0)
            };
            parent = match named {
                Some(node) => node,
                None => {
                    self.give_up(python, index);
                    return None;
                }
            };
            self.last.name(index, parent);
        }
        Some((parent, segment))
    }

    /// The rings took no more in the middle of a stack.
    #[cold]
    fn give_up(&mut self, python: &mut Python, index: usize) -> u32 {
        self.last.break_off(index);
        python.stack.start();
        python.stale = 1;
        0
    }

    /// Names the Python frames that have no nodes yet, with nothing native around them. The node of
    /// the innermost frame; 0: a record was refused.
    #[inline(always)]
    fn name_python(
        &mut self,
        python: &mut Python,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        let (frames, outer) = python.stack.unnamed();
        if frames.is_empty() {
            return outer;
        }
        let named = self.name_frames(python, frames, outer, layout, sink);
        if named.is_none() {
            python.stack.start();
        }
        named.unwrap_or(0)
    }

    /// Names the frames of a segment that lies under the node `parent`, and notes the native frame
    /// that it stands in. The node of the innermost one; `None`: a record was refused.
    fn name_segment(
        &mut self,
        python: &mut Python,
        segment: usize,
        mut parent: u32,
        native: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> Option<u32> {
        let frames = python.stack.place(segment, parent, native);
        if frames.start > 0 && !python.stack.is_first(segment, frames.start) {
            parent = python.stack.frame(frames.start - 1)?.node;
        }
        self.name_frames(python, frames, parent, layout, sink)
    }

    /// Names frames that lie below each other, the outermost under the node `parent`. The node of
    /// the innermost one; `None`: a record was refused.
    #[inline(never)]
    fn name_frames(
        &mut self,
        python: &mut Python,
        frames: Range<usize>,
        mut parent: u32,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> Option<u32> {
        for index in frames.clone() {
            let frame = python.stack.frame(index)?;
            // SAFETY: a frame of the calling thread that is alive.
            let unit = unsafe { frame.unit(layout, interpreter::code_type()) };
            if let Some(unit) = unit {
                let number = python.number_of(frame.code, layout, sink) as usize;
                let key = PYTHON | number << UNIT_BITS | unit as usize & UNIT_MASK;
                parent = self.node_of(parent, key, sink);
                if parent == 0 {
                    return None;
                }
            }
            python.stack.name(index, parent);
        }
        python.stack.note_named(frames.end);
        Some(parent)
    }

    /// The node for `key` under `parent`, made if it must be; 0: refused.
    #[inline(always)]
    fn node_of(&mut self, parent: u32, key: usize, sink: &mut impl StackSink) -> u32 {
        match self.intern.get(parent, key) {
            Some(node) => node,
            None => self.make_node(parent, key, sink),
        }
    }

    /// For interpreters that do not tell where their frames run: each frame of Python is run by
    /// one native frame of the interpreter's loop, in the same order. Counted from the outside
    /// where the native stack is whole, since the loop may be about to run one more.
    #[cold]
    #[inline(never)]
    fn find_addresses(&mut self, python: &mut Python, native: Range<usize>, segment: usize) {
        let loops = |index: &usize| interpreter::is_eval(self.last.frame(*index).pc);
        let found = native.clone().filter(loops).count();
        let wanted = python.stack.segments().len().saturating_sub(segment);
        let is_whole = self.last.root == 0 || native.start > 1;
        let skipped = if is_whole {
            0
        } else {
            found.saturating_sub(wanted)
        };
        let mut next = segment + wanted.saturating_sub(found);
        let mut loops_left = skipped;
        for index in native {
            if !interpreter::is_eval(self.last.frame(index).pc) {
                continue;
            }
            if loops_left > 0 {
                loops_left -= 1;
                continue;
            }
            let sp = self.last.frame(index).sp;
            python.stack.set_address(next, sp);
            next += 1;
        }
    }
}

/// The parts of a key of a frame of Python: the number of its code object, and the unit.
#[must_use]
pub(super) fn parts(key: usize) -> (u32, u32) {
    let unit = key & UNIT_MASK;
    let unit = if unit == UNIT_MASK {
        u32::MAX
    } else {
        unit as u32
    };
    (((key & !PYTHON) >> UNIT_BITS) as u32, unit)
}
