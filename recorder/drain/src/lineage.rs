//! Who started whom: parents in the records of children, children in the tapes of parents.
//!
//! In: images, tapes that are created, renamed or closed. Out: records, in open tapes and behind
//! the end of closed ones. A closed tape is only touched while no other process may write to it:
//! a drainer that goes on in the background waits for the launcher that puts symbols into it.

use crate::drainer::Drainer;
use crate::process::ProcessState;
use crate::process_info;
use crate::tape::TapeWriter;
use crate::tape_file::TapeFile;
use heaptape_format::TapeHeader;
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo, ChunkKind};
use heaptape_format::scan::{Found, Scan};
use heaptape_format::tables::{Child, Process, Record, put_record};
use heaptape_format::text;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// `Process::origin` of a forked image.
const FORKED: u8 = 1;
/// How long the launcher may take for its symbols.
const LAUNCHER_LIMIT: Duration = Duration::from_secs(600);

/// A record for a closed tape.
#[derive(Debug)]
pub(crate) struct Amendment {
    image: (u32, u32),
    kind: ChunkKind,
    payload: Vec<u8>,
    stamp: u64,
}

impl Drainer {
    /// Names the parent's tape in this image's record, and this tape among the parent's children.
    pub(crate) fn link_to_parent(&mut self, process: &mut ProcessState) {
        let Some(parent) = process.parent else {
            return;
        };
        if let Some(image) = self.images.get(&(process.slot, process.generation)) {
            // A tape that is continued may have the one of before it was known.
            process.notes.process.cut_stamp = image.cut_stamp;
        }
        let parent = self.recorded_ancestor(process, parent);
        let here = self.processes.get(parent.0 as usize);
        let here = here.and_then(Option::as_ref);
        if here.is_some_and(|other| other.generation == parent.1) {
            self.ensure_tape_of(parent.0);
        } else {
            self.write_late_tape(parent);
        }
        let Some(path) = self
            .images
            .get(&parent)
            .and_then(|image| image.tape.as_ref())
        else {
            return;
        };
        process.notes.process.parent_tape = file_name(path);
        process.notes.process_changed = true;
        let own = process.tape.as_ref().and_then(TapeWriter::path);
        let name = own.map(file_name).unwrap_or_default();
        let child = child_of(&process.notes.process, name);
        self.add_child(parent, child);
    }

    /// A forked image runs its parent's program: what it could not say of itself (it may open no
    /// file) and what was too late to be asked for is the parent's.
    pub(crate) fn inherit_facts(&self, process: &mut ProcessState) {
        let Some(parent) = process
            .parent
            .filter(|_| process.notes.process.origin == FORKED)
        else {
            return;
        };
        let state = self.processes.get(parent.0 as usize);
        let state = state.and_then(Option::as_ref);
        let open = state
            .filter(|state| state.generation == parent.1)
            .map(|state| &state.notes.process);
        let closed = || self.images.get(&parent)?.facts.as_ref();
        let Some(from) = open.or_else(closed) else {
            return;
        };
        let to = &mut process.notes.process;
        if to.command.is_empty() && !from.command.is_empty() {
            to.command.clone_from(&from.command);
            process.notes.process_changed = true;
        }
        for (to, from) in [
            (&mut to.executable, &from.executable),
            (&mut to.working_folder, &from.working_folder),
        ] {
            if to.is_empty() && !from.is_empty() {
                to.clone_from(from);
                process.notes.process_changed = true;
            }
        }
    }

    /// The image whose tape is to be named as the parent's.
    ///
    /// A forked image that made no event before it forked itself has no tape then. What it handed
    /// on is what it inherited, so that its own fork is the cut and its parent the parent. This
    /// holds whether it lives on or not: what it does later concerns no child that it has already.
    /// A program that was started inherits nothing, so that it can be its grandparent's child when
    /// its parent is over and has no tape.
    fn recorded_ancestor(&mut self, process: &mut ProcessState, parent: (u32, u32)) -> (u32, u32) {
        let mut ancestor = parent;
        while let Some(image) = self.images.get(&ancestor) {
            let inherits = process.notes.process.origin == FORKED;
            let is_passed = image.origin == FORKED || !inherits && image.silent_end.is_some();
            let next = image.parent.filter(|_| is_passed);
            let (None, false, Some(next)) = (&image.tape, image.is_closed, next) else {
                break;
            };
            let cut_stamp = image.cut_stamp;
            if self.has_events(ancestor) {
                break;
            }
            if process.notes.process.origin == FORKED {
                process.notes.process.cut_stamp = cut_stamp;
            }
            ancestor = next;
        }
        process.parent = Some(ancestor);
        if let Some(image) = self.images.get_mut(&(process.slot, process.generation)) {
            image.parent = Some(ancestor);
        }
        ancestor
    }

    /// True when the image made events. A forked one's were published before its children joined,
    /// so that none is overlooked once a child is known.
    fn has_events(&mut self, image: (u32, u32)) -> bool {
        let here = self
            .processes
            .get(image.0 as usize)
            .and_then(Option::as_ref)
            .filter(|process| process.generation == image.1);
        let Some(process) = here else { return false };
        let memory = &self.session.map;
        let mut streams = self.streams.iter_mut().flatten();
        process.tape.is_some()
            || streams.any(|stream| stream.process == image.0 && stream.pending(memory) > 0)
    }

    /// Puts a child into the parent's tape, whether that is still open or not.
    pub(crate) fn add_child(&mut self, parent: (u32, u32), child: Child) {
        if let Some(Some(process)) = self.processes.get_mut(parent.0 as usize)
            && process.generation == parent.1
        {
            process.notes.children.push(child);
        } else {
            let stamp = child.stamp;
            self.amend(parent, &child, stamp);
        }
    }

    /// A tape was renamed: images and tapes that name it learn of it.
    pub(crate) fn rename_tape(&mut self, from: &Path, to: &Path) {
        let mut renamed = None;
        for (key, image) in &mut self.images {
            if image.tape.as_deref() == Some(from) {
                image.tape = Some(to.to_owned());
                renamed = Some(*key);
            }
        }
        for tape in &mut self.outcome.tapes {
            if tape.path.as_deref() == Some(from) {
                tape.path = Some(to.to_owned());
                tape.is_root = false;
            }
        }
        let Some(renamed) = renamed else { return };
        let name = file_name(to);
        let image = self.images.get(&renamed);
        let named = image.and_then(|image| Some((image.parent?, image.facts.as_ref()?)));
        if let Some((parent, facts)) = named {
            let child = child_of(facts, name.clone());
            self.add_child(parent, child);
        }
        for process in self.processes.iter_mut().flatten() {
            if process.parent == Some(renamed) && process.tape.is_some() {
                process.notes.process.parent_tape.clone_from(&name);
                process.notes.process_changed = true;
            }
        }
        let closed: Vec<_> = self
            .images
            .iter()
            .filter(|(_, image)| image.parent == Some(renamed))
            .filter_map(|(key, image)| Some((*key, image.facts.clone()?)))
            .collect();
        for (key, mut facts) in closed {
            facts.parent_tape.clone_from(&name);
            let stamp = facts.cut_stamp;
            self.amend(key, &facts, stamp);
        }
    }

    /// The children that were forked or started by the image in slot `parent`, which ends, get
    /// their tapes now when they have allocated, so that its tape can name them.
    pub(crate) fn name_children(&mut self, parent: u32) {
        let Some(Some(parent)) = self.processes.get(parent as usize) else {
            return;
        };
        let key = Some((parent.slot, parent.generation));
        let children: Vec<u32> = self
            .processes
            .iter()
            .flatten()
            .filter(|process| process.parent == key && process.tape.is_none())
            .filter(|process| !process.is_same_process(parent))
            .map(|process| process.slot)
            .collect();
        for slot in children {
            if self.streams_have_news(slot) {
                self.ensure_tape_of(slot);
            }
        }
    }

    /// Appends a record to a closed tape: now, or when the launcher is done with it.
    fn amend<R: Record>(&mut self, image: (u32, u32), record: &R, stamp: u64) {
        let mut payload = Vec::new();
        put_record(record, &mut payload);
        self.amendments.push(Amendment {
            image,
            kind: R::KIND,
            payload,
            stamp,
        });
        if self.launcher.is_none() {
            self.write_amendments();
        }
    }

    /// Writes what closed tapes still have to be told.
    pub(crate) fn write_amendments(&mut self) {
        if let Some((pid, start_time)) = self.launcher.filter(|_| !self.amendments.is_empty()) {
            let start = Instant::now();
            while process_info::is_alive(pid, start_time) && start.elapsed() < LAUNCHER_LIMIT {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.launcher = None;
        }
        for amendment in std::mem::take(&mut self.amendments) {
            let image = self.images.get(&amendment.image);
            let closed = image.filter(|image| image.is_closed);
            if let Some(path) = closed.and_then(|image| image.tape.as_ref()) {
                // A tape that was moved or damaged meanwhile stays without it.
                append_to_closed(path, amendment.kind, amendment.stamp, &amendment.payload);
            }
        }
    }
}

/// The record of the image with `facts`, whose tape is called `tape`, in its parent's tape.
pub(crate) fn child_of(facts: &Process, tape: String) -> Child {
    let command = if facts.command.is_empty() {
        facts.executable.clone()
    } else {
        facts.command.join(" ")
    };
    Child {
        stamp: facts.cut_stamp,
        pid: facts.pid,
        origin: facts.origin,
        tape,
        command,
        reason: String::new(),
    }
}

/// Appends a record to the closed tape at `path`; None: it is not there or not readable.
pub(crate) fn append_record<R: Record>(path: &Path, record: &R, stamp: u64) -> Option<()> {
    let mut payload = Vec::new();
    put_record(record, &mut payload);
    append_to_closed(path, R::KIND, stamp, &payload)
}

/// Appends a chunk behind the last whole one.
fn append_to_closed(path: &Path, kind: ChunkKind, stamp: u64, payload: &[u8]) -> Option<()> {
    // First the lock: symbols may be added in between.
    let mut file = TapeFile::open(path).ok()?;
    let sequence = next_sequence(path)?;
    let info = ChunkInfo {
        stamp_first: stamp,
        stamp_last: stamp,
        ..ChunkInfo::table(kind, 1, sequence)
    };
    let mut out = Vec::new();
    ChunkEncoder::new(1).encode(&info, payload, &mut out).ok()?;
    let written = file.append_last(&out).ok();
    file.finish();
    written
}

/// The number of the next chunk of a tape that is undamaged to its last byte.
fn next_sequence(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    // SAFETY: a tape of ours that nobody else writes to; a file that is cut by somebody all the
    // same ends this process and harms no data.
    let tape = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    let (_, length) = TapeHeader::decode(&tape).ok()?;
    let mut end = (length as u64, 0);
    for found in Scan::new(&tape, length) {
        let Found::Chunk(chunk) = found else {
            return None;
        };
        end = (
            chunk.offset + chunk.header.total_bytes(),
            chunk.header.sequence + 1,
        );
    }
    (end.0 == tape.len() as u64).then_some(end.1)
}

/// The last part of a path, as the tape stores it.
pub(crate) fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .map(|name| text::of_bytes(name.as_bytes()))
        .unwrap_or_default()
}
