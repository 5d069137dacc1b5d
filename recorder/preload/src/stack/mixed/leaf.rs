//! Innermost parts of earlier mixed stacks, found again: as `leaves` does it, where nodes tell more
//! than the stack's words do.
//!
//! Nodes of native frames change with the Python frames outside of them, and the words do not. So a
//! part is one only with the nodes that it was kept with: that of the frame outside of it, and that
//! of the innermost Python frame in it. Of Python a part has no more than one segment, the
//! innermost; what lies outside of the part is named before it is looked at.

use super::{Python, UNPLACED};
use crate::python::layout::{Family, Layout};
use crate::stack::leaves::{Candidate, InnerPython, Place};
use crate::stack::{CallerContext, StackCapture, StackSink};

/// How a search for a part ended.
enum Search {
    /// The innermost frame's node.
    Hit(u32),
    /// There is none; the kept frame to look out for.
    Vain(usize),
}

impl StackCapture {
    /// Captures a stack of which the innermost frames are not those of the last one; they may be
    /// those of an earlier one. `kept`: the kept frame to look out for otherwise.
    #[inline(never)]
    pub(super) fn capture_mixed_leaf(
        &mut self,
        python: &mut Python,
        caller: CallerContext,
        mut kept: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        let is_looked_for = layout.family != Family::Objects
            && python.stack.innermost_address() >= caller.sp
            && self.leaves.is_worthwhile();
        if is_looked_for {
            let search = self.find_mixed(python, caller, kept, layout, sink);
            self.leaves.note(matches!(search, Search::Hit(_)));
            match search {
                Search::Hit(node) => return node,
                Search::Vain(outer) => kept = outer,
            }
        }
        let last_node = self.last_node;
        let (_index, joined) = self.walk_changed(caller, kept);
        let first = python.stale.min(joined + 1);
        python.stale = usize::MAX;
        let frames = first..self.last.count() + 1;
        let node = self.name_mixed(python, frames, caller.sp, layout, sink);
        // What was met for the first time may be met only once.
        if is_looked_for && joined != 0 && node != 0 && last_node == self.last_node {
            self.keep_mixed(python, joined, caller);
        }
        node
    }

    /// Keeps the frames inside of the frame `outer`, with at most one segment of Python.
    fn keep_mixed(&mut self, python: &Python, outer: usize, caller: CallerContext) {
        let inner = if python.stack.stands_outside(outer, false) {
            Some(InnerPython::default())
        } else if python.stack.stands_outside(outer, true) {
            let innermost = python.stack.innermost();
            let placed = innermost.filter(|(segment, _)| segment.native != UNPLACED);
            placed.and_then(|(segment, node)| {
                InnerPython::of(segment.parent, node, segment.address, caller.sp)
            })
        } else {
            None
        };
        if let Some(inner) = inner {
            self.leaves.keep(&self.last, outer, caller.rbp, inner);
        }
    }

    /// Looks for the part that a call is the inside of.
    fn find_mixed(
        &mut self,
        python: &mut Python,
        caller: CallerContext,
        kept: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> Search {
        let state = (caller.pc, caller.sp, caller.rbp);
        let place = Place::of(caller.pc, caller.sp);
        let first = self.leaves.candidate(place, state, &self.last);
        let Some(mut candidate) = first else {
            return Search::Vain(kept);
        };
        let index = candidate.found.index;
        if let Err(outer) = self.last.verify(index) {
            self.trials.vain += index - outer;
            return Search::Vain(outer);
        }
        if python.stale <= index {
            let stale = core::mem::replace(&mut python.stale, index + 1)..index + 1;
            let named = self.name_placed(python, stale, caller.sp, layout, sink);
            if named.is_none() {
                return Search::Hit(0);
            }
        }
        let has_inner = python.stack.innermost_address() < self.last.frame(index).sp;
        if !python.stack.stands_outside(index, has_inner) {
            return Search::Vain(kept);
        }
        loop {
            let count = candidate.found.count;
            if !self.last.joins(count, index) || (candidate.python.node != 0) != has_inner {
                return Search::Vain(kept);
            }
            let outer_node = self.last.frame(index).node;
            let next = if candidate.outer_node != outer_node {
                candidate.after_outer(outer_node)
            } else {
                // With that node outside, everything is as it was up to the segment.
                let node = match has_inner {
                    true => self.name_inner(python, &candidate, caller, layout, sink),
                    false => Some(0),
                };
                let Some(node) = node else {
                    self.give_up(python, 1);
                    return Search::Hit(0);
                };
                if node == candidate.python.node {
                    self.trials.failed = 0;
                    self.last.settle(index);
                    return Search::Hit(candidate.found.node);
                }
                candidate.after_python(node)
            };
            let next = next.and_then(|place| self.leaves.candidate(place, state, &self.last));
            match next.filter(|next| next.found.index == index) {
                Some(next) => candidate = next,
                None => return Search::Vain(kept),
            }
        }
    }

    /// Names the innermost segment, which stands in the part: the node of its innermost frame, one
    /// that is no node where it runs elsewhere. `None`: a record was refused.
    fn name_inner(
        &mut self,
        python: &mut Python,
        candidate: &Candidate,
        caller: CallerContext,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> Option<u32> {
        let Some(segment) = python.stack.segments().len().checked_sub(1) else {
            return Some(0);
        };
        let InnerPython { parent, place, .. } = candidate.python;
        let address = caller.sp + usize::from(place) * size_of::<usize>();
        if python.stack.address_of(segment) != Some(address) {
            return Some(0);
        }
        // In one of the part's frames, which the last stack has not: all inside of the frame that
        // the part lies in is to be named again.
        let native = candidate.found.index + 1;
        python.stale = python.stale.min(native);
        self.name_segment(python, segment, parent, native, layout, sink)
    }
}
