//! Mixed stacks of a depth that the user asked for.

use super::{PYTHON, Python, UNIT_BITS, UNIT_MASK};
use crate::python as interpreter;
use crate::python::layout::{Family, Layout};
use crate::stack::last::LastStack;
use crate::stack::python::PythonStack;
use crate::stack::{CUT, CallerContext, CutReason, StackCapture, StackSink};

impl StackCapture {
    /// A stack of which only so many innermost frames are wanted: which those are depends on all of
    /// them, so that nothing is kept from event to event.
    #[cold]
    #[inline(never)]
    pub(super) fn capture_limited(
        &mut self,
        python: &mut Python,
        caller: CallerContext,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        self.last.start();
        if !self.only_python || python.stack.is_empty() {
            let _all = self.walk_changed(caller, 0);
        }
        let _unplaced = python.stack.take_up(0);
        if layout.family == Family::Objects {
            let native = 1..self.last.count() + 1;
            self.find_addresses(python, native, 0);
        }
        let begin = Mixed::begin(&python.stack, caller.sp);
        let mut frames = begin;
        let mut count = 0usize;
        while frames.next(&self.last, &python.stack, layout).is_some() {
            count += 1;
        }
        let mut frames = begin;
        let skipped = count.saturating_sub(python.limit);
        let mut parent = 0;
        if skipped > 0 || self.last.root != 0 {
            let root = match skipped {
                0 => self.last.root,
                _ => CUT | CutReason::Depth as usize,
            };
            parent = self.node_of(0, root, sink);
        }
        for _ in 0..skipped {
            let _outer = frames.next(&self.last, &python.stack, layout);
        }
        while let Some(frame) = frames.next(&self.last, &python.stack, layout) {
            let key = match frame {
                MixedFrame::Native(pc) => pc,
                MixedFrame::Python(code, unit) => {
                    let number = python.number_of(code, layout, sink) as usize;
                    PYTHON | number << UNIT_BITS | unit as usize & UNIT_MASK
                }
            };
            parent = self.node_of(parent, key, sink);
            if parent == 0 {
                break;
            }
        }
        self.last.start();
        python.stack.start();
        parent
    }
}

/// A frame of a mixed stack.
enum MixedFrame {
    /// Its program counter.
    Native(usize),
    /// Its code object and unit.
    Python(usize, u32),
}

/// Goes through a mixed stack, outermost frame first.
#[derive(Debug, Clone, Copy)]
struct Mixed {
    /// Native frames so far.
    native: usize,
    /// Python frames so far.
    python: usize,
    /// Segments so far.
    segment: usize,
    /// No segment has a native frame.
    is_elsewhere: bool,
}

impl Mixed {
    fn begin(python: &PythonStack, inner_sp: usize) -> Self {
        Self {
            native: 0,
            python: 0,
            segment: 0,
            is_elsewhere: python.innermost_address() < inner_sp,
        }
    }

    fn next(
        &mut self,
        last: &LastStack,
        python: &PythonStack,
        layout: &Layout,
    ) -> Option<MixedFrame> {
        loop {
            if self.python < python.first_of(self.segment) {
                let frame = python.frame(self.python)?;
                self.python += 1;
                // SAFETY: a frame of the calling thread that is alive.
                let unit = unsafe { frame.unit(layout, interpreter::code_type()) };
                if let Some(unit) = unit {
                    return Some(MixedFrame::Python(frame.code, unit));
                }
                continue;
            }
            let address = python.address_of(self.segment);
            if self.native == last.count() {
                address?;
                self.segment += 1;
                continue;
            }
            let next = self.native + 1;
            if address.is_some_and(|at| self.is_elsewhere || at >= last.frame(next - 1).sp) {
                self.segment += 1;
                continue;
            }
            self.native = next;
            let frame = last.frame(next);
            if address.is_some_and(|address| address >= frame.sp) {
                self.segment += 1;
                continue;
            }
            return Some(MixedFrame::Native(frame.pc));
        }
    }
}
