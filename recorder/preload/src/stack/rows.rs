//! Remembers the packed rows of program counters: a program counter goes in, its row comes out
//! while it is remembered. A bounded cache.
//!
//! A row may lie in any of four places, all in one line of the processor's cache. It goes to the
//! first of them (its home) if that is free, so that one comparison finds most rows; the others
//! are for those whose homes are the same. When all four are taken, the new one gets its home, each
//! other moves on by one, and the last leaves.

use super::row::{Row, RowKind};

/// Rows that a thread remembers.
const ROWS: usize = 8192;
/// Places for one row.
const PLACES: usize = 4;

const _: () = assert!(ROWS.is_power_of_two() && PLACES.is_power_of_two());
const _: () = assert!(PLACES * size_of::<CachedRow>() == 64);

#[derive(Debug, Clone, Copy)]
struct CachedRow {
    /// The return address; 0 is none.
    pc: usize,
    row: Row,
}

const FREE: CachedRow = CachedRow {
    pc: 0,
    row: Row::bare(RowKind::Unknown),
};

/// The rows. Zeroed memory is a valid value; to be [emptied](Rows::forget) before use.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Rows {
    rows: [CachedRow; ROWS],
    /// Some of them are in use; otherwise they are not touched, so that they cost no memory.
    has_rows: bool,
}

/// The home of the row of `pc`.
#[inline(always)]
fn home(pc: usize) -> usize {
    const SHIFT: u32 = usize::BITS - ROWS.trailing_zeros();
    // Odd, without pattern: digits of the golden ratio.
    pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHIFT
}

impl Rows {
    /// Forgets all.
    pub(super) fn forget(&mut self) {
        if self.has_rows {
            self.rows.fill(FREE);
            self.has_rows = false;
        }
        // The places of address 0, the end of a chain, must not hold 0.
        if let Some(places) = self.rows.first_chunk_mut::<PLACES>() {
            *places = [CachedRow {
                pc: usize::MAX,
                ..FREE
            }; PLACES];
        }
    }

    /// The row of `pc`, if it is remembered.
    #[inline(always)]
    #[must_use]
    pub(super) fn get(&self, pc: usize) -> Option<Row> {
        let home = home(pc);
        // In bounds by the shift; the compiler sees it.
        let cached = self.rows.get(home)?;
        if cached.pc == pc {
            return Some(cached.row);
        }
        for place in 1..PLACES {
            let cached = self.rows.get(home ^ place)?;
            if cached.pc == pc {
                return Some(cached.row);
            }
        }
        None
    }

    /// Remembers the row of `pc`, which `get` did not find.
    pub(super) fn insert(&mut self, pc: usize, row: Row) {
        let home = home(pc);
        let is_free = |place: &usize| self.rows.get(home ^ place).is_some_and(|row| row.pc == 0);
        let free = (0..PLACES).find(is_free);
        let mut new = CachedRow { pc, row };
        if let Some(place) = free {
            self.put(home ^ place, new);
        } else {
            for place in 0..PLACES {
                new = self.put(home ^ place, new);
            }
        }
        self.has_rows = true;
    }

    /// Puts a row in a place; what was there.
    fn put(&mut self, place: usize, new: CachedRow) -> CachedRow {
        self.rows
            .get_mut(place)
            .map_or(new, |place| core::mem::replace(place, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            .filter(|&pc| home(pc) == home(1))
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
        let at_home = |pc: &usize| home(*pc) / PLACES == 0;
        for pc in (1..usize::MAX).filter(at_home).take(2 * PLACES) {
            rows.insert(pc, row_of(pc));
            assert_eq!(rows.get(0), None);
            assert_eq!(rows.get(pc), Some(row_of(pc)));
        }
        rows.forget();
        assert_eq!(rows.get(0), None);
    }

    proptest! {
        /// What is found is what was put there last, and nothing else is found.
        #[test]
        fn finds_what_a_map_would_or_nothing(
            pcs in proptest::collection::vec(1usize..40_000, 1..4000)
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
                prop_assert_eq!(rows.get(pc), Some(row_of(pc)));
            }
            rows.forget();
            for &pc in &pcs {
                prop_assert_eq!(rows.get(pc), None);
            }
        }
    }
}
