//! `heaptape fold`: make a tape forget its beginning.

use super::args::number;
use super::open;
use super::output::Output;
use super::{Exit, Outcome};
use crate::launch::last_words;
use clap::Args;
use heaptape::fold::fold;
use heaptape::report::units::{counted, size, time};
use heaptape::rewrite::Target;
use heaptape::{OpenOptions, Recording};
use std::path::PathBuf;

/// Forget what happened up to a moment, and keep who was alive
///
/// The tape becomes smaller by the events up to T. Of every later moment it tells the same as
/// before: blocks that are alive at T keep their stacks, threads and times. What died before is
/// gone.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  heaptape fold app.tape --until mark:loaded\n  \
                        heaptape fold app.tape --until 90% -o late.tape"
)]
pub(super) struct Fold {
    /// The tape.
    tape: PathBuf,
    /// The first moment that is kept. Where a reallocation is half done then, one just before it.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    until: String,
    /// Write the new tape there and leave this one as it is.
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// Replace a tape that is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// How hard what is new is compressed: zstd's level.
    #[arg(long, default_value_t = 3, allow_negative_numbers = true)]
    #[arg(value_parser = number(1i32..=22, "write a level from 1 to 22"))]
    level: i32,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
}

impl Fold {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let target = match &self.output {
            None => Target::InPlace,
            Some(path) if self.force => Target::Replacing(path),
            Some(path) => Target::New(path),
        };
        let held = format!("{} holds the same as before", self.tape.display());
        last_words::are(held, Exit::BAD_INPUT.0);
        last_words::for_interruptions();
        let recording = Recording::open(&self.tape, &OpenOptions::default())?;
        let (until, _) = open::moment(&recording, Some(&self.until), "start")?;
        let header = recording.tape().header.clone();
        drop(recording);
        let done = fold(&self.tape, until.stamp, target, self.level)?;
        if self.quiet {
            return Ok(Exit::DONE);
        }
        output.say(&format!(
            "{}: folded up to {}: {} gone, {} left of them; {} of the {} before",
            self.output.as_ref().unwrap_or(&self.tape).display(),
            time(header.stamp_to_ns(done.stamp)),
            counted(done.events, "event"),
            counted(done.left, "block"),
            size(done.bytes_after),
            size(done.bytes_before),
        ))?;
        Ok(Exit::DONE)
    }
}
