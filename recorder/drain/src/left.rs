//! Sessions that are left over: those that can be recovered, and files that only look so.
//!
//! In: the folders where sessions are made. Out: the files of this user that nobody drains, as far
//! as can be told. What a launcher left that was killed before its session was one is removed.

use crate::error::DrainError;
use crate::process_info::{self, Users};
use crate::session_file::{Session, session_paths};
use heaptape_session::slots::process_owner;
use heaptape_session::sync::Ordering;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So old is a file that is no session yet when nobody will make it one.
const BIRTH_MAX: Duration = Duration::from_secs(60);

/// A session's file that nobody drains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftSession {
    /// The file.
    pub path: PathBuf,
    /// What can be done with it.
    pub state: LeftState,
    /// Recorded processes that still live; of a file that cannot be read those that may use it.
    pub live_processes: Vec<u32>,
}

/// What can be done with a session that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftState {
    /// It can be recovered.
    Recoverable {
        /// The first image's tape.
        output: PathBuf,
        /// When the recording began, CLOCK_REALTIME in nanoseconds.
        started_unix_ns: u64,
    },
    /// Another version of heaptape made it.
    OtherVersion,
    /// It cannot be read: why, for a person.
    Unreadable(String),
}

/// The sessions of this user that nobody drains any more. What never became one is removed.
#[must_use]
pub fn left_sessions() -> Vec<LeftSession> {
    remove_unborn();
    let mut paths: Vec<PathBuf> = session_paths().collect();
    paths.sort();
    paths.dedup();
    paths.iter().filter_map(|path| look_at(path)).collect()
}

/// Removes what launchers left that were killed before their session was one.
fn remove_unborn() {
    for path in session_paths() {
        let Some((owner, pid)) = maker_of(&path) else {
            continue;
        };
        let file = std::fs::symlink_metadata(&path);
        let is_old = file.is_ok_and(|file| is_old(&file));
        if owner == user() && is_old && !process_info::is_alive(pid, 0) && is_unborn(&path) {
            // Whoever may not remove it leaves it.
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn look_at(path: &Path) -> Option<LeftSession> {
    let file = std::fs::symlink_metadata(path).ok()?;
    if !file.is_file() || file.uid() != user() {
        return None;
    }
    let state = match Session::open(path) {
        Ok(session) => return recoverable(&session),
        Err(DrainError::OtherVersion { .. }) => LeftState::OtherVersion,
        Err(_) if is_unborn(path) => {
            if !is_old(&file) {
                return None;
            }
            LeftState::Unreadable("it never became a session".into())
        }
        Err(DrainError::OpenSession { reason, .. }) => LeftState::Unreadable(reason),
        Err(other) => LeftState::Unreadable(other.to_string()),
    };
    // Its own words say who drains it, and cannot be read.
    let Users { holders, mappers } = Users::of(path, &file);
    if !holders.is_empty() {
        // A drainer keeps the file open, a recorded process only maps it.
        return None;
    }
    let mut live_processes = mappers;
    if let Some((_, maker)) = maker_of(path)
        && process_info::is_alive(maker, 0)
        && !live_processes.contains(&maker)
    {
        live_processes.push(maker);
    }
    Some(LeftSession {
        path: path.to_owned(),
        state,
        live_processes,
    })
}

/// A session of this version, when its drainer is dead.
fn recoverable(session: &Session) -> Option<LeftSession> {
    if session.live_drainer().is_some() {
        return None;
    }
    let map = &session.map;
    let high = map.header().process_high.load(Ordering::Relaxed);
    let live_processes = (0..high)
        .filter_map(|index| map.process(index))
        .filter_map(|slot| {
            let owner = process_owner(slot);
            let start_time = slot.start_time.load(Ordering::Relaxed);
            let live = owner.pid != 0 && process_info::is_alive(owner.pid, start_time);
            live.then_some(owner.pid)
        })
        .collect();
    Some(LeftSession {
        path: session.path().to_owned(),
        state: LeftState::Recoverable {
            output: session.output(),
            started_unix_ns: map.header().start_realtime_ns.load(Ordering::Relaxed),
        },
        live_processes,
    })
}

/// The user and the process that made the file, by its name: `heaptape-USER-PID-…`.
fn maker_of(path: &Path) -> Option<(u32, u32)> {
    let name = path.file_name()?.to_string_lossy();
    let mut parts = name.split('-').skip(1);
    let mut number = || parts.next()?.parse::<u32>().ok();
    Some((number()?, number()?))
}

/// True when the file is no session yet: the magic is written last.
fn is_unborn(path: &Path) -> bool {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file());
    let mut magic = [0; 8];
    let mut read = || File::open(path).and_then(|mut file| file.read(&mut magic));
    is_file && read().is_ok() && magic == [0; 8]
}

fn is_old(file: &Metadata) -> bool {
    let age = file.modified().map(|time| time.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age > BIRTH_MAX))
}

fn user() -> u32 {
    // SAFETY: a plain call without arguments.
    unsafe { libc::geteuid() }
}
