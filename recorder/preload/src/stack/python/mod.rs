//! The Python frames of the calling thread, kept from event to event: which of them are those of
//! the last event, and where on the C stack each call from C began.
//!
//! Why it is right, and safe. Frames are read from the current one outwards, by the addresses that
//! they hold themselves. A kept frame is looked at only when a frame inside of it, which is alive,
//! has just said that it is its caller: so what is read is alive. A frame is as it was when all
//! words that tell of it are: where it is in its code, who called it, which code it is (frame
//! objects) or whose frame it is. That its code object is no other one at the same address is
//! known by the count of deaths ([`codes`]). That the innermost frame is as it was says nothing of
//! the outer ones: all are compared, at every event, but for those thousands of frames further out
//! that cannot have changed in so short a time (see `checked.rs`).
//!
//! A *segment* is the frames that one call of the interpreter's loop runs, one below the other
//! without C in between; its address is that of something in the loop's frame on the C stack.

mod frame;
mod segments;

use super::checked::Checked;
use super::growing::Growing;
use crate::python::codes;
use crate::python::layout::{Family, Layout, load};
use core::ops::Range;
use core::ptr::NonNull;
use frame::{At, family, is_same, read};

pub use frame::PythonFrame;
pub use segments::Segment;

/// Frames that there is room for at the start.
pub const FRAMES_USUAL: usize = 1024;
/// More are not read: the outer ones are left out.
const FRAMES_MAX: usize = 1 << 17;
/// The outermost segment has this address where nothing tells it, and so have those that run on
/// another stack.
pub const NOWHERE: usize = usize::MAX;
/// A segment has not been given its place among the native frames.
pub const UNPLACED: usize = usize::MAX;

/// A way to look frames up by address: for each place the index of a frame.
const PLACES: usize = 1024;

/// The memory that [`PythonStack`] begins in, zeroed.
#[derive(Debug)]
#[repr(C)]
pub struct Memory {
    frames: [PythonFrame; FRAMES_USUAL],
    found: [PythonFrame; FRAMES_USUAL],
    segments: [Segment; FRAMES_USUAL],
}

/// The frames of the last event.
#[derive(Debug)]
pub struct PythonStack {
    /// Outermost first.
    frames: Growing<PythonFrame>,
    count: usize,
    /// Frames of this event that were not there before, innermost first.
    found: Growing<PythonFrame>,
    /// Outermost first.
    segments: Growing<Segment>,
    segment_count: usize,
    /// Frames, from the outermost on, that have their nodes.
    named: usize,
    deaths: u64,
    places: [u32; PLACES],
    /// What need not be compared again.
    checked: Checked,
}

/// What an event's frames are, beside those of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The same.
    Same,
    /// Others, from the native frame with this index on (0: from the outermost on).
    From(usize),
}

impl PythonStack {
    /// One that begins in this memory; to be [started](PythonStack::start).
    ///
    /// # Safety
    /// The memory is zeroed, outlives it, and nobody else uses it.
    #[must_use]
    pub unsafe fn new(memory: NonNull<Memory>) -> Self {
        let place = |offset: usize| {
            // SAFETY: a field of the memory.
            unsafe { memory.byte_add(offset) }
        };
        let frames = place(core::mem::offset_of!(Memory, frames)).cast();
        let found = place(core::mem::offset_of!(Memory, found)).cast();
        let segments = place(core::mem::offset_of!(Memory, segments)).cast();
        Self {
            // SAFETY: an array of so many, by the caller's contract for it alone.
            frames: unsafe { Growing::new(frames, FRAMES_USUAL) },
            // SAFETY: as before.
            found: unsafe { Growing::new(found, FRAMES_USUAL) },
            // SAFETY: as before.
            segments: unsafe { Growing::new(segments, FRAMES_USUAL) },
            count: 0,
            segment_count: 0,
            named: 0,
            deaths: 0,
            places: [0; PLACES],
            checked: Checked::default(),
        }
    }

    /// Forgets everything.
    pub fn start(&mut self) {
        self.checked.keep(0);
        self.count = 0;
        self.segment_count = 0;
        self.named = 0;
    }

    /// Gives back what was taken for deep stacks. Must be started before it is used again.
    pub fn shrink(&mut self) {
        self.frames.shrink();
        self.found.shrink();
        self.segments.shrink();
    }

    /// True when the thread runs no Python.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The frames before this one have their nodes.
    pub fn note_named(&mut self, named: usize) {
        self.named = self.named.max(named);
    }

    /// The frames that have no nodes yet, where all lie below each other with nothing in between;
    /// and the node that the outermost of them lies under.
    #[inline(always)]
    #[must_use]
    pub fn unnamed(&self) -> (Range<usize>, u32) {
        let outer = self.named.checked_sub(1);
        let outer = outer.and_then(|index| self.frames.values().get(index));
        (self.named..self.count, outer.map_or(0, |frame| frame.node))
    }

    /// A frame.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<&PythonFrame> {
        self.frames().get(index)
    }

    /// Sets the node of a frame.
    pub fn name(&mut self, index: usize, node: u32) {
        if let Some(frame) = self.frames.values_mut().get_mut(index) {
            frame.node = node;
        }
    }

    fn frames(&self) -> &[PythonFrame] {
        self.frames.values().get(..self.count).unwrap_or_default()
    }

    /// Reads the calling thread's frames from `top`, the current one, on; 0: there is none.
    ///
    /// # Safety
    /// `top` is the current frame of the thread state `state`, which is the calling thread's, and
    /// the layout is right.
    #[inline(always)]
    #[must_use]
    pub unsafe fn update(&mut self, layout: &Layout, state: usize, top: usize) -> Update {
        use family::{CHAINED, ENTRIES, OBJECTS, SHIMS};
        let mut at = At {
            frame: top,
            chain: 0,
        };
        if top != 0 && matches!(layout.family, Family::ChainedObjects | Family::Entries) {
            // SAFETY: a field of the state.
            at.chain = unsafe { load(state + layout.state_chain) };
        }
        match layout.family {
            // SAFETY: as for this function.
            Family::Objects => unsafe { self.update_as::<OBJECTS>(layout, at) },
            // SAFETY: as before.
            Family::ChainedObjects => unsafe { self.update_as::<CHAINED>(layout, at) },
            // SAFETY: as before.
            Family::Entries => unsafe { self.update_as::<ENTRIES>(layout, at) },
            // SAFETY: as before.
            Family::Shims => unsafe { self.update_as::<SHIMS>(layout, at) },
        }
    }

    #[inline(never)]
    unsafe fn update_as<const FAMILY: u8>(&mut self, layout: &Layout, mut at: At) -> Update {
        let mut valid = self.count;
        let deaths = codes::deaths();
        if deaths != self.deaths {
            self.deaths = deaths;
            valid = self.first_dead();
        }
        let mut hint = valid;
        let mut found = 0;
        let mut kept = 0;
        while at.frame != 0 {
            if let Some(index) = self.index_of(at.frame, hint, valid) {
                // SAFETY: as for this function: the frame is alive, and so are those it leads to.
                match unsafe { self.compare::<FAMILY>(layout, at, index) } {
                    Ok(()) => {
                        kept = index + 1;
                        break;
                    }
                    Err(different) => valid = different,
                }
                hint = index;
            }
            // SAFETY: as before.
            let (frame, outer) = unsafe { read::<FAMILY>(layout, at) };
            if !self.keep_found(found, frame) {
                break;
            }
            found += 1;
            at = outer;
        }
        if kept == self.count && found == 0 {
            return Update::Same;
        }
        if found == 1 && kept + 1 == self.count {
            return self.replace_innermost(kept);
        }
        self.replace(kept, found)
    }

    /// The first frame whose code object may have died.
    #[cold]
    fn first_dead(&self) -> usize {
        let frames = self.frames().iter();
        let alive = frames.take_while(|frame| codes::deaths_at(frame.code) == frame.deaths);
        alive.count()
    }

    /// Where a frame with this address stands among the first `valid` ones: just below `hint`, or
    /// where it is noted.
    #[inline(always)]
    fn index_of(&self, frame: usize, hint: usize, valid: usize) -> Option<usize> {
        let is_at = |index: usize| {
            let known = self.frames.values().get(index);
            index < valid && known.is_some_and(|known| known.frame == frame)
        };
        let below = hint.wrapping_sub(1);
        if is_at(below) {
            return Some(below);
        }
        let noted = *self.places.get(place_of(frame))? as usize;
        is_at(noted).then_some(noted)
    }

    /// Compares the kept frames from `index` outwards with what stands there.
    ///
    /// # Errors
    /// The index of the first one that is another.
    #[inline(always)]
    unsafe fn compare<const FAMILY: u8>(
        &self,
        layout: &Layout,
        mut at: At,
        index: usize,
    ) -> Result<(), usize> {
        let outer = self.checked.unchanged_python(index + 1);
        let kept = self.frames.values().get(outer..=index).unwrap_or_default();
        // The first one has this address, and a kept frame's caller is the one kept before it.
        for (index, kept) in kept.iter().enumerate().rev() {
            // SAFETY: the frame is alive: the one inside of it, which is, has said so.
            if !unsafe { is_same::<FAMILY>(layout, kept, &mut at) } {
                return Err(outer + index);
            }
        }
        // What is outside of the frames that cannot have changed is not looked at.
        let expected = outer.checked_sub(1).map_or(0, |index| {
            self.frames
                .values()
                .get(index)
                .map_or(0, |frame| frame.frame)
        });
        if at.frame != expected {
            return Err(outer);
        }
        if outer != 0 || index > PLACES {
            self.checked.note(index + 1);
        }
        Ok(())
    }

    #[inline(always)]
    fn keep_found(&mut self, found: usize, frame: PythonFrame) -> bool {
        if found == self.found.values().len() && !self.grow(found) {
            return false;
        }
        match self.found.values_mut().get_mut(found) {
            Some(place) => *place = frame,
            None => return false,
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, frames: usize) -> bool {
        let wanted = frames * 2;
        wanted <= FRAMES_MAX && self.found.grow(wanted, frames)
    }

    /// As [`PythonStack::replace`] where the innermost frame alone is another: most often it has
    /// only gone on, in the same place.
    #[inline(always)]
    fn replace_innermost(&mut self, kept: usize) -> Update {
        let new = self.found.values().first().copied();
        let old = self.frames.values_mut().get_mut(kept);
        match (old, new) {
            (Some(old), Some(new)) if old.frame == new.frame && old.address == new.address => {
                *old = new;
                self.named = self.named.min(kept);
                self.checked.keep(kept);
                Update::From(self.take_up_innermost(kept))
            }
            _ => self.replace(kept, 1),
        }
    }

    /// Puts the frames that were found inside of the first `kept` ones.
    #[inline(never)]
    fn replace(&mut self, kept: usize, found: usize) -> Update {
        let count = kept + found;
        let has_room = count <= self.frames.values().len()
            || (self.frames.grow(count.next_power_of_two(), self.count)
                && self
                    .segments
                    .grow(count.next_power_of_two(), self.segment_count));
        if !has_room {
            self.start();
            return Update::From(0);
        }
        let outermost = found.checked_sub(1);
        let outermost = outermost.and_then(|index| self.found.values().get(index));
        let goes_on = kept > 0 && outermost.is_some_and(|frame| frame.address == 0);
        let update = Update::From(self.first_native(kept, goes_on));
        let new = self.found.values().get(..found).unwrap_or_default();
        let slots = self.frames.values_mut().get_mut(kept..).unwrap_or_default();
        for (slot, frame) in slots.iter_mut().zip(new.iter().rev()) {
            *slot = *frame;
        }
        self.count = count;
        self.named = self.named.min(kept);
        self.checked.keep(kept);
        self.segment(kept, goes_on);
        update
    }
}

#[inline(always)]
fn place_of(frame: usize) -> usize {
    (frame >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - PLACES.trailing_zeros())
}
