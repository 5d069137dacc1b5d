//! What a capture needs for Python, in memory of its own: most threads never run any.

use crate::arena;
use crate::python::codes::{self, Content, Met};
use crate::python::layout::Layout;
use crate::stack::StackSink;
use crate::stack::python::{self, PythonStack};
use core::mem::offset_of;
use core::ptr::NonNull;

/// Contents of code objects are put together here, longer ones in pages of their own.
const CONTENT_BYTES: usize = 16 << 10;

/// What a capture needs for Python, in memory of its own.
#[derive(Debug)]
pub(in crate::stack) struct Python {
    pub(super) stack: PythonStack,
    pub(super) met: Met,
    /// The native frames from this one on have names that hold no more.
    pub(super) stale: usize,
    /// Frames that the user asked for; 0: all.
    pub(super) limit: usize,
    content: [u8; CONTENT_BYTES],
}

/// That and the memory that its arrays begin in.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Home {
    python: Python,
    memory: python::Memory,
}

/// Its one owner.
#[derive(Debug)]
pub(in crate::stack) struct OwnedPython(pub(super) NonNull<Python>);

// SAFETY: the owner has it for itself, as a box would.
unsafe impl Send for OwnedPython {}

impl Python {
    /// In zeroed private memory; `None` when the kernel refuses it.
    #[cold]
    pub(super) fn create() -> Option<OwnedPython> {
        const { assert!(align_of::<Home>() <= crate::syscall::PAGE_BYTES) };
        let home: NonNull<Home> = arena::map(size_of::<Home>())?.cast();
        // SAFETY: a field of the memory.
        let memory = unsafe { home.byte_add(offset_of!(Home, memory)) };
        // SAFETY: zeroed, and for it alone.
        let stack = unsafe { PythonStack::new(memory.cast()) };
        let python: NonNull<Self> = home.cast();
        // SAFETY: a field of the memory.
        let place = unsafe { python.byte_add(offset_of!(Self, stack)) };
        // SAFETY: it is the field of this type; all others are numbers.
        unsafe { place.cast().write(stack) };
        // SAFETY: a field of the memory.
        let place = unsafe { python.byte_add(offset_of!(Self, stale)) };
        // SAFETY: as before. No frame has a name yet.
        unsafe { place.cast().write(1usize) };
        Some(OwnedPython(python))
    }

    /// True when a stack of `native` frames, all as they were, has all Python frames in it, or will
    /// when those that hold no more are named again.
    #[inline(always)]
    pub(super) fn can_stay(&self, native: usize, inner_sp: usize) -> bool {
        if native < self.stale {
            self.stack.is_placed(native)
        } else {
            self.stack.innermost_address() >= inner_sp
        }
    }

    /// The number of a code object, after its content was sent; 0: it is not known.
    pub(super) fn number_of(
        &mut self,
        code: usize,
        layout: &Layout,
        sink: &mut impl StackSink,
    ) -> u32 {
        match self.met.number_of(code) {
            Some(number) => number,
            None => self.meet(code, layout, sink).unwrap_or(0),
        }
    }

    #[cold]
    #[inline(never)]
    fn meet(&mut self, code: usize, layout: &Layout, sink: &mut impl StackSink) -> Option<u32> {
        // SAFETY: the code object of a frame that is alive.
        let content = unsafe { Content::of(code, layout) };
        // SAFETY: as before.
        let numbered = codes::number_of(unsafe { content.hash() })?;
        if numbered.is_new() {
            // SAFETY: as before.
            let bytes = unsafe { content.write(&mut self.content) };
            let is_sent = match self.content.get(..bytes) {
                Some(whole) => sink.code(numbered.number, whole),
                // SAFETY: as before.
                None => unsafe { send_long(&content, bytes, numbered.number, sink) },
            };
            if !is_sent {
                return None;
            }
            numbered.sent();
        }
        self.met.keep(code, numbered.number);
        Some(numbered.number)
    }
}

/// As [`Python::meet`], for contents that take more room.
///
/// # Safety
/// The code object is alive.
unsafe fn send_long(
    content: &Content<'_>,
    bytes: usize,
    number: u32,
    sink: &mut impl StackSink,
) -> bool {
    let Some(memory) = arena::map(bytes) else {
        return false;
    };
    // SAFETY: mapped just now, so many bytes, and nobody else has them.
    let whole = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), bytes) };
    // SAFETY: as for this function.
    let written = unsafe { content.write(whole) };
    let is_sent = written == bytes && sink.code(number, whole);
    // SAFETY: mapped above with this length; the slice is not used any more.
    unsafe { arena::unmap(memory, bytes) };
    is_sent
}
