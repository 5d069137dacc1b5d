//! The folder for what heaptape can make again, and so may be removed at any time: indexes of tapes
//! in folders that cannot be written, symbols of files, the unpacked library.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `heaptape` in `$XDG_CACHE_HOME` or `~/.cache`; None where there is neither.
#[must_use]
pub fn of_user() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let folder = |name| std::env::var_os(name).map(PathBuf::from).and_then(absolute);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("heaptape"))
}

/// Makes `folder`, and what is missing above it, unless it is there.
///
/// # Errors
/// It cannot be made, or others may write to it: then it could hold anything.
pub fn make_own(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    match is_own(folder)? {
        true => Ok(()),
        false => Err(io::Error::other("it is not a folder of ours alone")),
    }
}

/// True when `folder` is one, and this user's, and nobody else may write to it.
///
/// # Errors
/// It is not there, or cannot be looked at.
pub fn is_own(folder: &Path) -> io::Result<bool> {
    let facts = fs::symlink_metadata(folder)?;
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    Ok(facts.is_dir() && facts.uid() == user && facts.mode() & 0o022 == 0)
}
