//! What became of a recording, for the launcher's last lines.

use crate::process::Ending;
use crate::tape::EventCounts;
use std::path::PathBuf;

/// One finished tape.
#[derive(Debug, Clone)]
pub struct TapeOutcome {
    /// Where it is; None: it could not be created.
    pub path: Option<PathBuf>,
    /// Process id.
    pub pid: u32,
    /// The image belongs to the process that was started.
    pub is_root: bool,
    /// How the image ended.
    pub ending: Ending,
    /// What is in it.
    pub counts: EventCounts,
    /// What went wrong, for a person.
    pub problem: Option<String>,
    /// The started command never joined the session: why. The tape says this and nothing else.
    pub not_recorded: Option<String>,
}

/// Why a command that could be recorded was not: what we know is that it never joined.
pub const NOT_STARTED: &str = "the recorder did not start in it";

/// What went wrong with a tape that is no longer where it was made.
pub const LOST: &str = "this tape was moved, removed or replaced while it was written";

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The tapes, in the order in which they were closed.
    pub tapes: Vec<TapeOutcome>,
    /// Command and reason of each image that ran without being recorded.
    pub not_recorded: Vec<(String, String)>,
    /// Bytes that no tape should exceed; a drainer that goes on after another one's death leaves
    /// it to others to fold them.
    pub size_limit: Option<u64>,
    /// Images that found no place in the session.
    pub refused_images: u32,
}

impl Outcome {
    /// The tape that has the name that was asked for.
    #[must_use]
    pub fn root_tape(&self) -> Option<&TapeOutcome> {
        self.tapes.iter().rev().find(|tape| tape.is_root)
    }
}

/// What is remembered of every image that was met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// Its process.
    pub(crate) pid: u32,
    /// Its tape's path; None: it has none (yet).
    pub(crate) tape: Option<PathBuf>,
    /// Its tape is closed.
    pub(crate) is_closed: bool,
    /// How it came to be, as `ProcessSlot::origin` says.
    pub(crate) origin: u8,
    /// Stamp of the fork that made it, or of its start.
    pub(crate) cut_stamp: u64,
    /// The parent image.
    pub(crate) parent: Option<(u32, u32)>,
    /// Its record, when it is over: for amending after its tape was closed, and for the tape that
    /// an image without events gets when a child of its has one.
    pub(crate) facts: Option<heaptape_format::tables::Process>,
    /// When and how it ended, if it had no tape then.
    pub(crate) silent_end: Option<(u64, Ending)>,
}
