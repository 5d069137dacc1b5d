//! `heaptape leaks`: allocated in a window, alive at its end.

use super::args::{ChooseArgs, FormatArgs, OpenArgs};
use super::output::{self, Output};
use super::window::WindowArgs;
use super::{Outcome, open, stats};
use clap::Args;
use heaptape::report::rows::Shown;
use std::path::PathBuf;

/// What was allocated in a window and is alive at its end
///
/// A reallocated block counts from its last reallocation.
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
    format: FormatArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl Leaks {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.open)?;
        let window = self.window.resolve(&recording)?;
        let (from_words, to_words) = window.words();
        let answer = self
            .choose
            .query()
            .leaks(window.first_stamp(), window.end())?;
        output::notes(&answer.notes);
        let title = format!(
            "{}: allocated from {from_words} and alive at {to_words}: {}",
            self.tape.display(),
            answer.total.words(self.format.sizes())
        );
        stats::write(
            &self.tape,
            (Some(window.from.ns), window.to.ns),
            &title,
            &answer,
            (&self.choose, &self.format),
            output,
        )
    }
}
