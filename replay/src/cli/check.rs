//! `heaptape check`: gates for scripts, of one tape or of two; and the gates of `heaptape diff`.

use super::args::{ChooseArgs, OpenArgs, TapeAt};
use super::diff::Side;
use super::open::{self, Check as Believe};
use super::output::{self, Output};
use super::{Exit, Outcome};
use anyhow::bail;
use clap::Args;
use heaptape::Recording;
use heaptape::gap::{self, Paused};
use heaptape::report::units::{count, counted};
use heaptape::stats::gate::Metric;
use heaptape::stats::query::{Answer, Query};
use heaptape::stats::{Change, Gate, KeyId};
use std::ffi::OsString;
use std::io::Write;

/// Rows of a gate that was not met that are shown.
const ROWS_SHOWN: usize = 5;

/// Gates for CI: exit 1 when a limit is not kept
///
/// With one tape its heap at T (default peak) is compared with nothing, with two the second
/// with the first. A tape that is cut, damaged, lost events or was paused from start to end judges
/// no gate: then the exit code is 2.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape check app.tape --fail-on 'bytes>64MiB'\n  \
    heaptape check app.tape@end --fail-on 'row:count>1000' --group-by traceback\n  \
    heaptape check old.tape new.tape --fail-on 'allocations>+1%'")]
pub(super) struct Check {
    /// TAPE or TAPE@T: what is checked, or with a second one what it is compared with.
    #[arg(value_name = "A[@T]")]
    a: OsString,
    /// TAPE or TAPE@T: what is checked.
    #[arg(value_name = "B[@T]")]
    b: Option<OsString>,
    /// METRIC>LIMIT: bytes, count, allocations (all made until T) or row:METRIC; 4MiB, +4MiB or
    /// +5%.
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse, required = true)]
    fail_on: Vec<Gate>,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl Check {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let a = TapeAt::parse(&self.a)?;
        a.refuse_no_tape(&self.a)?;
        let percent = self.fail_on.iter().find(|gate| gate.is_of_percent());
        if let (Some(gate), None) = (percent, &self.b) {
            bail!(
                "'{}' needs two moments: with one tape there is nothing that could grow; write \
                 heaptape check OLD NEW",
                gate.text
            );
        }
        let first = open::open_checked(&a.path, &self.open, Believe::Events)?;
        let second;
        let (from, to) = match &self.b {
            None => (
                self.nothing(&first)?,
                Side::new(&first, a.moment.as_deref(), "peak")?,
            ),
            Some(b) => {
                let b = TapeAt::parse(b)?;
                let path = b.path_or(&a);
                second = open::open_checked(path, &self.open, Believe::Events)?;
                (
                    Side::new(&first, a.moment.as_deref(), "peak")?,
                    Side::new(&second, b.moment.as_deref(), "peak")?,
                )
            }
        };
        let query = self.choose.query();
        let answer = query.diff(from.at(), to.at())?;
        output::notes(&answer.notes);
        let exit = gates(&self.fail_on, &query, (&from, &to), &answer)?;
        if exit == Exit::DONE {
            let gates = match self.fail_on.len() {
                1 => "the gate is met".to_owned(),
                count => format!("all {count} gates are met"),
            };
            writeln!(output, "{gates}")?;
        }
        Ok(exit)
    }
}

impl Check {
    /// The empty heap that a heap is compared with. A folded tape does not tell of one, and has
    /// none of the allocations before.
    fn nothing<'r>(&self, recording: &'r Recording) -> anyhow::Result<Side<'r>> {
        let tape = recording.tape();
        let is_of_more = |gate: &&Gate| !gate.is_of_one_moment();
        match (&tape.folded, self.fail_on.iter().find(is_of_more)) {
            (None, _) => Side::new(recording, Some("0"), "start"),
            (Some(folded), None) => Ok(Side {
                recording,
                moment: tape.moment_of_stamp(folded.stamp),
                text: "the fold".to_owned(),
            }),
            (Some(_), Some(gate)) => bail!(
                "{}: the tape is folded, and '{}' needs what is gone; bytes>LIMIT and count>LIMIT \
                 can be judged",
                tape.path.display(),
                gate.text
            ),
        }
    }
}

/// Checks `gates`; says on standard error which are not met, with the worst rows. A recording that
/// is not whole is an error, whatever can be read: it may lack allocations as well as frees.
pub(super) fn gates(
    gates: &[Gate],
    query: &Query,
    (from, to): (&Side<'_>, &Side<'_>),
    live: &Answer<Change>,
) -> Outcome {
    if gates.is_empty() {
        return Ok(Exit::DONE);
    }
    if !std::ptr::eq(from.recording, to.recording) {
        whole(query, from)?;
    }
    whole(query, to)?;
    let of_allocations = gates.iter().find(|gate| gate.metric == Metric::Allocations);
    let folded = [from, to].into_iter().map(|side| side.recording.tape());
    let folded = folded.into_iter().find(|tape| tape.folded.is_some());
    if let (Some(gate), Some(tape)) = (of_allocations, folded) {
        bail!(
            "{}: the tape is folded, and '{}' needs the allocations that are gone",
            tape.path.display(),
            gate.text
        );
    }
    let counts_allocations = of_allocations.is_some();
    let allocations = if counts_allocations {
        Some(query.allocations_diff(from.at(), to.at())?)
    } else {
        None
    };
    let mut exit = Exit::DONE;
    for gate in gates {
        let answer = match gate.metric {
            Metric::Allocations => allocations.as_ref().unwrap_or(live),
            Metric::Bytes | Metric::Count => live,
        };
        if !holds(gate, answer) {
            exit = Exit::GATE_NOT_MET;
        }
    }
    if exit == Exit::DONE {
        warn_of_nothing(query, (from, to), live)?;
    }
    Ok(exit)
}

/// Says so when filters were asked for that nothing fits: a name may be mistyped.
fn warn_of_nothing(
    query: &Query,
    (from, to): (&Side<'_>, &Side<'_>),
    live: &Answer<Change>,
) -> anyhow::Result<()> {
    let is_empty = |answer: &Answer<Change>| answer.total == Change::default();
    if query.is_filtered()
        && is_empty(live)
        && is_empty(&query.allocations_diff(from.at(), to.at())?)
    {
        output::note("no allocation fits the filters: the gates compare nothing");
    }
    Ok(())
}

/// What holds for what can be read may not hold for the whole.
fn whole(query: &Query, side: &Side<'_>) -> anyhow::Result<()> {
    let path = side.recording.tape().path.display();
    if let Some(gap) = side.recording.gap()? {
        bail!("{path}: no gate is met by a recording that is not whole: {gap}");
    }
    let paused = Paused::of(side.recording.tape());
    if let Some(paused) = paused.filter(|paused| *paused == Paused::Always) {
        bail!("{path}: no gate is met: {paused}");
    }
    if query.inherited && !side.recording.summary()?.inherited_known {
        bail!("{path}: no gate is met: {}", gap::INHERITED);
    }
    Ok(())
}

fn values(gate: &Gate, change: &Change) -> (u64, u64) {
    match gate.metric {
        Metric::Bytes => (change.from.bytes, change.to.bytes),
        Metric::Count | Metric::Allocations => (change.from.count, change.to.count),
    }
}

fn words(gate: &Gate, change: &Change) -> String {
    let (from, to) = values(gate, change);
    // To the byte: rounded, a limit that is hardly exceeded looks kept.
    let text = |value: u64| match gate.metric {
        Metric::Bytes => counted(value, "byte"),
        Metric::Count => counted(value, "block"),
        Metric::Allocations => counted(value, "allocation"),
    };
    match from {
        0 => text(to),
        from => format!("{} after {}", text(to), count(from)),
    }
}

fn holds(gate: &Gate, answer: &Answer<Change>) -> bool {
    let fails = |change: &Change| {
        let (from, to) = values(gate, change);
        gate.fails(from, to)
    };
    let mut worst: Vec<&(KeyId, Change)> = answer.rows.iter().collect();
    if gate.each_row {
        worst.retain(|(_, change)| fails(change));
        if worst.is_empty() {
            return true;
        }
        let rows = counted(worst.len() as u64, "row");
        output::complain(&format!("gate '{}' is not met by {rows}", gate.text));
    } else {
        if !fails(&answer.total) {
            return true;
        }
        let words = words(gate, &answer.total);
        output::complain(&format!("gate '{}' is not met: {words}", gate.text));
    }
    // The rows that grew most, or hold most; equal ones stay in the order of the answer.
    let share = |change: &Change| {
        let (from, to) = values(gate, change);
        match gate.is_of_growth() {
            true => i128::from(to) - i128::from(from),
            false => i128::from(to),
        }
    };
    worst.retain(|(_, change)| share(change) > 0);
    worst.sort_by_key(|(_, change)| std::cmp::Reverse(share(change)));
    for (key, change) in worst.into_iter().take(ROWS_SHOWN) {
        let words = words(gate, change);
        output::complain(&format!("  {words}  {}", answer.grouper.text(*key)));
    }
    false
}
