//! Names of tapes: which file a process image's tape is.
//!
//! In: the name that was asked for, process ids. Out: new files, never one that exists. The rules:
//! the last image of the first process owns `NAME.tape`; other images get `NAME.<pid>.tape`, then
//! `NAME.<pid>.<n>.tape`; a name that exists gets the next n. When `NAME.tape` itself exists the
//! recording is called `NAME.<n>`, and all its tapes with it. Only a name that was asked for may be
//! no UTF-8: tapes name each other in text. Every name is taken by creating the
//! file, so that two recordings that want the same one get two.

use crate::tape_file::{TapeFile, file_size_limit};
use heaptape_format::text;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Highest n that is tried; a folder with more tapes of one process is a mistake.
const NUMBER_MAX: u32 = 1_000_000;

/// The longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

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
            stem: text::of_bytes(stem.as_bytes()).into(),
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
    /// `folder`.
    #[must_use]
    pub fn default_for(folder: &Path, command: &OsStr, pid: u32) -> Self {
        let mut stem = OsString::from("heaptape.");
        let command = Path::new(command)
            .file_name()
            .unwrap_or(OsStr::new("command"));
        stem.push(text::of_bytes(command.as_bytes()));
        stem.push(format!(".{pid}"));
        Self::new(&folder.join(numbered(&stem, &[])))
    }

    /// Where the first process's last image has its tape.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the first process's tape. When its name exists, this recording takes the next name
    /// that does not: [`Names::root`] says which.
    ///
    /// # Errors
    /// As creating a file.
    pub fn create_root(&mut self) -> io::Result<TapeFile> {
        let wanted = std::iter::once((self.stem.clone(), self.root.clone()));
        let rest = (1..NUMBER_MAX).map(|number| {
            let mut stem = self.stem.clone();
            stem.push(format!(".{number}"));
            (stem, self.folder.join(numbered(&self.stem, &[number])))
        });
        for (stem, path) in wanted.chain(rest) {
            match TapeFile::create(&path, self.file_bytes_max) {
                Ok(file) => {
                    self.stem = stem;
                    self.root = path;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Creates the tape of another image of process `pid`.
    ///
    /// # Errors
    /// As creating a file.
    pub fn create_other(&self, pid: u32) -> io::Result<TapeFile> {
        let plain = self.folder.join(numbered(&self.stem, &[pid]));
        match TapeFile::create(&plain, self.file_bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.create_numbered(pid),
            other => other,
        }
    }

    /// Gives the first process's next image a new tape under the name of the one before, which was
    /// replaced by exec and moves to the path that is returned. The name never stands free in
    /// between, where the file system can exchange two names.
    ///
    /// # Errors
    /// As creating and renaming files.
    pub fn replace_root(&mut self, pid: u32) -> io::Result<(PathBuf, TapeFile)> {
        let mut file = self.create_numbered(pid)?;
        let other = file.path().to_owned();
        match rename(&self.root, &other, libc::RENAME_EXCHANGE) {
            Ok(()) => file.set_path(self.root.clone()),
            // Somebody took the tape away: there is nothing to be moved.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::remove_file(&other)?;
                file = self.create_root()?;
            }
            Err(_) => {
                drop(file);
                // The name that was just made is ours: nothing of anybody's is replaced.
                if let Err(error) = std::fs::rename(&self.root, &other) {
                    let _ = std::fs::remove_file(&other);
                    return Err(error);
                }
                file = self.create_root()?;
            }
        }
        Ok((other, file))
    }

    /// Removes the file that a dead drainer made for an image of process `pid` after the moment
    /// `since` and did not come to write to: the last of its names that exists, when it is empty.
    pub(crate) fn remove_unwritten(&self, pid: u32, is_root: bool, since: SystemTime) {
        let plain = (!is_root).then(|| self.folder.join(numbered(&self.stem, &[pid])));
        let rest =
            (1..NUMBER_MAX).map(|number| self.folder.join(numbered(&self.stem, &[pid, number])));
        let exist = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok();
        let Some(last) = plain.into_iter().chain(rest).take_while(exist).last() else {
            return;
        };
        let is_unwritten = std::fs::symlink_metadata(&last).is_ok_and(|file| {
            let is_young = file.modified().is_ok_and(|made| made >= since);
            file.is_file() && file.len() == 0 && is_young
        });
        if is_unwritten {
            let _ = std::fs::remove_file(last);
        }
    }

    /// Creates `NAME.<pid>.<n>.tape`, with the first n that is free.
    pub(crate) fn create_numbered(&self, pid: u32) -> io::Result<TapeFile> {
        for number in 1..NUMBER_MAX {
            let path = self.folder.join(numbered(&self.stem, &[pid, number]));
            match TapeFile::create(&path, self.file_bytes_max) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// `stem.a.b.tape`, the stem shortened when that is too long for a file name.
fn numbered(stem: &OsStr, numbers: &[u32]) -> OsString {
    let mut end = String::new();
    for number in numbers {
        end.push_str(&format!(".{number}"));
    }
    end.push_str(".tape");
    let mut stem = stem.as_bytes();
    while stem.len() + end.len() > NAME_BYTES_MAX {
        // Not in the middle of a character.
        let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
        let kept = stem.len() - 1;
        let cut = (0..=kept)
            .rev()
            .find(|&at| stem.get(at).is_none_or(|b| !is_inside(b)));
        stem = stem.get(..cut.unwrap_or(kept)).unwrap_or_default();
    }
    let mut name = OsStr::from_bytes(stem).to_owned();
    name.push(end);
    name
}

/// Renames as `flags` of `renameat2` say.
fn rename(from: &Path, to: &Path, flags: libc::c_uint) -> io::Result<()> {
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
            flags,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

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
        let mut names = Names::new(&folder.path().join("x.tape"));
        std::fs::write(folder.path().join("x.7.1.tape"), b"somebody's").unwrap();
        let mut first = names.create_root().unwrap();
        first.append(b"the first").unwrap();
        first.finish();
        let (moved, mut second) = names.replace_root(7).unwrap();
        assert_eq!(file_name(&moved), "x.7.2.tape");
        assert_eq!(second.path(), names.root());
        second.append(b"the second").unwrap();
        second.finish();
        let content = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(content("x.7.1.tape"), "somebody's");
        assert_eq!(content("x.7.2.tape"), "the first");
        assert_eq!(content("x.tape"), "the second");

        // Taken away meanwhile: there is nothing to be moved.
        std::fs::remove_file(names.root()).unwrap();
        let (_, third) = names.replace_root(7).unwrap();
        assert_eq!(third.path(), names.root());
        assert!(!folder.path().join("x.7.3.tape").exists());
    }

    #[test]
    fn the_file_that_nobody_came_to_write_to_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::new(&folder.path().join("x.tape"));
        let is_there = |name: &str| folder.path().join(name).exists();
        let (since, later) = (SystemTime::UNIX_EPOCH, SystemTime::now() + DAY);
        names.remove_unwritten(42, false, since);
        for name in ["x.42.tape", "x.42.1.tape", "x.42.3.tape"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        // Older than the recording.
        names.remove_unwritten(42, false, later);
        assert!(is_there("x.42.1.tape"));
        names.remove_unwritten(42, false, since);
        assert!(!is_there("x.42.1.tape") && is_there("x.42.tape") && is_there("x.42.3.tape"));
        // The first process has no tape of this name.
        names.remove_unwritten(42, true, since);
        assert!(is_there("x.42.tape"));
        std::fs::write(folder.path().join("x.42.tape"), b"written").unwrap();
        names.remove_unwritten(42, false, since);
        assert!(is_there("x.42.tape"));
    }

    #[test]
    fn a_name_that_exists_gives_the_whole_recording_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("x.tape");
        std::fs::write(&wanted, b"old").unwrap();
        let mut names: Vec<Names> = (0..3).map(|_| Names::new(&wanted)).collect();
        let files: Vec<TapeFile> = names.iter_mut().map(|n| n.create_root().unwrap()).collect();
        let made: Vec<&str> = files.iter().map(|file| file_name(file.path())).collect();
        assert_eq!(made, ["x.1.tape", "x.2.tape", "x.3.tape"]);
        assert_eq!(names[1].root(), files[1].path());
        let child = names[1].create_other(42).unwrap();
        assert_eq!(file_name(child.path()), "x.2.42.tape");
        let (moved, _) = names[1].replace_root(41).unwrap();
        assert_eq!(file_name(&moved), "x.2.41.1.tape");
        assert_eq!(std::fs::read(&wanted).unwrap(), b"old");
        let mut odd = Names::new(&folder.path().join("plain"));
        assert_eq!(file_name(odd.create_root().unwrap().path()), "plain");
        let mut odd = Names::new(&folder.path().join("plain"));
        assert_eq!(file_name(odd.create_root().unwrap().path()), "plain.1.tape");
    }

    #[test]
    fn long_names_are_shortened_to_what_a_folder_takes() {
        let folder = tempfile::tempdir().unwrap();
        for letter in ["a", "\u{20ac}"] {
            let stem = letter.repeat(250 / letter.len());
            let wanted = folder.path().join(format!("{stem}.tape"));
            let mut names = Names::new(&wanted);
            drop(names.create_root().unwrap());
            let other = names.create_other(123_456).unwrap();
            let name = file_name(other.path()).to_owned();
            assert!(
                name.ends_with(".123456.tape") && name.len() <= 255,
                "{name}"
            );
            assert!(name.len() > 250 && name.starts_with(letter), "{name}");
            let (moved, _) = names.replace_root(123_456).unwrap();
            assert!(file_name(&moved).ends_with(".123456.1.tape"));
            drop(Names::new(&wanted).create_root().unwrap());
        }
    }

    #[test]
    fn recordings_that_begin_at_once_get_a_name_each() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("x.tape");
        let mut made: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut names = Names::new(&wanted);
                        let file = names.create_root().unwrap();
                        assert_eq!(file.path(), names.root());
                        file.path().to_owned()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 8);
    }

    #[test]
    fn names_that_are_made_are_text() {
        let folder = tempfile::tempdir().unwrap();
        let command = OsStr::from_bytes(b"/bin/a\xff");
        let names = Names::default_for(folder.path(), command, 9);
        assert_eq!(file_name(names.root()), r"heaptape.a\xff.9.tape");
        let wanted = folder.path().join(OsStr::from_bytes(b"x\xfe.tape"));
        let mut names = Names::new(&wanted);
        drop(names.create_root().unwrap());
        assert_eq!(names.root(), wanted);
        let other = names.create_other(42).unwrap();
        assert_eq!(file_name(other.path()), r"x\xfe.42.tape");
    }

    #[test]
    fn default_names_carry_the_command_and_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Names::default_for(folder.path(), OsStr::new("/usr/bin/ls"), 9);
        assert_eq!(file_name(names.root()), "heaptape.ls.9.tape");
        drop(names.create_root().unwrap());
        let mut next = Names::default_for(folder.path(), OsStr::new("/usr/bin/ls"), 9);
        drop(next.create_root().unwrap());
        assert_eq!(file_name(next.root()), "heaptape.ls.9.1.tape");
        let odd = Names::new(&folder.path().join("plain"));
        assert_eq!(
            file_name(odd.create_other(5).unwrap().path()),
            "plain.5.tape"
        );
    }
}
