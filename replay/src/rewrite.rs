//! Writing a tape anew: what `repack` and `fold` have in common.
//!
//! In: the path of a tape that nobody writes to any more. Out: its bytes, and a file that takes its
//! place, or another, when it is whole: there is a readable tape at every moment.

use crate::error::Error;
use crate::replaceable::{NotReplaceable, check_tape};
use crate::report::units::time;
use crate::tape::Tape;
use crate::tape::open::{Bytes, locked_by_another};
use crate::temporary::Temporary;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a tape could not be written anew. It is as before.
#[derive(Debug, Error)]
pub enum RewriteError {
    /// The tape cannot be read.
    #[error(transparent)]
    Tape(#[from] Error),
    /// A part of it is damaged, and would be so for ever.
    #[error(
        "{}: damaged at offset {offset}: {what}; only whole tapes are written anew, heaptape \
         verify tells more", path.display()
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
    /// It tells of no moment as early as that.
    #[error(
        "{}: there is nothing to forget: the tape begins at {}", path.display(), time(*from_ns)
    )]
    NothingToFold {
        /// The tape.
        path: PathBuf,
        /// Its first moment, in nanoseconds since the start.
        from_ns: u64,
    },
    /// The new tape cannot be written.
    #[error(
        "{}: cannot write the new tape: {source}; the tape is as before, -o names another place",
        path.display()
    )]
    Write {
        /// Where it should have been.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where the new tape goes.
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
    pub(crate) fn file(self, tape: &Path) -> Result<PathBuf, RewriteError> {
        let (path, may_be) = match self {
            Self::InPlace => (tape, true),
            Self::New(path) => (path, false),
            Self::Replacing(path) => (path, true),
        };
        let taken = |what| {
            Err(RewriteError::Taken {
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

/// A tape that can be written anew: it is whole, and nobody writes to it.
#[derive(Debug)]
pub(crate) struct Source {
    /// It.
    pub(crate) tape: Tape,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// The permissions of its file.
    pub(crate) mode: u32,
}

impl Source {
    /// The tape at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, RewriteError> {
        let bytes_seen = std::fs::metadata(path).map_or(0, |file| file.len());
        // Says what is wrong with anything that is no tape, and knows more of damage than a scan.
        let tape = Tape::open(path)?;
        if let Some(damage) = tape.damage.first() {
            return Err(RewriteError::Damaged {
                path: path.to_owned(),
                offset: damage.offset,
                what: damage.error.to_string(),
            });
        }
        let read = |source| {
            RewriteError::Tape(Error::Read {
                path: path.to_owned(),
                source,
            })
        };
        let file = File::open(path).map_err(read)?;
        let is_busy = locked_by_another(&file);
        let bytes = Bytes::of_file(&file).map_err(read)?;
        if is_busy || bytes.len() as u64 != bytes_seen {
            return Err(RewriteError::Busy {
                path: path.to_owned(),
            });
        }
        let mode = file.metadata().map_err(read)?.permissions().mode();
        Ok(Self { tape, bytes, mode })
    }
}

/// A tape that is being written under another name.
pub(crate) struct NewTape {
    target: PathBuf,
    file: Temporary,
    bytes: u64,
}

impl NewTape {
    pub(crate) fn create(target: &Path, mode: u32) -> Result<Self, RewriteError> {
        let file = Temporary::create(target, mode & 0o777);
        Ok(Self {
            target: target.to_owned(),
            file: file.map_err(|source| error(target, source))?,
            bytes: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), RewriteError> {
        self.bytes += bytes.len() as u64;
        let written = self.file.file().write_all(bytes);
        written.map_err(|source| error(&self.target, source))
    }

    /// Puts it in its place; its bytes. It is on the disk before the old one goes: the new one
    /// is not there a second time.
    pub(crate) fn finish(mut self) -> Result<u64, RewriteError> {
        let synced = self.file.file().sync_all();
        let done = synced.and_then(|()| self.file.put_in_place());
        done.map_err(|source| error(&self.target, source))?;
        Ok(self.bytes)
    }
}

fn error(target: &Path, source: io::Error) -> RewriteError {
    RewriteError::Write {
        path: target.to_owned(),
        source,
    }
}
