//! Draining until the command has ended, and then the rest of its tree.
//!
//! In: a started command and the drainer of its session. Out: how it ended, and what became of the
//! tapes. The command is waited for here and nowhere else.

use super::endings::Endings;
use super::job;
use super::signals::Signals;
use heaptape_drain::process_info::ProcessHandle;
use heaptape_drain::{Drainer, Outcome};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// How often the system is asked for processes of the tree that no slot tells of.
const MEMBERS_GAP: Duration = Duration::from_secs(1);
/// A member of the tree that is not recorded is looked at this often.
const MEMBERS_SLEEP: Duration = Duration::from_millis(100);
/// How long a command that is not recorded may have ended before that is seen.
const BARE_SLEEP: Duration = Duration::from_millis(5);

/// Drains while the command runs as process `pid`; its status, as `waitpid` tells it.
pub(crate) fn until_command_ends(drainer: &mut Drainer, signals: &mut Signals, pid: u32) -> i32 {
    let handle = ProcessHandle::open(pid, 0);
    let mut others = vec![signals.raw()];
    others.extend(handle.as_ref().map(ProcessHandle::raw));
    loop {
        let sleep = drainer.pass();
        let is_woken = drainer.wait(sleep, &others);
        if is_woken {
            signals.forward(Some(pid));
        }
        match change(pid) {
            Some(Change::Ended(status)) => {
                drainer.root_ended(status);
                drainer.pass();
                return status;
            }
            Some(Change::Stopped(signal)) => stop_too(Some(drainer), signals, pid, signal),
            None => {}
        }
    }
}

/// Waits for a command that is not recorded. Allocates nothing.
pub(crate) fn until_bare_command_ends(mut signals: Option<&mut Signals>, pid: u32) -> i32 {
    loop {
        if let Some(signals) = &mut signals {
            signals.forward(Some(pid));
        }
        match (change(pid), &mut signals) {
            (Some(Change::Ended(status)), _) => return status,
            (Some(Change::Stopped(signal)), Some(signals)) => stop_too(None, signals, pid, signal),
            _ => {}
        }
        std::thread::sleep(BARE_SLEEP);
    }
}

/// What became of the command.
enum Change {
    /// Its status.
    Ended(i32),
    /// The signal that stopped it.
    Stopped(libc::c_int),
}

fn change(pid: u32) -> Option<Change> {
    let mut status = 0;
    let options = libc::WNOHANG | libc::WUNTRACED;
    // SAFETY: a child of ours; the status is valid for the call to fill in.
    let changed = unsafe { libc::waitpid(pid as libc::pid_t, &raw mut status, options) };
    if changed == pid as libc::pid_t && libc::WIFSTOPPED(status) {
        return Some(Change::Stopped(libc::WSTOPSIG(status)));
    }
    (changed != 0).then_some(Change::Ended(status))
}

/// The command was stopped by `signal`: stops too, but makes room when recorders wait for it.
fn stop_too(
    mut drainer: Option<&mut Drainer>,
    signals: &mut Signals,
    pid: u32,
    signal: libc::c_int,
) {
    loop {
        // What demanded the stop must not be taken for another demand later.
        signals.forward(Some(pid));
        if let Some(drainer) = &mut drainer {
            drainer.pass();
        }
        if !job::is_stopped(pid) {
            return;
        }
        let is_needed = || drainer.as_ref().is_some_and(|drainer| drainer.is_needed());
        signals.stop_too(pid, signal, is_needed);
        if !is_needed() {
            return;
        }
    }
}

/// True when processes of the tree are left.
pub(crate) fn has_descendants(drainer: &mut Drainer) -> bool {
    // Those that have just ended are seen by waiting.
    drainer.wait(Duration::ZERO, &[]);
    drainer.pass();
    if !drainer.is_empty() {
        drainer.pass_with_questions();
    }
    !drainer.is_empty() || !drainer.members().is_empty()
}

/// Drains until no process of the tree is left, and ends the recording.
pub(crate) fn until_tree_is_gone(mut drainer: Drainer) -> Outcome {
    let mut rest = Rest::default();
    while !rest.is_gone(&mut drainer, &[]) {}
    drainer.finish()
}

/// Drains until no process of the tree is left, or until a signal would end us: which.
pub(crate) fn until_tree_is_gone_or_signal(
    drainer: &mut Drainer,
    endings: &Endings,
) -> Option<libc::c_int> {
    let mut rest = Rest::default();
    loop {
        if let Some(signal) = endings.take() {
            return Some(signal);
        }
        if rest.is_gone(drainer, &[endings.raw()]) {
            return None;
        }
    }
}

/// The waiting for what the command has left.
#[derive(Default)]
struct Rest {
    /// When the system was asked for processes that no slot tells of.
    asked: Option<Instant>,
}

impl Rest {
    /// One pass and a sleep, which an event on one of `others` ends; true when no process is left.
    fn is_gone(&mut self, drainer: &mut Drainer, others: &[RawFd]) -> bool {
        let sleep = drainer.pass();
        if drainer.is_empty() {
            let due = self
                .asked
                .is_none_or(|moment| moment.elapsed() >= MEMBERS_GAP);
            if due && drainer.members().is_empty() {
                return true;
            }
            if due {
                self.asked = Some(Instant::now());
            }
            drainer.wait(MEMBERS_SLEEP, others);
        } else {
            self.asked = None;
            drainer.wait(sleep, others);
        }
        false
    }
}
