//! The Python frames of the calling thread, kept from event to event: which of them are those of
//! the last event, and where on the C stack each call from C began.
//!
//! Why it is right, and safe. Frames are read from the current one outwards, by the addresses that
//! they hold themselves. A kept frame is looked at only when a frame inside of it, which is alive,
//! has just said that it is its caller: so what is read is alive. A frame is as it was when all
//! words that tell of it are: where it is in its code, who called it, which code it is (frame
//! objects) or whose frame it is. That its code object is no other one at the same address is
//! known by the count of deaths ([`codes`]). That the innermost frame is as it was says nothing of
//! the outer ones: all are compared, at every event.
//!
//! A *segment* is the frames that one call of the interpreter's loop runs, one below the other
//! without C in between; its address is that of something in the loop's frame on the C stack.

use super::growing::Growing;
use crate::arena::Plain;
use crate::python::codes;
use crate::python::layout::{
    Family, Layout, OBJECT_TYPE, OWNED_BY_C_STACK, OWNED_BY_GENERATOR, load,
};
use core::ops::Range;
use core::ptr::NonNull;

/// Frames that there is room for at the start.
pub const FRAMES_USUAL: usize = 1024;
/// More are not read: the outer ones are left out.
const FRAMES_MAX: usize = 1 << 17;
/// The outermost segment has this address where nothing tells it, and so have those that run on
/// another stack.
pub const NOWHERE: usize = usize::MAX;
/// A segment has not been given its place among the native frames.
pub const UNPLACED: usize = usize::MAX;

/// One frame. The one outside of it has the index below.
#[derive(Debug, Clone, Copy)]
pub struct PythonFrame {
    /// Its address.
    frame: usize,
    /// The word that says where it is in its code.
    instruction: usize,
    /// Its caller's address.
    previous: usize,
    /// What else tells it: the code object (frame objects), or whose it is and how it was called.
    extra: usize,
    /// Its code object, or what stands in its place; 0: nothing does.
    pub code: usize,
    /// Where its segment runs, when it is the outermost of one; else 0.
    address: usize,
    /// Deaths at the code object's address when it was read.
    deaths: u32,
    /// Its node; 0: not named yet.
    pub node: u32,
}

// SAFETY: numbers.
unsafe impl Plain for PythonFrame {}

/// The frames that one call of the interpreter's loop runs.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Its outermost frame.
    pub first: usize,
    /// Where on the C stack it runs.
    pub address: usize,
    /// The native frame that it stands in (or, where none is known, in front of).
    pub native: usize,
    /// The node that its outermost frame lies under.
    pub parent: u32,
}

// SAFETY: numbers.
unsafe impl Plain for Segment {}

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
}

/// What an event's frames are, beside those of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The same.
    Same,
    /// Others, from the native frame with this index on (0: from the outermost on).
    From(usize),
}

/// [`Family`], for the functions that are made once for each.
mod family {
    pub(super) const OBJECTS: u8 = 0;
    pub(super) const CHAINED: u8 = 1;
    pub(super) const ENTRIES: u8 = 2;
    pub(super) const SHIMS: u8 = 3;
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
struct At {
    /// The next frame outwards; 0: there is none.
    frame: usize,
    /// The structure on the C stack that belongs to its segment; 0: none is known.
    chain: usize,
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
        }
    }

    /// Forgets everything.
    pub fn start(&mut self) {
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

    /// True when all segments have their places among the native frames.
    #[inline(always)]
    #[must_use]
    pub fn is_placed(&self) -> bool {
        let last = self.segments().last();
        last.is_none_or(|segment| segment.native != UNPLACED)
    }

    /// Takes the places of all segments that stand in the native frame `first` or further inside.
    /// The first segment without place.
    pub fn take_up(&mut self, first: usize) -> usize {
        let mut unplaced = self.segment_count;
        let count = self.segment_count;
        let segments = self.segments.values_mut().get_mut(..count);
        for (index, segment) in segments.unwrap_or_default().iter_mut().enumerate().rev() {
            if segment.native < first {
                break;
            }
            segment.native = UNPLACED;
            unplaced = index;
        }
        unplaced
    }

    /// Where the innermost segment runs; above all memory when there is none.
    #[must_use]
    pub fn innermost_address(&self) -> usize {
        let last = self.segments().last();
        last.map_or(NOWHERE, |segment| segment.address)
    }

    /// Where a segment runs; `None`: there are not so many.
    #[inline(always)]
    #[must_use]
    pub fn address_of(&self, segment: usize) -> Option<usize> {
        Some(self.segments().get(segment)?.address)
    }

    /// Where a segment runs was found out.
    pub fn set_address(&mut self, segment: usize, address: usize) {
        if segment < self.segment_count
            && let Some(segment) = self.segments.values_mut().get_mut(segment)
        {
            segment.address = address;
        }
    }

    /// Notes that a segment stands in this native frame, and lies under the node `parent`. Its
    /// frames that have no node yet.
    pub fn place(&mut self, index: usize, parent: u32, native: usize) -> Range<usize> {
        let all = self.segments();
        let end = all.get(index + 1).map_or(self.count, |next| next.first);
        let named = self.named;
        let Some(segment) = self.segments.values_mut().get_mut(index) else {
            return 0..0;
        };
        segment.native = native;
        if segment.parent == parent {
            return named.clamp(segment.first, end)..end;
        }
        segment.parent = parent;
        segment.first..end
    }

    /// True when a segment begins with this frame.
    #[must_use]
    pub fn is_first(&self, segment: usize, frame: usize) -> bool {
        let segment = self.segments().get(segment);
        segment.is_some_and(|segment| segment.first == frame)
    }

    /// The frames before this one have their nodes.
    pub fn note_named(&mut self, named: usize) {
        self.named = self.named.max(named);
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

    /// The segments, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        let count = self.segment_count;
        self.segments.values().get(..count).unwrap_or_default()
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
        let kept = self.frames.values().get(..=index).unwrap_or_default();
        for (index, kept) in kept.iter().enumerate().rev() {
            if kept.frame != at.frame {
                return Err(index);
            }
            // SAFETY: the frame is alive: the one inside of it, which is, has said so.
            if !unsafe { is_same::<FAMILY>(layout, kept, &mut at) } {
                return Err(index);
            }
        }
        if at.frame == 0 { Ok(()) } else { Err(0) }
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
        self.segment(kept, goes_on);
        update
    }

    /// The first native frame that does not stay when frames from `kept` on change. `goes_on`: the
    /// segment of the last one that is kept goes on otherwise.
    fn first_native(&self, kept: usize, goes_on: bool) -> usize {
        let native = |frame: usize| {
            let segments = self.segments().iter().rev();
            let mut segments = segments.skip_while(|segment| segment.first > frame);
            let found = segments.next().map_or(0, |segment| segment.native);
            if found == UNPLACED { 0 } else { found }
        };
        let first = if kept < self.count {
            native(kept)
        } else if kept > 0 {
            native(kept - 1) + 1
        } else {
            0
        };
        if goes_on {
            first.min(native(kept - 1))
        } else {
            first
        }
    }

    /// Divides the frames from `kept` on into segments.
    fn segment(&mut self, kept: usize, goes_on: bool) {
        let stay = |segment: &&Segment| segment.first < kept;
        let mut count = self.segments().iter().take_while(stay).count();
        let segments = self.segments.values_mut();
        if goes_on
            && let Some(last) = count.checked_sub(1)
            && let Some(last) = segments.get_mut(last)
        {
            last.native = UNPLACED;
        }
        let frames = self.frames.values().get(..self.count).unwrap_or_default();
        for (index, frame) in frames.iter().enumerate().skip(kept) {
            if let Some(place) = self.places.get_mut(place_of(frame.frame)) {
                *place = index as u32;
            }
            if index != 0 && frame.address == 0 {
                continue;
            }
            if let Some(place) = segments.get_mut(count) {
                *place = Segment {
                    first: index,
                    address: if frame.address == 0 {
                        NOWHERE
                    } else {
                        frame.address
                    },
                    native: UNPLACED,
                    parent: u32::MAX,
                };
                count += 1;
            }
        }
        self.segment_count = count;
    }
}

#[inline(always)]
fn place_of(frame: usize) -> usize {
    (frame >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - PLACES.trailing_zeros())
}

/// The words of a frame that tell it, beside its address and code.
///
/// # Safety
/// The frame is alive, and the layout is right.
#[inline(always)]
unsafe fn words<const FAMILY: u8>(layout: &Layout, frame: usize) -> [usize; 3] {
    // SAFETY: a field of the frame.
    let instruction = unsafe { load(frame + layout.frame_instruction) };
    // SAFETY: as before.
    let previous = unsafe { load(frame + layout.frame_previous) };
    match FAMILY {
        family::OBJECTS | family::CHAINED => {
            // SAFETY: as before.
            let code = unsafe { load(frame + layout.frame_code) };
            [instruction as u32 as usize, previous, code]
        }
        family::ENTRIES => {
            // SAFETY: the byte before the owner says whether C code has called the frame.
            let how = unsafe { load(frame + layout.frame_owner - 1) };
            [instruction, previous, how & 0xffff]
        }
        _ => {
            // SAFETY: as before.
            let owner = unsafe { load(frame + layout.frame_owner) };
            [instruction, previous, owner & 0xff]
        }
    }
}

/// True when the frame at `at`, which has the kept one's address, is as it was; goes on outwards.
///
/// # Safety
/// As for [`words`].
#[inline(always)]
unsafe fn is_same<const FAMILY: u8>(layout: &Layout, kept: &PythonFrame, at: &mut At) -> bool {
    // SAFETY: as for this function.
    let [instruction, previous, extra] = unsafe { words::<FAMILY>(layout, at.frame) };
    if instruction != kept.instruction || previous != kept.previous || extra != kept.extra {
        return false;
    }
    if matches!(FAMILY, family::CHAINED | family::ENTRIES) && kept.address != 0 {
        if at.chain != kept.address {
            return false;
        }
        // SAFETY: the structure of a segment that runs, on the C stack of this thread.
        at.chain = unsafe { load(at.chain + layout.chain_previous) };
    }
    at.frame = previous;
    true
}

/// Reads a frame; and what is outside of it.
///
/// # Safety
/// As for [`words`].
#[inline(always)]
unsafe fn read<const FAMILY: u8>(layout: &Layout, at: At) -> (PythonFrame, At) {
    let At { frame, mut chain } = at;
    // SAFETY: as for this function.
    let [instruction, previous, extra] = unsafe { words::<FAMILY>(layout, frame) };
    let is_entry = match FAMILY {
        family::ENTRIES => extra & 0xff != 0,
        family::SHIMS => extra >= OWNED_BY_C_STACK as usize,
        _ => true,
    };
    let code = if FAMILY == family::SHIMS && is_entry {
        0
    } else {
        // SAFETY: as before.
        unsafe { layout.code_of(frame) }
    };
    let address = match FAMILY {
        _ if !is_entry => 0,
        family::OBJECTS => NOWHERE,
        family::SHIMS => frame,
        _ if chain == 0 => NOWHERE,
        _ => {
            let address = chain;
            // SAFETY: the structure of a segment that runs, on the C stack of this thread.
            chain = unsafe { load(address + layout.chain_previous) };
            address
        }
    };
    let read = PythonFrame {
        frame,
        instruction,
        previous,
        extra,
        code,
        address,
        deaths: codes::deaths_at(code),
        node: 0,
    };
    let outer = At {
        frame: previous,
        chain,
    };
    (read, outer)
}

impl PythonFrame {
    /// Where it is in its code: the number of the unit of two bytes, `u32::MAX` before the first.
    /// `None`: it has no code, or is only being set up, which is none of the programmer's.
    ///
    /// # Safety
    /// It is alive, and the layout is right.
    #[must_use]
    pub unsafe fn unit(&self, layout: &Layout, code_type: usize) -> Option<u32> {
        if self.code == 0 {
            return None;
        }
        if layout.code_instructions == 0 {
            let number = self.instruction as u32 as i32;
            let unit = match layout.family {
                Family::Objects => number >> 1,
                _ => number,
            };
            return Some(unit.cast_unsigned());
        }
        // SAFETY: an object of the interpreter's.
        if unsafe { load(self.code + OBJECT_TYPE) } != code_type {
            return None;
        }
        let start = self.code + layout.code_instructions;
        let unit = (self.instruction.wrapping_sub(start) as isize >> 1) as i32;
        // SAFETY: a field of the code object.
        let first = unsafe { load(self.code + layout.code_first_traceable) } as i32;
        let owner = match layout.family {
            Family::Entries => self.extra >> 8,
            _ => self.extra,
        };
        let is_begun = unit >= first || owner as u8 == OWNED_BY_GENERATOR;
        is_begun.then_some(unit.cast_unsigned())
    }
}
