//! Rows as text for a person.

use super::rows::Shown;
use super::shell::shell_word;
use super::source::SourceLines;
use super::style::{Paint, Style, columns, cut_middle, cut_start, printable};
use super::table::{Cell, Row, Table};
use super::units::{Sizes, counted};
use crate::stats::key::place;
use crate::stats::query::Answer;
use crate::stats::{Amount, Cumulative, GroupBy, KeyId};
use crate::symbols::ResolvedFrame;
use heaptape_format::tables::CutReason;
use std::io::{self, Write};

/// Domains that are not in the total and named one by one.
const DOMAINS_SHOWN: usize = 2;

/// How to write rows.
#[derive(Debug, Clone, Copy)]
pub struct TextOptions {
    /// Colours and width.
    pub style: Style,
    /// Sizes.
    pub sizes: Sizes,
    /// Rows at most; None: all.
    pub top: Option<usize>,
    /// Show source lines where their files are there.
    pub sources: bool,
}

/// Writes `title`, the rows, and what was left out.
///
/// # Errors
/// Those of `out`.
pub fn write<M: Shown>(
    title: &str,
    answer: &Answer<M>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    options.style.write_title(title, out)?;
    let shown = options.top.unwrap_or(usize::MAX).min(answer.rows.len());
    let (rows, rest) = answer.rows.split_at(shown);
    if rows.is_empty() {
        writeln!(out, "  no block fits")?;
        return write_left_out(answer, options, out);
    }
    writeln!(out)?;
    if answer.grouper.group_by() == GroupBy::Traceback {
        for row in rows {
            write_traceback(answer, row, options, out)?;
        }
    } else {
        table(answer, rows, options).write(&options.style, out)?;
    }
    if !rest.is_empty() {
        let more = counted(rest.len() as u64, "more row");
        let mut line = format!("and {more}");
        if answer.grouper.cumulative() == Cumulative::Off {
            let mut left_out = M::default();
            for (_, value) in rest {
                left_out += value.clone();
            }
            line.push_str(&format!(": {}", left_out.words(options.sizes)));
        }
        line.push_str(" (--top 0 shows all)");
        let line = options.style.fold(&line, 2, 4);
        writeln!(out, "  {}", options.style.paint(Paint::Dim, &line))?;
    }
    write_left_out(answer, options, out)
}

/// Says what no row and no total has because its domain is no part of the heap.
fn write_left_out<M: Shown>(
    answer: &Answer<M>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let domains = &answer.left_out;
    let words = |amount: &Amount| amount.words(options.sizes);
    let what = if domains.is_empty() {
        return Ok(());
    } else if domains.len() <= DOMAINS_SHOWN {
        let named = domains
            .iter()
            .map(|(name, amount)| format!("domain {}: {}", shell_word(name), words(amount)));
        named.collect::<Vec<_>>().join("; ")
    } else {
        let mut all = Amount::default();
        for (_, amount) in domains {
            all += *amount;
        }
        let domains = counted(domains.len() as u64, "other domain");
        format!("{domains}: {}", words(&all))
    };
    let line = format!("not in the total: {what} (--domain NAME, or all)");
    let line = options.style.fold(&printable(&line), 2, 4);
    writeln!(out, "  {}", options.style.paint(Paint::Dim, &line))
}

fn table<M: Shown>(answer: &Answer<M>, rows: &[(KeyId, M)], options: &TextOptions) -> Table {
    let group_by = answer.grouper.group_by();
    let mut sources = SourceLines::default();
    let mut headings = M::HEADINGS.to_vec();
    headings.push(group_by.name());
    let rows = rows.iter().map(|(key, value)| {
        let frames = answer.grouper.frames(*key);
        let frame = frames.first();
        let mut row = Row {
            cells: value.cells(&answer.total, options.sizes),
            key: answer.grouper.text(*key),
            ..Row::default()
        };
        match (group_by, frame) {
            (GroupBy::Line, Some(frame)) if frame.file.is_some() => {
                row.aside = frame.function.as_deref().unwrap_or_default().to_owned();
                let recorded_ns = answer.grouper.recorded_ns(*key);
                let line = source_line(frame, recorded_ns, options, &mut sources);
                row.below = line.into_iter().collect();
            }
            (GroupBy::Function, Some(frame)) => {
                row.aside = frame.file.as_deref().unwrap_or(&frame.module).to_owned();
            }
            _ => {}
        }
        row
    });
    Table {
        rows: rows.collect(),
        headings,
        dispensable: M::DISPENSABLE,
    }
}

fn source_line(
    frame: &ResolvedFrame,
    recorded_ns: u64,
    options: &TextOptions,
    sources: &mut SourceLines,
) -> Option<String> {
    if !options.sources {
        return None;
    }
    sources.line(frame.file.as_deref()?, frame.line, recorded_ns)
}

fn write_traceback<M: Shown>(
    answer: &Answer<M>,
    (key, value): &(KeyId, M),
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let style = &options.style;
    write_parts(&value.parts(&answer.total, options.sizes), style, out)?;
    let frames = answer.grouper.frames(*key);
    if frames.is_empty() {
        let text = printable(&answer.grouper.text(*key));
        writeln!(out, "      {}", style.fold(&text, 6, 6))?;
    }
    write_frames(&frames, "      ", style, out)?;
    write_cut(answer.grouper.cut(*key), "      ", style, out)
}

/// Writes the numbers of a row in words, in more than one line where they must.
fn write_parts(parts: &[Cell], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line_columns = 0;
    for (place, part) in parts.iter().enumerate() {
        let part_columns = columns(&part.text) + 2;
        let is_too_wide = style
            .width
            .is_some_and(|width| line_columns + part_columns >= width);
        let joint = match place {
            0 => "  ",
            _ if is_too_wide => {
                line_columns = 2;
                ",\n    "
            }
            _ => ", ",
        };
        line_columns += part_columns;
        write!(out, "{joint}{}", style.paint(part.paint, &part.text))?;
    }
    writeln!(out)
}

/// Writes why the outermost frames are missing, below the others.
///
/// # Errors
/// Those of `out`.
pub fn write_cut(
    cut: Option<CutReason>,
    indent: &str,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let text = match cut {
        None => return Ok(()),
        Some(CutReason::Depth) => "[cut: the depth limit was reached]",
        Some(CutReason::Unknown) => "[cut: the callers could not be found]",
    };
    writeln!(out, "{indent}{}", style.paint(Paint::Dim, text))
}

/// A line of a stack.
#[derive(Debug, PartialEq)]
enum Part<'f> {
    Frame(&'f ResolvedFrame),
    /// The frames above come again.
    Repeats {
        frames: usize,
        times: u64,
    },
}

/// Frames that come again and again, one behind the other, are recursion.
const CYCLE_FRAMES_MAX: usize = 8;
/// So many more rounds are told and not shown.
const CYCLE_ROUNDS_MIN: usize = 3;

/// `frames` with each recursion once.
fn without_repeats(frames: &[ResolvedFrame]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = frames;
    while !rest.is_empty() {
        let rounds = |cycle: &usize| {
            let (first, more) = rest.split_at_checked(*cycle)?;
            let rounds = more.chunks_exact(*cycle).take_while(|next| *next == first);
            Some((*cycle, rounds.count())).filter(|(_, rounds)| *rounds >= CYCLE_ROUNDS_MIN)
        };
        let (cycle, rounds) = (1..=CYCLE_FRAMES_MAX)
            .find_map(|cycle| rounds(&cycle))
            .unwrap_or((1, 0));
        let (first, behind) = rest.split_at(cycle);
        parts.extend(first.iter().map(Part::Frame));
        if rounds > 0 {
            parts.push(Part::Repeats {
                frames: cycle,
                times: rounds as u64,
            });
        }
        rest = behind.get(cycle * rounds..).unwrap_or_default();
    }
    parts
}

/// Writes frames, one a line, the most recent first; recursion once, with how often it comes.
///
/// # Errors
/// Those of `out`.
pub fn write_frames(
    frames: &[ResolvedFrame],
    indent: &str,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for part in without_repeats(frames) {
        let frame = match part {
            Part::Frame(frame) => frame,
            Part::Repeats { frames, times } => {
                let frames = match frames {
                    1 => "the frame above".to_owned(),
                    frames => format!("the {frames} frames above"),
                };
                let text = format!("[{frames}, {}]", counted(times, "more time"));
                writeln!(out, "{indent}{}", style.paint(Paint::Dim, &text))?;
                continue;
            }
        };
        let name = frame
            .function
            .as_deref()
            .map_or_else(|| frame.address(), ToOwned::to_owned);
        let name = printable(&name);
        let at = place(frame).unwrap_or_else(|| frame.module.to_string());
        let mut at = printable(&at);
        if frame.inlined {
            at.push_str(" (inlined)");
        }
        let room = style
            .width
            .map(|width| width.saturating_sub(indent.len() + 2).max(16));
        let (name, at) = match room {
            Some(room) if columns(&name) + columns(&at) > room => {
                // The place is cut to half the line only when it is longer than that.
                let at = cut_start(&at, room / 2);
                (cut_middle(&name, room - columns(&at)), at)
            }
            _ => (name, at),
        };
        writeln!(out, "{indent}{name}  {}", style.paint(Paint::Dim, &at))?;
    }
    Ok(())
}
