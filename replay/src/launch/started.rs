//! What this process was started with and Rust's start-up code changes before `main`.
//!
//! In: the process as the loader found it. Out: facts, for the command, which must be started with
//! the same, and for verbs whose standard output is closed: Rust opens `/dev/null` in its place,
//! and nobody would notice that the answer went nowhere.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
/// What this program takes, in bytes, and with less it does not even read its command line.
const STACK_WANTED: u64 = 8 << 20;
const STACK_NEEDED: u64 = 128 << 10;
/// Closed one by one where the kernel is older than `close_range`: we have a handful.
const DESCRIPTORS_MAX: RawFd = 1024;
/// The limit before it was raised; `u64::MAX`: it was not.
static STACK_SOFT: AtomicU64 = AtomicU64::new(u64::MAX);
static STACK_HARD: AtomicU64 = AtomicU64::new(u64::MAX);
/// `main`'s arguments.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static ARGUMENTS: AtomicPtr<*mut libc::c_char> = AtomicPtr::new(std::ptr::null_mut());
/// By descriptor.
static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// The C library passes `main`'s arguments on to functions that it calls before.
extern "C" fn note(count: libc::c_int, arguments: *const *mut libc::c_char) {
    COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    raise_stack_limit();
    // Relaxed, here and below: written before `main`, when there is one thread.
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    for (descriptor, was_closed) in WAS_CLOSED.iter().enumerate() {
        // SAFETY: only asks for flags.
        let flags = unsafe { libc::fcntl(descriptor as libc::c_int, libc::F_GETFD) };
        was_closed.store(flags < 0, Ordering::Relaxed);
    }
}

#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this one
// makes a few system calls.
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn(libc::c_int, *const *mut libc::c_char) = note;

/// Takes as much stack as this program needs: the kernel asks for the limit when a stack grows.
fn raise_stack_limit() {
    let Some(limit) = stack_limit_now() else {
        return;
    };
    if limit.rlim_cur >= STACK_WANTED {
        return;
    }
    let most = [limit.rlim_max.max(STACK_WANTED), limit.rlim_max];
    for rlim_max in most {
        let more = libc::rlimit {
            rlim_cur: rlim_max.min(STACK_WANTED),
            rlim_max,
        };
        // SAFETY: a valid structure.
        if unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const more) } == 0 {
            STACK_SOFT.store(limit.rlim_cur, Ordering::Relaxed);
            STACK_HARD.store(limit.rlim_max, Ordering::Relaxed);
            return;
        }
    }
}

fn stack_limit_now() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: valid for the call to fill in.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    (result == 0).then_some(limit)
}

/// The limit of the stack that this process was started with, where that was changed.
pub(crate) fn stack_limit() -> Option<libc::rlimit> {
    let rlim_cur = STACK_SOFT.load(Ordering::Relaxed);
    let rlim_max = STACK_HARD.load(Ordering::Relaxed);
    (rlim_cur != u64::MAX).then_some(libc::rlimit { rlim_cur, rlim_max })
}

/// The limit of the stack in bytes, when this program would overflow it.
pub(crate) fn too_small_stack() -> Option<u64> {
    let bytes = stack_limit_now()?.rlim_cur;
    (bytes < STACK_NEEDED).then_some(bytes)
}

/// SIGPIPE was ignored.
pub(crate) fn pipe_was_ignored() -> bool {
    PIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Standard output was closed.
pub(crate) fn output_was_closed() -> bool {
    WAS_CLOSED
        .get(1)
        .is_some_and(|was_closed| was_closed.load(Ordering::Relaxed))
}

/// Gives back, before exec, what was changed before `main`. System calls only.
pub(crate) fn restore() {
    if !pipe_was_ignored() {
        // SAFETY: a valid signal and disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    close_what_was_closed();
    if let Some(limit) = stack_limit() {
        // SAFETY: a valid structure.
        unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) };
    }
}

/// Closes the standard descriptors that were closed. System calls only.
fn close_what_was_closed() {
    for (descriptor, was_closed) in WAS_CLOSED.iter().enumerate() {
        if was_closed.load(Ordering::Relaxed) {
            // SAFETY: `/dev/null`, which nobody opened knowingly.
            unsafe { libc::close(descriptor as libc::c_int) };
        }
    }
}

/// Makes this process one without arguments, as `ps` and `pkill` see it. For a forked child that
/// is alone in its memory.
fn hide_command_line() {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    for index in 0..COUNT.load(Ordering::Relaxed) {
        // SAFETY: the C library's own array, of that length.
        let place = unsafe { arguments.add(index) };
        // SAFETY: as above.
        let argument = unsafe { place.read() };
        if argument.is_null() {
            continue;
        }
        // SAFETY: a string that ends with zero.
        let length = unsafe { libc::strlen(argument) };
        // SAFETY: the string, in memory that a program may write to.
        unsafe { argument.write_bytes(0, length) };
    }
}

/// For a forked child of ours that waits beside the command: it gets no signals, has no command
/// line and the name `name`, so that who looks for ours finds us alone, and ends with its parent.
pub(crate) fn keep_out_of_the_way(name: &CStr) {
    hide_command_line();
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: valid for the call to fill in.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: filled in above.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the name ends with zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    // SAFETY: takes a signal.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Closes all descriptors from `first` on, in a forked child: whoever reads our pipes must not wait
/// for it.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: descriptors of this process, in which nothing else runs.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == 0 {
        return;
    }
    for descriptor in first..DESCRIPTORS_MAX {
        // SAFETY: as above.
        unsafe { libc::close(descriptor) };
    }
}

/// True when this process ignores `signal`.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the structure is valid for the call to fill in; nothing is changed.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed or filled in, and all-zero bytes are valid.
    let action = unsafe { action.assume_init() };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
