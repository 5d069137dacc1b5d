//! `heaptape fold-part`: what `heaptape run --limit` has done to a tape that it writes.

use super::output::Output;
use super::{Exit, Outcome};
use clap::Args;
use heaptape::fold::Part;
use rustc_hash::FxHashSet;
use std::path::PathBuf;

/// zstd's level: the drainer waits for us, and what is left is written anew by each fold.
const ZSTD_LEVEL: i32 = 1;

/// Fold the first part of a tape that is still written
///
/// `heaptape run --limit` starts this itself. It ends with it.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Example:\n  heaptape fold-part --bytes 1000000 --stamp 5000 --live 0,1 \
                  app.tape app.part"
)]
pub(super) struct FoldPart {
    /// Bytes of the part: whole chunks.
    #[arg(long, value_name = "N")]
    bytes: u64,
    /// The moment, as a stamp: all events up to it are in the part.
    #[arg(long, value_name = "STAMP")]
    stamp: u64,
    /// Numbers of the streams that may get more events, with commas between them.
    #[arg(long, value_name = "NUMBERS")]
    live: String,
    /// The tape.
    tape: PathBuf,
    /// The file to write.
    target: PathBuf,
}

impl FoldPart {
    pub(super) fn run(self, _output: &mut Output) -> Outcome {
        // SAFETY: a plain call. Without the drainer nobody needs us.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let live: FxHashSet<u32> = self.live.split(',').flat_map(str::parse).collect();
        let part = Part {
            tape: &self.tape,
            bytes: self.bytes,
            stamp: self.stamp,
            live: &live,
            target: &self.target,
        };
        part.fold(ZSTD_LEVEL)?;
        Ok(Exit::DONE)
    }
}
