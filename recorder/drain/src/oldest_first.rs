//! Sealing in the order of time: what is oldest comes first.
//!
//! In: streams with words that wait, of tapes that must stay under a size. Out: chunks of them, in
//! turn, so that no stream is far behind the others: only what all streams have written can be
//! folded. Chunks are small where the size is, and a tape that holds gets nothing.

use crate::drainer::Drainer;
use crate::stream::EVENTS_PER_CHUNK;
use heaptape_session::layout::phase;
use heaptape_session::ring::Memory;
use heaptape_session::slots::stream_owner;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The limit is worth so many events for each stream at least, a chunk's bytes an event assumed.
const EVENTS_MIN: u32 = 1024;
const BYTES_PER_EVENT: u64 = 4;
/// A chunk of each stream takes this part of the limit at most.
const PART: u64 = 16;
/// Words of the ring for one event, about.
const WORDS_PER_EVENT: u64 = 5;

impl Drainer {
    /// As the sealing of a pass without a limit; `all`: everything that is published now; `only`:
    /// of the image in this slot.
    pub(crate) fn seal_within_limit(&mut self, all: bool, only: Option<u32>) {
        let Some(limit) = self.limit else { return };
        let streams = self.streams.iter().flatten().count() as u64;
        let events = limit.bytes / PART / BYTES_PER_EVENT / streams.max(1);
        let events = events.clamp(EVENTS_MIN.into(), EVENTS_PER_CHUNK.into()) as u32;
        self.press.events_max = events;
        let chunk_words = u64::from(events) * WORDS_PER_EVENT / 2;
        for process in self.processes.iter_mut().flatten() {
            process.folding.is_behind = false;
        }
        let mut waiting = BinaryHeap::new();
        let mut finished = Vec::new();
        for index in 0..self.streams.len() as u32 {
            if !self.is_of(index, only) {
                continue;
            }
            let Some(look) = self.look_at(index) else {
                continue;
            };
            let is_finished = look.phase == phase::FINISHED;
            if is_finished {
                finished.push(index);
            }
            // What is behind the others keeps them from being folded.
            let is_last = look.taken_until <= self.last_cut(look.process).saturating_add(1);
            let least = if all || is_finished || is_last {
                1
            } else {
                chunk_words
            };
            if look.pending >= least {
                waiting.push(Reverse((look.taken_until, index, look.pending, least)));
            }
        }
        while let Some(Reverse((_, index, left, least))) = waiting.pop() {
            if let Some(next) = self.seal_one(index, left)
                && next.1 >= least
            {
                waiting.push(Reverse((next.0, index, next.1, least)));
            }
        }
        self.press.events_max = EVENTS_PER_CHUNK;
        for index in finished {
            self.end_finished(index);
        }
    }

    /// Seals a chunk of the stream, of which `left` words are to be sealed; how far it is then, and
    /// how many words are left. None: its tape holds, or there is nothing.
    fn seal_one(&mut self, index: u32, left: u64) -> Option<(u64, u64)> {
        let stream = self.streams.get(index as usize)?.as_ref()?;
        let (owner, before) = (stream.process, stream.consumed());
        let taken_until = stream.taken_until();
        self.seal_modules_first(index);
        if self.has_to_wait(owner, taken_until) {
            let process = self.processes.get_mut(owner as usize)?.as_mut()?;
            process.folding.is_behind = true;
            return None;
        }
        self.seal_rounds(index, 1, 1);
        if self.take_lack(owner) {
            self.seal_streams_of(owner, Some(index));
            self.seal_rounds(index, 1, 1);
        }
        let stream = self.streams.get(index as usize)?.as_ref()?;
        let taken = stream.consumed() - before;
        (taken > 0).then(|| (stream.taken_until(), left.saturating_sub(taken)))
    }

    /// True when the stream is one of the image in slot `process`, or when none is given.
    fn is_of(&self, index: u32, process: Option<u32>) -> bool {
        let stream = self.streams.get(index as usize).and_then(Option::as_ref);
        stream.is_some_and(|stream| process.is_none_or(|process| stream.process == process))
    }

    /// True when words of the image in slot `process` wait.
    pub(crate) fn has_pending(&mut self, process: u32) -> bool {
        let memory = &self.session.map;
        let mut streams = self.streams.iter_mut().flatten();
        streams.any(|stream| stream.process == process && stream.pending(memory) > 0)
    }

    /// The stamp of the last moment at which the tape of slot `index` could be folded.
    fn last_cut(&self, index: u32) -> u64 {
        let process = self.processes.get(index as usize).and_then(Option::as_ref);
        process.map_or(0, |process| process.folding.cuts.last_stamp())
    }

    /// Gives the slot of a stream back whose thread has ended and that has nothing left.
    fn end_finished(&mut self, index: u32) {
        let memory = &self.session.map;
        let is_finished = memory
            .stream(index)
            .is_some_and(|slot| stream_owner(slot).phase == phase::FINISHED);
        if is_finished && self.pending(index) == 0 {
            self.end_stream(index);
        }
    }
}
