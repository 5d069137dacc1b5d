//! The machine: what it is, and how much of it others use.

use std::fs;
use std::mem::MaybeUninit;

/// The share of one core that others may use before figures of time mean nothing.
pub const BUSY_MAX: f64 = 0.15;

/// Seconds of CPU that everything on this machine has used since it started, interrupts included;
/// 0 when the kernel does not tell.
#[must_use]
pub fn cpu_seconds() -> f64 {
    // SAFETY: a plain call.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    ticks_used(&text) as f64 / ticks_per_second.max(1) as f64
}

/// User and system time of this process (`RUSAGE_SELF`) or of the children that it has waited for
/// (`RUSAGE_CHILDREN`), in seconds.
#[must_use]
pub fn own_cpu_seconds(who: libc::c_int) -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is valid for the call.
    unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid value, and the kernel filled it in.
    let usage = unsafe { usage.assume_init() };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// A time of the kernel's in seconds.
#[must_use]
pub fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// Ticks of user, nice, system, irq and softirq in the first line of `/proc/stat`.
fn ticks_used(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or("").split_whitespace().skip(1);
    let is_idle = |place| matches!(place, 3 | 4);
    fields
        .take(7)
        .enumerate()
        .filter(|(place, _)| !is_idle(*place))
        .filter_map(|(_, ticks)| ticks.parse::<u64>().ok())
        .sum()
}

/// One line: cores, processor, kernel, system.
#[must_use]
pub fn description() -> String {
    let after = |text: &str, name: &str, mark: char| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(mark));
        value.map_or("?".to_owned(), |(_, value)| {
            value.trim().trim_matches('"').to_owned()
        })
    };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} cores of {}, Linux {}, {}",
        after(&read("/proc/cpuinfo"), "model name", ':'),
        read("/proc/sys/kernel/osrelease").trim(),
        after(&read("/etc/os-release"), "PRETTY_NAME", '='),
    )
}

#[cfg(test)]
mod tests {
    use super::ticks_used;

    #[test]
    fn idle_and_waiting_are_no_use() {
        assert_eq!(
            ticks_used("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9\n"),
            31
        );
        assert_eq!(ticks_used(""), 0);
    }
}
