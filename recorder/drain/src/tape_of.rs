//! Which tape a running process is recorded to.
//!
//! In: a process id. Out: the path of the tape of its present image. Tapes are renamed and have
//! names of any kind, so it is looked for among the files that the drainer has open: a tape says in
//! its header which one it is, and so does the slot of the image.

use crate::discover::slot_tape_id;
use crate::error::DrainError;
use crate::outside::{NAP, PATIENCE, find};
use heaptape_format::TapeHeader;
use heaptape_format::header::HEADER_BYTES;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a look found.
enum Found {
    Tape(PathBuf),
    /// The drainer has it open, and no path leads to it.
    Gone,
    /// It is not there yet.
    Nothing,
}

/// The tape that process `pid` is recorded to. One that has only just begun is waited for.
///
/// # Errors
/// `NotRecorded`, `DrainerGone`, `NoTapeYet`, `TapeGone`.
pub fn tape_of(pid: u32) -> Result<PathBuf, DrainError> {
    let start = Instant::now();
    loop {
        let (session, place) = find(pid)?;
        let slot = session.map.process(place.index);
        let id = slot.map(slot_tape_id).filter(|id| *id != [0; 16]);
        let drainer = session.live_drainer();
        let found = drainer.zip(id).map(|(drainer, id)| open_tape(drainer, &id));
        match found.unwrap_or(Found::Nothing) {
            Found::Tape(path) => return Ok(path),
            Found::Gone => return Err(DrainError::TapeGone { pid }),
            Found::Nothing if start.elapsed() > PATIENCE => {
                return Err(match id {
                    Some(_) => DrainError::TapeGone { pid },
                    None => DrainError::NoTapeYet { pid },
                });
            }
            Found::Nothing => std::thread::sleep(NAP),
        }
    }
}

/// The tape `id` among the files that process `drainer` has open.
fn open_tape(drainer: u32, id: &[u8; 16]) -> Found {
    let open = fs::read_dir(format!("/proc/{drainer}/fd"));
    let open = open.into_iter().flatten().flatten();
    for descriptor in open.map(|entry| entry.path()) {
        if !is_tape(&descriptor, id) {
            continue;
        }
        let path = fs::read_link(&descriptor).unwrap_or_default();
        // In another mount namespace the path leads elsewhere.
        return match is_tape(&path, id) {
            true => Found::Tape(path),
            false => Found::Gone,
        };
    }
    Found::Nothing
}

/// True when the tape `id` is at `path`.
fn is_tape(path: &Path, id: &[u8; 16]) -> bool {
    // To open a pipe would wait for its other end.
    if !fs::metadata(path).is_ok_and(|file| file.is_file()) {
        return false;
    }
    let mut bytes = [0; HEADER_BYTES];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, 0));
    let header = read.ok().and_then(|()| TapeHeader::decode(&bytes).ok());
    header.is_some_and(|(header, _)| header.tape_id == *id)
}
