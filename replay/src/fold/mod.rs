//! Makes a tape forget the events up to a moment, and keep what they left: the blocks that were
//! alive then, with the streams, stacks and times that they had (SPEC.md §10.7).
//!
//! | file | in | out |
//! |---|---|---|
//! | `moment` | the moment that is asked for | one close before it at which nothing is half done |
//! | `state` | the events up to it | what they leave, and what they add up to |
//! | `touched` | maps and unmaps | where something was mapped or unmapped for the first time |
//! | `fit` | a finished tape and a size | as much of its end as fits |
//! | `part` | the first part of a tape that is still written | a file that takes its place |
//! | `chunks` | the chunks of the tape | those of the new one |
//!
//! In: the path of a tape that nobody writes to any more, and a stamp. Out: another tape, which
//! answers every question about later moments as the old one does.

mod chunks;
mod fit;
mod moment;
mod part;
mod state;
mod touched;

pub use fit::fit;
pub use part::Part;

use crate::recording::{OpenOptions, Recording};
use crate::rewrite::{NewTape, RewriteError, Source, Target};
use heaptape_format::header::FOLDED;
use heaptape_format::{FORMAT_VERSION, FORMAT_VERSION_MINOR};
use rustc_hash::FxHashSet;
use std::path::Path;

/// What [`fold`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// The first moment that the new tape tells of, as a stamp.
    pub stamp: u64,
    /// Events that are gone, those of earlier folds included.
    pub events: u64,
    /// Blocks, mappings and reuses that are left of them.
    pub left: u64,
    /// Bytes of the tape before.
    pub bytes_before: u64,
    /// Bytes of the new one.
    pub bytes_after: u64,
}

/// Writes to `target` what the tape at `path` tells of the moments from `stamp` on, or from the
/// last one before it at which no reallocation is half done. What is new is compressed with zstd at
/// `level`.
///
/// # Errors
/// When the tape cannot be read, is damaged or still written, tells of nothing before that moment,
/// or when `target` is taken or cannot be written.
pub fn fold(
    path: &Path,
    stamp: u64,
    target: Target<'_>,
    level: i32,
) -> Result<Folded, RewriteError> {
    let Source { tape, bytes, mode } = Source::open(path)?;
    drop(tape);
    // With its parent: frees of what it inherited are told from those of its own blocks.
    let recording = Recording::open(path, &OpenOptions::default())?;
    let tape = recording.tape();
    let damaged = |error: chunks::Unreadable| RewriteError::Damaged {
        path: path.to_owned(),
        offset: error.offset,
        what: error.what,
    };
    let quiet = moment::quiet(tape, stamp).map_err(damaged)?;
    let stamp = quiet.ok_or_else(|| RewriteError::NothingToFold {
        path: path.to_owned(),
        from_ns: tape.header.stamp_to_ns(tape.told_from()),
    })?;
    let state = state::at(tape, &recording.inheritance(), stamp).map_err(damaged)?;
    let plan = chunks::plan(tape, &state, level, &FxHashSet::default()).map_err(damaged)?;
    let mut header = tape.header.clone();
    header.version = (FORMAT_VERSION, FORMAT_VERSION_MINOR);
    header.must_understand |= FOLDED;
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    let mut new = NewTape::create(&target.file(path)?, mode)?;
    new.write(&encoded)?;
    for chunk in plan.chunks {
        new.write(&chunk.encoded(tape).map_err(damaged)?)?;
    }
    Ok(Folded {
        stamp,
        events: plan.gone,
        left: state.alive,
        bytes_before: bytes.len() as u64,
        bytes_after: new.finish()?,
    })
}
