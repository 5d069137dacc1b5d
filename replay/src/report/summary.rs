//! What `heaptape run` says when a recording is done.

use super::info;
use super::rows_text::{self, TextOptions};
use super::shell::shell_word;
use super::style::{Paint, Style, printable};
use super::units::{self, Sizes};
use crate::recording::Recording;
use crate::stats::query::{At, Query, QueryError};
use std::fmt::Write as _;
use std::path::Path;

/// Rows of the table of lines.
const LINES: usize = 5;
/// Where the values of the facts begin.
const VALUE_AT: usize = 16;

/// Another tape of the same process tree, which holds much more.
#[derive(Debug, Clone, Copy)]
pub struct Fuller<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// A sentence on both.
    pub note: &'a str,
}

/// The summary of a recording: duration, allocations, the peak and when it was, what was leaked at
/// the end, the top lines at the peak, where the tape is, which other has more, what to try next.
/// Builds the index when there is none.
///
/// # Errors
/// When the tape cannot be read.
pub fn summary_for_run(
    recording: &Recording,
    fuller: Option<Fuller<'_>>,
    style: &Style,
) -> Result<String, QueryError> {
    let tape = recording.tape();
    let path = &tape.path;
    let summary = recording.summary()?;
    let ns = |stamp| tape.header.stamp_to_ns(stamp);
    let duration = ns(tape.end_stamp).saturating_sub(ns(tape.start_stamp));
    let sizes = Sizes { exact: false };
    let heap = |bytes, count| {
        format!(
            "{} in {}",
            sizes.size_unit(bytes),
            units::counted(count, "block")
        )
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let name = style.paint(Paint::Dim, &format!("{name:<12}"));
        let value = style.fold(&value, VALUE_AT, VALUE_AT);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name}  {value}");
    };
    line("duration", info::duration(tape, duration));
    line(
        "allocations",
        format!(
            "{} ({} in total)",
            units::count(summary.allocs + summary.reallocs),
            sizes.size_unit(summary.bytes_allocated)
        ),
    );
    let peak_at = units::time(ns(summary.peak.stamp));
    line(
        "peak",
        format!(
            "{} at {peak_at}",
            heap(summary.peak.bytes, summary.peak.count)
        ),
    );
    line("at the end", heap(summary.end.bytes, summary.end.count));
    let lost = tape.lost_events();
    if lost > 0 {
        let lost = style.paint(Paint::Worse, &units::count(lost));
        line("lost events", format!("{lost} (heaptape info tells why)"));
    }
    let name = printable(&path.display().to_string());
    line(
        "tape",
        format!("{name} ({})", sizes.size_unit(tape.tape_bytes)),
    );
    if let Some(fuller) = fuller {
        line("note", printable(fuller.note));
    }
    if summary.peak.count > 0 {
        text.push_str(&top_lines(recording, summary.peak.stamp, style)?);
    }
    let next = fuller.map_or(path.as_path(), |fuller| fuller.path);
    let quoted = shell_word(&next.display().to_string());
    let _ = writeln!(
        text,
        "\nNext:  heaptape stats {quoted} --group-by traceback"
    );
    let _ = writeln!(text, "       heaptape leaks {quoted}");
    Ok(text)
}

/// The lines that held most at `stamp`, below an empty line.
fn top_lines(recording: &Recording, stamp: u64, style: &Style) -> Result<String, QueryError> {
    let mut answer = Query::default().live(At { recording, stamp })?;
    answer.rows.truncate(LINES);
    let options = TextOptions {
        style: *style,
        sizes: Sizes { exact: false },
        top: None,
        sources: false,
    };
    let mut table = vec![b'\n'];
    // Writing to a Vec cannot fail.
    let _ = rows_text::write("The top lines at the peak:", &answer, &options, &mut table);
    Ok(String::from_utf8_lossy(&table).into_owned())
}
