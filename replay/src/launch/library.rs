//! Where `libheaptape.so` is: named, beside us, installed, or carried inside this executable.
//!
//! In: the environment. Out: the path of a library that the loader can be told of and can map.

use super::image;
use super::unpacked::{Unpacked, check_executable, unpack_into};
use anyhow::{Context, bail};
use heaptape::cache_folder;
use heaptape_drain::tape_file::file_size_limit;
use heaptape_session::allocators::{self, ALLOCATORS_SUFFIX};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Its file's name.
pub(crate) const NAME: &str = "libheaptape.so";

/// A library that can be used while this lives.
#[derive(Debug)]
pub(crate) enum Library {
    /// Somebody's: installed, or named.
    Installed(PathBuf),
    /// Our own.
    Unpacked(Unpacked),
}

impl Library {
    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Installed(path) => path,
            Self::Unpacked(unpacked) => &unpacked.path,
        }
    }

    /// The path of the library for `program` with its arguments: the twin's when it brings an
    /// allocator of its own, by its needed libraries or by what is preloaded. Where there is no
    /// twin, the usual one records less of such a program.
    pub(crate) fn path_for(&self, program: &Path, arguments: &[OsString]) -> PathBuf {
        let usual = self.path();
        let preloaded = std::env::var_os("LD_PRELOAD").unwrap_or_default();
        let is_preloaded = allocators::names_allocator(preloaded.as_bytes());
        if !is_preloaded && !image::brings_allocator(program, arguments) {
            return usual.to_owned();
        }
        let stem = allocators::stem(usual.as_os_str().as_bytes());
        let mut twin = OsStr::from_bytes(stem).to_owned();
        twin.push(ALLOCATORS_SUFFIX);
        let twin = PathBuf::from(twin);
        if twin.is_file() {
            twin
        } else {
            usual.to_owned()
        }
    }
}

/// Finds the library, or unpacks it.
///
/// # Errors
/// There is none that the loader could use; what to do, for a person.
pub(crate) fn locate() -> anyhow::Result<Library> {
    if let Some(named) = std::env::var_os("HEAPTAPE_LIB") {
        let named = PathBuf::from(named);
        let path = std::path::absolute(&named).unwrap_or(named);
        if !path.is_file() {
            bail!("HEAPTAPE_LIB names {}, which is no file", path.display());
        }
        if !is_sayable(&path) {
            bail!(
                "the dynamic loader cannot be told of {} (a blank or a colon in its path); \
                 set HEAPTAPE_LIB to another place",
                path.display()
            );
        }
        check_executable(&path).with_context(|| path.display().to_string())?;
        return Ok(Library::Installed(path));
    }
    let folder = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    if let Some(folder) = folder {
        let installed = folder.join("../lib/heaptape").join(NAME);
        for path in [folder.join(NAME), installed] {
            if path.is_file() && is_sayable(&path) && check_executable(&path).is_ok() {
                return Ok(Library::Installed(path));
            }
        }
    }
    unpack().map(Library::Unpacked)
}

/// The loader splits what it is told at blanks and colons.
fn is_sayable(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    !bytes
        .iter()
        .any(|byte| matches!(byte, b' ' | b':' | b'\t' | b'\n'))
}

/// Puts the library that we carry into the first folder that can have it.
fn unpack() -> anyhow::Result<Unpacked> {
    let mut tried = Vec::new();
    for folder in cache_folders() {
        let result = if is_sayable(&folder) {
            unpack_into(&folder)
        } else {
            Err(anyhow::anyhow!("a blank or a colon in its path"))
        };
        match result {
            Ok(unpacked) => return Ok(unpacked),
            // No other folder would help, and the error says what does.
            Err(error) if is_system_error(&error, libc::EMFILE) => return Err(error),
            Err(error) => tried.push(format!("{}: {}", folder.display(), reason(&error))),
        }
    }
    bail!(
        "the recorder's library finds no place ({}); \
         set XDG_CACHE_HOME to a folder that can be written and executed from",
        tried.join("; ")
    )
}

/// True when `error` or a cause of it is the system's `number`.
pub(crate) fn is_system_error(error: &anyhow::Error, number: libc::c_int) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.raw_os_error() == Some(number))
}

/// Names the limit that the kernel's word for it hides.
pub(super) fn reason(error: &anyhow::Error) -> String {
    if is_system_error(error, libc::EFBIG) {
        let kib = file_size_limit() >> 10;
        return format!("the file size limit of {kib} KiB (ulimit -f) is too low");
    }
    format!("{error:#}")
}

/// Folders for it, best first.
pub(super) fn cache_folders() -> Vec<PathBuf> {
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    let mut folders: Vec<PathBuf> = cache_folder::of_user().into_iter().collect();
    let temporary = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    for folder in temporary {
        let folder = folder.join(format!("heaptape-{user}"));
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_colons_cannot_be_said() {
        assert!(is_sayable(Path::new("/a/lib.so")));
        for path in ["/a b/lib.so", "/a:b", "/a\tb", "/a\nb"] {
            assert!(!is_sayable(Path::new(path)), "{path:?}");
        }
    }
}
