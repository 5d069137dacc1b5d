//! Tells whether a signal was sent to the whole process group, which the command is in, or to us
//! alone.
//!
//! In: a signal that we got. Out: whether the command got it too. The kernel does not say; so a
//! process of ours sits in the same group, blocks all signals, and is asked which wait for it. A
//! process that joined the group later gets a signal for the group earlier (`hlist_add_head_rcu`
//! in the kernel's `attach_pid`, `do_each_pid_task` in `__kill_pgrp_info`), so what we have the
//! witness has as well. Its name and its command line are empty: who looks for ours finds us alone.

use super::started;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Signal numbers are below this.
const SIGNALS: usize = 65;
/// How long an answer is waited for: the witness may be stopped, and the machine busy.
const ANSWER_MILLISECONDS: libc::c_int = 100;

/// How many of each signal the witness got.
type Counts = [u8; SIGNALS];

/// See the module.
#[derive(Debug)]
pub(crate) struct Witness {
    pid: libc::pid_t,
    connection: OwnedFd,
    /// Signals of real time that it got and we did not yet: each of them is queued.
    owed: Counts,
}

impl Witness {
    /// Starts it; None: there can be no other process or descriptor. Signals must be blocked.
    pub(crate) fn start() -> Option<Self> {
        let mut ends = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: valid for the call to fill in.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: just opened and ours alone; the second one is the child's.
        let [connection, theirs] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // SAFETY: takes no arguments.
        let parent = unsafe { libc::getpid() };
        // SAFETY: the child makes system calls alone, and never returns.
        match unsafe { libc::fork() } {
            -1 => None,
            0 => testify(theirs.as_raw_fd(), parent),
            pid => Some(Self {
                pid,
                connection,
                owed: [0; SIGNALS],
            }),
        }
    }

    /// The same witness once more; None: there is no descriptor left.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(Self {
            pid: self.pid,
            connection: self.connection.try_clone().ok()?,
            owed: self.owed,
        })
    }

    /// True when the whole group got `signal`, which we just got. Allocates nothing.
    pub(crate) fn saw(&mut self, signal: libc::c_int) -> bool {
        let Some(index) = usize::try_from(signal)
            .ok()
            .filter(|&index| index < SIGNALS)
        else {
            return false;
        };
        let got = self.ask();
        let real_time = libc::SIGRTMIN() as usize;
        for (owed, got) in self.owed.iter_mut().zip(got).skip(real_time) {
            *owed = owed.saturating_add(got);
        }
        if index < real_time {
            return got.get(index).is_some_and(|&count| count > 0);
        }
        let Some(owed) = self.owed.get_mut(index).filter(|owed| **owed > 0) else {
            return false;
        };
        *owed -= 1;
        true
    }

    /// What it got since the last question; nothing when it does not answer.
    fn ask(&self) -> Counts {
        let mut counts = [0; SIGNALS];
        // An answer that came too late belongs to an earlier question.
        while self.receive(&mut counts) {}
        let socket = self.connection.as_raw_fd();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: one valid byte.
        unsafe { libc::send(socket, [0u8].as_ptr().cast(), 1, flags) };
        let mut answer = libc::pollfd {
            fd: socket,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid structure.
        unsafe { libc::poll(&raw mut answer, 1, ANSWER_MILLISECONDS) };
        counts = [0; SIGNALS];
        self.receive(&mut counts);
        counts
    }

    /// Takes an answer that is there; false when there is none.
    fn receive(&self, counts: &mut Counts) -> bool {
        let (place, length) = (counts.as_mut_ptr().cast(), counts.len());
        let socket = self.connection.as_raw_fd();
        // SAFETY: valid for writes of this length.
        unsafe { libc::recv(socket, place, length, libc::MSG_DONTWAIT) > 0 }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        // SAFETY: a child of ours that nobody waited for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: as above; no status is asked for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// The witness itself, after the fork: answers until the other end is closed. System calls alone.
fn testify(socket: RawFd, parent: libc::pid_t) -> ! {
    started::keep_out_of_the_way(c"signal-witness");
    // SAFETY: descriptors of this process, in which nothing else runs.
    unsafe { libc::dup2(socket, 0) };
    started::close_from(1);
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: valid for the call to fill in.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: takes no arguments.
    let mut is_asked = unsafe { libc::getppid() } == parent;
    while is_asked {
        let mut question = [0u8; 1];
        // SAFETY: valid for writes of that length.
        is_asked = unsafe { libc::recv(0, question.as_mut_ptr().cast(), question.len(), 0) } > 0;
        let counts = waiting(&all);
        // SAFETY: valid for reads of that length.
        unsafe { libc::send(0, counts.as_ptr().cast(), counts.len(), libc::MSG_NOSIGNAL) };
    }
    // SAFETY: ends this process without any of its parent's work.
    unsafe { libc::_exit(0) }
}

/// Takes all signals that wait for this process.
fn waiting(all: &MaybeUninit<libc::sigset_t>) -> Counts {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut counts = [0u8; SIGNALS];
    loop {
        // SAFETY: a set that was filled in, no place for details, a valid time.
        let signal =
            unsafe { libc::sigtimedwait(all.as_ptr(), std::ptr::null_mut(), &raw const now) };
        let Ok(signal) = usize::try_from(signal) else {
            return counts;
        };
        if let Some(count) = counts.get_mut(signal) {
            *count = count.saturating_add(1);
        }
    }
}
