//! Chunks: the unit of compression, checksum and recovery. SPEC.md §4.
//!
//! In: a payload and the facts about it, or the bytes of a chunk. Out: the other. A payload leaves
//! this file only when its checksum and its length are right; decompression writes no byte more
//! than the header states.

use crate::CHUNK_ALIGNMENT;
use crate::column;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::frame::FrameEncoder;
use crate::varint::Cursor;

pub use crate::kind::ChunkKind;

/// The first four bytes of every chunk.
pub const CHUNK_MAGIC: [u8; 4] = *b"HTck";
/// Length of a chunk header in bytes.
pub const CHUNK_HEADER_BYTES: usize = 64;
/// `ChunkHeader::stream` of chunks that belong to the whole process.
pub const NO_STREAM: u32 = u32::MAX;
/// Flag: a reader that does not know the kind must refuse the tape.
pub const FLAG_MUST_UNDERSTAND: u8 = 1;

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
    frames: FrameEncoder,
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
            frames: FrameEncoder::new(level),
            stored: Vec::new(),
        }
    }

    /// Appends the chunk of `info` and `payload` to `out`, padded to [`CHUNK_ALIGNMENT`].
    ///
    /// # Errors
    /// `Limit` when the payload is longer than [`ChunkKind::payload_bytes_max`].
    pub fn encode(
        &mut self,
        info: &ChunkInfo,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let payload_bytes = u32::try_from(payload.len())
            .ok()
            .filter(|&bytes| bytes <= info.kind.payload_bytes_max())
            .ok_or(DecodeError::new(
                0,
                DecodeErrorKind::Limit("payload length"),
            ))?;
        let columns = match info.kind {
            ChunkKind::EVENTS => payload,
            _ => &[],
        };
        let ends = column::ends(columns);
        let compressed = self.frames.compress(payload, ends, &mut self.stored);
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
}

/// `bytes` rounded up to the alignment of chunks.
#[must_use]
pub fn padded_bytes(bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(CHUNK_ALIGNMENT)
        .unwrap_or(u64::MAX - CHUNK_ALIGNMENT + 1)
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
        header.check_lengths()?;
        Ok(header)
    }

    fn check_lengths(&self) -> Result<(), DecodeError> {
        let fail = |kind| Err(DecodeError::new(8, kind));
        let limit = self.kind.payload_bytes_max();
        if self.payload_bytes > limit || self.stored_bytes > limit {
            return fail(DecodeErrorKind::Limit("payload length"));
        }
        if self.codec == Codec::Plain && self.payload_bytes != self.stored_bytes {
            return fail(DecodeErrorKind::Invalid("payload length"));
        }
        Ok(())
    }

    /// True when a reader that does not know the kind must refuse the tape.
    #[must_use]
    pub fn must_understand(&self) -> bool {
        self.flags & FLAG_MUST_UNDERSTAND != 0
    }

    /// Checks and decompresses `stored`, the bytes behind this header, into `payload` (its content
    /// is replaced). Readers of many chunks are faster with one [`ChunkDecoder`].
    ///
    /// # Errors
    /// `Truncated`, `Checksum`, `Decompress`. Offsets count from the start of `stored`.
    pub fn payload(&self, stored: &[u8], payload: &mut Vec<u8>) -> Result<(), DecodeError> {
        ChunkDecoder::new().payload(self, stored, payload)
    }

    /// The stored payload at the start of `stored`, its checksum compared.
    ///
    /// # Errors
    /// `Truncated`, `Checksum`. Offsets count from the start of `stored`.
    pub fn checked<'a>(&self, stored: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let stored = Cursor::new(stored).take(self.stored_bytes as usize)?;
        if crc32c::crc32c(stored) != self.payload_checksum {
            let kind = DecodeErrorKind::Checksum("a chunk's payload");
            return Err(DecodeError::new(0, kind));
        }
        Ok(stored)
    }
}

/// Turns stored bytes back into payloads. Keeps the decompressor's state between calls.
#[derive(Default)]
pub struct ChunkDecoder {
    /// Made when the first compressed payload comes.
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl std::fmt::Debug for ChunkDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkDecoder").finish_non_exhaustive()
    }
}

impl ChunkDecoder {
    /// A decoder. It allocates nothing until it must decompress, then about 100 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks and decompresses `stored`, the bytes behind `header`, into `payload`. What `payload`
    /// held is replaced; give the same vector again, so that its memory is reused. After an error
    /// it is empty.
    ///
    /// # Errors
    /// `Truncated`, `Checksum`, `Decompress`. Offsets count from the start of `stored`.
    pub fn payload(
        &mut self,
        header: &ChunkHeader,
        stored: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let result = self.fill(header, stored, payload);
        if result.is_err() {
            payload.clear();
        }
        result
    }

    fn fill(
        &mut self,
        header: &ChunkHeader,
        stored: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        header.check_lengths()?;
        let stored = header.checked(stored)?;
        let fail = |kind| Err(DecodeError::new(0, kind));
        match header.codec {
            Codec::Plain => {
                payload.clear();
                payload.extend_from_slice(stored);
                Ok(())
            }
            // The old content is overwritten: only what is longer than it costs zeroing.
            Codec::Zstd => {
                payload.resize(header.payload_bytes as usize, 0);
                match self.decompress(stored, payload.as_mut_slice()) {
                    Some(bytes) if bytes == payload.len() => Ok(()),
                    _ => fail(DecodeErrorKind::Decompress),
                }
            }
        }
    }

    /// Decompresses one zstd frame; None when it is not one, or longer than `payload`.
    fn decompress(&mut self, stored: &[u8], payload: &mut [u8]) -> Option<usize> {
        if zstd::zstd_safe::find_frame_compressed_size(stored) != Ok(stored.len()) {
            return None;
        }
        if self.decompressor.is_none() {
            self.decompressor = zstd::bulk::Decompressor::new().ok();
        }
        let decompressor = self.decompressor.as_mut()?;
        decompressor.decompress_to_buffer(stored, payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PAYLOAD_BYTES_MAX, TABLE_BYTES_MAX};

    /// A chunk whose payload is compressed, as header and stored bytes.
    fn chunk(payload: &[u8]) -> (ChunkHeader, Vec<u8>) {
        let mut bytes = Vec::new();
        let info = ChunkInfo::table(ChunkKind::MARKS, 7, 3);
        ChunkEncoder::new(1)
            .encode(&info, payload, &mut bytes)
            .unwrap();
        let header = ChunkHeader::decode(&bytes).unwrap();
        assert_eq!(header.codec, Codec::Zstd);
        assert_eq!(bytes.len() as u64, header.total_bytes());
        let stored = &bytes[CHUNK_HEADER_BYTES..header.unpadded_bytes() as usize];
        (header, stored.to_vec())
    }

    #[test]
    fn a_payload_is_never_longer_than_stated() {
        let (mut header, stored) = chunk(&[7; 1000]);
        let mut payload = vec![1; 5000];
        header.payload(&stored, &mut payload).unwrap();
        assert_eq!(payload, [7; 1000]);
        for wrong in [0, 1, 999, 1001, 5000] {
            header.payload_bytes = wrong;
            let error = header.payload(&stored, &mut payload).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Decompress, "{wrong}");
            assert!(payload.is_empty() && payload.capacity() < 16384);
            payload.resize(5000, 1);
        }
    }

    #[test]
    fn one_decoder_takes_good_and_bad_chunks_in_turn() {
        let mut decoder = ChunkDecoder::new();
        let mut payload = Vec::new();
        let (mut header, mut stored) = chunk(&[7; 1000]);
        for _ in 0..3 {
            decoder.payload(&header, &stored, &mut payload).unwrap();
            assert_eq!(payload, [7; 1000]);
            stored[5] ^= 1;
            let error = decoder.payload(&header, &stored, &mut payload).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Checksum("a chunk's payload"));
            header.payload_checksum = crc32c::crc32c(&stored);
            let broken = decoder.payload(&header, &stored, &mut payload);
            assert_eq!(broken.unwrap_err().kind, DecodeErrorKind::Decompress);
            stored[5] ^= 1;
            header.payload_checksum = crc32c::crc32c(&stored);
        }
    }

    #[test]
    fn two_frames_are_not_a_payload() {
        let (mut header, stored) = chunk(&[7; 1000]);
        let twice = [stored.as_slice(), stored.as_slice()].concat();
        header.stored_bytes *= 2;
        header.payload_bytes *= 2;
        header.payload_checksum = crc32c::crc32c(&twice);
        let error = header.payload(&twice, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Decompress);
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused() {
        let (good, _) = chunk(&[7; 1000]);
        let decoded = |change: &dyn Fn(&mut ChunkHeader)| {
            let (mut header, mut bytes) = (good, Vec::new());
            change(&mut header);
            header.encode(&mut bytes);
            ChunkHeader::decode(&bytes).map_err(|error| error.kind)
        };
        let limit = Err(DecodeErrorKind::Limit("payload length"));
        assert_eq!(
            decoded(&|header| header.payload_bytes = TABLE_BYTES_MAX + 1),
            limit
        );
        assert_eq!(
            decoded(&|header| header.stored_bytes = TABLE_BYTES_MAX + 1),
            limit
        );
        assert!(decoded(&|header| header.payload_bytes = TABLE_BYTES_MAX).is_ok());
        let events = |bytes: u32| {
            decoded(&|header| {
                header.kind = ChunkKind::EVENTS;
                header.payload_bytes = bytes;
            })
        };
        assert!(events(PAYLOAD_BYTES_MAX).is_ok());
        assert_eq!(events(PAYLOAD_BYTES_MAX + 1), limit);
        let plain = decoded(&|header| header.codec = Codec::Plain);
        assert_eq!(plain, Err(DecodeErrorKind::Invalid("payload length")));
        let long = vec![0; TABLE_BYTES_MAX as usize + 1];
        let info = ChunkInfo::table(ChunkKind::SYMBOLS, 0, 0);
        let mut out = Vec::new();
        let error = ChunkEncoder::new(1).encode(&info, &long, &mut out);
        assert_eq!(
            error.unwrap_err().kind,
            DecodeErrorKind::Limit("payload length")
        );
        assert!(out.is_empty());
    }
}
