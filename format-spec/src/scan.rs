//! Finding the chunks of a tape, also behind damage. SPEC.md §5.
//!
//! A scan walks from header to header. Where no valid header stands, it searches for the next
//! chunk magic at multiples of [`CHUNK_ALIGNMENT`] and accepts it when its header checksum
//! matches; what was skipped is reported as [`Damage`]. It reads each byte of a tape a bounded
//! number of times, allocates nothing and trusts no length before its checksum.

use crate::CHUNK_ALIGNMENT;
use crate::chunk::{CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkDecoder, ChunkHeader};
use crate::error::{DecodeError, DecodeErrorKind};

/// A chunk that a scan found. Its payload is not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundChunk {
    /// Where its header begins, in bytes from the start of the tape.
    pub offset: u64,
    /// Its header.
    pub header: ChunkHeader,
}

impl FoundChunk {
    /// The stored payload in `tape`, the whole tape's bytes.
    ///
    /// # Errors
    /// `Truncated` when the tape ends inside it.
    pub fn stored<'a>(&self, tape: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let start = start.saturating_add(CHUNK_HEADER_BYTES);
        let end = start.saturating_add(self.header.stored_bytes as usize);
        tape.get(start..end).ok_or(DecodeError::new(
            tape.len() as u64,
            DecodeErrorKind::Truncated,
        ))
    }

    /// Checks and decompresses the payload into `payload` (its content is replaced). Error offsets
    /// count from the start of the tape.
    ///
    /// # Errors
    /// As [`ChunkHeader::payload`].
    pub fn payload(&self, tape: &[u8], payload: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.payload_with(&mut ChunkDecoder::new(), tape, payload)
    }

    /// As [`FoundChunk::payload`], with a decoder that many chunks share.
    ///
    /// # Errors
    /// As [`ChunkHeader::payload`].
    pub fn payload_with(
        &self,
        decoder: &mut ChunkDecoder,
        tape: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let behind_header = self.offset.saturating_add(CHUNK_HEADER_BYTES as u64);
        let stored = self.stored(tape)?;
        decoder
            .payload(&self.header, stored, payload)
            .map_err(|error| error.at(behind_header))
    }
}

/// A stretch of a tape in which no chunk could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins, in bytes from the start of the tape.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What was wrong at its start.
    pub error: DecodeError,
}

/// What a scan meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A chunk with a valid header.
    Chunk(FoundChunk),
    /// A stretch that is not readable.
    Damage(Damage),
}

/// Walks the chunks of a tape. See the module.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    tape: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// A scan of `tape` (all its bytes) that begins at byte `start`, the end of its header.
    #[must_use]
    pub fn new(tape: &'a [u8], start: usize) -> Self {
        Self {
            tape,
            at: start
                .checked_next_multiple_of(CHUNK_ALIGNMENT as usize)
                .unwrap_or(tape.len()),
        }
    }

    /// Goes back to the bytes behind the header of `chunk`. A reader does so when the payload's
    /// checksum failed: when a part of the tape is missing, whole chunks may stand where the
    /// payload should be. The scan then reports the payload as damage up to the next chunk. (On a
    /// tape that was made to be slow this costs up to one payload for each header.)
    pub fn reenter(&mut self, chunk: &FoundChunk) {
        let start = usize::try_from(chunk.offset).unwrap_or(usize::MAX);
        self.at = start
            .saturating_add(CHUNK_HEADER_BYTES)
            .min(self.tape.len());
    }

    fn rest(&self) -> &'a [u8] {
        self.tape.get(self.at..).unwrap_or_default()
    }

    /// True when nothing but zero bytes is left: the reserved, unwritten end of a tape whose
    /// writer died.
    fn only_zeros_left(&self) -> bool {
        let (words, tail) = self.rest().as_chunks::<64>();
        words.iter().all(|word| *word == [0; 64]) && tail.iter().all(|&byte| byte == 0)
    }

    fn damage(&mut self, error: DecodeError) -> Found {
        let start = self.at;
        loop {
            self.at = self.at.saturating_add(CHUNK_ALIGNMENT as usize);
            let rest = self.rest();
            if rest.is_empty() {
                self.at = self.tape.len();
                break;
            }
            if rest.starts_with(&CHUNK_MAGIC) && ChunkHeader::decode(rest).is_ok() {
                break;
            }
        }
        let skipped = self.tape.get(start..self.at).unwrap_or_default();
        // Zeros at the very end were reserved and never written: they are no damage.
        let bytes = if self.at == self.tape.len() {
            let last = skipped.iter().rposition(|&byte| byte != 0);
            last.map_or(0, |last| last + 1)
        } else {
            skipped.len()
        };
        Found::Damage(Damage {
            offset: start as u64,
            bytes: bytes as u64,
            error: error.at(start as u64),
        })
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let rest = self.rest();
        match ChunkHeader::decode(rest) {
            Ok(header) if header.unpadded_bytes() <= rest.len() as u64 => {
                let chunk = FoundChunk {
                    offset: self.at as u64,
                    header,
                };
                self.at += (header.total_bytes() as usize).min(rest.len());
                Some(Found::Chunk(chunk))
            }
            _ if rest.is_empty() || self.only_zeros_left() => None,
            Ok(_) => Some(self.damage(DecodeError::new(
                rest.len() as u64,
                DecodeErrorKind::Truncated,
            ))),
            Err(error) => Some(self.damage(error)),
        }
    }
}
