//! Limits of memory (`ulimit -d`, `-v`, `-s`): is there enough to record, for how many threads?
//!
//! In: what the system says. Out: a refusal in words for a person, or a number of threads. The
//! recorder's memory in a program counts for the program's limit, so under a very tight one the
//! program would fail where it does not when bare: then it is better not recorded.

use super::started;
use heaptape_session::limits::{ADDRESSES_MIN, DATA_MIN, STACK_MIN};
use std::fmt;

/// What a thread of ours may need: its stack and its heap's reserve.
const DATA_OF_THREAD: u64 = 64 << 20;
const ADDRESSES_OF_THREAD: u64 = 512 << 20;

/// Limits in bytes; `u64::MAX`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryLimits {
    data: u64,
    addresses: u64,
    stack: u64,
}

/// A limit that is too low for a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLow {
    name: &'static str,
    option: &'static str,
    limit: u64,
    needed: u64,
}

impl fmt::Display for TooLow {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, option, .. } = self;
        let (kib, needed) = (self.limit >> 10, self.needed >> 10);
        write!(
            to,
            "the limit of {name} of {kib} KiB (ulimit {option}) leaves no room beside the \
             command's own; at least {needed} KiB are needed, best is ulimit {option} unlimited"
        )
    }
}

impl MemoryLimits {
    /// Those of this process.
    pub(crate) fn now() -> Self {
        Self {
            data: limit_of(libc::RLIMIT_DATA),
            addresses: limit_of(libc::RLIMIT_AS),
            stack: started::stack_limit()
                .map_or_else(|| limit_of(libc::RLIMIT_STACK), |limit| limit.rlim_cur),
        }
    }

    /// The limit that forbids a recording.
    pub(crate) fn too_low(&self) -> Option<TooLow> {
        let limits = [
            ("data", "-d", self.data, DATA_MIN),
            ("address space", "-v", self.addresses, ADDRESSES_MIN),
            ("the stack", "-s", self.stack, STACK_MIN),
        ];
        let low = limits
            .into_iter()
            .find(|(.., limit, needed)| limit < needed);
        low.map(|(name, option, limit, needed)| TooLow {
            name,
            option,
            limit,
            needed,
        })
    }

    /// How many threads may work; at least one.
    fn threads(&self) -> u64 {
        let threads = (self.data / DATA_OF_THREAD).min(self.addresses / ADDRESSES_OF_THREAD);
        threads.max(1)
    }
}

fn limit_of(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the structure is valid for the call to fill in.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_cur
}

/// Makes the threads that answer questions few enough for the limits of this process. Under a tight
/// one this thread works alone.
pub(crate) fn fit_threads() {
    let threads = MemoryLimits::now().threads();
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    if threads >= processors {
        return;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize);
    let pool = if threads == 1 {
        pool.use_current_thread()
    } else {
        pool
    };
    // Fails when they were made before: then they are there.
    let _ = pool.build_global();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tight_limits_are_named_and_give_one_thread() {
        let limits = |data, addresses| MemoryLimits {
            data,
            addresses,
            stack: u64::MAX,
        };
        let free = limits(u64::MAX, u64::MAX);
        assert_eq!(free.too_low(), None);
        assert!(free.threads() > 1 << 20);
        let data = limits((4 << 20) - 1024, u64::MAX);
        let told = data.too_low().unwrap().to_string();
        assert!(
            told.contains("limit of data of 4095 KiB (ulimit -d)"),
            "{told}"
        );
        assert_eq!(limits(4 << 20, 24 << 20).too_low(), None);
        let addresses = limits(u64::MAX, 15 << 20);
        let told = addresses.too_low().unwrap().to_string();
        assert!(
            told.contains("address space of 15360 KiB (ulimit -v)"),
            "{told}"
        );
        assert_eq!(addresses.threads(), 1);
        assert_eq!(limits(256 << 20, 4 << 30).threads(), 4);
    }
}
