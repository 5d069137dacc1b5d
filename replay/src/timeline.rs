//! The live heap over time, at evenly spaced moments.
//!
//! In: the steps of an index, cut at those moments. Out: points, each with the exact state at its
//! moment: that of the last step that ended by then.

use crate::index::steps::Step;
use crate::tape::Tape;

/// The live heap at a moment and what happened in the interval that ends there. Counts and bytes
/// are those of the heap domains (native, raw, mem, obj), without inherited blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelinePoint {
    /// The moment.
    pub stamp: u64,
    /// Live bytes at the moment.
    pub bytes: u64,
    /// Live blocks at the moment.
    pub count: u64,
    /// Resident bytes of the last sample at or before the moment.
    pub resident_bytes: Option<u64>,
    /// Blocks that began to live in the interval, by allocations and reallocations.
    pub allocations: u64,
    /// Blocks that died in the interval, by frees and reallocations.
    pub frees: u64,
    /// Highest live bytes in the interval, its start included.
    pub high: u64,
}

/// `count` evenly spaced moments of what `tape` tells of its run, the last at its end.
pub(crate) fn moments(tape: &Tape, count: usize) -> Vec<u64> {
    let moment = |place: usize| {
        let duration = tape.end_stamp.saturating_sub(tape.told_from());
        let passed = u128::from(duration) * place as u128 / count.max(1) as u128;
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let stamp = tape.told_from().saturating_add(passed);
        // All of its nanosecond: the time that is shown names this state.
        let header = &tape.header;
        let last = header.ns_to_stamp(header.stamp_to_ns(stamp));
        last.clamp(stamp, tape.end_stamp.max(stamp))
    };
    (1..=count).map(moment).collect()
}

/// A point at each of `moments`, of which no step holds one before its end.
pub(crate) fn points(tape: &Tape, steps: &[Step], moments: &[u64]) -> Vec<TimelinePoint> {
    let mut passed = 0;
    let mut last = Step::default();
    let point = |&stamp: &u64| {
        let reached = steps.partition_point(|step| step.last <= stamp);
        let new = steps.get(passed..reached).unwrap_or_default();
        let now = new.last().copied().unwrap_or(last);
        let high = new.iter().map(|step| step.high).max().unwrap_or(0);
        let samples = tape
            .resident
            .partition_point(|sample| sample.stamp <= stamp);
        let sample = samples
            .checked_sub(1)
            .and_then(|place| tape.resident.get(place));
        let point = TimelinePoint {
            stamp,
            bytes: now.total.bytes,
            count: now.total.count,
            resident_bytes: sample.map(|sample| sample.resident_bytes),
            allocations: now.births.saturating_sub(last.births),
            frees: now.deaths.saturating_sub(last.deaths),
            high: high.max(last.total.bytes),
        };
        passed = reached;
        last = now;
        point
    };
    moments.iter().map(point).collect()
}
