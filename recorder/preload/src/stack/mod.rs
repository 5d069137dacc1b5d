//! Captures native stacks: the state of an interposed call's caller goes in, the number of a node
//! in this stream's stack tree comes out, after the records of new nodes and modules went to the
//! stream's sink.
//!
//! `walk` finds the frames (rows of unwind rules: `cfi`, `rules`, `row`; rare frames: `interpret`,
//! `expression`; what may be read: `bounds`), `intern` remembers nodes, `modules` numbers objects.
//! Everything here is async-signal-safe: no lock, no allocation but pages from the kernel, no
//! panic; and it reads the target's memory only where that cannot fault.

pub mod bounds;
pub mod cfi;
pub mod expression;
pub mod intern;
mod interpret;
pub mod reader;
pub mod row;
pub mod rules;
pub mod walk;

use core::ptr::NonNull;

use crate::arena;
use crate::modules::{self, Changes, ModuleRecord, PathBuffer};
use intern::InternTable;
use walk::{EXACT, End, FRAMES_MAX, Frame, Walker};

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
}

/// Options of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StackConfig {
    /// Innermost frames to keep; 0: as many as there are, up to a limit of some thousand.
    pub max_depth: u32,
}

/// Marks the key of a root that stands for a cut; no program counter has this bit.
const CUT: usize = 1 << 62;

/// Captures the stacks of one stream. It lives in zeroed private memory: it is large, but only
/// what is used becomes resident.
#[derive(Debug)]
pub struct StackCapture {
    walker: Walker,
    /// The frames of this event and of the last one, innermost first, in turn.
    frames: [[Frame; FRAMES_MAX]; 2],
    /// Which of them is the last event's.
    last: usize,
    /// Its length.
    last_count: usize,
    /// The key of its root: 0 or a cut.
    last_root: usize,
    /// Nodes of the last event's frames, **outermost** first.
    nodes: [u32; FRAMES_MAX],
    /// How many of them are valid.
    nodes_count: usize,
    /// Frames to look at.
    depth_max: usize,
    intern: InternTable,
    /// Id of the last node.
    last_node: u32,
    /// Nodes outside of known modules are remembered.
    has_unknown_code: bool,
    /// What was last seen of the loaded objects; never the present state while that is unsettled.
    changes: Changes,
    is_unsettled: bool,
    unloads: u64,
    path: PathBuffer,
}

impl StackCapture {
    /// A capture in private memory of its own, for the calling thread; `None` when the kernel
    /// refuses the memory.
    #[must_use]
    pub fn create(config: StackConfig) -> Option<NonNull<Self>> {
        const { assert!(align_of::<StackCapture>() <= crate::syscall::PAGE_BYTES) };
        let memory = arena::map(size_of::<Self>())?;
        // SAFETY: the memory is new, zeroed, ours and large enough.
        Some(unsafe { Self::create_in(memory.cast(), config) })
    }

    /// Makes a capture for the calling thread in given memory.
    ///
    /// # Safety
    /// `memory` must be zeroed, suitably aligned, of this type's size and owned by the caller.
    pub unsafe fn create_in(memory: NonNull<Self>, config: StackConfig) -> NonNull<Self> {
        // SAFETY: the field lies in the caller's memory.
        let intern = unsafe { memory.byte_add(core::mem::offset_of!(Self, intern)) };
        // SAFETY: as before; it is the one field that is not mere numbers.
        unsafe { intern.cast().write(InternTable::default()) };
        let mut capture = memory;
        // SAFETY: all other fields are numbers, enumerations that have a zero, and arrays of
        // these, so zeroed memory is a valid value.
        unsafe { capture.as_mut() }.init(config);
        memory
    }

    /// Gives back what [`StackCapture::create`] made.
    ///
    /// # Safety
    /// `capture` came from `create` and is not used any more.
    pub unsafe fn destroy(capture: NonNull<Self>) {
        // SAFETY: valid until here, by the caller's contract.
        unsafe { capture.drop_in_place() };
        // SAFETY: the memory came from `arena::map` with this size.
        unsafe { arena::unmap(capture.cast(), size_of::<Self>()) };
    }

    /// Starts a stream of the calling thread: nothing is remembered, ids begin at 1.
    pub fn init(&mut self, config: StackConfig) {
        self.walker.start();
        self.intern.clear();
        self.last_count = 0;
        self.last_root = 0;
        self.nodes_count = 0;
        self.last_node = 0;
        self.has_unknown_code = false;
        // The first event looks.
        self.changes = Changes::default();
        self.is_unsettled = false;
        self.unloads = modules::unloads();
        self.depth_max = match config.max_depth {
            0 => FRAMES_MAX,
            depth => FRAMES_MAX.min(depth as usize),
        };
    }

    /// Captures the stack of `caller` and returns its node; 0 when there is none or `sink` refused
    /// a record.
    #[inline]
    pub fn capture(&mut self, caller: CallerContext, sink: &mut impl StackSink) -> u32 {
        let changes = modules::changes();
        if changes != self.changes {
            self.catch_up(changes);
        }
        let now = self.last ^ 1;
        let [even, odd] = &mut self.frames;
        let (frames, last) = if now == 0 { (even, odd) } else { (odd, even) };
        let frames = frames.get_mut(..self.depth_max).unwrap_or_default();
        let (count, end) = self.walker.walk(caller, frames);
        let found = frames.get(..count).unwrap_or_default();
        let (root, found) = match end {
            End::Complete => (0, found),
            End::Cut(reason) => (CUT | reason as usize, align_cut(found, reason)),
        };
        let common = if root == self.last_root {
            let last = last.get(..self.last_count).unwrap_or_default();
            common_count(found, last).min(self.nodes_count)
        } else {
            0
        };
        let count = found.len();
        self.last = now;
        self.last_count = count;
        self.last_root = root;
        self.nodes_count = common;
        if common < count {
            return self.name_frames(now, root, sink);
        }
        match common.checked_sub(1) {
            Some(innermost) => self.nodes.get(innermost).copied().unwrap_or(0),
            None => 0,
        }
    }

    /// Finds or makes the nodes of the frames that differ from the last event's.
    #[inline(never)]
    fn name_frames(&mut self, now: usize, root: usize, sink: &mut impl StackSink) -> u32 {
        let count = self.last_count;
        let mut parent = match self.nodes_count.checked_sub(1) {
            Some(innermost) => self.nodes.get(innermost).copied().unwrap_or(0),
            None if root == 0 => 0,
            None => match self.node(0, root, sink) {
                0 => return 0,
                node => node,
            },
        };
        for place in self.nodes_count..count {
            let frames = self.frames.get(now);
            let Some(frame) = frames.and_then(|frames| frames.get(count - 1 - place)) else {
                return 0;
            };
            let key = frame.pc;
            parent = match self.intern.get(parent, key) {
                Some(node) => node,
                None => match self.make_node(parent, key, sink) {
                    0 => return 0,
                    node => node,
                },
            };
            if let Some(slot) = self.nodes.get_mut(place) {
                *slot = parent;
            }
            self.nodes_count = place + 1;
        }
        parent
    }

    fn node(&mut self, parent: u32, key: usize, sink: &mut impl StackSink) -> u32 {
        match self.intern.get(parent, key) {
            Some(node) => node,
            None => self.make_node(parent, key, sink),
        }
    }

    /// Makes a node and remembers it; 0 when the sink refuses.
    #[cold]
    #[inline(never)]
    fn make_node(&mut self, parent: u32, key: usize, sink: &mut impl StackSink) -> u32 {
        let Some(node) = self.last_node.checked_add(1) else {
            return 0;
        };
        let is_stored = if key & CUT != 0 && key & EXACT == 0 {
            let reason = match key & !CUT {
                1 => CutReason::Depth,
                _ => CutReason::Unknown,
            };
            sink.cut(parent, reason)
        } else {
            self.make_frame(parent, key, sink)
        };
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
        let checked_at = (!self.is_unsettled).then_some(self.unloads);
        // A return address may be the end of its object: the call is inside.
        let call = if is_exact { pc } else { pc.wrapping_sub(1) };
        let place = modules::place(call, checked_at, &mut self.path, |record| {
            sink.module(record)
        });
        let Some(place) = place else {
            return false;
        };
        self.has_unknown_code |= place.module == 0;
        let offset = place.offset.wrapping_add(pc - call) as u64;
        sink.node(parent, place.module, offset, is_exact)
    }

    /// Drops what no longer holds after objects came or went.
    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, changes: Changes) {
        let unloads = modules::unloads();
        self.is_unsettled = changes.is_unsettled();
        if unloads != self.unloads || self.is_unsettled {
            self.walker.forget();
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

    fn forget_nodes(&mut self) {
        self.intern.clear();
        self.nodes_count = 0;
        self.has_unknown_code = false;
    }
}

/// How many frames are the same, counted from the outermost.
#[inline(always)]
fn common_count(one: &[Frame], other: &[Frame]) -> usize {
    let least = one.len().min(other.len());
    let one = one.get(one.len() - least..).unwrap_or_default();
    let other = other.get(other.len() - least..).unwrap_or_default();
    let pairs = one.iter().zip(other);
    match pairs.rev().position(|(one, other)| one.pc != other.pc) {
        Some(count) => count,
        None => least,
    }
}

/// Where a deep stack is cut must not move with every call, or each would make thousands of new
/// nodes: frames above the last multiple of 64 KiB that the stack crosses are dropped, unless that
/// costs more than half of them.
fn align_cut(found: &[Frame], reason: CutReason) -> &[Frame] {
    const GRAIN: usize = 64 << 10;
    let Some(outermost) = found.last() else {
        return found;
    };
    if reason != CutReason::Depth || found.len() < FRAMES_MAX {
        return found;
    }
    let border = outermost.sp & !(GRAIN - 1);
    let kept = found.partition_point(|frame| frame.sp < border);
    match found.get(..kept) {
        Some(kept) if kept.len() >= FRAMES_MAX / 2 => kept,
        _ => found,
    }
}
