//! The bytes of an index.
//!
//! In: what a build found. Out: bytes; and back. The file is a header of [`HEADER_BYTES`] bytes
//! that names the tape it belongs to, then chunks with the frame and checksums of a tape's chunks
//! and kinds of its own, so that a later version can add kinds that this one skips. Survivors are
//! decoded when a question needs them; everything is checked when the index is opened, so that
//! nothing can be found wrong later.

use super::peaks::PEAKS_MAX;
use super::steps::{Step, put_steps, take_steps};
use super::survivors::{Borders, is_above, put_survivors, take_survivors};
use super::{HeapTotal, Peak, Summary};
use crate::block::{Block, Lifetime};
use crate::history::mappings::{Mapped, Parted};
use crate::history::transitions::is_mapping;
use crate::tape::open::Bytes;
use heaptape_format::chunk::{CHUNK_HEADER_BYTES, ChunkEncoder, ChunkInfo, ChunkKind};
use heaptape_format::error::DecodeError;
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::varint::{Cursor, put_varint};
use rayon::prelude::*;

/// The first bytes of every index.
pub(crate) const MAGIC: [u8; 8] = *b"\x89HTIDX\r\n";
/// Rises when the bytes or the meaning of an index change: older indexes are built again.
const VERSION: u64 = 7;
/// Length of the header.
pub(super) const HEADER_BYTES: usize = 152;

const SUMMARY: ChunkKind = ChunkKind(0x7001);
const SLICES: ChunkKind = ChunkKind(0x7002);
const STEPS: ChunkKind = ChunkKind(0x7003);
const PEAKS: ChunkKind = ChunkKind(0x7004);
const DAMAGED: ChunkKind = ChunkKind(0x7005);
const SURVIVORS: ChunkKind = ChunkKind(0x7006);
const PARTED: ChunkKind = ChunkKind(0x7007);
/// Numbers of one kind in a chunk: a bound for a chunk's payload.
const NUMBERS_PER_CHUNK: usize = 1 << 18;

/// The tape (and its parent's) that an index was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// Identity, length and time of change of the tape.
    pub(crate) tape: ([u8; 16], u64, u64),
    /// The same of the parent's tape; zeros when there is none.
    pub(crate) parent: ([u8; 16], u64, u64),
    /// Whether the parent was read.
    pub(crate) has_parent: bool,
}

/// What an index holds besides survivors.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) summary: Summary,
    pub(super) ends: Vec<u64>,
    pub(super) steps: Vec<Step>,
    pub(super) peaks: Vec<Peak>,
    pub(super) damaged: Vec<u64>,
    pub(super) parted: Vec<Parted>,
}

/// Collects the chunks of an index.
#[derive(Debug)]
pub(super) struct IndexWriter {
    encoder: ChunkEncoder,
    out: Vec<u8>,
    sequence: u64,
}

impl IndexWriter {
    pub(super) fn new() -> Self {
        Self {
            encoder: ChunkEncoder::new(1),
            out: Vec::new(),
            sequence: 0,
        }
    }

    fn chunk(&mut self, info: ChunkInfo, payload: &[u8]) {
        // Payloads are far below the limit: see NUMBERS_PER_CHUNK and the callers.
        let encoded = self.encoder.encode(&info, payload, &mut self.out);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        self.sequence += 1;
    }

    /// Adds survivors of one node and empties `lifetimes`.
    pub(super) fn survivors(&mut self, node: u64, lifetimes: &mut Vec<Lifetime>) {
        lifetimes.sort_unstable_by_key(|lifetime| {
            let block = &lifetime.block;
            (
                block.born,
                block.domain,
                block.address,
                lifetime.death.map(|death| death.stamp),
            )
        });
        for part in lifetimes.chunks(NUMBERS_PER_CHUNK) {
            let mut payload = Vec::new();
            put_survivors(part, &mut payload);
            let born = |lifetime: Option<&Lifetime>| lifetime.map_or(0, |l| l.block.born);
            let mut info = ChunkInfo::table(SURVIVORS, part.len() as u32, self.sequence);
            (info.stamp_first, info.stamp_last) = (born(part.first()), born(part.last()));
            info.first = node;
            self.chunk(info, &payload);
        }
        lifetimes.clear();
    }

    fn numbers(&mut self, kind: ChunkKind, numbers: &[u64]) {
        for part in numbers.chunks(NUMBERS_PER_CHUNK) {
            let mut payload = Vec::new();
            let mut last = 0;
            for &number in part {
                put_varint(&mut payload, number.wrapping_sub(last));
                last = number;
            }
            let info = ChunkInfo::table(kind, part.len() as u32, self.sequence);
            self.chunk(info, &payload);
        }
    }

    /// Adds everything else and returns the chunks of the index, without its header.
    pub(super) fn finish(mut self, parts: &Parts) -> Vec<u8> {
        let mut payload = Vec::new();
        for number in summary_numbers(&parts.summary) {
            put_varint(&mut payload, number);
        }
        self.chunk(ChunkInfo::table(SUMMARY, 1, self.sequence), &payload);
        self.numbers(SLICES, &parts.ends);
        self.numbers(DAMAGED, &parts.damaged);
        for part in parts.steps.chunks(NUMBERS_PER_CHUNK) {
            payload.clear();
            put_steps(part, &mut payload);
            let info = ChunkInfo::table(STEPS, part.len() as u32, self.sequence);
            self.chunk(info, &payload);
        }
        for part in parts.parted.chunks(NUMBERS_PER_CHUNK) {
            payload.clear();
            for Parted { origin, end } in part {
                // One more than it lived, so that 0 is one that is still there.
                let life = end.wrapping_sub(origin.born).wrapping_add(1);
                let life = if *end == u64::MAX { 0 } else { life };
                for number in [origin.born, origin.address, origin.size, life] {
                    put_varint(&mut payload, number);
                }
            }
            let info = ChunkInfo::table(PARTED, part.len() as u32, self.sequence);
            self.chunk(info, &payload);
        }
        payload.clear();
        for peak in &parts.peaks {
            for number in [peak.stamp, peak.bytes, peak.count] {
                put_varint(&mut payload, number);
            }
        }
        let info = ChunkInfo::table(PEAKS, parts.peaks.len() as u32, self.sequence);
        self.chunk(info, &payload);
        self.out
    }
}

const SUMMARY_NUMBERS: usize = 23;

fn summary_numbers(summary: &Summary) -> [u64; SUMMARY_NUMBERS] {
    [
        summary.allocs,
        summary.frees,
        summary.reallocs,
        summary.maps,
        summary.unknown_frees,
        summary.implied_frees,
        summary.inherited.bytes,
        summary.inherited.count,
        u64::from(summary.inherited_known),
        summary.inherited_frees,
        summary.inherited_pools.bytes,
        summary.inherited_pools.count,
        summary.inherited_pool_frees,
        summary.bytes_allocated,
        summary.peak.stamp,
        summary.peak.bytes,
        summary.peak.count,
        summary.end.bytes,
        summary.end.count,
        summary.readable_events,
        summary.damaged_chunks,
        summary.stacks,
        summary.reuses,
    ]
}

fn take_summary(cursor: &mut Cursor<'_>) -> Result<Summary, DecodeError> {
    let mut next = || cursor.varint();
    Ok(Summary {
        allocs: next()?,
        frees: next()?,
        reallocs: next()?,
        maps: next()?,
        unknown_frees: next()?,
        implied_frees: next()?,
        inherited: HeapTotal {
            bytes: next()?,
            count: next()?,
        },
        inherited_known: next()? != 0,
        inherited_frees: next()?,
        inherited_pools: HeapTotal {
            bytes: next()?,
            count: next()?,
        },
        inherited_pool_frees: next()?,
        bytes_allocated: next()?,
        peak: Peak {
            stamp: next()?,
            bytes: next()?,
            count: next()?,
        },
        end: HeapTotal {
            bytes: next()?,
            count: next()?,
        },
        readable_events: next()?,
        damaged_chunks: next()?,
        stacks: next()?,
        reuses: next()?,
    })
}

/// The header of an index whose chunks are `chunks`.
pub(super) fn put_header(origin: &Origin, chunks: &[u8]) -> Vec<u8> {
    header(
        origin,
        chunks.len() as u64,
        &crc32c::crc32c(chunks).to_le_bytes(),
    )
}

fn header(origin: &Origin, chunks_bytes: u64, checksum: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    for (id, bytes, changed) in [origin.tape, origin.parent] {
        out.extend_from_slice(&id);
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(&changed.to_le_bytes());
    }
    out.extend_from_slice(&u64::from(origin.has_parent).to_le_bytes());
    out.extend_from_slice(&chunks_bytes.to_le_bytes());
    out.resize(HEADER_BYTES - 8, 0);
    out.extend_from_slice(checksum);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// True when a file of `bytes` bytes, which begins with `start`, may be an index of `origin`: what
/// tells so without reading the file.
pub(super) fn may_be_index(start: &[u8; HEADER_BYTES], bytes: u64, origin: &Origin) -> bool {
    let chunks_bytes = bytes.checked_sub(HEADER_BYTES as u64);
    let checksum = start.get(HEADER_BYTES - 8..HEADER_BYTES - 4);
    chunks_bytes
        .zip(checksum)
        .is_some_and(|(chunks_bytes, checksum)| header(origin, chunks_bytes, checksum) == start)
}

/// An index that can be asked.
#[derive(Debug)]
pub(crate) struct Index {
    /// The totals.
    pub(crate) summary: Summary,
    /// The borders of the slices.
    pub(crate) borders: Borders,
    /// The live heap over time.
    pub(crate) steps: Vec<Step>,
    /// The separate peaks, the highest first.
    pub(crate) peaks: Vec<Peak>,
    /// Offsets of event chunks that could not be decoded.
    pub(crate) damaged: Vec<u64>,
    /// The mappings that were unmapped in parts, in order.
    parted: Vec<Parted>,
    survivors: Vec<FoundChunk>,
    bytes: Bytes,
    /// Size of the whole index.
    pub(crate) total_bytes: u64,
}

impl Index {
    /// The index in `bytes`, if they are a whole and sound one of `origin`.
    pub(crate) fn open(bytes: Bytes, origin: &Origin, cut: Option<u64>) -> Option<Self> {
        let (header, chunks) = bytes.split_at_checked(HEADER_BYTES)?;
        if header != put_header(origin, chunks) {
            return None;
        }
        Self::read(bytes, HEADER_BYTES, cut)
    }

    /// The index of a build's chunks.
    pub(crate) fn of_chunks(chunks: Vec<u8>, cut: Option<u64>) -> Option<Self> {
        Self::read(Bytes::Owned(chunks), 0, cut)
    }

    fn read(bytes: Bytes, start: usize, cut: Option<u64>) -> Option<Self> {
        let mut found = Vec::new();
        for chunk in Scan::new(&bytes, start) {
            match chunk {
                Found::Chunk(chunk) => found.push(chunk),
                Found::Damage(_) => return None,
            }
        }
        let mut summary = None;
        let (mut ends, mut damaged) = (Vec::new(), Vec::new());
        let (mut steps, mut peaks) = (Vec::new(), Vec::new());
        let (mut survivors, mut parted) = (Vec::new(), Vec::new());
        let mut payload = Vec::new();
        for chunk in found {
            if chunk.header.kind == SURVIVORS {
                survivors.push(chunk);
                continue;
            }
            chunk.payload(&bytes, &mut payload).ok()?;
            let mut cursor = Cursor::new(&payload);
            let count = chunk.header.count;
            match chunk.header.kind {
                SUMMARY => summary = Some(take_summary(&mut cursor).ok()?),
                SLICES => ends.extend(take_numbers(&mut cursor, count).ok()?),
                DAMAGED => damaged.extend(take_numbers(&mut cursor, count).ok()?),
                STEPS => steps.extend(take_steps(&mut cursor, count).ok()?),
                PEAKS => peaks = take_peaks(&mut cursor, count).ok()?,
                PARTED => parted.extend(take_parted(&mut cursor, count).ok()?),
                _ => {}
            }
        }
        Some(Self {
            summary: summary?,
            borders: Borders { ends, cut },
            steps,
            peaks,
            damaged,
            parted,
            survivors,
            total_bytes: (bytes.len() + HEADER_BYTES - start) as u64,
            bytes,
        })
    }

    /// When the last byte of a block was given back: its death, or that of the last part of a
    /// mapping that was unmapped in parts; None while some is left.
    pub(crate) fn last_end(&self, lifetime: &Lifetime) -> Option<u64> {
        let (block, death) = (&lifetime.block, lifetime.death?.stamp);
        if !is_mapping(block.operation) || block.is_remainder {
            return Some(death);
        }
        let origin = Mapped::of(block);
        let found = self
            .parted
            .binary_search_by_key(&origin, |parted| parted.origin);
        let end = found
            .ok()
            .and_then(|place| self.parted.get(place))
            .map(|parted| parted.end);
        match end {
            Some(u64::MAX) => None,
            Some(end) => Some(end.max(death)),
            None => Some(death),
        }
    }

    /// How many survivors there are.
    pub(crate) fn survivor_count(&self) -> u64 {
        let counts = self
            .survivors
            .iter()
            .map(|chunk| u64::from(chunk.header.count));
        counts.sum()
    }

    /// The blocks that live across the border behind `slices` slices, in no order but always the
    /// same.
    pub(crate) fn alive_behind(&self, slices: usize) -> Result<Vec<Lifetime>, DecodeError> {
        self.wanted_behind(slices, |_| true)
    }

    /// Those of them that are `wanted`.
    pub(crate) fn wanted_behind(
        &self,
        slices: usize,
        wanted: impl Fn(&Block) -> bool + Sync,
    ) -> Result<Vec<Lifetime>, DecodeError> {
        let border = slices as u64 + 1;
        let chunks = self.survivors.par_iter();
        let chunks = chunks.filter(|chunk| is_above(chunk.header.first, border));
        let alive: Result<Vec<Vec<Lifetime>>, DecodeError> = chunks
            .map(|chunk| {
                let mut lifetimes = self.decode(chunk)?;
                lifetimes.retain(|lifetime| {
                    wanted(&lifetime.block) && self.borders.crosses(slices, lifetime)
                });
                Ok(lifetimes)
            })
            .collect();
        Ok(alive?.into_iter().flatten().collect())
    }

    /// Calls `visit` for each survivor that was born from `from` to `to`, from several threads.
    pub(crate) fn visit_survivors(
        &self,
        from: u64,
        to: u64,
        visit: impl Fn(&Lifetime) + Sync,
    ) -> Result<(), DecodeError> {
        self.survivors
            .par_iter()
            .filter(|chunk| chunk.header.stamp_first <= to && chunk.header.stamp_last >= from)
            .try_for_each(|chunk| {
                let lifetimes = self.decode(chunk)?;
                lifetimes
                    .iter()
                    .filter(|lifetime| (from..=to).contains(&lifetime.block.born))
                    .for_each(&visit);
                Ok(())
            })
    }

    fn decode(&self, chunk: &FoundChunk) -> Result<Vec<Lifetime>, DecodeError> {
        let mut payload = Vec::new();
        chunk.payload(&self.bytes, &mut payload)?;
        take_survivors(&payload, chunk.header.count).map_err(|error| error.at(chunk.offset))
    }
}

fn take_numbers(cursor: &mut Cursor<'_>, count: u32) -> Result<Vec<u64>, DecodeError> {
    let mut numbers = Vec::new();
    let mut last = 0u64;
    for _ in 0..count {
        last = last.wrapping_add(cursor.varint()?);
        numbers.push(last);
    }
    Ok(numbers)
}

fn take_parted(cursor: &mut Cursor<'_>, count: u32) -> Result<Vec<Parted>, DecodeError> {
    let mut all = Vec::new();
    for _ in 0..count {
        let origin = Mapped {
            born: cursor.varint()?,
            address: cursor.varint()?,
            size: cursor.varint()?,
        };
        let end = match cursor.varint()?.checked_sub(1) {
            Some(life) => origin.born.wrapping_add(life),
            None => u64::MAX,
        };
        all.push(Parted { origin, end });
    }
    Ok(all)
}

fn take_peaks(cursor: &mut Cursor<'_>, count: u32) -> Result<Vec<Peak>, DecodeError> {
    let mut peaks = Vec::new();
    for _ in 0..(count as usize).min(PEAKS_MAX) {
        peaks.push(Peak {
            stamp: cursor.varint()?,
            bytes: cursor.varint()?,
            count: cursor.varint()?,
        });
    }
    Ok(peaks)
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(8) && CHUNK_HEADER_BYTES == 64);
