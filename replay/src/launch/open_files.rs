//! The limit of open files (`ulimit -n`): does it leave the launcher what it needs?
//!
//! In: what the system says. Out: a refusal in words for a person. The soft limit is raised for the
//! recording; below so few that the hard one allows, not even signals can be caught.

use std::fmt;

/// What a recording of one process needs beside the standard descriptors, with a reserve.
const NEEDED: u64 = 16;

/// A limit that is too low for a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFew {
    limit: u64,
}

impl fmt::Display for TooFew {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        write!(
            to,
            "the limit of open files of {limit} (ulimit -n) leaves no room beside the command's \
             own; at least {NEEDED} are needed"
        )
    }
}

/// The limit that forbids a recording, and cannot be raised.
pub(crate) fn too_few() -> Option<TooFew> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the structure is valid for the call to fill in.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let limit = limit.rlim_max;
    (limit < NEEDED).then_some(TooFew { limit })
}
