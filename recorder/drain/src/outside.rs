//! What somebody outside of a recorded process asks of it: to pause, to go on, to set a mark.
//!
//! In: a process id. Out: a word in the process's slot, or a mark that the drainer takes out of the
//! session's header. Nobody is waited for longer than a moment.

use crate::drainer::Drainer;
use crate::error::DrainError;
use crate::process_info;
use crate::session_file::{Session, load_text, session_paths, store_text};
use heaptape_session::layout::{paused, phase};
use heaptape_session::slots::process_owner;
use heaptape_session::sync::Ordering;
use std::time::{Duration, Instant};

/// How long a mark may wait for the drainer, or for another mark before it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How often a process is looked for that may be becoming another image, a nap between: counted,
/// since on a busy machine both of us wait.
const LOOKS: u32 = 100;
pub(crate) const NAP: Duration = Duration::from_millis(2);
/// States of the place for marks, in its low byte.
const WRITING: u64 = 1;
const READY: u64 = 2;
const REFUSED: u64 = 3;
const UNWRITTEN: u64 = 4;

/// Marks that tell a reader of the tape where nothing was recorded.
pub(crate) const PAUSED: &str = "paused";
const RESUMED: &str = "resumed";

/// Whether a mark stands in the tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It does, or there was nothing to be marked.
    Yes,
    /// It waits in the session: the drainer takes it when it goes on.
    Later,
}

/// Pauses or continues the recording of process `pid`, and sets a mark there: a reader of the tape
/// could take the time in between for an empty heap.
///
/// # Errors
/// `NotRecorded`, `DrainerGone`, `MarkNotTaken`: it goes on as it was. `MarkNotWritten` when only
/// the mark is missing.
pub fn pause(pid: u32, wanted: bool) -> Result<Marked, DrainError> {
    ask(pid, |session, mut place| {
        let mut marked = Marked::Yes;
        loop {
            // Asked first: the slot may be given back as soon as the next image is there.
            let known = Image::at(session, place);
            if pause_image(session, pid, place, wanted)? == Marked::Later {
                marked = Marked::Later;
            }
            let Some(next) = known.and_then(|known| known.next(session)) else {
                return Ok(marked);
            };
            place = next;
        }
    })
}

/// What tells an image from the next one of its process.
#[derive(Debug, Clone, Copy)]
struct Image {
    place: SlotPlace,
    /// As its slot has it.
    pid: u32,
    namespace: u64,
    number: u32,
}

impl Image {
    /// The image that has the slot at `place`.
    fn at(session: &Session, place: SlotPlace) -> Option<Self> {
        let slot = session.map.process(place.index)?;
        let number = slot.image.load(Ordering::Relaxed);
        let namespace = slot.pid_namespace.load(Ordering::Relaxed);
        let owner = process_owner(slot);
        (owner.generation == place.generation).then_some(Self {
            place,
            pid: owner.pid,
            namespace,
            number,
        })
    }

    /// The image that the process becomes, or became a moment ago: it may have asked what this one
    /// was told before that was told. One that claims its slot later asks later.
    fn next(&self, session: &Session) -> Option<SlotPlace> {
        let start = Instant::now();
        loop {
            let mut is_any_claimed = false;
            let high = session.map.header().process_high.load(Ordering::SeqCst);
            for index in 0..high {
                let slot = session.map.process(index)?;
                let other = process_owner(slot);
                let generation = other.generation;
                let is_this = (index, generation) == (self.place.index, self.place.generation);
                if is_this || other.pid != self.pid {
                    continue;
                }
                is_any_claimed |= other.phase == phase::CLAIMED;
                let is_next = other.phase == phase::RUNNING
                    && slot.image.load(Ordering::Relaxed) > self.number
                    && slot.pid_namespace.load(Ordering::Relaxed) == self.namespace;
                if is_next {
                    return Some(SlotPlace { index, generation });
                }
            }
            // It may die before it begins.
            if !is_any_claimed || start.elapsed() > PATIENCE {
                return None;
            }
            std::thread::sleep(NAP);
        }
    }
}

fn pause_image(
    session: &Session,
    pid: u32,
    place: SlotPlace,
    wanted: bool,
) -> Result<Marked, DrainError> {
    let Some(slot) = session.map.process(place.index) else {
        return Ok(Marked::Yes);
    };
    let (name, old, new) = if wanted {
        (PAUSED, paused::NO, paused::YES)
    } else {
        (RESUMED, paused::YES, paused::NO)
    };
    set_mark(session, pid, place, name, || {
        let before = session.clock().ticks();
        // The recorder meets it with its next allocation. Of several that ask at once one changes
        // the word, and sets the mark. SeqCst: before [`Image::next`]
        // looks.
        slot.paused
            .compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed)
            .ok()?;
        // Both marks lie outside of what is recorded.
        Some(if wanted {
            session.clock().ticks()
        } else {
            before
        })
    })
}

/// Sets the mark `name` in the tape of process `pid`.
///
/// # Errors
/// `ReservedMark`, `NotRecorded`, `DrainerGone`, `MarkNotTaken`, `MarkNotWritten`.
pub fn mark(pid: u32, name: &str) -> Result<(), DrainError> {
    if [PAUSED, RESUMED].contains(&name) {
        let name = name.to_owned();
        return Err(DrainError::ReservedMark { name });
    }
    ask(pid, |session, place| {
        let ticks = session.clock().ticks();
        let marked = set_mark(session, pid, place, name, || Some(ticks))?;
        // It may be taken at this very moment, and is set then.
        let taken_back = marked == Marked::Later && {
            let ready = state_of_ours(READY);
            let state = &session.map.header().mark_state;
            // Release: as in `take_mark`.
            state
                .compare_exchange(ready, 0, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        };
        match taken_back {
            true => Err(DrainError::MarkNotTaken),
            false => answer(session, pid).map(|_| ()),
        }
    })
}

/// The word of a mark of this process's in `state`.
fn state_of_ours(state: u64) -> u64 {
    u64::from(std::process::id()) << 8 | state
}

/// Asks `question` of the latest image of process `pid`; of the next one when that has ended before
/// the drainer answered.
fn ask<T>(
    pid: u32,
    question: impl Fn(&Session, SlotPlace) -> Result<T, DrainError>,
) -> Result<T, DrainError> {
    let start = Instant::now();
    loop {
        let (session, place) = find(pid)?;
        let result = question(&session, place);
        let is_over = matches!(result, Err(DrainError::NotRecorded { .. }));
        if !is_over || start.elapsed() > PATIENCE {
            return result;
        }
    }
}

/// A process slot, as long as it is of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotPlace {
    pub(crate) index: u32,
    generation: u32,
}

impl SlotPlace {
    fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn unpack(word: u64) -> Self {
        Self {
            index: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

/// Sets the mark `name` in the tape of process `pid`, whose image is at `place`. `change` says when
/// that is, or that there is nothing to be marked; it is called once, while no other mark can be
/// set, and not at all when the place for marks is not to be had.
fn set_mark(
    session: &Session,
    pid: u32,
    place: SlotPlace,
    name: &str,
    change: impl FnOnce() -> Option<u64>,
) -> Result<Marked, DrainError> {
    let header = session.map.header();
    let state = &header.mark_state;
    let start = Instant::now();
    // Acquire: pairs with Release in `take_mark`, after which the place is free.
    while state
        .compare_exchange(
            0,
            state_of_ours(WRITING),
            Ordering::Acquire,
            Ordering::Relaxed,
        )
        .is_err()
    {
        if start.elapsed() > PATIENCE {
            return Err(DrainError::MarkNotTaken);
        }
        std::thread::sleep(NAP);
    }
    let Some(ticks) = change() else {
        // Release: as in `take_mark`.
        state.store(0, Ordering::Release);
        return Ok(Marked::Yes);
    };
    header.mark_ticks.store(ticks, Ordering::Relaxed);
    header.mark_process.store(place.pack(), Ordering::Relaxed);
    store_text(&header.mark_name, name.as_bytes());
    // Release: pairs with Acquire in `take_mark`.
    state.store(state_of_ours(READY), Ordering::Release);
    while state.load(Ordering::Relaxed) == state_of_ours(READY) {
        if start.elapsed() > PATIENCE {
            return Ok(Marked::Later);
        }
        std::thread::sleep(NAP);
    }
    answer(session, pid)
}

/// What the drainer said of a mark for process `pid` that it took.
fn answer(session: &Session, pid: u32) -> Result<Marked, DrainError> {
    let state = &session.map.header().mark_state;
    let is_answer = |answer: u64| {
        // Release: as in `take_mark`.
        state
            .compare_exchange(
                state_of_ours(answer),
                0,
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    };
    if is_answer(REFUSED) {
        return Err(DrainError::NotRecorded { pid });
    }
    if is_answer(UNWRITTEN) {
        return Err(DrainError::MarkNotWritten { pid });
    }
    Ok(Marked::Yes)
}

/// The session of process `pid`, and its latest image's slot.
pub(crate) fn find(pid: u32) -> Result<(Session, SlotPlace), DrainError> {
    let mut looks = 0;
    loop {
        let mut left = None;
        for (session, place) in sessions_of(pid) {
            if session.live_drainer().is_some() {
                return Ok((session, place));
            }
            left = Some(session.path().to_owned());
        }
        // Between two images a process has no slot.
        looks += 1;
        if looks == LOOKS || !process_info::is_alive(pid, 0) {
            return Err(left.map_or(DrainError::NotRecorded { pid }, |session| {
                DrainError::DrainerGone { pid, session }
            }));
        }
        std::thread::sleep(NAP);
    }
}

/// The sessions that process `pid` is recorded in, with the slot of its latest image.
fn sessions_of(pid: u32) -> impl Iterator<Item = (Session, SlotPlace)> {
    let all = session_paths().filter_map(|path| Session::open(&path).ok());
    all.filter_map(move |session| {
        let place = slot_of(&session, pid)?;
        Some((session, place))
    })
}

fn slot_of(session: &Session, pid: u32) -> Option<SlotPlace> {
    let map = &session.map;
    let high = map.header().process_high.load(Ordering::Relaxed);
    (0..high)
        .filter_map(|index| {
            let slot = map.process(index)?;
            let owner = process_owner(slot);
            let namespace = slot.pid_namespace.load(Ordering::Relaxed);
            let start_time = slot.start_time.load(Ordering::Relaxed);
            let is_it = owner.phase == phase::RUNNING
                && process_info::host_pid(owner.pid, namespace) == Some(pid)
                && process_info::is_alive(pid, start_time);
            let generation = owner.generation;
            let place = SlotPlace { index, generation };
            is_it.then(|| (slot.image.load(Ordering::Relaxed), place))
        })
        .max_by_key(|(image, _)| *image)
        .map(|(_, place)| place)
}

impl Drainer {
    /// Takes the mark that waits, if one does.
    pub(crate) fn take_mark(&mut self, slow: bool) {
        // Acquire: pairs with Release in `set_mark`.
        let state = self.session.map.header().mark_state.load(Ordering::Acquire);
        let writer = state >> 8;
        let answer = match state & 0xff {
            READY => {
                let place = self
                    .session
                    .map
                    .header()
                    .mark_process
                    .load(Ordering::Relaxed);
                let place = SlotPlace::unpack(place);
                match self.write_mark(place) {
                    Some(true) => 0,
                    Some(false) => writer << 8 | UNWRITTEN,
                    None if self.will_meet(place) => return,
                    None => writer << 8 | REFUSED,
                }
            }
            // Its writer died over it.
            WRITING | REFUSED | UNWRITTEN if slow && !process_info::is_alive(writer as u32, 0) => 0,
            _ => return,
        };
        // Release: pairs with Acquire in `set_mark`.
        self.session
            .map
            .header()
            .mark_state
            .store(answer, Ordering::Release);
    }

    /// Writes the mark that waits into the tape of the image at `place`; whether the tape took it,
    /// `None` when there is no such image. Who asked for it is told that it is set, so it must
    /// outlive this process.
    fn write_mark(&mut self, place: SlotPlace) -> Option<bool> {
        let slot = self.processes.get_mut(place.index as usize)?;
        let mut process = slot.take_if(|process| process.generation == place.generation)?;
        let header = self.session.map.header();
        let stamp = self.clock.stamp(header.mark_ticks.load(Ordering::Relaxed));
        let name = load_text(&header.mark_name);
        let name = String::from_utf8_lossy(&name).into_owned();
        process.notes.mark_from_outside(stamp, name);
        self.ensure_tape(&mut process);
        process.write_waiting(&mut self.press);
        let tape = process.tape.as_ref();
        let is_written = tape.is_some_and(|tape| tape.full().is_none());
        if let Some(slot) = self.processes.get_mut(place.index as usize) {
            *slot = Some(process);
        }
        Some(is_written)
    }

    /// True when the image was not met yet: it began since this pass looked.
    fn will_meet(&self, place: SlotPlace) -> bool {
        let slot = self.session.map.process(place.index);
        let is_its = slot.is_some_and(|slot| process_owner(slot).generation == place.generation);
        let image = (place.index, place.generation);
        is_its && !self.images.contains_key(&image)
    }
}
