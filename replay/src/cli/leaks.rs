//! `heaptape leaks`: allocated in a window, alive at its end.

use super::args::{ChooseArgs, FormatArgs, OpenArgs};
use super::output::{self, Output};
use super::{Outcome, open, stats};
use anyhow::bail;
use clap::Args;
use heaptape::report::rows::Shown;
use heaptape::stats::query::At;
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
    /// Start of the window [default: start].
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End of the window [default: end].
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
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
        let (from, from_text) = open::moment(&recording, self.from.as_deref(), "start")?;
        let (to, to_text) = open::moment(&recording, self.to.as_deref(), "end")?;
        if from.stamp > to.stamp {
            bail!("--from {from_text} lies behind --to {to_text}; swap them");
        }
        let at = At {
            recording: &recording,
            stamp: to.stamp,
        };
        let answer = self.choose.query().leaks(from.stamp, at)?;
        output::notes(&answer.notes);
        let title = format!(
            "{}: allocated from {} and alive at {}: {}",
            self.tape.display(),
            open::moment_words(from, &from_text),
            open::moment_words(to, &to_text),
            answer.total.words(self.format.sizes())
        );
        let window = (Some(from.ns), to.ns);
        stats::write(
            &self.tape,
            window,
            &title,
            &answer,
            (&self.choose, &self.format),
            output,
        )
    }
}
