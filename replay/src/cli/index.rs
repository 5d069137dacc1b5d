//! `heaptape index`: build the index now.

use super::args::{THREADS_WORDS, number};
use super::output::Output;
use super::{Exit, Outcome, open};
use clap::Args;
use heaptape::report::units::{counted, size};
use heaptape::{OpenOptions, Recording};
use std::path::PathBuf;

/// Build the index of a tape now
///
/// The first question about a tape builds it too. It can be deleted at any time.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape index app.tape")]
pub(super) struct Index {
    /// The tape.
    tape: PathBuf,
    /// Threads to work with [default: one for each core].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number(1u16..=1024, THREADS_WORDS))]
    threads: Option<u16>,
}

impl Index {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let options = OpenOptions {
            threads: self.threads.map(usize::from),
            progress: Some(open::index_bar()),
            ..OpenOptions::default()
        };
        let recording = Recording::open(&self.tape, &options)?;
        let index = recording.build_index()?;
        let place = index.path.unwrap_or_else(|| recording.index_path());
        output.say(&format!(
            "{}: {}, {}, {} alive across their borders",
            place.display(),
            size(index.bytes),
            counted(index.slices, "slice"),
            counted(index.survivors, "block")
        ))?;
        Ok(Exit::DONE)
    }
}
