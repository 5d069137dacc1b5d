//! Windows: the transitions of all streams in one order, a stretch of time after the other.
//!
//! In: the event chunks of each stream. Out: vectors of transitions sorted by stamp, ties by
//! stream, within a stream in its order. A window never ends within a stamp. Chunks are decoded
//! once, in parallel, when the first window needs them; what lies behind the window's end waits.

use super::transitions::{Transition, decode};
use crate::tape::Tape;
use crate::tape::chunks::EventChunk;
use rayon::prelude::*;

/// Events of the chunks that are decoded for one window, about.
const WINDOW_EVENTS: u64 = 1 << 18;

/// One stream on its way through time.
struct Line<'t> {
    chunks: &'t [EventChunk],
    /// Decoded and not yet given out, in order, from `given` on.
    waiting: Vec<Transition>,
    given: usize,
    /// Allocations of the stream in the chunks that are decoded.
    allocated: u64,
}

/// Which transitions are wanted.
type Filter = Box<dyn Fn(&Transition) -> bool + Send + Sync>;

/// Transitions of a stretch of time. See the module.
pub(crate) struct Windows<'t> {
    tape: &'t Tape,
    only: Option<Filter>,
    lines: Vec<Line<'t>>,
    /// The last stamp of each window, in order.
    ends: std::vec::IntoIter<u64>,
    /// Transitions up to this stamp are left out.
    after: Option<u64>,
    /// Events of the chunks that were decoded.
    pub(crate) readable_events: u64,
    /// Offsets of the chunks that could not be decoded.
    pub(crate) damaged: Vec<u64>,
}

impl<'t> Windows<'t> {
    /// The transitions with stamps above `after` (None: from the first on) and up to `to`.
    pub(crate) fn new(tape: &'t Tape, after: Option<u64>, to: u64) -> Self {
        Self::with_events(tape, after, to, WINDOW_EVENTS)
    }

    /// The same in windows of about `events` events.
    pub(crate) fn with_events(tape: &'t Tape, after: Option<u64>, to: u64, events: u64) -> Self {
        let mut lines = Vec::new();
        let mut lasts = Vec::new();
        for stream in &tape.event_streams {
            let chunks = &stream.chunks;
            let first = after.map_or(0, |after| {
                chunks.partition_point(|chunk| chunk.stamp_last <= after)
            });
            let behind = chunks.partition_point(|chunk| chunk.stamp_first <= to);
            let chunks = chunks.get(first..behind).unwrap_or_default();
            if chunks.is_empty() {
                continue;
            }
            lasts.extend(chunks.iter().map(|chunk| {
                let count = u64::from(chunk.found.header.count);
                (chunk.stamp_last.min(to), count)
            }));
            lines.push(Line {
                chunks,
                waiting: Vec::new(),
                given: 0,
                allocated: 0,
            });
        }
        Self {
            tape,
            only: None,
            lines,
            ends: ends(lasts, events).into_iter(),
            after,
            readable_events: 0,
            damaged: Vec::new(),
        }
    }

    /// Leaves out the transitions that `only` does not want.
    pub(crate) fn only(self, only: impl Fn(&Transition) -> bool + Send + Sync + 'static) -> Self {
        Self {
            only: Some(Box::new(only)),
            ..self
        }
    }

    /// Of the recorded machine, in bytes.
    pub(crate) fn page_size(&self) -> u32 {
        self.tape.header.page_size
    }

    /// The next window; None behind the last.
    pub(crate) fn next_window(&mut self) -> Option<Vec<Transition>> {
        let end = self.ends.next()?;
        self.decode_up_to(end);
        let mut window = Vec::new();
        for line in &mut self.lines {
            line.give(end, &mut window);
        }
        // Each stream is a sorted run, and streams follow in their order: a stable sort merges
        // them and leaves ties in the order of streams.
        window.sort_by_key(|transition| transition.stamp);
        Some(window)
    }

    /// Decodes the chunks that begin at or before `end`.
    fn decode_up_to(&mut self, end: u64) {
        let mut wanted = Vec::new();
        for (place, line) in self.lines.iter_mut().enumerate() {
            let count = line
                .chunks
                .partition_point(|chunk| chunk.stamp_first <= end);
            let (now, later) = line.chunks.split_at_checked(count).unwrap_or_default();
            wanted.extend(now.iter().map(|chunk| (place, chunk)));
            line.chunks = later;
        }
        let (tape, only) = (self.tape, self.only.as_deref());
        let decoded: Vec<_> = wanted
            .into_par_iter()
            .map(|(place, chunk)| (place, chunk, decode_wanted(tape, chunk, only)))
            .collect();
        for (place, chunk, transitions) in decoded {
            let Some((transitions, allocated)) = transitions else {
                self.damaged.push(chunk.found.offset);
                continue;
            };
            self.readable_events += u64::from(chunk.found.header.count);
            if let Some(line) = self.lines.get_mut(place) {
                line.take(transitions, allocated, self.after);
            }
        }
    }
}

/// The wanted transitions of a chunk, and how many allocations it has in all.
fn decode_wanted(
    tape: &Tape,
    chunk: &EventChunk,
    only: Option<&(dyn Fn(&Transition) -> bool + Send + Sync)>,
) -> Option<(Vec<Transition>, u64)> {
    let mut transitions = decode(tape, chunk).ok()?;
    let allocated = transitions.last().map_or(0, |last| last.allocated);
    if let Some(only) = only {
        transitions.retain(only);
    }
    Some((transitions, allocated))
}

impl Line<'_> {
    /// Adds the transitions of the stream's next chunk, which has `allocated` allocations.
    fn take(&mut self, mut transitions: Vec<Transition>, allocated: u64, after: Option<u64>) {
        let before = self.allocated;
        self.allocated += allocated;
        for transition in &mut transitions {
            transition.allocated += before;
        }
        if let Some(after) = after {
            let skipped = transitions.partition_point(|transition| transition.stamp <= after);
            transitions.drain(..skipped);
        }
        if self.given == self.waiting.len() {
            self.waiting = transitions;
        } else {
            self.waiting.drain(..self.given);
            self.waiting.extend(transitions);
        }
        self.given = 0;
    }

    /// Moves what happened up to `end` to `window`.
    fn give(&mut self, end: u64, window: &mut Vec<Transition>) {
        let rest = self.waiting.get(self.given..).unwrap_or_default();
        let count = rest.partition_point(|transition| transition.stamp <= end);
        window.extend_from_slice(rest.get(..count).unwrap_or_default());
        self.given += count;
        if self.given == self.waiting.len() {
            self.waiting = Vec::new();
            self.given = 0;
        }
    }
}

/// The last stamps of windows of about `events` events, from the last stamps and counts of the
/// chunks.
fn ends(mut lasts: Vec<(u64, u64)>, events: u64) -> Vec<u64> {
    lasts.sort_unstable();
    let mut ends: Vec<u64> = Vec::new();
    let mut sum = 0u64;
    for &(last, count) in &lasts {
        sum = sum.saturating_add(count);
        if sum >= events {
            ends.push(last);
            sum = 0;
        }
    }
    if let Some(&(last, _)) = lasts.last() {
        ends.push(last);
    }
    ends.dedup();
    ends
}
