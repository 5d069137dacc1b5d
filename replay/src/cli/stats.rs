//! `heaptape stats`: the live heap at a moment.

use super::output::Output;
use super::rows::{Grouping, RowsArgs};
use super::{Exit, Outcome, open};
use clap::Args;
use heaptape::stats::query::{Answer, At};
use heaptape::stats::{Amount, Change};
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
    rows: RowsArgs,
}

/// What stands before the rows of `stats` and, with the window's start, `leaks`.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    tape: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ns: Option<u64>,
    at_ns: u64,
    #[serde(flatten)]
    grouping: Grouping,
    total: Total,
}

#[derive(Debug, Serialize)]
struct Total {
    bytes: u64,
    count: u64,
}

impl Head {
    pub(super) fn new(
        tape: &Path,
        (from_ns, at_ns): (Option<u64>, u64),
        answer: &Answer<Amount>,
    ) -> Self {
        Self {
            tape: tape.display().to_string(),
            from_ns,
            at_ns,
            grouping: Grouping::of(answer),
            total: Total {
                bytes: answer.total.bytes,
                count: answer.total.count,
            },
        }
    }
}

impl Head {
    /// Of what lives at the second of two moments.
    pub(super) fn of_change(tape: &str, at_ns: u64, answer: &Answer<Change>) -> Self {
        Self {
            tape: tape.to_owned(),
            from_ns: None,
            at_ns,
            grouping: Grouping::of(answer),
            total: Total {
                bytes: answer.total.to.bytes,
                count: answer.total.to.count,
            },
        }
    }
}

impl Stats {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.rows.open)?;
        let (moment, text) = open::moment(&recording, self.at.as_deref(), "peak")?;
        let at = At {
            recording: &recording,
            stamp: moment.stamp,
        };
        let answer = self.rows.choose.query().live(at)?;
        let title = format!(
            "{}: live heap at {}: {}",
            self.tape.display(),
            open::moment_words(moment, &text),
            self.rows.total_words(&answer)
        );
        let head = Head::new(&self.tape, (None, moment.ns), &answer);
        self.rows.write(&title, &head, &answer, output)?;
        Ok(Exit::DONE)
    }
}
