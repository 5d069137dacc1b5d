//! Where an index stands, and how it gets there.
//!
//! In: the path of a tape. Out: the bytes of its index, from beside the tape or from the user's
//! cache folder; or a new file there, written whole and then renamed, readable by its owner alone.

use super::Index;
use super::file::{HEADER_BYTES, Origin, may_be_index, put_header};
use crate::cache_folder;
use crate::error::Error;
use crate::tape::Tape;
use crate::tape::open::Bytes;
use crate::temporary::Temporary;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `NAME.tape.idx` beside `NAME.tape`.
pub(crate) fn beside(tape: &Path) -> PathBuf {
    let mut name = tape.as_os_str().to_owned();
    name.push(".idx");
    PathBuf::from(name)
}

/// The index in the cache folder, for tapes in folders that cannot be written.
fn in_cache(tape: &Tape, folder: Option<&Path>) -> Option<PathBuf> {
    let folder = folder.map(Path::to_owned).or_else(cache_folder::of_user)?;
    let path = std::fs::canonicalize(&tape.path).ok()?;
    let path = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    let mut name = String::new();
    for byte in tape.header.tape_id {
        name.push_str(&format!("{byte:02x}"));
    }
    Some(folder.join(format!("{name}-{path:08x}.idx")))
}

/// What an index of `tape` must say that it was made of.
pub(crate) fn origin(tape: &Tape, parent: Option<&Tape>) -> Origin {
    Origin {
        tape: identity(tape),
        parent: parent.map(identity).unwrap_or_default(),
        has_parent: parent.is_some(),
    }
}

fn identity(tape: &Tape) -> ([u8; 16], u64, u64) {
    let changed = std::fs::metadata(&tape.path).map_or(0, |file| {
        let seconds = file.mtime().cast_unsigned();
        seconds
            .wrapping_mul(1_000_000_000)
            .wrapping_add(file.mtime_nsec().cast_unsigned())
    });
    (tape.header.tape_id, tape.tape_bytes, changed)
}

/// A good index of `tape`, with its path; None when there is none.
pub(crate) fn load(
    tape: &Tape,
    origin: &Origin,
    cut: Option<u64>,
    cache: Option<&Path>,
) -> Option<(Index, PathBuf)> {
    [Some(beside(&tape.path)), in_cache(tape, cache)]
        .into_iter()
        .flatten()
        .find_map(|path| {
            if !std::fs::metadata(&path).ok()?.is_file() {
                return None;
            }
            let bytes = bytes(&File::open(&path).ok()?, origin)?;
            Some((Index::open(bytes, origin, cut)?, path))
        })
}

/// The bytes of a file that may be an index of `origin`. What is none can be of any size: it is
/// told by its header alone.
fn bytes(file: &File, origin: &Origin) -> Option<Bytes> {
    let mut start = [0; HEADER_BYTES];
    file.read_exact_at(&mut start, 0).ok()?;
    let bytes = file.metadata().ok()?.len();
    if !may_be_index(&start, bytes, origin) {
        return None;
    }
    Bytes::of_file(file).ok()
}

/// Writes the index that consists of `chunks`; returns where it is.
pub(crate) fn store(
    tape: &Tape,
    origin: &Origin,
    chunks: &[u8],
    cache: Option<&Path>,
) -> Result<PathBuf, Error> {
    let path = beside(&tape.path);
    let header = put_header(origin, chunks);
    let Err(source) = write(&path, &header, chunks) else {
        return Ok(path);
    };
    if let Some(cached) = in_cache(tape, cache) {
        let folder = cached.parent().map_or(Ok(()), |folder| {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        });
        if folder
            .and_then(|()| write(&cached, &header, chunks))
            .is_ok()
        {
            return Ok(cached);
        }
    }
    Err(Error::WriteIndex { path, source })
}

fn write(path: &Path, header: &[u8], chunks: &[u8]) -> io::Result<()> {
    let mut new = Temporary::create(path, 0o600)?;
    new.file().write_all(header)?;
    new.file().write_all(chunks)?;
    new.put_in_place()
}
