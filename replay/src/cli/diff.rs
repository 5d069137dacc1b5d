//! `heaptape diff`: what changed between two moments, of one tape or of two.

use super::args::TapeAt;
use super::open::{self, Check};
use super::output::Output;
use super::rows::{Grouping, RowsArgs};
use super::{Outcome, check};
use anyhow::bail;
use clap::Args;
use heaptape::stats::query::At;
use heaptape::stats::{Amount, Gate};
use heaptape::{Recording, ResolvedMoment};
use serde::Serialize;
use std::ffi::OsString;

/// What changed between two moments of one tape or of two
///
/// Without @T the moment is the peak. Rows with the largest change come first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape diff app.tape@10s app.tape@20s\n  \
    heaptape diff app.tape@mark:warm @end --group-by function\n  \
    heaptape diff old.tape new.tape --fail-on 'bytes>+5%' --fail-on 'row:bytes>+1MiB'")]
pub(super) struct Diff {
    /// The first moment: TAPE or TAPE@T.
    #[arg(value_name = "A[@T]")]
    from: OsString,
    /// The second moment: TAPE, TAPE@T, or @T of the same tape.
    #[arg(value_name = "B[@T]")]
    to: OsString,
    /// Exit 1 when METRIC>LIMIT: bytes, count, allocations (all made until T) or row:METRIC; 4MiB,
    /// +4MiB or +5%. A tape that is cut, damaged or lost events judges nothing: exit 2.
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse)]
    fail_on: Vec<Gate>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// One side of a diff.
#[derive(Debug)]
pub(super) struct Side<'r> {
    pub(super) recording: &'r Recording,
    pub(super) moment: ResolvedMoment,
    pub(super) text: String,
}

impl<'r> Side<'r> {
    pub(super) fn new(
        recording: &'r Recording,
        moment: Option<&str>,
        default: &'static str,
    ) -> anyhow::Result<Self> {
        let (moment, text) = open::moment(recording, moment, default)?;
        Ok(Self {
            recording,
            moment,
            text,
        })
    }

    pub(super) fn at(&self) -> At<'r> {
        At {
            recording: self.recording,
            stamp: self.moment.stamp,
        }
    }

    fn name(&self) -> String {
        self.recording.tape().path.display().to_string()
    }

    fn words(&self) -> String {
        format!(
            "{} at {}",
            self.name(),
            open::moment_words(self.moment, &self.text)
        )
    }

    fn json(&self, amount: Amount) -> JsonSide {
        JsonSide {
            tape: self.name(),
            at_ns: self.moment.ns,
            bytes: amount.bytes,
            count: amount.count,
        }
    }
}

#[derive(Debug, Serialize)]
struct JsonSide {
    tape: String,
    at_ns: u64,
    bytes: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Head {
    /// That of `to`.
    tape: String,
    from: JsonSide,
    to: JsonSide,
    #[serde(flatten)]
    grouping: Grouping,
}

impl Diff {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let a = TapeAt::parse(&self.from)?;
        a.refuse_no_tape(&self.from)?;
        let b = TapeAt::parse(&self.to)?;
        let second_path = b.path_or(&a);
        let is_same = a.path == *second_path;
        if is_same && a.moment.is_none() && b.moment.is_none() {
            bail!(
                "{}: both sides are the peak of one tape; name two moments, as in {0}@10% {0}@90%",
                a.path.display()
            );
        }
        let check = match self.fail_on.is_empty() {
            true => Check::Index,
            false => Check::Events,
        };
        let first = open::open_checked(&a.path, &self.rows.open, check)?;
        let second = if is_same {
            None
        } else {
            Some(open::open_checked(second_path, &self.rows.open, check)?)
        };
        let from = Side::new(&first, a.moment.as_deref(), "peak")?;
        let to = Side::new(
            second.as_ref().unwrap_or(&first),
            b.moment.as_deref(),
            "peak",
        )?;
        let query = self.rows.choose.query();
        let answer = query.diff(from.at(), to.at())?;
        let title = format!(
            "from {} to {}: {}",
            from.words(),
            to.words(),
            self.rows.total_words(&answer)
        );
        let head = Head {
            tape: to.name(),
            from: from.json(answer.total.from),
            to: to.json(answer.total.to),
            grouping: Grouping::of(&answer),
        };
        self.rows.write(&title, &head, &answer, output)?;
        check::gates(&self.fail_on, &query, (&from, &to), &answer)
    }
}
