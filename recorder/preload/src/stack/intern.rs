//! Gives a stack node the number it was given before: (caller's node, program counter) goes in,
//! the node's id comes out while the table remembers it. A bounded cache: when it is full it
//! forgets everything, and nodes are made again under new numbers.

use crate::arena::{Plain, Table};

/// Entries at the start: 16 KiB.
const ENTRIES_MIN: usize = 1024;
/// Entries at most: 8 MiB.
const ENTRIES_MAX: usize = 8 << 20 >> 4;

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(ENTRIES_MIN.is_power_of_two() && ENTRIES_MAX.is_power_of_two());

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Entry {
    key: usize,
    parent: u32,
    /// 0: the entry is free.
    node: u32,
}

// SAFETY: three integers; all bits are valid and zero means free.
unsafe impl Plain for Entry {}

/// The table. Without memory for it nothing is remembered, which costs space but loses nothing.
#[derive(Debug, Default)]
pub struct InternTable {
    entries: Option<Table<Entry>>,
    count: usize,
}

impl InternTable {
    /// The node under `parent` for `key`, if it is remembered.
    #[inline]
    #[must_use]
    pub fn get(&self, parent: u32, key: usize) -> Option<u32> {
        let entries = self.entries.as_ref()?.values();
        let mask = entries.len() - 1;
        let mut at = slot(parent, key, mask);
        // Half of the entries are free at least, so this ends.
        loop {
            let entry = entries.get(at & mask)?;
            if entry.node == 0 {
                return None;
            }
            if entry.key == key && entry.parent == parent {
                return Some(entry.node);
            }
            at += 1;
        }
    }

    /// Remembers `node`, which `get` did not find.
    pub fn insert(&mut self, parent: u32, key: usize, node: u32) {
        let length = self
            .entries
            .as_ref()
            .map_or(0, |entries| entries.values().len());
        if self.count >= length / 2 {
            self.make_room(length);
        }
        if let Some(entries) = self.entries.as_mut() {
            let entry = Entry { key, parent, node };
            put(entries.values_mut(), entry);
            self.count += 1;
        }
    }

    /// Forgets all nodes; the memory is kept.
    pub fn clear(&mut self) {
        if self.count > 0
            && let Some(entries) = self.entries.as_mut()
        {
            entries.values_mut().fill(Entry {
                key: 0,
                parent: 0,
                node: 0,
            });
        }
        self.count = 0;
    }

    #[cold]
    fn make_room(&mut self, length: usize) {
        let wanted = if length == 0 { ENTRIES_MIN } else { length * 2 };
        let larger = if wanted <= ENTRIES_MAX {
            Table::new(wanted)
        } else {
            None
        };
        let Some(mut larger) = larger else {
            self.clear();
            return;
        };
        if let Some(entries) = &self.entries {
            for entry in entries.values().iter().filter(|entry| entry.node != 0) {
                put(larger.values_mut(), *entry);
            }
        }
        self.entries = Some(larger);
    }
}

fn put(entries: &mut [Entry], new: Entry) {
    let mask = entries.len().wrapping_sub(1);
    let mut at = slot(new.parent, new.key, mask);
    while let Some(entry) = entries.get_mut(at & mask) {
        if entry.node == 0 {
            *entry = new;
            return;
        }
        at += 1;
    }
}

#[inline(always)]
fn slot(parent: u32, key: usize, mask: usize) -> usize {
    // Odd constants without pattern (digits of the golden ratio and of pi).
    let mixed = key ^ (parent as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed.wrapping_mul(0x2438_6a88_85a3_08d3) >> 40) & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn remembers_what_a_map_remembers(
            nodes in proptest::collection::vec((0u32..40, 0usize..60), 0..3000)
        ) {
            let mut table = InternTable::default();
            let mut model = HashMap::new();
            for (parent, key) in nodes {
                let known = model.get(&(parent, key)).copied();
                prop_assert_eq!(table.get(parent, key), known);
                if known.is_none() {
                    let node = model.len() as u32 + 1;
                    table.insert(parent, key, node);
                    model.insert((parent, key), node);
                }
            }
            table.clear();
            for &(parent, key) in model.keys() {
                prop_assert_eq!(table.get(parent, key), None);
            }
        }
    }

    #[test]
    fn a_full_table_forgets_and_goes_on() {
        let mut table = InternTable::default();
        let fits = u32::try_from(ENTRIES_MAX / 2).expect("small");
        for node in 1..=fits {
            table.insert(node - 1, 0x1000 + node as usize * 5, node);
        }
        assert_eq!(table.get(fits - 1, 0x1000 + fits as usize * 5), Some(fits));
        table.insert(fits, 7, fits + 1);
        assert_eq!(table.get(fits, 7), Some(fits + 1));
        assert_eq!(table.get(0, 0x1005), None);
        assert_eq!(
            table.entries.as_ref().expect("memory").values().len(),
            ENTRIES_MAX
        );
    }
}
