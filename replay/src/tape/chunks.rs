//! Where the chunks of a tape are, and the event chunks of each stream in its order.
//!
//! In: the bytes behind the header. Out: chunks, and damage where none could be found. Chunks may
//! stand in any order in the file; a stream's order is that of the event numbers in the headers.

use crate::error::Error;
use heaptape_format::chunk::{ChunkKind, FLAG_MUST_UNDERSTAND, NO_STREAM};
use heaptape_format::error::{DecodeError, DecodeErrorKind};
use heaptape_format::left::left;
use heaptape_format::scan::{Damage, Found, FoundChunk, Scan};
use heaptape_format::tables::{Folded, records};
use std::path::Path;

/// A chunk of events with its place in its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventChunk {
    /// The chunk.
    pub(crate) found: FoundChunk,
    /// Largest stamp of the stream before this chunk: smaller stamps are raised to it.
    pub(crate) floor: u64,
    /// Smallest stamp, after raising.
    pub(crate) stamp_first: u64,
    /// Largest stamp, after raising. Never smaller than that of the stream's chunk before.
    pub(crate) stamp_last: u64,
}

/// The event chunks of one stream, in the stream's order.
#[derive(Debug, Clone)]
pub(crate) struct StreamChunks {
    /// The stream's index.
    pub(crate) stream: u32,
    /// Its chunks.
    pub(crate) chunks: Vec<EventChunk>,
}

/// All chunks of a tape in the order of the file.
#[derive(Debug, Default)]
pub(super) struct ChunkList {
    pub(super) chunks: Vec<FoundChunk>,
    pub(super) damage: Vec<Damage>,
    /// Events that the streams have by their chunks' numbers, readable or not.
    pub(super) numbered_events: u64,
}

impl ChunkList {
    /// Scans `bytes`, a whole tape whose header ends at `start`. The numbers of the chunks are for
    /// [`ChunkList::check_sequence`] to look at. Of a tape that grows, `start` is the end of what
    /// was read before.
    pub(super) fn scan(bytes: &[u8], start: usize) -> Self {
        let mut list = Self::default();
        for found in Scan::new(bytes, start) {
            match found {
                Found::Chunk(chunk) => list.chunks.push(chunk),
                Found::Damage(damage) => list.damage.push(damage),
            }
        }
        list
    }

    /// Finds where chunks are gone altogether. A gap in the numbers beside damage of the file is
    /// that damage's; chunks may stand in any order. The first should have the number `wanted`;
    /// the one behind the last is returned.
    pub(super) fn check_sequence(&mut self, start: u64, wanted: u64) -> u64 {
        let places = self.chunks.iter().map(|c| (c.header.sequence, c.offset));
        let mut places: Vec<(u64, u64)> = places.collect();
        places.sort_unstable();
        let (mut wanted, mut before) = (wanted, start);
        let mut gaps = Vec::new();
        for (sequence, offset) in places {
            if sequence > wanted {
                let first = before.min(offset);
                let next = self.damage.partition_point(|damage| damage.offset < first);
                let next = self.damage.get(next).map(|damage| damage.offset);
                if next.is_none_or(|damage| damage > before.max(offset)) {
                    let kind = DecodeErrorKind::Missing(sequence - wanted);
                    gaps.push(Damage {
                        offset,
                        bytes: 0,
                        error: DecodeError::new(offset, kind),
                    });
                }
            }
            wanted = sequence.saturating_add(1);
            before = offset;
        }
        self.damage.extend(gaps);
        wanted
    }

    /// The record that says that the tape is folded. Damage of it is found with that of the other
    /// tables that are not decoded.
    pub(super) fn folded(&self, bytes: &[u8]) -> Option<Folded> {
        let mut payload = Vec::new();
        let mut all = self.of_kind(ChunkKind::FOLDED).filter_map(|chunk| {
            chunk.payload(bytes, &mut payload).ok()?;
            records::<Folded>(&payload, chunk.header.count).ok()?.pop()
        });
        let first = all.next();
        all.last().or(first)
    }

    /// Fails for a chunk that must be understood and is not known here.
    pub(super) fn refuse_unknown(&self, path: &Path) -> Result<(), Error> {
        let unknown = self.chunks.iter().find(|chunk| {
            chunk.header.flags & FLAG_MUST_UNDERSTAND != 0
                && chunk.header.kind.name() == ChunkKind(u16::MAX).name()
        });
        unknown.map_or(Ok(()), |chunk| {
            Err(Error::UnknownChunk {
                path: path.to_owned(),
                kind: chunk.header.kind.0,
                offset: chunk.offset,
            })
        })
    }

    /// The chunks of a kind.
    pub(super) fn of_kind(&self, kind: ChunkKind) -> impl Iterator<Item = &FoundChunk> {
        self.chunks
            .iter()
            .filter(move |chunk| chunk.header.kind == kind)
    }

    /// Checks the payloads that are not decoded with the tables, but for events: symbols, totals,
    /// those of folded tapes and kinds that this version does not know.
    pub(super) fn check_others(&mut self, bytes: &[u8]) {
        let skipped = [
            ChunkKind::SYMBOLS,
            ChunkKind::TOTALS,
            ChunkKind::FOLDED,
            ChunkKind::LEFT,
        ];
        let is_other = |kind: ChunkKind| skipped.contains(&kind) || !kind.is_known();
        let mut payload = Vec::new();
        for chunk in &self.chunks {
            if is_other(chunk.header.kind)
                && let Err(error) = chunk
                    .payload(bytes, &mut payload)
                    .and_then(|()| check_folded(chunk, &payload))
            {
                self.damage.push(damaged_chunk(chunk, error));
            }
        }
    }

    /// The event chunks of each stream. A chunk that repeats events of another is left out. Those
    /// of a folded tape do not begin with a stream's first event.
    pub(super) fn streams(&mut self, is_folded: bool) -> Vec<StreamChunks> {
        let mut events: Vec<FoundChunk> = self.of_kind(ChunkKind::EVENTS).copied().collect();
        events.sort_by_key(|chunk| (chunk.header.stream, chunk.header.first, chunk.offset));
        let mut streams: Vec<StreamChunks> = Vec::new();
        let mut next_event = 0;
        for found in events {
            let header = &found.header;
            if streams
                .last()
                .is_none_or(|last| last.stream != header.stream)
            {
                next_event = if is_folded { header.first } else { 0 };
            }
            let before = next_event;
            if header.stream == NO_STREAM || header.first < next_event {
                let what = if header.stream == NO_STREAM {
                    "stream"
                } else {
                    "event number"
                };
                self.damage.push(whole_chunk(&found, what));
                continue;
            }
            next_event = header.first.saturating_add(u64::from(header.count));
            self.numbered_events = self.numbered_events.saturating_add(next_event - before);
            if header.count > 0 {
                append(&mut streams, found);
            }
        }
        streams
    }
}

/// Decodes what only folded tapes have.
fn check_folded(chunk: &FoundChunk, payload: &[u8]) -> Result<(), DecodeError> {
    let count = chunk.header.count;
    let checked = match chunk.header.kind {
        ChunkKind::FOLDED => records::<Folded>(payload, count).map(|_| ()),
        ChunkKind::LEFT => left(payload, count).map(|_| ()),
        _ => Ok(()),
    };
    checked.map_err(|error| error.at(chunk.offset))
}

fn append(streams: &mut Vec<StreamChunks>, found: FoundChunk) {
    let stream = found.header.stream;
    if streams.last().is_none_or(|last| last.stream != stream) {
        let chunks = Vec::new();
        streams.push(StreamChunks { stream, chunks });
    }
    if let Some(stream) = streams.last_mut() {
        stream.push(found);
    }
}

impl StreamChunks {
    /// Adds the stream's next chunk; returns its smallest stamp, after raising.
    pub(super) fn push(&mut self, found: FoundChunk) -> u64 {
        let header = &found.header;
        let floor = self.chunks.last().map_or(0, |last| last.stamp_last);
        let stamp_first = header.stamp_first.max(floor);
        self.chunks.push(EventChunk {
            found,
            floor,
            stamp_first,
            stamp_last: header.stamp_last.max(floor),
        });
        stamp_first
    }

    /// The number of the event behind the last chunk; None: there is no chunk.
    pub(super) fn next_event(&self) -> Option<u64> {
        let last = &self.chunks.last()?.found.header;
        Some(last.first.saturating_add(u64::from(last.count)))
    }
}

/// Damage that costs a whole chunk whose bytes are sound: `what` in its header makes no sense.
pub(super) fn whole_chunk(chunk: &FoundChunk, what: &'static str) -> Damage {
    damaged_chunk(
        chunk,
        DecodeError::new(chunk.offset, DecodeErrorKind::Invalid(what)),
    )
}

/// The damage of a chunk that cannot be decoded because of `error`.
pub(crate) fn damaged_chunk(chunk: &FoundChunk, error: DecodeError) -> Damage {
    Damage {
        offset: chunk.offset,
        bytes: chunk.header.total_bytes(),
        error,
    }
}
