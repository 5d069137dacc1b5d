//! What keeps a recording from telling of its whole run.
//!
//! In: a tape and, where there is one, the summary of its events. Out: the worst thing that is
//! missing. An answer from such a tape is about what can be read; no gate is met by it.
//! Out, too: how much of it was paused.

use crate::index::Summary;
use crate::report::units::{counted, time};
use crate::tape::Tape;
use heaptape_format::tables::Mark;
use std::fmt;

/// The mark that a pause begins with.
const PAUSED: &str = "paused";

/// What is said where not all blocks are known that a process got from the one that forked it.
pub const INHERITED: &str = "not all inherited blocks are known: the parent's tape is not whole or \
                             not beside this one, it was folded, some were left out of it \
                             (--min-size, a pause), or its threads went on while it forked";

/// What a recording lacks; of several things the first in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// Chunks or stretches of the file that cannot be read, and how many.
    Damaged(u64),
    /// The tape was cut or is still being written.
    NoEnd,
    /// Events that the recorder counted as lost.
    LostEvents(u64),
    /// The recorder says that something was not recorded, and why.
    Message(String),
}

impl Gap {
    /// What `tape` lacks; without `summary` the events are taken to be readable.
    #[must_use]
    pub fn of(tape: &Tape, summary: Option<&Summary>) -> Option<Self> {
        let damaged = damaged(tape, summary);
        let lost = tape.lost_events();
        match &tape.end {
            _ if damaged > 0 => Some(Self::Damaged(damaged)),
            None => Some(Self::NoEnd),
            Some(_) if lost > 0 => Some(Self::LostEvents(lost)),
            Some(end) if !end.message.is_empty() => Some(Self::Message(end.message.clone())),
            Some(_) => None,
        }
    }
}

/// Places of `tape` that cannot be read; without `summary` those in its tables alone.
#[must_use]
pub fn damaged(tape: &Tape, summary: Option<&Summary>) -> u64 {
    tape.damage.len() as u64 + summary.map_or(0, |summary| summary.damaged_chunks)
}

/// True when `tape` leaves out blocks that were allocated up to `stamp`, by wish: while it was
/// paused, or because they were small.
#[must_use]
pub fn leaves_blocks_out(tape: &Tape, stamp: u64) -> bool {
    let is_pause = |mark: &Mark| mark.stream == u32::MAX && mark.name == PAUSED;
    let mut marks = tape.marks.iter();
    tape.process.size_min > 0 || marks.any(|mark| is_pause(mark) && mark.stamp <= stamp)
}

/// How much of a recording was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// From its start to its end: nothing was recorded.
    Always,
    /// For so many nanoseconds in all: somebody chose what is recorded.
    Partly(u64),
}

impl Paused {
    /// What the marks of `tape` say that were set from outside; None: it was never paused.
    #[must_use]
    pub fn of(tape: &Tape) -> Option<Self> {
        let mut since = None;
        let mut total = 0;
        // A tape's time begins with its image.
        let ns = |stamp: u64| tape.header.stamp_to_ns(stamp.max(tape.start_stamp));
        let (start, end) = (ns(tape.process.cut_stamp), ns(tape.end_stamp));
        for mark in tape.marks.iter().filter(|mark| mark.stream == u32::MAX) {
            if mark.name == PAUSED {
                since.get_or_insert(ns(mark.stamp));
            } else if mark.name == "resumed"
                && let Some(since) = since.take()
            {
                total += ns(mark.stamp).saturating_sub(since);
            }
        }
        if since.is_some_and(|since| since <= start) && total == 0 {
            return Some(Self::Always);
        }
        total += since.map_or(0, |since| end.saturating_sub(since));
        (total > 0).then_some(Self::Partly(total))
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("the recording was paused from start to end"),
            Self::Partly(ns) => write!(
                f,
                "the recording was paused for {}: what was allocated then is not counted",
                time(*ns)
            ),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(places) => write!(
                f,
                "the tape is damaged in {}; this is what can be read",
                counted(*places, "place")
            ),
            Self::NoEnd => f.write_str("the tape has no end: it was cut or is still being written"),
            Self::LostEvents(lost) => write!(f, "{} lost while recording", counted(*lost, "event")),
            Self::Message(message) => f.write_str(message),
        }
    }
}
