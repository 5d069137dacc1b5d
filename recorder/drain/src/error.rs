//! What can go wrong before and while a session is drained, in words for a person.
//!
//! In: errors of the system. Out: one line that names the file and what to do. Nothing here is
//! fatal to the recorded program.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a session could not be made, opened or drained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DrainError {
    /// No folder had room for the session.
    #[error(
        "no room for the shared memory of a recording, at least {} ({tried}); \
         free some space or set HEAPTAPE_SESSION_FOLDER to a folder that has 32 MiB free",
        binary(*needed)
    )]
    NoRoom {
        /// The smallest session, in bytes.
        needed: u64,
        /// The folders that were tried, each with its error and how much is free there.
        tried: String,
    },
    /// The file size limit of this process forbids even the smallest session.
    #[error(
        "the file size limit of {} (ulimit -f) leaves no room for the shared memory of a \
         recording, at least {}; raise it, best with ulimit -f unlimited",
        binary(*limit),
        binary(*needed)
    )]
    FileSizeLimit {
        /// The limit, in bytes.
        limit: u64,
        /// The smallest session, in bytes.
        needed: u64,
    },
    /// A tape could not be created.
    #[error(
        "cannot create the tape {}: {source}; name one in a folder that can be written, with -o",
        path.display()
    )]
    CreateTape {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room for a tape.
    #[error(
        "no space left for the tape {}; free some space or name one elsewhere, with -o",
        path.display()
    )]
    NoRoomForTape {
        /// Its path.
        path: PathBuf,
    },
    /// The tape that was named exists.
    #[error(
        "the tape {} exists; choose another name with -o",
        path.display()
    )]
    TapeExists {
        /// Its path.
        path: PathBuf,
    },
    /// A session cannot be opened.
    #[error("cannot open the session {}: {reason}", path.display())]
    OpenSession {
        /// Its path.
        path: PathBuf,
        /// Why, for a person.
        reason: String,
    },
    /// A session is of another version of heaptape.
    #[error(
        "the session {} is of another version of heaptape: read it with that version, or remove it",
        path.display()
    )]
    OtherVersion {
        /// Its path.
        path: PathBuf,
    },
    /// The session's drainer lives.
    #[error(
        "the session {} is being recorded by process {drainer}; it needs no recovery",
        path.display()
    )]
    SessionInUse {
        /// Its path.
        path: PathBuf,
        /// The process that drains it.
        drainer: u32,
    },
    /// No recorded process has this id.
    #[error("process {pid} is not being recorded by a heaptape of this user")]
    NotRecorded {
        /// The id.
        pid: u32,
    },
    /// Who drained a process's session is gone.
    #[error(
        "the heaptape that recorded process {pid} is gone; heaptape recover {} writes what is left",
        session.display()
    )]
    DrainerGone {
        /// The process.
        pid: u32,
        /// The session's file.
        session: PathBuf,
    },
    /// A recorded process has no tape yet.
    #[error(
        "process {pid} has no tape yet: it has not allocated since it began, or only just now; \
         try again in a second"
    )]
    NoTapeYet {
        /// The process.
        pid: u32,
    },
    /// The tape of a recorded process is not to be found.
    #[error(
        "the tape of process {pid} is not there any more: it was removed, or is written where \
         this process cannot look"
    )]
    TapeGone {
        /// The process.
        pid: u32,
    },
    /// A mark cannot be written.
    #[error(
        "the mark is not on the tape of process {pid}, which takes no more: its disk is full, or a \
         limit was met (heaptape info tells which)"
    )]
    MarkNotWritten {
        /// The process.
        pid: u32,
    },
    /// A mark is called like those of pauses.
    #[error(
        "marks called {name} are set by heaptape pause and heaptape resume; choose another name"
    )]
    ReservedMark {
        /// The name.
        name: String,
    },
    /// The drainer did not take a mark in time.
    #[error(
        "the recording does not answer, nothing was changed: its launcher is busy or stopped, as \
         it is when the program that it runs is stopped; continue it and try again"
    )]
    MarkNotTaken,
    /// Reading a half-written tape, or anything else of the system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A number of bytes for a person: in whole KiB or MiB, when it is one (limits are), else rounded
/// down to KiB.
pub(crate) fn binary(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_in_the_units_of_limits() {
        let told = [0, 1000, 1024, 512_000, 1 << 20, (1 << 20) + 1, 20 << 20].map(binary);
        let expected = [
            "0 bytes",
            "1000 bytes",
            "1 KiB",
            "500 KiB",
            "1 MiB",
            "1024 KiB",
            "20 MiB",
        ];
        assert_eq!(told, expected);
    }
}
