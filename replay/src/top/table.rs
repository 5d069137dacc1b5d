//! Rows in columns that fit: numbers to the right, and what they are about behind them.

use super::worker::{Shot, ShotRow};
use crate::report::style::{Paint, columns, cut_end, cut_middle, printable};
use crate::report::units::{count, percent, signed_count, signed_size, size};
use crate::stats::{Change, GroupBy};

/// Numbers are left out before what they are about gets narrower than this.
const KEY_COLUMNS_WANTED: usize = 24;
const GAP: usize = 2;

/// A number and its colour.
type Cell = (String, Paint);

/// A line of the table, in pieces.
pub type Pieces = Vec<(String, Paint)>;

/// The columns of numbers, and in which order a narrow terminal does without them, the first
/// first.
const HEADINGS: [&str; 5] = ["bytes", "%", "bytes ±", "blocks", "blocks ±"];
const DISPENSABLE: [usize; 4] = [4, 1, 3, 2];

/// The heading and the rows `first` to `first + height`, `width` columns wide.
#[must_use]
pub fn lines(shot: &Shot, first: usize, height: usize, width: usize) -> (Pieces, Vec<Pieces>) {
    let behind = first.saturating_add(height).min(shot.rows.len());
    let rows = shot.rows.get(first..behind).unwrap_or_default();
    let cells: Vec<[Cell; 5]> = rows.iter().map(|row| cells(row, &shot.total)).collect();
    let widths: [usize; 5] = std::array::from_fn(|place| {
        let heading = HEADINGS.get(place).map_or(0, |text| columns(text));
        let cells = cells.iter().filter_map(|cells| cells.get(place));
        cells
            .map(|(text, _)| columns(text))
            .fold(heading, usize::max)
    });
    let shown = shown(&widths, width);
    let indent: usize = shown.iter().map(|(_, width)| width + GAP).sum();
    let room = width.saturating_sub(indent);
    let mut heading = Pieces::new();
    for &(place, width) in &shown {
        let text = HEADINGS.get(place).copied().unwrap_or_default();
        heading.push((padded(text, width), Paint::Bold));
    }
    heading.push((cut_end(shot.group_by.name(), room), Paint::Bold));
    let lines = rows.iter().zip(&cells).map(|(row, cells)| {
        let mut line = Pieces::new();
        for &(place, width) in &shown {
            if let Some((text, paint)) = cells.get(place) {
                line.push((padded(text, width), *paint));
            }
        }
        line.extend(key(row, shot.group_by, room));
        line
    });
    (heading, lines.collect())
}

/// `text` to the right in `width` columns, and the gap behind it.
fn padded(text: &str, width: usize) -> String {
    let pad = " ".repeat(width.saturating_sub(columns(text)));
    format!("{pad}{text}{}", " ".repeat(GAP))
}

/// The columns that fit, with their widths.
fn shown(widths: &[usize; 5], width: usize) -> Vec<(usize, usize)> {
    let mut shown: Vec<(usize, usize)> = widths.iter().copied().enumerate().collect();
    for unneeded in DISPENSABLE {
        let taken: usize = shown.iter().map(|(_, width)| width + GAP).sum();
        if taken + KEY_COLUMNS_WANTED <= width {
            break;
        }
        shown.retain(|(place, _)| *place != unneeded);
    }
    shown
}

fn cells(row: &ShotRow, total: &Change) -> [Cell; 5] {
    let change = &row.change;
    let paint = |change: i64| match change {
        1.. => Paint::Worse,
        0 => Paint::Plain,
        _ => Paint::Better,
    };
    let share = percent(change.to.bytes, total.to.bytes);
    [
        (size(change.to.bytes), Paint::Number),
        (format!("{share:.1}"), Paint::Plain),
        (signed_size(change.bytes()), paint(change.bytes())),
        (count(change.to.count), Paint::Plain),
        (signed_count(change.count()), paint(change.count())),
    ]
}

/// What a row is about, and beside it what else is known.
fn key(row: &ShotRow, group_by: GroupBy, room: usize) -> Pieces {
    let key = printable(&row.key);
    // The most recent frame of a traceback stands first.
    let key = match group_by {
        GroupBy::Traceback => cut_end(&key, room),
        _ => cut_middle(&key, room),
    };
    let left = room.saturating_sub(columns(&key) + GAP);
    let mut pieces = vec![(key, Paint::Plain)];
    if !row.aside.is_empty() && left >= 8 {
        let aside = cut_middle(&printable(&row.aside), left);
        pieces.push((format!("{}{aside}", " ".repeat(GAP)), Paint::Dim));
    }
    pieces
}
