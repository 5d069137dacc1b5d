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
use rustc_hash::FxHashMap;

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

/// The chunks of the new tape, in order, and how many events are gone, those of earlier folds
/// included.
pub(super) fn plan(
    tape: &Tape,
    state: &State,
    level: i32,
) -> Result<(Vec<NewChunk>, u64), Unreadable> {
    let floors = floors(tape);
    let mut fates = Vec::with_capacity(tape.chunks.len());
    let mut events = 0;
    for chunk in &tape.chunks {
        let fate = fate(tape, chunk, &floors, state.folded.stamp)?;
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
    let count = 1 + parts.len() as u64 + kept.count() as u64;
    let last = tape.chunks.iter().map(|chunk| chunk.header.sequence).max();
    // Those behind keep their numbers where there are enough of them.
    let first = last.map_or(0, |last| last.saturating_add(1).saturating_sub(count));
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
    for (chunk, fate) in tape.chunks.iter().zip(fates) {
        match fate {
            Fate::Goes => {}
            Fate::Stays => maker.copy(chunk),
            Fate::Changes(info, payload) => maker.make(info, &payload)?,
        }
    }
    Ok((maker.chunks, gone))
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
