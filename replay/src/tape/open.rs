//! From a path to the bytes of a file.
//!
//! In: a path. Out: the file's bytes, mapped into memory. It never writes. A file that another
//! program shortens while it is mapped ends this process (SIGBUS): tapes are only appended to.

use crate::error::Error;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// Mapped.
    Map(Mmap),
    /// Read: the file system cannot map, or the bytes were made here.
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// The bytes of `file` as it is now.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        // SAFETY: a read-only map of this process alone; others only append to tapes and replace
        // indexes by renaming. A file that is shortened all the same costs a SIGBUS, no undefined
        // value: every read of the slice is of plain bytes.
        match unsafe { Mmap::map(file) } {
            Ok(map) => Ok(Self::Map(map)),
            // To read it would take as much.
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(error),
            Err(_) => {
                let mut bytes = Vec::new();
                let mut reader = file;
                reader.read_to_end(&mut bytes)?;
                Ok(Self::Owned(bytes))
            }
        }
    }
}

impl Bytes {
    /// The first `bytes` bytes of `file`, which has as many.
    pub(crate) fn of_start(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: as in `of_file`.
        match unsafe { MmapOptions::new().len(length).map(file) } {
            Ok(map) => Ok(Self::Map(map)),
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(error),
            Err(_) => {
                let mut start = vec![0; length];
                file.read_exact_at(&mut start, 0)?;
                Ok(Self::Owned(start))
            }
        }
    }
}

/// The bytes of the tape at `path`.
pub(super) fn tape_bytes(path: &Path) -> Result<Bytes, Error> {
    let file = tape_file(path)?;
    Bytes::of_file(&file).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// The file of the tape at `path`, which has some bytes.
pub(crate) fn tape_file(path: &Path) -> Result<File, Error> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    // Opening a pipe would wait for its writer: look before.
    let kind = std::fs::metadata(path).map_err(read)?;
    if !kind.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
            what: if kind.is_dir() {
                "a folder"
            } else {
                "not a regular file"
            },
        });
    }
    if kind.len() == 0 {
        let path = path.to_owned();
        return Err(match is_locked(&path) {
            true => Error::NotBegun { path },
            false => Error::Empty { path },
        });
    }
    File::open(path).map_err(read)
}

/// True when another holds the lock of the tape at `path`.
pub(crate) fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| locked_by_another(&file))
}

/// Takes the lock of a tape, which falls with the file; true when another holds it. File systems
/// without locks have no other holder either.
pub(crate) fn locked_by_another(file: &File) -> bool {
    // SAFETY: flock takes a descriptor, which `file` keeps open, and touches no memory.
    let failed = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0;
    failed && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}
