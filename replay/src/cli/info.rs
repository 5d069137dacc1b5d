//! `heaptape info`: the facts of a recording.

use super::args::{Format, OpenArgs};
use super::output::Output;
use super::{Exit, Outcome, open};
use anyhow::bail;
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
    /// How to write the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Sizes to the byte, not in KiB and MiB.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    open: OpenArgs,
}

impl Info {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        if self.format == Format::Csv {
            bail!("info has no rows, so there is no --format csv; use json");
        }
        // Without an index only the tables are read, and what needs the events stays null.
        let recording = if self.open.no_index {
            heaptape::Recording::open(&self.tape, &heaptape::OpenOptions::default())?
        } else {
            open::open(&self.tape, &self.open)?
        };
        let summary = if self.open.no_index {
            None
        } else {
            Some(recording.summary()?)
        };
        let tape = recording.tape();
        let facts = info::collect(tape, summary);
        if self.format == Format::Json {
            info::write_json(&facts, output)?;
            return Ok(Exit::DONE);
        }
        let peaks = match summary {
            Some(_) => recording.peaks(PEAKS_SHOWN)?,
            None => Vec::new(),
        };
        let style = output.style;
        let sizes = Sizes { exact: self.exact };
        info::write_text(tape, &facts, summary, &peaks, (&style, sizes), output)?;
        Ok(Exit::DONE)
    }
}
