//! Rows as text for a person.

use super::rows::Shown;
use super::source::SourceLines;
use super::style::{Paint, Style, columns, cut_middle, cut_start, printable};
use super::table::{Row, Table};
use super::units::{Sizes, count};
use crate::stats::key::place;
use crate::stats::query::Answer;
use crate::stats::{Cumulative, GroupBy, KeyId};
use crate::symbols::ResolvedFrame;
use heaptape_format::tables::CutReason;
use std::io::{self, Write};

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
    writeln!(
        out,
        "{}",
        options.style.paint(Paint::Bold, &printable(title))
    )?;
    let shown = options.top.unwrap_or(usize::MAX).min(answer.rows.len());
    let (rows, rest) = answer.rows.split_at(shown);
    if rows.is_empty() {
        writeln!(out, "  no block fits")?;
        return Ok(());
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
        let noun = if rest.len() == 1 { "row" } else { "rows" };
        let mut line = format!("  and {} more {noun}", count(rest.len() as u64));
        if answer.grouper.cumulative() == Cumulative::Off {
            let mut left_out = M::default();
            for (_, value) in rest {
                left_out += value.clone();
            }
            line.push_str(&format!(": {}", left_out.words(options.sizes)));
        }
        line.push_str(" (--top 0 shows all)");
        writeln!(out, "{}", options.style.paint(Paint::Dim, &line))?;
    }
    Ok(())
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
                row.below = source_line(frame, options, &mut sources)
                    .into_iter()
                    .collect();
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
    }
}

fn source_line(
    frame: &ResolvedFrame,
    options: &TextOptions,
    sources: &mut SourceLines,
) -> Option<String> {
    if !options.sources {
        return None;
    }
    sources.line(frame.file.as_deref()?, frame.line)
}

fn write_traceback<M: Shown>(
    answer: &Answer<M>,
    (key, value): &(KeyId, M),
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let style = &options.style;
    let cells = value.cells(&answer.total, options.sizes);
    let mut head = String::new();
    for (heading, cell) in M::HEADINGS.iter().zip(&cells) {
        let joint = if head.is_empty() { "" } else { ", " };
        let unit = match *heading {
            "bytes" => "",
            several if cell.text == "1" => several.strip_suffix('s').unwrap_or(several),
            several => several,
        };
        let cell_text = style.paint(cell.paint, &cell.text);
        head.push_str(format!("{joint}{cell_text} {unit}").trim_end());
    }
    writeln!(out, "  {head}")?;
    let frames = answer.grouper.frames(*key);
    if frames.is_empty() {
        writeln!(out, "      {}", answer.grouper.text(*key))?;
    }
    write_frames(&frames, "      ", style, out)?;
    write_cut(answer.grouper.cut(*key), "      ", style, out)
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

/// Writes frames, one a line, the most recent first.
///
/// # Errors
/// Those of `out`.
pub fn write_frames(
    frames: &[ResolvedFrame],
    indent: &str,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for frame in frames {
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
            .map(|width| width.saturating_sub(indent.len() + 2).max(30));
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
