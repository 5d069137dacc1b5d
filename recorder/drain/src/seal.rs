//! The part of a pass that moves words from rings into tapes.
//!
//! In: streams with words that wait. Out: chunks of events, each with what it refers to before it.
//! A stream is sealed when it has a chunk's worth of events, when its thread has ended, when a
//! second has passed, and when the pool runs low.

use crate::clock::Clock;
use crate::discover::slot_tape_id;
use crate::drainer::{Drainer, SEAL_GAP_NS};
use crate::process::ProcessState;
use crate::session_file::random_id;
use crate::stream::WORDS_PER_CHUNK;
use crate::tape::TapeWriter;
use crate::tape_file::TapeFile;
use heaptape_format::TapeHeader;
use heaptape_session::layout::{ProcessSlot, phase, turned_off};
use heaptape_session::ring::Memory;
use heaptape_session::slots::{free_stream, stream_owner};
use heaptape_session::sync::Ordering;
use std::io;

/// A sealed chunk takes at least about this many words, unless there are no more.
const WORDS_PER_ROUND: u64 = WORDS_PER_CHUNK / 2;

/// What was seen of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Slot of its process.
    pub(crate) process: u32,
    /// Of its slot.
    pub(crate) phase: u64,
    /// Words that wait.
    pub(crate) pending: u64,
    /// See [`StreamState::taken_until`](crate::stream::StreamState::taken_until).
    pub(crate) taken_until: u64,
}

impl Drainer {
    /// Seals what is due.
    pub(crate) fn seal(&mut self, now: u64) {
        let all = now - self.moments.seal >= SEAL_GAP_NS;
        let cut = if all {
            self.moments.seal = now;
            self.begin_epoch()
        } else {
            None
        };
        self.busy = false;
        if self.limit.is_some() {
            self.seal_within_limit(all, None);
        } else {
            self.seal_streams(all);
        }
        self.seal_missed_modules();
        if all {
            for process in self.processes.iter_mut().flatten() {
                process.write_waiting(&mut self.press);
            }
        }
        if let Some(cut) = cut {
            self.end_epoch(&cut);
        }
    }

    /// Seals the streams that are due; `all`: those with anything that waits.
    fn seal_streams(&mut self, all: bool) {
        let hurry = self.is_awaited(self.count_used());
        for index in 0..self.streams.len() as u32 {
            // In a hurry, only what gives chunks back is worth a chunk of the tape.
            let due = all || hurry && self.gives_back(index);
            self.tend_stream(index, due);
        }
    }

    /// Looks at one stream and seals it when it is due.
    fn tend_stream(&mut self, index: u32, due: bool) {
        let Some(Look { phase, pending, .. }) = self.look_at(index) else {
            return;
        };
        match phase {
            phase::FINISHED => {
                self.seal_modules_first(index);
                self.end_stream(index);
            }
            _ if due && pending > 0 => self.seal_stream(index, 1),
            _ if pending >= WORDS_PER_CHUNK => {
                self.seal_modules_first(index);
                self.seal_stream(index, WORDS_PER_CHUNK);
            }
            _ => {}
        }
    }

    /// What waits in one stream; None for one that waits itself.
    pub(crate) fn look_at(&mut self, index: u32) -> Option<Look> {
        let holds = {
            let stream = self.streams.get(index as usize)?.as_ref()?;
            self.holds(stream.process)
        };
        let stream = self.streams.get_mut(index as usize)?.as_mut()?;
        let memory = &self.session.map;
        // The phase first: when it says FINISHED, everything is published.
        let phase = memory
            .stream(index)
            .map_or(phase::FREE, |slot| stream_owner(slot).phase);
        let pending = stream.pending(memory);
        let owner = self.processes.get(stream.process as usize);
        let has_tape = owner.is_some_and(|owner| owner.as_ref().is_some_and(|p| p.tape.is_some()));
        // Who the image is alone makes no tape: it waits for the first event, or for the end.
        let is_silent = pending > 0 && !has_tape && !stream.has_news(memory);
        if pending == 0 || is_silent {
            stream.idle_passes = stream.idle_passes.saturating_add(1);
        } else {
            // Only time helps a tape that holds.
            self.busy |= !holds;
            stream.idle_passes = 0;
        }
        (!is_silent).then(|| Look {
            process: stream.process,
            phase,
            pending,
            taken_until: stream.taken_until(),
        })
    }

    /// Seals what the other threads of the process have, as long as its tape has no module: the
    /// first thread told of most of them and may make no further event for hours. A tape that is
    /// cut, or whose disk is full, would have no names.
    pub(crate) fn seal_modules_first(&mut self, index: u32) {
        let stream = self.streams.get(index as usize).and_then(Option::as_ref);
        let Some(owner) = stream.map(|stream| stream.process) else {
            return;
        };
        let process = self.processes.get(owner as usize).and_then(Option::as_ref);
        if process.is_some_and(|process| process.notes.has_no_module()) {
            self.seal_streams_of(owner, Some(index));
        }
    }

    /// Seals what waits in the rings of process slot `owner`, but in the stream `left_out`.
    pub(crate) fn seal_streams_of(&mut self, owner: u32, left_out: Option<u32>) {
        for index in 0..self.streams.len() as u32 {
            let stream = self.streams.get_mut(index as usize);
            let is_theirs = stream
                .and_then(Option::as_mut)
                .is_some_and(|stream| stream.process == owner);
            if is_theirs && Some(index) != left_out && self.pending(index) > 0 {
                let most = self.limit.map_or(u64::MAX, |_| 1);
                self.seal_rounds(index, 1, most);
            }
        }
    }

    /// Writes records of modules that were missed: they wait in a ring of the same process.
    fn seal_missed_modules(&mut self) {
        for owner in 0..self.processes.len() as u32 {
            if self.take_lack(owner) {
                self.seal_streams_of(owner, None);
            }
        }
    }

    pub(crate) fn take_lack(&mut self, owner: u32) -> bool {
        let process = self.processes.get_mut(owner as usize);
        process
            .and_then(Option::as_mut)
            .is_some_and(|process| process.notes.take_lack())
    }

    /// Seals chunks of a stream while at least `words` wait: not more than wait now, since a busy
    /// thread must not keep the drainer from the others. Where a chunk refers to a module that
    /// another thread tells of, that thread comes next.
    pub(crate) fn seal_stream(&mut self, index: u32, words: u64) {
        let stream = self.streams.get(index as usize).and_then(Option::as_ref);
        let Some(owner) = stream.map(|stream| stream.process) else {
            return;
        };
        self.seal_rounds(index, words, u64::MAX);
        if self.take_lack(owner) {
            self.seal_streams_of(owner, Some(index));
            self.seal_rounds(index, words, u64::MAX);
        }
    }

    /// As [`Drainer::seal_stream`], up to a chunk that lacks a module, and `most` chunks at most.
    pub(crate) fn seal_rounds(&mut self, index: u32, words: u64, most: u64) {
        let Some(mut stream) = self.streams.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        let mut rounds = (stream.pending(&self.session.map) / WORDS_PER_ROUND + 1).min(most);
        let owner = stream.process as usize;
        if let Some(mut process) = self.processes.get_mut(owner).and_then(Option::take) {
            if process.tape.is_none() && !stream.has_news(&self.session.map) {
                rounds = 0;
            }
            while rounds > 0 && stream.pending(&self.session.map) >= words {
                rounds -= 1;
                self.ensure_tape(&mut process);
                let ProcessState { notes, tape, .. } = &mut *process;
                let Some(tape) = tape else { break };
                let memory = &self.session.map;
                if !stream.seal(memory, &self.clock, &mut self.press, notes, tape) {
                    break;
                }
                if notes.lacks_name() {
                    rounds = 0;
                }
                if tape.full().is_some()
                    && let Some(slot) = memory.process(process.slot)
                {
                    // Relaxed: the recorder meets it sooner or later.
                    slot.turned_off
                        .store(turned_off::TAPE_FULL, Ordering::Relaxed);
                }
            }
            if let Some(place) = self.processes.get_mut(owner) {
                *place = Some(process);
            }
        }
        if let Some(place) = self.streams.get_mut(index as usize) {
            *place = Some(stream);
        }
    }

    /// Seals everything of a stream whose thread is gone, and gives its slot back.
    pub(crate) fn end_stream(&mut self, index: u32) {
        while self.pending(index) > 0 {
            let before = self.pending(index);
            self.seal_stream(index, 1);
            if self.pending(index) >= before {
                break;
            }
        }
        let memory = &self.session.map;
        let Some(mut stream) = self.streams.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        let Some(slot) = memory.stream(index) else {
            return;
        };
        if let Some(Some(process)) = self.processes.get_mut(stream.process as usize) {
            if let Some(lost) = stream.last_words(slot, &self.clock) {
                process.notes.add_lost(lost);
            }
            process.faults += stream.faults();
            if let Some(tape) = &mut process.tape {
                stream.write_facts(&mut self.press, tape);
            }
        }
        free_stream(memory, index);
    }

    pub(crate) fn pending(&mut self, index: u32) -> u64 {
        let stream = self
            .streams
            .get_mut(index as usize)
            .and_then(Option::as_mut);
        stream.map_or(0, |stream| stream.pending(&self.session.map))
    }

    /// As [`Drainer::ensure_tape`], for the image in slot `index`.
    pub(crate) fn ensure_tape_of(&mut self, index: u32) {
        let taken = self
            .processes
            .get_mut(index as usize)
            .and_then(Option::take);
        let Some(mut process) = taken else { return };
        self.ensure_tape(&mut process);
        if let Some(place) = self.processes.get_mut(index as usize) {
            *place = Some(process);
        }
    }

    /// Creates the tape of an image when it has none.
    pub(crate) fn ensure_tape(&mut self, process: &mut ProcessState) {
        if process.tape.is_some() {
            if std::mem::take(&mut process.is_unlinked) {
                self.link_to_parent(process);
            }
            return;
        }
        self.end_earlier_images(process);
        let header = self.tape_header(process);
        if let Some(slot) = self.session.map.process(process.slot) {
            // Before there is a file: none is ever left that no slot knows.
            store_tape_id(slot, &header.tape_id);
            debug_assert_eq!(slot_tape_id(slot), header.tape_id);
        }
        let tape = match self.tape_file(process) {
            Ok(file) => TapeWriter::begin(file, header),
            Err(error) => {
                let reason = format!("the tape cannot be created: {error}");
                TapeWriter::refusing(header, reason)
            }
        };
        let path = tape.path().map(std::path::Path::to_owned);
        process.tape = Some(tape);
        let key = (process.slot, process.generation);
        if let Some(image) = self.images.get_mut(&key) {
            image.tape.clone_from(&path);
        }
        self.link_to_parent(process);
    }

    fn tape_file(&mut self, process: &ProcessState) -> io::Result<TapeFile> {
        let Some(mut names) = self.names.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if !process.is_root {
            return names.create_other(process.pid);
        }
        if let Some(file) = self.root_file.take() {
            self.root.has_tape = true;
            return Ok(file);
        }
        let file = if std::mem::replace(&mut self.root.has_tape, true) {
            // The name belongs to the process's last image: the one before gives it up.
            let before = names.root().to_owned();
            let (moved, file) = names.replace_root(process.pid)?;
            self.rename_tape(&before, &moved);
            file
        } else {
            names.create_root()?
        };
        self.session.store_output(names.root());
        self.names = Some(names);
        Ok(file)
    }

    /// Images of the same process that came before are named before this one, oldest first:
    /// several can have ended since the last pass.
    fn end_earlier_images(&mut self, process: &ProcessState) {
        let order = |of: &ProcessState| (of.image, of.notes.process.cut_stamp);
        let mut earlier: Vec<_> = self
            .processes
            .iter()
            .flatten()
            .filter(|other| other.is_replaced && other.is_same_process(process))
            .filter(|other| order(other) < order(process))
            .map(|other| (order(other), other.slot))
            .collect();
        earlier.sort_unstable();
        for (_, slot) in earlier {
            self.end_process(slot);
        }
    }

    fn tape_header(&mut self, process: &ProcessState) -> TapeHeader {
        let slot = self.session.map.process(process.slot);
        let namespace = slot.map_or(0, |slot| slot.pid_namespace.load(Ordering::Relaxed));
        self.header_for(process.pid, namespace)
    }

    /// The header of a new tape of process `pid`.
    pub(crate) fn header_for(&mut self, pid: u32, namespace: u64) -> TapeHeader {
        let rate = self.clock.ticks_per_second();
        let shared = self.session.map.header();
        // Relaxed: for another drainer, which comes after our death.
        shared.ticks_per_second.store(rate, Ordering::Relaxed);
        let session_id = shared
            .session_id
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        header_of(&self.clock, rate, session_id, pid, namespace)
    }
}

fn store_tape_id(slot: &ProcessSlot, id: &[u8; 16]) {
    let (first, second) = id.split_at(8);
    for (word, bytes) in slot.tape_id.iter().zip([first, second]) {
        let value = bytes.try_into().map_or(0, u64::from_le_bytes);
        // Relaxed: for another drainer, which comes after our death.
        word.store(value, Ordering::Relaxed);
    }
}

fn header_of(
    clock: &Clock,
    rate: u64,
    session_id: [u64; 2],
    pid: u32,
    namespace: u64,
) -> TapeHeader {
    let bytes = |words: [u64; 2]| {
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    };
    let mut header = TapeHeader::new(clock.kind(), rate, clock.start_ticks());
    header.tape_id = bytes(random_id());
    header.session_id = bytes(session_id);
    header.boot_id = boot_id();
    header.start_realtime_ns = clock.start_realtime_ns();
    header.start_boottime_ns = clock.start_boottime_ns();
    header.pid_namespace = namespace;
    header.pid = pid;
    header.stamp_shift = clock.shift();
    header
}

/// The kernel's boot id, zero when it is hidden.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let mut id = [0; 16];
    for (place, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *place = pair
            .iter()
            .fold(0, |value, digit| value << 4 | *digit as u8);
    }
    id
}
