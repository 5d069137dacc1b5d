//! Files that are written under another name and put in their place when they are whole.
//!
//! In: where a file is to stand. Out: a file to write. It comes to its place at once, or nothing of
//! it is left: after an error, and after a signal when whoever is told of it calls [`remove_all`].

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Of so many at a time the names are known to [`remove_all`].
const KNOWN_MAX: usize = 16;
/// Their names, which are never freed: a signal handler may be reading them. Null: a free place.
static KNOWN: [AtomicPtr<libc::c_char>; KNOWN_MAX] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; KNOWN_MAX];
/// Makes their names differ within the process.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// A file that is being written; removed unless it is put in its place.
#[derive(Debug)]
pub(crate) struct Temporary {
    target: PathBuf,
    path: PathBuf,
    file: File,
    known: Option<Known>,
}

impl Temporary {
    /// A new file beside `target`, with `mode`.
    pub(crate) fn create(target: &Path, mode: u32) -> io::Result<Self> {
        // Relaxed: the number only has to differ from others of this process.
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.{number}", std::process::id()));
        let path = PathBuf::from(path);
        // Before it is there, so that it is known at every moment.
        let known = Known::new(&path);
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok(Self {
            target: target.to_owned(),
            path,
            file,
            known: Some(known),
        })
    }

    /// The file.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts it in its place, where it replaces what is there.
    pub(crate) fn put_in_place(mut self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.target)?;
        self.known = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.known.is_some() {
            // Nothing more can be done when even this fails.
            let _left = std::fs::remove_file(&self.path);
        }
    }
}

/// A name that [`remove_all`] knows as long as this lives.
#[derive(Debug)]
struct Known {
    /// None: there was none free.
    place: Option<&'static AtomicPtr<libc::c_char>>,
}

impl Known {
    fn new(path: &Path) -> Self {
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
            return Self { place: None };
        };
        let name = name.into_raw();
        let free = std::ptr::null_mut();
        // Release: pairs with Acquire in `remove_all`. Relaxed: a taken place is only passed over.
        let mut places = KNOWN.iter();
        let place = places.find(|place| {
            let taken = place.compare_exchange(free, name, Ordering::Release, Ordering::Relaxed);
            taken.is_ok()
        });
        Self { place }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // Relaxed: nothing is handed over.
            place.store(std::ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// Removes all files that are not in their place yet, for a process that ends at once. It makes
/// system calls alone: a signal handler may call it.
pub fn remove_all() {
    for place in &KNOWN {
        // Acquire: pairs with Release in `Known::new`.
        let name = place.load(Ordering::Acquire);
        if !name.is_null() {
            // SAFETY: a string that ends with a zero and is never freed.
            unsafe { libc::unlink(name) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        std::fs::write(&target, "old").unwrap();
        let mut given_up = Temporary::create(&target, 0o600).unwrap();
        given_up.file().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(given_up);
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");

        let mut done = Temporary::create(&target, 0o600).unwrap();
        done.file().write_all(b"new").unwrap();
        done.put_in_place().unwrap();
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }
}
