//! The library that this executable carries, unpacked into a folder of the user's.
//!
//! In: a folder. Out: a file in it that the loader can map, compared byte for byte, so that nobody
//! can slip another one in; and no files there that nobody has used for a long time. Launchers may
//! come here at the same time, and with other versions: a library is written under a name of its
//! own and renamed. Whoever uses one holds a shared lock on it, as long as its recording lasts.

use anyhow::bail;
use heaptape::cache_folder::make_own;
use heaptape_drain::session_file::random_id;
use heaptape_session::allocators::{ALLOCATORS_SUFFIX, SUFFIX};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The library itself.
pub(crate) const CONTENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libheaptape.so"));
/// Its twin, for programs that bring an allocator of their own. The recorder looks for it beside
/// the library when a recorded program starts such a one.
const TWIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libheaptape-allocators.so"));
/// Both, with what their names end with.
const LIBRARIES: [(&[u8], &str); 2] = [(CONTENT, SUFFIX), (TWIN, ALLOCATORS_SUFFIX)];
/// Names their content.
const HASH: &str = env!("HEAPTAPE_LIBRARY_HASH");
/// Libraries of other versions go when they were not used for so long.
const UNUSED_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// An unpacked library and its twin. While this lives, no other launcher removes them.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Where the library is.
    pub(crate) path: PathBuf,
    _locks: [File; 2],
}

/// Puts the library and its twin into `folder`, when they are not there yet.
///
/// # Errors
/// The folder cannot be written or belongs to others, or nothing in it may be executed.
pub(crate) fn unpack_into(folder: &Path) -> anyhow::Result<Unpacked> {
    make_own(folder)?;
    let [(path, lock), (_, twin)] = LIBRARIES.map(|(content, suffix)| {
        let path = folder.join(format!("libheaptape-{HASH}{suffix}"));
        let lock = provide(folder, &path, content);
        (path, lock)
    });
    let locks = [lock?, twin?];
    check_executable(&path)?;
    Ok(Unpacked {
        path,
        _locks: locks,
    })
}

/// Writes `content` to `path` in `folder` unless it is there; the lock on it.
///
/// # Errors
/// It cannot be written.
pub(super) fn provide(folder: &Path, path: &Path, content: &[u8]) -> anyhow::Result<File> {
    /// Another launcher may put the same content in place of ours at any moment, each one once or
    /// twice.
    const ATTEMPTS: u32 = 64;
    for attempt in 0..ATTEMPTS {
        if let Some(lock) = in_use(path, content) {
            return Ok(lock);
        }
        // What is wrong now may be another launcher's that is right a moment later.
        if attempt % 4 == 0 && !has_content(path, content) {
            write(folder, path, content)?;
            prune(folder);
        }
    }
    bail!("somebody changes it")
}

fn has_content(path: &Path, content: &[u8]) -> bool {
    fs::read(path).is_ok_and(|found| found == content)
}

/// Locks the library at `path`, when it is the right one, and notes that it is used.
fn in_use(path: &Path, expected: &[u8]) -> Option<File> {
    let mut file = File::open(path).ok()?;
    // A file system without locks: then nobody removes anything either.
    let _ = lock(&file, libc::LOCK_SH);
    let mut content = Vec::new();
    file.read_to_end(&mut content).ok()?;
    // Until the lock was there, it may have been removed or replaced.
    let still = fs::symlink_metadata(path).ok()?;
    let same = file.metadata().ok()?.ino() == still.ino();
    if !same || content != expected {
        return None;
    }
    // Fails in a folder that can only be read: nobody removes anything there.
    let _ = file.set_modified(SystemTime::now());
    Some(file)
}

/// `flock`: the lock ends when every copy of the descriptor is closed.
fn lock(file: &File, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain call on an open descriptor.
    match unsafe { libc::flock(file.as_raw_fd(), operation) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let [random, _] = random_id();
    let unfinished = folder.join(format!(".libheaptape-{random:016x}"));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&unfinished)
        .and_then(|mut file: File| file.write_all(content))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Fails when the loader could not map the library at `path` (a file system without execution).
///
/// # Errors
/// Why, for a person.
pub(crate) fn check_executable(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a new mapping at a place of the kernel's choice; nothing is read from it.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            1,
            protection,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if page == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::PermissionDenied {
            bail!("nothing can be executed there (noexec)");
        }
        return Err(error.into());
    }
    // SAFETY: the mapping that was just made, and nobody else's.
    unsafe { libc::munmap(page, 1) };
    Ok(())
}

/// Removes libraries of other versions that nobody uses: not for a month, by no recording and no
/// process. Done only when a new version comes in. What fails is left for the next time.
fn prune(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let old: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_bytes();
            name.starts_with(b"libheaptape-") || name.starts_with(b".libheaptape-")
        })
        .map(|entry| entry.path())
        .filter(|path| File::open(path).is_ok_and(|file| is_old(&file)))
        .collect();
    // A launcher that was killed holds no lock, but what it started may still start programs.
    if old.is_empty() {
        return;
    }
    let mapped = mapped_libraries();
    for path in old {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_mapped = mapped.windows(name.len()).any(|part| part == name);
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let free = !is_mapped && lock(&file, libc::LOCK_EX | libc::LOCK_NB).is_ok();
        // Looked at once more, as it may have come into use before the lock was ours.
        if free && is_old(&file) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_old(file: &File) -> bool {
    let age = file
        .metadata()
        .and_then(|facts| facts.modified())
        .map(|used| used.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > UNUSED_LIMIT)
}

/// The lines of all processes' mappings that name a library of ours.
fn mapped_libraries() -> Vec<u8> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut lines = Vec::new();
    for process in processes {
        let maps = fs::read(process.path().join("maps")).unwrap_or_default();
        for line in maps.split(|&byte| byte == b'\n') {
            if line.windows(12).any(|part| part == b"libheaptape-") {
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn it_is_unpacked_once_and_repaired_when_it_was_changed() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let path = unpack_into(&folder).unwrap().path;
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        let first = fs::metadata(&path).unwrap().ino();
        assert_eq!(unpack_into(&folder).unwrap().path, path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), first);
        let twin = folder.join(format!("libheaptape-{HASH}-allocators.so"));
        fs::write(&path, b"something else").unwrap();
        fs::write(&twin, b"something else").unwrap();
        assert_eq!(unpack_into(&folder).unwrap().path, path);
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(fs::read(&twin).unwrap(), TWIN);
        assert_eq!(entries(&folder), 2);
    }

    #[test]
    fn launchers_at_once_all_get_it() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let unpacked = unpack_into(home.path()).unwrap();
                    assert_eq!(fs::read(&unpacked.path).unwrap(), CONTENT);
                });
            }
        });
        assert_eq!(entries(home.path()), 2);
    }

    #[test]
    fn folders_that_others_can_write_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(unpack_into(folder.path()).is_err());
    }

    #[test]
    fn only_what_nobody_uses_any_more_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let make = |name: &str, days: u64| {
            let path = home.path().join(name);
            fs::write(&path, b"another version").unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            let age = Duration::from_secs(days * 24 * 3600);
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let unused = make("libheaptape-0000000000000001.so", 31);
        let unfinished = make(".libheaptape-0000000000000002", 31);
        let locked = make("libheaptape-0000000000000003.so", 31);
        let mapped = make("libheaptape-0000000000000004.so", 31);
        let recent = make("libheaptape-0000000000000005.so", 29);
        let others = make("something.so", 400);
        let lock = File::open(&locked).unwrap();
        super::lock(&lock, libc::LOCK_SH).unwrap();
        let file = File::open(&mapped).unwrap();
        // SAFETY: a private mapping of a file that nobody changes.
        let mapping = unsafe { memmap2::Mmap::map(&file) }.unwrap();

        let own = unpack_into(home.path()).unwrap();
        for path in [&locked, &mapped, &recent, &others, &own.path] {
            assert!(path.exists(), "{}", path.display());
        }
        for path in [&unused, &unfinished] {
            assert!(!path.exists(), "{}", path.display());
        }
        // Once more with nobody there; our own comes in again.
        drop((lock, mapping));
        fs::remove_file(&own.path).unwrap();
        let own = unpack_into(home.path()).unwrap();
        assert!(!locked.exists() && !mapped.exists());
        assert!(recent.exists() && own.path.exists());
    }

    #[test]
    fn one_that_is_used_is_young_again() {
        let home = tempfile::tempdir().unwrap();
        let path = unpack_into(home.path()).unwrap().path;
        let file = File::options().append(true).open(&path).unwrap();
        let before = SystemTime::now() - 2 * UNUSED_LIMIT;
        file.set_modified(before).unwrap();
        assert!(is_old(&file));
        let used = unpack_into(home.path()).unwrap();
        assert!(!is_old(&file));
        // In use: not to be locked by whoever would remove it.
        let alone = libc::LOCK_EX | libc::LOCK_NB;
        assert!(lock(&file, alone).is_err());
        drop(used);
        lock(&file, alone).unwrap();
    }
}
