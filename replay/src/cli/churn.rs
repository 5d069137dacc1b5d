//! `heaptape churn`: all allocations of a window.

use super::args::number;
use super::output::Output;
use super::rows::{Grouping, RowsArgs};
use super::window::{Early, WindowArgs};
use super::{Exit, Outcome, open};
use clap::Args;
use heaptape::report::rows::Shown;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// All allocations of a window, with the temporary ones and lifetimes
///
/// An allocation is temporary when the thread that made it frees (or reallocates) it with at most
/// K allocations of that thread in between. A block that is never freed lives to the end of the
/// recording, a mapping until its last byte is unmapped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape churn app.tape --sort temporary\n  \
    heaptape churn app.tape --from 2s --to 3s --group-by function --temporary-within 1")]
pub(super) struct Churn {
    /// The tape.
    tape: PathBuf,
    #[command(flatten)]
    window: WindowArgs,
    /// Most allocations between a temporary one and its free.
    #[arg(
        long,
        value_name = "K",
        default_value_t = 0,
        allow_hyphen_values = true,
        value_parser = number(0..=u64::MAX, "write how many allocations at most")
    )]
    temporary_within: u64,
    #[command(flatten)]
    rows: RowsArgs,
}

#[derive(Debug, Serialize)]
struct Head {
    tape: String,
    from_ns: u64,
    to_ns: u64,
    #[serde(flatten)]
    grouping: Grouping,
    temporary_within: u64,
    total: Map<String, Value>,
}

impl Churn {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.rows.open)?;
        let window = self.window.resolve(&recording, Early::IsGone)?;
        let (from_words, to_words) = window.words();
        let query = self.rows.choose.query();
        let answer = query.churn(window.first_stamp(), window.end(), self.temporary_within)?;
        let title = format!(
            "{}: allocations from {from_words} to {to_words}: {}",
            self.tape.display(),
            self.rows.total_words(&answer)
        );
        let values = answer.total.values(&answer.total);
        let names = heaptape::stats::Churn::MEMBERS.iter();
        let head = Head {
            tape: self.tape.display().to_string(),
            from_ns: window.from.ns,
            to_ns: window.to.ns,
            grouping: Grouping::of(&answer),
            temporary_within: self.temporary_within,
            total: names.map(|&name| name.to_owned()).zip(values).collect(),
        };
        self.rows.write(&title, &head, &answer, output)?;
        Ok(Exit::DONE)
    }
}
