//! Signals that would end this process when the command has ended and tapes are still to be
//! finished.
//!
//! In: such a signal. Out: its number, for whoever waits for the rest of the tree; or nothing until
//! the work is done, and then it ends us (see [`super::last_words::for_interruptions`]).

use super::started::is_ignored;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// What ends any program that does not care; so do the signals of real time (see [`all`]). What we
/// cause ourselves (a closed pipe, a large file) is not among them.
const ENDING: [libc::c_int; 13] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

/// The signals that end any program, but those that are ignored here.
pub(super) fn all() -> impl Iterator<Item = libc::c_int> {
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    let ending = ENDING.into_iter().chain(real_time);
    ending.filter(|&signal| !is_ignored(signal))
}

/// Holds them back as long as it lives; then they do what they do.
#[derive(Debug)]
pub(crate) struct Endings {
    descriptor: OwnedFd,
    /// The mask of before.
    mask: libc::sigset_t,
}

impl Endings {
    /// Holds them back: they, and what `mask` holds, are blocked from now on, and nothing else.
    /// `descriptor` tells of them.
    pub(super) fn hold(descriptor: OwnedFd, mask: libc::sigset_t) -> Self {
        let mut held = mask;
        for signal in all() {
            // SAFETY: a valid set and signal.
            unsafe { libc::sigaddset(&raw mut held, signal) };
        }
        // In one step: none gets through that came before.
        // SAFETY: a valid set.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const held, std::ptr::null_mut()) };
        Self { descriptor, mask }
    }

    /// Readable when one waits.
    pub(crate) fn raw(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Takes one that waits.
    pub(crate) fn take(&self) -> Option<libc::c_int> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let bytes = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the structure has room for one record.
            let count = unsafe { libc::read(self.raw(), info.as_mut_ptr().cast(), bytes) };
            if count != bytes as isize {
                return None;
            }
            // SAFETY: zeroed or filled in, and all-zero bytes are valid.
            let signal = unsafe { info.assume_init() }.ssi_signo as libc::c_int;
            let is_real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal);
            // Those that were blocked when we were started wait for nobody.
            // SAFETY: a valid set and signal.
            let was_blocked = unsafe { libc::sigismember(&raw const self.mask, signal) } == 1;
            if (is_real_time || ENDING.contains(&signal)) && !was_blocked {
                return Some(signal);
            }
        }
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        // SAFETY: a valid mask.
        unsafe {
            libc::sigprocmask(
                libc::SIG_SETMASK,
                &raw const self.mask,
                std::ptr::null_mut(),
            )
        };
    }
}
