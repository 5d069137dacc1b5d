//! Parents whose slots were given back to others before this drainer came.
//!
//! In: what an image's slot says of its ancestor, the other slots, the tapes that a dead drainer
//! left. Out: an image in the place of the one that nobody knows any more, so that the tape of the
//! parent is named as if the first drainer had gone on.

use crate::drainer::Drainer;
use crate::outcome::Image;
use crate::process::{Ending, ProcessState};
use heaptape_format::tables::Process;
use heaptape_session::layout::{ProcessSlot, phase};
use heaptape_session::slots::{ProcessOwner, process_owner};
use heaptape_session::sync::Ordering;
use std::time::{Duration, UNIX_EPOCH};

/// Origins of an image, as `ProcessSlot::origin` has them.
const FORKED: u8 = 1;
const STARTED: u8 = 2;

/// What stands in the tape of a process whose parent could not be found.
pub(crate) const PARENT_UNKNOWN: &str = "it is not known which process forked this one, nor what \
     it inherited: the launcher was killed before the tape said so";

impl Drainer {
    /// The slot of the image that started the one in `slot`, or of its ancestor when the parent is
    /// known to nobody any more; None: it is not there.
    pub(crate) fn parent_place(&self, slot: &ProcessSlot) -> Option<(u32, ProcessOwner)> {
        let parent = slot.parent.load(Ordering::Relaxed).checked_sub(1)?;
        let generation = slot.parent_generation.load(Ordering::Relaxed);
        let owner = process_owner(self.session.map.process(parent)?);
        if owner.generation == generation && !matches!(owner.phase, phase::FREE | phase::CLAIMED) {
            return Some((parent, owner));
        }
        let is_met = self.images.contains_key(&(parent, generation));
        (!is_met).then(|| self.ancestor_place(slot)).flatten()
    }

    /// The slot of the ancestor of the image in `slot`. Of several images of that process and
    /// number, which had its id one after the other, it is the last that began before.
    fn ancestor_place(&self, slot: &ProcessSlot) -> Option<(u32, ProcessOwner)> {
        let ancestor = Ancestor::of(slot)?;
        let map = &self.session.map;
        let high = map.header().process_high.load(Ordering::Relaxed);
        (0..high)
            .filter_map(|index| {
                let other = map.process(index)?;
                let owner = process_owner(other);
                let ticks = other.cut_ticks.load(Ordering::Relaxed);
                let is_it = !std::ptr::eq(other, slot)
                    && !matches!(owner.phase, phase::FREE | phase::CLAIMED)
                    && owner.pid == ancestor.pid
                    && other.image.load(Ordering::Relaxed) == ancestor.image
                    && ticks <= ancestor.until_ticks;
                is_it.then_some((ticks, index, owner))
            })
            .max_by_key(|(ticks, ..)| *ticks)
            .map(|(_, index, owner)| (index, owner))
    }

    /// Puts the ancestor of an image into the place of its parent, which this drainer never met.
    pub(crate) fn find_ancestor(&mut self, state: &mut ProcessState) {
        let unmet = state.parent.filter(|key| !self.images.contains_key(key));
        let (Some(key), Some(_)) = (unmet, &self.begun_names) else {
            return;
        };
        let slot = self.session.map.process(state.slot);
        let Some(ancestor) = slot.and_then(Ancestor::of) else {
            return;
        };
        let place = slot.and_then(|slot| self.ancestor_place(slot));
        let until = self.clock.stamp(ancestor.until_ticks);
        let facts = &mut state.notes.process;
        facts.parent_pid = ancestor.pid;
        if facts.origin == FORKED {
            facts.cut_stamp = until;
        }
        if let Some((index, owner)) = place {
            state.parent = Some((index, owner.generation));
            return;
        }
        let image = self.image_of_tape(&ancestor, until);
        if image.is_none() {
            self.remove_begun(&ancestor);
        }
        let silent = || (ancestor.ticks != 0).then(|| self.silent_image(&ancestor, until, state));
        if let Some(image) = image.or_else(silent) {
            self.images.insert(key, image);
        }
    }

    /// Removes the file that a drainer died over when the ancestor, which was over, was to have a
    /// tape after all: nothing was written to it.
    fn remove_begun(&self, ancestor: &Ancestor) {
        if let Some(begun) = &self.begun_names {
            let start = Duration::from_nanos(self.clock.start_realtime_ns());
            let is_root = ancestor.pid == self.root.pid;
            begun.remove_unwritten(ancestor.pid, is_root, UNIX_EPOCH + start);
        }
    }

    /// The ancestor, when a dead drainer closed its tape.
    fn image_of_tape(&mut self, ancestor: &Ancestor, until: u64) -> Option<Image> {
        let of = |process: &Process| {
            process.pid == ancestor.pid
                && process.image == ancestor.image
                && process.cut_stamp <= until
        };
        // That of an image without events which the drainer died over says nothing.
        self.recovered.retain(|tape| {
            let is_empty = !tape.has_end && tape.counts.events() == 0;
            let is_half = is_empty && tape.process.as_ref().is_some_and(of);
            !(is_half && std::fs::remove_file(&tape.path).is_ok())
        });
        let tapes = self.recovered.iter();
        let (tape, process) = tapes
            .filter_map(|tape| Some((tape, tape.process.as_ref().filter(|found| of(found))?)))
            .max_by_key(|(_, process)| process.cut_stamp)?;
        Some(Image {
            pid: process.pid,
            tape: Some(tape.path.clone()),
            is_closed: true,
            origin: process.origin,
            cut_stamp: process.cut_stamp,
            facts: Some(process.clone()),
            ..Image::default()
        })
    }

    /// The ancestor, when it made no event and therefore has no tape: its child, `state`, needs it.
    fn silent_image(&self, ancestor: &Ancestor, until: u64, state: &ProcessState) -> Image {
        let cut_stamp = self.clock.stamp(ancestor.ticks);
        let facts = Process {
            pid: ancestor.pid,
            parent_pid: 0,
            origin: STARTED,
            image: ancestor.image,
            cut_stamp,
            ..state.notes.process.clone()
        };
        Image {
            pid: ancestor.pid,
            origin: STARTED,
            cut_stamp,
            facts: Some(facts),
            silent_end: Some((until, Ending::Unknown)),
            ..Image::default()
        }
    }

    /// True when a forked image must say that its parent could not be found.
    pub(crate) fn lacks_parent(&self, process: &ProcessState) -> bool {
        let facts = &process.notes.process;
        self.begun_names.is_some() && facts.origin == FORKED && facts.parent_tape.is_empty()
    }
}

/// What a slot says of its image's ancestor.
struct Ancestor {
    pid: u32,
    image: u32,
    /// Its first ticks, when it is known and it was not forked; else 0.
    ticks: u64,
    /// When the image, or the line of forks that it belongs to, left it.
    until_ticks: u64,
}

impl Ancestor {
    fn of(slot: &ProcessSlot) -> Option<Self> {
        let pid = slot.ancestor_pid.load(Ordering::Relaxed);
        let left_ticks = slot.left_ticks.load(Ordering::Relaxed);
        let until_ticks = match left_ticks {
            0 => slot.cut_ticks.load(Ordering::Relaxed),
            left => left,
        };
        (pid != 0).then(|| Self {
            pid,
            image: slot.ancestor_image.load(Ordering::Relaxed),
            ticks: slot.ancestor_ticks.load(Ordering::Relaxed),
            until_ticks,
        })
    }
}
