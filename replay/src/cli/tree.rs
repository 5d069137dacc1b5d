//! Which tape of a process tree holds the most: a shell or a compiler driver allocates next to
//! nothing, its children do.

use heaptape::report::units::percent;
use heaptape::{OpenOptions, Recording};
use heaptape_format::TapeHeader;
use heaptape_format::header::HEADER_BYTES;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A tape with less than this share of what was allocated, in percent, is worth a note.
const SHARE_MIN: f64 = 5.0;
/// Files of the folder that are looked at.
const FILES_MAX: usize = 4096;
/// Of the tapes of the tree the largest few are opened: their sum is at most the tree's, so that
/// a note is never wrong, and folders with hundreds of tapes cost little.
const OPENED_MAX: usize = 3;

/// A note when the recording holds less than 5 % of what its process tree allocated.
pub(super) fn largest_tape(recording: &Recording, options: &OpenOptions) -> Option<String> {
    let tape = recording.tape();
    let mut others = tapes_of_session(&tape.path, tape.header.session_id)?;
    // Without a much larger file beside it this tape has its share.
    others.retain(|(bytes, _)| *bytes > tape.tape_bytes.saturating_mul(2));
    others.sort_unstable_by(|one, other| other.cmp(one));
    others.truncate(OPENED_MAX);
    if others.is_empty() {
        return None;
    }
    let own = recording.summary().ok()?.bytes_allocated;
    let mut total = own;
    let mut largest: Option<(u64, String)> = None;
    for (_, path) in others {
        let Ok(other) = Recording::open(&path, options) else {
            continue;
        };
        let Ok(summary) = other.summary() else {
            continue;
        };
        total = total.saturating_add(summary.bytes_allocated);
        if largest
            .as_ref()
            .is_none_or(|(bytes, _)| summary.bytes_allocated > *bytes)
        {
            let command = other
                .tape()
                .process
                .command
                .first()
                .cloned()
                .unwrap_or_default();
            let text = format!("{} ({command})", path.display());
            largest = Some((summary.bytes_allocated, text));
        }
    }
    let share = percent(own, total);
    let (_, largest) = largest.filter(|(bytes, _)| *bytes > own)?;
    (share < SHARE_MIN).then(|| {
        format!(
            "{} holds {share:.1} % of what its process tree allocated; the most is in {largest}",
            tape.path.display()
        )
    })
}

/// Sizes and paths of the other tapes beside `path` that belong to `session`.
fn tapes_of_session(path: &Path, session: [u8; 16]) -> Option<Vec<(u64, PathBuf)>> {
    if session == [0; 16] {
        return None;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let own = path.file_name()?;
    let mut found = Vec::new();
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
        if session_of(&candidate) == Some(session) {
            // `x.tape` in the current folder is shown as it was written.
            let shown = match path.parent() {
                Some(folder) => folder.join(entry.file_name()),
                None => PathBuf::from(entry.file_name()),
            };
            found.push((bytes.len(), shown));
        }
    }
    Some(found)
}

fn session_of(path: &Path) -> Option<[u8; 16]> {
    let mut bytes = vec![0; HEADER_BYTES];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    let (header, _) = TapeHeader::decode(&bytes).ok()?;
    Some(header.session_id)
}
