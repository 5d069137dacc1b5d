//! The file of a tape that is followed.
//!
//! In: a path. Out: the tape there as far as it may be read, and, at each look, what was appended.
//! Whoever put another tape in its place is noticed.

use crate::error::Error;
use crate::moment::ResolvedMoment;
use crate::recording::{OpenOptions, Recording};
use crate::tape::Tape;
use crate::tape::growing::{Growth, readable_end};
use crate::tape::open::{Bytes, is_locked, tape_file};
use heaptape_format::TapeHeader;
use heaptape_format::tables::Epoch;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A recorder writes what there is every second. When so much time has passed without a byte, all
/// that happened stands in the tape, and who writes nothing and holds no lock is gone.
const QUIET: Duration = Duration::from_secs(3);
/// Of so many epochs in a row of which none is exact, the last is taken.
const INEXACT_MAX: usize = 5;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing.
    Same,
    /// More of the tape; the smallest stamp of its events.
    Grown { first: Option<u64> },
    /// Another tape, or one that must be read anew.
    Anew,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    file: File,
    /// The file's length when it was looked at last.
    seen: u64,
    /// Nobody writes to it, and it has no end.
    pub(super) is_cut: bool,
    /// All that happened stands in the tape.
    is_quiet: bool,
}

impl Source {
    /// Opens the tape at `path` as far as it may be read.
    pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<(Self, Recording), Error> {
        let file = tape_file(path)?;
        let metadata = metadata(path, &file)?;
        let bytes = Bytes::of_start(&file, metadata.len());
        let bytes = bytes.map_err(|source| unreadable(path, source))?;
        let (_, header_bytes) = TapeHeader::decode(&bytes).map_err(|source| Error::Header {
            path: path.to_owned(),
            source,
        })?;
        let mut source = Self {
            path: path.to_owned(),
            file,
            seen: metadata.len(),
            is_cut: false,
            is_quiet: false,
        };
        let start = aligned(header_bytes, &bytes);
        let mut end = readable_end(&bytes, start);
        // Who writes may have begun a chunk; what nobody writes to is read to its end.
        if end < metadata.len() && source.is_left(&metadata) {
            end = metadata.len();
        }
        drop(bytes);
        let bytes = source.start(end)?;
        let recording = Recording::of_tape(|| Tape::of_bytes(path, bytes), path, options)?;
        source.is_cut = recording.tape().end.is_none() && source.is_left(&metadata);
        Ok((source, recording))
    }

    /// Takes what is new into the tape of `recording`.
    pub(super) fn look(&mut self, recording: &mut Recording) -> Result<Look, Error> {
        let metadata = metadata(&self.path, &self.file)?;
        let named = std::fs::metadata(&self.path);
        let is_other = |named: Metadata| {
            (named.dev(), named.ino()) != (metadata.dev(), metadata.ino()) && named.len() > 0
        };
        let read = recording.tape().tape_bytes;
        if named.is_ok_and(is_other) || metadata.len() < read {
            return Ok(Look::Anew);
        }
        let has_end = recording.tape().end.is_some();
        let (mut end, has_grown) = (read, metadata.len() != self.seen);
        if has_grown {
            if self.is_cut {
                // Somebody goes on with it, and may have cut off what could not be read.
                return Ok(Look::Anew);
            }
            self.seen = metadata.len();
            self.is_quiet = false;
            end = readable_end(&self.start(metadata.len())?, read);
        } else if !has_end && !self.is_quiet && is_old(&metadata) {
            self.is_quiet = true;
            self.is_cut = self.is_left(&metadata);
            if self.is_cut {
                end = metadata.len();
            }
        } else if has_end && read < metadata.len() && self.is_left(&metadata) {
            end = metadata.len();
        }
        if end == read {
            return Ok(Look::Same);
        }
        let bytes = self.start(end)?;
        let has_parent = recording.parent().is_some();
        Ok(match recording.tape_mut().grow(bytes, has_parent)? {
            Growth::Appended(first) => Look::Grown { first },
            Growth::Anew => Look::Anew,
        })
    }

    /// The stamp up to which `tape` tells of everything that happened; None: of nothing yet.
    pub(super) fn bound(&self, tape: &Tape) -> Option<u64> {
        if tape.end.is_some() || self.is_cut {
            return Some(u64::MAX);
        }
        let header = &tape.header;
        // All of a nanosecond or nothing of it: a moment that is shown names this state.
        let by_epoch = cut(&tape.epochs).and_then(|watermark| {
            let before = header.stamp_to_ns(watermark).checked_sub(1)?;
            Some(header.ns_to_stamp(before))
        });
        let ResolvedMoment { ns, .. } = tape.moment_of_stamp(tape.end_stamp);
        let told = match self.is_quiet {
            true => Some(ns),
            // Where an epoch is not exact, or there are none (the kernel has no barrier), others
            // of its records say how late it was when all that waited was written.
            false => ns.checked_sub(QUIET.as_nanos() as u64),
        };
        by_epoch.max(told.map(|ns| header.ns_to_stamp(ns)))
    }

    /// True when nobody has written to the file for a while.
    pub(super) fn is_old(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| is_old(&metadata))
    }

    /// True when nobody writes to the file.
    fn is_left(&self, metadata: &Metadata) -> bool {
        is_old(metadata) && !is_locked(&self.path)
    }

    fn start(&self, bytes: u64) -> Result<Bytes, Error> {
        let start = Bytes::of_start(&self.file, bytes);
        start.map_err(|source| unreadable(&self.path, source))
    }
}

/// The watermark of the last epoch that says so of all threads.
fn cut(epochs: &[Epoch]) -> Option<u64> {
    let recent = epochs.iter().rev().take(INEXACT_MAX);
    let exact = recent.clone().find(|epoch| epoch.inexact_streams == 0);
    let is_full = recent.len() == INEXACT_MAX;
    let taken = exact.or(epochs.last().filter(|_| is_full));
    taken.map(|epoch| epoch.watermark)
}

/// Where the first chunk stands: behind the header, at a multiple of the alignment.
fn aligned(header_bytes: usize, bytes: &[u8]) -> u64 {
    let alignment = heaptape_format::CHUNK_ALIGNMENT as usize;
    let start = header_bytes.checked_next_multiple_of(alignment);
    start.unwrap_or(bytes.len()).min(bytes.len()) as u64
}

/// True when nobody has written to the file for a while.
fn is_old(metadata: &Metadata) -> bool {
    let age = |changed| SystemTime::now().duration_since(changed).ok();
    let age = metadata.modified().ok().and_then(age);
    age.is_some_and(|age| age >= QUIET)
}

fn metadata(path: &Path, file: &File) -> Result<Metadata, Error> {
    file.metadata().map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}
