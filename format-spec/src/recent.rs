//! Where in the current chunk an address was allocated: the encoder's memory for back references.
//!
//! In: addresses as they are allocated and freed. Out: the ordinal of the allocation that a free
//! ends. It is a bounded cache: it may forget an allocation (the free then states its address), it
//! never gives a wrong one, and of one address it only knows the last allocation.
//!
//! The table consists of sets of two slots of one word each. An address is multiplied by an odd
//! constant modulo 2^57, which no two addresses have in common: the upper bits of the product are
//! the number of the set, and the slot holds all other bits above the ordinal.
//!
//! Most programs free young blocks, or blocks that are older than any chunk. For these a table that
//! fits into a core's first cache level knows as much as a large one, and answers several times as
//! fast. So now and then a chunk is made with a large one, and how old the allocations were that
//! were found in it tells the size for the chunks to come.

use std::mem;

/// log2 of the sets at first: enough for a chunk of a quiet thread.
const SETS_LOG2_MIN: u32 = 8;
/// log2 of the sets at most: 256 KiB, a part of a core's second cache level.
const SETS_LOG2_MAX: u32 = 14;
/// log2 of the sets that a busy thread's table has at least: 16 KiB.
const SETS_LOG2_BUSY: u32 = 10;
/// One chunk in so many is made with a table of any size.
const CHUNKS_A_TRIAL: u32 = 64;
/// A smaller table may cost one in so many of the frees what it knows of their allocations.
const FREES_A_LOSS: u32 = 16;
/// Addresses above 2^57, which no program has, are not remembered.
const ADDRESS_BITS: u32 = 57;
/// An odd constant, shifted so that the product's 57 bits stand at the top of the word.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15 << (64 - ADDRESS_BITS);

/// Zero: empty. Else the address's bits that the set does not tell, then the ordinal + 1.
type Slot = u64;

/// A two-way table that grows with the number of allocations in a chunk.
pub(crate) struct RecentAllocations {
    sets: Vec<[Slot; 2]>,
    sets_log2: u32,
    /// The first allocation for which the table is too small.
    grows_at: u32,
    /// Allocations since it was emptied.
    allocations: u32,
    /// log2 of the sets at most, as far as the ordinals allow that.
    limit_log2: u32,
    /// Frees since it was emptied.
    frees: u32,
    /// Those of them that were found, by the bits that their ages have: how many allocations came
    /// since theirs.
    ages: [u32; u32::BITS as usize + 1],
    /// How often it was emptied.
    chunks: u32,
}

/// Where an address is looked for.
#[derive(Clone, Copy)]
struct Place {
    set: usize,
    /// Its bits in a slot.
    tag: u64,
}

impl RecentAllocations {
    pub(crate) fn new() -> Self {
        Self {
            sets: vec![[0; 2]; 1 << SETS_LOG2_MIN],
            sets_log2: SETS_LOG2_MIN,
            grows_at: 1 << SETS_LOG2_MIN,
            allocations: 0,
            limit_log2: SETS_LOG2_MAX,
            frees: 0,
            ages: [0; u32::BITS as usize + 1],
            chunks: 0,
        }
    }

    #[inline(always)]
    fn place(&self, product: u64) -> Place {
        Place {
            set: (product >> (64 - self.sets_log2)) as usize,
            tag: product << self.sets_log2,
        }
    }

    /// The bits of a slot that hold the ordinal + 1: 15 of the smallest table, 21 of the largest,
    /// always more than the ordinals that a table of that size meets.
    #[inline(always)]
    fn ordinal_mask(&self) -> u64 {
        (1 << (self.sets_log2 + 64 - ADDRESS_BITS)) - 1
    }

    /// Remembers that the chunk's allocation number `ordinal` returned `address`.
    #[inline(always)]
    pub(crate) fn insert(&mut self, address: u64, ordinal: u32) {
        while ordinal >= self.grows_at {
            self.grow();
        }
        self.allocations = ordinal + 1;
        let place = self.place(address.wrapping_mul(FACTOR));
        let mask = self.ordinal_mask();
        let number = u64::from(ordinal) + 1;
        if address >> ADDRESS_BITS == 0 && number <= mask {
            self.store(place, number, mask);
        }
    }

    /// True when it may not lie in a core's first cache level as a whole.
    #[inline(always)]
    pub(crate) fn is_large(&self) -> bool {
        self.sets_log2 > SETS_LOG2_BUSY
    }

    /// Loads the place of an address, for a call that comes soon: what it says has no meaning. Many
    /// of these wait for memory together, where calls that act on what they find wait one by one.
    #[inline(always)]
    pub(crate) fn touch(&self, address: u64) -> u64 {
        let place = self.place(address.wrapping_mul(FACTOR));
        self.sets.get(place.set).map_or(0, |&[first, _]| first)
    }

    /// Puts the newest first; the older of the two others makes room, and whatever stood for the
    /// same address.
    #[inline(always)]
    fn store(&mut self, place: Place, number: u64, mask: u64) {
        let Some([first, second]) = self.sets.get_mut(place.set) else {
            return;
        };
        let is_same = |slot: Slot| slot & !mask == place.tag;
        // Not lazily: what stands there is a coin's toss, and a branch on it would be guessed.
        let keeps_second = is_same(*first) | ((*first == 0) & !is_same(*second));
        *second = if keeps_second { *second } else { *first };
        *first = place.tag | number;
    }

    /// The allocation that `address` is remembered for; it is forgotten.
    #[inline(always)]
    pub(crate) fn remove(&mut self, address: u64) -> Option<u32> {
        self.frees += 1;
        let place = self.place(address.wrapping_mul(FACTOR));
        let mask = self.ordinal_mask();
        if address >> ADDRESS_BITS != 0 {
            return None;
        }
        let [first, second] = self.sets.get_mut(place.set)?;
        // The ordinal when the rest is equal, else too much; so it is for an empty slot.
        let ordinal_in = |slot: Slot| (slot ^ place.tag).wrapping_sub(1);
        let (in_first, in_second) = (ordinal_in(*first), ordinal_in(*second));
        let ordinal = in_first.min(in_second);
        if ordinal >= mask {
            return None;
        }
        if ordinal == in_first {
            *first = 0;
        } else {
            *second = 0;
        }
        let age = self.allocations.wrapping_sub(ordinal as u32);
        let age_bits = u32::BITS - age.leading_zeros();
        if let Some(count) = self.ages.get_mut(age_bits as usize) {
            *count += 1;
        }
        Some(ordinal as u32)
    }

    /// Forgets everything. A table that was mostly empty, or could have been smaller, gets smaller.
    pub(crate) fn clear(&mut self) {
        if self.sets_log2 == SETS_LOG2_MAX {
            self.limit_log2 = self.smallest_log2();
        }
        self.chunks = self.chunks.wrapping_add(1);
        if self.chunks.is_multiple_of(CHUNKS_A_TRIAL) {
            self.limit_log2 = SETS_LOG2_MAX;
        }
        let few = self.allocations >> (self.sets_log2 - 3) == 0;
        let less = if few {
            self.sets_log2 - 2
        } else {
            self.sets_log2
        };
        self.sets_log2 = less.min(self.limit_log2).max(SETS_LOG2_MIN);
        self.grows_at = self.next_growth();
        self.sets.truncate(1 << self.sets_log2);
        self.sets.fill([0; 2]);
        self.allocations = 0;
        self.frees = 0;
        self.ages.fill(0);
    }

    /// log2 of the fewest sets that would have known nearly as much since the table was emptied.
    fn smallest_log2(&self) -> u32 {
        // An allocation that is half as old as there are sets is still known nine times in ten.
        let mut older = self.ages.iter().skip(SETS_LOG2_MAX as usize).sum::<u32>();
        let mut smallest = SETS_LOG2_MAX;
        while smallest > SETS_LOG2_BUSY {
            let bits = smallest as usize;
            older += self
                .ages
                .get(bits - 2..bits)
                .unwrap_or_default()
                .iter()
                .sum::<u32>();
            if older > self.frees / FREES_A_LOSS {
                break;
            }
            smallest -= 2;
        }
        smallest
    }

    /// Four times the sets, with what they hold.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        if self.sets_log2 < SETS_LOG2_MAX {
            let (old_log2, old_mask) = (self.sets_log2, self.ordinal_mask());
            self.sets_log2 += 2;
            let mask = self.ordinal_mask();
            let smaller = mem::replace(&mut self.sets, vec![[0; 2]; 1 << self.sets_log2]);
            for (set, slots) in (0u64..).zip(smaller) {
                // The older one first, so that it is the one that may be dropped.
                for slot in slots.into_iter().rev().filter(|&slot| slot != 0) {
                    let product = set << (64 - old_log2) | (slot & !old_mask) >> old_log2;
                    self.store(self.place(product), slot & old_mask, mask);
                }
            }
        }
        self.grows_at = self.next_growth();
    }

    /// The first ordinal for which the table is too small: because of its size, or because its
    /// slots have no bits for it.
    fn next_growth(&self) -> u32 {
        match self.sets_log2 {
            SETS_LOG2_MAX.. => u32::MAX,
            limited if limited >= self.limit_log2 => self.ordinal_mask() as u32,
            less => 1 << less,
        }
    }
}
const _: () = assert!((SETS_LOG2_MAX - SETS_LOG2_MIN).is_multiple_of(2));
const _: () = assert!((SETS_LOG2_MAX - SETS_LOG2_BUSY).is_multiple_of(2));
const _: () = assert!(crate::EVENTS_PER_CHUNK_MAX < 1 << (SETS_LOG2_MAX + 64 - ADDRESS_BITS));

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Allocates and frees at random places of `places`; how many of the frees whose allocation is
    /// in the chunk were found.
    fn found(recent: &mut RecentAllocations, allocations: u32, places: u64, seed: u64) -> f64 {
        let mut state = seed;
        let mut truth = HashMap::new();
        let (mut kept, mut asked) = (0, 0);
        for ordinal in 0..allocations {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let address = 0x5555_0000_0000 + (state >> 40) % places * 16;
            recent.insert(address, ordinal);
            truth.insert(address, ordinal);
            let freed = 0x5555_0000_0000 + (state >> 20) % places * 16;
            match (truth.remove(&freed), recent.remove(freed)) {
                (Some(expected), Some(number)) => {
                    assert_eq!(number, expected, "seed {seed}");
                    (asked, kept) = (asked + 1, kept + 1);
                }
                (Some(_), None) => asked += 1,
                (None, number) => assert_eq!(number, None, "seed {seed}"),
            }
        }
        recent.clear();
        let mut rest = truth.keys().map(|&address| recent.remove(address));
        assert!(rest.all(|number| number.is_none()), "seed {seed}");
        f64::from(kept) / f64::from(asked)
    }

    #[test]
    fn it_forgets_but_never_errs_and_a_chunk_sees_nothing_of_the_last() {
        let mut recent = RecentAllocations::new();
        for chunk in 1..6 {
            let kept = found(&mut recent, 16_384, 1 << 13, chunk);
            assert!(kept > 0.95, "{kept}");
        }
        // The table is as large as it becomes long before the last allocation.
        let kept = found(&mut recent, 200_000, 1 << 13, 9);
        assert!(kept > 0.95, "{kept}");
        for chunk in 10..60 {
            found(&mut recent, (chunk as u32 * 7919) % 3000 + 1, 500, chunk);
        }
        assert_eq!(recent.sets.len(), 1 << recent.sets_log2);
    }

    #[test]
    fn of_one_address_only_the_last_allocation_is_known() {
        // Whatever else falls into the same sets: the older one must never come back.
        let mut recent = RecentAllocations::new();
        for round in 0..2_000u64 {
            for (ordinal, address) in [16, 4096, 16, round * 16 + 32, 16].into_iter().enumerate() {
                recent.insert(address, ordinal as u32);
            }
            assert_eq!(recent.remove(16), Some(4));
            assert_eq!(recent.remove(16), None);
            recent.clear();
        }
    }

    /// A chunk in which each block is freed so many allocations later; how many frees were found.
    fn chunk_of(recent: &mut RecentAllocations, age: u32) -> u32 {
        let address = |ordinal: u32| 0x5555_0000_0000 + u64::from(ordinal) * 16;
        let mut found = 0;
        for ordinal in 0..16_384 {
            recent.insert(address(ordinal), ordinal);
            if let Some(freed) = ordinal.checked_sub(age) {
                let number = recent.remove(address(freed));
                assert!(number.is_none_or(|number| number == freed));
                found += u32::from(number.is_some());
            }
        }
        recent.clear();
        found
    }

    #[test]
    fn the_table_is_as_large_as_frees_are_old() {
        let mut recent = RecentAllocations::new();
        for (age, sets_log2) in [(100, 10), (600, 12), (5000, 14), (100, 10)] {
            let frees = 16_384 - age;
            let mut found = 0;
            for _ in 0..=2 * CHUNKS_A_TRIAL {
                found = chunk_of(&mut recent, age);
            }
            assert_eq!(recent.limit_log2, sets_log2, "{age}");
            assert!(found > frees / 8 * 7, "{age}: {found} of {frees}");
        }
        // What a small table has no bits for makes it grow.
        let last = 200_000;
        (0..=last).for_each(|ordinal| recent.insert(u64::from(ordinal) * 16, ordinal));
        assert_eq!(recent.remove(u64::from(last) * 16), Some(last));
    }

    #[test]
    fn addresses_at_the_limits_are_told_apart() {
        let mut recent = RecentAllocations::new();
        let addresses = [0, 1, 16, (1 << 57) - 1, 1 << 57, (1 << 62) - 1, u64::MAX];
        for (ordinal, address) in addresses.into_iter().enumerate() {
            recent.insert(address, ordinal as u32);
        }
        let numbers = addresses.map(|address| recent.remove(address));
        let known = [Some(0), Some(1), Some(2), Some(3), None, None, None];
        assert_eq!(numbers, known);
    }
}
