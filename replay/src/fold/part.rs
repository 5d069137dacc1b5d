//! The first part of a tape that is still written: what a drainer has folded to keep it under a
//! size.
//!
//! In: how much of the tape, and a moment whose events are all in it. Out: a file that takes the
//! place of that part, but for its header, which is zeros: only the drainer makes a tape of it.
//! The parent's tape is not asked: it may be written itself. What happened to blocks that this one
//! does not know stays in it until somebody does.

use super::chunks::{self, Unreadable};
use super::{moment, state};
use crate::index::build::{Inheritance, Others};
use crate::rewrite::RewriteError;
use crate::tape::Tape;
use rustc_hash::FxHashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Pieces in which the file is written, in bytes.
const PIECE: usize = 1 << 20;

/// What a drainer asks for.
#[derive(Debug)]
pub struct Part<'p> {
    /// The tape.
    pub tape: &'p Path,
    /// Its first bytes: whole chunks.
    pub bytes: u64,
    /// The moment, as a stamp; it may be an earlier one in the end.
    pub stamp: u64,
    /// Streams that may get more events.
    pub live: &'p FxHashSet<u32>,
    /// The file, which must not be there.
    pub target: &'p Path,
}

impl Part<'_> {
    /// Writes it; chunks that are new are compressed with zstd at `level`. The last chunk has the
    /// number of the last one of the part.
    ///
    /// # Errors
    /// When the part is damaged or tells of nothing before the moment, when nothing would be won,
    /// and when the file cannot be written. A part of the file may be there then.
    pub fn fold(&self, level: i32) -> Result<(), RewriteError> {
        let tape = Tape::open_part(self.tape, self.bytes)?;
        let path = self.tape;
        let damaged = |Unreadable { offset, what }| RewriteError::Damaged {
            path: path.to_owned(),
            offset,
            what,
        };
        if let Some(damage) = tape.damage.first() {
            let what = damage.error.to_string();
            return Err(damaged(Unreadable::at(damage.offset, &what)));
        }
        let nothing = || RewriteError::NothingToFold {
            path: path.to_owned(),
            from_ns: tape.header.stamp_to_ns(tape.told_from()),
        };
        let quiet = moment::quiet(&tape, self.stamp).map_err(damaged)?;
        let stamp = quiet.ok_or_else(nothing)?;
        let others = match tape.is_forked() {
            true => Others::Unknown,
            false => Others::None,
        };
        let inheritance = Inheritance {
            others,
            ..Inheritance::default()
        };
        let state = state::at(&tape, &inheritance, stamp).map_err(damaged)?;
        let plan = chunks::plan(&tape, &state, level, self.live).map_err(damaged)?;
        if !plan.ends_as_before {
            return Err(nothing());
        }
        self.write(&tape, plan.chunks, damaged)
    }

    fn write(
        &self,
        tape: &Tape,
        chunks: Vec<chunks::NewChunk>,
        damaged: impl Fn(Unreadable) -> RewriteError,
    ) -> Result<(), RewriteError> {
        let failed = |source| RewriteError::Write {
            path: self.target.to_owned(),
            source,
        };
        let mut header = Vec::new();
        tape.header.encode(&mut header);
        let mut file = BufWriter::with_capacity(PIECE, self.create().map_err(failed)?);
        file.write_all(&vec![0; header.len()]).map_err(failed)?;
        for chunk in chunks {
            let bytes = chunk.encoded(tape).map_err(&damaged)?;
            file.write_all(&bytes).map_err(failed)?;
        }
        file.flush().map_err(failed)
    }

    /// The file, with the permissions of the tape.
    fn create(&self) -> std::io::Result<File> {
        let mode = std::fs::metadata(self.tape)?.permissions().mode() & 0o777;
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(mode);
        options.open(self.target)
    }
}
