//! A tape that grows: what was read of it stays, and what was appended since is read.
//!
//! In: an opened tape and more bytes of the same file. Out: the tape as it would be had it been
//! opened now (stacks have other numbers), or that it must be opened anew. What may be read of a
//! file that is being written ends behind a whole chunk: half of one may stand behind that.

use super::chunks::{ChunkList, StreamChunks, whole_chunk};
use super::open::Bytes;
use super::tables::Tables;
use super::{ORIGIN_FORKED, ORIGIN_STARTED, Tape};
use crate::error::Error;
use heaptape_format::chunk::NO_STREAM;
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::tables::Process;
use heaptape_format::{ChunkKind, TapeHeader};
use std::mem::take;

/// What a tape grew by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// What is new in it; with the smallest stamp of the new events, when there are any.
    Appended(Option<u64>),
    /// It must be opened anew: it is another tape, or its chunks stand in an order of their own.
    Anew,
}

/// How far a file that is being written, `bytes`, may be read: from `start`, where a chunk begins,
/// to the end of its last whole chunk. Whoever writes appends: what stands before that is whole, or
/// damaged for good.
pub(crate) fn readable_end(bytes: &[u8], start: u64) -> u64 {
    let scan = Scan::new(bytes, usize::try_from(start).unwrap_or(usize::MAX));
    let whole = scan.filter_map(|found| match found {
        Found::Chunk(chunk) => {
            let stored = chunk.stored(bytes).ok()?;
            chunk.header.checked(stored).ok()?;
            Some(chunk.offset.saturating_add(chunk.header.total_bytes()))
        }
        Found::Damage(_) => None,
    });
    let end = whole.last().unwrap_or(start);
    end.min(bytes.len() as u64)
}

impl Tape {
    /// Takes in what `bytes`, more of the same file, hold behind what was read. `has_parent`: it
    /// has adopted another tape's stacks, whose modules have the numbers behind its own.
    pub(crate) fn grow(&mut self, bytes: Bytes, has_parent: bool) -> Result<Growth, Error> {
        let start = self.bytes.len();
        let decoded = TapeHeader::decode(&bytes);
        let (header, _) = decoded.map_err(|source| Error::Header {
            path: self.path.clone(),
            source,
        })?;
        if bytes.len() < start || header.tape_id != self.header.tape_id {
            return Ok(Growth::Anew);
        }
        let mut list = ChunkList::scan(&bytes, start);
        list.refuse_unknown(&self.path)?;
        let has = |kind| list.of_kind(kind).next().is_some();
        let renumbers = has_parent && (has(ChunkKind::MODULES) || has(ChunkKind::CODE_OBJECTS));
        if has(ChunkKind::FOLDED) || renumbers {
            return Ok(Growth::Anew);
        }
        self.next_sequence = list.check_sequence(start as u64, self.next_sequence);
        let tables = Tables::read(&bytes, &mut list);
        let told = &tables.process;
        let has_process = *told != Process::default() && *told != self.process;
        let is_forked = [told, &self.process].map(|process| process.origin == ORIGIN_FORKED);
        if (has_process || !tables.fork_cuts.is_empty()) && is_forked.contains(&true) {
            // What it inherited depends on that.
            return Ok(Growth::Anew);
        }
        let mut damage = Vec::new();
        self.stacks.extend(&bytes, &list.chunks, &mut damage);
        list.damage.append(&mut damage);
        let Some(first) = self.add_events(&mut list) else {
            return Ok(Growth::Anew);
        };
        list.check_others(&bytes);
        list.damage.sort_by_key(|damage| damage.offset);
        self.damage.append(&mut list.damage);
        self.chunks.append(&mut list.chunks);
        self.header = header;
        self.tape_bytes = bytes.len() as u64;
        self.bytes = bytes;
        self.add_tables(tables, has_process);
        Ok(Growth::Appended(first))
    }

    /// Adds the event chunks of `list` to their streams. Their smallest stamp, if there are any;
    /// None: they do not stand in order.
    fn add_events(&mut self, list: &mut ChunkList) -> Option<Option<u64>> {
        let mut events: Vec<FoundChunk> = list.of_kind(ChunkKind::EVENTS).copied().collect();
        events.sort_by_key(|chunk| (chunk.header.stream, chunk.header.first, chunk.offset));
        let mut smallest: Option<u64> = None;
        for found in events {
            let header = &found.header;
            if header.stream == NO_STREAM {
                list.damage.push(whole_chunk(&found, "stream"));
                continue;
            }
            let streams = &mut self.event_streams;
            let place = streams.binary_search_by_key(&header.stream, |known| known.stream);
            let place = place.unwrap_or_else(|place| {
                let (stream, chunks) = (header.stream, Vec::new());
                streams.insert(place, StreamChunks { stream, chunks });
                place
            });
            let stream = streams.get_mut(place)?;
            let fresh = self.folded.as_ref().map_or(0, |_| header.first);
            let next = stream.next_event().unwrap_or(fresh);
            let new = header.first.checked_sub(next)?;
            if header.count > 0 {
                let first = stream.push(found);
                smallest = Some(smallest.map_or(first, |smallest| smallest.min(first)));
                let numbered = new.saturating_add(u64::from(header.count));
                self.numbered_events = self.numbered_events.saturating_add(numbered);
            }
        }
        self.event_streams
            .retain(|stream| !stream.chunks.is_empty());
        Some(smallest)
    }

    fn add_tables(&mut self, later: Tables, has_process: bool) {
        let stamp_last = later.stamp_last;
        let has_new_end = later.end.is_some();
        let had_end = self.end.is_some();
        let mut tables = Tables {
            process: take(&mut self.process),
            end: self.end.take(),
            streams: take(&mut self.streams),
            modules: take(&mut self.modules),
            codes: take(&mut self.codes),
            marks: take(&mut self.marks),
            resident: take(&mut self.resident),
            lost: take(&mut self.lost),
            children: take(&mut self.children),
            clock_pairs: take(&mut self.clock_pairs),
            domains: take(&mut self.domains),
            epochs: take(&mut self.epochs),
            ..Tables::default()
        };
        tables.add(later, has_process);
        self.process = tables.process;
        self.end = tables.end;
        self.streams = tables.streams;
        self.modules = tables.modules;
        self.codes = tables.codes;
        self.marks = tables.marks;
        self.resident = tables.resident;
        self.lost = tables.lost;
        self.children = tables.children;
        self.clock_pairs = tables.clock_pairs;
        self.domains = tables.domains;
        self.epochs = tables.epochs;
        let chunks = self.event_streams.iter();
        let last_event = chunks.filter_map(|stream| stream.chunks.last());
        let last_event = last_event.map(|chunk| chunk.stamp_last).max();
        let base = match &self.end {
            Some(end) if has_new_end => end.stamp,
            _ if had_end => self.end_stamp,
            _ => self.end_stamp.max(stamp_last),
        };
        self.end_stamp = base.max(last_event.unwrap_or(0));
        self.start_stamp = match self.process.origin {
            ORIGIN_STARTED => 0,
            _ => self.process.cut_stamp.min(self.end_stamp),
        };
        self.duration_stamp = self.end_stamp - self.start_stamp;
        self.numbered_events = self.numbered_events(self.folded.as_ref());
    }
}
