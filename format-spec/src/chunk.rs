//! Chunks: the unit of compression, checksum and recovery. SPEC.md §4.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::Cursor;
use crate::{CHUNK_ALIGNMENT, PAYLOAD_BYTES_MAX};

/// The first four bytes of every chunk.
pub const CHUNK_MAGIC: [u8; 4] = *b"HTck";
/// Length of a chunk header in bytes.
pub const CHUNK_HEADER_BYTES: usize = 64;
/// `ChunkHeader::stream` of chunks that belong to the whole process.
pub const NO_STREAM: u32 = u32::MAX;
/// Flag: a reader that does not know the kind must refuse the tape.
pub const FLAG_MUST_UNDERSTAND: u8 = 1;

/// What a chunk holds. Unknown kinds are skipped unless flagged [`FLAG_MUST_UNDERSTAND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkKind(pub u16);

#[allow(
    missing_docs,
    reason = "each constant is documented by the table in SPEC.md §4"
)]
impl ChunkKind {
    pub const EVENTS: Self = Self(1);
    pub const STACK_NODES: Self = Self(2);
    pub const DOMAINS: Self = Self(3);
    pub const MODULES: Self = Self(4);
    /// Reserved for the code objects of interpreters.
    pub const CODE_OBJECTS: Self = Self(5);
    pub const STREAMS: Self = Self(6);
    pub const PROCESS: Self = Self(7);
    pub const CLOCK_PAIRS: Self = Self(8);
    pub const RESIDENT: Self = Self(9);
    pub const MARKS: Self = Self(10);
    pub const LOST: Self = Self(11);
    pub const EPOCHS: Self = Self(12);
    pub const CHILDREN: Self = Self(13);
    /// Reserved for an optional directory of chunks at the end of a tape.
    pub const DIRECTORY: Self = Self(14);
    pub const SYMBOLS: Self = Self(15);
    pub const END: Self = Self(16);

    /// The kind's name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EVENTS => "events",
            Self::STACK_NODES => "stack nodes",
            Self::DOMAINS => "domains",
            Self::MODULES => "modules",
            Self::CODE_OBJECTS => "code objects",
            Self::STREAMS => "streams",
            Self::PROCESS => "process",
            Self::CLOCK_PAIRS => "clock pairs",
            Self::RESIDENT => "resident samples",
            Self::MARKS => "marks",
            Self::LOST => "lost events",
            Self::EPOCHS => "epochs",
            Self::CHILDREN => "children",
            Self::DIRECTORY => "directory",
            Self::SYMBOLS => "symbols",
            Self::END => "end",
            _ => "unknown",
        }
    }
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Plain = 0,
    /// One zstd frame.
    Zstd = 2,
}

/// The fixed part of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// What the payload holds.
    pub kind: ChunkKind,
    /// How it is stored.
    pub codec: Codec,
    /// [`FLAG_MUST_UNDERSTAND`].
    pub flags: u8,
    /// Bytes of the stored payload.
    pub stored_bytes: u32,
    /// Bytes of the payload when decompressed.
    pub payload_bytes: u32,
    /// The stream (one thread's sequence of events) it belongs to, or [`NO_STREAM`].
    pub stream: u32,
    /// Records in the payload.
    pub count: u32,
    /// Smallest stamp of its records.
    pub stamp_first: u64,
    /// Largest stamp of its records.
    pub stamp_last: u64,
    /// Number of this chunk in the tape, from 0.
    pub sequence: u64,
    /// Event chunks: events of this stream before this chunk. Stack node chunks: the id of the
    /// first node.
    pub first: u64,
    /// CRC32C of the stored payload.
    pub payload_checksum: u32,
}

/// What the writer of a chunk states; lengths and checksums are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    /// What the payload holds.
    pub kind: ChunkKind,
    /// See [`ChunkHeader::stream`].
    pub stream: u32,
    /// Records in the payload.
    pub count: u32,
    /// Smallest stamp.
    pub stamp_first: u64,
    /// Largest stamp.
    pub stamp_last: u64,
    /// Number of this chunk in the tape.
    pub sequence: u64,
    /// See [`ChunkHeader::first`].
    pub first: u64,
}

impl ChunkInfo {
    /// A chunk of `kind` for the whole process, with `count` records and no stamps.
    #[must_use]
    pub fn table(kind: ChunkKind, count: u32, sequence: u64) -> Self {
        Self {
            kind,
            stream: NO_STREAM,
            count,
            stamp_first: 0,
            stamp_last: 0,
            sequence,
            first: 0,
        }
    }
}

/// Turns payloads into chunks. Keeps the compressor's state between calls.
pub struct ChunkEncoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    stored: Vec<u8>,
}

impl std::fmt::Debug for ChunkEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkEncoder").finish_non_exhaustive()
    }
}

impl ChunkEncoder {
    /// An encoder that compresses with zstd at `level`; stores plainly when zstd is unavailable
    /// (out of memory).
    #[must_use]
    pub fn new(level: i32) -> Self {
        Self {
            compressor: zstd::bulk::Compressor::new(level).ok(),
            stored: Vec::new(),
        }
    }

    /// Appends the chunk of `info` and `payload` to `out`, padded to [`CHUNK_ALIGNMENT`].
    ///
    /// # Errors
    /// `Limit` when the payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn encode(
        &mut self,
        info: &ChunkInfo,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let payload_bytes = u32::try_from(payload.len())
            .ok()
            .filter(|&bytes| bytes <= PAYLOAD_BYTES_MAX)
            .ok_or(DecodeError::new(
                0,
                DecodeErrorKind::Limit("payload length"),
            ))?;
        let compressed = self.compress(payload);
        let (codec, stored) = if compressed {
            (Codec::Zstd, self.stored.as_slice())
        } else {
            (Codec::Plain, payload)
        };
        let header = ChunkHeader {
            kind: info.kind,
            codec,
            flags: 0,
            stored_bytes: stored.len() as u32,
            payload_bytes,
            stream: info.stream,
            count: info.count,
            stamp_first: info.stamp_first,
            stamp_last: info.stamp_last,
            sequence: info.sequence,
            first: info.first,
            payload_checksum: crc32c::crc32c(stored),
        };
        header.encode(out);
        out.extend_from_slice(stored);
        let padded = padded_bytes(stored.len() as u64) as usize - stored.len();
        out.resize(out.len() + padded, 0);
        Ok(())
    }

    /// Compresses into `self.stored`; false when the payload is better stored plainly.
    fn compress(&mut self, payload: &[u8]) -> bool {
        let Some(compressor) = self.compressor.as_mut() else {
            return false;
        };
        if payload.len() < 64 {
            return false;
        }
        self.stored.clear();
        self.stored
            .reserve(zstd::zstd_safe::compress_bound(payload.len()));
        match compressor.compress_to_buffer(payload, &mut self.stored) {
            Ok(bytes) => bytes < payload.len(),
            Err(_) => false,
        }
    }
}

/// `bytes` rounded up to the alignment of chunks.
#[must_use]
pub fn padded_bytes(bytes: u64) -> u64 {
    bytes.next_multiple_of(CHUNK_ALIGNMENT)
}

impl ChunkHeader {
    /// Bytes of the header and the stored payload, without the padding behind them.
    #[must_use]
    pub fn unpadded_bytes(&self) -> u64 {
        CHUNK_HEADER_BYTES as u64 + u64::from(self.stored_bytes)
    }

    /// Bytes from this chunk's start to the next chunk's.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        CHUNK_HEADER_BYTES as u64 + padded_bytes(u64::from(self.stored_bytes))
    }

    /// Appends the header's 64 bytes, its checksum last.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&CHUNK_MAGIC);
        out.extend_from_slice(&self.kind.0.to_le_bytes());
        out.extend_from_slice(&[self.codec as u8, self.flags]);
        for word in [
            self.stored_bytes,
            self.payload_bytes,
            self.stream,
            self.count,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.stamp_first, self.stamp_last, self.sequence, self.first] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.payload_checksum.to_le_bytes());
        let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Decodes the header at the start of `bytes`.
    ///
    /// # Errors
    /// `Truncated`, `NoChunk`, `Checksum`, `Limit`, `Invalid`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let whole = Cursor::new(bytes).take(CHUNK_HEADER_BYTES)?;
        if cursor.array::<4>()? != CHUNK_MAGIC {
            return Err(DecodeError::new(0, DecodeErrorKind::NoChunk));
        }
        let (body, checksum) = whole.split_at(CHUNK_HEADER_BYTES - 4);
        if crc32c::crc32c(body).to_le_bytes() != checksum {
            return Err(DecodeError::new(
                0,
                DecodeErrorKind::Checksum("a chunk header"),
            ));
        }
        let kind = ChunkKind(cursor.u16()?);
        let codec = match cursor.u8()? {
            0 => Codec::Plain,
            2 => Codec::Zstd,
            _ => return Err(DecodeError::new(6, DecodeErrorKind::Invalid("codec"))),
        };
        let header = Self {
            kind,
            codec,
            flags: cursor.u8()?,
            stored_bytes: cursor.u32()?,
            payload_bytes: cursor.u32()?,
            stream: cursor.u32()?,
            count: cursor.u32()?,
            stamp_first: cursor.u64()?,
            stamp_last: cursor.u64()?,
            sequence: cursor.u64()?,
            first: cursor.u64()?,
            payload_checksum: cursor.u32()?,
        };
        if header.payload_bytes > PAYLOAD_BYTES_MAX || header.stored_bytes > PAYLOAD_BYTES_MAX {
            return Err(DecodeError::new(
                8,
                DecodeErrorKind::Limit("payload length"),
            ));
        }
        Ok(header)
    }

    /// Checks and decompresses `stored`, the bytes behind this header, into `payload` (cleared
    /// first).
    ///
    /// # Errors
    /// `Truncated`, `Checksum`, `Decompress`. Offsets count from the start of `stored`.
    pub fn payload(&self, stored: &[u8], payload: &mut Vec<u8>) -> Result<(), DecodeError> {
        payload.clear();
        let stored = Cursor::new(stored).take(self.stored_bytes as usize)?;
        if crc32c::crc32c(stored) != self.payload_checksum {
            return Err(DecodeError::new(
                0,
                DecodeErrorKind::Checksum("a chunk's payload"),
            ));
        }
        match self.codec {
            Codec::Plain => payload.extend_from_slice(stored),
            Codec::Zstd => {
                payload.reserve(self.payload_bytes as usize);
                zstd::bulk::Decompressor::new()
                    .and_then(|mut zstd| zstd.decompress_to_buffer(stored, payload))
                    .map_err(|_| DecodeError::new(0, DecodeErrorKind::Decompress))?;
            }
        }
        if payload.len() == self.payload_bytes as usize {
            Ok(())
        } else {
            Err(DecodeError::new(0, DecodeErrorKind::Decompress))
        }
    }
}
