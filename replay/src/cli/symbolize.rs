//! `heaptape symbolize`: add symbols to a tape.

use super::output::{self, Output};
use super::{Exit, Outcome};
use clap::Args;
use heaptape::report::units::{count, counted};
use heaptape::symbols::symbolize_tape;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

/// Add symbols to a tape, so that it can be read without the recorded program
///
/// heaptape run does this at its end unless told otherwise. Doing it again adds nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape symbolize app.tape")]
pub(super) struct Symbolize {
    /// The tape.
    tape: PathBuf,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
}

impl Symbolize {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        // Drawn on a terminal only.
        let bar = if self.quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::no_length()
        };
        let template = "{spinner} symbols {bar:30} {pos}/{len}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let result = symbolize_tape(&self.tape, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let result = result?;
        if self.quiet {
            return Ok(Exit::DONE);
        }
        output::notes(&result.notes);
        output.say(&format!(
            "{}: {} in its stacks, {} added, {} of them with a name",
            self.tape.display(),
            counted(result.places, "place"),
            counted(result.added, "symbol"),
            count(result.named)
        ))?;
        Ok(Exit::DONE)
    }
}
