//! Symbols into tapes: they become readable without the recorded program's files.
//!
//! What comes in: the paths of finished tapes. What goes out: the same tapes with chunks of symbols
//! behind their last chunks, one symbol for each code place of their stacks. Nothing that is in a
//! tape changes; when writing fails the tape gets its old length back. Doing it again adds nothing.
//!
//! The tapes of a process tree share most of their modules and places, so they are taken together,
//! as many as memory should hold at a time: each file is read once for all of them.

use super::batch::{Answers, Batch, ModuleNumbers, PlaceNumber};
use super::native::CodePlace;
use super::stack_frames::StackSource;
use crate::tape::Tape;
use crate::tape::open::locked_by_another;
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo};
use heaptape_format::scan::{Found, Scan};
use heaptape_format::symbols::{Symbol, parts, put_symbols};
use heaptape_format::{ChunkKind, TapeHeader};
use rustc_hash::FxHashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why symbols could not be added.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The tape cannot be read.
    #[error(transparent)]
    Tape(#[from] crate::Error),
    /// The tape cannot be written.
    #[error(
        "{}: cannot add symbols to this tape: {source}; it is as before, copy it to where you \
         can write", path.display()
    )]
    Write {
        /// The tape.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tape would become longer than it may.
    #[error(
        "{}: its symbols need {bytes} bytes, more than its size limit leaves; it is as before",
        path.display()
    )]
    NoRoom {
        /// The tape.
        path: PathBuf,
        /// The bytes that its symbols need.
        bytes: u64,
    },
    /// Another process writes to the tape.
    #[error("{}: this tape is still being written; try again when it is done", path.display())]
    Busy {
        /// The tape.
        path: PathBuf,
    },
}

/// What [`symbolize_tape`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Symbolized {
    /// Distinct code places in the tape's stacks.
    pub places: u64,
    /// Of these, symbols that the tape got now.
    pub added: u64,
    /// Of these, symbols that say where the place is in the source or at least its function.
    pub named: u64,
    /// One line for each module file that could not be used, or whose debug file could not.
    pub notes: Vec<String>,
    /// Of these, the lines about debug files.
    pub debug_file_notes: Vec<String>,
}

/// Symbols are written once and read often.
const ZSTD_LEVEL: i32 = 6;

/// No more tapes are taken together once they have this many distinct places: what is known of
/// them takes some 300 bytes each.
const DISTINCT_PLACES_MAX: usize = 1 << 17;
/// No more tapes are taken together once they have this many places: 24 bytes each.
const PLACES_MAX: usize = 1 << 20;

/// Adds to the tape at `path` a symbol for every code place of its stacks that has none.
/// `progress` is told (done, total) places.
///
/// # Errors
/// When the tape cannot be read or written. A module without a usable file is no error.
pub fn symbolize_tape(
    path: &Path,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Symbolized, EmbedError> {
    let mut result = Ok(Symbolized::default());
    symbolize_tapes(&[path], None, progress, |_, of_tape| result = of_tape);
    result
}

/// Adds to the tapes at `paths`, each named once, what [`symbolize_tape`] adds to each of them:
/// neither the symbols nor the notes depend on which tapes are together. `progress` is told
/// (done, total) distinct places of the tapes that are taken together, `finished` the result of
/// each tape, in any order. No tape becomes longer than `size_limit` bytes.
pub fn symbolize_tapes(
    paths: &[&Path],
    size_limit: Option<u64>,
    mut progress: impl FnMut(u64, u64) + Send,
    mut finished: impl FnMut(&Path, Result<Symbolized, EmbedError>),
) {
    let mut group = Group::default();
    for path in paths {
        match group.add(path) {
            Ok(Some(complete)) => finished(path, Ok(complete)),
            Ok(None) => {}
            Err(error) => finished(path, Err(error)),
        }
        if group.is_full() {
            std::mem::take(&mut group).finish(size_limit, &mut progress, &mut finished);
        }
    }
    group.finish(size_limit, &mut progress, &mut finished);
}

/// A code place of a tape that needs a symbol.
struct Wanted {
    place: CodePlace,
    number: PlaceNumber,
    /// It was looked for before, in vain.
    is_vain: bool,
}

/// A tape that needs symbols.
struct Unfinished<'p> {
    path: &'p Path,
    /// Distinct places in its stacks.
    places: u64,
    /// Those without a symbol, in their order.
    wanted: Vec<Wanted>,
    modules: ModuleNumbers,
}

/// Tapes that are taken together.
#[derive(Default)]
struct Group<'p> {
    batch: Batch,
    tapes: Vec<Unfinished<'p>>,
    wanted: usize,
}

impl<'p> Group<'p> {
    fn is_full(&self) -> bool {
        self.batch.len() >= DISTINCT_PLACES_MAX || self.wanted >= PLACES_MAX
    }

    /// Adds a tape; the result when it needs nothing.
    fn add(&mut self, path: &'p Path) -> Result<Option<Symbolized>, EmbedError> {
        let (tape, frames) = Tape::open_for_frames(path)?;
        let mut missing: FxHashSet<CodePlace> =
            frames.into_iter().filter_map(CodePlace::of).collect();
        let places = missing.len() as u64;
        // Places that were looked for in vain are looked for again: the file may be there by now.
        let mut vain = FxHashSet::default();
        for symbol in tape.symbols() {
            let place = CodePlace::of_symbol(&symbol);
            if symbol.frames.is_empty() {
                vain.insert(place);
            } else {
                missing.remove(&place);
            }
        }
        if missing.is_empty() {
            return Ok(Some(Symbolized {
                places,
                ..Symbolized::default()
            }));
        }
        let mut missing: Vec<CodePlace> = missing.into_iter().collect();
        missing.sort_unstable();
        let mut modules = ModuleNumbers::default();
        let wanted = missing.into_iter().map(|place| Wanted {
            place,
            number: self.batch.add(place, tape.file(place.module), &mut modules),
            is_vain: vain.contains(&place),
        });
        let wanted: Vec<Wanted> = wanted.collect();
        self.wanted += wanted.len();
        self.tapes.push(Unfinished {
            path,
            places,
            wanted,
            modules,
        });
        Ok(None)
    }

    fn finish(
        self,
        size_limit: Option<u64>,
        progress: impl FnMut(u64, u64) + Send,
        finished: &mut impl FnMut(&Path, Result<Symbolized, EmbedError>),
    ) {
        if self.tapes.is_empty() {
            return;
        }
        let mut answers = self.batch.answer(progress);
        let is_alone = self.tapes.len() == 1;
        let mut encoder = ChunkEncoder::new(ZSTD_LEVEL);
        for tape in self.tapes {
            if !is_alone {
                answers.separate(tape.wanted.iter().map(|wanted| wanted.number));
            }
            finished(tape.path, tape.finish(&answers, size_limit, &mut encoder));
        }
    }
}

impl Unfinished<'_> {
    /// Writes its symbols.
    fn finish(
        &self,
        answers: &Answers<'_>,
        size_limit: Option<u64>,
        encoder: &mut ChunkEncoder,
    ) -> Result<Symbolized, EmbedError> {
        let symbols = self.wanted.iter().filter_map(|wanted| {
            let frames = answers.frames(wanted.number);
            (!frames.is_empty() || !wanted.is_vain).then(|| wanted.place.symbol(frames.to_vec()))
        });
        let symbols: Vec<Symbol> = symbols.collect();
        if !symbols.is_empty() {
            append(self.path, &symbols, size_limit, encoder)?;
        }
        let named = symbols.iter().filter(|symbol| !symbol.frames.is_empty());
        let notes = answers.notes(&self.modules);
        let of_debug_files = notes.iter().filter(|note| note.is_of_debug_file);
        Ok(Symbolized {
            places: self.places,
            added: symbols.len() as u64,
            named: named.count() as u64,
            debug_file_notes: of_debug_files.map(|note| note.text.clone()).collect(),
            notes: notes.into_iter().map(|note| note.text).collect(),
        })
    }
}

fn append(
    path: &Path,
    symbols: &[Symbol],
    size_limit: Option<u64>,
    encoder: &mut ChunkEncoder,
) -> Result<(), EmbedError> {
    let write_error = |source| EmbedError::Write {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(write_error)?;
    if locked_by_another(&file) {
        return Err(EmbedError::Busy {
            path: path.to_owned(),
        });
    }
    let (end, sequence) = end_of_chunks(&file).map_err(write_error)?;
    let chunks = encode(symbols, sequence, encoder).map_err(|error| {
        write_error(io::Error::new(
            io::ErrorKind::InvalidData,
            error.to_string(),
        ))
    })?;
    let bytes = chunks.len() as u64;
    if size_limit.is_some_and(|limit| end + bytes > limit) {
        let path = path.to_owned();
        return Err(EmbedError::NoRoom { path, bytes });
    }
    let old_bytes = file.metadata().map_err(write_error)?.len();
    // Not synchronised: nor is the rest of the tape, and a tree may have thousands of tapes.
    let written = file
        .write_all_at(&chunks, end)
        .and_then(|()| file.set_len(end + chunks.len() as u64));
    written.map_err(|error| {
        // What stood behind `end` was nothing but zeros, so cutting and growing restores it.
        let _ = file.set_len(end).and_then(|()| file.set_len(old_bytes));
        write_error(error)
    })
}

/// Where the next chunk goes, and its number: behind the last chunk when only unwritten zeros
/// follow it, else (damage) behind everything.
fn end_of_chunks(file: &File) -> io::Result<(u64, u64)> {
    // SAFETY: the map is read only; this process holds the lock of the tape, and a writer that
    // ignores it can change what is read here but not cut the file: tapes only grow.
    let map = unsafe { memmap2::Mmap::map(file) }?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{error}"));
    let (_, header_bytes) = TapeHeader::decode(&map).map_err(invalid)?;
    let (mut end, mut sequence) = (header_bytes as u64, 0);
    for found in Scan::new(&map, header_bytes) {
        match found {
            Found::Chunk(chunk) => {
                end = chunk.offset + chunk.header.total_bytes();
                sequence = sequence.max(chunk.header.sequence.saturating_add(1));
            }
            Found::Damage(damage) => end = damage.offset + damage.bytes,
        }
    }
    Ok((
        end.next_multiple_of(heaptape_format::CHUNK_ALIGNMENT),
        sequence,
    ))
}

/// Chunks of `symbols`, numbered from `sequence`.
pub(super) fn encode(
    symbols: &[Symbol],
    mut sequence: u64,
    encoder: &mut ChunkEncoder,
) -> Result<Vec<u8>, heaptape_format::DecodeError> {
    let mut chunks = Vec::new();
    for part in parts(symbols) {
        let payload = put_symbols(part);
        let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let info = ChunkInfo::table(ChunkKind::SYMBOLS, count, sequence);
        encoder.encode(&info, &payload, &mut chunks)?;
        sequence += 1;
    }
    Ok(chunks)
}
