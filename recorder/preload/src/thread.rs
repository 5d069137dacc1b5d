//! A thread's private state: what it needs to record, found by one load from thread-local storage.
//!
//! Born at the thread's first event: claims a stream in the session. Ends in the last round of the
//! thread's key destructors, so that destructors that allocate are recorded too; the memory then
//! waits in a pool for the next thread. Whatever a thread allocates even later opens a stream of
//! its own, which the drainer finds without owner.

use crate::caller::Caller;
use crate::level::{self, Level};
use crate::{fork_cuts, gate, process};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use heaptape_session::sys;

/// Value of the thread-local word while the thread is being born: a signal handler that comes in
/// between finds no state to use.
const UNBORN: usize = 1;
/// Value of the thread-local word when the session had no place for the thread.
const PLACELESS: usize = 2;
/// glibc runs this many rounds of key destructors.
const DESTRUCTOR_ROUNDS: u32 = 4;
/// Unused states that are kept for the next threads.
const POOL_PLACES: usize = 64;
/// After so many lost events a thread without place asks for one again.
const LOST_BEFORE_RETRY: u32 = 256;

core::arch::global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".p2align 3",
    ".hidden heaptape_thread_word",
    ".globl heaptape_thread_word",
    ".type heaptape_thread_word,@object",
    ".size heaptape_thread_word,8",
    "heaptape_thread_word:",
    ".zero 8",
    ".popsection",
);

/// A thread's state. All-zero bytes are valid.
#[derive(Debug)]
pub struct Thread {
    /// The thread's own stream.
    pub level: Level,
    /// That of nested signal handlers; none until there was one.
    nested: Option<NonNull<Level>>,
    /// Stack pointer of the call that is inside an allocator which may call us back; 0: none.
    pub depth: usize,
    /// Where the interpreter has got a block for an object that it has not told of since; 0:
    /// nowhere. Only when it tells of objects.
    pub new_object: usize,
    /// Rounds of key destructors that have passed.
    rounds: u32,
    /// Stamp at the last fork that is not over, 0: none.
    pub fork_ticks: u64,
    /// True when that fork interrupted the recorder: it came from a signal handler.
    is_fork_inside: bool,
    /// Memory for environments that are too long for the stack; kept, because a child of `vfork`
    /// that uses it and execs cannot give it back.
    scratch: *mut u8,
    /// Its length.
    scratch_bytes: usize,
}

static POOL: [AtomicU64; POOL_PLACES] = [const { AtomicU64::new(0) }; POOL_PLACES];
/// The pthread key + 1; 0: none.
static KEY: AtomicU32 = AtomicU32::new(0);

/// The thread-local word.
#[inline(always)]
fn word() -> usize {
    let value: usize;
    // SAFETY: the initial-exec form of the access to a variable of this library.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + heaptape_thread_word@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) value,
            options(nostack, preserves_flags, readonly),
        );
    }
    value
}

fn set_word(value: usize) {
    // SAFETY: as in `word`; only this thread has the variable.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + heaptape_thread_word@GOTTPOFF]",
            "mov qword ptr fs:[{0}], {1}",
            out(reg) _,
            in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// Address of the calling thread's control block: the same for a thread and a child of its `vfork`.
#[must_use]
pub fn control_block() -> usize {
    let address: usize;
    // SAFETY: on x86-64 Linux the word at fs:0 is the address of the thread control block.
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) address,
            options(nostack, preserves_flags, readonly));
    }
    address
}

/// The calling thread's state, if it was born.
#[inline(always)]
#[must_use]
pub fn current() -> Option<NonNull<Thread>> {
    let word = word();
    if word > PLACELESS {
        NonNull::new(word as *mut Thread)
    } else {
        None
    }
}

/// The calling thread's state, born now if it must be. `None`: the event is lost, and was counted.
#[cold]
#[must_use]
pub fn current_or_born() -> Option<NonNull<Thread>> {
    match word() {
        0 => birth(),
        UNBORN => {
            process::count_lost();
            None
        }
        PLACELESS => {
            if process::count_lost().is_multiple_of(LOST_BEFORE_RETRY) {
                set_word(0);
            }
            None
        }
        known => NonNull::new(known as *mut Thread),
    }
}

/// Makes the key whose destructor tells us that a thread ends. Once, before the first birth.
pub fn start() {
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: the place is valid; the destructor has the type that is asked for.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(ending)) } == 0 {
        KEY.store(key + 1, Ordering::Relaxed);
    }
}

fn birth() -> Option<NonNull<Thread>> {
    set_word(UNBORN);
    let thread = take_state();
    let needed = match thread {
        Some(_) => libc::SYS_gettid,
        None => libc::SYS_mmap,
    };
    let Some(thread) = thread.filter(|thread| open(*thread)) else {
        if sys::is_refused(needed) {
            process::note_forbidden_thread();
        }
        process::count_lost();
        set_word(PLACELESS);
        return None;
    };
    // SAFETY: the state stays mapped.
    if unsafe { (*thread.as_ptr()).level.is_abandoned } {
        // A signal handler has forked, and this is its child.
        return current_or_born();
    }
    let key = KEY.load(Ordering::Relaxed);
    if key != 0 {
        // SAFETY: the key was made by `start`. The word is set, so an allocation that this call
        // makes for keys beyond the first block finds the state in order.
        unsafe { libc::pthread_setspecific(key - 1, thread.as_ptr().cast()) };
    }
    Some(thread)
}

fn take_state() -> Option<NonNull<Thread>> {
    for place in &POOL {
        // Acquire: pairs with Release in `give_back`.
        if place.load(Ordering::Relaxed) != 0 {
            let taken = place.swap(0, Ordering::Acquire);
            if taken != 0 {
                return NonNull::new(taken as *mut Thread);
            }
        }
    }
    NonNull::new(sys::map_private(size_of::<Thread>())?.cast())
}

fn give_back(thread: NonNull<Thread>) {
    let mut unused = thread;
    // SAFETY: nobody else has the state any more.
    let state = unsafe { unused.as_mut() };
    state.level.shrink_stack();
    for place in &POOL {
        // Release: pairs with Acquire in `take_state`.
        let put = place.compare_exchange(
            0,
            thread.as_ptr() as u64,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if put.is_ok() {
            return;
        }
    }
    // The pool is full: more threads end at once than usually live.
    state.level.drop_stack();
    fork_cuts::forget(&mut state.level);
    if !state.scratch.is_null() {
        // SAFETY: mapped by `scratch`, for this thread alone.
        unsafe { sys::unmap(state.scratch, state.scratch_bytes) };
    }
    // SAFETY: mapped by `take_state`.
    unsafe { sys::unmap(thread.as_ptr().cast(), size_of::<Thread>()) };
}

/// Fills in a fresh or used state for this thread, and sets the word to it.
fn open(mut thread: NonNull<Thread>) -> bool {
    // SAFETY: nobody else has the state: it is fresh or came from the pool.
    let state = unsafe { thread.as_mut() };
    state.depth = 0;
    state.rounds = 0;
    state.fork_ticks = 0;
    Level::open(Thread::level(thread), 0, || {
        set_word(thread.as_ptr() as usize)
    })
}

/// Reads the name again, for a thread that changed its own.
pub fn renamed() {
    if let Some(thread) = current() {
        // SAFETY: the state is this thread's, and its level is open once it was born.
        level::note_name(unsafe { Level::slot_of(Thread::level(thread)) });
    }
}

impl Thread {
    /// The thread's own level. No reference is made: an interrupted call of this thread may hold
    /// one.
    #[inline(always)]
    #[must_use]
    pub fn level(thread: NonNull<Self>) -> NonNull<Level> {
        // SAFETY: the field lies within the state.
        unsafe { thread.byte_add(core::mem::offset_of!(Self, level)) }.cast()
    }

    /// Enters the recorder for one event of the call at `caller`: the level to write with, or
    /// `None` when it is lost (and counted).
    ///
    /// # Safety
    /// `thread` must be the calling thread's state.
    #[inline(always)]
    pub unsafe fn enter(thread: NonNull<Self>, caller: Caller) -> Option<NonNull<Level>> {
        let level = Self::level(thread);
        // SAFETY: the level was opened at birth.
        let slot = unsafe { Level::slot_of(level) };
        // Relaxed: the drainer's membarrier orders guard and stamp (see `layout::StreamSlot`).
        if slot.guard.load(Ordering::Relaxed) != 0 {
            // SAFETY: as for this function.
            return unsafe { Self::enter_nested(thread, caller) };
        }
        slot.guard.store(caller.sp as u64, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(level)
    }

    #[cold]
    unsafe fn enter_nested(thread: NonNull<Self>, caller: Caller) -> Option<NonNull<Level>> {
        let level = Self::level(thread);
        // SAFETY: as in `enter`.
        let slot = unsafe { Level::slot_of(level) };
        if is_stale(slot.guard.load(Ordering::Relaxed) as usize, caller) {
            return Level::reopen(level, 0, caller);
        }
        // SAFETY: only this thread, in its handlers, touches the field; no reference is kept.
        let known = || unsafe { (*thread.as_ptr()).nested };
        if known().is_none() {
            // SAFETY: as above.
            Level::birth_of_nested(|level| unsafe { (*thread.as_ptr()).nested = Some(level) });
        }
        let Some(nested) = known() else {
            crate::recording::count_lost_in(slot, crate::recording::NESTED);
            return None;
        };
        // SAFETY: it was opened.
        let nested_slot = unsafe { Level::slot_of(nested) };
        let guard = nested_slot.guard.load(Ordering::Relaxed) as usize;
        if guard != 0 && is_stale(guard, caller) {
            return Level::reopen(nested, 1, caller);
        }
        if guard != 0 {
            crate::recording::count_lost_in(slot, crate::recording::NESTED);
            return None;
        }
        nested_slot.guard.store(caller.sp as u64, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(nested)
    }

    /// Leaves the recorder.
    ///
    /// # Safety
    /// `level` must be what `enter` returned.
    #[inline(always)]
    pub unsafe fn leave(level: NonNull<Level>) {
        // SAFETY: a level that was entered is open.
        let slot = unsafe { Level::slot_of(level) };
        // Release: pairs with the drainer's Acquire load of the guard; whoever sees it clear sees
        // what was published before.
        slot.guard.store(0, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }
}

/// True when the call that set a guard at stack pointer `guard` is gone: a signal handler left it
/// by `longjmp`. Its frame lies at or below (was called no earlier than) the caller's, on the same
/// stack.
pub fn is_stale(guard: usize, caller: Caller) -> bool {
    const STACK_BYTES_MAX: usize = 64 << 20;
    let above = (caller.sp as usize).wrapping_sub(guard);
    if above > STACK_BYTES_MAX {
        return false;
    }
    // A handler on its own stack may lie above the call that it interrupted.
    let mut stack: libc::stack_t = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    let arguments = [0, (&raw mut stack) as usize, 0, 0, 0, 0];
    // SAFETY: the structure is valid for the kernel to fill in.
    let result = unsafe { sys::syscall6(libc::SYS_sigaltstack, arguments) };
    result == 0 && stack.ss_flags & libc::SS_ONSTACK == 0
}

/// The key's destructor.
unsafe extern "C" fn ending(value: *mut c_void) {
    let Some(mut thread) = NonNull::new(value.cast::<Thread>()) else {
        return;
    };
    if current() != Some(thread) {
        return;
    }
    // SAFETY: it is this thread's own state.
    let rounds = unsafe { &mut (*thread.as_ptr()).rounds };
    *rounds += 1;
    if *rounds < DESTRUCTOR_ROUNDS {
        let key = KEY.load(Ordering::Relaxed);
        // SAFETY: the key was made by `start`: ask for another round.
        unsafe { libc::pthread_setspecific(key - 1, value) };
        return;
    }
    set_word(0);
    // SAFETY: the word no longer leads to the state, so no handler uses it from here on.
    let state = unsafe { thread.as_mut() };
    state.level.close();
    if let Some(nested) = state.nested.take() {
        // SAFETY: the word no longer leads there.
        unsafe { Level::end(nested) };
    }
    give_back(thread);
}

/// In a forked child: drops what belongs to the parent's thread. The next event is a birth.
pub fn forget_parents() {
    let known = current();
    set_word(0);
    let Some(mut thread) = known else {
        return;
    };
    // SAFETY: the child's only thread has its own copy of the state.
    let state = unsafe { thread.as_mut() };
    // The parent's chunks are out of reach from now on, whatever comes.
    state.level.abandon();
    if let Some(mut nested) = state.nested.take() {
        // SAFETY: as above; the memory stays behind.
        unsafe { nested.as_mut() }.abandon();
    }
    // When a signal handler that interrupted the recorder has forked, the interrupted call comes
    // back to this memory, which therefore is not used again. Only the parent could tell; its guard
    // is no help any more, for it has gone on since. Without a note (a fork that the C library did
    // not make) nobody knows.
    if state.fork_ticks != 0 && !state.is_fork_inside {
        give_back(thread);
    }
}

/// Memory of at least `bytes` for the calling thread (and a child of its `vfork`), until it asks
/// again.
#[must_use]
pub fn scratch(bytes: usize) -> Option<*mut u8> {
    let Some(thread) = current() else {
        return sys::map_private(bytes);
    };
    // SAFETY: it is this thread's own state.
    let state = unsafe { &mut *thread.as_ptr() };
    if state.scratch_bytes < bytes {
        let memory = sys::map_private(bytes)?;
        if !state.scratch.is_null() {
            // SAFETY: mapped here earlier; by contract no longer used.
            unsafe { sys::unmap(state.scratch, state.scratch_bytes) };
        }
        state.scratch = memory;
        state.scratch_bytes = bytes;
    }
    Some(state.scratch)
}

/// Stamps the moment before a fork in the calling thread; 0 after it.
pub fn note_fork(ticks: u64) {
    if let Some(thread) = current() {
        // SAFETY: a thread's state that was born has an open level.
        let slot = unsafe { Level::slot_of(Thread::level(thread)) };
        let is_inside = slot.guard.load(Ordering::Relaxed) != 0;
        // SAFETY: it is this thread's own state.
        let state = unsafe { &mut *thread.as_ptr() };
        state.fork_ticks = ticks;
        state.is_fork_inside = is_inside;
    }
}

/// The stamp that [`note_fork`] left in the forking thread, 0 when there is none.
#[must_use]
pub fn fork_ticks() -> u64 {
    // SAFETY: it is this thread's own state.
    current().map_or(0, |thread| unsafe { (*thread.as_ptr()).fork_ticks })
}

/// True when this process records and the thread can be had for an event.
#[must_use]
pub fn admitted() -> Option<NonNull<Thread>> {
    loop {
        match gate::mode() {
            gate::PLAIN | gate::GENERAL => {
                return current().or_else(current_or_born);
            }
            gate::NEW if process::start() => {}
            gate::COUNTING => {
                process::count_turned_off();
                return None;
            }
            _ => return None,
        }
    }
}
