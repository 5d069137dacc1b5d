//! Tapes for vectors, chunk by chunk, with every field at hand.
//!
//! In: values, or raw payloads where a vector needs what no encoder writes. Out: the tape's bytes.
//! Chunks are stored plainly unless a vector asks for zstd, so that their bytes do not depend on
//! the release of a compressor.

use heaptape_format::TapeHeader;
use heaptape_format::chunk::{ChunkEncoder, ChunkHeader, ChunkInfo, ChunkKind, Codec, NO_STREAM};
use heaptape_format::event::{Event, EventEncoder, Operation};
use heaptape_format::header::ClockKind;
use heaptape_format::stack::{StackNode, put_stack_nodes};
use heaptape_format::symbols::{Symbol, put_symbols};
use heaptape_format::tables::{Record, put_record};

/// A header in which every field has a value of its own.
pub(crate) fn header() -> TapeHeader {
    let mut header = TapeHeader::new(ClockKind::Tsc, 2_400_000_000, 123_456_789_012);
    // Most vectors are as old as the format; they stay as they are.
    header.version = (1, 0);
    header.tape_id = std::array::from_fn(|place| place as u8);
    header.session_id = std::array::from_fn(|place| 0x40 + place as u8);
    header.boot_id = std::array::from_fn(|place| 0x80 + place as u8);
    header.may_ignore = 1 << 63;
    header.start_realtime_ns = 1_790_000_000_000_000_001;
    header.start_boottime_ns = 5_000_000_007;
    header.pid_namespace = 4_026_531_836;
    header.pid = 4711;
    header.stamp_shift = 6;
    header
}

/// A tape under construction.
pub(crate) struct Tape {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sequence: u64,
}

impl Tape {
    /// A tape with [`header`] and no chunk.
    pub(crate) fn new() -> Self {
        Self::with_header(&header())
    }

    pub(crate) fn with_header(header: &TapeHeader) -> Self {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        Self { bytes, sequence: 0 }
    }

    /// Where the next chunk begins.
    pub(crate) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// A plainly stored chunk for the whole process; `change` sets what is special about it.
    pub(crate) fn raw(
        &mut self,
        kind: ChunkKind,
        count: u32,
        payload: &[u8],
        change: impl FnOnce(&mut ChunkHeader),
    ) -> &mut Self {
        let mut header = ChunkHeader {
            sequence: self.sequence,
            ..plain_header(kind, count, payload)
        };
        change(&mut header);
        header.encode(&mut self.bytes);
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.sequence += 1;
        self
    }

    /// A chunk that is compressed (its payload must compress).
    pub(crate) fn zstd(&mut self, mut info: ChunkInfo, payload: &[u8]) -> &mut Self {
        info.sequence = self.sequence;
        let start = self.bytes.len();
        ChunkEncoder::new(1)
            .encode(&info, payload, &mut self.bytes)
            .unwrap();
        let header = ChunkHeader::decode(&self.bytes[start..]).unwrap();
        assert_eq!(header.codec, Codec::Zstd, "this payload does not compress");
        self.sequence += 1;
        self
    }

    pub(crate) fn events(&mut self, stream: u32, first: u64, events: &[Event]) -> &mut Self {
        let (info, payload) = encoded(stream, first, events);
        self.raw(ChunkKind::EVENTS, info.count, &payload, |header| {
            header.stream = stream;
            header.first = first;
            header.stamp_first = info.stamp_first;
            header.stamp_last = info.stamp_last;
        })
    }

    pub(crate) fn nodes(&mut self, stream: u32, first: u32, nodes: &[StackNode]) -> &mut Self {
        let mut payload = Vec::new();
        put_stack_nodes(nodes, first, &mut payload);
        self.raw(
            ChunkKind::STACK_NODES,
            nodes.len() as u32,
            &payload,
            |header| {
                header.stream = stream;
                header.first = u64::from(first);
            },
        )
    }

    pub(crate) fn table<R: Record>(&mut self, records: &[R]) -> &mut Self {
        let payload = table_payload(records);
        self.raw(R::KIND, records.len() as u32, &payload, |_| ())
    }

    pub(crate) fn symbols(&mut self, symbols: &[Symbol]) -> &mut Self {
        let payload = put_symbols(symbols);
        self.raw(ChunkKind::SYMBOLS, symbols.len() as u32, &payload, |_| ())
    }
}

/// The header of a plainly stored chunk for the whole process.
pub(crate) fn plain_header(kind: ChunkKind, count: u32, payload: &[u8]) -> ChunkHeader {
    ChunkHeader {
        kind,
        codec: Codec::Plain,
        flags: 0,
        stored_bytes: payload.len() as u32,
        payload_bytes: payload.len() as u32,
        stream: NO_STREAM,
        count,
        stamp_first: 0,
        stamp_last: 0,
        sequence: 0,
        first: 0,
        payload_checksum: crc32c::crc32c(payload),
    }
}

/// The payload of an events chunk and what its header states.
pub(crate) fn encoded(stream: u32, first: u64, events: &[Event]) -> (ChunkInfo, Vec<u8>) {
    let mut encoder = EventEncoder::new();
    for event in events {
        encoder.push(event).unwrap();
    }
    let mut info = ChunkInfo::table(ChunkKind::EVENTS, encoder.len(), 0);
    (info.stream, info.first) = (stream, first);
    (info.stamp_first, info.stamp_last) = encoder.stamps();
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    (info, payload)
}

/// The payload of a table chunk.
pub(crate) fn table_payload<R: Record>(records: &[R]) -> Vec<u8> {
    let mut payload = Vec::new();
    for record in records {
        put_record(record, &mut payload);
    }
    payload
}

/// An allocation.
pub(crate) fn alloc(stamp: u64, address: u64, size: u64, stack: u32) -> Event {
    Event {
        address,
        size,
        stack,
        ..Event::new(Operation::MALLOC, stamp)
    }
}

/// A free.
pub(crate) fn free(stamp: u64, old_address: u64) -> Event {
    Event {
        old_address,
        ..Event::new(Operation::FREE, stamp)
    }
}

/// A realloc: the old block dies at `stamps.0`, the new one lives from `stamps.1` on.
pub(crate) fn realloc(stamps: (u64, u64), old_address: u64, address: u64, size: u64) -> Event {
    Event {
        end_stamp: stamps.1,
        old_address,
        address,
        size,
        stack: 1,
        ..Event::new(Operation::REALLOC, stamps.0)
    }
}
