//! The facts of a recording, as text and as JSON.

use super::shell::command_line;
use super::style::{Paint, Style, printable};
use super::units::{self, Sizes};
use crate::error::mark_name;
use crate::gap::{self, Gap};
use crate::index::{Peak, Summary};
use crate::tape::Tape;
use heaptape_format::tables::{End, LostReason};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};

/// Bits of [`heaptape_format::tables::Process::options`].
const OPTION_FREE_STACKS: u32 = 1;
const OPTION_MMAP: u32 = 2;
const OPTION_NO_NATIVE_STACKS: u32 = 4;
const OPTION_LOSSY: u32 = 8;
/// Where the values of the facts begin in the text.
const VALUE_AT: usize = 16;
/// Names of marks that the text shows.
const MARKS_SHOWN: usize = 20;
/// Tapes of children that the text names.
const CHILDREN_SHOWN: usize = 10;
/// An image that starts later than this part of its duration says so.
const LATE_START_PART: u64 = 10;

/// The facts, ready for JSON. `peak` and `end` are null without an index.
#[derive(Debug, Serialize)]
pub struct Info {
    tape: String,
    format_version: u16,
    command: Vec<String>,
    pid: u32,
    started_unix_ns: u64,
    duration_ns: u64,
    /// When the image began and ended, since the start of the recording.
    start_ns: u64,
    end_ns: u64,
    complete: bool,
    /// It is still being recorded.
    being_written: bool,
    ended_by: String,
    events: Value,
    lost_events: u64,
    /// Times that memory was used again without being freed: `--py-reuse`.
    reuses: u64,
    unknown_frees: u64,
    inherited: Value,
    inherited_frees: u64,
    inherited_pools: Value,
    inherited_pool_frees: u64,
    inherited_known: bool,
    free_stacks: bool,
    stacks_mode: &'static str,
    /// What was chosen when it was recorded: 0 for no limit.
    max_depth: u32,
    min_size: u64,
    mmap: bool,
    lossy: bool,
    bytes_allocated: u64,
    peak: Option<Value>,
    end: Option<Value>,
    threads: usize,
    stacks: u64,
    frames: usize,
    cut_stacks: Value,
    tape_bytes: u64,
    /// The tape of the image that this one was forked from or followed, and when.
    parent: Option<Value>,
    children: Vec<String>,
    not_recorded: Vec<Value>,
    executable: String,
    marks: Vec<Value>,
    /// What is gone of the recording; null: nothing.
    folded: Option<Value>,
    message: String,
    damaged: u64,
    unreadable_events: u64,
}

/// `exit:0`, `signal:9`, `exec` or `unknown`.
#[must_use]
pub fn ended_by(end: Option<&End>) -> String {
    match end.map(|end| (end.how, end.code)) {
        Some((1, code)) => format!("exit:{code}"),
        Some((2, signal)) => format!("signal:{signal}"),
        Some((3, _)) => "exec".to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Collects the facts; `peak` and `end` are left out without an index.
#[must_use]
pub fn collect(tape: &Tape, summary: &Summary, has_index: bool) -> Info {
    let header = &tape.header;
    let options = tape.process.options;
    let end = tape.end.as_ref();
    let ns = |stamp| header.stamp_to_ns(stamp);
    let threads: BTreeSet<u32> = tape.streams.iter().map(|stream| stream.thread_id).collect();
    let heap = |bytes: u64, count: u64| json!({"bytes": bytes, "count": count});
    Info {
        tape: tape.path.display().to_string(),
        format_version: header.version.0,
        command: tape.process.command.clone(),
        pid: match tape.process.pid {
            0 => header.pid,
            pid => pid,
        },
        started_unix_ns: header.start_realtime_ns,
        duration_ns: ns(tape.end_stamp).saturating_sub(ns(tape.start_stamp)),
        start_ns: ns(tape.start_stamp),
        end_ns: ns(tape.end_stamp),
        complete: Gap::of(tape, Some(summary)).is_none(),
        being_written: tape.is_being_written(),
        ended_by: ended_by(end),
        events: json!({"alloc": summary.allocs, "free": summary.frees,
            "realloc": summary.reallocs}),
        lost_events: tape.lost_events(),
        reuses: summary.reuses,
        unknown_frees: summary.unknown_frees,
        inherited: heap(summary.inherited.bytes, summary.inherited.count),
        inherited_frees: summary.inherited_frees,
        inherited_pools: heap(summary.inherited_pools.bytes, summary.inherited_pools.count),
        inherited_pool_frees: summary.inherited_pool_frees,
        inherited_known: summary.inherited_known,
        free_stacks: options & OPTION_FREE_STACKS != 0,
        stacks_mode: if options & OPTION_NO_NATIVE_STACKS != 0 {
            "python"
        } else {
            "both"
        },
        max_depth: tape.process.depth_max,
        min_size: tape.process.size_min,
        mmap: options & OPTION_MMAP != 0,
        lossy: options & OPTION_LOSSY != 0,
        bytes_allocated: summary.bytes_allocated,
        peak: has_index.then(|| {
            let peak = summary.peak;
            json!({"at_ns": ns(peak.stamp), "bytes": peak.bytes, "count": peak.count})
        }),
        end: has_index.then(|| heap(summary.end.bytes, summary.end.count)),
        threads: threads.len(),
        stacks: summary.stacks,
        frames: tape.frame_count(),
        cut_stacks: cut_stacks(tape),
        tape_bytes: tape.tape_bytes,
        parent: parent(tape),
        children: child_tapes(tape),
        not_recorded: not_recorded(tape),
        executable: tape.process.executable.clone(),
        marks: tape
            .marks
            .iter()
            .map(|mark| json!({"name": mark.name, "at_ns": ns(mark.stamp)}))
            .collect(),
        folded: folded(tape),
        message: end.map_or_else(String::new, |end| end.message.clone()),
        damaged: gap::damaged(tape, Some(summary)),
        unreadable_events: tape.numbered_events.saturating_sub(summary.readable_events),
    }
}

fn child_tapes(tape: &Tape) -> Vec<String> {
    let children = tape.children.iter();
    let recorded = children.filter(|child| !child.tape.is_empty());
    recorded.map(|child| child.tape.clone()).collect()
}

fn not_recorded(tape: &Tape) -> Vec<Value> {
    let children = tape.children.iter();
    let not_recorded = children.filter(|child| !child.reason.is_empty());
    not_recorded
        .map(|child| json!({"command": child.command, "reason": child.reason}))
        .collect()
}

fn folded(tape: &Tape) -> Option<Value> {
    let folded = tape.folded.as_ref()?;
    let ns = |stamp| tape.header.stamp_to_ns(stamp);
    Some(json!({
        "until_ns": ns(folded.stamp),
        "events": folded.events,
        "peak": {
            "at_ns": ns(folded.high_stamp),
            "bytes": folded.high_bytes,
            "count": folded.high_count,
        },
    }))
}

fn parent(tape: &Tape) -> Option<Value> {
    let process = &tape.process;
    let at_ns = tape.header.stamp_to_ns(process.cut_stamp);
    let is_known = !process.parent_tape.is_empty();
    is_known.then(|| json!({"tape": process.parent_tape, "cut_ns": at_ns}))
}

fn cut_stacks(tape: &Tape) -> Value {
    let cut = tape.cut_stacks();
    json!({"depth": cut.depth, "unknown": cut.unknown})
}

/// Writes the facts as one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn write_json(info: &Info, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, info)?;
    writeln!(out)
}

/// Writes the facts for a person. `peaks` are the highest separate peaks.
///
/// # Errors
/// Those of `out`.
pub fn write_text(
    tape: &Tape,
    info: &Info,
    summary: &Summary,
    peaks: &[Peak],
    (style, sizes): (&Style, Sizes),
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut lines: Vec<(&str, String)> = vec![
        ("command", command_line(&info.command)),
        ("process", format!("{} ({})", info.pid, info.executable)),
        ("duration", duration(tape, info.duration_ns)),
        ("ended by", ended_words(info)),
    ];
    lines.extend(heap_lines(tape, summary, peaks, sizes));
    lines.push(("threads", units::count(info.threads as u64)));
    let frames = units::counted(info.frames as u64, "frame");
    let stacks = units::count(info.stacks);
    lines.push(("stacks", format!("{stacks} made of {frames}")));
    lines.extend(cut_lines(tape));
    lines.extend(option_line(info));
    if !tape.marks.is_empty() {
        lines.push(("marks", marks(tape)));
    }
    if !tape.process.parent_tape.is_empty() {
        lines.push(("parent tape", tape.process.parent_tape.clone()));
    }
    if !info.children.is_empty() {
        lines.push(("child tapes", children(&info.children)));
    }
    for child in tape
        .children
        .iter()
        .filter(|child| !child.reason.is_empty())
    {
        lines.push((
            "not recorded",
            format!("{}: {}", child.command, child.reason),
        ));
    }
    lines.extend(lost_lines(tape, info));
    if info.damaged > 0 {
        let places = units::counted(info.damaged, "place");
        let events = match info.unreadable_events {
            0 => String::new(),
            events => format!(", {} cannot be read", units::counted(events, "event")),
        };
        let text = format!("{places}{events} (heaptape verify tells where)");
        lines.push(("damage", text));
    }
    if !info.message.is_empty() {
        lines.push(("message", info.message.clone()));
    }
    lines.push(("tape size", sizes.size_unit(info.tape_bytes)));
    style.write_title(&info.tape, out)?;
    for (name, text) in lines {
        writeln!(
            out,
            "  {}  {}",
            style.paint(Paint::Dim, &format!("{name:<12}")),
            style.fold(&printable(&text), VALUE_AT, VALUE_AT)
        )?;
    }
    Ok(())
}

fn heap_lines(
    tape: &Tape,
    summary: &Summary,
    peaks: &[Peak],
    sizes: Sizes,
) -> Vec<(&'static str, String)> {
    let ns = |stamp| tape.header.stamp_to_ns(stamp);
    let heap = |bytes, count| {
        format!(
            "{} in {}",
            sizes.size_unit(bytes),
            units::counted(count, "block")
        )
    };
    let reuses = match summary.reuses {
        0 => String::new(),
        count => format!(", {}", units::counted(count, "reuse")),
    };
    let mut lines = vec![
        (
            "events",
            format!(
                "{}, {}, {}{reuses}",
                units::counted(summary.allocs, "allocation"),
                units::counted(summary.reallocs, "reallocation"),
                units::counted(summary.frees, "free")
            ),
        ),
        ("allocated", sizes.size_unit(summary.bytes_allocated)),
        (
            "peak",
            format!(
                "{} at {}",
                heap(summary.peak.bytes, summary.peak.count),
                units::time(ns(summary.peak.stamp))
            ),
        ),
    ];
    if let Some(folded) = &tape.folded {
        let text = format!(
            "up to {}: {} gone; {} were alive at {}",
            units::time(ns(folded.stamp)),
            units::counted(folded.events, "event"),
            heap(folded.high_bytes, folded.high_count),
            units::time(ns(folded.high_stamp))
        );
        lines.insert(2, ("folded", text));
    }
    for peak in peaks.iter().skip(1) {
        let at = units::time(ns(peak.stamp));
        lines.push(("", format!("then {} at {at}", heap(peak.bytes, peak.count))));
    }
    lines.push(("at the end", heap(summary.end.bytes, summary.end.count)));
    if summary.unknown_frees > 0 {
        let why = match tape.process.size_min {
            0 => "",
            _ => ": those below --min-size are among them",
        };
        let frees = units::counted(summary.unknown_frees, "free");
        let text = format!("{frees} of blocks that are not known{why}");
        lines.push(("unknown", text));
    }
    let heaps = (summary.inherited, summary.inherited_frees, "");
    let pools = summary.inherited_pools;
    for (total, frees, place) in [heaps, (pools, summary.inherited_pool_frees, " in pools")] {
        if total.count > 0 {
            let (inherited, frees) = (heap(total.bytes, total.count), units::count(frees));
            let text = format!("{inherited}{place}, {frees} freed since");
            lines.push(("inherited", text));
        }
    }
    if !summary.inherited_known {
        lines.push(("inherited", gap::INHERITED.to_owned()));
    }
    lines
}

/// How long the image ran, and since when where that is not the start of the recording: times of
/// events count from there.
pub(super) fn duration(tape: &Tape, duration_ns: u64) -> String {
    let start_ns = tape.header.stamp_to_ns(tape.start_stamp);
    let time = units::time(duration_ns);
    if start_ns > duration_ns / LATE_START_PART {
        let start = units::time(start_ns);
        format!("{time} (from {start} of the recording on)")
    } else {
        time
    }
}

fn cut_lines(tape: &Tape) -> Vec<(&'static str, String)> {
    let cut = tape.cut_stacks();
    let reasons = [
        (cut.depth, "the depth limit was reached"),
        (cut.unknown, "their callers could not be found"),
    ];
    let lines = reasons.into_iter().filter(|(count, _)| *count > 0);
    lines
        .map(|(count, reason)| ("cut stacks", format!("{}: {reason}", units::count(count))))
        .collect()
}

/// How `heaptape run` was told to record, where that is not as usual.
fn option_line(info: &Info) -> Option<(&'static str, String)> {
    let mut options = Vec::new();
    if info.min_size > 0 {
        options.push(format!("--min-size {}", info.min_size));
    }
    if info.max_depth > 0 {
        options.push(format!("--max-depth {}", info.max_depth));
    }
    let flags = [
        (info.free_stacks, "--free-stacks"),
        (info.mmap, "--mmap"),
        (info.lossy, "--lossy"),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    options.extend(flags.map(|(_, flag)| flag.to_owned()));
    (!options.is_empty()).then(|| ("options", options.join(" ")))
}

/// One line a reason: the events, and of how many threads they were.
fn lost_lines(tape: &Tape, info: &Info) -> Vec<(&'static str, String)> {
    let mut by_reason: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for lost in tape.lost.iter().filter(|lost| lost.count > 0) {
        let reason = match LostReason::from_code(lost.reason) {
            LostReason::Other if !info.message.is_empty() => "see the message",
            known => known.text(),
        };
        let (events, times) = by_reason.entry(reason).or_default();
        *events = events.saturating_add(lost.count);
        *times += 1;
    }
    let lines = by_reason.into_iter().map(|(reason, (events, times))| {
        let mut text = format!("{}: {reason}", units::count(events));
        if times > 1 {
            text.push_str(&format!(" ({} times)", units::count(times)));
        }
        ("lost events", text)
    });
    lines.collect()
}

fn children(names: &[String]) -> String {
    let (shown, others) = names.split_at(names.len().min(CHILDREN_SHOWN));
    shown.join(", ") + &and_more(others.len())
}

fn ended_words(info: &Info) -> String {
    if info.being_written {
        return "nothing yet: it is being recorded".to_owned();
    }
    let mut words = info.ended_by.clone();
    if !info.complete {
        words.push_str(" (not complete: something was cut, lost or damaged)");
    }
    words
}

fn marks(tape: &Tape) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut others: HashSet<&str> = HashSet::new();
    for mark in &tape.marks {
        match counts.iter().position(|(name, _)| *name == mark.name) {
            Some(place) => {
                if let Some((_, count)) = counts.get_mut(place) {
                    *count += 1;
                }
            }
            None if counts.len() < MARKS_SHOWN => counts.push((&mark.name, 1)),
            None => {
                others.insert(&mark.name);
            }
        }
    }
    let texts = counts.into_iter().map(|(name, count)| match count {
        1 => mark_name(name),
        _ => format!("{} ({count} times)", mark_name(name)),
    });
    let texts = texts.collect::<Vec<_>>().join(", ");
    texts + &and_more(others.len())
}

/// What stands behind a list that was cut; empty when it was not.
fn and_more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" and {} more", units::count(others as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_those_of_the_contract() {
        let end = |how, code| End {
            how,
            code,
            ..End::default()
        };
        for (end, text) in [
            (Some(end(1, 0)), "exit:0"),
            (Some(end(1, 3)), "exit:3"),
            (Some(end(2, 9)), "signal:9"),
            (Some(end(3, 0)), "exec"),
            (Some(end(0, 0)), "unknown"),
            (None, "unknown"),
        ] {
            assert_eq!(ended_by(end.as_ref()), text);
        }
    }
}
