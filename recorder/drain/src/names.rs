//! Names of tapes: which file a process image's tape is.
//!
//! In: the name that was asked for, process ids. Out: new files, never one that exists. The rules:
//! the last image of the first process owns `NAME.tape`; other images get `NAME.<pid>.tape`, then
//! `NAME.<pid>.<n>.tape`; a name that exists gets the next n.

use crate::tape_file::{TapeFile, file_size_limit};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Highest n that is tried; a folder with more tapes of one process is a mistake.
const NUMBER_MAX: u32 = 1_000_000;

/// The names of one recording. The folder is absolute: the target may go where it likes.
#[derive(Debug, Clone)]
pub struct Names {
    folder: PathBuf,
    /// File name without `.tape`.
    stem: OsString,
    root: PathBuf,
    /// Longest file that may be written.
    file_bytes_max: u64,
}

impl Names {
    /// The names around the first process's tape at `root`, an absolute path.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let name = root.file_name().unwrap_or(OsStr::new("heaptape.tape"));
        let bytes = name.as_bytes();
        let stem = match bytes.strip_suffix(b".tape") {
            Some(stem) if !stem.is_empty() => OsStr::from_bytes(stem),
            _ => name,
        };
        Self {
            folder: root.parent().unwrap_or(Path::new("/")).to_owned(),
            stem: stem.to_owned(),
            root: root.to_owned(),
            file_bytes_max: file_size_limit(),
        }
    }

    /// The same names, for tapes of at most so many bytes.
    #[must_use]
    pub fn with_file_bytes_max(self, file_bytes_max: u64) -> Self {
        Self {
            file_bytes_max,
            ..self
        }
    }

    /// The default name for `command`, running as `pid`: `heaptape.<command>.<pid>.tape` in
    /// `folder`, or the next that does not exist.
    #[must_use]
    pub fn default_for(folder: &Path, command: &OsStr, pid: u32) -> Self {
        let mut stem = OsString::from("heaptape.");
        let command = Path::new(command)
            .file_name()
            .unwrap_or(OsStr::new("command"));
        stem.push(command);
        stem.push(format!(".{pid}"));
        let first = folder.join(numbered(&stem, &[]));
        if !first.exists() {
            return Self::new(&first);
        }
        let free = (1..NUMBER_MAX)
            .map(|number| folder.join(numbered(&stem, &[number])))
            .find(|path| !path.exists());
        Self::new(&free.unwrap_or(first))
    }

    /// Where the first process's last image has its tape.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the first process's tape.
    ///
    /// # Errors
    /// As creating a file; it may exist.
    pub fn create_root(&self) -> io::Result<TapeFile> {
        TapeFile::create(&self.root, self.file_bytes_max)
    }

    /// Creates the tape of another image of process `pid`.
    ///
    /// # Errors
    /// As creating a file.
    pub fn create_other(&self, pid: u32) -> io::Result<TapeFile> {
        let plain = self.folder.join(numbered(&self.stem, &[pid]));
        let rest = (1..NUMBER_MAX).map(|n| self.folder.join(numbered(&self.stem, &[pid, n])));
        for path in std::iter::once(plain).chain(rest) {
            match TapeFile::create(&path, self.file_bytes_max) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Renames the tape of an image that was replaced by exec, so that the next one can have its
    /// name; the new path.
    ///
    /// # Errors
    /// As renaming a file.
    pub fn move_root(&self, pid: u32) -> io::Result<PathBuf> {
        for number in 1..NUMBER_MAX {
            let path = self.folder.join(numbered(&self.stem, &[pid, number]));
            match rename_new(&self.root, &path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// `stem.a.b.tape`.
fn numbered(stem: &OsStr, numbers: &[u32]) -> OsString {
    let mut name = stem.to_owned();
    for number in numbers {
        name.push(format!(".{number}"));
    }
    name.push(".tape");
    name
}

/// Renames without replacing; where the file system cannot do that in one step, in two.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let text = |path: &Path| {
        CString::new(path.as_os_str().as_bytes())
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
    };
    let (old, new) = (text(from)?, text(to)?);
    // SAFETY: both paths are zero-terminated and valid for the call.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            old.as_ptr(),
            libc::AT_FDCWD,
            new.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    if to.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(path: &Path) -> &str {
        path.file_name().and_then(OsStr::to_str).unwrap()
    }

    #[test]
    fn other_images_get_the_next_free_number() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::new(&folder.path().join("x.tape"));
        assert_eq!(file_name(names.root()), "x.tape");
        let made: Vec<String> = (0..3)
            .map(|_| file_name(names.create_other(42).unwrap().path()).to_owned())
            .collect();
        assert_eq!(made, ["x.42.tape", "x.42.1.tape", "x.42.2.tape"]);
        assert_eq!(
            file_name(names.create_other(43).unwrap().path()),
            "x.43.tape"
        );
    }

    #[test]
    fn a_replaced_first_image_moves_out_of_the_way_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::new(&folder.path().join("x.tape"));
        std::fs::write(folder.path().join("x.7.1.tape"), b"somebody's").unwrap();
        drop(names.create_root().unwrap());
        assert_eq!(
            names.create_root().unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(file_name(&names.move_root(7).unwrap()), "x.7.2.tape");
        assert!(!names.root().exists());
        let kept = std::fs::read(folder.path().join("x.7.1.tape")).unwrap();
        assert_eq!(kept, b"somebody's");
    }

    #[test]
    fn default_names_carry_the_command_and_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::default_for(folder.path(), OsStr::new("/usr/bin/ls"), 9);
        assert_eq!(file_name(names.root()), "heaptape.ls.9.tape");
        drop(names.create_root().unwrap());
        let next = Names::default_for(folder.path(), OsStr::new("/usr/bin/ls"), 9);
        assert_eq!(file_name(next.root()), "heaptape.ls.9.1.tape");
        let odd = Names::new(&folder.path().join("plain"));
        assert_eq!(
            file_name(odd.create_other(5).unwrap().path()),
            "plain.5.tape"
        );
    }
}
