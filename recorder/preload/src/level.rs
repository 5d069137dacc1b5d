//! A level of a thread: what one stream of events is written with. The thread itself has one, and
//! one more once a signal handler has allocated while it was inside the recorder.
//!
//! A level opens when its thread is born (or interrupted), which claims a stream in the session,
//! and closes when the thread ends.

use crate::caller::Caller;
use crate::stack::{StackCapture, StackConfig};
use crate::thread::Thread;
use crate::waiting::Wait;
use crate::{clock, fork_cuts, process, signals};
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
    /// Begins a stream: `number` is its self. False: the session has no place for it. `publish`
    /// makes the level known to the thread: no signal handler comes between that and the claim.
    pub fn open(level: NonNull<Self>, number: u32, publish: impl Fn()) -> bool {
        // A stream belongs to a thread that can be told from others.
        if sys::is_refused(libc::SYS_gettid) || process::slot().is_none() {
            return false;
        }
        let mut wait = StreamWait(None);
        let mut goes_on = true;
        loop {
            let is_open = signals::held(|| {
                let mut level = level;
                // SAFETY: nobody else has the level: it is not open.
                let is_open = unsafe { level.as_mut() }.take_stream(number);
                if is_open {
                    publish();
                }
                is_open
            });
            if is_open {
                Self::introduce(level);
                return true;
            }
            if !goes_on {
                return false;
            }
            // Released between our two looks: the next attempt finds it, or another thread did.
            goes_on = wait.goes_on();
        }
    }

    fn take_stream(&mut self, number: u32) -> bool {
        let session = process::session();
        let claimed = slots::claim_stream(session, process::slot_index());
        let Some((index, generation)) = claimed else {
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
        if stream != 0 {
            clock::note_another_stream();
        }
        slot.number.store(stream, Ordering::Relaxed);
        self.stream = stream;
        fork_cuts::note(self, index);
        slot.birth_ticks.store(self.ticks, Ordering::Relaxed);
        note_name(slot);
        if stream == 0 {
            // The stream begins with what `introduce` writes.
            slot.guard
                .store(Caller::here().sp as u64, Ordering::Relaxed);
        }
        slots::set_stream_phase(slot, phase::RUNNING);
        true
    }

    /// Writes who we are into the first stream of the process.
    fn introduce(mut level: NonNull<Self>) {
        // SAFETY: open; no reference is held where a signal handler may have another.
        if unsafe { (*level.as_ptr()).stream } != 0 {
            return;
        }
        // SAFETY: the guard is set: the level is this call's alone.
        process::introduce(unsafe { level.as_mut() });
        // SAFETY: as if entered.
        unsafe { Thread::leave(level) };
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
        if !Self::open(level, number, || ()) {
            // SAFETY: as above.
            unsafe { level.as_mut() }.abandon();
        }
        // SAFETY: it was opened, now or earlier.
        let slot = unsafe { Self::slot_of(level) };
        slot.guard.store(caller.sp as u64, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(level)
    }

    /// A level for signal handlers that interrupted the recorder; `publish` as for [`Level::open`].
    pub fn birth_of_nested(publish: impl Fn(NonNull<Self>)) {
        let memory = sys::map_private(size_of::<Self>());
        // Fresh zeroed memory that only we have; zero is a valid level.
        if let Some(level) = memory.and_then(|memory| NonNull::new(memory.cast())) {
            Self::open(level, 1, || publish(level));
        }
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

/// Waiting for a stream slot, a bounded time.
struct StreamWait(Option<Wait>);

impl StreamWait {
    /// Naps; false when none will come: only those that wait for the drainer do.
    fn goes_on(&mut self) -> bool {
        let session = process::session();
        let is_any_finished = (0..session.streams()).any(|index| {
            let slot = session.stream(index);
            slot.is_some_and(|slot| slots::stream_owner(slot).phase == phase::FINISHED)
        });
        is_any_finished && self.0.get_or_insert_with(Wait::begin).goes_on()
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
