//! Opening recordings, with what a reader should know about them.

use super::args::{OpenArgs, TapeAt};
use super::{output, tree};
use anyhow::bail;
use heaptape::gap::Paused;
use heaptape::recording::Progress;
use heaptape::{Error, Moment, OpenOptions, Recording, ResolvedMoment};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// An index that is built faster than this is not worth a bar.
const BAR_AFTER: Duration = Duration::from_millis(500);
const BAR_STEPS: u64 = 1000;

/// Opens the tape at `path`; says so when something is missing in it or was left out, and when
/// another tape of its process tree holds the most.
pub(super) fn open(path: &Path, args: &OpenArgs) -> anyhow::Result<Recording> {
    open_checked(path, args, Check::Index)
}

/// As [`open`]; `check` says how an index is believed.
pub(super) fn open_checked(
    path: &Path,
    args: &OpenArgs,
    check: Check,
) -> anyhow::Result<Recording> {
    let recording = open_for_facts(path, args, check)?;
    if let Some(gap) = recording.gap()? {
        let path = path.display();
        output::note(&format!("{path}: {gap}; heaptape info tells more"));
    }
    if let Some(folded) = &recording.tape().folded {
        let from = recording.tape().header.stamp_to_ns(folded.stamp);
        output::note(&format!(
            "{}: folded up to {}: what died before is gone",
            path.display(),
            heaptape::report::units::time(from)
        ));
    }
    // A gate refuses what was always paused, and says why.
    let is_gate = check == Check::Events;
    let paused = Paused::of(recording.tape());
    if let Some(paused) = paused.filter(|paused| !is_gate || *paused != Paused::Always) {
        output::note(&format!("{}: {paused}", path.display()));
    }
    Ok(recording)
}

/// How an index is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// When it is of the tape as it was last changed.
    Index,
    /// When the checksums of all events are right, too.
    Events,
}

/// As [`open`], for who tells what is missing.
pub(super) fn open_for_facts(
    path: &Path,
    args: &OpenArgs,
    check: Check,
) -> anyhow::Result<Recording> {
    refuse_moment(path)?;
    let options = OpenOptions {
        threads: args.threads.map(usize::from),
        use_index: !args.no_index,
        write_index: !args.no_index,
        check_events: check == Check::Events,
        progress: Some(index_bar()),
        ..OpenOptions::default()
    };
    let recording = Recording::open(path, &options)?;
    if let Some(largest) = tree::largest_tape(&recording, &options) {
        output::note(&largest.note);
    }
    Ok(recording)
}

/// `TAPE@T` where a tape alone is wanted.
fn refuse_moment(path: &Path) -> anyhow::Result<()> {
    match TapeAt::parse(path.as_os_str()) {
        Ok(TapeAt {
            path: tape,
            moment: Some(moment),
        }) if tape.exists() => {
            let (whole, tape) = (path.display(), tape.display());
            let advice = match (super::takes("at"), super::takes("from")) {
                (true, _) => format!("name {tape}, and the moment by --at {moment}"),
                (_, true) => format!("name {tape}, and a window by --from T and --to T"),
                _ => format!(
                    "name {tape} alone; heaptape stats {tape} --at {moment} tells of a moment"
                ),
            };
            bail!("{whole}: this verb takes no TAPE@T; {advice}")
        }
        _ => Ok(()),
    }
}

/// A bar that shows how far the building of an index is: on a terminal, and only when it takes
/// long enough to be wondered about.
pub(super) fn index_bar() -> Progress {
    let start = Instant::now();
    let bar = OnceLock::new();
    Progress(Arc::new(move |part: f64| {
        if start.elapsed() < BAR_AFTER {
            return;
        }
        let bar: &ProgressBar = bar.get_or_init(|| {
            let bar = ProgressBar::new(BAR_STEPS);
            if let Ok(style) = ProgressStyle::with_template("{spinner} index {bar:30} {percent}%") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position((part * BAR_STEPS as f64) as u64);
        if part >= 1.0 {
            bar.finish_and_clear();
        }
    }))
}

/// The moment that `text` (or, without one, `default`) stands for in `recording`, with its text.
/// The recording tells of the heap then.
pub(super) fn moment(
    recording: &Recording,
    text: Option<&str>,
    default: &'static str,
) -> Result<(ResolvedMoment, String), Error> {
    let (found, text) = when(recording, text, default)?;
    recording.check_told(found)?;
    Ok((found, text))
}

/// As [`moment`], whether the recording still tells of the heap then or not.
pub(super) fn when(
    recording: &Recording,
    text: Option<&str>,
    default: &'static str,
) -> Result<(ResolvedMoment, String), Error> {
    let text = text.unwrap_or(default);
    let asked = Moment::parse(text)?;
    let end = recording.when(&Moment::End)?;
    if matches!(asked, Moment::Ns(ns) if ns > end.ns) {
        let path = recording.tape().path.display();
        let time = heaptape::report::units::time(end.ns);
        output::note(&format!("{path}: {text} is after the end ({time})"));
        return Ok((end, "end".to_owned()));
    }
    let start = recording.when(&Moment::Start)?;
    if matches!(asked, Moment::Ns(ns) if ns > 0 && ns < start.ns) {
        let path = recording.tape().path.display();
        let time = heaptape::report::units::time(start.ns);
        output::note(&format!("{path}: {text} is before the start ({time})"));
    }
    Ok((recording.when(&asked)?, text.to_owned()))
}

/// `12.3 s`, and how it was asked for when that says more.
pub(super) fn moment_words(moment: ResolvedMoment, text: &str) -> String {
    let time = heaptape::report::units::time(moment.ns);
    if text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && !text.ends_with('%')
    {
        time
    } else {
        format!("{text} ({time})")
    }
}
