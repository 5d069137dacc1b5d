//! Moments at which a tape that is written can be folded.
//!
//! In: stamps up to which the tape's first bytes have every event. Out: the moment that leaves
//! about as much behind it as is wanted.

use crate::drainer::Drainer;
use heaptape_session::layout::phase;
use heaptape_session::ring::Memory;
use heaptape_session::slots::stream_owner;
use heaptape_session::sync::Ordering;
use std::collections::VecDeque;

/// What a thread has written to its stream is seen after this part of a second, surely: a store
/// waits in its processor for less than a microsecond.
const SEEN_AFTER: u64 = 100;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// In the order of both: every event up to the stamp is in the first bytes.
    cuts: VecDeque<(u64, u64)>,
}

/// Where to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Every event up to it goes.
    pub(crate) stamp: u64,
    /// In so many first bytes of the tape they are.
    pub(crate) bytes: u64,
    /// Of these, about so many are kept.
    pub(crate) kept: u64,
}

impl Cuts {
    /// True when the last one was `step` bytes ago.
    pub(crate) fn is_due(&self, bytes: u64, step: u64) -> bool {
        let last = self.cuts.back().map_or(0, |(_, last)| *last);
        bytes > last && bytes - last >= step
    }

    /// Every event up to `stamp` is in the first `bytes` bytes.
    pub(crate) fn add(&mut self, stamp: u64, bytes: u64) {
        match self.cuts.back_mut() {
            Some((last, _)) if *last >= stamp => {}
            Some((last, of)) if *of == bytes => *last = stamp,
            _ => self.cuts.push_back((stamp, bytes)),
        }
    }

    /// The last one's stamp.
    pub(crate) fn last_stamp(&self) -> u64 {
        self.cuts.back().map_or(0, |(stamp, _)| *stamp)
    }

    /// The latest one that leaves `keep` bytes, or the first one.
    pub(crate) fn moment(&self, keep: u64) -> Option<Moment> {
        let bytes = self.cuts.back()?.1;
        let leaves = |&&(_, of): &&(u64, u64)| of + keep <= bytes;
        let found = self.cuts.iter().rev().find(leaves);
        let (stamp, of) = *found.or(self.cuts.front())?;
        Some(Moment {
            stamp,
            bytes,
            kept: bytes - of,
        })
    }

    /// The events up to `stamp` are gone: the first `before` bytes are `after` now.
    pub(crate) fn folded(&mut self, stamp: u64, before: u64, after: u64) {
        self.cuts.retain(|&(cut, _)| cut > stamp);
        for (_, bytes) in &mut self.cuts {
            *bytes = (*bytes + after).saturating_sub(before);
        }
    }
}

impl Drainer {
    /// The last stamp up to which the tape of the image in slot `index` has every event.
    ///
    /// A thread's stamps never fall: of what waits in its ring, and of what it is about to write,
    /// all is at or behind the last event that was taken. Of a thread with an empty ring that is
    /// outside of the recorder, all is behind the moment at which that was seen, but for a store
    /// that was not seen yet.
    pub(crate) fn everything_until(&mut self, index: u32) -> Option<u64> {
        let seen_after = (self.clock.ticks_per_second() / SEEN_AFTER) >> self.clock.shift();
        let now = self.clock.now().checked_sub(seen_after)?;
        self.discover_streams();
        let memory = &self.session.map;
        let mut until = now;
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let Some(stream) = stream.as_mut().filter(|stream| stream.process == index) else {
                continue;
            };
            let slot = memory.stream(number as u32)?;
            // Acquire: pairs with the recorder's release when it clears the guard, so that what it
            // published before is seen below.
            let is_inside = slot.guard.load(Ordering::Acquire) != 0
                && stream_owner(slot).phase == phase::RUNNING;
            if is_inside || stream.pending(memory) > 0 {
                until = until.min(stream.taken_until().checked_sub(1)?);
            }
        }
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_leaves_what_is_wanted() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.moment(0), None);
        for (stamp, bytes) in [(10, 100), (20, 200), (15, 250), (30, 300), (31, 300)] {
            cuts.add(stamp, bytes);
        }
        let moment = |cuts: &Cuts, keep| cuts.moment(keep).map(|m| (m.stamp, m.bytes, m.kept));
        assert_eq!(moment(&cuts, 0), Some((31, 300, 0)));
        assert_eq!(moment(&cuts, 100), Some((20, 300, 100)));
        assert_eq!(moment(&cuts, 101), Some((10, 300, 200)));
        assert_eq!(moment(&cuts, 1000), Some((10, 300, 200)));
        cuts.folded(20, 300, 140);
        assert_eq!(moment(&cuts, 0), Some((31, 140, 0)));
        assert!(cuts.is_due(150, 10) && !cuts.is_due(149, 10));
    }
}
