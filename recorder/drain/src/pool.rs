//! The part of a pass that keeps chunks free for the producers.
//!
//! In: how many chunks are in use. Out: more memory behind the pool before it runs out, and, when
//! there is no more to be had, streams sealed early so that their chunks come back.

use crate::drainer::Drainer;
use heaptape_session::ring::Memory;
use heaptape_session::sync::Ordering;

/// Up to so many chunks the pool grows rather than chunks of the tape get small: 16 MiB.
const CHUNKS_AT_EASE: u32 = 1024;

impl Drainer {
    /// Counts, grows, and seals early.
    pub(crate) fn tend_pool(&mut self) {
        let ready = self.session.map.chunks_ready();
        self.chunks_used = self.count_used();
        if self.chunks_used <= ready / 2 {
            return;
        }
        // A small pool grows at once. A large one is half full because its drainer came late: what
        // was written meanwhile is taken first.
        if ready < CHUNKS_AT_EASE && self.session.grow(ready as usize * 2) {
            return;
        }
        if self.limit.is_some() {
            self.seal_within_limit(true, None);
        } else {
            for index in 0..self.streams.len() as u32 {
                if self.gives_back(index) {
                    self.seal_stream(index, 1);
                }
            }
        }
        self.chunks_used = self.count_used();
        if self.chunks_used <= ready / 2 || self.session.grow(ready as usize * 2) {
            return;
        }
        // Each live thread keeps the chunk that it writes, whatever is sealed.
        let live = self.streams.iter().flatten().count();
        if live > (ready - ready / 4) as usize {
            self.session.grow_beyond((ready + ready / 4 + 1) as usize);
        }
    }

    /// True when sealing the stream gives chunks back.
    pub(crate) fn gives_back(&mut self, index: u32) -> bool {
        let memory = &self.session.map;
        let stream = self.streams.get_mut(index as usize);
        stream
            .and_then(Option::as_mut)
            .is_some_and(|stream| stream.gives_back(memory))
    }

    /// True when producers wait for chunks, of which `used` are in use. A producer that died while
    /// it waited is counted for ever: alone its word is no reason to hurry.
    pub(crate) fn is_awaited(&self, used: u32) -> bool {
        let ready = self.session.map.chunks_ready();
        let waiting = &self.session.map.header().waiting;
        ready.saturating_sub(used) <= ready / 8 && waiting.load(Ordering::Relaxed) > 0
    }

    /// True when producers wait for chunks that only a pass can give them.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.is_awaited(self.count_used())
    }

    /// Chunks that have an owner.
    pub(crate) fn count_used(&self) -> u32 {
        let memory = &self.session.map;
        let in_use = |&index: &u32| {
            let owner = memory.owner(index);
            // Relaxed: an estimate.
            owner.is_some_and(|word| word.load(Ordering::Relaxed) != 0)
        };
        (0..memory.chunks_ready()).filter(in_use).count() as u32
    }
}
