//! Which tape of a process tree holds the most: a shell or a compiler driver allocates next to
//! nothing, its children do.

use heaptape::report::units::percent;
use heaptape::tape::TapeTotals;
use heaptape::{OpenOptions, Recording, Tape};
use heaptape_format::TapeHeader;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A tape with less than this share of what was allocated, in percent, is worth a note.
const SHARE_MIN: f64 = 5.0;
/// Files of the folder that are looked at.
const FILES_MAX: usize = 4096;
/// Of the tapes that do not say what they add up to, so many with the largest files are read.
const READ_MAX: usize = 3;

/// The tape that holds the most of a process tree.
#[derive(Debug)]
pub(super) struct Largest {
    pub(super) path: PathBuf,
    /// What another tape of the tree holds, and that this one has the most.
    pub(super) note: String,
}

/// The tape that holds the most, when the recording has less than 5 % of what its process tree
/// allocated.
pub(super) fn largest_tape(recording: &Recording, options: &OpenOptions) -> Option<Largest> {
    let tape = recording.tape();
    let others = tapes_of_session(&tape.path, &tape.header)?;
    if others.is_empty() {
        return None;
    }
    let (told, mut untold): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|other| other.allocated.is_some());
    // What is not counted makes the share of this one larger, so that a note is never wrong.
    untold.sort_unstable_by_key(|other| std::cmp::Reverse(other.file_bytes));
    untold.truncate(READ_MAX);
    for other in &mut untold {
        let read = Recording::open(&other.path, options);
        other.allocated = read
            .ok()
            .and_then(|read| Some(read.summary().ok()?.bytes_allocated));
    }
    let others: Vec<(u64, PathBuf)> = told
        .into_iter()
        .chain(untold)
        .filter_map(|other| Some((other.allocated?, other.path)))
        .collect();
    let own = recording.summary().ok()?.bytes_allocated;
    let total = others
        .iter()
        .fold(own, |total, (bytes, _)| total.saturating_add(*bytes));
    let share = percent(own, total);
    let (bytes, largest) = others.into_iter().max()?;
    (bytes > own && share < SHARE_MIN).then(|| {
        let command = Tape::open(&largest)
            .ok()
            .and_then(|tape| tape.process.command.into_iter().next())
            .map_or(String::new(), |command| format!(" ({command})"));
        let note = format!(
            "{} holds {share:.1} % of what its process tree allocated; the most is in {}{command}",
            tape.path.display(),
            largest.display()
        );
        Largest {
            path: largest,
            note,
        }
    })
}

/// Another tape of the tree.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    file_bytes: u64,
    /// What it says of itself.
    allocated: Option<u64>,
}

/// The other tapes of the same run beside `path`; of copies one.
fn tapes_of_session(path: &Path, header: &TapeHeader) -> Option<Vec<Other>> {
    let session = header.session_id;
    if session == [0; 16] {
        return None;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let own = path.file_name()?;
    let mut found = Vec::new();
    let mut known = HashSet::from([header.tape_id]);
    for entry in std::fs::read_dir(folder).ok()?.take(FILES_MAX).flatten() {
        let candidate = entry.path();
        let is_tape = candidate
            .extension()
            .is_some_and(|extension| extension == "tape");
        if !is_tape || entry.file_name() == own {
            continue;
        }
        let Some(bytes) = entry.metadata().ok().filter(std::fs::Metadata::is_file) else {
            continue;
        };
        let totals = TapeTotals::open(&candidate);
        if let Some(totals) = totals.filter(|totals| totals.session_id == session)
            && known.insert(totals.tape_id)
        {
            // `x.tape` in the current folder is shown as it was written.
            let shown = match path.parent() {
                Some(folder) => folder.join(entry.file_name()),
                None => PathBuf::from(entry.file_name()),
            };
            found.push(Other {
                path: shown,
                file_bytes: bytes.len(),
                allocated: totals.allocated_bytes(),
            });
        }
    }
    Some(found)
}
