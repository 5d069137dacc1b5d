//! Signals on their way to the command, and job control.
//!
//! In: signals that are sent to us. Out: the same signals, sent on to the command, when it does
//! not get them itself. What the terminal or a program sends goes to the whole process group, the
//! command included ([`super::witness`] tells); what is sent by our process id is meant for the
//! command. What happens when the command stops stands in [`super::job`].

use super::endings::Endings;
use super::job;
use super::memory_limits::MemoryLimits;
use super::started::{self, is_ignored};
use super::witness::Witness;
use heaptape_drain::tape_file::file_size_limit;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Signals that are caught and sent on; so are those of real time. The others are SIGCHLD, which is
/// ours, those that nobody can catch, and those of faults (see `last_words`).
const CAUGHT: [libc::c_int; 21] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGPIPE,
    libc::SIGSTKFLT,
    libc::SIGURG,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

/// True when the kernel sends `signal` to us alone, in the command's stead: what an `alarm` from
/// before our exec ends with, and the hang-up of a terminal whose session we lead. All else that
/// comes from the kernel is for our whole group, or for what we did ourselves.
fn is_for_one(signal: libc::c_int) -> bool {
    // SAFETY: a plain call.
    let session = || unsafe { libc::getsid(0) };
    let leads_session = || session().cast_unsigned() == std::process::id();
    signal == libc::SIGALRM || signal == libc::SIGHUP && leads_session()
}

fn set_disposition(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: SIG_DFL or SIG_IGN for a valid signal.
    unsafe { libc::signal(signal, handler) };
}

/// A file that reaches the limit of sizes makes an error, which is told, and ends nothing.
pub(crate) fn ignore_size_limit() {
    set_disposition(libc::SIGXFSZ, libc::SIG_IGN);
}

/// What we were started with and change for ourselves: the command gets it back.
#[derive(Debug)]
pub(crate) struct Inherited {
    mask: libc::sigset_t,
    child_was_ignored: bool,
    size_was_ignored: bool,
    limits: Vec<(Resource, libc::rlimit)>,
    file_bytes_max: u64,
    memory: MemoryLimits,
}

type Resource = libc::__rlimit_resource_t;

impl Inherited {
    /// Gives it back, in the child before exec. System calls only.
    pub(crate) fn restore(&self) {
        if self.child_was_ignored {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
        }
        if !self.size_was_ignored {
            set_disposition(libc::SIGXFSZ, libc::SIG_DFL);
        }
        started::restore();
        for (resource, limit) in &self.limits {
            // SAFETY: a valid structure.
            unsafe { libc::setrlimit(*resource, &raw const *limit) };
        }
        // SAFETY: a valid mask, as we were given it.
        unsafe {
            libc::sigprocmask(
                libc::SIG_SETMASK,
                &raw const self.mask,
                std::ptr::null_mut(),
            )
        };
    }
}

impl Inherited {
    /// The largest file that we were allowed to write: it holds for tapes.
    pub(crate) fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max
    }

    /// The memory that we were allowed to have: the command gets no more.
    pub(crate) fn memory(&self) -> MemoryLimits {
        self.memory
    }
}

/// The signals that are caught.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: OwnedFd,
    /// None: there could be none, and what is sent to the group comes twice.
    witness: Option<Witness>,
    /// Who continues us while the command is stopped, not the command; 0: nobody yet.
    watcher: libc::pid_t,
}

/// Prepares this process: signals are caught, a full disk is an error and no signal, and many
/// files can be open.
///
/// # Errors
/// When the kernel gives no descriptor.
pub(crate) fn catch() -> io::Result<(Signals, Inherited)> {
    let mut caught = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: valid for the call to fill in.
    unsafe { libc::sigemptyset(caught.as_mut_ptr()) };
    // SAFETY: filled in above.
    let mut caught = unsafe { caught.assume_init() };
    for signal in CAUGHT
        .into_iter()
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
    {
        // SAFETY: a valid set and signal.
        unsafe { libc::sigaddset(&raw mut caught, signal) };
    }
    let mut mask = caught;
    // SAFETY: both sets are valid; the old mask is filled in.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const caught, &raw mut mask) };
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: a valid set.
    let descriptor = unsafe { libc::signalfd(-1, &raw const caught, flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened and ours alone.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let child_was_ignored = is_ignored(libc::SIGCHLD);
    if child_was_ignored {
        // Ignored, our child would vanish without a status.
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    }
    let size_was_ignored = is_ignored(libc::SIGXFSZ);
    set_disposition(libc::SIGXFSZ, libc::SIG_IGN);
    let file_bytes_max = file_size_limit();
    let memory = MemoryLimits::now();
    // A tree of many processes has many tapes; the session is memory, though it has a file; and
    // the command's memory is not ours.
    let raised = [
        libc::RLIMIT_NOFILE,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_DATA,
        libc::RLIMIT_AS,
    ]
    .map(raise_limit);
    let inherited = Inherited {
        mask,
        child_was_ignored,
        size_was_ignored,
        limits: raised.into_iter().flatten().collect(),
        file_bytes_max,
        memory,
    };
    let signals = Signals {
        descriptor,
        witness: Witness::start(),
        watcher: 0,
    };
    Ok((signals, inherited))
}

/// Takes as much of `resource` as we may have. What the limit was, when it was changed.
fn raise_limit(resource: Resource) -> Option<(Resource, libc::rlimit)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: valid for the call to fill in.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return None;
    }
    // The first needs a privilege, and would be too much for descriptors.
    let all = (resource != libc::RLIMIT_NOFILE).then_some(libc::RLIM_INFINITY);
    let changed = all.into_iter().chain([limit.rlim_max]).any(|most| {
        let more = libc::rlimit {
            rlim_cur: most,
            rlim_max: limit.rlim_max.max(most),
        };
        // SAFETY: a valid structure.
        most != limit.rlim_cur && unsafe { libc::setrlimit(resource, &raw const more) } == 0
    });
    changed.then_some((resource, limit))
}

impl Signals {
    /// Readable when a signal waits.
    pub(crate) fn raw(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// The same once more; None: there is no descriptor left.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(Self {
            descriptor: self.descriptor.try_clone().ok()?,
            witness: self.witness.as_ref().and_then(Witness::try_clone),
            watcher: self.watcher,
        })
    }

    /// Sends what waits on to the command, process `pid`; None: it has ended.
    pub(crate) fn forward(&mut self, pid: Option<u32>) {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let bytes = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the structure has room for one record.
            let count = unsafe { libc::read(self.raw(), info.as_mut_ptr().cast(), bytes) };
            if count != bytes as isize {
                return;
            }
            // SAFETY: zeroed or filled in, and all-zero bytes are valid.
            let info = unsafe { info.assume_init() };
            let signal = info.ssi_signo as libc::c_int;
            let Some(pid) = pid else { continue };
            // Always asked, or the answer would be taken for that to a later signal.
            let is_for_group = self.witness.as_mut().is_some_and(|it| it.saw(signal));
            // What continues our group continues the command, which may have one of its own.
            let is_for_group =
                is_for_group && (signal != libc::SIGCONT || job::is_in_our_group(pid));
            let by_kernel = info.ssi_code == libc::SI_KERNEL && !is_for_one(signal);
            // Writing to a closed pipe, or too large a file, is ours.
            let us = [pid, std::process::id(), self.watcher.cast_unsigned()];
            // Who is outside of our pid namespace has no number here, and what the kernel had no
            // memory for names nobody: both are strangers.
            let is_told = info.ssi_code <= 0 && info.ssi_pid != 0;
            let by_us_or_command = is_told && us.contains(&info.ssi_pid);
            if is_for_group || by_kernel || by_us_or_command {
                continue;
            }
            let pid = pid as libc::pid_t;
            let value = libc::sigval {
                sival_ptr: info.ssi_ptr as *mut libc::c_void,
            };
            if info.ssi_code == libc::SI_QUEUE {
                // SAFETY: a child of ours that was not waited for: the id is still its own.
                unsafe { libc::sigqueue(pid, signal, value) };
            } else {
                // SAFETY: as before.
                unsafe { libc::kill(pid, signal) };
            }
        }
    }

    /// The command has ended: what was meant for it is dropped, and from now on signals do to us
    /// what they do to any program; those that would end us wait until we can be ended.
    pub(crate) fn release(mut self, inherited: &Inherited) -> Endings {
        self.forward(None);
        if let Some(witness) = self.witness {
            witness.end();
        }
        Endings::hold(self.descriptor, inherited.mask)
    }

    /// The command, process `pid`, was stopped by `signal`: stops too, until somebody continues us
    /// or `is_needed`. What demanded it was sent on already.
    pub(crate) fn stop_too(&mut self, pid: u32, signal: libc::c_int, is_needed: impl Fn() -> bool) {
        job::stop(pid, signal, is_needed, |watcher| {
            self.watcher = watcher;
            // A stop takes away what was to continue us: it comes first. When that continues the
            // command, the watcher sees it.
            self.forward(Some(pid));
        });
    }
}
