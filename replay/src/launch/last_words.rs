//! What is still done when this process cannot go on: its memory is used up, or it is at fault.
//!
//! In: how far a verb has come. Out: one line on standard error and the exit code that is due: the
//! command's own, which is waited for when it still runs. Under a tight limit (`ulimit -d`, `-v`)
//! any allocation can fail, so everything is prepared before and nothing here allocates. A second
//! process for the work at the end would need memory that may be lacking, and would not help
//! while the command runs; this works at any moment.

use super::record::exit_code;
use super::signals::Signals;
use super::{endings, watch};
use heaptape::temporary;
use heaptape::top::terminal;
use heaptape_session::layout::state;
use heaptape_session::sync::AtomicU32;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// Why this process cannot go on.
const OUT_OF_MEMORY: &str = "out of memory (a limit of `ulimit -d` or `-v`, or the system's)";
/// Signals by which the system tells that memory is used up (a stack that cannot grow), or that
/// something is at fault.
const FATAL: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Where a verb has come to.
#[derive(Debug)]
struct Stage {
    /// Stands behind the reason; empty: nothing is said.
    message: String,
    exit: Exit,
}

/// The exit code that is due.
#[derive(Debug)]
enum Exit {
    /// It is known.
    Code(u8),
    /// The command has it, which runs as this process.
    Command {
        pid: u32,
        /// What is sent on to it; None: no descriptor was left.
        signals: Option<Signals>,
        /// Recorders read it; valid while the session is mapped.
        session: *const AtomicU32,
    },
}

/// The present stage; never freed. Null: nothing special is done.
static STAGE: AtomicPtr<Stage> = AtomicPtr::new(std::ptr::null_mut());
/// The thread that is at the end already; 0: none. Relaxed: a thread must only know itself.
static ENDING: AtomicI32 = AtomicI32::new(0);
/// The command, while it runs; 0: none. Relaxed: nothing else is handed over by it.
static COMMAND: AtomicI32 = AtomicI32::new(0);
/// The exit code of whoever fails while it says its last words. Relaxed, as before.
static EXIT_CODE: AtomicI32 = AtomicI32::new(FAILED);
/// The exit code where none is known.
const FAILED: i32 = 125;

/// From now on a failure says `message` and ends with `code`. For any verb: only memory that is
/// used up counts as such a failure; what else goes wrong is shown in full.
pub(crate) fn are(message: impl Into<String>, code: u8) {
    enter(message.into(), Exit::Code(code));
}

/// From now on a failure lets the command, process `pid`, run to its end without being recorded
/// any further, says `message`, and ends with the command's exit code.
///
/// # Safety
/// `session` (see [`heaptape_drain::Drainer::session_state`]) must be valid until the next stage
/// begins.
pub(crate) unsafe fn wait_for_command(
    message: String,
    pid: u32,
    signals: &Signals,
    session: *const AtomicU32,
) {
    let exit = Exit::Command {
        pid,
        signals: signals.try_clone(),
        session,
    };
    enter(message, exit);
}

fn enter(message: String, exit: Exit) {
    let (command, code) = match &exit {
        Exit::Code(code) => (0, i32::from(*code)),
        Exit::Command { pid, .. } => (*pid as i32, FAILED),
    };
    COMMAND.store(command, Ordering::Relaxed);
    EXIT_CODE.store(code, Ordering::Relaxed);
    let stage = Box::into_raw(Box::new(Stage { message, exit }));
    // Release: pairs with Acquire in `give_up`. The old stage stays: somebody may read it.
    STAGE.store(stage, Ordering::Release);
}

/// Once the command has started, its exit code matters more than what a failure of ours looks
/// like: neither Rust's words for it are shown, nor is its exit code given.
pub(crate) fn for_any_failure() {
    std::panic::set_hook(Box::new(panicked));
    for signal in FATAL {
        let handler: extern "C" fn(_, _, _) = on_signal;
        let action = libc::sigaction {
            sa_sigaction: handler as libc::sighandler_t,
            // SAFETY: all-zero bytes are an empty set.
            sa_mask: unsafe { std::mem::zeroed() },
            // The thread's own stack may be what could not grow.
            sa_flags: libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_SIGINFO,
            sa_restorer: None,
        };
        // SAFETY: a valid structure; the handler makes system calls alone.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// The work from now on can be interrupted, by any signal that ends programs: the present stage's
/// message is said, and the exit code is 128 and the signal's number, whatever else is due: whoever
/// interrupts wants no more to be done, and a script must see that.
pub(crate) fn for_interruptions() {
    handle_endings(on_interruption);
}

/// Whatever ends the process leaves no unfinished files; else it is as in any program.
pub(crate) fn for_files() {
    handle_endings(on_ending);
    // What Rust's own `abort` raises, and what a sandbox does.
    for signal in [libc::SIGABRT, libc::SIGSYS] {
        handle(signal, on_ending);
    }
}

fn handle_endings(handler: extern "C" fn(libc::c_int)) {
    for signal in endings::all() {
        handle(signal, handler);
    }
}

fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: a valid signal; the handler makes system calls alone.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

extern "C" fn on_ending(signal: libc::c_int) {
    terminal::give_back();
    temporary::remove_all();
    // SAFETY: a valid signal.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // It comes when this handler is left, and ends us. SAFETY: a valid signal.
    unsafe { libc::raise(signal) };
}

extern "C" fn on_interruption(signal: libc::c_int) {
    let code = 128 + signal;
    terminal::give_back();
    temporary::remove_all();
    // SAFETY: a plain call.
    let thread = unsafe { libc::gettid() };
    let first = ENDING.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
    // Acquire: pairs with Release in `enter`.
    let stage = STAGE.load(Ordering::Acquire);
    // SAFETY: a stage that is never freed.
    if let Some(stage) = unsafe { stage.as_ref() }.filter(|_| first.is_ok()) {
        // The end of the terminal's line: the progress, or what the key shows.
        // SAFETY: a plain call.
        let line_end: &[u8] = match unsafe { libc::isatty(2) } {
            1 if !stage.message.is_empty() => b"\n",
            _ => b"",
        };
        // SAFETY: valid for reads of that length.
        unsafe { libc::write(2, line_end.as_ptr().cast(), line_end.len()) };
        say(b"interrupted", &stage.message);
    }
    // SAFETY: ends the process at once; a tape is amended wholly or not at all.
    unsafe { libc::_exit(code) };
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *const libc::siginfo_t,
    _context: *const libc::c_void,
) {
    // SAFETY: the kernel gives a valid structure, with a sender where the code is not positive.
    let sender = unsafe { info.as_ref() }.filter(|info| info.si_code <= 0);
    // SAFETY: as before.
    let sender = sender.map(|info| unsafe { info.si_pid() });
    if sender.is_some_and(|pid| pid != std::process::id().cast_signed()) {
        let command = COMMAND.load(Ordering::Relaxed);
        if command != 0 {
            // It is meant for the command. SAFETY: a child of ours that was not waited for, or has
            // just been: then its id is hardly another's.
            unsafe { libc::kill(command, signal) };
            return;
        }
    }
    let mut text = Cursor::new([0; 64]);
    // Cut where it is too long.
    let _ = write!(text, "internal error (signal {signal})");
    give_up(filled(&text));
    // SAFETY: there is no stage; ends the process.
    unsafe { libc::_exit(FAILED) };
}

fn panicked(info: &PanicHookInfo<'_>) {
    let mut text = Cursor::new([0; 256]);
    let written = match info.location() {
        // Its pool panics when the system gives it no threads.
        Some(location) if location.file().contains("rayon-core") => {
            write!(
                text,
                "no memory or no threads (a limit of `ulimit -d`, `-v` or `-u`)"
            )
        }
        Some(location) => write!(
            text,
            "internal error at {}:{}",
            location.file(),
            location.line()
        ),
        None => write!(text, "internal error"),
    };
    // Cut where it is too long.
    drop(written);
    give_up(filled(&text));
}

fn filled<const N: usize>(text: &Cursor<[u8; N]>) -> &[u8] {
    let length = usize::try_from(text.position()).unwrap_or(N);
    text.get_ref().get(..length).unwrap_or_default()
}

/// Ends the process as the present stage says; returns when there is none.
fn give_up(reason: &[u8]) {
    // Acquire: pairs with Release in `enter`.
    let stage = STAGE.load(Ordering::Acquire);
    if stage.is_null() {
        return;
    }
    // SAFETY: a plain call.
    let thread = unsafe { libc::gettid() };
    let first = ENDING.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
    if first == Err(thread) {
        // Not even this works.
        // SAFETY: ends the process.
        unsafe { libc::_exit(EXIT_CODE.load(Ordering::Relaxed)) };
    }
    if first.is_err() {
        loop {
            // SAFETY: waits until the process ends, which another thread sees to.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: a stage that is never freed, and that nobody else uses: only one comes here.
    let stage = unsafe { &mut *stage };
    let code = match &mut stage.exit {
        Exit::Code(code) => *code,
        Exit::Command {
            pid,
            signals,
            session,
        } => {
            stop_main_thread(thread);
            // SAFETY: valid in this stage, says whoever entered it.
            if let Some(state) = unsafe { session.as_ref() } {
                // Release: pairs with whoever looks whether the session is open.
                state.store(state::CLOSED, Ordering::Release);
            }
            exit_code(watch::until_bare_command_ends(signals.as_mut(), *pid))
        }
    };
    terminal::give_back();
    temporary::remove_all();
    say(reason, &stage.message);
    // SAFETY: ends the process at once; what was written is in the files.
    unsafe { libc::_exit(libc::c_int::from(code)) };
}

/// The main thread, which does all work that is seen, must not go on while `thread` waits for the
/// command: the signal brings it to the waiting in `give_up`.
fn stop_main_thread(thread: libc::pid_t) {
    let process = std::process::id().cast_signed();
    if thread != process {
        // SAFETY: a plain call.
        unsafe { libc::syscall(libc::SYS_tgkill, process, process, libc::SIGABRT) };
    }
}

fn say(reason: &[u8], message: &str) {
    if message.is_empty() {
        return;
    }
    // Not put together: this may run on the small stack for signals.
    let parts: [&[u8]; 5] = [b"heaptape: ", reason, b"; ", message.as_bytes(), b"\n"];
    let parts = parts.map(|part| libc::iovec {
        iov_base: part.as_ptr().cast_mut().cast(),
        iov_len: part.len(),
    });
    // SAFETY: as many valid parts, which are only read.
    unsafe { libc::writev(2, parts.as_ptr(), parts.len() as libc::c_int) };
}

/// The system's allocator, and [`OUT_OF_MEMORY`] when it has nothing more.
#[derive(Debug)]
pub(crate) struct Allocator;

fn checked(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        give_up(OUT_OF_MEMORY.as_bytes());
    }
    block
}

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's own call.
        checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's own call.
        checked(unsafe { System.realloc(block, layout, bytes) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's own call.
        unsafe { System.dealloc(block, layout) };
    }
}
