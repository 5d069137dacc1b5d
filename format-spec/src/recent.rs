//! Where in the current chunk an address was allocated: the encoder's memory for back references.
//!
//! In: addresses as they are allocated and freed. Out: the ordinal of the allocation that a free
//! ends. It is a bounded cache: it may forget an allocation (the free then states its address), it
//! never gives a wrong one. Emptying it costs nothing, whatever it holds.

use std::mem;

/// Slots at first, as a power of two: enough for a chunk of a quiet thread.
const SLOTS_LOG2_MIN: u32 = 9;
/// Slots at most, as a power of two: 512 KiB, about the second cache level of a core.
const SLOTS_LOG2_MAX: u32 = 15;

#[derive(Clone, Copy, Default)]
struct Slot {
    address: u64,
    ordinal: u32,
    /// The chunk that wrote this slot; those of other chunks are empty. 0: empty.
    generation: u32,
}

/// A direct-mapped table that grows with the number of allocations in a chunk.
pub(crate) struct RecentAllocations {
    slots: Vec<Slot>,
    slots_log2: u32,
    generation: u32,
}

impl RecentAllocations {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 1 << SLOTS_LOG2_MIN],
            slots_log2: SLOTS_LOG2_MIN,
            generation: 1,
        }
    }

    #[inline]
    fn slot(&mut self, address: u64) -> Option<&mut Slot> {
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.slots_log2);
        self.slots.get_mut(hash as usize)
    }

    /// Remembers that the chunk's allocation number `ordinal` returned `address`.
    #[inline]
    pub(crate) fn insert(&mut self, address: u64, ordinal: u32) {
        if ordinal >= 1 << (self.slots_log2 - 1) && self.slots_log2 < SLOTS_LOG2_MAX {
            self.grow();
        }
        let generation = self.generation;
        if let Some(slot) = self.slot(address) {
            *slot = Slot {
                address,
                ordinal,
                generation,
            };
        }
    }

    /// The allocation that `address` is remembered for; it is forgotten.
    #[inline]
    pub(crate) fn remove(&mut self, address: u64) -> Option<u32> {
        let generation = self.generation;
        let slot = self.slot(address)?;
        if slot.address != address || slot.generation != generation {
            return None;
        }
        slot.generation = 0;
        Some(slot.ordinal)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.generation = match self.generation.checked_add(1) {
            Some(next) => next,
            None => {
                self.slots.fill(Slot::default());
                1
            }
        };
    }

    /// Four times the slots, with what they hold. Where two allocations meet, the later stays.
    #[cold]
    fn grow(&mut self) {
        self.slots_log2 = (self.slots_log2 + 2).min(SLOTS_LOG2_MAX);
        let larger = vec![Slot::default(); 1 << self.slots_log2];
        let smaller = mem::replace(&mut self.slots, larger);
        let generation = self.generation;
        for old in smaller {
            if old.generation == generation
                && let Some(slot) = self.slot(old.address)
                && (slot.generation == 0 || slot.ordinal < old.ordinal)
            {
                *slot = old;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_forgets_but_never_errs_and_a_chunk_sees_nothing_of_the_last() {
        let mut recent = RecentAllocations::new();
        let mut state = 1u64;
        for chunk in 0..5 {
            let mut truth = HashMap::new();
            let (mut kept, mut asked) = (0, 0);
            for ordinal in 0..30_000u32 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let address = (state >> 50) * 16;
                recent.insert(address, ordinal);
                truth.insert(address, ordinal);
                let freed = (state >> 20) % (1 << 14) * 16;
                if let Some(expected) = truth.remove(&freed) {
                    asked += 1;
                    if let Some(found) = recent.remove(freed) {
                        assert_eq!(found, expected, "chunk {chunk}");
                        kept += 1;
                    }
                } else {
                    assert_eq!(recent.remove(freed), None, "chunk {chunk}");
                }
            }
            assert!(kept * 2 > asked, "{kept} of {asked} kept");
            recent.clear();
            assert!(
                truth
                    .keys()
                    .all(|&address| recent.remove(address).is_none())
            );
        }
    }

    #[test]
    fn generations_wrap_without_reviving_anything() {
        let mut recent = RecentAllocations::new();
        recent.insert(16, 0);
        recent.generation = u32::MAX;
        recent.insert(32, 1);
        recent.clear();
        assert_eq!(recent.generation, 1);
        assert_eq!(recent.remove(16), None);
        assert_eq!(recent.remove(32), None);
    }
}
