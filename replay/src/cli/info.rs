//! `heaptape info`: the facts of a recording.

use super::args::{FactsFormat, FactsFormatArgs, OpenArgs};
use super::open::{self, Check};
use super::output::Output;
use super::{Exit, Outcome};
use clap::Args;
use heaptape::report::info;
use heaptape::report::units::Sizes;
use std::path::PathBuf;

/// Peaks that the text names.
const PEAKS_SHOWN: usize = 3;

/// The facts of a recording
///
/// The command, how it ended, how much it allocated, when the heap was highest, what was lost.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape info app.tape --format json")]
pub(super) struct Info {
    /// The tape.
    tape: PathBuf,
    #[command(flatten)]
    format: FactsFormatArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl Info {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        // What it says of damage must hold now.
        let recording = open::open_for_facts(&self.tape, &self.open, Check::Events)?;
        let summary = recording.summary()?;
        let tape = recording.tape();
        let facts = info::collect(tape, summary, !self.open.no_index);
        if self.format.format == FactsFormat::Json {
            info::write_json(&facts, output)?;
            return Ok(Exit::DONE);
        }
        let peaks = recording.peaks(PEAKS_SHOWN)?;
        let style = output.style;
        let sizes = Sizes {
            exact: self.format.exact,
        };
        info::write_text(tape, &facts, summary, &peaks, (&style, sizes), output)?;
        Ok(Exit::DONE)
    }
}
