//! The live heap over time, at evenly spaced moments.
//!
//! In: the steps of an index. Out: points. Nothing is decoded: a moment at which the heap did not
//! change since a step's end has that step's state, and a moment within a step is moved to the end
//! of the step before.

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

/// `count` points over the run of `tape`, the last at its end.
pub(crate) fn points(tape: &Tape, steps: &[Step], count: usize) -> Vec<TimelinePoint> {
    let mut points = Vec::new();
    let mut passed = 0;
    let mut last = Step::default();
    for place in 1..=count {
        let wanted = moment(tape, place, count);
        let reached = steps.partition_point(|step| step.last <= wanted);
        // The moment lies within the next step: the state there is not known, that before it is.
        let is_within = steps.get(reached).is_some_and(|next| next.first <= wanted);
        let new = steps.get(passed..reached).unwrap_or_default();
        let now = new.last().copied().unwrap_or(last);
        let earlier = points
            .last()
            .map_or(tape.start_stamp, |p: &TimelinePoint| p.stamp);
        let stamp = match is_within {
            true => now.last.max(earlier),
            false => wanted,
        };
        let high = new.iter().map(|step| step.high).max().unwrap_or(0);
        let samples = tape
            .resident
            .partition_point(|sample| sample.stamp <= stamp);
        let sample = samples
            .checked_sub(1)
            .and_then(|place| tape.resident.get(place));
        points.push(TimelinePoint {
            stamp,
            bytes: now.total.bytes,
            count: now.total.count,
            resident_bytes: sample.map(|sample| sample.resident_bytes),
            allocations: now.births.saturating_sub(last.births),
            frees: now.deaths.saturating_sub(last.deaths),
            high: high.max(last.total.bytes),
        });
        passed = reached;
        last = now;
    }
    points
}

/// The `place`-th of `count` evenly spaced moments.
fn moment(tape: &Tape, place: usize, count: usize) -> u64 {
    let passed = u128::from(tape.duration_stamp) * place as u128 / count.max(1) as u128;
    tape.start_stamp
        .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
}
