//! The chunks of a folded tape: some are copied, some lose a part of their records, some go.
//!
//! In: the chunks of a tape, and what the events that go leave. Out: chunks, numbered.

use super::state::State;
use crate::tape::Tape;
use crate::tape::chunks::EventChunk;
use heaptape_format::chunk::{ChunkEncoder, ChunkHeader, ChunkInfo, ChunkKind, NO_STREAM};
use heaptape_format::error::DecodeError;
use heaptape_format::event::{Event, EventEncoder, EventReader};
use heaptape_format::left::{LEFT_PER_CHUNK_MAX, put_left};
use heaptape_format::scan::FoundChunk;
use heaptape_format::tables::{Epoch, Folded, Record, ResidentSample, put_records, records};
use rustc_hash::{FxHashMap, FxHashSet};

/// Chunks that were put together are not longer than this, before compression, but for one alone.
const JOINED_BYTES_MAX: usize = 256 << 10;

/// A chunk that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Where it is, in bytes from the start of the tape.
    pub(super) offset: u64,
    /// What is wrong with it.
    pub(super) what: String,
}

impl Unreadable {
    pub(super) fn new(chunk: &EventChunk, error: &DecodeError) -> Self {
        Self::at(chunk.found.offset, &error.to_string())
    }

    pub(super) fn at(offset: u64, what: &str) -> Self {
        let what = what.to_owned();
        Self { offset, what }
    }

    fn of(chunk: &FoundChunk) -> impl Fn(DecodeError) -> Self {
        let offset = chunk.offset;
        move |error| Self::at(offset, &error.to_string())
    }
}

/// A chunk of the new tape.
pub(super) enum NewChunk {
    /// One of the old tape, under another number.
    Copied(FoundChunk, u64),
    /// One that was made here, with its padding.
    Made(Vec<u8>),
}

impl NewChunk {
    /// Its bytes.
    pub(super) fn encoded(self, tape: &Tape) -> Result<Vec<u8>, Unreadable> {
        let (found, sequence) = match self {
            Self::Made(bytes) => return Ok(bytes),
            Self::Copied(found, sequence) => (found, sequence),
        };
        let stored = found.stored(&tape.bytes).map_err(Unreadable::of(&found))?;
        let header = ChunkHeader {
            sequence,
            ..found.header
        };
        let mut bytes = Vec::with_capacity(found.header.total_bytes() as usize);
        header.encode(&mut bytes);
        bytes.extend_from_slice(stored);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }
}

/// What is made of a chunk.
enum Fate {
    Goes,
    Stays,
    /// It has this payload instead.
    Changes(ChunkInfo, Vec<u8>),
}

/// A new tape.
pub(super) struct Plan {
    /// Its chunks, in order.
    pub(super) chunks: Vec<NewChunk>,
    /// How many events are gone, those of earlier folds included.
    pub(super) gone: u64,
    /// The last chunk has the number of the old tape's last one.
    pub(super) ends_as_before: bool,
}

/// The new tape, in which all streams but `live` are over.
pub(super) fn plan(
    tape: &Tape,
    state: &State,
    level: i32,
    live: &FxHashSet<u32>,
) -> Result<Plan, Unreadable> {
    let stamp = state.folded.stamp;
    let floors = floors(tape);
    let needed = needed_streams(tape, state, live);
    let mut joined = Joined::default();
    let mut fates = Vec::with_capacity(tape.chunks.len());
    let mut events = 0;
    for chunk in &tape.chunks {
        let fate = match chunk.header.kind {
            ChunkKind::STACK_NODES if !needed.contains(&chunk.header.stream) => Fate::Goes,
            _ if joined.take(tape, chunk)? => Fate::Goes,
            _ => fate(tape, chunk, &floors, stamp)?,
        };
        if chunk.header.kind == ChunkKind::EVENTS {
            events += u64::from(chunk.header.count)
                - match &fate {
                    Fate::Goes => 0,
                    Fate::Stays => u64::from(chunk.header.count),
                    Fate::Changes(info, _) => u64::from(info.count),
                };
        }
        fates.push(fate);
    }
    let parts = state.left.chunks(LEFT_PER_CHUNK_MAX as usize);
    let kept = fates.iter().filter(|fate| !matches!(fate, Fate::Goes));
    let count = 1 + (parts.len() + joined.0.len() + kept.count()) as u64;
    let last = tape.chunks.iter().map(|chunk| chunk.header.sequence).max();
    let next = last.map_or(0, |last| last.saturating_add(1));
    // Those behind keep their numbers where there are enough of them.
    let first = next.saturating_sub(count);
    let before = tape.folded.as_ref().map_or(0, |folded| folded.events);
    let gone = before.saturating_add(events);
    let folded = Folded {
        sequence: first,
        events: gone,
        ..state.folded.clone()
    };
    let mut maker = Maker {
        encoder: ChunkEncoder::new(level),
        sequence: first,
        chunks: Vec::with_capacity(fates.len()),
    };
    maker.table(&[folded])?;
    for part in parts {
        let mut payload = Vec::new();
        put_left(part, &mut payload);
        let info = ChunkInfo::table(ChunkKind::LEFT, part.len() as u32, 0);
        maker.make(info, &payload)?;
    }
    for (info, payload) in joined.0 {
        maker.make(info, &payload)?;
    }
    for (chunk, fate) in tape.chunks.iter().zip(fates) {
        match fate {
            Fate::Goes => {}
            Fate::Stays => maker.copy(chunk),
            Fate::Changes(info, payload) => maker.make(info, &payload)?,
        }
    }
    Ok(Plan {
        chunks: maker.chunks,
        gone,
        ends_as_before: maker.sequence == next,
    })
}

/// The streams whose stacks are needed: those that get more events, have some, or left something.
fn needed_streams(tape: &Tape, state: &State, live: &FxHashSet<u32>) -> FxHashSet<u32> {
    let has_events = tape.event_streams.iter().filter(|stream| {
        let last = stream.chunks.last();
        last.is_some_and(|last| last.stamp_last > state.folded.stamp)
    });
    let left = state.left.iter().map(|left| left.stream);
    let both = left.chain(has_events.map(|stream| stream.stream));
    both.chain(live.iter().copied()).collect()
}

/// Chunks of a few records each that there are more of the longer a program runs, put together.
#[derive(Default)]
struct Joined(Vec<(ChunkInfo, Vec<u8>)>);

impl Joined {
    /// Takes a chunk; false when it is of another kind.
    fn take(&mut self, tape: &Tape, chunk: &FoundChunk) -> Result<bool, Unreadable> {
        let header = &chunk.header;
        let kinds = [
            ChunkKind::STREAMS,
            ChunkKind::CLOCK_PAIRS,
            ChunkKind::CHILDREN,
        ];
        if !kinds.contains(&header.kind) {
            return Ok(false);
        }
        let mut payload = Vec::new();
        let good = chunk.payload(&tape.bytes, &mut payload);
        good.map_err(Unreadable::of(chunk))?;
        let has_room = |(info, so_far): &&mut (ChunkInfo, Vec<u8>)| {
            info.kind == header.kind && so_far.len() + payload.len() <= JOINED_BYTES_MAX
        };
        // Records of one kind stay in their order: only the last chunk of a kind has room.
        if let Some((info, so_far)) = self.0.iter_mut().rev().find(has_room) {
            info.count += header.count;
            info.stamp_first = info.stamp_first.min(header.stamp_first);
            info.stamp_last = info.stamp_last.max(header.stamp_last);
            so_far.extend_from_slice(&payload);
        } else {
            let info = ChunkInfo {
                stamp_first: header.stamp_first,
                stamp_last: header.stamp_last,
                ..ChunkInfo::table(header.kind, header.count, 0)
            };
            self.0.push((info, payload));
        }
        Ok(true)
    }
}

/// Writes chunks and numbers them.
struct Maker {
    encoder: ChunkEncoder,
    sequence: u64,
    chunks: Vec<NewChunk>,
}

impl Maker {
    fn copy(&mut self, chunk: &FoundChunk) {
        self.chunks.push(NewChunk::Copied(*chunk, self.sequence));
        self.sequence += 1;
    }

    fn make(&mut self, info: ChunkInfo, payload: &[u8]) -> Result<(), Unreadable> {
        let info = ChunkInfo {
            sequence: self.sequence,
            ..info
        };
        let mut bytes = Vec::new();
        let encoded = self.encoder.encode(&info, payload, &mut bytes);
        // Nothing here is larger than what was read.
        encoded.map_err(|error| Unreadable::at(0, &error.to_string()))?;
        self.chunks.push(NewChunk::Made(bytes));
        self.sequence += 1;
        Ok(())
    }

    fn table<R: Record>(&mut self, records: &[R]) -> Result<(), Unreadable> {
        put_records(records, |count, payload| {
            self.make(ChunkInfo::table(R::KIND, count, 0), payload)
        })
    }
}

/// For each chunk of events, by its offset, the stamp that its smaller ones are raised to.
fn floors(tape: &Tape) -> FxHashMap<u64, u64> {
    let chunks = tape.event_streams.iter().flat_map(|stream| &stream.chunks);
    chunks
        .map(|chunk| (chunk.found.offset, chunk.floor))
        .collect()
}

fn fate(
    tape: &Tape,
    chunk: &FoundChunk,
    floors: &FxHashMap<u64, u64>,
    stamp: u64,
) -> Result<Fate, Unreadable> {
    match chunk.header.kind {
        ChunkKind::EVENTS => {
            let floor = floors.get(&chunk.offset).copied().unwrap_or(0);
            events(tape, chunk, floor, stamp)
        }
        ChunkKind::RESIDENT => later::<ResidentSample>(tape, chunk, |sample| sample.stamp >= stamp),
        ChunkKind::EPOCHS => later::<Epoch>(tape, chunk, |epoch| epoch.watermark >= stamp),
        ChunkKind::FOLDED | ChunkKind::LEFT => Ok(Fate::Goes),
        _ => Ok(Fate::Stays),
    }
}

/// The events behind `stamp`. Reallocations are never half before it.
fn events(tape: &Tape, chunk: &FoundChunk, floor: u64, stamp: u64) -> Result<Fate, Unreadable> {
    let header = &chunk.header;
    if header.count == 0 || header.stamp_last.max(floor) <= stamp {
        return Ok(Fate::Goes);
    }
    if header.stamp_first > stamp {
        return Ok(Fate::Stays);
    }
    let unreadable = Unreadable::of(chunk);
    let mut payload = Vec::new();
    let good = chunk.payload(&tape.bytes, &mut payload);
    good.map_err(&unreadable)?;
    let reader = EventReader::new(&payload, header.count, header.stamp_first);
    let mut encoder = EventEncoder::new();
    for event in reader.map_err(&unreadable)? {
        let event = event.map_err(&unreadable)?;
        let event = Event {
            stamp: event.stamp.max(floor),
            end_stamp: event.end_stamp.max(floor),
            ..event
        };
        if event.stamp > stamp {
            encoder.push(&event).map_err(&unreadable)?;
        }
    }
    let count = encoder.len();
    let (stamp_first, stamp_last) = encoder.stamps();
    let info = ChunkInfo {
        kind: ChunkKind::EVENTS,
        stream: header.stream,
        count,
        stamp_first,
        stamp_last,
        sequence: 0,
        first: header.first.saturating_add((header.count - count).into()),
    };
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    Ok(match count {
        0 => Fate::Goes,
        _ => Fate::Changes(info, payload),
    })
}

/// The records that `is_later` wants.
fn later<R: Record>(
    tape: &Tape,
    chunk: &FoundChunk,
    is_later: impl Fn(&R) -> bool,
) -> Result<Fate, Unreadable> {
    let unreadable = Unreadable::of(chunk);
    let mut payload = Vec::new();
    let good = chunk.payload(&tape.bytes, &mut payload);
    good.map_err(&unreadable)?;
    let all = records::<R>(&payload, chunk.header.count).map_err(&unreadable)?;
    let count = all.len();
    let kept: Vec<R> = all.into_iter().filter(is_later).collect();
    if kept.len() == count || kept.is_empty() {
        return Ok(match kept.is_empty() {
            true => Fate::Goes,
            false => Fate::Stays,
        });
    }
    let mut payload = Vec::new();
    for record in &kept {
        heaptape_format::tables::put_record(record, &mut payload);
    }
    let info = ChunkInfo {
        stream: NO_STREAM,
        ..ChunkInfo::table(R::KIND, kept.len() as u32, 0)
    };
    Ok(Fate::Changes(info, payload))
}
