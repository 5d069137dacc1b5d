//! Makes tapes smaller: the same chunks with the same content, compressed harder.
//!
//! In: the path of a tape that nobody writes to any more. Out: a tape in which every chunk holds
//! what it held, in the same order and under the same number. It is written beside the place where
//! it will stand and renamed when it is whole, so there is a readable tape at every moment. What
//! does not become smaller is copied as it is.

use crate::error::Error;
use crate::replaceable::{NotReplaceable, check_tape};
use crate::tape::Tape;
use crate::tape::open::{Bytes, locked_by_another};
use crate::temporary::Temporary;
use heaptape_format::TapeHeader;
use heaptape_format::chunk::{ChunkDecoder, ChunkEncoder, ChunkHeader, ChunkInfo};
use heaptape_format::scan::{Found, FoundChunk, Scan};
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Chunks that are in memory at a time, for each thread.
const CHUNKS_A_THREAD: usize = 8;

/// Why a tape could not be repacked. It is as before.
#[derive(Debug, Error)]
pub enum RepackError {
    /// The tape cannot be read.
    #[error(transparent)]
    Tape(#[from] Error),
    /// A part of it is damaged, and would be so for ever.
    #[error(
        "{}: damaged at offset {offset}: {what}; only whole tapes are repacked, heaptape verify \
         tells more", path.display()
    )]
    Damaged {
        /// The tape.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Another process writes to the tape.
    #[error("{}: this tape is still being written; try again when it is done", path.display())]
    Busy {
        /// The tape.
        path: PathBuf,
    },
    /// Something is where the new tape should be.
    #[error("{}: {what}", path.display())]
    Taken {
        /// The place.
        path: PathBuf,
        /// What is there and what to do.
        what: &'static str,
    },
    /// What is there is not a tape.
    #[error(transparent)]
    NotReplaceable(#[from] NotReplaceable),
    /// The new tape cannot be written.
    #[error(
        "{}: cannot write the repacked tape: {source}; the tape is as before, -o names another \
         place", path.display()
    )]
    Write {
        /// Where it should have been.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

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

/// Where a repacked tape goes.
#[derive(Debug, Clone, Copy)]
pub enum Target<'p> {
    /// In the place of the old one.
    InPlace,
    /// To this path, where nothing may be.
    New(&'p Path),
    /// To this path, where a tape may be that it replaces.
    Replacing(&'p Path),
}

impl Target<'_> {
    /// The file to write for the tape at `tape`. A link stays a link.
    fn file(self, tape: &Path) -> Result<PathBuf, RepackError> {
        let (path, may_be) = match self {
            Self::InPlace => (tape, true),
            Self::New(path) => (path, false),
            Self::Replacing(path) => (path, true),
        };
        let taken = |what| {
            Err(RepackError::Taken {
                path: path.to_owned(),
                what,
            })
        };
        match path.metadata() {
            Ok(there) if !there.is_file() => {
                taken("this is a folder, a device or a pipe; name a file")
            }
            Ok(_) if !may_be => taken("there is a file of this name; --force replaces it"),
            Ok(_) if matches!(self, Self::Replacing(_)) => {
                check_tape(path)?;
                Ok(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
            }
            _ => Ok(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
        }
    }
}

/// Writes the content of the tape at `path` to `target`, with zstd at `level`.
///
/// # Errors
/// When the tape cannot be read, is damaged or still written, or when `target` is taken or cannot
/// be written.
pub fn repack(path: &Path, target: Target<'_>, level: i32) -> Result<Repacked, RepackError> {
    let bytes_seen = std::fs::metadata(path).map_or(0, |file| file.len());
    // Says what is wrong with anything that is no tape, and knows more of damage than a scan.
    let tape = Tape::open(path)?;
    if let Some(damage) = tape.damage.first() {
        return Err(RepackError::Damaged {
            path: path.to_owned(),
            offset: damage.offset,
            what: damage.error.to_string(),
        });
    }
    drop(tape);
    let read = |source| {
        RepackError::Tape(Error::Read {
            path: path.to_owned(),
            source,
        })
    };
    let file = File::open(path).map_err(read)?;
    let is_busy = locked_by_another(&file);
    let bytes = Bytes::of_file(&file).map_err(read)?;
    if is_busy || bytes.len() as u64 != bytes_seen {
        return Err(RepackError::Busy {
            path: path.to_owned(),
        });
    }
    let mode = file.metadata().map_err(read)?.permissions().mode();
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
) -> Result<u64, RepackError> {
    let (_, header_bytes) = TapeHeader::decode(tape).map_err(|source| Error::Header {
        path: path.to_owned(),
        source,
    })?;
    new.write(tape.get(..header_bytes).unwrap_or_default())?;
    let damaged = |offset, what: String| RepackError::Damaged {
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
        let packed: Vec<Result<Vec<u8>, RepackError>> = chunks
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

/// A tape that is being written under another name.
struct NewTape {
    target: PathBuf,
    file: Temporary,
    bytes: u64,
}

impl NewTape {
    fn create(target: &Path, mode: u32) -> Result<Self, RepackError> {
        let file = Temporary::create(target, mode & 0o777);
        Ok(Self {
            target: target.to_owned(),
            file: file.map_err(|source| error(target, source))?,
            bytes: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RepackError> {
        self.bytes += bytes.len() as u64;
        let written = self.file.file().write_all(bytes);
        written.map_err(|source| error(&self.target, source))
    }

    /// Puts it in its place; its bytes. It is on the disk before the old one goes: a repacked tape
    /// is not there a second time.
    fn finish(mut self) -> Result<u64, RepackError> {
        let synced = self.file.file().sync_all();
        let done = synced.and_then(|()| self.file.put_in_place());
        done.map_err(|source| error(&self.target, source))?;
        Ok(self.bytes)
    }
}

fn error(target: &Path, source: io::Error) -> RepackError {
    RepackError::Write {
        path: target.to_owned(),
        source,
    }
}
