//! Segments: the frames that one call of the interpreter's loop runs, and which native frame each
//! of them stands in.

use super::{NOWHERE, PythonStack, UNPLACED, place_of};
use crate::arena::Plain;
use core::ops::Range;

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

impl PythonStack {
    /// True when all segments have, or had, their places in the outermost `native` frames.
    #[inline(always)]
    #[must_use]
    pub fn is_placed(&self, native: usize) -> bool {
        let last = self.segments().last();
        last.is_none_or(|segment| segment.native <= native)
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

    /// True when all segments have, or had, their places in the outermost `native` frames, but for
    /// the innermost if it `is_left_out`.
    #[inline(always)]
    #[must_use]
    pub fn stands_outside(&self, native: usize, is_left_out: bool) -> bool {
        let segments = self.segments();
        let count = segments.len().saturating_sub(usize::from(is_left_out));
        let outer = segments.get(..count).unwrap_or_default();
        outer.last().is_none_or(|segment| segment.native <= native)
    }

    /// The innermost segment with the node of its innermost frame.
    #[inline(always)]
    #[must_use]
    pub fn innermost(&self) -> Option<(&Segment, u32)> {
        let frame = self.frame(self.count.checked_sub(1)?)?;
        Some((self.segments().last()?, frame.node))
    }

    /// The first frame that belongs to a segment, or to one inside of it.
    #[must_use]
    pub fn first_of(&self, segment: usize) -> usize {
        let segment = self.segments().get(segment);
        segment.map_or(self.count, |segment| segment.first)
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
            return named.max(segment.first).min(end)..end;
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

    /// The segments, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        let count = self.segment_count;
        self.segments.values().get(..count).unwrap_or_default()
    }

    /// The first native frame that does not stay when frames from `kept` on change. `goes_on`: the
    /// segment of the last one that is kept goes on otherwise.
    pub(super) fn first_native(&self, kept: usize, goes_on: bool) -> usize {
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

    /// Takes the place of the innermost segment, of which `kept` is the innermost frame, and with
    /// it the node that it lay under when it has no other frame. The native frame that it stood
    /// in; 0: none.
    #[inline(always)]
    pub(super) fn take_up_innermost(&mut self, kept: usize) -> usize {
        let last = self.segment_count.wrapping_sub(1);
        let Some(segment) = self.segments.values_mut().get_mut(last) else {
            return 0;
        };
        if segment.first == kept {
            segment.parent = u32::MAX;
        }
        match core::mem::replace(&mut segment.native, UNPLACED) {
            UNPLACED => 0,
            native => native,
        }
    }

    /// Divides the frames from `kept` on into segments.
    pub(super) fn segment(&mut self, kept: usize, goes_on: bool) {
        let goes = |segment: &&Segment| segment.first >= kept;
        let gone = self.segments().iter().rev().take_while(goes).count();
        let mut count = self.segment_count - gone;
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
        // From 3.15 on the outermost frame is part of the thread's state. The C stack grows down.
        if let Some([outermost, next, ..]) = segments.get_mut(..count)
            && outermost.address < next.address
        {
            outermost.address = NOWHERE;
        }
        self.segment_count = count;
    }
}
