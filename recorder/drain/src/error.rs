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
        "no room for the shared memory of a recording ({tried}); \
         free some space or set HEAPTAPE_SESSION_FOLDER to a folder that has at least 2 MiB free"
    )]
    NoRoom {
        /// The folders that were tried, each with its error.
        tried: String,
    },
    /// A tape could not be created.
    #[error("cannot create the tape {}: {source}", path.display())]
    CreateTape {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tape that was named exists.
    #[error(
        "the tape {} exists; choose another name or pass --force to replace it",
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
    /// The drainer did not take a mark in time.
    #[error("the recording did not take the mark; is its launcher stopped?")]
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
