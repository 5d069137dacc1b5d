//! `heaptape timeline`: the heap over time.

use super::args::{Format, FormatArgs, OpenArgs, number};
use super::output::{self, Output};
use super::{Exit, Outcome, open};
use clap::Args;
use heaptape::report::{timeline, units};
use std::path::PathBuf;

/// Points where neither an option nor a terminal says how many.
const POINTS_DEFAULT: usize = 100;
/// Columns of the terminal that the chart's labels take.
const LABEL_COLUMNS: usize = 16;

/// Live bytes and blocks, resident memory and rates over time
///
/// A realloc counts as one allocation and one free.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape timeline app.tape\n  \
    heaptape timeline app.tape --points 1000 --format csv > app.csv")]
pub(super) struct Timeline {
    /// The tape.
    tape: PathBuf,
    /// Points over the run [default: 100, or as many as the terminal is wide].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number(1u32..=1_000_000, "write how many points, from 1 to 1000000"))]
    points: Option<u32>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl Timeline {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let recording = open::open(&self.tape, &self.open)?;
        let style = output.style;
        let asked = self
            .points
            .map(|points| usize::try_from(points).unwrap_or(POINTS_DEFAULT));
        let room = match (self.format.format, style.width) {
            (Format::Text, Some(width)) => Some(width.saturating_sub(LABEL_COLUMNS).max(10)),
            _ => None,
        };
        if let (Some(asked), Some(room)) = (asked, room)
            && asked > room
        {
            output::note(&format!(
                "{asked} points do not fit the terminal: these are {room}"
            ));
        }
        let points = match (asked, room) {
            (Some(asked), Some(room)) => asked.min(room),
            (one, other) => one.or(other).unwrap_or(POINTS_DEFAULT),
        };
        let points = recording.timeline(points)?;
        let header = &recording.tape().header;
        let name = self.tape.display().to_string();
        match self.format.format {
            Format::Text => {
                let sizes = self.format.sizes();
                let high = points.iter().map(|point| point.high).max().unwrap_or(0);
                let high = sizes.size_unit(high);
                let end = recording.tape().end_stamp;
                let end = units::time(header.stamp_to_ns(end));
                let title = format!("{name}: live heap, up to {high}, to {end}");
                timeline::write_text(&title, &points, header, (&style, sizes), output)?;
            }
            Format::Json => timeline::write_json(&name, &points, header, output)?,
            Format::Csv => timeline::write_csv(&points, header, output)?,
        }
        Ok(Exit::DONE)
    }
}
