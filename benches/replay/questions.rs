//! The questions, and how long each took.

use heaptape::stats::query::At;
use heaptape::stats::{GroupBy, Query};
use heaptape::{OpenOptions, Recording};
use heaptape_benches::Spread;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

/// How often each question is asked.
const ASKED: usize = 15;
/// Points of a timeline.
const POINTS: usize = 1000;

/// What the cells of a [`Column`] are.
pub(crate) const ROWS: [&str; 6] = [
    "index build, written",
    "open with the index, ms",
    "live heap at T, ms",
    "live heap by traceback at T, ms",
    "diff by traceback of T and U, ms",
    "timeline of 1,000 points, ms",
];

/// The answers of one number of threads.
#[derive(Debug)]
pub(crate) struct Column {
    /// In the order of [`ROWS`].
    pub(crate) cells: Vec<String>,
    /// Events of the tape that could be read.
    events: u64,
    index_bytes: u64,
    /// Most blocks alive at a moment that was asked for.
    live: usize,
}

/// Asks everything of the tape at `path` on `threads` threads.
pub(crate) fn ask(path: &Path, threads: usize) -> anyhow::Result<Column> {
    let options = OpenOptions {
        threads: Some(threads),
        ..OpenOptions::default()
    };
    let building = Instant::now();
    let recording = Recording::open(path, &options)?;
    let index = recording.build_index()?;
    let built = building.elapsed().as_secs_f64();
    let events = recording.summary()?.readable_events;
    drop(recording);
    let open = || -> anyhow::Result<Recording> {
        let recording = Recording::open(path, &options)?;
        recording.summary()?;
        Ok(recording)
    };
    let opened = times(|_| open())?;
    let recording = open()?;
    let tape = recording.tape();
    let (start, run) = (tape.start_stamp, tape.end_stamp - tape.start_stamp);
    let at = |share: f64| At {
        recording: &recording,
        stamp: start + (run as f64 * share) as u64,
    };
    let mut live = 0;
    let live_heap = times(|take| {
        let blocks = recording.live_heap(at(somewhere(take)).stamp)?;
        live = live.max(blocks.len());
        Ok(blocks)
    })?;
    let query = Query {
        group_by: GroupBy::Traceback,
        ..Query::default()
    };
    let grouped = times(|take| Ok(query.live(at(somewhere(take)))?))?;
    let diff = times(|take| Ok(query.diff(at(somewhere(take)), at(somewhere(take + ASKED)))?))?;
    let timeline = times(|_| Ok(recording.timeline(POINTS)?))?;
    let rate = format!(
        "{built:.2} s, {:.1} M events/s",
        events as f64 / built / 1e6
    );
    let mut cells = vec![rate];
    let questions = [opened, live_heap, grouped, diff, timeline];
    cells.extend(questions.map(|spread| format!("{spread:.1}")));
    Ok(Column {
        cells,
        events,
        index_bytes: index.bytes,
        live,
    })
}

/// What the tape is like.
pub(crate) fn words(path: &Path, columns: &[Column]) -> anyhow::Result<String> {
    let tape = std::fs::metadata(path)?.len();
    let Some(column) = columns.first() else {
        return Ok(String::new());
    };
    Ok(format!(
        "{:.2} M events, up to {} blocks alive, tape {:.1} MiB ({:.2} B/event), index {:.0} %",
        column.events as f64 / 1e6,
        column.live,
        tape as f64 / 1_048_576.0,
        tape as f64 / column.events.max(1) as f64,
        column.index_bytes as f64 * 100.0 / tape.max(1) as f64,
    ))
}

/// Milliseconds of each time that `question` is asked.
fn times<R>(mut question: impl FnMut(usize) -> anyhow::Result<R>) -> anyhow::Result<Spread> {
    let mut takes = Vec::with_capacity(ASKED);
    for take in 0..ASKED {
        let start = Instant::now();
        black_box(question(take)?);
        takes.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Spread::of(takes).ok_or_else(|| anyhow::anyhow!("nothing was asked"))
}

/// The same spread-out shares of the run every time, from 0 to 1 (a golden-ratio sequence).
fn somewhere(take: usize) -> f64 {
    (take as f64 + 1.0)
        .mul_add(0.618_033_988_749_894_9, 0.1)
        .fract()
}
