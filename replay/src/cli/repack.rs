//! `heaptape repack`: make a tape smaller.

use super::args::number;
use super::output::Output;
use super::{Exit, Outcome};
use crate::launch::last_words;
use clap::Args;
use heaptape::repack::repack;
use heaptape::report::units::{counted, size};
use heaptape::rewrite::Target;
use std::path::PathBuf;

/// Compress a tape harder; it holds the same afterwards
///
/// A tape is compressed as fast as its program allocates. Repacking takes more time and less
/// space, for tapes that are kept. Everything that can be asked of the tape has the same answer
/// afterwards.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  heaptape repack app.tape\n  \
                        heaptape repack app.tape -o archive/app.tape --level 19")]
pub(super) struct Repack {
    /// The tape.
    tape: PathBuf,
    /// Write the new tape there and leave this one as it is.
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// Replace a tape that is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// How hard: zstd's level.
    #[arg(long, default_value_t = 9, allow_negative_numbers = true)]
    #[arg(value_parser = number(1i32..=22, "write a level from 1 to 22"))]
    level: i32,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
}

impl Repack {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let target = match &self.output {
            None => Target::InPlace,
            Some(path) if self.force => Target::Replacing(path),
            Some(path) => Target::New(path),
        };
        let held = format!("{} holds the same as before", self.tape.display());
        last_words::are(held, Exit::BAD_INPUT.0);
        last_words::for_interruptions();
        let done = repack(&self.tape, target, self.level)?;
        if self.quiet {
            return Ok(Exit::DONE);
        }
        let share = done.bytes_after as f64 / done.bytes_before.max(1) as f64;
        output.say(&format!(
            "{}: {} in {}, {:.1} % of the {} before",
            self.output.as_ref().unwrap_or(&self.tape).display(),
            size(done.bytes_after),
            counted(done.chunks, "chunk"),
            100.0 * share,
            size(done.bytes_before),
        ))?;
        Ok(Exit::DONE)
    }
}
