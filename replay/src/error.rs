//! What can go wrong between a path on the command line and an answer.
//!
//! Each message names the file, what is wrong with it and what to do. Damage inside a tape is no
//! error: it is reported beside the answers ([`crate::tape::Tape::damage`]).

use crate::report::units::{counted, time};
use heaptape_format::DecodeError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why the replay cannot answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{}: cannot read this tape: {source}; {}", path.display(), read_advice(source))]
    Read {
        /// The tape.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a folder or another thing that is no file.
    #[error("{}: this is {what}, not a tape; name a .tape file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file has no bytes.
    #[error(
        "{}: the file is empty: nothing was written to it yet, or could be; heaptape recover lists \
         what a killed recording left", path.display()
    )]
    Empty {
        /// The tape.
        path: PathBuf,
    },
    /// The file has no bytes, and a recording is about to write some.
    #[error(
        "{}: nothing was written to this tape yet, its program has only just started; try again in \
         a second", path.display()
    )]
    NotBegun {
        /// The tape.
        path: PathBuf,
    },
    /// The file does not begin with a tape header that this version can read.
    #[error("{}: {source}; {}", path.display(), header_advice(source))]
    Header {
        /// The tape.
        path: PathBuf,
        /// What is wrong, with its offset.
        source: DecodeError,
    },
    /// The tape was folded behind the moment: what happened before is gone.
    #[error(
        "{}: folded up to {}: what the heap was at {} is gone; write {from_ns} (ns) or later",
        path.display(), time(*from_ns), time(*asked_ns)
    )]
    Folded {
        /// The tape.
        path: PathBuf,
        /// The moment that was asked for, in nanoseconds since the start.
        asked_ns: u64,
        /// The first moment that the tape tells of.
        from_ns: u64,
    },
    /// The tape uses a kind of chunk that a reader must understand and this one does not.
    #[error(
        "{}: chunk kind {kind} at offset {offset} must be understood and is not; \
         read this tape with a newer heaptape", path.display()
    )]
    UnknownChunk {
        /// The tape.
        path: PathBuf,
        /// The chunk's kind.
        kind: u16,
        /// Where it stands.
        offset: u64,
    },
    /// The text is not one of the forms of a moment.
    #[error(
        "'{text}' is not a moment: {reason}; write 12.5s, 900ms, 1500000000 (ns), 37%, start, \
         end, peak, peak:2, rss-peak, mark:NAME or mark:NAME:K"
    )]
    Moment {
        /// What was written.
        text: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The tape has no such mark.
    #[error("{}: there is no mark:{}; {}", path.display(), shortened(name), known_marks(known))]
    UnknownMark {
        /// The tape.
        path: PathBuf,
        /// The mark that was asked for.
        name: String,
        /// The names of the tape's marks, each with how often it was set.
        known: Vec<(String, u64)>,
    },
    /// A name that ends in a number is that of a mark, and of one among several of another name.
    #[error(
        "{}: mark:{1} is the first mark called {1}, at {named_ns}ns, and one of those called {2}, \
         at {numbered_ns}ns: write the time of the one you mean",
        path.display(), shortened(name), mark_name(numbered)
    )]
    AmbiguousMark {
        /// The tape.
        path: PathBuf,
        /// What was asked for, which is also the name of a mark.
        name: String,
        /// When that mark was set.
        named_ns: u64,
        /// The name without its number.
        numbered: String,
        /// When the mark of this name was set that has the number.
        numbered_ns: u64,
    },
    /// The tape has fewer peaks.
    #[error(
        "{}: there is no peak:{asked}; this tape has {}", path.display(),
        counted(*known as u64, "separate peak")
    )]
    UnknownPeak {
        /// The tape.
        path: PathBuf,
        /// The peak that was asked for, from 1.
        asked: usize,
        /// How many there are.
        known: usize,
    },
    /// The tape has no samples of resident memory.
    #[error(
        "{}: this tape has no samples of resident memory, so there is no rss-peak; \
         try peak", path.display()
    )]
    NoResident {
        /// The tape.
        path: PathBuf,
    },
    /// The index could not be written, neither beside the tape nor in the cache folder.
    #[error(
        "{}: cannot write the index: {source}; set XDG_CACHE_HOME to a folder that can be \
         written (answers need no index file, they only come later without one)", path.display()
    )]
    WriteIndex {
        /// Where it should have been.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An index that was just built does not read back: memory or code is at fault.
    #[error("{}: the index is damaged ({what}); remove it and try again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
    },
    /// The tape was damaged after its index was built.
    #[error(
        "{0}: the events at offset {offset} cannot be read any more: the tape was damaged after \
         its index was built; heaptape index {0} builds it again, of what is left", path.display()
    )]
    Changed {
        /// The tape.
        path: PathBuf,
        /// Where its damaged chunk begins.
        offset: u64,
    },
    /// The threads for the replay could not be started.
    #[error("cannot start {threads} threads: {reason}; try fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

fn read_advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "name a tape that heaptape run wrote (it says where at its end)",
        io::ErrorKind::PermissionDenied => "tapes belong to who recorded them: ask for a copy",
        _ => "copy it to another place, where it can be read",
    }
}

fn header_advice(source: &DecodeError) -> &'static str {
    use heaptape_format::DecodeErrorKind as Kind;
    match source.kind {
        Kind::NewerVersion { .. } | Kind::UnknownFeature(_) => "read it with a newer heaptape",
        Kind::NotATape => "name a file that heaptape run wrote",
        Kind::Truncated => "its recording was cut before the header was whole, nothing is in it",
        _ => "the header is damaged, so the rest cannot be read",
    }
}

/// Letters of a name that a message shows.
const NAME_LETTERS_MAX: usize = 40;

/// A name that does not flood a message: the middle of a long one is left out.
#[must_use]
pub fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= NAME_LETTERS_MAX {
        return name.to_owned();
    }
    let tail = NAME_LETTERS_MAX / 2 - 1;
    let start = letters.iter().take(NAME_LETTERS_MAX - 1 - tail);
    let end = letters.iter().skip(letters.len() - tail);
    start.chain(&['…']).chain(end).collect()
}

/// The name of a mark as texts show it: one without a name is seen, too.
#[must_use]
pub fn mark_name(name: &str) -> String {
    if name.is_empty() {
        "\"\"".to_owned()
    } else {
        shortened(name)
    }
}

fn known_marks(known: &[(String, u64)]) -> String {
    if known.is_empty() {
        return "this tape has no marks".to_owned();
    }
    let mut text = String::from("this tape has ");
    for (place, (name, count)) in known.iter().take(20).enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        text.push_str(&mark_name(name));
        if *count > 1 {
            text.push_str(&format!(" (1 to {count})"));
        }
    }
    if known.len() > 20 {
        text.push_str(&format!(" and {} more", known.len() - 20));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened() {
        let name = "ä".repeat(40);
        assert_eq!(shortened(&name), name);
        let shown = shortened(&"start, and much more than anybody wants to read, end".repeat(9));
        assert_eq!(shown, "start, and much more… wants to read, end");
        assert_eq!(mark_name(""), "\"\"");
    }
}
