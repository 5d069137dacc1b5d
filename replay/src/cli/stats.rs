//! `heaptape stats`: the live heap at a moment.

use super::args::{ChooseArgs, Format, FormatArgs, OpenArgs};
use super::output::{self, Output};
use super::{Exit, Outcome, open};
use clap::Args;
use heaptape::report::rows::Shown;
use heaptape::report::{csv, rows_json, rows_text};
use heaptape::stats::query::{Answer, At};
use heaptape::stats::{Amount, Cumulative};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The live heap at a moment, grouped
///
/// Shows what the heap held, by the line, function, file, module, thread, … that allocated it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape stats app.tape\n  \
    heaptape stats app.tape --at mark:loaded --group-by function\n  \
    heaptape stats app.tape --at 12.5s --group-by traceback --include '*/parser.c' --top 5")]
pub(super) struct Stats {
    /// The tape.
    tape: PathBuf,
    /// The moment [default: peak].
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    at: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    open: OpenArgs,
}

/// What stands before the rows.
#[derive(Debug, Serialize)]
struct Head<'h> {
    tape: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ns: Option<u64>,
    at_ns: u64,
    group_by: &'h str,
    cumulative: bool,
    total: Total,
}

#[derive(Debug, Serialize)]
struct Total {
    bytes: u64,
    count: u64,
}

impl Stats {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.open)?;
        let (moment, text) = open::moment(&recording, self.at.as_deref(), "peak")?;
        let at = At {
            recording: &recording,
            stamp: moment.stamp,
        };
        let answer = self.choose.query().live(at)?;
        output::notes(&answer.notes);
        let title = format!(
            "{}: live heap at {}: {}",
            self.tape.display(),
            open::moment_words(moment, &text),
            answer.total.words(self.format.sizes())
        );
        let window = (None, moment.ns);
        write(
            &self.tape,
            window,
            &title,
            &answer,
            (&self.choose, &self.format),
            output,
        )
    }
}

/// Writes the answer of `stats` or (with a start) `leaks`.
pub(super) fn write(
    tape: &Path,
    (from_ns, at_ns): (Option<u64>, u64),
    title: &str,
    answer: &Answer<Amount>,
    (choose, format): (&ChooseArgs, &FormatArgs),
    output: &mut Output,
) -> Outcome {
    let top = choose.top(format.format);
    match format.format {
        Format::Text => {
            let options = choose.text_options(output.style, format);
            rows_text::write(title, answer, &options, output)?;
        }
        Format::Json => {
            let head = Head {
                tape: tape.display().to_string(),
                from_ns,
                at_ns,
                group_by: answer.grouper.group_by().name(),
                cumulative: answer.grouper.cumulative() != Cumulative::Off,
                total: Total {
                    bytes: answer.total.bytes,
                    count: answer.total.count,
                },
            };
            rows_json::write(&head, answer, top, output)?;
        }
        Format::Csv => csv::write(answer, top, output)?,
    }
    Ok(Exit::DONE)
}
