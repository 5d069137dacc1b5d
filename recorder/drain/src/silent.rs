//! Images that have nothing to say: they get no tape.
//!
//! In: an image that ends, or that a child with a tape names. Out: whether it gets one. Who an
//! image is stands in every first stream; a tape takes an event, a mark, a loss, a program that
//! could not be recorded, or a child.

use crate::drainer::Drainer;
use crate::lineage::{child_of, file_name};
use crate::notes::Notes;
use crate::outcome::TapeOutcome;
use crate::tape::TapeWriter;
use heaptape_format::tables::End;
use heaptape_session::ring::Memory;
use heaptape_session::sync::Ordering;

/// `Process::origin` of a forked image.
const FORKED: u8 = 1;

impl Drainer {
    /// True when the image in slot `index`, which ends, gets a tape or has one.
    pub(crate) fn deserves_tape(&mut self, index: u32) -> bool {
        let place = self.processes.get(index as usize);
        let Some(process) = place.and_then(Option::as_ref) else {
            return false;
        };
        // The process that was started always has one.
        let is_named = process.is_root && !process.is_replaced;
        let slot = self.session.map.process(index);
        let has_stopped = slot.is_some_and(|slot| {
            [&slot.lost, &slot.turned_off, &slot.threads_forbidden]
                .iter()
                .any(|word| word.load(Ordering::Relaxed) != 0)
        });
        let notes = &process.notes;
        process.tape.is_some()
            || is_named
            || has_stopped
            || process.faults > 0
            || notes.has_news()
            || notes.process.origin != FORKED && self.has_living_children(index)
            || self.streams_have_news(index)
    }

    /// True when other processes that the image in slot `index` started may still get tapes, which
    /// name it. A forked one without events hands on what it inherited: its own parent is named.
    fn has_living_children(&self, index: u32) -> bool {
        let place = self.processes.get(index as usize);
        let Some(parent) = place.and_then(Option::as_ref) else {
            return false;
        };
        let key = Some((parent.slot, parent.generation));
        let mut others = self.processes.iter().flatten();
        others
            .any(|other| other.parent == key && !other.has_ended && !other.is_same_process(parent))
    }

    /// True when something waits in the streams of the process in slot `index`, or was lost there,
    /// that is worth a tape.
    pub(crate) fn streams_have_news(&mut self, index: u32) -> bool {
        let memory = &self.session.map;
        let streams = self.streams.iter_mut().enumerate();
        let mut own = streams
            .filter_map(|(at, stream)| Some((at as u32, stream.as_mut()?)))
            .filter(|(_, stream)| stream.process == index);
        own.any(|(at, stream)| {
            let slot = memory.stream(at);
            stream.has_news(memory)
                || slot.is_some_and(|slot| slot.lost.load(Ordering::Relaxed) > 0)
        })
    }

    /// A child of an image that is over and got no tape has one, and needs its parent's: the blocks
    /// that it inherited are those that are not told of.
    pub(crate) fn write_late_tape(&mut self, key: (u32, u32)) {
        let Some(image) = self.images.get(&key).filter(|image| image.tape.is_none()) else {
            return;
        };
        let (Some((stamp, ending)), Some(facts)) = (image.silent_end, image.facts.clone()) else {
            return;
        };
        let pid = image.pid;
        let is_root = pid == self.root.pid;
        let parent = self.taped_ancestor(image.parent);
        let Some(names) = &self.names else { return };
        let created = if is_root {
            names.create_numbered(pid)
        } else {
            names.create_other(pid)
        };
        let Ok(file) = created else { return };
        let path = file.path().to_owned();
        let mut notes = Notes::default();
        notes.process = facts;
        notes.process_changed = true;
        if let Some((parent, parent_tape)) = parent {
            notes.process.parent_tape = parent_tape;
            let child = child_of(&notes.process, file_name(&path));
            self.add_child(parent, child);
        }
        let header = self.header_for(pid, 0);
        let mut tape = TapeWriter::begin(file, header);
        notes.write_first(&mut self.press, &mut tape);
        let pairs = [self.clock.start_pair(), self.clock.pair()];
        tape.table(&mut self.press, &pairs, (0, self.clock.now()));
        let (how, code) = ending.codes();
        let end = End {
            stamp,
            how,
            code,
            ..End::default()
        };
        let finished = tape.finish(&mut self.press, end);
        if let Some(image) = self.images.get_mut(&key) {
            image.tape.clone_from(&finished.path);
            image.is_closed = true;
            image.facts = Some(notes.process);
        }
        self.outcome.tapes.push(TapeOutcome {
            path: finished.path,
            pid,
            is_root: false,
            ending,
            counts: finished.counts,
            problem: finished.problem,
            not_recorded: None,
        });
    }

    /// The first of `image` and its ancestors that has a tape, and that tape's name.
    fn taped_ancestor(&self, mut image: Option<(u32, u32)>) -> Option<((u32, u32), String)> {
        // A damaged session may name ancestors in a circle.
        for _ in 0..=self.images.len() {
            let key = image?;
            let found = self.images.get(&key)?;
            if let Some(path) = &found.tape {
                return Some((key, file_name(path)));
            }
            image = found.parent;
        }
        None
    }
}
