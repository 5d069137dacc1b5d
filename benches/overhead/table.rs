//! Takes → one Markdown table a workload. Numbers come in, text goes out, nothing is measured.

use crate::take::Take;
use crate::workload::{Facts, Recorder, Workload};
use heaptape_benches::Spread;
use std::fmt::Write;

/// A reference that adds less than this to the bare program says nothing, in seconds.
const REFERENCE_MIN: f64 = 0.2;
const MIB: f64 = 1024.0 * 1024.0;

/// All takes of one recorder with one workload.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) recorder: Recorder,
    pub(crate) takes: Vec<Take>,
    /// Bytes of each recording.
    pub(crate) recorded: Vec<u64>,
    /// What each tape says.
    pub(crate) facts: Vec<Facts>,
}

/// The added seconds of a recorder, median against median.
#[derive(Debug, Clone, Copy)]
struct Added {
    wall: f64,
    cpu: f64,
}

impl Column {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            takes: Vec::new(),
            recorded: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn spread(&self, of: impl Fn(&Take) -> f64) -> Option<Spread> {
        Spread::of(self.takes.iter().map(of))
    }

    fn lost(&self) -> u64 {
        self.facts.iter().map(|facts| facts.lost).sum()
    }

    fn added(&self, bare: &Self) -> Option<Added> {
        let added = |of: fn(&Take) -> f64| Some(self.spread(of)?.median - bare.spread(of)?.median);
        Some(Added {
            wall: added(|take| take.wall)?,
            cpu: added(|take| take.cpu)?,
        })
    }
}

/// The table of one workload; the first column is the bare one.
pub(crate) fn markdown(workload: Workload, columns: &[Column]) -> String {
    rows(workload, columns).unwrap_or_default()
}

fn rows(workload: Workload, columns: &[Column]) -> Option<String> {
    let bare = columns.first()?;
    let wall = bare.spread(|take| take.wall)?.median;
    let cpu = bare.spread(|take| take.cpu)?.median;
    let facts = columns.iter().flat_map(|column| &column.facts);
    let events = Spread::of(facts.map(|facts| facts.events as f64))?.median;
    let is_python = columns
        .iter()
        .any(|column| column.recorder == Recorder::PythonStacks);
    let peer = if is_python { "memray" } else { "heaptrack" };
    let mut text = format!(
        "\n### {}: bare {wall:.3} s, CPU {cpu:.3} s, {:.2} M events\n\n\
         | recorder | wall × | CPU × | added CPU ms | added ns/event | B/event | peak MiB \
         | added CPU ÷ {peer}'s | added wall ÷ {peer}'s | busy |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        workload.name(),
        events / 1e6,
    );
    for column in columns {
        let name = column.recorder.name();
        let lost = column.lost();
        if lost > 0 {
            writeln!(text, "| {name} | not quoted: {lost} events were lost |").ok()?;
            continue;
        }
        let is_bare = column.recorder == Recorder::Bare;
        let added = column.added(bare).filter(|_| !is_bare);
        let reference = column.recorder.reference(is_python).and_then(|reference| {
            let mut all = columns.iter();
            all.find(|column| column.recorder == reference)?.added(bare)
        });
        let of_reference = |of: fn(Added) -> f64| {
            let (ours, theirs) = (of(added?), of(reference?));
            (theirs >= REFERENCE_MIN).then(|| format!("{:.3}", ours / theirs))
        };
        let bytes = Spread::of(column.recorded.iter().map(|&bytes| bytes as f64));
        let cells = [
            Some(column.spread(|take| take.wall / wall)?.to_string()),
            Some(column.spread(|take| take.cpu / cpu)?.to_string()),
            added.map(|added| format!("{:.0}", added.cpu * 1e3)),
            added.and_then(|added| per_event(added.cpu * 1e9, events)),
            bytes.and_then(|bytes| per_event(bytes.median, events)),
            Some(format!(
                "{:.0}",
                column.spread(|take| take.peak_bytes as f64 / MIB)?.median
            )),
            of_reference(|added| added.cpu),
            of_reference(|added| added.wall),
            Some(format!("{:.2}", column.spread(|take| take.busy)?.max)),
        ];
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
        writeln!(text, "| {name} | {} |", cells.join(" | ")).ok()?;
    }
    Some(text)
}

/// A thousand events are no workload: what a start costs is not spread over them.
fn per_event(amount: f64, events: f64) -> Option<String> {
    let digits = if amount / events < 10.0 { 2 } else { 0 };
    (events >= 1000.0).then(|| format!("{:.digits$}", amount / events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn column(recorder: Recorder, seconds: f64, facts: &[Facts]) -> Column {
        let take = Take {
            wall: seconds,
            cpu: seconds * 2.0,
            peak_bytes: 3 << 20,
            busy: 0.05,
            status: std::process::ExitStatus::from_raw(0),
        };
        Column {
            takes: vec![take; 3],
            recorded: facts.iter().map(|facts| facts.events * 3).collect(),
            facts: facts.to_vec(),
            ..Column::new(recorder)
        }
    }

    #[test]
    fn added_time_is_told_against_the_reference() {
        let facts = Facts {
            events: 1_000_000,
            lost: 0,
        };
        let columns = [
            column(Recorder::Bare, 1.0, &[]),
            column(Recorder::Heaptape, 1.5, &[facts]),
            column(Recorder::Heaptrack, 6.0, &[]),
        ];
        let text = markdown(Workload::Stacks, &columns);
        let expected = "| heaptape | 1.50 [1.50–1.50] | 1.50 [1.50–1.50] | 1000 | 1000 | 3.00 | 3 \
                        | 0.100 | 0.100 | 0.05 |";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_tape_that_lost_events_is_not_quoted() {
        let facts = Facts {
            events: 1_000_000,
            lost: 2,
        };
        let columns = [
            column(Recorder::Bare, 1.0, &[]),
            column(Recorder::Heaptape, 1.5, &[facts]),
        ];
        let text = markdown(Workload::Stacks, &columns);
        assert!(
            text.contains("| heaptape | not quoted: 2 events were lost |"),
            "{text}"
        );
        assert!(!text.contains("1.50"));
    }
}
