//! Makes tapes smaller: the same chunks with the same content, compressed harder.
//!
//! In: the path of a tape that nobody writes to any more. Out: a tape in which every chunk holds
//! what it held, in the same order and under the same number. It is written beside the place where
//! it will stand and renamed when it is whole, so there is a readable tape at every moment. What
//! does not become smaller is copied as it is.

use crate::error::Error;
use crate::rewrite::{NewTape, RewriteError, Source, Target};
use heaptape_format::TapeHeader;
use heaptape_format::chunk::{ChunkDecoder, ChunkEncoder, ChunkHeader, ChunkInfo};
use heaptape_format::scan::{Found, FoundChunk, Scan};
use rayon::prelude::*;
use std::path::Path;

/// Chunks that are in memory at a time, for each thread.
const CHUNKS_A_THREAD: usize = 8;

/// What [`repack`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repacked {
    /// Bytes of the tape before.
    pub bytes_before: u64,
    /// Bytes of the new one.
    pub bytes_after: u64,
    /// Its chunks.
    pub chunks: u64,
}

/// Writes the content of the tape at `path` to `target`, with zstd at `level`.
///
/// # Errors
/// When the tape cannot be read, is damaged or still written, or when `target` is taken or cannot
/// be written.
pub fn repack(path: &Path, target: Target<'_>, level: i32) -> Result<Repacked, RewriteError> {
    let Source { tape, bytes, mode } = Source::open(path)?;
    drop(tape);
    let mut new = NewTape::create(&target.file(path)?, mode)?;
    let chunks = write_chunks(path, &bytes, level, &mut new)?;
    let bytes_after = new.finish()?;
    Ok(Repacked {
        bytes_before: bytes.len() as u64,
        bytes_after,
        chunks,
    })
}

/// Writes header and chunks; how many chunks.
fn write_chunks(
    path: &Path,
    tape: &[u8],
    level: i32,
    new: &mut NewTape,
) -> Result<u64, RewriteError> {
    let (_, header_bytes) = TapeHeader::decode(tape).map_err(|source| Error::Header {
        path: path.to_owned(),
        source,
    })?;
    new.write(tape.get(..header_bytes).unwrap_or_default())?;
    let damaged = |offset, what: String| RewriteError::Damaged {
        path: path.to_owned(),
        offset,
        what,
    };
    let mut scan = Scan::new(tape, header_bytes);
    let mut count = 0;
    loop {
        let together = rayon::current_num_threads() * CHUNKS_A_THREAD;
        let mut chunks = Vec::with_capacity(together);
        for found in scan.by_ref().take(together) {
            match found {
                Found::Chunk(chunk) => chunks.push(chunk),
                // Zeros that were reserved at the end and never written are dropped.
                Found::Damage(damage) if damage.bytes == 0 => {}
                Found::Damage(damage) => {
                    return Err(damaged(damage.offset, damage.error.to_string()));
                }
            }
        }
        if chunks.is_empty() {
            return Ok(count);
        }
        let packed: Vec<Result<Vec<u8>, RewriteError>> = chunks
            .par_iter()
            .map_init(
                || Packer::new(level),
                |packer, chunk| {
                    packer
                        .pack(tape, chunk)
                        .map_err(|error| damaged(chunk.offset, error.to_string()))
                },
            )
            .collect();
        for chunk in packed {
            new.write(&chunk?)?;
            count += 1;
        }
    }
}

/// What one thread needs.
struct Packer {
    encoder: ChunkEncoder,
    decoder: ChunkDecoder,
    payload: Vec<u8>,
}

impl Packer {
    fn new(level: i32) -> Self {
        Self {
            encoder: ChunkEncoder::new(level),
            decoder: ChunkDecoder::new(),
            payload: Vec::new(),
        }
    }

    /// The chunk anew, or as it is where that is not smaller.
    fn pack(
        &mut self,
        tape: &[u8],
        chunk: &FoundChunk,
    ) -> Result<Vec<u8>, heaptape_format::DecodeError> {
        chunk.payload_with(&mut self.decoder, tape, &mut self.payload)?;
        let stored = chunk.stored(tape)?;
        let header = &chunk.header;
        let mut new = Vec::new();
        // What flags say of a payload is not known here.
        if header.flags == 0 {
            self.encoder
                .encode(&info_of(header), &self.payload, &mut new)?;
        }
        let as_it_is = header.total_bytes() as usize;
        if new.is_empty() || new.len() >= as_it_is {
            new.clear();
            header.encode(&mut new);
            new.extend_from_slice(stored);
            new.resize(as_it_is, 0);
        }
        Ok(new)
    }
}

fn info_of(header: &ChunkHeader) -> ChunkInfo {
    ChunkInfo {
        kind: header.kind,
        stream: header.stream,
        count: header.count,
        stamp_first: header.stamp_first,
        stamp_last: header.stamp_last,
        sequence: header.sequence,
        first: header.first,
    }
}
