//! Steps: the live heap over time at a resolution that does not grow with the recording.
//!
//! In: the live heap after each stamp that changed it. Out: about [`STEPS_MAX`] steps, each with
//! the state at its end and the highest bytes within. A step never ends within a nanosecond, so
//! that a time in nanoseconds names its state exactly.

use super::HeapTotal;
use crate::history::heap::Change;
use heaptape_format::error::DecodeError;
use heaptape_format::varint::{Cursor, put_varint};

/// Steps of a recording, about. A shorter recording has one step for each stamp.
pub(super) const STEPS_MAX: u64 = 1 << 15;

/// A stretch of time in which the heap changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// First stamp at which it changed.
    pub(crate) first: u64,
    /// Last stamp at which it changed.
    pub(crate) last: u64,
    /// The live heap after `last`.
    pub(crate) total: HeapTotal,
    /// Highest live bytes after any stamp of the step.
    pub(crate) high: u64,
    /// Blocks that began to live since the start of the recording.
    pub(crate) births: u64,
    /// Blocks that died since the start of the recording.
    pub(crate) deaths: u64,
}

impl Step {
    /// The state after `changes` at `stamp`, as a step of this stamp alone; None when they change
    /// nothing.
    pub(crate) fn followed_by<'a>(
        &self,
        stamp: u64,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Option<Self> {
        let (mut births, mut deaths, mut bytes) = (0, 0, self.total.bytes);
        for change in changes {
            births += u64::from(change.births);
            deaths += u64::from(change.deaths);
            bytes = bytes.wrapping_add(change.bytes);
        }
        let total = HeapTotal {
            bytes,
            count: (self.total.count + births).wrapping_sub(deaths),
        };
        (births + deaths > 0).then_some(Self {
            first: stamp,
            last: stamp,
            total,
            high: bytes,
            births: self.births + births,
            deaths: self.deaths + deaths,
        })
    }

    /// This step and the one behind it as one.
    pub(crate) fn joined(&self, next: &Self) -> Self {
        Self {
            first: self.first,
            high: self.high.max(next.high),
            ..*next
        }
    }
}

/// Collects steps.
#[derive(Debug)]
pub(super) struct StepMaker {
    steps: Vec<Step>,
    open: Option<Step>,
    /// Changes in the open step.
    changes: u64,
    changes_min: u64,
}

impl StepMaker {
    /// For a recording of about `events` events.
    pub(super) fn new(events: u64) -> Self {
        Self {
            steps: Vec::new(),
            open: None,
            changes: 0,
            changes_min: (events / STEPS_MAX).max(1),
        }
    }

    /// Takes the state `now` after `changes` changes at one stamp (`first`, `last` and `high` are
    /// those of this stamp alone). `same_ns` tells whether two stamps are the same nanosecond.
    pub(super) fn observe(&mut self, now: Step, changes: u64, same_ns: impl Fn(u64, u64) -> bool) {
        match &mut self.open {
            Some(open) if self.changes < self.changes_min || same_ns(open.last, now.last) => {
                *open = open.joined(&now);
                self.changes += changes;
            }
            open => {
                self.steps.extend(open.replace(now));
                self.changes = changes;
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<Step> {
        self.steps.extend(self.open);
        self.steps
    }
}

/// Appends `steps` as differences from step to step.
pub(super) fn put_steps(steps: &[Step], out: &mut Vec<u8>) {
    let mut last = Step::default();
    for step in steps {
        put_varint(out, step.first.wrapping_sub(last.last));
        put_varint(out, step.last.wrapping_sub(step.first));
        heaptape_format::varint::put_delta(out, last.total.bytes, step.total.bytes);
        heaptape_format::varint::put_delta(out, last.total.count, step.total.count);
        put_varint(out, step.high.wrapping_sub(step.total.bytes));
        put_varint(out, step.births.wrapping_sub(last.births));
        put_varint(out, step.deaths.wrapping_sub(last.deaths));
        last = *step;
    }
}

/// Reads `count` steps.
pub(super) fn take_steps(cursor: &mut Cursor<'_>, count: u32) -> Result<Vec<Step>, DecodeError> {
    let mut steps = Vec::new();
    let mut last = Step::default();
    for _ in 0..count {
        let first = last.last.wrapping_add(cursor.varint()?);
        let end = first.wrapping_add(cursor.varint()?);
        let total = HeapTotal {
            bytes: cursor.delta(last.total.bytes)?,
            count: cursor.delta(last.total.count)?,
        };
        last = Step {
            first,
            last: end,
            total,
            high: total.bytes.wrapping_add(cursor.varint()?),
            births: last.births.wrapping_add(cursor.varint()?),
            deaths: last.deaths.wrapping_add(cursor.varint()?),
        };
        steps.push(last);
    }
    Ok(steps)
}
