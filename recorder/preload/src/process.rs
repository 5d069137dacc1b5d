//! This process image in the session: start, fork, end, and what the whole process has in common.
//!
//! Started by the first allocation, or by our constructor when nothing was allocated before. A
//! forked child starts again with its own slot. Anything that cannot be had turns recording off,
//! and the target runs as if bare.

use crate::level::Level;
use crate::lineage::{self, Parent, origin};
use crate::thread::{self, Thread};
use crate::{
    c_library, clock, drainer, environment, fork_cuts, gate, identity, modules, presence,
    recording, sandbox, signals,
};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use heaptape_session::layout::{ProcessSlot, options, paused, phase, state};
use heaptape_session::map::SessionMap;
use heaptape_session::reasons::FORBIDDEN_CALLS;
use heaptape_session::slots;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use heaptape_session::sys;

struct Place(UnsafeCell<MaybeUninit<SessionMap>>);

// SAFETY: written once before STAGE is STARTED, only shared afterwards.
unsafe impl Sync for Place {}

static SESSION: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// Nothing was tried yet.
const FRESH: u32 = 0;
/// A thread is starting.
const STARTING: u32 = 1;
/// There is a session, and this process or an ancestor of the same image has a slot in it.
const STARTED: u32 = 2;
/// There is no session for us.
const REFUSED: u32 = 3;

static STAGE: AtomicU32 = AtomicU32::new(FRESH);
/// Index and generation of our process slot, the slot itself, and whose it is.
static SLOT_INDEX: AtomicU32 = AtomicU32::new(0);
static SLOT_GENERATION: AtomicU32 = AtomicU32::new(0);
static SLOT: AtomicU64 = AtomicU64::new(0);
static PID: AtomicU32 = AtomicU32::new(0);
/// Copies of the session's options.
static OPTIONS: AtomicU32 = AtomicU32::new(0);
static DEPTH_MAX: AtomicU32 = AtomicU32::new(0);
static SIZE_MIN: AtomicU64 = AtomicU64::new(0);
/// Not zero: the real allocator may call our hooks (it is not the C library's), or an interpreter's
/// allocators may.
static IS_FOREIGN: AtomicU32 = AtomicU32::new(0);
/// Not zero: the executable has a malloc of its own, which comes before ours.
static IS_BYPASSED: AtomicU32 = AtomicU32::new(0);
/// C string with the path of the object that holds the real allocator; 0: unknown.
static ALLOCATOR_PATH: AtomicU64 = AtomicU64::new(0);

/// The session.
///
/// Only for code behind an open gate: a thread is born only in a started process.
#[inline(always)]
#[must_use]
pub fn session() -> &'static SessionMap {
    let place = SESSION.0.get();
    // SAFETY: written before the gate opens, and only shared since.
    let session = unsafe { &*place };
    // SAFETY: the gate opens after the session was written, and it is never taken back.
    unsafe { session.assume_init_ref() }
}

/// Our process slot, while the process has one.
#[inline(always)]
#[must_use]
pub fn slot() -> Option<&'static ProcessSlot> {
    let slot = SLOT.load(Ordering::Relaxed) as *const ProcessSlot;
    // SAFETY: null, or a slot of the session, which is never unmapped.
    unsafe { slot.as_ref() }
}

/// Index of our process slot.
#[must_use]
pub fn slot_index() -> u32 {
    SLOT_INDEX.load(Ordering::Relaxed)
}

/// Generation of our process slot.
#[must_use]
pub fn slot_generation() -> u32 {
    SLOT_GENERATION.load(Ordering::Relaxed)
}

/// True when the recording has the option.
#[inline(always)]
#[must_use]
pub fn has(option: u32) -> bool {
    OPTIONS.load(Ordering::Relaxed) & option != 0
}

/// Innermost frames that a stack keeps, 0: all.
#[must_use]
pub fn depth_max() -> u32 {
    DEPTH_MAX.load(Ordering::Relaxed)
}

/// As [`is_paused`], for the short paths: behind a plain gate there is a slot.
#[inline(always)]
#[must_use]
pub fn is_paused_plain() -> bool {
    let slot = SLOT.load(Ordering::Relaxed) as *const ProcessSlot;
    // SAFETY: set before the gate became plain, and to a slot of the session, which stays mapped.
    unsafe { &*slot }.paused.load(Ordering::Relaxed) != 0
}

/// True when allocations are not recorded right now, by wish of somebody outside.
#[inline(always)]
#[must_use]
pub fn is_paused() -> bool {
    slot().is_some_and(|slot| slot.paused.load(Ordering::Relaxed) != 0)
}

/// True when an allocation of `size` bytes is to be recorded.
#[inline(always)]
#[must_use]
pub fn wants(size: usize) -> bool {
    size as u64 >= SIZE_MIN.load(Ordering::Relaxed) && !is_paused()
}

/// True when calls of our hooks may be part of another one: the real allocator may make them, or
/// an interpreter's allocators, which we wrap.
#[must_use]
pub fn is_allocator_foreign() -> bool {
    IS_FOREIGN.load(Ordering::Relaxed) != 0
}

/// From here on, calls of our hooks may be part of another one.
pub fn note_nested_allocators() {
    IS_FOREIGN.store(1, Ordering::Relaxed);
    if gate::mode() == gate::PLAIN {
        gate::set(gate::GENERAL);
    }
}

/// True when this process records.
#[must_use]
pub fn is_recording() -> bool {
    matches!(gate::mode(), gate::PLAIN | gate::GENERAL)
}

/// True in the process that owns the slot, false in children that share its memory (`vfork`), and
/// where nobody can tell.
#[must_use]
pub fn is_owner() -> bool {
    !sys::is_refused(libc::SYS_getpid) && sys::process_id() == PID.load(Ordering::Relaxed)
}

/// The calling process's id; where it may not be asked for, that of the slot's owner.
#[must_use]
pub fn id() -> u32 {
    if sys::is_refused(libc::SYS_getpid) {
        return PID.load(Ordering::Relaxed);
    }
    sys::process_id()
}

/// True when this process has a session (recording or not).
#[must_use]
pub fn is_started() -> bool {
    STAGE.load(Ordering::Acquire) == STARTED
}

/// Starts recording in this process, at its first allocation or as a fresh fork. False: the
/// caller's event is not recorded. Leaves errno as it is.
#[cold]
#[inline(never)]
pub fn start() -> bool {
    // SAFETY: the C library gives each thread its errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: valid for the thread's life.
    let before = unsafe { *errno };
    let result = start_or_follow();
    // SAFETY: as above.
    unsafe { *errno = before };
    result
}

fn start_or_follow() -> bool {
    let stage = STAGE.load(Ordering::Acquire);
    match stage {
        FRESH => {
            let claim =
                STAGE.compare_exchange(FRESH, STARTING, Ordering::Acquire, Ordering::Relaxed);
            claim.is_ok() && start_fresh()
        }
        STARTED => signals::held(|| {
            let claim =
                STAGE.compare_exchange(STARTED, STARTING, Ordering::Acquire, Ordering::Relaxed);
            claim.is_ok() && {
                follow_fork();
                STAGE.store(STARTED, Ordering::Release);
                true
            }
        }),
        REFUSED => {
            gate::set(gate::OFF);
            false
        }
        _ => false,
    }
}

fn start_fresh() -> bool {
    if !environment::is_there() || !presence::is_ready() {
        // So early that the C library does not know it yet: try again later.
        STAGE.store(FRESH, Ordering::Release);
        return false;
    }
    let found = find_session().and_then(|session| {
        // SAFETY: nobody reads the place before STAGE is STARTED.
        unsafe { (*SESSION.0.get()).write(session) };
        enlist(origin::LAUNCHED, 0)
    });
    let Some(mode) = found else {
        STAGE.store(REFUSED, Ordering::Release);
        gate::set(gate::OFF);
        return false;
    };
    presence::start();
    fork_cuts::start(session().header().streams.load(Ordering::Relaxed));
    thread::start();
    watch_ends();
    // Where the kernel cannot, only the C library's forks are noticed.
    gate::arm();
    // In this order: a thread that found the gate new and the stage started would take itself for
    // a fresh fork.
    gate::set(mode);
    STAGE.store(STARTED, Ordering::Release);
    // The first stream says who we are, and maps the first chunks before the program can change
    // its limits, its rights or its root folder.
    let _first = thread::current().or_else(thread::current_or_born);
    true
}

fn find_session() -> Option<SessionMap> {
    if environment::is_turned_off() || !presence::may_record() {
        return None;
    }
    presence::find_library();
    let mut path = [0u8; heaptape_session::map::PATH_BYTES_MAX];
    let path = match environment::session_path() {
        Some(path) => path,
        None => drainer::start(environment::tape_path()?, &mut path)?,
    };
    let session = SessionMap::open(path).ok()?;
    let header = session.header();
    let is_open = header.state.load(Ordering::Relaxed) != state::CLOSED;
    // A static program passes its environment on as it is.
    let is_first = header.process_high.load(Ordering::Relaxed) == 0;
    let is_followed = header.options.load(Ordering::Relaxed) & options::NO_FOLLOW == 0;
    (is_open && (is_first || is_followed)).then_some(session)
}

/// Claims a process slot and fills it in; the gate's mode to be.
fn enlist(how: u32, cut_ticks: u64) -> Option<u32> {
    let session = session();
    let header = session.header();
    let pid = sys::process_id();
    let start_time = identity::start_time();
    let parent = if how == origin::FORKED {
        Parent::of_fork()
    } else {
        Parent::find(session, pid, start_time)
    };
    let Some((index, generation)) = slots::claim_process(session, pid) else {
        header.refused_images.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let slot = session.process(index)?;
    clock::start(header);
    let cut_ticks = if cut_ticks == 0 {
        clock::now::<true, false>(0)
    } else {
        cut_ticks
    };
    // Relaxed: the phase below publishes them.
    slot.start_time.store(start_time, Ordering::Relaxed);
    slot.pid_namespace
        .store(identity::pid_namespace(), Ordering::Relaxed);
    parent.store(slot, pid, cut_ticks);
    let chosen = header.options.load(Ordering::Relaxed);
    let starts_paused = chosen & options::START_PAUSED != 0;
    if parent.is_paused(session).unwrap_or(starts_paused) {
        slot.paused.store(paused::YES, Ordering::Relaxed);
        slot.began_paused.store(1, Ordering::Relaxed);
    }
    OPTIONS.store(chosen, Ordering::Relaxed);
    DEPTH_MAX.store(header.depth_max.load(Ordering::Relaxed), Ordering::Relaxed);
    SIZE_MIN.store(header.size_min.load(Ordering::Relaxed), Ordering::Relaxed);
    SLOT_INDEX.store(index, Ordering::Relaxed);
    SLOT_GENERATION.store(generation, Ordering::Relaxed);
    PID.store(pid, Ordering::Relaxed);
    if how != origin::FORKED {
        find_allocator();
    }
    SLOT.store(ptr::from_ref(slot) as u64, Ordering::Relaxed);
    slots::set_process_phase(slot, phase::RUNNING);
    Some(mode_of(chosen))
}

fn mode_of(chosen: u32) -> u32 {
    let is_plain = chosen & options::FREE_STACKS == 0
        && clock::is_counter()
        && SIZE_MIN.load(Ordering::Relaxed) == 0
        && !is_allocator_foreign();
    if is_plain { gate::PLAIN } else { gate::GENERAL }
}

/// Finds out which object holds the real allocator, and whether calls come through us at all.
fn find_allocator() {
    let allocator = presence::find_allocator();
    IS_FOREIGN.store(u32::from(allocator.is_foreign), Ordering::Relaxed);
    ALLOCATOR_PATH.store(allocator.path as u64, Ordering::Relaxed);
    IS_BYPASSED.store(u32::from(allocator.is_bypassed), Ordering::Relaxed);
}

/// Writes who we are into the first stream of the process, which is that of `level`.
pub fn introduce(level: &mut Level) {
    lineage::note_stream();
    let allocator = ptr::NonNull::new(ALLOCATOR_PATH.load(Ordering::Relaxed) as *mut c_char);
    // SAFETY: the loader's name of an object that stays loaded: a C string.
    let allocator = allocator.map(|name| unsafe { CStr::from_ptr(name.as_ptr()) });
    let is_bypassed = IS_BYPASSED.load(Ordering::Relaxed) != 0;
    identity::write(level, allocator, is_bypassed);
    fork_cuts::write(level);
    crate::api::write_domains(level);
}

/// Asks the C library to tell us of forks and of the exit. Registered early, so that our part of a
/// fork's preparation runs last and the child's first.
fn watch_ends() {
    c_library::watch_forks(before_fork, after_fork_in_parent, after_fork_in_child);
    c_library::watch_exit(at_exit);
}

/// Ticks before the fork that is under way, for a thread that has no state of its own; 0: none.
static FORK_TICKS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn before_fork() {
    if sandbox::has_ended() {
        return;
    }
    // A child of a fork that was not seen: its own inheritance comes first.
    if gate::mode() == gate::NEW {
        start();
    }
    let ticks = clock::now::<true, false>(0);
    // Relaxed: read by the child, whose only thread is this one. Another thread that forks at the
    // same time moves it by the length of a fork.
    FORK_TICKS.store(ticks, Ordering::Relaxed);
    thread::note_fork(ticks);
}

unsafe extern "C" fn after_fork_in_parent() {
    FORK_TICKS.store(0, Ordering::Relaxed);
    thread::note_fork(0);
    if matches!(gate::mode(), gate::PLAIN | gate::GENERAL) && !sandbox::may_fork() {
        let mut path = modules::PathBuffer::default();
        lineage::note_not_recorded(FORBIDDEN_CALLS, modules::executable(&mut path));
    }
}

unsafe extern "C" fn after_fork_in_child() {
    // Where the kernel cannot empty the gate's page, this is the only sign of the fork.
    gate::set(gate::NEW);
    start();
}

unsafe extern "C" fn at_exit(code: c_int, _argument: *mut c_void) {
    // Where nobody can tell, it is not a child of `vfork`: those have no business here.
    if sys::is_refused(libc::SYS_getpid) || is_owner() {
        note_end(code);
    }
}

/// Notes the code that the process is about to exit with, unless it is a child of `vfork`.
pub fn ends_with(code: c_int) {
    if is_started() && is_owner() {
        note_end(code);
    }
}

fn note_end(code: c_int) {
    if let Some(slot) = slot() {
        if !sandbox::has_ended() {
            slot.end_ticks
                .store(clock::now::<true, false>(0), Ordering::Relaxed);
        }
        slot.exit_code.store(code as u32 & 0xff, Ordering::Relaxed);
        // Release: pairs with the drainer's Acquire load of `exit_known`.
        slot.exit_known.store(1, Ordering::Release);
    }
}

/// In a fresh fork: an own slot, or no recording.
fn follow_fork() {
    let noted = FORK_TICKS.swap(0, Ordering::Relaxed);
    let cut = match thread::fork_ticks() {
        0 => noted,
        ticks => ticks,
    };
    fork_cuts::take_over(cut);
    thread::forget_parents();
    let header = session().header();
    let is_over = header.state.load(Ordering::Relaxed) == state::CLOSED;
    let parents = slot();
    SLOT.store(0, Ordering::Relaxed);
    let was_off = parents.is_none_or(|slot| slot.turned_off.load(Ordering::Relaxed) != 0);
    let is_left_out = was_off || has(options::NO_FOLLOW) || !sandbox::may_fork();
    let mode = if is_over || is_left_out {
        None
    } else {
        modules::forget();
        #[cfg(target_env = "gnu")]
        crate::python::forget();
        enlist(origin::FORKED, cut)
    };
    if mode.is_none() {
        PID.store(0, Ordering::Relaxed);
    }
    gate::set(mode.unwrap_or(gate::OFF));
}

/// Stops recording in this process; what is not recorded from now on is counted.
#[cold]
pub fn turn_off(reason: u32) {
    if let Some(slot) = slot() {
        slot.turned_off.store(reason, Ordering::Relaxed);
    }
    gate::set(gate::COUNTING);
}

/// As [`turn_off`], before a ban; `None`: for a child of `vfork`, which is not to be told of.
pub fn end_for_ban(reason: Option<u32>) {
    if let (Some(slot), Some(reason)) = (slot(), reason) {
        // A reason that stands there already came first.
        let _ = slot
            .turned_off
            .compare_exchange(0, reason, Ordering::Relaxed, Ordering::Relaxed);
    }
    gate::set(gate::COUNTING);
}

/// The ban for which recording ended did not come.
pub fn go_on_after_ban(reason: u32) {
    if let Some(slot) = slot() {
        let _ = slot
            .turned_off
            .compare_exchange(reason, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Notes that a thread cannot be recorded because of what the program forbids itself.
pub fn note_forbidden_thread() {
    if let Some(slot) = slot() {
        // Relaxed: the drainer reads it when the process is over.
        slot.threads_forbidden.store(1, Ordering::Relaxed);
    }
}

/// Counts an event of a thread that has no stream; how many there were before.
pub fn count_lost() -> u32 {
    slot().map_or(0, |slot| slot.lost.fetch_add(1, Ordering::Relaxed))
}

/// Counts an event after the process was turned off.
pub fn count_turned_off() {
    // After a ban without a stamp.
    let Some(thread) = thread::current().filter(|_| !sandbox::has_ended()) else {
        count_lost();
        return;
    };
    // SAFETY: it is this thread's state, and was opened at birth.
    let slot = unsafe { Level::slot_of(Thread::level(thread)) };
    recording::count_lost_in(slot, recording::TURNED_OFF);
}
