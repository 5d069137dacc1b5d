//! `heaptape leaks`: allocated in a window, alive at its end.

use super::output::Output;
use super::rows::RowsArgs;
use super::stats::Head;
use super::window::{Early, WindowArgs};
use super::{Exit, Outcome, open};
use clap::Args;
use std::path::PathBuf;

/// What was allocated in a window and is alive at its end
///
/// A reallocated block counts from its last reallocation; what is left of a mapping of which a part
/// was unmapped counts from when that was mapped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape leaks app.tape\n  \
    heaptape leaks app.tape --from mark:request:10 --to mark:request:20 --group-by traceback")]
pub(super) struct Leaks {
    /// The tape.
    tape: PathBuf,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    rows: RowsArgs,
}

impl Leaks {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.rows.open)?;
        let window = self.window.resolve(&recording, Early::IsKnown)?;
        let (from_words, to_words) = window.words();
        let query = self.rows.choose.query();
        let answer = query.leaks(window.first_stamp(), window.end())?;
        let title = format!(
            "{}: allocated from {from_words} and alive at {to_words}: {}",
            self.tape.display(),
            self.rows.total_words(&answer)
        );
        let moments = (Some(window.from.ns), window.to.ns);
        let head = Head::new(&self.tape, moments, &answer);
        self.rows.write(&title, &head, &answer, output)?;
        Ok(Exit::DONE)
    }
}
