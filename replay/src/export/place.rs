//! Where an export goes: a new file, or in place of an older export of the same format.
//!
//! In: a path. Out: a file that is there whole or not at all. `--force` is soon typed: what is of
//! another kind, a program, a text or a tape, stays.

use crate::temporary::Temporary;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The bytes that tell of what format a file is.
const START_BYTES: u64 = 16;
/// Before the user's mask. Other tools read it, perhaps for others.
const MODE: u32 = 0o666;
const BUFFER_BYTES: usize = 1 << 16;

/// Why an export cannot go there.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// Something is there.
    #[error("{}: {what}", path.display())]
    Taken {
        /// The place.
        path: PathBuf,
        /// What is there and what to do.
        what: &'static str,
    },
    /// What is there is of another format.
    #[error(
        "{} is not {format}, and --force replaces such alone: name another file", path.display()
    )]
    NotReplaceable {
        /// The file.
        path: PathBuf,
        /// What an export is, with its article.
        format: &'static str,
    },
    /// It cannot be looked at or written.
    #[error("{}: cannot write the export: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A format's files.
#[derive(Debug, Clone, Copy)]
pub struct FileKind {
    /// What one is called, with its article.
    pub name: &'static str,
    /// True for the start of one, also of one that was cut.
    pub is_one: fn(&[u8]) -> bool,
}

/// A path to which an export may go.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// The place at `path`, where nothing may be, or (`replacing`) a file of `kind`. A link stays
    /// a link.
    ///
    /// # Errors
    /// When something else is there.
    pub fn new(path: &Path, replacing: bool, kind: FileKind) -> Result<Self, PlaceError> {
        let taken = |what| {
            Err(PlaceError::Taken {
                path: path.to_owned(),
                what,
            })
        };
        match path.metadata() {
            Ok(there) if !there.is_file() => {
                taken("this is a folder, a device or a pipe; name a file, or - for the output")
            }
            Ok(_) if !replacing => taken("there is a file of this name; --force replaces it"),
            Ok(_) => {
                let failed = |source| failed(path, source);
                let start = start(path).map_err(failed)?;
                let path = std::fs::canonicalize(path).map_err(failed)?;
                if (kind.is_one)(&start) {
                    return Ok(Self { path });
                }
                Err(PlaceError::NotReplaceable {
                    path,
                    format: kind.name,
                })
            }
            Err(_) => Ok(Self {
                path: path.to_owned(),
            }),
        }
    }

    /// Puts what `write` writes there.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    pub fn write<T>(
        &self,
        write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<T>,
    ) -> Result<T, PlaceError> {
        let failed = |source| failed(&self.path, source);
        let mut file = Temporary::create(&self.path, MODE).map_err(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file.file());
        let written = write(&mut out).and_then(|value| out.flush().map(|()| value));
        // What could not be written is not tried again.
        let _ = out.into_parts();
        let value = written.map_err(failed)?;
        file.put_in_place().map_err(failed)?;
        Ok(value)
    }
}

fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?
        .take(START_BYTES)
        .read_to_end(&mut start)?;
    Ok(start)
}

fn failed(path: &Path, source: io::Error) -> PlaceError {
    PlaceError::Write {
        path: path.to_owned(),
        source,
    }
}
