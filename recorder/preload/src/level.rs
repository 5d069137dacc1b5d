//! A level of a thread: what one stream of events is written with. The thread itself has one, and
//! one more once a signal handler has allocated while it was inside the recorder.
//!
//! A level opens when its thread is born (or interrupted), which claims a stream in the session,
//! and closes when the thread ends.

use crate::caller::Caller;
use crate::stack::{StackCapture, StackConfig};
use crate::waiting::Wait;
use crate::{clock, fork_cuts, process};
use core::ptr::{self, NonNull};
use heaptape_session::layout::{StreamSlot, options, phase};
use heaptape_session::ring::{Memory, Producer};
use heaptape_session::slots;
use heaptape_session::sync::{Ordering, compiler_fence};
use heaptape_session::sys;

/// A level. All-zero bytes are a level that is not open.
#[derive(Debug)]
pub struct Level {
    /// The stream's slot in shared memory.
    pub slot: *const StreamSlot,
    /// The writing end of its ring.
    pub producer: Producer,
    /// The last stamp.
    pub ticks: u64,
    /// Number of the stream in its process image.
    pub stream: u32,
    /// Where `fork_cuts` has noted it.
    pub noted: u32,
    /// The capture of this level's stacks; null: stacks are not wanted, or no memory was had.
    pub stack: *mut StackCapture,
    /// True when a fork left this level to the parent: nothing may be written any more.
    pub is_abandoned: bool,
}

impl Level {
    /// Begins a stream: `number` is its self. False: the session has no place for it.
    pub fn open(&mut self, number: u32) -> bool {
        let session = process::session();
        if sys::is_refused(libc::SYS_gettid) {
            // A stream belongs to a thread that can be told from others.
            return false;
        }
        let Some((index, generation)) = claim_stream() else {
            return false;
        };
        let (Some(slot), Some(process)) = (session.stream(index), process::slot()) else {
            return false;
        };
        self.slot = slot;
        self.producer = Producer::new(index, generation);
        self.ticks = clock::now::<true, false>(0);
        self.is_abandoned = false;
        self.open_stack();
        // Relaxed: the phase below publishes them.
        slot.thread_id.store(sys::thread_id(), Ordering::Relaxed);
        slot.level.store(number, Ordering::Relaxed);
        let stream = process.next_stream.fetch_add(1, Ordering::Relaxed);
        slot.number.store(stream, Ordering::Relaxed);
        self.stream = stream;
        fork_cuts::note(self, index);
        slot.birth_ticks.store(self.ticks, Ordering::Relaxed);
        note_name(slot);
        slots::set_stream_phase(slot, phase::RUNNING);
        process::introduce(self, stream);
        true
    }

    /// Gives the level a capture for its new stream, the one that it had if there is one.
    fn open_stack(&mut self) {
        if process::has(options::NO_NATIVE_STACKS) {
            return;
        }
        let config = StackConfig {
            max_depth: process::depth_max(),
            only_python: process::has(options::ONLY_PYTHON_STACKS),
        };
        if self.stack.is_null() {
            let stack = StackCapture::create(config);
            self.stack = stack.map_or(ptr::null_mut(), NonNull::as_ptr);
        } else {
            // SAFETY: made above for an earlier stream of this state, which nobody else has.
            unsafe { &mut *self.stack }.init(config);
        }
    }

    /// Gives a level whose last call was abandoned half-way a new stream: what that call left in
    /// the old one is whole records, but numbers of stack nodes may have come apart.
    pub fn reopen(mut level: NonNull<Self>, number: u32, caller: Caller) -> Option<NonNull<Self>> {
        // SAFETY: the abandoned call does not come back, so this is the only reference.
        let state = unsafe { level.as_mut() };
        state.close();
        // What the call left of the capture may be torn: its memory stays behind.
        state.stack = ptr::null_mut();
        if !state.open(number) {
            state.abandon();
        }
        // SAFETY: it was opened, now or earlier.
        let slot = unsafe { Self::slot_of(level) };
        slot.guard.store(caller.sp as u64, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(level)
    }

    /// A level for signal handlers that interrupted the recorder.
    pub fn birth_of_nested() -> Option<NonNull<Self>> {
        let memory = sys::map_private(size_of::<Self>())?;
        let mut level: NonNull<Self> = NonNull::new(memory.cast())?;
        // SAFETY: fresh zeroed memory that only we have; zero is a valid level.
        unsafe { level.as_mut() }.open(1).then_some(level)
    }

    /// Ends the stream.
    pub fn close(&mut self) {
        // SAFETY: only open levels are closed.
        let slot = unsafe { Self::slot_of(NonNull::from(&*self)) };
        note_name(slot);
        slots::set_stream_phase(slot, phase::FINISHED);
    }

    /// Ends the stream of a nested level and gives its memory back.
    ///
    /// # Safety
    /// It came from `birth_of_nested` and nobody uses it any more.
    pub unsafe fn end(mut level: NonNull<Self>) {
        // SAFETY: as for this function.
        let state = unsafe { level.as_mut() };
        state.close();
        state.drop_stack();
        fork_cuts::forget(state);
        // SAFETY: mapped by `birth_of_nested`.
        unsafe { sys::unmap(level.as_ptr().cast(), size_of::<Self>()) };
    }

    /// Gives back what the capture took for very deep stacks. Only while the level is not open.
    pub fn shrink_stack(&mut self) {
        // SAFETY: made by `open_stack`, and nobody else has it.
        if let Some(stack) = unsafe { self.stack.as_mut() } {
            stack.shrink();
        }
    }

    /// Gives the capture's memory back.
    pub fn drop_stack(&mut self) {
        if let Some(stack) = NonNull::new(self.stack) {
            // SAFETY: made by `open_stack`, and nobody else has it.
            unsafe { StackCapture::destroy(stack) };
            self.stack = ptr::null_mut();
        }
    }

    /// In a forked child: what comes to this level is lost, and the parent's chunks are out of
    /// reach.
    pub fn abandon(&mut self) {
        self.producer = Producer::new(u32::MAX, 0);
        self.is_abandoned = true;
    }

    /// The slot of an open level.
    ///
    /// # Safety
    /// The level must have been opened.
    #[inline(always)]
    #[must_use]
    pub unsafe fn slot_of(level: NonNull<Self>) -> &'static StreamSlot {
        // SAFETY: the level is valid; no reference to it is made.
        let slot = unsafe { (*level.as_ptr()).slot };
        // SAFETY: set when it was opened; slots of the session stay mapped.
        unsafe { &*slot }
    }
}

/// A stream slot. When none is free and some wait for the drainer, so do we, a bounded time.
fn claim_stream() -> Option<(u32, u32)> {
    let session = process::session();
    let mut wait = None;
    loop {
        let claimed = slots::claim_stream(session, process::slot_index());
        if claimed.is_some() {
            return claimed;
        }
        let is_any_finished = (0..session.streams()).any(|index| {
            let slot = session.stream(index);
            slot.is_some_and(|slot| slots::stream_owner(slot).phase == phase::FINISHED)
        });
        // Released between our two looks: the next attempt finds it, or another thread did.
        if !is_any_finished || !wait.get_or_insert_with(Wait::begin).goes_on() {
            return slots::claim_stream(session, process::slot_index());
        }
    }
}

/// Reads the thread's name from the kernel into its slot.
pub fn note_name(slot: &StreamSlot) {
    let mut name = [0u64; 2];
    let arguments = [
        libc::PR_GET_NAME as usize,
        (&raw mut name) as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes 16 bytes, which `name` has.
    if unsafe { sys::syscall6(libc::SYS_prctl, arguments) } != 0 {
        return;
    }
    for (place, word) in slot.name.iter().zip(name) {
        place.store(word, Ordering::Relaxed);
    }
}
