//! The clock of a recording: which one, its rate, and how its ticks become stamps.
//!
//! In: the processor's counter and the kernel's clocks. Out: ticks since the recording's start,
//! stamps, and pairs of the same moment on several clocks. It never steps back.

use heaptape_format::header::ClockKind;
use heaptape_format::tables::ClockPair;
use std::time::Duration;

/// Bits that a time stamp counter's ticks lose on their way into the tape: 64 ticks are about
/// 25 ns, and the largest column of a tape halves.
pub const TSC_SHIFT: u8 = 6;
/// The rate is measured over at least this long: 20 ns of uncertainty at each end make 20 ppm.
const CALIBRATION_MIN: Duration = Duration::from_millis(2);

/// The clock of one recording.
#[derive(Debug, Clone)]
pub struct Clock {
    kind: ClockKind,
    start_ticks: u64,
    /// CLOCK_MONOTONIC_RAW at `start_ticks`.
    start_raw_ns: u64,
    /// CLOCK_REALTIME and CLOCK_BOOTTIME then.
    start_realtime_ns: u64,
    start_boottime_ns: u64,
    start_monotonic_ns: u64,
    /// 0: not measured yet.
    ticks_per_second: u64,
}

impl Clock {
    /// Begins now, with the time stamp counter where the kernel itself trusts it.
    #[must_use]
    pub fn start() -> Self {
        let kind = if tsc_is_trusted() {
            ClockKind::Tsc
        } else {
            ClockKind::Monotonic
        };
        Self::start_with(kind)
    }

    /// Begins now with the clock `kind`.
    #[must_use]
    pub fn start_with(kind: ClockKind) -> Self {
        let (start_ticks, start_raw_ns) = bracket(kind);
        Self {
            kind,
            start_ticks,
            start_raw_ns,
            start_realtime_ns: clock_ns(libc::CLOCK_REALTIME),
            start_boottime_ns: clock_ns(libc::CLOCK_BOOTTIME),
            start_monotonic_ns: clock_ns(libc::CLOCK_MONOTONIC),
            ticks_per_second: match kind {
                ClockKind::Tsc => 0,
                ClockKind::Monotonic => 1_000_000_000,
            },
        }
    }

    /// The clock of a session that another drainer began. A rate that was never measured is
    /// measured now, from the boot-time clock: the two clocks have run together since then.
    #[must_use]
    pub fn resume(kind: ClockKind, start: (u64, u64, u64), ticks_per_second: u64) -> Self {
        let (start_ticks, start_realtime_ns, start_boottime_ns) = start;
        let boottime_ns = clock_ns(libc::CLOCK_BOOTTIME).saturating_sub(start_boottime_ns);
        let raw_ns = clock_ns(libc::CLOCK_MONOTONIC_RAW);
        let monotonic_ns = clock_ns(libc::CLOCK_MONOTONIC);
        Self {
            kind,
            start_ticks,
            start_raw_ns: raw_ns.saturating_sub(boottime_ns),
            start_realtime_ns,
            start_boottime_ns,
            start_monotonic_ns: monotonic_ns.saturating_sub(boottime_ns),
            ticks_per_second,
        }
    }

    /// What the ticks are.
    #[must_use]
    pub fn kind(&self) -> ClockKind {
        self.kind
    }

    /// The counter at the start.
    #[must_use]
    pub fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// CLOCK_REALTIME at the start, in nanoseconds.
    #[must_use]
    pub fn start_realtime_ns(&self) -> u64 {
        self.start_realtime_ns
    }

    /// CLOCK_BOOTTIME at the start, in nanoseconds.
    #[must_use]
    pub fn start_boottime_ns(&self) -> u64 {
        self.start_boottime_ns
    }

    /// Ticks since the start.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        raw_ticks(self.kind).saturating_sub(self.start_ticks)
    }

    /// The stamp of `ticks` since the start. Absolute ticks are shifted, so nothing drifts.
    #[must_use]
    #[inline]
    pub fn stamp(&self, ticks: u64) -> u64 {
        ticks >> self.shift()
    }

    /// The stamp of now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.stamp(self.ticks())
    }

    /// Bits that a stamp is shifted by.
    #[must_use]
    #[inline]
    pub fn shift(&self) -> u8 {
        match self.kind {
            ClockKind::Tsc => TSC_SHIFT,
            ClockKind::Monotonic => 0,
        }
    }

    /// Ticks of one second: measured once, the first time this is asked for (it may then wait
    /// until the clock has run for 2 ms). The later it is asked for, the more exact.
    pub fn ticks_per_second(&mut self) -> u64 {
        if self.ticks_per_second == 0 {
            let min = CALIBRATION_MIN.as_nanos() as u64;
            let (mut ticks, mut raw_ns) = bracket(self.kind);
            while raw_ns.saturating_sub(self.start_raw_ns) < min {
                std::thread::sleep(Duration::from_micros(200));
                (ticks, raw_ns) = bracket(self.kind);
            }
            let elapsed = u128::from(ticks.saturating_sub(self.start_ticks));
            let ns = u128::from(raw_ns - self.start_raw_ns);
            let rate = (elapsed * 1_000_000_000 + ns / 2) / ns.max(1);
            self.ticks_per_second = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        }
        self.ticks_per_second
    }

    /// The start on all clocks.
    #[must_use]
    pub fn start_pair(&self) -> ClockPair {
        ClockPair {
            stamp: 0,
            monotonic_ns: self.start_monotonic_ns,
            realtime_ns: self.start_realtime_ns,
            boottime_ns: self.start_boottime_ns,
        }
    }

    /// Now on all clocks.
    #[must_use]
    pub fn pair(&self) -> ClockPair {
        ClockPair {
            stamp: self.now(),
            monotonic_ns: clock_ns(libc::CLOCK_MONOTONIC),
            realtime_ns: clock_ns(libc::CLOCK_REALTIME),
            boottime_ns: clock_ns(libc::CLOCK_BOOTTIME),
        }
    }
}

/// True when the counter is invariant and the kernel keeps time by it.
fn tsc_is_trusted() -> bool {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let by_tsc = std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc");
    by_tsc
        && std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
            let flags = text.lines().find(|line| line.starts_with("flags"));
            let has = |flag| flags.is_some_and(|line| line.split(' ').any(|word| word == flag));
            has("constant_tsc") && has("nonstop_tsc")
        })
}

fn raw_ticks(kind: ClockKind) -> u64 {
    match kind {
        // SAFETY: the instruction only reads a register; every x86_64 has it.
        ClockKind::Tsc => unsafe { core::arch::x86_64::_rdtsc() },
        ClockKind::Monotonic => clock_ns(libc::CLOCK_MONOTONIC),
    }
}

/// The counter and CLOCK_MONOTONIC_RAW at the same moment: the tightest of several tries.
fn bracket(kind: ClockKind) -> (u64, u64) {
    let mut best = (u64::MAX, (0, 0));
    for _ in 0..16 {
        let before = raw_ticks(kind);
        let raw_ns = clock_ns(libc::CLOCK_MONOTONIC_RAW);
        let after = raw_ticks(kind);
        let width = after.saturating_sub(before);
        if width < best.0 {
            best = (width, (before + width / 2, raw_ns));
        }
    }
    best.1
}

/// A clock of the kernel in nanoseconds.
#[must_use]
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call to fill in.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_rate_maps_ticks_to_the_kernels_time() {
        for kind in [ClockKind::Tsc, ClockKind::Monotonic] {
            let mut clock = Clock::start_with(kind);
            let from = clock_ns(libc::CLOCK_MONOTONIC_RAW);
            let ticks = clock.ticks();
            std::thread::sleep(Duration::from_millis(20));
            let elapsed_ticks = clock.ticks() - ticks;
            let elapsed_ns = clock_ns(libc::CLOCK_MONOTONIC_RAW) - from;
            let by_ticks =
                u128::from(elapsed_ticks) * 1_000_000_000 / u128::from(clock.ticks_per_second());
            // The two intervals differ by what stands between the readings, not by the rate: even
            // a preempted test is far from 20 % of one second.
            let difference = by_ticks.abs_diff(u128::from(elapsed_ns));
            assert!(
                difference < 200_000_000,
                "{kind:?}: {by_ticks} {elapsed_ns}"
            );
            assert!(by_ticks >= 19_000_000, "{kind:?}: {by_ticks}");
        }
    }

    #[test]
    fn a_resumed_clock_goes_on_with_the_same_ticks() {
        let mut clock = Clock::start();
        let rate = clock.ticks_per_second();
        let start = (
            clock.start_ticks(),
            clock.start_realtime_ns(),
            clock.start_boottime_ns(),
        );
        let mut later = Clock::resume(clock.kind(), start, rate);
        assert_eq!(later.ticks_per_second(), rate);
        let before = clock.ticks();
        let between = later.ticks();
        assert!(before <= between && between <= clock.ticks());
    }
}
