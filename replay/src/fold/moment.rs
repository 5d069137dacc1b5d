//! The moment at which a tape is folded: one at which nothing is half done.
//!
//! In: a stamp. Out: the last one at or before it at which no reallocation is between its old
//! block's death and its new block's birth, and which no later event shares the nanosecond with.

use super::chunks::Unreadable;
use crate::history::transitions::{Transition, TransitionKind, decode};
use crate::tape::Tape;
use heaptape_format::event::OperationKind;

/// The moment for `stamp`; None: there is none that the tape tells of.
pub(super) fn quiet(tape: &Tape, stamp: u64) -> Result<Option<u64>, Unreadable> {
    let start = tape.told_from();
    let mut at = stamp.min(tape.end_stamp);
    loop {
        if last_of_its_ns(tape, at) > at {
            at = before_its_ns(tape, at);
        }
        if at < start {
            return Ok(None);
        }
        match begin_of_half_done(tape, at)? {
            None => return Ok(Some(at)),
            Some(0) => return Ok(None),
            Some(begin) => at = begin - 1,
        }
    }
}

/// The last stamp of the nanosecond of `stamp`.
fn last_of_its_ns(tape: &Tape, stamp: u64) -> u64 {
    let header = &tape.header;
    header.ns_to_stamp(header.stamp_to_ns(stamp)).max(stamp)
}

/// The last stamp of an earlier nanosecond than that of `stamp`.
fn before_its_ns(tape: &Tape, stamp: u64) -> u64 {
    let header = &tape.header;
    match header.stamp_to_ns(stamp).checked_sub(1) {
        Some(ns) => header.ns_to_stamp(ns).min(stamp.saturating_sub(1)),
        None => 0,
    }
}

/// When the first of the reallocations and remaps began that are half done at `stamp`.
fn begin_of_half_done(tape: &Tape, stamp: u64) -> Result<Option<u64>, Unreadable> {
    let mut first: Option<u64> = None;
    for stream in &tape.event_streams {
        let place = stream
            .chunks
            .partition_point(|chunk| chunk.stamp_last <= stamp);
        let Some(chunk) = stream.chunks.get(place) else {
            continue;
        };
        if chunk.stamp_first > stamp {
            continue;
        }
        let transitions = decode(tape, chunk).map_err(|error| Unreadable::new(chunk, &error))?;
        let both = transitions.iter().zip(transitions.iter().skip(1));
        let is_half_done = |(end, begin): &(&Transition, &Transition)| {
            is_end(end) && end.stamp <= stamp && begin.stamp > stamp
        };
        let half_done = both.into_iter().find(is_half_done);
        let begin = half_done.map(|(end, _)| end.stamp);
        first = match (first, begin) {
            (Some(first), Some(begin)) => Some(first.min(begin)),
            (first, begin) => first.or(begin),
        };
    }
    Ok(first)
}

/// True for the first of the two transitions of a realloc or a remap.
fn is_end(transition: &Transition) -> bool {
    let kind = transition.operation.kind();
    matches!(kind, OperationKind::Realloc | OperationKind::Remap)
        && matches!(
            transition.kind,
            TransitionKind::Death | TransitionKind::Unmap
        )
}
