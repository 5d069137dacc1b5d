//! What `stats`, `leaks`, `churn` and `diff` have in common: options in, rows out in the form that
//! was asked for. No question is asked of a tape here.

use super::args::{ChooseArgs, Format, FormatArgs, OpenArgs};
use super::output::{self, Output};
use clap::Args;
use heaptape::report::rows::Shown;
use heaptape::report::{csv, rows_json, rows_text};
use heaptape::stats::Cumulative;
use heaptape::stats::query::Answer;
use serde::Serialize;

/// Options of every verb that answers in rows.
#[derive(Debug, Args)]
pub(super) struct RowsArgs {
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    pub(super) choose: ChooseArgs,
    #[command(flatten)]
    pub(super) open: OpenArgs,
}

/// How rows are grouped, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Grouping {
    group_by: &'static str,
    cumulative: bool,
}

impl Grouping {
    pub(super) fn of<M>(answer: &Answer<M>) -> Self {
        Self {
            group_by: answer.grouper.group_by().name(),
            cumulative: answer.grouper.cumulative() != Cumulative::Off,
        }
    }
}

impl RowsArgs {
    /// The total of `answer` in words.
    pub(super) fn total_words<M: Shown>(&self, answer: &Answer<M>) -> String {
        answer.total.words(self.format.sizes())
    }

    /// Writes `answer`: `title` stands above it in text, the members of `head` in JSON.
    pub(super) fn write<M: Shown>(
        &self,
        title: &str,
        head: &impl Serialize,
        answer: &Answer<M>,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        output::notes(&answer.notes);
        let top = self.choose.top(self.format.format);
        match self.format.format {
            Format::Text => {
                let options = self.choose.text_options(output.style, &self.format);
                rows_text::write(title, answer, &options, output)?;
            }
            Format::Json => rows_json::write(head, answer, top, output)?,
            Format::Csv => csv::write(answer, top, output)?,
        }
        Ok(())
    }
}
