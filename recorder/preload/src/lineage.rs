//! Where a process image comes from: which image ran in this process before, or which one started
//! it. Slots go in, the parent's slot comes out.
//!
//! An image that took the place of another finds it by process id and start time. One that was
//! started by `vfork` or `posix_spawn` finds the image of its parent process; when that is not
//! recorded (any more), the slot that was written into its environment.
//!
//! A fork knows its parent by what it inherits: the parent's slot may be somebody else's by then.
//!
//! What this image starts without us stands in its own tape.

use crate::{api, environment, identity, process, recording, thread};
use heaptape_session::layout::{ProcessSlot, paused, phase};
use heaptape_session::map::SessionMap;
use heaptape_session::record::blob;
use heaptape_session::slots::{self, ProcessOwner};
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

/// Origins of a process image, as
/// [`heaptape_session::layout::ProcessSlot::origin`].
pub mod origin {
    #![allow(missing_docs, reason = "the names say it")]
    pub const LAUNCHED: u32 = 0;
    pub const FORKED: u32 = 1;
    pub const BY_EXEC: u32 = 2;
}

/// Where a new image comes from.
#[derive(Debug, Clone, Copy)]
pub struct Parent {
    /// Slot + 1, 0: none.
    pub slot: u32,
    /// Generation of that slot.
    pub generation: u32,
    /// How the image came to be: see [`origin`].
    pub origin: u32,
    /// Number of the image within its process.
    pub image: u32,
    /// See [`ProcessSlot::ancestor_pid`].
    pub ancestor: Ancestor,
}

/// See [`ProcessSlot::ancestor_pid`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Ancestor {
    /// Its process; 0: none.
    pub pid: u32,
    /// Its number within its process.
    pub image: u32,
    /// Its first ticks; 0: it was forked itself.
    pub ticks: u64,
    /// Of the fork that left it; 0: that is yet to be.
    pub left_ticks: u64,
}

/// What the forks of the image that this process runs need to know of it. Private memory, which
/// they inherit.
struct Own {
    pid: AtomicU32,
    /// Not zero: it has a stream. Whatever it forks from then on may inherit blocks of its own.
    has_stream: AtomicU32,
    /// The ancestor of its forks, as long as it was not forked itself or has no stream.
    ancestor_pid: AtomicU32,
    ancestor_image: AtomicU32,
    ancestor_ticks: AtomicU64,
    left_ticks: AtomicU64,
}

// Relaxed, all of it: a fork's only thread sees what was stored before the fork.
static OWN: Own = Own {
    pid: AtomicU32::new(0),
    has_stream: AtomicU32::new(0),
    ancestor_pid: AtomicU32::new(0),
    ancestor_image: AtomicU32::new(0),
    ancestor_ticks: AtomicU64::new(0),
    left_ticks: AtomicU64::new(0),
};

/// The image has a stream now.
pub fn note_stream() {
    OWN.has_stream.store(1, Ordering::Relaxed);
}

impl Ancestor {
    /// Of a fresh fork of the image that this process was.
    fn of_fork() -> Self {
        let left_ticks = OWN.left_ticks.load(Ordering::Relaxed);
        let was_forked = left_ticks != 0;
        if was_forked && OWN.has_stream.load(Ordering::Relaxed) != 0 {
            return Self {
                pid: OWN.pid.load(Ordering::Relaxed),
                ..Self::default()
            };
        }
        Self {
            pid: OWN.ancestor_pid.load(Ordering::Relaxed),
            image: OWN.ancestor_image.load(Ordering::Relaxed),
            ticks: OWN.ancestor_ticks.load(Ordering::Relaxed),
            left_ticks,
        }
    }

    /// Keeps it for the forks of an image of process `pid`.
    fn keep(self, pid: u32) {
        OWN.pid.store(pid, Ordering::Relaxed);
        OWN.has_stream.store(0, Ordering::Relaxed);
        OWN.ancestor_pid.store(self.pid, Ordering::Relaxed);
        OWN.ancestor_image.store(self.image, Ordering::Relaxed);
        OWN.ancestor_ticks.store(self.ticks, Ordering::Relaxed);
        OWN.left_ticks.store(self.left_ticks, Ordering::Relaxed);
    }
}

impl Parent {
    /// Of a fresh fork: the image that this process was.
    #[must_use]
    pub fn of_fork() -> Self {
        Self {
            slot: process::slot_index() + 1,
            generation: process::slot_generation(),
            origin: origin::FORKED,
            image: 0,
            ancestor: Ancestor::of_fork(),
        }
    }

    /// Writes into the slot of an image of process `pid`, which began at `cut_ticks`, where it
    /// comes from, and keeps what its forks need to say the same.
    pub fn store(&self, slot: &ProcessSlot, pid: u32, cut_ticks: u64) {
        let mut ancestor = self.ancestor;
        let is_forked = self.origin == origin::FORKED;
        if is_forked && ancestor.left_ticks == 0 {
            ancestor.left_ticks = cut_ticks;
        }
        // Relaxed: the slot's phase publishes them.
        slot.cut_ticks.store(cut_ticks, Ordering::Relaxed);
        slot.parent.store(self.slot, Ordering::Relaxed);
        slot.parent_generation
            .store(self.generation, Ordering::Relaxed);
        slot.origin.store(self.origin, Ordering::Relaxed);
        slot.image.store(self.image, Ordering::Relaxed);
        slot.ancestor_pid.store(ancestor.pid, Ordering::Relaxed);
        slot.ancestor_image.store(ancestor.image, Ordering::Relaxed);
        slot.ancestor_ticks.store(ancestor.ticks, Ordering::Relaxed);
        slot.left_ticks
            .store(ancestor.left_ticks, Ordering::Relaxed);
        let of_forks = if is_forked {
            ancestor
        } else {
            Ancestor {
                pid,
                image: self.image,
                ticks: cut_ticks,
                left_ticks: 0,
            }
        };
        of_forks.keep(pid);
    }

    /// True when it is paused: so is what it becomes or starts. `None`: there is none any more.
    #[must_use]
    pub fn is_paused(&self, session: &SessionMap) -> Option<bool> {
        let slot = session.process(self.slot.checked_sub(1)?)?;
        let is_there = slots::process_owner(slot).generation == self.generation;
        // Relaxed: whoever pauses it now does so for it alone.
        is_there.then(|| slot.paused.load(Ordering::Relaxed) != paused::NO)
    }

    /// The image that this process ran before, else the one that started it.
    #[must_use]
    pub fn find(session: &SessionMap, pid: u32, start_time: u64) -> Self {
        let mut found = Self {
            slot: 0,
            generation: 0,
            origin: origin::LAUNCHED,
            image: 0,
            ancestor: Ancestor::default(),
        };
        let parent_pid = identity::parent_pid();
        let high = session.header().process_high.load(Ordering::Relaxed);
        for index in 0..high.min(session.layout().processes as u32) {
            let Some(slot) = session.process(index) else {
                break;
            };
            let owner = slots::process_owner(slot);
            if !matches!(owner.phase, phase::RUNNING | phase::EXEC | phase::FINISHED) {
                continue;
            }
            let its_image = slot.image.load(Ordering::Relaxed);
            let image = its_image + 1;
            let is_self = owner.pid == pid && slot.start_time.load(Ordering::Relaxed) == start_time;
            if is_self && image > found.image {
                found = Self::of(index, owner, its_image, image);
            } else if found.image == 0 && found.slot == 0 && owner.pid == parent_pid {
                found = Self::of(index, owner, its_image, 0);
            } else if found.image == 0 && owner.pid == parent_pid {
                found = found.later(session, index, owner);
            }
        }
        if found.image == 0 {
            Self::named_by_environment(session).unwrap_or(found)
        } else {
            found
        }
    }

    /// The image with the number `its_image` in the slot `index`, of an image with the number
    /// `image`.
    fn of(index: u32, owner: ProcessOwner, its_image: u32, image: u32) -> Self {
        Self {
            slot: index + 1,
            generation: owner.generation,
            origin: origin::BY_EXEC,
            image,
            ancestor: Ancestor {
                pid: owner.pid,
                image: its_image,
                ..Ancestor::default()
            },
        }
    }

    /// Of two images of the parent process, the later one.
    fn later(self, session: &SessionMap, index: u32, owner: ProcessOwner) -> Self {
        let image = session
            .process(index)
            .map_or(0, |slot| slot.image.load(Ordering::Relaxed));
        if image > self.ancestor.image {
            Self::of(index, owner, image, 0)
        } else {
            self
        }
    }

    /// The slot that the starting process wrote into the environment, when it is still that one.
    fn named_by_environment(session: &SessionMap) -> Option<Self> {
        let (index, generation) = environment::parent()?;
        let slot = session.process(index)?;
        let owner = slots::process_owner(slot);
        let image = slot.image.load(Ordering::Relaxed);
        (owner.generation == generation && owner.phase != phase::FREE)
            .then(|| Self::of(index, owner, image, 0))
    }
}

/// Writes down that a command is not recorded, and why.
pub fn note_not_recorded(reason: &str, name: &[u8]) {
    let Some(thread) = thread::admitted() else {
        return;
    };
    let command = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let length = [reason.len() as u8];
    let parts: [&[u8]; 3] = [&length, reason.as_bytes(), command];
    // SAFETY: it is the calling thread's state.
    unsafe {
        api::with_level(thread, |level| {
            recording::append_blob(level, blob::NOT_RECORDED, &parts)
        })
    };
}
