//! Half-written tapes of a drainer that died, and going on with them.
//!
//! In: a session's identity and the folder where its tapes were begun. Out: for each tape what it
//! holds already, by stream. Together with the places that the dead drainer committed this tells
//! exactly which events are only in the rings, so none is lost and none is written twice.

use crate::drainer::Drainer;
use crate::error::DrainError;
use crate::folding::remove_left;
use crate::lineage::file_name;
use crate::names::Names;
use crate::notes::Known;
use crate::outcome::Outcome;
use crate::process::ProcessState;
use crate::relate::relate;
use crate::session_file::Session;
use crate::tape::{EventCounts, TapeWriter};
use crate::tape_file::TapeFile;
use heaptape_format::chunk::ChunkKind;
use heaptape_format::event::EventReader;
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::tables::{CodeObject, Epoch, Folded, Process, Record, records};
use heaptape_format::{DecodeError, TapeHeader};
use heaptape_session::layout::state;
use heaptape_session::sync::Ordering;
use memmap2::Mmap;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// What a tape has of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Stack nodes.
    pub nodes: u32,
    /// Stamp of the last event.
    pub last_stamp: u64,
}

/// One half-written tape.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) path: PathBuf,
    pub(crate) header: TapeHeader,
    /// End of its last whole chunk.
    bytes: u64,
    /// Number of the next chunk.
    sequence: u64,
    pub(crate) counts: EventCounts,
    streams: FxHashMap<u32, Written>,
    known: Known,
    /// The image's record.
    pub(crate) process: Option<Process>,
    /// It was closed.
    pub(crate) has_end: bool,
    epochs: u32,
}

/// The tape at `path`, its header and the header's length, when it belongs to the session
/// `session_id`.
pub(crate) fn tape_of_session(
    path: &Path,
    session_id: &[u8; 16],
) -> Option<(Mmap, TapeHeader, usize)> {
    // Anything else, a pipe above all, could keep us waiting.
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    // SAFETY: the drainer of the session is dead and the tape is nobody else's to write; a file
    // that is cut by somebody all the same ends this process and harms no data.
    let tape = unsafe { Mmap::map(&file) }.ok()?;
    let (header, length) = TapeHeader::decode(&tape).ok()?;
    (header.session_id == *session_id).then_some((tape, header, length))
}

impl Recovered {
    /// Reads the tape at `path` when it belongs to the session `session_id`.
    fn read(path: &Path, session_id: &[u8; 16]) -> Option<Self> {
        let (tape, header, length) = tape_of_session(path, session_id)?;
        let mut recovered = Self {
            path: path.to_owned(),
            header,
            bytes: length as u64,
            sequence: 0,
            counts: EventCounts::default(),
            streams: FxHashMap::default(),
            known: Known::default(),
            process: None,
            has_end: false,
            epochs: 0,
        };
        let mut payload = Vec::new();
        for found in Scan::new(&tape, length) {
            // What stands behind damage was never written by a drainer: chunks are appended one
            // after another.
            let Found::Chunk(chunk) = found else { break };
            recovered.has_end = chunk.header.kind == ChunkKind::END;
            if recovered.has_end || recovered.add(&chunk, &tape, &mut payload).is_err() {
                break;
            }
            recovered.bytes = chunk.offset + chunk.header.total_bytes();
            recovered.sequence = chunk.header.sequence + 1;
        }
        Some(recovered)
    }

    fn add(
        &mut self,
        chunk: &FoundChunk,
        tape: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let header = &chunk.header;
        chunk.payload(tape, payload)?;
        match header.kind {
            ChunkKind::EVENTS => {
                for event in EventReader::new(payload, header.count, header.stamp_first)? {
                    let event = event?;
                    self.counts.add(event.operation.kind(), event.size);
                }
                let stream = self.streams.entry(header.stream).or_default();
                stream.events = header.first + u64::from(header.count);
                stream.last_stamp = header.stamp_last;
            }
            ChunkKind::STACK_NODES => {
                let stream = self.streams.entry(header.stream).or_default();
                let next = header.first + u64::from(header.count);
                stream.nodes = u32::try_from(next - 1).unwrap_or(u32::MAX);
            }
            ChunkKind::FOLDED => {
                let found: Vec<Folded> = records_of(payload, header.count)?;
                found
                    .iter()
                    .for_each(|folded| self.counts.add_folded(folded));
            }
            ChunkKind::MARKS => self.known.marks.extend(records_of(payload, header.count)?),
            ChunkKind::LOST => {
                let lost: Vec<heaptape_format::tables::Lost> = records_of(payload, header.count)?;
                self.counts.lost += lost.iter().map(|lost| lost.count).sum::<u64>();
                self.known.lost.extend(lost);
            }
            ChunkKind::CODE_OBJECTS => {
                let found: Vec<CodeObject> = records_of(payload, header.count)?;
                let numbers = found.iter().map(|code| code.number);
                self.known.codes.extend(numbers);
            }
            ChunkKind::CHILDREN => self
                .known
                .children
                .extend(records_of(payload, header.count)?),
            ChunkKind::PROCESS => {
                let mut found: Vec<Process> = records_of(payload, header.count)?;
                self.process = found.pop();
            }
            ChunkKind::EPOCHS => {
                let found: Vec<Epoch> = records_of(payload, header.count)?;
                self.epochs = found.last().map_or(self.epochs, |epoch| epoch.number);
            }
            _ => {}
        }
        Ok(())
    }

    /// The tape's file, cut to its whole chunks: at its place, or moved to `target`, which must not
    /// exist.
    fn file(&self, target: Option<&Path>) -> io::Result<TapeFile> {
        let Some(target) = target.filter(|target| *target != self.path) else {
            return TapeFile::append_to(&self.path, self.bytes);
        };
        drop(TapeFile::create(target, u64::MAX)?);
        // Only its own name was just made: nothing of anybody's is replaced.
        if std::fs::rename(&self.path, target).is_err() {
            // On another file system.
            std::fs::copy(&self.path, target)?;
            let _ = std::fs::remove_file(&self.path);
        }
        TapeFile::append_to(target, self.bytes)
    }
}

fn records_of<R: Record>(payload: &[u8], count: u32) -> Result<Vec<R>, DecodeError> {
    records(payload, count)
}

/// Writes what is left in the session at `path` and removes the session. The first process's tape
/// becomes `output`; without it, it stays where it was begun. Recorders that still run turn
/// themselves off.
///
/// # Errors
/// `OpenSession`, `SessionInUse`, `TapeExists`.
pub fn recover(path: &Path, output: Option<&Path>) -> Result<Outcome, DrainError> {
    let session = Session::open(path)?;
    if let Some(drainer) = session.live_drainer() {
        let path = path.to_owned();
        return Err(DrainError::SessionInUse { path, drainer });
    }
    let begun = session.output();
    let output = output.unwrap_or(&begun).to_owned();
    let ours = output == begun || is_empty(&output);
    if !ours && output.exists() {
        return Err(DrainError::TapeExists { path: output });
    }
    session.take_over();
    let header = session.map.header();
    // Release: recorders that see it stop before we read the rings for the last time.
    header.state.store(state::CLOSED, Ordering::Release);
    let mut session_id = [0; 16];
    for (place, word) in session_id.chunks_exact_mut(8).zip(&header.session_id) {
        place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    let root_pid = header.root_pid.load(Ordering::Relaxed) as u32;
    let root_start_time = header.root_start_time.load(Ordering::Relaxed);
    let clock = session.clock();
    let mut drainer = Drainer::over(session, clock);
    drainer.recovered = begun
        .parent()
        .map(|folder| find(folder, &session_id))
        .unwrap_or_default();
    let has_root = drainer.recovered.iter().any(|tape| tape.path == begun);
    for reserved in [&begun, &output] {
        if !has_root && is_empty(reserved) {
            // Only the name was reserved.
            let _ = std::fs::remove_file(reserved);
        }
    }
    let begun_names: FxHashMap<String, [u8; 16]> = drainer
        .recovered
        .iter()
        .map(|tape| (file_name(&tape.path), tape.header.tape_id))
        .collect();
    drainer.begun_names = Some(Names::new(&begun));
    drainer.names = Some(Names::new(&output));
    // The last image that had the name may be over, and the next one takes it.
    drainer.root.has_tape = has_root && output == begun;
    // Killed before it could say which: the first that joined.
    drainer.root.adopts_first = root_pid == 0;
    drainer.root.pid = root_pid;
    drainer.root.start_time = root_start_time;
    let size_limit = header_limit(&drainer);
    let mut outcome = drainer.finish();
    outcome.size_limit = size_limit;
    if has_root && !output.exists() {
        // It was finished before, so that nobody went on with it.
        let _ = std::fs::rename(&begun, &output);
    }
    let folders = [begun.parent(), output.parent()];
    let folders = folders.into_iter().flatten();
    relate(folders, &session_id, &begun_names, root_pid);
    Ok(outcome)
}

/// How long its tapes may be, in bytes.
fn header_limit(drainer: &Drainer) -> Option<u64> {
    let limit = &drainer.session.map.header().tape_bytes_max;
    // Relaxed: who stored it is gone.
    Some(limit.load(Ordering::Relaxed)).filter(|&limit| limit > 0)
}

fn is_empty(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// The tapes of the session in `folder`.
fn find(folder: &Path, session_id: &[u8; 16]) -> Vec<Recovered> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let found = entries.filter_map(|entry| Recovered::read(&entry.ok()?.path(), session_id));
    let found: Vec<Recovered> = found.collect();
    for tape in &found {
        remove_left(&tape.path, &tape.header.tape_id);
    }
    found
}

impl Drainer {
    /// Goes on with the tape `tape_id` when the last drainer had begun it.
    pub(crate) fn adopt_recovered(&mut self, process: &mut ProcessState, tape_id: [u8; 16]) {
        let place = self
            .recovered
            .iter()
            .position(|tape| tape.header.tape_id == tape_id);
        let Some(names) = self.names.clone() else {
            return;
        };
        let Some(place) = place else {
            if tape_id != [0; 16]
                && let Some(begun) = &self.begun_names
            {
                let start = Duration::from_nanos(self.clock.start_realtime_ns());
                begun.remove_unwritten(process.pid, process.is_root, UNIX_EPOCH + start);
            }
            return;
        };
        let tape = self.recovered.swap_remove(place);
        let file = if process.is_root {
            self.root.has_tape = true;
            tape.file(Some(names.root()))
        } else {
            tape.file(None)
        };
        let writer = match file {
            Ok(file) => TapeWriter::resume(file, tape.header, tape.sequence, tape.counts),
            Err(error) => {
                let reason = format!("the tape cannot be continued: {error}");
                TapeWriter::refusing(tape.header, reason)
            }
        };
        if let Some(facts) = tape.process {
            process.notes.process = facts;
            process.notes.process_changed = false;
        }
        if let Some(image) = self.images.get_mut(&(process.slot, process.generation)) {
            image.tape = writer.path().map(Path::to_owned);
        }
        process.is_unlinked = process.notes.process.parent_tape.is_empty();
        process.notes.set_known(tape.known);
        process.epochs = (tape.epochs, tape.counts.events());
        process.written = tape.streams;
        process.tape = Some(writer);
    }
}
