//! Where `libheaptape.so` is: named, beside us, installed, or carried inside this executable.
//!
//! In: the environment. Out: the path of a library that the loader can be told of. A library that
//! is unpacked is compared byte for byte before it is used: nobody else can slip one in.

use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The library itself.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libheaptape.so"));
/// Names its content.
const HASH: &str = env!("HEAPTAPE_LIBRARY_HASH");
/// Its file's name.
pub(crate) const NAME: &str = "libheaptape.so";

/// The path of the library, absolute.
pub(crate) fn locate() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("HEAPTAPE_LIB") {
        let named = PathBuf::from(named);
        let path = std::path::absolute(&named).unwrap_or(named);
        if !path.is_file() {
            bail!("HEAPTAPE_LIB names {}, which is no file", path.display());
        }
        return usable(path);
    }
    let folder = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    if let Some(folder) = folder {
        let installed = folder.join("../lib/heaptape").join(NAME);
        for path in [folder.join(NAME), installed] {
            if path.is_file() && is_sayable(&path) {
                return Ok(path);
            }
        }
    }
    usable(unpack()?)
}

/// The loader splits what it is told at blanks and colons.
fn is_sayable(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    !bytes
        .iter()
        .any(|byte| matches!(byte, b' ' | b':' | b'\t' | b'\n'))
}

fn usable(path: PathBuf) -> anyhow::Result<PathBuf> {
    if !is_sayable(&path) {
        bail!(
            "the dynamic loader cannot be told of {} (a blank or a colon in its path); \
             set XDG_CACHE_HOME or HEAPTAPE_LIB to another place",
            path.display()
        );
    }
    Ok(path)
}

/// Puts the library that we carry into a folder of the user's.
fn unpack() -> anyhow::Result<PathBuf> {
    let mut last = None;
    for folder in cache_folders() {
        if !is_sayable(&folder) {
            continue;
        }
        match unpack_into(&folder) {
            Ok(path) => return Ok(path),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no folder for it")))
        .context("cannot unpack the recorder's library; set HEAPTAPE_LIB or TMPDIR")
}

/// Folders for it, best first.
fn cache_folders() -> Vec<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    let mut temporary = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
    temporary.dedup();
    cache
        .map(|folder| folder.join("heaptape"))
        .into_iter()
        .chain(
            temporary
                .iter()
                .map(|folder| folder.join(format!("heaptape-{user}"))),
        )
        .collect()
}

fn unpack_into(folder: &Path) -> anyhow::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| folder.display().to_string())?;
    let facts = fs::symlink_metadata(folder).with_context(|| folder.display().to_string())?;
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    if !facts.is_dir() || facts.uid() != user || facts.mode() & 0o022 != 0 {
        bail!("{} is not a folder of ours alone", folder.display());
    }
    let path = folder.join(format!("libheaptape-{HASH}.so"));
    if fs::read(&path).is_ok_and(|content| content == LIBRARY) {
        return Ok(path);
    }
    let unfinished = folder.join(format!(".{HASH}.{}", std::process::id()));
    // What an earlier process of the same id left.
    let _ = fs::remove_file(&unfinished);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&unfinished)
        .and_then(|mut file: File| file.write_all(LIBRARY))
        .and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| path.display().to_string())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_unpacked_once_and_repaired_when_it_was_changed() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let path = unpack_into(&folder).unwrap();
        assert_eq!(fs::read(&path).unwrap(), LIBRARY);
        let first = fs::metadata(&path).unwrap().ino();
        assert_eq!(unpack_into(&folder).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), first);
        fs::write(&path, b"something else").unwrap();
        assert_eq!(unpack_into(&folder).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), LIBRARY);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn folders_that_others_can_write_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(unpack_into(folder.path()).is_err());
        assert!(!is_sayable(Path::new("/a b/lib.so")) && !is_sayable(Path::new("/a:b")));
    }
}
