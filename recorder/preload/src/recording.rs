//! From a call to a record in the ring: guard, stamp, stack, words, publish.
//!
//! When no chunk is free the call waits, a bounded time, and watches the drainer: one that is
//! silent for two seconds, or a closed session, turns the whole process off. What cannot be stored
//! is counted in the stream's slot with the time of the first and the last.

use crate::caller::Caller;
use crate::level::Level;
use crate::modules::ModuleRecord;
#[cfg(target_env = "gnu")]
use crate::python;
use crate::stack::{CallerContext, CutReason, StackSink};
use crate::thread::Thread;
use crate::waiting::{ChunkWait, is_closed, may_take_chunk};
use crate::{clock, gate, process, signals};
use core::ffi::c_void;
use core::ptr::NonNull;
use heaptape_session::layout::{StreamSlot, options};
use heaptape_session::record::{self, RingEvent};
use heaptape_session::ring::AppendError;
use heaptape_session::sync::Ordering;

/// Operation codes of the tape format.
pub mod operation {
    #![allow(missing_docs, reason = "the names are those of the entry points")]
    pub const MALLOC: u8 = 0;
    pub const CALLOC: u8 = 1;
    pub const REALLOC_NEW: u8 = 2;
    pub const REALLOCARRAY_NEW: u8 = 3;
    pub const POSIX_MEMALIGN: u8 = 4;
    pub const ALIGNED_ALLOC: u8 = 5;
    pub const MEMALIGN: u8 = 6;
    pub const VALLOC: u8 = 7;
    pub const PVALLOC: u8 = 8;
    pub const CUSTOM_ALLOC: u8 = 9;
    pub const RAW_MALLOC: u8 = 16;
    pub const RAW_CALLOC: u8 = 17;
    pub const RAW_REALLOC_NEW: u8 = 18;
    pub const MEM_MALLOC: u8 = 19;
    pub const MEM_CALLOC: u8 = 20;
    pub const MEM_REALLOC_NEW: u8 = 21;
    pub const OBJ_MALLOC: u8 = 22;
    pub const OBJ_CALLOC: u8 = 23;
    pub const OBJ_REALLOC_NEW: u8 = 24;
    pub const FREE: u8 = 32;
    pub const CFREE: u8 = 33;
    pub const FREE_SIZED: u8 = 34;
    pub const FREE_ALIGNED_SIZED: u8 = 35;
    pub const REALLOC_FREE: u8 = 36;
    pub const CUSTOM_FREE: u8 = 41;
    pub const RAW_FREE: u8 = 48;
    pub const MEM_FREE: u8 = 51;
    pub const OBJ_FREE: u8 = 54;
    pub const REALLOC: u8 = 64;
    pub const REALLOCARRAY: u8 = 65;
    pub const CUSTOM_REALLOC: u8 = 73;
    pub const RAW_REALLOC: u8 = 80;
    pub const MEM_REALLOC: u8 = 83;
    pub const OBJ_REALLOC: u8 = 86;
    pub const MMAP: u8 = 96;
    pub const SBRK_GROW: u8 = 97;
    pub const MUNMAP: u8 = 128;
    pub const SBRK_SHRINK: u8 = 129;
    pub const MREMAP: u8 = 160;
    pub const PYTHON_REUSE: u8 = 192;

    /// True for calls whose caller has the interpreter's lock, by its contract.
    #[must_use]
    pub const fn holds_interpreter(operation: u8) -> bool {
        matches!(operation, 19..=24 | 51 | 54 | 83 | 86 | 192)
    }
}

/// Bytes of a code object's content in one record.
const CODE_PART_BYTES: usize = record::BLOB_BYTES_MAX - 12;

/// Lost: the rings were full.
pub const RING_FULL: u32 = 1;
/// Lost: nested too deeply.
pub const NESTED: u32 = 3;
/// Lost: the process no longer records.
pub const TURNED_OFF: u32 = 4;

/// Records that a block began to live. `PLAIN`: see [`clock::now`].
///
/// # Safety
/// `thread` must be the calling thread's state, `caller` must be alive.
#[inline(always)]
pub unsafe fn allocated<const PLAIN: bool>(
    thread: NonNull<Thread>,
    operation: u8,
    address: *mut c_void,
    size: usize,
    caller: Caller,
) {
    // SAFETY: as for this function.
    let Some(mut level) = (unsafe { Thread::enter(thread, caller) }) else {
        return;
    };
    // SAFETY: between `enter` and `leave` the level is ours alone.
    let state = unsafe { level.as_mut() };
    let ticks = clock::now::<true, PLAIN>(state.ticks);
    state.ticks = ticks;
    let stack = stack_of::<PLAIN>(state, operation, caller);
    let (address, size) = (address as u64, size as u64);
    if record::is_short(size) && state.producer.fits(3) {
        let words = [
            record::head(operation, ticks),
            address,
            record::sizes(stack, size),
        ];
        state.producer.append_fitting(&words);
    } else {
        append_alloc(state, operation, address, size, stack);
    }
    // SAFETY: it is the level that was entered.
    unsafe { Thread::leave(level) };
}

/// As [`allocated`], off the short path: also of entry points that tell an alignment.
///
/// # Safety
/// As for [`allocated`].
pub unsafe fn allocated_generally(
    thread: NonNull<Thread>,
    operation: u8,
    block: *mut c_void,
    size: usize,
    alignment: usize,
    caller: Caller,
) {
    if !record::has_extra(operation) {
        // SAFETY: as for this function.
        return unsafe { allocated::<false>(thread, operation, block, size, caller) };
    }
    let fill = |event: &mut RingEvent| {
        event.address = block as u64;
        event.size = size as u64;
        // The C library takes the next power of two where it does not refuse.
        let power = alignment.checked_next_power_of_two();
        event.alignment_log2 = power.map_or(0, |power| power.trailing_zeros() as u8);
    };
    // SAFETY: as for this function.
    unsafe { happened(thread, operation, caller, fill) };
}

#[cold]
#[inline(never)]
fn append_alloc(level: &mut Level, operation: u8, address: u64, size: u64, stack: u32) {
    let event = RingEvent {
        operation,
        ticks: level.ticks,
        address,
        size,
        stack,
        ..RingEvent::default()
    };
    append_event(level, &event);
}

/// Records that a block is about to die. `PLAIN`: see [`clock::now`]; then frees carry no stacks.
///
/// # Safety
/// As for [`allocated`].
#[inline(always)]
pub unsafe fn freed<const PLAIN: bool>(
    thread: NonNull<Thread>,
    operation: u8,
    address: *mut c_void,
    caller: Caller,
) {
    // SAFETY: as for this function.
    let Some(mut level) = (unsafe { Thread::enter(thread, caller) }) else {
        return;
    };
    // SAFETY: between `enter` and `leave` the level is ours alone.
    let state = unsafe { level.as_mut() };
    let ticks = clock::now::<false, PLAIN>(state.ticks);
    state.ticks = ticks;
    let address = address as u64;
    if (PLAIN || !process::has(options::FREE_STACKS)) && state.producer.fits(2) {
        let words = [record::head(operation, ticks), address];
        state.producer.append_fitting(&words);
    } else {
        append_free(state, operation, address, caller);
    }
    // SAFETY: it is the level that was entered.
    unsafe { Thread::leave(level) };
}

#[cold]
#[inline(never)]
fn append_free(level: &mut Level, operation: u8, address: u64, caller: Caller) {
    let mut event = RingEvent {
        operation,
        ticks: level.ticks,
        old_address: address,
        ..RingEvent::default()
    };
    if process::has(options::FREE_STACKS) {
        event.stack = stack_of::<false>(level, operation, caller);
    }
    append_event(level, &event);
}

/// Records any event but the two above: `fill` gets the event with operation and stamp set.
///
/// # Safety
/// As for [`allocated`].
#[inline(never)]
pub unsafe fn happened(
    thread: NonNull<Thread>,
    operation: u8,
    caller: Caller,
    fill: impl FnOnce(&mut RingEvent),
) {
    // SAFETY: as for this function.
    let Some(mut level) = (unsafe { Thread::enter(thread, caller) }) else {
        return;
    };
    // SAFETY: between `enter` and `leave` the level is ours alone.
    let state = unsafe { level.as_mut() };
    state.ticks = clock::now::<true, false>(state.ticks);
    let mut event = RingEvent {
        operation,
        ticks: state.ticks,
        ..RingEvent::default()
    };
    fill(&mut event);
    let is_death = matches!(operation >> 5, 1 | 4);
    if !is_death || process::has(options::FREE_STACKS) {
        event.stack = stack_of::<false>(state, operation, caller);
    }
    append_event(state, &event);
    // SAFETY: it is the level that was entered.
    unsafe { Thread::leave(level) };
}

/// A call that ends one block and begins another: the guard stays set from the first stamp on.
#[derive(Debug)]
pub struct Change {
    level: NonNull<Level>,
    ticks: u64,
}

impl Change {
    /// Before the real call.
    ///
    /// # Safety
    /// As for [`allocated`]. One of the other functions must follow.
    #[inline(always)]
    pub unsafe fn begin<const PLAIN: bool>(
        thread: NonNull<Thread>,
        caller: Caller,
    ) -> Option<Self> {
        // SAFETY: as for this function.
        let mut level = unsafe { Thread::enter(thread, caller) }?;
        // SAFETY: between `enter` and `leave` the level is ours alone.
        let state = unsafe { level.as_mut() };
        let ticks = clock::now::<false, PLAIN>(state.ticks);
        state.ticks = ticks;
        Some(Self { level, ticks })
    }

    /// The old block died and a new one lives: `event` needs all but stamps and stack.
    ///
    /// # Safety
    /// As for [`allocated`].
    #[inline(always)]
    pub unsafe fn changed<const PLAIN: bool>(mut self, event: RingEvent, caller: Caller) {
        // SAFETY: see `begin`.
        let state = unsafe { self.level.as_mut() };
        state.ticks = clock::now::<true, PLAIN>(state.ticks);
        let stack = stack_of::<PLAIN>(state, event.operation, caller);
        let is_short = record::is_short(event.size) && event.operation >> 5 == 2;
        if is_short && state.producer.fits(5) {
            let words = [
                record::head(event.operation, self.ticks),
                event.old_address,
                event.address,
                record::sizes(stack, event.size),
                state.ticks,
            ];
            state.producer.append_fitting(&words);
        } else {
            let event = RingEvent {
                ticks: self.ticks,
                end_ticks: state.ticks,
                stack,
                ..event
            };
            append_event(state, &event);
        }
        self.leave();
    }

    /// Only the old block died: `event` needs all but stamps and stack.
    ///
    /// # Safety
    /// As for [`allocated`].
    pub unsafe fn ended(mut self, event: RingEvent, caller: Caller) {
        // SAFETY: see `begin`.
        let state = unsafe { self.level.as_mut() };
        let mut event = RingEvent {
            ticks: self.ticks,
            ..event
        };
        if process::has(options::FREE_STACKS) {
            event.stack = stack_of::<false>(state, event.operation, caller);
        }
        append_event(state, &event);
        self.leave();
    }

    /// Nothing happened.
    #[inline(always)]
    pub fn leave(self) {
        // SAFETY: it is the level that was entered.
        unsafe { Thread::leave(self.level) };
    }
}

/// The node of the stack above `caller`; nodes that are new are appended now. 0: none is wanted,
/// or the rings are full. `PLAIN`: see [`clock::now`]; then nothing runs Python.
#[cfg_attr(
    not(target_env = "gnu"),
    expect(unused_variables, reason = "only interpreters need the operation")
)]
#[inline(always)]
fn stack_of<const PLAIN: bool>(level: &mut Level, operation: u8, caller: Caller) -> u32 {
    if level.stack.is_null() {
        return 0;
    }
    // SAFETY: the stub's first instruction had the return address on top of the stack.
    let pc = unsafe { caller.sp.read() };
    let context = CallerContext {
        pc,
        sp: caller.sp as usize + size_of::<usize>(),
        rbp: caller.frame,
    };
    // SAFETY: not null, so it is this level's capture, in memory of its own.
    let stack = unsafe { &mut *level.stack };
    #[cfg(target_env = "gnu")]
    if !PLAIN && python::has_frames() {
        let state = python::thread_state(operation::holds_interpreter(operation));
        return stack.capture_mixed(context, state, &mut Sink(level));
    }
    stack.capture(context, &mut Sink(level))
}

/// Appends what a capture finds to the level's ring.
struct Sink<'a>(&'a mut Level);

impl StackSink for Sink<'_> {
    fn module(&mut self, module: &ModuleRecord<'_>) -> bool {
        let build_id = module.build_id.get(..255).unwrap_or(module.build_id);
        let parts: [&[u8]; 7] = [
            &module.index.to_le_bytes(),
            &(module.bias as u64).to_le_bytes(),
            &(module.start as u64).to_le_bytes(),
            &(module.end as u64).to_le_bytes(),
            &[build_id.len() as u8],
            build_id,
            module.path,
        ];
        append_blob(self.0, record::blob::MODULE, &parts)
    }

    fn node(&mut self, parent: u32, module: u32, offset: u64, exact: bool) -> bool {
        append(self.0, &record::node(parent, module, offset, exact))
    }

    fn cut(&mut self, parent: u32, reason: CutReason) -> bool {
        append(self.0, &record::cut(parent, reason as u8))
    }

    fn python(&mut self, parent: u32, code: u32, unit: u32) -> bool {
        append(self.0, &record::python_node(parent, code, unit))
    }

    fn code(&mut self, number: u32, content: &[u8]) -> bool {
        let total = content.len() as u32;
        let mut offset = 0u32;
        content.chunks(CODE_PART_BYTES).all(|part| {
            let parts: [&[u8]; 4] = [
                &number.to_le_bytes(),
                &total.to_le_bytes(),
                &offset.to_le_bytes(),
                part,
            ];
            offset += part.len() as u32;
            append_blob(self.0, record::blob::CODE, &parts)
        })
    }
}

fn append_event(level: &mut Level, event: &RingEvent) {
    let (words, count) = record::event(event);
    let words = words.get(..count).unwrap_or_default();
    if !append_slowly(level, words.iter().copied()) {
        lose(level);
    }
}

#[cold]
fn lose(level: &Level) {
    if level.is_abandoned {
        // The slot is the parent's.
        process::count_lost();
        return;
    }
    let reason = if gate::mode() == gate::COUNTING {
        TURNED_OFF
    } else {
        RING_FULL
    };
    if !level.slot.is_null() {
        // SAFETY: not null, so it was set at birth.
        count_lost_in(unsafe { &*level.slot }, reason);
    }
}

/// Appends a record; false when it cannot be stored.
#[inline(always)]
fn append<const N: usize>(level: &mut Level, words: &[u64; N]) -> bool {
    if level.producer.fits(N) {
        level.producer.append_fitting(words);
        return true;
    }
    append_slowly(level, words.iter().copied())
}

/// Appends bytes: kind, contents; false when they cannot be stored. The caller has entered `level`.
pub fn append_blob(level: &mut Level, kind: u8, parts: &[&[u8]]) -> bool {
    let words = record::blob_words(kind, level.ticks, parts);
    // Long enough that a signal may well come in between.
    append_attempting(level, words, true)
}

/// As [`append`], and goes on to the next chunk, or waits for one.
#[cold]
#[inline(never)]
fn append_slowly(level: &mut Level, words: impl ExactSizeIterator<Item = u64> + Clone) -> bool {
    append_attempting(level, words, false)
}

/// As [`append_slowly`]. A handler that forks while a record `is_long`, or while the next chunk is
/// claimed and linked, would have a child that goes on with the same: two processes write one
/// stream, and what one of them links is lost. So signals wait then, but not while nothing is free.
fn append_attempting(
    level: &mut Level,
    words: impl ExactSizeIterator<Item = u64> + Clone,
    is_long: bool,
) -> bool {
    let session = process::session();
    let mut wait = None;
    while !level.is_abandoned && !is_closed() {
        let fits = level.producer.fits(words.len());
        if fits || may_take_chunk(wait.as_ref()) {
            let mut append = || level.producer.append_long(session, words.clone());
            let appended = if fits && !is_long {
                append()
            } else {
                signals::held(append)
            };
            match appended {
                Ok(()) => return true,
                Err(AppendError::TooLong) => return false,
                Err(AppendError::NoChunk) => {}
            }
        }
        if !wait.get_or_insert_with(ChunkWait::begin).goes_on() {
            return false;
        }
    }
    false
}

/// Counts an event that could not be stored, now.
#[cold]
pub fn count_lost_in(slot: &StreamSlot, reason: u32) {
    let ticks = clock::now::<true, false>(0);
    // Relaxed: the drainer reads them as they come; a handler may interrupt between two of them.
    let before = slot.lost.fetch_add(1, Ordering::Relaxed);
    if before == 0 {
        slot.lost_first.store(ticks, Ordering::Relaxed);
    }
    slot.lost_last.store(ticks, Ordering::Relaxed);
    slot.lost_reason.store(reason, Ordering::Relaxed);
}
