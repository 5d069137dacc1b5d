//! Addresses of a model program, handed out much as glibc does.
//!
//! Each thread keeps what it frees in a cache, by size class, and hands out last what it got
//! first; what does not fit goes back to the arena that it came from. So addresses repeat soon, and
//! one that another thread has freed is handed out by that thread.

use super::random::{Random, Share};

/// Size classes.
const CLASSES: usize = 128;
/// Freed blocks of a class that a thread keeps.
const CACHED_MAX: usize = 16;
/// The arenas lie below this address, each in as many bytes.
const ARENAS_END: u64 = 0x7f00_0000_0000;
const ARENA_BYTES: u64 = 1 << 40;

/// An address, and who touched it last: allocated or freed it.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Where.
    pub address: u64,
    /// Lower half of the stamp.
    pub stamp: u32,
    /// The thread.
    pub thread: u32,
}

/// Freed addresses by size class.
#[derive(Debug)]
struct FreeLists([Vec<Slot>; CLASSES]);

/// See the module.
#[derive(Debug)]
pub struct Heap {
    reuse: Share,
    caches: Vec<FreeLists>,
    arenas: Vec<FreeLists>,
    /// The next address of each arena that was never handed out.
    fresh: Vec<u64>,
}

/// The class of blocks of `size` bytes, and the bytes that they take.
#[inline]
fn class(size: u32) -> (usize, u64) {
    let bytes = (u64::from(size) + 8).next_multiple_of(16).max(32);
    if bytes <= 1024 {
        return (bytes as usize / 16, bytes);
    }
    let power = (bytes - 1).ilog2();
    let quarter = ((bytes - 1) >> (power - 2)) & 3;
    let class = 65 + (power as usize - 10) * 4 + quarter as usize;
    (class.min(CLASSES - 1), (quarter + 5) << (power - 2))
}

fn lists(threads: u32) -> Vec<FreeLists> {
    let empty = |_| FreeLists(std::array::from_fn(|_| Vec::new()));
    (0..threads).map(empty).collect()
}

impl Heap {
    /// Of `threads` threads; `reuse` of the freed addresses are handed out again.
    #[must_use]
    pub fn new(threads: u32, reuse: Share) -> Self {
        let start = |arena| ARENAS_END - ARENA_BYTES * (u64::from(arena) + 1) + 0x8c0;
        Self {
            reuse,
            caches: lists(threads),
            arenas: lists(threads),
            fresh: (0..threads).map(start).collect(),
        }
    }

    /// An address for `size` bytes of `thread`. One that was never handed out has the last stamp.
    #[inline]
    pub fn take(&mut self, thread: u32, size: u32) -> Slot {
        let (class, bytes) = class(size);
        let cached = self.caches[thread as usize].0[class].pop();
        let slot = cached.or_else(|| self.arenas[thread as usize].0[class].pop());
        slot.unwrap_or_else(|| {
            let fresh = &mut self.fresh[thread as usize];
            let address = *fresh;
            *fresh += bytes;
            Slot {
                address,
                stamp: 0,
                thread,
            }
        })
    }

    /// `thread` frees the block of `size` bytes at `slot`, which says when.
    #[inline]
    pub fn give_back(&mut self, thread: u32, slot: Slot, size: u32, random: &mut Random) {
        if !random.is(self.reuse) {
            // Joined with its neighbours, or given back to the kernel.
            return;
        }
        let (class, _) = class(size);
        let cache = &mut self.caches[thread as usize].0[class];
        if cache.len() < CACHED_MAX {
            cache.push(slot);
            return;
        }
        let arena = (ARENAS_END - slot.address) / ARENA_BYTES;
        if let Some(lists) = self.arenas.get_mut(arena as usize) {
            lists.0[class].push(slot);
        }
    }

    /// True when a block of `before` bytes can stay where it is when it has `after`.
    #[must_use]
    pub fn is_same_class(before: u32, after: u32) -> bool {
        class(before) == class(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes_and_rise() {
        let mut before = (0, 0);
        for size in 0..400_000 {
            let (number, bytes) = class(size);
            assert!(
                bytes >= u64::from(size) + 8 && bytes % 16 == 0,
                "{size}: {bytes}"
            );
            assert!(number >= before.0 && bytes >= before.1, "{size}");
            assert_eq!(number > before.0, bytes > before.1, "{size}");
            before = (number, bytes);
        }
        assert!(before.0 < CLASSES - 1);
    }

    #[test]
    fn blocks_never_overlap_and_addresses_come_back_last_first() {
        let mut random = Random(1);
        let mut heap = Heap::new(2, Share::of_percent(100.0));
        let (first, second) = (heap.take(0, 40), heap.take(0, 40));
        assert!(second.address >= first.address + 48);
        heap.give_back(1, first, 40, &mut random);
        heap.give_back(1, second, 40, &mut random);
        // The thread that freed them has them.
        assert_ne!(heap.take(0, 40).address, second.address);
        assert_eq!(heap.take(1, 40).address, second.address);
        assert_eq!(heap.take(1, 40).address, first.address);
        assert!(ARENAS_END - heap.take(1, 40).address > ARENA_BYTES);
    }
}
