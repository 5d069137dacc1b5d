//! The session's file: it is made, opened and removed here.
//!
//! In: the settings of a recording and where there is room. Out: a published session. It only ever
//! removes a file that it made or that is a session of the same user.

use crate::clock::Clock;
use crate::error::{DrainError, binary};
use crate::process_info::{self, Stat};
use crate::session_room::{
    Place, folders, layout_for, places, pool_bytes, pool_bytes_most, smallest,
};
use crate::tape_file::file_size_limit;
use heaptape_format::header::ClockKind;
use heaptape_session::layout::{CHUNK_BYTES, Layout, SessionHeader, state};
use heaptape_session::map::{MapError, SessionMap};
use heaptape_session::sync::{AtomicU64, Ordering};
use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Chunks that have memory from the start: 4 MiB, enough for three threads. The kernel clears it
/// whether it is used or not.
const CHUNKS_AT_START: usize = 256;
const _: () = assert!(CHUNKS_AT_START * CHUNK_BYTES == 4 << 20);

/// What the recorders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Bits of [`heaptape_session::layout::options`].
    pub options: u32,
    /// Deepest stack in frames, 0 for no limit.
    pub depth_max: u32,
    /// Smallest allocation that is recorded, in bytes.
    pub size_min: u64,
}

/// An open session: this process is its drainer.
#[derive(Debug)]
pub struct Session {
    /// The shared memory.
    pub map: SessionMap,
    file: File,
    path: PathBuf,
    /// Chunks that it has at most while there is one for each thread.
    usual_chunks: usize,
}

impl Session {
    /// Makes a session in the first folder with enough room and publishes it. `output` is the
    /// absolute path of the first image's tape.
    ///
    /// # Errors
    /// `NoRoom` when no folder can hold it, `FileSizeLimit` when none may.
    pub fn create(settings: &Settings, clock: &Clock, output: &Path) -> Result<Self, DrainError> {
        let needed = smallest().file_bytes() as u64;
        let limit = file_size_limit();
        if limit < needed {
            return Err(DrainError::FileSizeLimit { limit, needed });
        }
        let mut tried = Vec::new();
        for Place { folder, free } in places() {
            let layout = layout_for(pool_bytes_most(free), limit.min(free));
            let usual = layout_for(pool_bytes(free), limit.min(free)).chunks;
            match Self::create_in(&folder, layout, usual) {
                Ok(session) => {
                    session.fill_in(settings, clock, output);
                    session.map.publish();
                    return Ok(session);
                }
                Err(reason) => tried.push(format!(
                    "{}: {reason}, {} free",
                    folder.display(),
                    binary(free)
                )),
            }
        }
        Err(DrainError::NoRoom {
            needed,
            tried: tried.join("; "),
        })
    }

    fn create_in(folder: &Path, layout: Layout, usual_chunks: usize) -> Result<Self, String> {
        let [random, _] = random_id();
        // SAFETY: a plain call without arguments.
        let user = unsafe { libc::geteuid() };
        let pid = std::process::id();
        let path = folder.join(format!("heaptape-{user}-{pid}-{random:016x}.session"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| error.to_string())?;
        let map = c_path(&path)
            .ok_or(MapError::Path)
            .and_then(|name| {
                let ready = usual_chunks.min(CHUNKS_AT_START);
                SessionMap::create(file.as_raw_fd(), &name, layout, ready)
            })
            .map_err(|error| {
                let _ = std::fs::remove_file(&path);
                map_error_text(error)
            })?;
        Ok(Self {
            map,
            file,
            path,
            usual_chunks,
        })
    }

    fn fill_in(&self, settings: &Settings, clock: &Clock, output: &Path) {
        let header = self.map.header();
        // Relaxed: `publish` orders all of it.
        header.options.store(settings.options, Ordering::Relaxed);
        header
            .depth_max
            .store(settings.depth_max, Ordering::Relaxed);
        header.size_min.store(settings.size_min, Ordering::Relaxed);
        header.clock.store(clock.kind() as u32, Ordering::Relaxed);
        for (word, value) in [
            (&header.start_ticks, clock.start_ticks()),
            (&header.start_realtime_ns, clock.start_realtime_ns()),
            (&header.start_boottime_ns, clock.start_boottime_ns()),
        ] {
            word.store(value, Ordering::Relaxed);
        }
        for (word, value) in header.session_id.iter().zip(random_id()) {
            word.store(value, Ordering::Relaxed);
        }
        store_text(&header.output, output.as_os_str().as_bytes());
        self.take_over();
        header.state.store(state::RUNNING, Ordering::Relaxed);
    }

    /// Opens an existing session.
    ///
    /// # Errors
    /// `OtherVersion`, `OpenSession`.
    pub fn open(path: &Path) -> Result<Self, DrainError> {
        let fail = |reason: String| DrainError::OpenSession {
            path: path.to_owned(),
            reason,
        };
        let name = c_path(path).ok_or_else(|| fail(map_error_text(MapError::Path)))?;
        let map = SessionMap::open(&name).map_err(|error| match error {
            MapError::Version => DrainError::OtherVersion {
                path: path.to_owned(),
            },
            other => fail(map_error_text(other)),
        })?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| fail(error.to_string()))?;
        let usual_chunks = map.layout().chunks;
        Ok(Self {
            map,
            file,
            path: path.to_owned(),
            usual_chunks,
        })
    }

    /// States that this process is the drainer from now on.
    pub fn take_over(&self) {
        let header = self.map.header();
        let pid = std::process::id();
        let start_time = Stat::of(pid).map_or(0, |stat| stat.start_time);
        let namespace = process_info::pid_namespace(pid).unwrap_or(0);
        header
            .drainer_pid_namespace
            .store(namespace, Ordering::Relaxed);
        header.drainer_pid.store(pid, Ordering::Relaxed);
        header
            .drainer_start_time
            .store(start_time, Ordering::Relaxed);
    }

    /// The process that drains it, when that lives.
    #[must_use]
    pub fn live_drainer(&self) -> Option<u32> {
        let header = self.map.header();
        let pid = header.drainer_pid.load(Ordering::Relaxed);
        let start_time = header.drainer_start_time.load(Ordering::Relaxed);
        (pid != 0 && process_info::is_alive(pid, start_time)).then_some(pid)
    }

    /// Path of the session's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The environment entry that tells a process of this session.
    #[must_use]
    pub fn environment_entry(&self) -> Vec<u8> {
        let mut entry = b"HEAPTAPE_SESSION=".to_vec();
        entry.extend_from_slice(self.path.as_os_str().as_bytes());
        entry
    }

    /// Absolute path of the first image's tape.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(load_text(&self.map.header().output)))
    }

    /// Says where the first image's tape is.
    pub fn store_output(&self, output: &Path) {
        store_text(&self.map.header().output, output.as_os_str().as_bytes());
    }

    /// The clock that its creator began.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let header: &SessionHeader = self.map.header();
        let kind = match header.clock.load(Ordering::Relaxed) {
            1 => ClockKind::Tsc,
            _ => ClockKind::Monotonic,
        };
        let start = (
            header.start_ticks.load(Ordering::Relaxed),
            header.start_realtime_ns.load(Ordering::Relaxed),
            header.start_boottime_ns.load(Ordering::Relaxed),
        );
        Clock::resume(kind, start, header.ticks_per_second.load(Ordering::Relaxed))
    }

    /// Puts memory behind more chunks, up to `chunks` and what a session usually has; false when
    /// there is no room for more.
    pub fn grow(&self, chunks: usize) -> bool {
        self.grow_to(chunks.min(self.usual_chunks))
    }

    /// As [`Session::grow`], beyond what is usual: for threads that would get no chunk otherwise.
    pub fn grow_beyond(&self, chunks: usize) -> bool {
        self.grow_to(chunks)
    }

    fn grow_to(&self, chunks: usize) -> bool {
        let before = self.map.header().chunks_ready.load(Ordering::Relaxed) as usize;
        let chunks = chunks.min(self.map.layout().chunks);
        chunks > before && self.map.grow(self.file.as_raw_fd(), chunks).is_ok()
    }

    /// Turns the recorders off and removes the file. Mappings live on until their processes end.
    pub fn close(&self) {
        // Release: whoever sees it sees everything before it too.
        self.map
            .header()
            .state
            .store(state::CLOSED, Ordering::Release);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Files that look like sessions.
pub(crate) fn session_paths() -> impl Iterator<Item = PathBuf> {
    folders()
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?;
            let text = name.file_name();
            let bytes = text.as_bytes();
            let ours = bytes.starts_with(b"heaptape-") && bytes.ends_with(b".session");
            ours.then(|| name.path())
        })
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

fn map_error_text(error: MapError) -> String {
    match error {
        MapError::Path => "its path is too long".into(),
        MapError::Open(errno) => io::Error::from_raw_os_error(errno).to_string(),
        MapError::Owner => "it belongs to another user, or others may write it".into(),
        MapError::NotASession => "it is not a session of heaptape".into(),
        MapError::Version => "it is of another version of heaptape".into(),
        MapError::Damaged => "it is damaged".into(),
        MapError::Map => "it cannot be mapped into memory".into(),
        MapError::Space => "no space left".into(),
    }
}

/// Sixteen random bytes.
#[must_use]
pub fn random_id() -> [u64; 2] {
    let mut bytes = [[0; 8]; 2];
    let read = File::open("/dev/urandom").and_then(|mut file| {
        file.read_exact(&mut bytes[0])?;
        file.read_exact(&mut bytes[1])
    });
    if read.is_err() {
        // No device in this root: time and process id tell recordings apart well enough.
        let now = crate::clock::clock_ns(libc::CLOCK_REALTIME);
        return [now, u64::from(std::process::id()) << 32 | now >> 32];
    }
    bytes.map(u64::from_le_bytes)
}

/// Stores bytes into shared words, cut to fit, zero-padded.
pub(crate) fn store_text(words: &[AtomicU64], text: &[u8]) {
    let mut bytes = text.iter().copied().take(words.len().saturating_sub(1) * 8);
    for word in words {
        let value = std::array::from_fn(|_| bytes.next().unwrap_or(0));
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
}

/// The bytes up to the first zero.
pub(crate) fn load_text(words: &[AtomicU64]) -> Vec<u8> {
    words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .take_while(|&byte| byte != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::left::left_sessions;

    #[test]
    fn a_session_says_what_it_was_told_and_goes_away() {
        let clock = Clock::start();
        let settings = Settings {
            options: 3,
            depth_max: 40,
            size_min: 16,
        };
        let output = Path::new("/somewhere/x.tape");
        let session = Session::create(&settings, &clock, output).unwrap();
        let again = Session::open(session.path()).unwrap();
        let header = again.map.header();
        assert_eq!(header.options.load(Ordering::Relaxed), 3);
        assert_eq!(header.depth_max.load(Ordering::Relaxed), 40);
        assert_eq!(header.size_min.load(Ordering::Relaxed), 16);
        assert_eq!(again.output(), output);
        assert_eq!(again.clock().start_ticks(), clock.start_ticks());
        assert_eq!(again.live_drainer(), Some(std::process::id()));
        let left = left_sessions();
        assert!(left.iter().all(|left| left.path != session.path()));
        header.drainer_pid.store(0, Ordering::Relaxed);
        let left = left_sessions();
        assert!(left.iter().any(|left| left.path == session.path()));
        session.close();
        assert!(!session.path().exists());
        assert!(Session::open(session.path()).is_err());
    }
}
