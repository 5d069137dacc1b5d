//! The part of a pass that closes the tapes of images that have ended.
//!
//! In: processes that are gone or were replaced. Out: the last events, what was lost, how it
//! ended, and a free slot. A process that is gone can publish nothing more, so what is read after
//! its end was seen is everything.

use crate::ancestors::PARENT_UNKNOWN;
use crate::drainer::Drainer;
use crate::outcome::{NOT_STARTED, TapeOutcome};
use crate::process::{Ending, ProcessState};
use crate::tape::{FinishedTape, TapeWriter};
use crate::tape_file::TapeFile;
use heaptape_format::tables::{Child, End, Lost, LostReason};
use heaptape_session::layout::{phase, turned_off};
use heaptape_session::reasons;
use heaptape_session::ring::Memory;
use heaptape_session::slots::{free_process, free_stream, process_owner, stream_owner};
use heaptape_session::sync::Ordering;

/// What stands in a tape that was closed under a program that goes on.
const CUT_OFF: &str = "the recording was ended while the program was running";
/// What stands in a tape whose program made it impossible to go on.
const CLOCK_FORBIDDEN: &str = "the recorder stopped: the program forbids itself the time stamp \
     counter (PR_SET_TSC); what it starts from there on is not recorded either";
/// See above.
const CALLS_FORBIDDEN: &str = "the recorder stopped: the program forbids itself system calls \
     (seccomp); what it starts from there on is not recorded either";
/// See above; the threads that were recorded before are recorded on.
const THREADS_FORBIDDEN: &str = "some threads are not recorded: they began after the program had \
     forbidden itself system calls (seccomp) that this takes; their events are counted as lost";

/// What stands in the tape of a program that was not recorded.
fn not_recorded(reason: &str) -> String {
    format!("not recorded: {reason}")
}

impl Drainer {
    /// Closes what has ended.
    pub(crate) fn end_processes(&mut self) {
        for index in 0..self.processes.len() as u32 {
            let Some(Some(process)) = self.processes.get(index as usize) else {
                continue;
            };
            // The launcher says how its child ended, a moment after the kernel says that it did.
            let awaited = process.is_root && self.root.is_awaited;
            let is_over = process.has_ended && !awaited && !process.is_survived();
            let is_root = process.is_root;
            if process.is_replaced || is_over {
                // The launcher waits for the command alone.
                if is_root || !self.waits_for_fold(index) {
                    self.end_process(index);
                }
            }
        }
    }

    /// Closes every tape, whatever its process does.
    pub(crate) fn end_everything(&mut self) {
        for index in 0..self.processes.len() as u32 {
            self.end_process(index);
        }
        if let Some(file) = self.root_file.take() {
            self.end_unrecorded_root(file);
        } else if let Some(first) = self.root.not_recorded.take() {
            // It became a program that was: its tape has the name.
            self.outcome.not_recorded.push(first);
        }
        let refused = &self.session.map.header().refused_images;
        self.outcome.refused_images = refused.load(Ordering::Relaxed);
    }

    /// Drains the image in slot `index` to its last published event and closes its tape.
    ///
    /// An image that made no event and has nothing else to say gets no tape: what it said of itself
    /// is given up with its streams.
    pub(crate) fn end_process(&mut self, index: u32) {
        self.settle(index);
        self.discover_streams();
        self.name_children(index);
        if self.deserves_tape(index) {
            self.ensure_tape_of(index);
        }
        if self
            .processes
            .get(index as usize)
            .is_none_or(Option::is_none)
        {
            return;
        }
        self.end_streams_of(index);
        let Some(mut process) = self
            .processes
            .get_mut(index as usize)
            .and_then(Option::take)
        else {
            return;
        };
        let ending = self.ending_of(&process);
        let end_stamp = self.end_stamp(&process);
        self.inherit_facts(&mut process);
        if process.is_root && process.notes.process.command.is_empty() {
            process.notes.process.command.clone_from(&self.root.command);
            process.notes.process_changed = true;
        }
        self.note_process_losses(&mut process);
        if process.tape.is_some() {
            process.add_pair(self.clock.pair());
            process.write_samples(&mut self.press);
            self.close_tape(&mut process, ending);
        } else if let Some(image) = self.images.get_mut(&(process.slot, process.generation)) {
            image.facts = Some(process.notes.process.clone());
            image.silent_end = Some((end_stamp, ending));
        }
        let refused = process.notes.refused.drain(..);
        self.outcome.not_recorded.extend(refused);
        if let Some(slot) = self.session.map.process(index)
            && process_owner(slot).generation == process.generation
        {
            free_process(slot);
        }
    }

    fn end_streams_of(&mut self, process: u32) {
        let memory = &self.session.map;
        let high = memory
            .stream_high()
            .load(Ordering::Relaxed)
            .min(memory.streams());
        for index in 0..high {
            let Some(slot) = self.session.map.stream(index) else {
                continue;
            };
            let owner = stream_owner(slot);
            if owner.phase == phase::FREE || owner.process != process {
                continue;
            }
            if self
                .streams
                .get(index as usize)
                .is_some_and(Option::is_some)
            {
                self.end_stream(index);
            } else {
                // Claimed and never used.
                free_stream(&self.session.map, index);
            }
        }
    }

    fn note_process_losses(&mut self, process: &mut ProcessState) {
        let Some(slot) = self.session.map.process(process.slot) else {
            return;
        };
        let count = u64::from(slot.lost.load(Ordering::Relaxed)) + process.faults;
        let reason = match slot.turned_off.load(Ordering::Relaxed) {
            turned_off::CLOCK_FORBIDDEN | turned_off::CALLS_FORBIDDEN => LostReason::TurnedOff,
            _ => LostReason::Other,
        };
        if count > 0 {
            process.notes.add_lost(Lost {
                stream: u32::MAX,
                count,
                stamp_first: process.notes.process.cut_stamp,
                stamp_last: self.clock.now(),
                reason: reason as u8,
            });
        }
    }

    fn ending_of(&self, process: &ProcessState) -> Ending {
        let slot = self.session.map.process(process.slot);
        let phase = slot.map_or(phase::RUNNING, |slot| process_owner(slot).phase);
        if process.is_replaced || phase == phase::EXEC {
            return Ending::Exec;
        }
        let root_status = self.root.status.filter(|_| process.is_root);
        let status = root_status.or_else(|| process.handle.as_ref()?.exit_status());
        let by_slot = slot
            .filter(|slot| slot.exit_known.load(Ordering::Relaxed) != 0)
            .map(|slot| Ending::Exit(slot.exit_code.load(Ordering::Relaxed) & 0xff));
        match (status, by_slot) {
            (Some(status), _) => Ending::from_status(status),
            (None, Some(ending)) if process.has_ended => ending,
            _ => Ending::Unknown,
        }
    }

    fn close_tape(&mut self, process: &mut ProcessState, ending: Ending) {
        let Some(mut tape) = process.tape.take() else {
            return;
        };
        process.notes.write_first(&mut self.press, &mut tape);
        process.notes.write_last(&mut self.press, &mut tape);
        let (how, code) = ending.codes();
        let turned_off = self.turned_off_text(process);
        let stopped = match process.notes.brings_allocator && turned_off.is_empty() {
            true => not_recorded(reasons::OWN_ALLOCATOR),
            false => turned_off.clone(),
        };
        let lacks_parent = self
            .lacks_parent(process)
            .then(|| PARENT_UNKNOWN.to_owned());
        let told = Some(stopped).filter(|text| !text.is_empty());
        let told: Vec<String> = told.into_iter().chain(lacks_parent.clone()).collect();
        let end = End {
            stamp: self.end_stamp(process).max(tape.last_event_stamp()),
            how,
            code,
            message: told.join("; "),
            ..End::default()
        };
        let finished = tape.finish(&mut self.press, end);
        let FinishedTape {
            path,
            counts,
            problem,
            ..
        } = finished;
        let cut_off = self.is_cut_off(process).then(|| CUT_OFF.to_owned());
        // Without some threads the tape is good to its end: the launcher tells what was lost.
        let has_stopped = !turned_off.is_empty() && turned_off != THREADS_FORBIDDEN;
        let turned_off = has_stopped.then_some(turned_off);
        let problem = problem.or(cut_off).or(turned_off).or(lacks_parent);
        let key = (process.slot, process.generation);
        if let Some(image) = self.images.get_mut(&key) {
            image.is_closed = true;
            image.facts = Some(process.notes.process.clone());
        }
        self.outcome.tapes.push(TapeOutcome {
            path,
            pid: process.pid,
            is_root: process.is_root && !process.is_replaced,
            ending,
            counts,
            problem,
            not_recorded: None,
        });
    }

    /// When the image ended: as it said itself, else when its end was seen.
    fn end_stamp(&self, process: &ProcessState) -> u64 {
        let now = self.clock.now();
        let said = self.session.map.process(process.slot).and_then(|slot| {
            let is_over = process_owner(slot).phase == phase::EXEC
                || slot.exit_known.load(Ordering::Relaxed) != 0;
            let ticks = slot.end_ticks.load(Ordering::Relaxed);
            (is_over && ticks != 0).then(|| self.clock.stamp(ticks))
        });
        said.or(process.end_seen).map_or(now, |end| end.min(now))
    }

    fn turned_off_text(&self, process: &ProcessState) -> String {
        let slot = self.session.map.process(process.slot);
        let reason = slot.map_or(0, |slot| slot.turned_off.load(Ordering::Relaxed));
        match reason {
            turned_off::DRAINER_SILENT => "the recorder stopped: nobody emptied the rings".into(),
            turned_off::CLOSED if !self.is_cut_off(process) => {
                "the recorder stopped: the session was closed".into()
            }
            turned_off::NO_MEMORY => "the recorder stopped: it could get no memory".into(),
            turned_off::CLOCK_FORBIDDEN => CLOCK_FORBIDDEN.into(),
            turned_off::CALLS_FORBIDDEN => CALLS_FORBIDDEN.into(),
            _ if self.is_cut_off(process) => CUT_OFF.into(),
            _ if slot.is_some_and(|slot| slot.threads_forbidden.load(Ordering::Relaxed) != 0) => {
                THREADS_FORBIDDEN.into()
            }
            _ => String::new(),
        }
    }

    /// True when the tape is closed under a program that goes on (`heaptape recover`).
    fn is_cut_off(&self, process: &ProcessState) -> bool {
        let phase = self
            .session
            .map
            .process(process.slot)
            .map_or(phase::FREE, |slot| process_owner(slot).phase);
        let is_over = process.has_ended || process.is_replaced || phase == phase::EXEC;
        process
            .handle
            .as_ref()
            .is_some_and(|handle| !handle.has_ended())
            && !is_over
    }

    /// The tape of a command that never joined the session.
    fn end_unrecorded_root(&mut self, file: TapeFile) {
        let path = file.path().to_owned();
        let header = self.header_for(self.root.pid, 0);
        let mut tape = TapeWriter::begin(file, header);
        let mut notes = crate::notes::Notes::default();
        notes.process.pid = self.root.pid;
        notes.process.command = self.root.command.clone();
        notes.process.recorder_version = env!("CARGO_PKG_VERSION").into();
        notes.process_changed = true;
        let ending = self
            .root
            .status
            .map_or(Ending::Unknown, Ending::from_status);
        let (command, reason) = self.root.not_recorded.clone().unwrap_or_else(|| {
            let command = self.root.command.first().cloned().unwrap_or_default();
            (command, NOT_STARTED.to_owned())
        });
        notes.children.push(Child {
            pid: self.root.pid,
            command: command.clone(),
            reason: reason.clone(),
            ..Child::default()
        });
        let message = not_recorded(&reason);
        self.outcome.not_recorded.push((command, reason.clone()));
        notes.write_first(&mut self.press, &mut tape);
        notes.write_last(&mut self.press, &mut tape);
        tape.table(&mut self.press, &[self.clock.pair()], (0, self.clock.now()));
        let (how, code) = ending.codes();
        let end = End {
            stamp: self.clock.now(),
            how,
            code,
            message,
            ..End::default()
        };
        let finished = tape.finish(&mut self.press, end);
        self.outcome.tapes.push(TapeOutcome {
            path: Some(path),
            pid: self.root.pid,
            is_root: true,
            ending,
            counts: finished.counts,
            problem: finished.problem,
            not_recorded: Some(reason),
        });
    }
}
