//! The system calls that the recorder makes once a program runs, with arguments like those that it
//! makes them with: what a filter of the program's is asked about.
//!
//! The list must be complete in what matters: a call that is not in it counts as forbidden as soon
//! as there is any filter, and fails without being made.

use super::filter::Filter;
use crate::clock;
use heaptape_session::sys::CallSet;

/// Stands for an address of ours.
const HERE: usize = usize::MAX - 1;
/// Stands for a descriptor.
const FD: usize = 3;
const BYTES: usize = 4096;
/// No such `how`: see [`crate::syscall::is_readable`].
const NO_SUCH_HOW: usize = u32::MAX as usize;
const PRIVATE: usize = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
const MAPPED: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
const FOLDER: usize = libc::AT_FDCWD as usize;
const READ: usize = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
const READ_AT_ONCE: usize = READ | libc::O_NONBLOCK as usize;
const SESSION: usize = (libc::O_RDWR | libc::O_NOFOLLOW | libc::O_CLOEXEC) as usize;

type Call = (i64, [usize; 6]);

/// What a process makes while it records.
const RECORDING: [Call; 20] = [
    (libc::SYS_rt_sigprocmask, [NO_SUCH_HOW, HERE, 0, 8, 0, 0]),
    (
        libc::SYS_rt_sigprocmask,
        [libc::SIG_BLOCK as usize, HERE, HERE, 8, 0, 0],
    ),
    (
        libc::SYS_rt_sigprocmask,
        [libc::SIG_SETMASK as usize, HERE, 0, 8, 0, 0],
    ),
    (libc::SYS_clock_gettime, [1, HERE, 0, 0, 0, 0]),
    (libc::SYS_mmap, [0, BYTES, MAPPED, PRIVATE, usize::MAX, 0]),
    (
        libc::SYS_mmap,
        [0, BYTES, MAPPED, libc::MAP_SHARED as usize, FD, 0],
    ),
    (libc::SYS_munmap, [HERE, BYTES, 0, 0, 0, 0]),
    (libc::SYS_openat, [FOLDER, HERE, READ, 0, 0, 0]),
    (libc::SYS_openat, [FOLDER, HERE, READ_AT_ONCE, 0, 0, 0]),
    (libc::SYS_openat, [FOLDER, HERE, SESSION, 0, 0, 0]),
    (libc::SYS_pread64, [FD, HERE, BYTES, 0, 0, 0]),
    (libc::SYS_close, [FD, 0, 0, 0, 0, 0]),
    (libc::SYS_readlink, [HERE, HERE, BYTES, 0, 0, 0]),
    (libc::SYS_getpid, [0; 6]),
    (libc::SYS_gettid, [0; 6]),
    (
        libc::SYS_prctl,
        [libc::PR_GET_NAME as usize, HERE, 0, 0, 0, 0],
    ),
    (libc::SYS_sigaltstack, [0, HERE, 0, 0, 0, 0]),
    (libc::SYS_nanosleep, [HERE, 0, 0, 0, 0, 0]),
    (libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
    (libc::SYS_getcwd, [HERE, BYTES, 0, 0, 0, 0]),
];

/// What looking at an image takes, and what that image itself makes when it starts to record: it
/// is killed, or not recorded, without any of these and of the above.
const STARTING: [Call; 13] = [
    (libc::SYS_access, [HERE, libc::R_OK as usize, 0, 0, 0, 0]),
    (libc::SYS_access, [HERE, 6, 0, 0, 0, 0]),
    (
        libc::SYS_faccessat,
        [FOLDER, HERE, libc::X_OK as usize, 0, 0, 0],
    ),
    (libc::SYS_fstat, [FD, HERE, 0, 0, 0, 0]),
    (libc::SYS_fgetxattr, [FD, HERE, 0, 0, 0, 0]),
    (
        libc::SYS_prlimit64,
        [0, libc::RLIMIT_DATA as usize, 0, HERE, 0, 0],
    ),
    (libc::SYS_geteuid, [0; 6]),
    (libc::SYS_getegid, [0; 6]),
    (libc::SYS_getppid, [0; 6]),
    (
        libc::SYS_madvise,
        [HERE, BYTES, libc::MADV_WIPEONFORK as usize, 0, 0, 0],
    ),
    // By the C library, for the few bytes that it allocates when the recorder starts.
    (libc::SYS_brk, [0; 6]),
    (libc::SYS_brk, [HERE, 0, 0, 0, 0, 0]),
    (
        libc::SYS_getrandom,
        [HERE, 8, libc::GRND_NONBLOCK as usize, 0, 0, 0],
    ),
];

/// What is only made where another way is closed: nothing depends on it.
const SPARE: [Call; 1] = [(
    libc::SYS_mremap,
    [HERE, 0, BYTES, libc::MREMAP_MAYMOVE as usize, 0, 0],
)];

/// The calls that `filter` does not simply let through, and all that nobody asked it about.
#[must_use]
pub fn refused_by(filter: &Filter) -> CallSet {
    let calls = || RECORDING.iter().chain(&STARTING).chain(&SPARE);
    let mut refused = CallSet::ALL;
    for (number, _) in calls() {
        refused.remove(*number);
    }
    let here = (&raw const refused) as usize;
    for (number, arguments) in calls() {
        let arguments = arguments.map(|value| if value == HERE { here } else { value });
        let action = filter.action(*number, &arguments);
        if !matches!(
            action,
            Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG)
        ) {
            refused.insert(*number);
        }
    }
    refused
}

/// What a forked child makes to get a tape of its own; it knows what is refused as its parent did.
const FORKING: [i64; 7] = [
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_mmap,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_close,
    libc::SYS_readlink,
];

/// True when a process can record without these calls.
#[must_use]
pub fn may_record(refused: &CallSet) -> bool {
    // Without the first nobody knows where a stack can be read. The second is the clock, where
    // that is not the processor's: the kernel's own page may do without, but need not.
    let has_clock = clock::is_counter() || !refused.has(libc::SYS_clock_gettime);
    has_clock && !refused.has(libc::SYS_rt_sigprocmask)
}

/// True when a forked child can be recorded without these calls.
#[must_use]
pub fn may_fork(refused: &CallSet) -> bool {
    FORKING.iter().all(|number| !refused.has(*number))
}

/// True when an image, which knows nothing of what is refused, lives without these calls, and is
/// recorded.
#[must_use]
pub fn may_start(refused: &CallSet) -> bool {
    let calls = RECORDING.iter().chain(&STARTING);
    calls
        .map(|(number, _)| *number)
        .filter(|number| *number != libc::SYS_clock_gettime || !clock::is_counter())
        .all(|number| !refused.has(number))
}
