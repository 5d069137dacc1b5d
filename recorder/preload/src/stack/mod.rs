//! Captures native stacks: the state of an interposed call's caller goes in, the number of a node
//! in this stream's stack tree comes out, after the records of new nodes and modules went to the
//! stream's sink.
//!
//! `last` tells which part of the stack is that of the last event; `walk` finds the other frames
//! (rows of unwind rules: `cfi`, `rules`, `row`, remembered by `rows`; rare frames: `interpret`,
//! `expression`; what may be read: `bounds`; what code looks like: `code`), `depth` tells where a
//! very deep stack is cut, `intern` remembers nodes, `modules` numbers objects.
//! Everything here is async-signal-safe: no lock, no allocation but pages from the kernel, no
//! panic; and it reads the target's memory only where that cannot fault.

pub mod bounds;
pub mod cfi;
mod checked;
mod code;
mod depth;
pub mod expression;
mod growing;
pub mod intern;
mod interpret;
mod last;
mod leaves;
#[cfg(target_env = "gnu")]
mod mixed;
#[cfg(target_env = "gnu")]
pub mod python;
pub mod reader;
pub mod row;
mod rows;
pub mod rules;
mod trials;
pub mod walk;
mod words;

use core::mem::offset_of;
use core::ptr::NonNull;

use crate::arena;
use crate::modules::{self, Changes, ModuleRecord, PathBuffer, Place, Recent};
use depth::{Depth, FRAMES_USUAL};
use intern::InternTable;
use last::LastStack;
use leaves::{InnerPython, Leaves};
use trials::Trials;
use walk::{EXACT, End, Found, Frame, Position, Stop, Walker};

/// The caller's registers at an interposed call, as the naked stub found them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerContext {
    /// The return address.
    pub pc: usize,
    /// The stack pointer once the return address is popped.
    pub sp: usize,
    /// The frame pointer register.
    pub rbp: usize,
}

/// Why a stack is not complete. The numbers are those of the tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CutReason {
    /// The depth limit was reached.
    Depth = 1,
    /// No rule was found to go on, or memory did not look like a stack.
    Unknown = 2,
}

/// Takes the records of one stream. Each `node` and each `cut` that is accepted takes the stream's
/// next id, from 1 on. False: the record cannot be stored, and the capture is given up.
pub trait StackSink {
    /// A module that has not been announced. When this returns true the record must already be
    /// where a reader finds it even if the process dies: other threads use the number at once.
    fn module(&mut self, record: &ModuleRecord<'_>) -> bool;
    /// A frame under the node `parent` (0: outermost). `offset` is the address in the module's
    /// file, or the plain address in module 0; `exact` is false for return addresses.
    fn node(&mut self, parent: u32, module: u32, offset: u64, exact: bool) -> bool;
    /// A root that stands for the frames that were not found.
    fn cut(&mut self, parent: u32, reason: CutReason) -> bool;
    /// A frame of Python: the number of its code object, and of the unit of two bytes in it that
    /// it is at, `u32::MAX` before the first.
    fn python(&mut self, _parent: u32, _code: u32, _unit: u32) -> bool {
        false
    }
    /// The content of a code object, as the session's blob has it. When this returns true the
    /// record must already be where a reader finds it, as with modules.
    fn code(&mut self, _number: u32, _content: &[u8]) -> bool {
        false
    }
}

/// Options of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StackConfig {
    /// Innermost frames to keep; 0: as many as there are, up to a limit far above what is usual.
    pub max_depth: u32,
    /// Stacks that have frames of Python have no others.
    pub only_python: bool,
}

/// Marks the key of a root that stands for a cut; no program counter has this bit.
const CUT: usize = 1 << 62;

/// Captures the stacks of one stream. It lives in zeroed private memory (`Home`): it is large,
/// but only what is used becomes resident.
#[derive(Debug)]
pub struct StackCapture {
    walker: Walker,
    /// The frames of this event that were walked.
    found: Found,
    /// The stack of the last event.
    last: LastStack,
    /// Innermost parts of earlier ones.
    leaves: Leaves,
    trials: Trials,
    /// Frames to keep.
    depth: Depth,
    intern: InternTable,
    /// Id of the last node.
    last_node: u32,
    /// Nodes outside of known modules are remembered.
    has_unknown_code: bool,
    /// What was last seen of the loaded objects; never the present state while that is unsettled.
    changes: Changes,
    is_unsettled: bool,
    unloads: u64,
    /// Nothing in it while that is unsettled.
    recent: Recent,
    path: PathBuffer,
    /// What Python takes, once the thread has met it.
    #[cfg(target_env = "gnu")]
    python: Option<mixed::OwnedPython>,
    /// Stacks that have frames of Python have no others.
    #[cfg(target_env = "gnu")]
    only_python: bool,
}

/// A capture and the memory that its arrays begin in: apart, since they lead there.
#[derive(Debug)]
#[repr(C)]
struct Home {
    capture: StackCapture,
    found: [Frame; FRAMES_USUAL],
    last: last::Memory,
}

impl StackCapture {
    /// A capture in private memory of its own, for the calling thread; `None` when the kernel
    /// refuses the memory.
    #[must_use]
    pub fn create(config: StackConfig) -> Option<NonNull<Self>> {
        const { assert!(align_of::<Home>() <= crate::syscall::PAGE_BYTES) };
        let memory: NonNull<Home> = arena::map(size_of::<Home>())?.cast();
        // SAFETY: the memory is new, zeroed, ours and large enough.
        unsafe { Self::lay_out(memory) };
        let mut capture: NonNull<Self> = memory.cast();
        // SAFETY: all other fields are numbers, enumerations that have a zero, and arrays of
        // these, so zeroed memory is a valid value.
        unsafe { capture.as_mut() }.init(config);
        Some(capture)
    }

    /// Fills in the fields for which zeros are no value.
    ///
    /// # Safety
    /// `memory` is zeroed and nobody else's.
    unsafe fn lay_out(memory: NonNull<Home>) {
        // SAFETY: a field of the memory.
        let found = unsafe { memory.byte_add(offset_of!(Home, found)) };
        // SAFETY: room for so many frames, and for it alone.
        let found = unsafe { Found::new(found.cast()) };
        // SAFETY: a field of the memory.
        let last = unsafe { memory.byte_add(offset_of!(Home, last)) };
        // SAFETY: zeroed, and for it alone.
        let last = unsafe { LastStack::new(last.cast()) };
        let capture: NonNull<Self> = memory.cast();
        // SAFETY: a field of the memory.
        let place = unsafe { capture.byte_add(offset_of!(Self, found)) };
        // SAFETY: it is the field of this type.
        unsafe { place.cast().write(found) };
        // SAFETY: a field of the memory.
        let place = unsafe { capture.byte_add(offset_of!(Self, last)) };
        // SAFETY: it is the field of this type.
        unsafe { place.cast().write(last) };
        // SAFETY: a field of the memory.
        let place = unsafe { capture.byte_add(offset_of!(Self, intern)) };
        // SAFETY: it is the field of this type.
        unsafe { place.cast().write(InternTable::default()) };
    }

    /// Gives back what [`StackCapture::create`] made.
    ///
    /// # Safety
    /// `capture` came from `create` and is not used any more.
    pub unsafe fn destroy(capture: NonNull<Self>) {
        #[cfg(target_env = "gnu")]
        // SAFETY: valid until here, by the caller's contract.
        unsafe {
            (*capture.as_ptr()).drop_python()
        };
        // SAFETY: as before.
        unsafe { capture.drop_in_place() };
        // SAFETY: the memory came from `arena::map` with this size.
        unsafe { arena::unmap(capture.cast(), size_of::<Home>()) };
    }

    /// Gives back what was taken for very deep stacks. To be [started](StackCapture::init) before
    /// it is used again.
    pub fn shrink(&mut self) {
        if self.last.is_grown() {
            self.intern = InternTable::default();
        }
        self.found.shrink();
        self.last.shrink();
        #[cfg(target_env = "gnu")]
        self.shrink_python();
    }

    /// Starts a stream of the calling thread: nothing is remembered, ids begin at 1.
    pub fn init(&mut self, config: StackConfig) {
        self.walker.start();
        self.intern.clear();
        self.last.start();
        self.leaves.forget();
        self.trials = Trials::default();
        self.last_node = 0;
        self.has_unknown_code = false;
        // The first event looks.
        self.changes = Changes::default();
        self.is_unsettled = false;
        self.unloads = modules::unloads();
        self.recent.forget();
        self.keep_depth(Depth::asked(config.max_depth));
        #[cfg(target_env = "gnu")]
        self.start_python(config);
    }

    fn keep_depth(&mut self, depth: Depth) {
        self.depth = depth;
        self.found.limit(depth.anew);
    }

    /// Captures the stack of `caller` and returns its node; 0 when there is none or `sink` refused
    /// a record.
    #[inline]
    pub fn capture(&mut self, caller: CallerContext, sink: &mut impl StackSink) -> u32 {
        let changes = modules::changes();
        if changes != self.changes {
            self.catch_up(changes);
        }
        let mut kept = self.last.search(caller.sp);
        let frame = self.last.frame(kept);
        if frame.sp == caller.sp && frame.is_at(caller.pc, caller.rbp) {
            kept = match self.last.verify(kept) {
                Ok(()) if self.last.joins(0, kept) => {
                    self.trials.failed = 0;
                    return self.last.settle(kept);
                }
                Ok(()) => 0,
                Err(outer) => {
                    self.trials.vain = kept - outer;
                    outer
                }
            };
        }
        self.capture_leaf(caller, kept, sink)
    }

    /// Captures a stack of which the innermost frames are not those of the last one; they may be
    /// those of an earlier one. Apart, so that the way above has no more registers to save.
    #[inline(never)]
    fn capture_leaf(
        &mut self,
        caller: CallerContext,
        mut kept: usize,
        sink: &mut impl StackSink,
    ) -> u32 {
        let is_looked_for = self.leaves.is_worthwhile();
        if is_looked_for {
            let CallerContext { pc, sp, rbp } = caller;
            let leaf = self.leaves.get(pc, sp, rbp, &self.last);
            self.leaves.note(leaf.is_some());
            if let Some(leaf) = leaf {
                match self.last.verify(leaf.index) {
                    Ok(()) if self.last.joins(leaf.count, leaf.index) => {
                        self.trials.failed = 0;
                        self.last.settle(leaf.index);
                        return leaf.node;
                    }
                    Ok(()) => {}
                    Err(outer) => {
                        self.trials.vain += leaf.index - outer;
                        kept = outer;
                    }
                }
            }
        }
        self.capture_changed(caller, kept, is_looked_for, sink)
    }

    /// Walks until the stack is that of the last event, from the frame `kept` outwards at best, and
    /// finds or makes the nodes of what was walked.
    #[inline(never)]
    fn capture_changed(
        &mut self,
        caller: CallerContext,
        kept: usize,
        is_leaf_kept: bool,
        sink: &mut impl StackSink,
    ) -> u32 {
        let last_node = self.last_node;
        let (mut index, joined) = self.walk_changed(caller, kept);
        let mut parent = self.last.frame(index - 1).node;
        if index == 1 && self.last.root != 0 {
            let root = self.last.root;
            let known = self.intern.get(0, root);
            parent = known.unwrap_or_else(|| self.make_node(0, root, sink));
            if parent == 0 {
                self.last.break_off(index);
                return 0;
            }
        }
        (index, parent) = self.last.name_known(index, parent, &self.intern);
        // The first one that is not known has no children yet: all inside of it is new, too.
        while let Some(pc) = self.last.nameless(index) {
            parent = self.make_node(parent, pc, sink);
            if parent == 0 {
                self.last.break_off(index);
                return 0;
            }
            self.last.name(index, parent);
            index += 1;
        }
        // What was met for the first time may be met only once.
        if is_leaf_kept && joined != 0 && last_node == self.last_node {
            let python = InnerPython::default();
            self.leaves.keep(&self.last, joined, caller.rbp, python);
        }
        parent
    }

    /// Walks until the stack is that of the last event, from the frame `kept` outwards at best. The
    /// index of the first frame that has no node yet, and of the innermost one of the last event.
    #[inline(always)]
    fn walk_changed(&mut self, caller: CallerContext, kept: usize) -> (usize, usize) {
        let epoch = self.walker.bounds.epoch();
        let (mut at, mut stop) = self.walker.walk(caller, &mut self.found, &self.last, kept);
        let mut joined = stop.index();
        if at.count + joined > self.last.room() || self.has_run_out(&at, stop) {
            (at, stop) = self.walk_with_more_room(caller, at, stop);
            joined = stop.index();
        }
        let found = self.found.first(at.count);
        let is_kept = self.trials.note(at.vain, joined >= at.count);
        let outer = match stop {
            Stop::Joined(index) => self.last.rebuild_from(index, is_kept),
            Stop::End(end) => {
                let root = match end {
                    End::Cut(reason) => CUT | reason as usize,
                    End::Complete => 0,
                };
                let is_kept = is_kept && epoch == self.walker.bounds.epoch();
                self.last.rebuild(&at, end, root, self.depth, is_kept)
            }
        };
        if epoch != self.walker.bounds.epoch() {
            self.leaves.forget();
        }
        (self.last.extend(&outer, found), joined)
    }

    /// True when a walk ended because there was no memory for more frames.
    fn has_run_out(&self, at: &Position, stop: Stop) -> bool {
        stop == Stop::End(End::Cut(CutReason::Depth)) && at.count < self.depth.anew
    }

    /// Makes room for a deep stack that was walked. Without memory fewer frames are kept from here
    /// on, and it is walked again.
    #[cold]
    #[inline(never)]
    fn walk_with_more_room(
        &mut self,
        caller: CallerContext,
        at: Position,
        stop: Stop,
    ) -> (Position, Stop) {
        if !self.has_run_out(&at, stop) && self.last.grow(at.count + stop.index()) {
            self.intern.allow(self.last.room());
            return (at, stop);
        }
        self.keep_depth(Depth::within(self.found.room().min(self.last.room())));
        self.forget_last();
        self.walker.walk(caller, &mut self.found, &self.last, 0)
    }

    /// Forgets the last stacks: the next one is walked to its end.
    pub fn forget_last(&mut self) {
        self.last.start();
        self.leaves.forget();
    }

    /// Makes a node and remembers it; 0 when the sink refuses.
    #[cold]
    #[inline(never)]
    fn make_node(&mut self, parent: u32, key: usize, sink: &mut impl StackSink) -> u32 {
        let Some(node) = self.last_node.checked_add(1) else {
            return 0;
        };
        #[cfg(target_env = "gnu")]
        if key & mixed::PYTHON != 0 && key & EXACT == 0 {
            let (code, unit) = mixed::parts(key);
            let is_stored = sink.python(parent, code, unit);
            return self.keep_node(parent, key, node, is_stored);
        }
        let is_stored = if key & CUT != 0 && key & EXACT == 0 {
            let reason = match key & !CUT {
                1 => CutReason::Depth,
                _ => CutReason::Unknown,
            };
            sink.cut(parent, reason)
        } else {
            self.make_frame(parent, key, sink)
        };
        self.keep_node(parent, key, node, is_stored)
    }

    fn keep_node(&mut self, parent: u32, key: usize, node: u32, is_stored: bool) -> u32 {
        if !is_stored {
            return 0;
        }
        self.last_node = node;
        self.intern.insert(parent, key, node);
        node
    }

    fn make_frame(&mut self, parent: u32, key: usize, sink: &mut impl StackSink) -> bool {
        let pc = key & !EXACT;
        let is_exact = key & EXACT != 0;
        // A return address may be the end of its object: the call is inside.
        let call = if is_exact { pc } else { pc.wrapping_sub(1) };
        let place = match self.recent.place(call) {
            Some(place) => place,
            None => match self.look_for_place(call, sink) {
                Some(place) => place,
                None => return false,
            },
        };
        self.has_unknown_code |= place.module == 0;
        let offset = place.offset.wrapping_add(pc - call) as u64;
        sink.node(parent, place.module, offset, is_exact)
    }

    #[inline(never)]
    fn look_for_place(&mut self, call: usize, sink: &mut impl StackSink) -> Option<Place> {
        let checked_at = (!self.is_unsettled).then_some(self.unloads);
        modules::place(
            call,
            checked_at,
            &mut self.recent,
            &mut self.path,
            |record| sink.module(record),
        )
    }

    /// Drops what no longer holds after objects came or went.
    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, changes: Changes) {
        let unloads = modules::unloads();
        self.is_unsettled = changes.is_unsettled();
        if unloads != self.unloads || self.is_unsettled {
            self.walker.forget();
            self.recent.forget();
            self.forget_nodes();
        } else if self.has_unknown_code {
            // What was unknown code may be a new object's.
            self.forget_nodes();
        }
        // No state is all zeros: so each event comes here until it is settled.
        self.changes = if self.is_unsettled {
            Changes::default()
        } else {
            changes
        };
        self.unloads = unloads;
    }

    /// Forgets all nodes, and the stack that is made of them.
    fn forget_nodes(&mut self) {
        self.intern.clear();
        self.last.start();
        self.leaves.forget();
        self.has_unknown_code = false;
    }
}
