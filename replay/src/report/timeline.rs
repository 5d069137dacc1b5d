//! The heap over time: a chart for a person, JSON, CSV.

use super::csv;
use super::style::{Paint, Style, columns};
use super::units::{self, Sizes};
use crate::timeline::TimelinePoint;
use heaptape_format::TapeHeader;
use serde::Serialize;
use std::io::{self, Write};

/// A point in JSON.
#[derive(Debug, Clone, Copy, Serialize)]
struct JsonPoint {
    t_ns: u64,
    bytes: u64,
    count: u64,
    rss: Option<u64>,
    allocations: u64,
    frees: u64,
    high: u64,
}

#[derive(Debug, Serialize)]
struct JsonTimeline {
    tape: String,
    points: Vec<JsonPoint>,
}

fn json_point(point: &TimelinePoint, header: &TapeHeader) -> JsonPoint {
    JsonPoint {
        t_ns: header.stamp_to_ns(point.stamp),
        bytes: point.bytes,
        count: point.count,
        rss: point.resident_bytes,
        allocations: point.allocations,
        frees: point.frees,
        high: point.high,
    }
}

/// Writes the points as one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn write_json(
    tape: &str,
    points: &[TimelinePoint],
    header: &TapeHeader,
    out: &mut dyn Write,
) -> io::Result<()> {
    let timeline = JsonTimeline {
        tape: tape.to_owned(),
        points: points
            .iter()
            .map(|point| json_point(point, header))
            .collect(),
    };
    serde_json::to_writer(&mut *out, &timeline)?;
    writeln!(out)
}

/// Writes the points as CSV.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(
    points: &[TimelinePoint],
    header: &TapeHeader,
    out: &mut dyn Write,
) -> io::Result<()> {
    let names = [
        "t_ns",
        "bytes",
        "count",
        "rss",
        "allocations",
        "frees",
        "high",
    ];
    csv::line(&names.map(String::from), out)?;
    for point in points {
        let point = json_point(point, header);
        let rss = point.rss.map_or_else(String::new, |rss| rss.to_string());
        let numbers = [
            point.t_ns.to_string(),
            point.bytes.to_string(),
            point.count.to_string(),
            rss,
            point.allocations.to_string(),
            point.frees.to_string(),
            point.high.to_string(),
        ];
        csv::line(&numbers, out)?;
    }
    Ok(())
}

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Lines of the chart of live bytes.
const CHART_ROWS: u64 = 10;

/// Writes a chart: highest live bytes of each interval, and below it resident memory and
/// allocations, one column a point.
///
/// # Errors
/// Those of `out`.
pub fn write_text(
    title: &str,
    points: &[TimelinePoint],
    header: &TapeHeader,
    (style, sizes): (&Style, Sizes),
    out: &mut dyn Write,
) -> io::Result<()> {
    style.write_title(title, out)?;
    writeln!(out)?;
    let high = points.iter().map(|point| point.high).max().unwrap_or(0);
    let label = sizes.size(high);
    let indent = label.chars().count().max(11);
    for row in (0..CHART_ROWS).rev() {
        let bars: String = points
            .iter()
            .map(|point| bar(point.high, high, row, CHART_ROWS))
            .collect();
        let label = match row {
            row if row == CHART_ROWS - 1 => label.as_str(),
            0 => "0",
            _ => "",
        };
        let bars = style.paint(Paint::Number, bars.trim_end());
        writeln!(out, "  {label:>indent$} ┤{bars}")?;
    }
    let (first, last) = (points.first(), points.last());
    let ns =
        |point: Option<&TimelinePoint>| point.map_or(0, |point| header.stamp_to_ns(point.stamp));
    let (start, end) = (units::time(ns(first)), units::time(ns(last)));
    let gap = points
        .len()
        .saturating_sub(start.chars().count() + end.chars().count())
        .max(1);
    writeln!(out, "  {:>indent$}  {start}{}{end}\n", "", " ".repeat(gap))?;
    let resident: Vec<u64> = points
        .iter()
        .map(|point| point.resident_bytes.unwrap_or(0))
        .collect();
    if points.iter().any(|point| point.resident_bytes.is_some()) {
        let most = resident.iter().copied().max().unwrap_or(0);
        let most = format!("up to {}", sizes.size_unit(most));
        write_line(("resident", &most), &resident, (style, indent), out)?;
    }
    let allocations: Vec<u64> = points.iter().map(|point| point.allocations).collect();
    let most = allocations.iter().copied().max().unwrap_or(0);
    let most = format!("up to {} in one interval", units::count(most));
    write_line(("allocations", &most), &allocations, (style, indent), out)
}

/// One line of bars with its name, what it reaches beside it or, where that has no room, below.
fn write_line(
    (name, most): (&str, &str),
    values: &[u64],
    (style, indent): (&Style, usize),
    out: &mut dyn Write,
) -> io::Result<()> {
    let bars = spark(values);
    let taken = indent + 4 + values.len() + 2 + columns(most);
    if style.width.is_none_or(|width| taken <= width) {
        writeln!(out, "  {name:>indent$}  {bars}  {most}")
    } else {
        writeln!(out, "  {name:>indent$}  {}", bars.trim_end())?;
        // Further to the left where it would not fit.
        let room = |width: usize| width.saturating_sub(columns(most));
        let margin = style.width.map_or(indent + 4, room).min(indent + 4);
        writeln!(out, "{:margin$}{most}", "")
    }
}

/// The part of a column's bar that stands in `row` of `rows`.
fn bar(value: u64, high: u64, row: u64, rows: u64) -> char {
    let eighths = u128::from(value) * u128::from(rows * 8) / u128::from(high.max(1));
    let mut eighths = u64::try_from(eighths).unwrap_or(u64::MAX);
    if value > 0 {
        // What is there is seen.
        eighths = eighths.max(1);
    }
    let here = eighths.saturating_sub(row * 8).min(8);
    BARS.get(usize::try_from(here).unwrap_or(0))
        .copied()
        .unwrap_or(' ')
}

/// One character for each value.
fn spark(values: &[u64]) -> String {
    let high = values.iter().copied().max().unwrap_or(0);
    values.iter().map(|&value| bar(value, high, 0, 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaptape_format::header::ClockKind;

    #[test]
    fn bars_fill_from_below() {
        assert_eq!(bar(100, 100, 9, 10), '█');
        assert_eq!(bar(50, 100, 4, 10), '█');
        assert_eq!(bar(50, 100, 5, 10), ' ');
        assert_eq!(bar(1, 1_000_000, 0, 10), '▁');
        assert_eq!(bar(0, 100, 0, 10), ' ');
        assert_eq!(bar(0, 0, 0, 10), ' ');
        assert_eq!(bar(u64::MAX, u64::MAX, 9, 10), '█');
        assert_eq!(spark(&[0, 1, 4, 8]), " ▁▄█");
    }

    #[test]
    fn a_missing_sample_is_null() {
        let header = TapeHeader::new(ClockKind::Monotonic, 1_000_000_000, 0);
        let point = TimelinePoint {
            stamp: 5,
            bytes: 4,
            count: 3,
            resident_bytes: None,
            allocations: 2,
            frees: 1,
            high: 9,
        };
        let mut out = Vec::new();
        write_json("x.tape", &[point], &header, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({"t_ns": 5, "bytes": 4, "count": 3, "rss": null,
            "allocations": 2, "frees": 1, "high": 9});
        assert_eq!(json["points"][0], expected);
        let mut out = Vec::new();
        write_csv(&[point], &header, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().nth(1), Some("5,4,3,,2,1,9"));
    }
}
