//! Signals wait while a process or a thread takes its place in the session.
//!
//! A handler that forks in the middle of that would leave a child whose interrupted call goes on
//! with what its parent has claimed: two processes in one place. Nothing that is done meanwhile
//! waits for anybody.

use heaptape_session::sys;

const SET_BYTES: usize = 8;

/// What the kernel raises for an instruction is not held back: it would kill.
const AT_ONCE: [i32; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Does `work` while the calling thread is sent no signals.
pub fn held<R>(work: impl FnOnce() -> R) -> R {
    let mut others = u64::MAX;
    for signal in AT_ONCE {
        others &= !(1 << (signal - 1));
    }
    let mut before = 0;
    let is_held = set_mask(libc::SIG_BLOCK, others, Some(&mut before));
    let result = work();
    if is_held {
        set_mask(libc::SIG_SETMASK, before, None);
    }
    result
}

/// Changes the calling thread's signal mask; false where that may not be done.
fn set_mask(how: i32, mask: u64, before: Option<&mut u64>) -> bool {
    let before = before.map_or(0, |place| (&raw mut *place) as usize);
    let arguments = [
        how as usize,
        (&raw const mask) as usize,
        before,
        SET_BYTES,
        0,
        0,
    ];
    // SAFETY: the kernel reads one set, and writes another one where there is a place for it.
    unsafe { sys::syscall6(libc::SYS_rt_sigprocmask, arguments) == 0 }
}
