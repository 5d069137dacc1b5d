//! Folding a finished tape until it is no longer than wanted.
//!
//! In: a path and a size. Out: the same tape with as much of its end as fits.

use super::fold;
use crate::rewrite::{RewriteError, Target};
use crate::tape::Tape;
use std::path::Path;

/// What is new in it is compressed with zstd at this level.
const ZSTD_LEVEL: i32 = 3;
/// What is left of the events that go is not known before: it is tried so often.
const TRIES: u32 = 6;

/// Folds the tape at `path`, which nobody writes to, until it has at most `bytes` bytes; false when
/// it cannot be as short as that. It is as short as it could be made then.
///
/// # Errors
/// As [`fold`].
pub fn fit(path: &Path, bytes: u64) -> Result<bool, RewriteError> {
    for _ in 0..TRIES {
        let tape = Tape::open(path)?;
        let Some(excess) = tape.tape_bytes.checked_sub(bytes).filter(|more| *more > 0) else {
            return Ok(true);
        };
        let stamp = behind(&tape, excess + excess / 4);
        drop(tape);
        match fold(path, stamp, Target::InPlace, ZSTD_LEVEL) {
            Ok(done) if done.bytes_after <= bytes => return Ok(true),
            Ok(done) if done.bytes_after < done.bytes_before => {}
            Ok(_) | Err(RewriteError::NothingToFold { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The moment up to which the chunks of events have `bytes` bytes together, or all of them.
fn behind(tape: &Tape, bytes: u64) -> u64 {
    let chunks = tape.event_streams.iter().flat_map(|stream| &stream.chunks);
    let mut chunks: Vec<(u64, u64)> = chunks
        .map(|chunk| (chunk.stamp_last, chunk.found.header.total_bytes()))
        .collect();
    chunks.sort_unstable();
    let mut sum = 0;
    let reaches = chunks.into_iter().find(|(_, of)| {
        sum += of;
        sum >= bytes
    });
    reaches.map_or(tape.end_stamp, |(stamp, _)| stamp)
}
