//! Where a process image comes from: which image ran in this process before, or which one started
//! it. Slots go in, the parent's slot comes out.
//!
//! An image that took the place of another finds it by process id and start time. One that was
//! started by `vfork` or `posix_spawn` finds the image of its parent process; when that is not
//! recorded (any more), the slot that was written into its environment.

use crate::{environment, identity};
use heaptape_session::layout::{paused, phase};
use heaptape_session::map::SessionMap;
use heaptape_session::slots::{self, ProcessOwner};
use heaptape_session::sync::Ordering;

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
}

impl Parent {
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
            let image = slot.image.load(Ordering::Relaxed) + 1;
            let is_self = owner.pid == pid && slot.start_time.load(Ordering::Relaxed) == start_time;
            if is_self && image > found.image {
                found = Self::of(index, owner, image);
            } else if found.image == 0 && found.slot == 0 && owner.pid == parent_pid {
                found = Self::of(index, owner, 0);
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

    fn of(index: u32, owner: ProcessOwner, image: u32) -> Self {
        Self {
            slot: index + 1,
            generation: owner.generation,
            origin: origin::BY_EXEC,
            image,
        }
    }

    /// Of two images of the parent process, the later one.
    fn later(self, session: &SessionMap, index: u32, owner: ProcessOwner) -> Self {
        let image_of = |index: u32| {
            session
                .process(index)
                .map_or(0, |slot| slot.image.load(Ordering::Relaxed))
        };
        if image_of(index) > image_of(self.slot - 1) {
            Self::of(index, owner, 0)
        } else {
            self
        }
    }

    /// The slot that the starting process wrote into the environment, when it is still that one.
    fn named_by_environment(session: &SessionMap) -> Option<Self> {
        let (index, generation) = environment::parent()?;
        let owner = slots::process_owner(session.process(index)?);
        (owner.generation == generation && owner.phase != phase::FREE)
            .then(|| Self::of(index, owner, 0))
    }
}
