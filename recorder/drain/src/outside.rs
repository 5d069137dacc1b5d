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
const PATIENCE: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(2);
/// States of the place for marks, in its low byte.
const WRITING: u64 = 1;
const READY: u64 = 2;

/// Marks that tell a reader of the tape where nothing was recorded.
pub(crate) const PAUSED: &str = "paused";
const RESUMED: &str = "resumed";

/// Pauses or continues the recording of process `pid`, and sets a mark there: a reader of the tape
/// could take the time in between for an empty heap.
///
/// # Errors
/// `NotRecorded`; `MarkNotTaken` when only the mark is missing.
pub fn pause(pid: u32, wanted: bool) -> Result<(), DrainError> {
    let (session, index) = find(pid)?;
    let Some(slot) = session.map.process(index) else {
        return Ok(());
    };
    // Relaxed, here and below: the recorder meets it with its next allocation.
    let is_paused = slot.paused.load(Ordering::Relaxed) != paused::NO;
    if is_paused == wanted {
        return Ok(());
    }
    // Both marks lie outside of what is recorded.
    if wanted {
        slot.paused.store(paused::FROM_OUTSIDE, Ordering::Relaxed);
        set_mark(&session, index, PAUSED)
    } else {
        let marked = set_mark(&session, index, RESUMED);
        slot.paused.store(paused::NO, Ordering::Relaxed);
        marked
    }
}

/// Sets the mark `name` in the tape of process `pid`.
///
/// # Errors
/// `NotRecorded`, `MarkNotTaken`.
pub fn mark(pid: u32, name: &str) -> Result<(), DrainError> {
    let (session, index) = find(pid)?;
    set_mark(&session, index, name)
}

/// Sets the mark `name` in the tape of the process in slot `index`.
fn set_mark(session: &Session, index: u32, name: &str) -> Result<(), DrainError> {
    let header = session.map.header();
    let ticks = session.clock().ticks();
    let state = &header.mark_state;
    let ours = u64::from(std::process::id()) << 8;
    let start = Instant::now();
    // Acquire: pairs with Release in `take_mark`, after which the place is free.
    while state
        .compare_exchange(0, ours | WRITING, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        if start.elapsed() > PATIENCE {
            return Err(DrainError::MarkNotTaken);
        }
        std::thread::sleep(NAP);
    }
    header.mark_ticks.store(ticks, Ordering::Relaxed);
    header
        .mark_process
        .store(u64::from(index), Ordering::Relaxed);
    store_text(&header.mark_name, name.as_bytes());
    // Release: pairs with Acquire in `take_mark`.
    state.store(ours | READY, Ordering::Release);
    while state.load(Ordering::Relaxed) == ours | READY {
        if start.elapsed() > PATIENCE {
            return Err(DrainError::MarkNotTaken);
        }
        std::thread::sleep(NAP);
    }
    Ok(())
}

/// The session of process `pid`, and its latest image's slot.
fn find(pid: u32) -> Result<(Session, u32), DrainError> {
    session_paths()
        .filter_map(|path| Session::open(&path).ok())
        .filter(|session| session.live_drainer().is_some())
        .find_map(|session| {
            let index = slot_of(&session, pid)?;
            Some((session, index))
        })
        .ok_or(DrainError::NotRecorded { pid })
}

fn slot_of(session: &Session, pid: u32) -> Option<u32> {
    let map = &session.map;
    let high = map.header().process_high.load(Ordering::Relaxed);
    (0..high)
        .filter_map(|index| Some((index, map.process(index)?)))
        .filter(|(_, slot)| {
            let owner = process_owner(slot);
            let namespace = slot.pid_namespace.load(Ordering::Relaxed);
            let start_time = slot.start_time.load(Ordering::Relaxed);
            owner.phase == phase::RUNNING
                && process_info::host_pid(owner.pid, namespace) == Some(pid)
                && process_info::is_alive(pid, start_time)
        })
        .max_by_key(|(_, slot)| slot.image.load(Ordering::Relaxed))
        .map(|(index, _)| index)
}

impl Drainer {
    /// Takes the mark that waits, if one does.
    pub(crate) fn take_mark(&mut self, slow: bool) {
        let header = self.session.map.header();
        // Acquire: pairs with Release in `mark`.
        let state = header.mark_state.load(Ordering::Acquire);
        let writer = (state >> 8) as u32;
        match state & 0xff {
            READY => {
                let stamp = self.clock.stamp(header.mark_ticks.load(Ordering::Relaxed));
                let index = header.mark_process.load(Ordering::Relaxed);
                let name = load_text(&header.mark_name);
                let process = usize::try_from(index).ok();
                if let Some(Some(process)) = process.and_then(|index| self.processes.get_mut(index))
                {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    process.notes.mark_from_outside(stamp, name);
                }
            }
            // Its writer died over it.
            WRITING if slow && !process_info::is_alive(writer, 0) => {}
            _ => return,
        }
        // Release: pairs with Acquire in `mark`.
        self.session
            .map
            .header()
            .mark_state
            .store(0, Ordering::Release);
    }
}
