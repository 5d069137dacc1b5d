//! Job control: when the command stops, we stop, so that the shell that waits for us has its
//! terminal back; when we are continued, so is the command.
//!
//! In: the command was seen stopped. Out: this process stopped by the same signal, and was
//! continued. Any stop counts, whoever asked for it: bare, the shell would see its job stopped too,
//! and whoever does not wait for stopped children does not notice. (What a debugger does to the
//! command is no such stop: the kernel tells the debugger alone.)
//!
//! A stopped process drains nothing, and somebody may continue the command alone, or the command's
//! children may still run. So a watcher is forked for as long as we are stopped. It continues us
//! when the command goes on or has ended, and when recorders wait for room in the session: then we
//! make room and stop again. Where the kernel does not let us stop (by SIGTSTP, SIGTTIN or SIGTTOU
//! in a process group that no shell looks after) draining just goes on.

use super::started;
use std::io::{Cursor, Write};
use std::mem::MaybeUninit;

/// How often the watcher looks.
const LOOK_NANOSECONDS: libc::c_long = 20_000_000;
/// The start of a `stat` file: the state stands behind a name of at most 64 bytes.
const STAT_BYTES: usize = 160;

/// Stops this process by `signal`, as process `command` was, until it is continued. `watching` is
/// told the id of the watcher, whose SIGCONT is not meant for the command.
pub(crate) fn stop(
    command: u32,
    signal: libc::c_int,
    is_needed: impl Fn() -> bool,
    watching: impl FnOnce(libc::pid_t),
) {
    let terminal = Terminal::of_group(command);
    let watcher = watch(command, is_needed);
    watching(watcher.unwrap_or(0));
    stop_by(signal);
    if let Some(watcher) = watcher {
        // SAFETY: a child of ours that nobody waited for.
        unsafe { libc::kill(watcher, libc::SIGKILL) };
        // SAFETY: as above; no status is asked for.
        unsafe { libc::waitpid(watcher, std::ptr::null_mut(), 0) };
    }
    if let Some(terminal) = terminal {
        terminal.give_back();
    }
}

/// Raises `signal` so that it stops this process. Returns when that was continued, or at once when
/// the kernel does not let it stop.
fn stop_by(signal: libc::c_int) {
    let mut alone = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: valid for the call to fill in.
    unsafe { libc::sigemptyset(alone.as_mut_ptr()) };
    // SAFETY: a valid set and signal.
    unsafe { libc::sigaddset(alone.as_mut_ptr(), signal) };
    // SAFETY: a valid signal. It was ignored, or is as it was.
    let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
    let mut mask = alone;
    // SAFETY: a valid signal. Blocked, it waits until the next call.
    unsafe { libc::raise(signal) };
    // SAFETY: both sets are valid; the old mask is filled in.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, alone.as_ptr(), mask.as_mut_ptr()) };
    // SAFETY: the mask of before.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut()) };
    if before == libc::SIG_IGN {
        // SAFETY: as before.
        unsafe { libc::signal(signal, before) };
    }
}

/// Forks the watcher; None: there can be no other process. System calls alone, on both sides.
fn watch(command: u32, is_needed: impl Fn() -> bool) -> Option<libc::pid_t> {
    let launcher = std::process::id();
    // SAFETY: the child makes system calls and reads shared memory, and never returns.
    let pid = unsafe { libc::fork() };
    if pid != 0 {
        return (pid > 0).then_some(pid);
    }
    started::keep_out_of_the_way(c"job-watcher");
    started::close_from(0);
    let gap = libc::timespec {
        tv_sec: 0,
        tv_nsec: LOOK_NANOSECONDS,
    };
    // SAFETY: takes no arguments.
    while unsafe { libc::getppid() }.cast_unsigned() == launcher {
        // What comes before it has stopped would be lost.
        if is_stopped(launcher) && (!is_stopped(command) || is_needed()) {
            // SAFETY: our parent, which lives.
            unsafe { libc::kill(launcher.cast_signed(), libc::SIGCONT) };
            break;
        }
        // SAFETY: a valid time; the rest is not asked for.
        unsafe { libc::nanosleep(&raw const gap, std::ptr::null_mut()) };
    }
    // SAFETY: ends this process without any of its parent's work.
    unsafe { libc::_exit(0) }
}

/// True when process `pid` is stopped, or nobody can say. Allocates nothing.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let mut path = [0u8; 32];
    if write!(Cursor::new(&mut path[..]), "/proc/{pid}/stat\0").is_err() {
        return true;
    }
    // SAFETY: the path ends with zero.
    let file = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        // SAFETY: only asks whether there is such a process.
        return unsafe { libc::kill(pid.cast_signed(), 0) } == 0;
    }
    let mut stat = [0u8; STAT_BYTES];
    // SAFETY: valid for writes of that length.
    let count = unsafe { libc::read(file, stat.as_mut_ptr().cast(), stat.len()) };
    // SAFETY: just opened here.
    unsafe { libc::close(file) };
    let stat = usize::try_from(count)
        .ok()
        .and_then(|count| stat.get(..count));
    let state = stat.and_then(|stat| {
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2)
    });
    // The other one is a debugger's.
    matches!(state, Some(b'T' | b't'))
}

/// True when process `pid` is in our process group.
pub(crate) fn is_in_our_group(pid: u32) -> bool {
    // SAFETY: a plain call.
    let group = unsafe { libc::getpgid(pid.cast_signed()) };
    // SAFETY: takes no arguments.
    group == unsafe { libc::getpgrp() }
}

/// The terminal, when the command has it in the foreground with a process group of its own, as an
/// interactive shell does. The shell around us knows our group alone, and brings that back there.
struct Terminal {
    group: libc::pid_t,
}

impl Terminal {
    fn of_group(command: u32) -> Option<Self> {
        // SAFETY: a plain call.
        let group = unsafe { libc::getpgid(command.cast_signed()) };
        let has_own = group > 0 && !is_in_our_group(command);
        let is_in_front = has_own && with_terminal(|terminal| foreground(terminal) == group);
        is_in_front.then_some(Self { group })
    }

    /// Puts the command's group where ours is. SIGTTOU is blocked.
    fn give_back(&self) {
        with_terminal(|terminal| {
            // SAFETY: takes no arguments.
            let own = unsafe { libc::getpgrp() };
            // SAFETY: a plain call on an open descriptor.
            foreground(terminal) == own && unsafe { libc::tcsetpgrp(terminal, self.group) } == 0
        });
    }
}

fn foreground(terminal: libc::c_int) -> libc::pid_t {
    // SAFETY: a plain call on an open descriptor.
    unsafe { libc::tcgetpgrp(terminal) }
}

/// What `work` says of our terminal; false when there is none.
fn with_terminal(work: impl FnOnce(libc::c_int) -> bool) -> bool {
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path ends with zero.
    let terminal = unsafe { libc::open(c"/dev/tty".as_ptr(), flags) };
    if terminal < 0 {
        return false;
    }
    let result = work(terminal);
    // SAFETY: opened above.
    unsafe { libc::close(terminal) };
    result
}
