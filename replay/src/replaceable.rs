//! What may be replaced by a new tape when the user says so: an old one.
//!
//! In: a path. Out: whether what is there began as a tape, or is empty. A program, a text or a
//! picture stays: `-o app -- ./app` is a slip of the finger, and `--force` is soon typed.

use crate::index;
use heaptape_format::header::MAGIC;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why it stays.
#[derive(Debug, thiserror::Error)]
pub enum NotReplaceable {
    /// It is something else.
    #[error("{} is not a tape, and --force replaces tapes alone: name another file", .0.display())]
    NoTape(PathBuf),
    /// Nobody can say.
    #[error("{}: cannot see whether this is a tape, which --force would replace", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Fails unless a tape may take the place of the file at `path`, if there is one.
///
/// # Errors
/// See [`NotReplaceable`].
pub fn check_tape(path: &Path) -> Result<(), NotReplaceable> {
    match begins(path, &MAGIC) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotReplaceable::NoTape(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NotReplaceable::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// True when the file at `path` is an index, which goes with its tape.
#[must_use]
pub fn is_index(path: &Path) -> bool {
    begins(path, &index::MAGIC).unwrap_or(false)
}

/// True when the file begins with `magic`, or was cut within it.
fn begins(path: &Path, magic: &[u8]) -> io::Result<bool> {
    let mut start = Vec::new();
    let length = magic.len() as u64;
    File::open(path)?.take(length).read_to_end(&mut start)?;
    Ok(magic.starts_with(&start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tapes_and_what_is_left_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(check_tape(&path).is_ok());
        let replaceable: [&[u8]; 4] = [b"", &MAGIC, &MAGIC[..3], b"\x89HTAPE\r\nand more"];
        for content in replaceable {
            std::fs::write(&path, content).unwrap();
            assert!(check_tape(&path).is_ok(), "{content:?}");
        }
        let others: [&[u8]; 4] = [b"\x7fELF", b"\n", b"\x89HTIDX\r\n", b"\x89HTAPE\n\n"];
        for content in others {
            std::fs::write(&path, content).unwrap();
            assert!(check_tape(&path).is_err(), "{content:?}");
        }
        std::fs::write(&path, b"\x89HTIDX\r\nand more").unwrap();
        assert!(is_index(&path));
        std::fs::write(&path, MAGIC).unwrap();
        assert!(!is_index(&path));
    }
}
