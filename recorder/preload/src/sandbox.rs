//! Programs that forbid themselves what the recorder does: system calls, by seccomp or by system
//! call dispatch, or the time stamp counter. Bare they live; so they must when they are recorded.
//!
//! Before such a ban takes effect it is looked at. System calls that it does not simply let through
//! are refused ([`heaptape_session::sys::refuse`]): they fail without being made, and everything
//! here copes. Where recording cannot do without (see [`calls`]) it ends, in all threads: the tape
//! says so, and later events are only counted. A ban that fails in the end is taken back.
//!
//! A ban of one thread is taken as one of all: refusing more than is forbidden harms nobody.

pub mod calls;
pub mod filter;

use crate::level::Level;
use crate::{gate, process, syscall, thread};
use core::cell::UnsafeCell;
use filter::Filter;
use heaptape_session::layout::turned_off;
use heaptape_session::ring::Memory;
use heaptape_session::slots::stream_owner;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use heaptape_session::sys::{self, CallSet};

/// What a program is about to forbid itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    /// The time stamp counter.
    Clock,
    /// All system calls that are ours.
    AllCalls,
    /// What the `struct sock_fprog` at this address says.
    Filter {
        /// The address.
        program: usize,
        /// It is for the other threads as well.
        is_for_all: bool,
    },
}

/// Not zero: recording ended because of a ban, for this reason of [`turned_off`]. A forked child
/// inherits it. Relaxed: the thread that sets it is the one that is forbidden something.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// Memory for the environment of an image that is started later, when none can be had: room for
/// some 8,000 variables.
const ENVIRONMENT_BYTES: usize = 64 << 10;
/// Naps until other threads are out of the recorder, at most, and their length.
const NAPS_MAX: u32 = 100;
const NAP_NS: u32 = 100_000;

/// What is forbidden, and what became of recording.
#[derive(Debug, Clone, Copy)]
struct State {
    refused: CallSet,
    ended: u32,
    mode: u32,
}

impl State {
    fn now() -> Self {
        Self {
            refused: sys::refused(),
            ended: ENDED.load(Ordering::Relaxed),
            mode: gate::mode(),
        }
    }

    fn set(self) {
        sys::refuse(self.refused);
        ENDED.store(self.ended, Ordering::Relaxed);
        gate::set(self.mode);
    }
}

/// A child of `vfork` forbids itself something, in memory that is its parent's: the parent's state,
/// until the child is gone.
struct Lent {
    /// The thread that the child runs as; 0: there is none. Relaxed: only that thread touches the
    /// rest.
    thread: AtomicU64,
    parents: UnsafeCell<Option<State>>,
}

// SAFETY: `parents` is used by the thread in `thread` alone.
unsafe impl Sync for Lent {}

static LENT: Lent = Lent {
    thread: AtomicU64::new(0),
    parents: UnsafeCell::new(None),
};

/// True when recording ended because of a ban: then not even a stamp may be taken.
#[must_use]
pub fn has_ended() -> bool {
    ENDED.load(Ordering::Relaxed) != 0
}

/// True when an image that this process starts lives and can be recorded.
#[must_use]
pub fn may_start() -> bool {
    !has_ended() && calls::may_start(&sys::refused())
}

/// True when a forked child can be recorded.
#[must_use]
pub fn may_fork() -> bool {
    !has_ended() && calls::may_fork(&sys::refused())
}

/// Makes the call `real`, which brings `ban` about when `is_success` holds for what it returns.
/// One that fails leaves everything as it was.
pub fn under<R>(ban: Ban, real: impl FnOnce() -> R, is_success: impl FnOnce(&R) -> bool) -> R {
    let before = prepare(ban);
    let result = real();
    if let Some(before) = before
        && !is_success(&result)
    {
        process::go_on_after_ban(ENDED.load(Ordering::Relaxed));
        before.set();
    }
    result
}

/// Gets ready; what was so before, `None` when nothing changes.
fn prepare(ban: Ban) -> Option<State> {
    if gate::mode() == gate::NEW {
        // A fork that was made without the C library, before its first allocation.
        process::start();
    }
    if !process::is_started() || has_ended() {
        return None;
    }
    let forbidden = match ban {
        Ban::Filter { program, .. } => calls::refused_by(&Filter::at(program)?),
        Ban::Clock | Ban::AllCalls => CallSet::ALL,
    };
    let before = State::now();
    let refused = before.refused.with(forbidden);
    let is_own = sys::is_refused(libc::SYS_getpid) || process::is_owner();
    reserve(&refused);
    if !is_own {
        lend(before);
    }
    if calls::may_record(&refused) {
        sys::refuse(refused);
    } else {
        let reason = match ban {
            Ban::Clock => turned_off::CLOCK_FORBIDDEN,
            Ban::AllCalls | Ban::Filter { .. } => turned_off::CALLS_FORBIDDEN,
        };
        ENDED.store(reason, Ordering::Relaxed);
        if matches!(before.mode, gate::PLAIN | gate::GENERAL) {
            process::end_for_ban(is_own.then_some(reason));
        }
        sys::refuse(CallSet::ALL);
    }
    if matches!(
        ban,
        Ban::Filter {
            is_for_all: true,
            ..
        }
    ) {
        let may_sleep = !before.refused.has(libc::SYS_nanosleep);
        wait_for_others(may_sleep);
    }
    Some(before)
}

/// Takes what recording needs later and does not get then.
fn reserve(refused: &CallSet) {
    let mapping = [libc::SYS_openat, libc::SYS_mmap, libc::SYS_close];
    if mapping.iter().any(|number| refused.has(*number)) {
        let session = process::session();
        let chunks = if syscall::is_address_space_limited() {
            session.chunks_ready() as usize
        } else {
            session.layout().chunks
        };
        session.map_ahead(chunks);
    }
    if thread::admitted().is_some() {
        let _memory = thread::scratch(ENVIRONMENT_BYTES);
    }
}

/// A ban of all threads: those that are inside the recorder may be about to make a call that was
/// not refused a moment ago. Waits until they are out of it, a bounded time.
fn wait_for_others(may_sleep: bool) {
    let own = thread::current().map(|thread| {
        let level = thread::Thread::level(thread);
        // SAFETY: the calling thread's own level, opened at its birth.
        core::ptr::from_ref(unsafe { Level::slot_of(level) })
    });
    let session = process::session();
    let index = process::slot_index();
    for _ in 0..NAPS_MAX {
        if may_sleep {
            let time = [0, i64::from(NAP_NS)];
            let call = [time.as_ptr() as usize, 0, 0, 0, 0, 0];
            // SAFETY: the two words are a valid timespec for the call.
            unsafe { sys::passed_on(libc::SYS_nanosleep, call) };
        } else {
            core::hint::spin_loop();
        }
        let high = session.stream_high().load(Ordering::Relaxed);
        let is_any_inside = (0..high.min(session.streams())).any(|number| {
            session.stream(number).is_some_and(|slot| {
                let is_other = own.is_none_or(|own| !core::ptr::eq(own, slot));
                // Acquire: pairs with Release in `Thread::leave`.
                let is_inside = slot.guard.load(Ordering::Acquire) != 0;
                is_inside && is_other && stream_owner(slot).process == index
            })
        });
        if !is_any_inside {
            return;
        }
    }
}

/// Remembers the parent's state while a child of its `vfork` has another.
fn lend(parents: State) {
    let me = thread::control_block() as u64;
    let claim = LENT
        .thread
        .compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
    if claim.is_ok() {
        // SAFETY: this thread has just claimed it.
        unsafe { *LENT.parents.get() = Some(parents) };
    }
}

/// The state of a child of `vfork` that had one of its own.
#[derive(Debug)]
pub struct Child(State);

/// The calling thread's process is about to end or to become another image: when it is a child of
/// `vfork`, what it forbade itself does not concern its parent any more.
#[must_use]
pub fn settle() -> Option<Child> {
    if LENT.thread.load(Ordering::Relaxed) != thread::control_block() as u64 {
        return None;
    }
    // SAFETY: this thread is the one that claimed it.
    let parents = unsafe { (*LENT.parents.get()).take() }?;
    let child = State::now();
    parents.set();
    LENT.thread.store(0, Ordering::Relaxed);
    Some(Child(child))
}

/// It did not come to that.
pub fn unsettle(child: Option<Child>) {
    if let Some(Child(state)) = child {
        lend(State::now());
        state.set();
    }
}
