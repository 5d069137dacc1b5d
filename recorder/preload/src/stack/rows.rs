//! Remembers the packed rows of program counters: a program counter goes in, its row comes out
//! while it is remembered. A bounded cache, small because the walk waits for it at every frame.
//!
//! A row may lie in any of four places, all in one line of the processor's cache. It goes to the
//! first of them (its home) if that is free, so that one comparison finds most rows; the others
//! are for those whose homes are the same. When all four are taken, the new one gets its home, each
//! other moves on by one, and the last leaves.
//!
//! An entry is the row and what is left of the program counter. Multiplying by an odd number
//! modulo 2^47 maps the addresses of user memory onto themselves, one to one; of the product the
//! highest bits say where the entry may lie, and the entry holds all others. So what is found there
//! is that program counter's and no other's.

use super::row::{ROW_BITS, Row};

/// Rows that a thread remembers: 64 KiB.
const ROWS: usize = 8192;
/// Places for one row.
const PLACES: usize = 4;
/// Bits of an address of user memory.
const ADDRESS_BITS: u32 = 47;
/// Odd, without pattern (digits of the golden ratio), and moved so that the product's highest bit
/// is the word's.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15 << (u64::BITS - ADDRESS_BITS);
/// The bits of a product that the places of an entry have in common.
const SET_BITS: u32 = (ROWS / PLACES).trailing_zeros();

const _: () = assert!(ROWS.is_power_of_two() && PLACES.is_power_of_two());
const _: () = assert!(ADDRESS_BITS - SET_BITS + ROW_BITS == u64::BITS);

/// The rows. Zeroed memory is a valid value, and empty.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Rows {
    /// What is left of the product, and [`ROW_BITS`] of the row; 0: free.
    entries: [u64; ROWS],
    /// Some of them are in use; otherwise they are not touched, so that they cost no memory.
    has_rows: bool,
}

/// Where a program counter's entry lies, and what it is above the row.
#[derive(Debug, Clone, Copy)]
struct Key {
    home: usize,
    rest: u64,
}

#[inline(always)]
fn key_of(pc: usize) -> Key {
    const SHIFT: u32 = u64::BITS - ROWS.trailing_zeros();
    let product = (pc as u64).wrapping_mul(MIX);
    Key {
        home: (product >> SHIFT) as usize,
        rest: product << SET_BITS,
    }
}

/// No program counter of user memory.
#[inline(always)]
fn is_outside(pc: usize) -> bool {
    pc >> ADDRESS_BITS != 0
}

impl Rows {
    /// Forgets all.
    pub(super) fn forget(&mut self) {
        if self.has_rows {
            self.entries.fill(0);
            self.has_rows = false;
        }
    }

    /// The row of `pc`, if it is remembered.
    #[inline(always)]
    #[must_use]
    pub(super) fn get(&self, pc: usize) -> Option<Row> {
        if is_outside(pc) {
            return None;
        }
        let Key { home, rest } = key_of(pc);
        for place in 0..PLACES {
            // In bounds by the shift; the compiler sees it.
            let bits = self.entries.get(home ^ place)? ^ rest;
            if bits >> ROW_BITS == 0 {
                // A free entry looks like that of the address 0, and like that of 2,047 others that
                // are as round, but has no row.
                return Row::from_bits(bits as u32);
            }
        }
        None
    }

    /// Remembers the row of `pc`, which `get` did not find.
    pub(super) fn insert(&mut self, pc: usize, row: Row) {
        let Key { home, rest } = key_of(pc);
        // Those that look like free ones are not remembered.
        if is_outside(pc) || rest == 0 {
            return;
        }
        let mut new = rest | u64::from(row.bits());
        let is_free = |place: &usize| self.entries.get(home ^ place) == Some(&0);
        if let Some(place) = (0..PLACES).find(is_free) {
            self.put(home ^ place, new);
        } else {
            for place in 0..PLACES {
                new = self.put(home ^ place, new);
            }
        }
        self.has_rows = true;
    }

    /// Puts an entry in a place; what was there.
    fn put(&mut self, place: usize, new: u64) -> u64 {
        self.entries
            .get_mut(place)
            .map_or(new, |place| core::mem::replace(place, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::row::RowKind;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Rows in memory of their own: an array of this size is nothing for a test's stack.
    fn empty() -> Box<Rows> {
        // SAFETY: numbers, for which zeros are a value.
        let mut rows = unsafe { Box::<Rows>::new_zeroed().assume_init() };
        rows.forget();
        rows
    }

    /// One of two rows.
    fn row_of(pc: usize) -> Row {
        if pc.is_multiple_of(2) {
            Row::bare(RowKind::End)
        } else {
            Row::bare(RowKind::Special)
        }
    }

    /// Program counters that all have the home of the first.
    fn neighbours(count: usize) -> Vec<usize> {
        (1..)
            .filter(|&pc| key_of(pc).home == key_of(1).home)
            .take(count)
            .collect()
    }

    #[test]
    fn as_many_as_there_are_places_stay() {
        let mut rows = empty();
        let pcs = neighbours(PLACES);
        for &pc in &pcs {
            assert_eq!(rows.get(pc), None);
            rows.insert(pc, row_of(pc));
        }
        for &pc in &pcs {
            assert_eq!(rows.get(pc), Some(row_of(pc)));
        }
    }

    #[test]
    fn one_more_takes_a_place() {
        let mut rows = empty();
        let pcs = neighbours(2 * PLACES + 1);
        for (count, &pc) in pcs.iter().enumerate() {
            rows.insert(pc, row_of(pc));
            let remembered = |pc: &&usize| rows.get(**pc).is_some();
            let first = pcs.iter().take(count + 1).filter(remembered).count();
            assert_eq!(first, PLACES.min(count + 1));
            assert_eq!(rows.get(pc), Some(row_of(pc)));
        }
    }

    #[test]
    fn the_end_of_a_chain_has_no_row() {
        let mut rows = empty();
        assert_eq!(rows.get(0), None);
        // Those that lie where it would.
        let at_home = |pc: &usize| key_of(*pc).home / PLACES == 0;
        for pc in (1..1 << ADDRESS_BITS).filter(at_home).take(2 * PLACES) {
            rows.insert(pc, row_of(pc));
            assert_eq!(rows.get(0), None);
            assert_eq!(rows.get(pc), Some(row_of(pc)));
        }
        rows.forget();
        assert_eq!(rows.get(0), None);
    }

    /// Addresses that have nothing left of them but their place look like what is free.
    #[test]
    fn round_addresses_are_not_remembered() {
        for pc in (0..1 << SET_BITS).map(|high| high << (ADDRESS_BITS - SET_BITS)) {
            let mut rows = empty();
            assert_eq!(rows.get(pc), None);
            rows.insert(pc, row_of(pc));
            assert_eq!(rows.get(pc), None);
        }
    }

    proptest! {
        /// What is found is what was put there last, and nothing else is found.
        #[test]
        fn finds_what_a_map_would_or_nothing(
            pcs in proptest::collection::vec(
                prop_oneof![1usize..40_000, any::<usize>(), any::<usize>().prop_map(|pc| pc >> 17)],
                1..4000,
            )
        ) {
            let mut rows = empty();
            let mut model = HashMap::new();
            for &pc in &pcs {
                let found = rows.get(pc);
                prop_assert!(found.is_none() || found == model.get(&pc).copied());
                if found.is_none() {
                    rows.insert(pc, row_of(pc));
                    model.insert(pc, row_of(pc));
                }
                let is_kept = pc >> ADDRESS_BITS == 0;
                prop_assert_eq!(rows.get(pc), is_kept.then(|| row_of(pc)));
            }
            rows.forget();
            for &pc in &pcs {
                prop_assert_eq!(rows.get(pc), None);
            }
        }
    }
}
