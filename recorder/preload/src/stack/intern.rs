//! Gives a stack node the number it was given before: (caller's node, program counter) goes in,
//! the node's id comes out while the table remembers it. A bounded cache: when it is full it
//! forgets everything, and nodes are made again under new numbers.
//!
//! An entry lies in the line (of the processor's cache) that belongs to its parent and the
//! parent's neighbour. The nodes of one stack got their numbers one after another, so looking up a
//! stack again reads lines that follow each other, where entries placed by a hash alone would cost
//! a miss of the cache for each frame. Parents with many children overflow into lines found by a
//! hash.

use crate::arena::{Plain, Table};

/// Entries at the start: 16 KiB.
const ENTRIES_MIN: usize = 1024;
/// Entries at most: 8 MiB; more only where stacks are very deep.
const ENTRIES_MAX: usize = 8 << 20 >> 4;
/// Then so many for each frame: a few stacks that have nothing in common are remembered.
const ENTRIES_A_FRAME: usize = 16;

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(ENTRIES_MIN.is_power_of_two() && ENTRIES_MAX.is_power_of_two());

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    key: usize,
    parent: u32,
    /// 0: the entry is free.
    node: u32,
}

/// Entries that lie in one line of the cache. They are filled in order and stay.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([Entry; LINE_ENTRIES]);

const LINE_ENTRIES: usize = 4;
const _: () = assert!(size_of::<Line>() == 64);

// SAFETY: integers; all bits are valid and zero means free.
unsafe impl Plain for Line {}

/// The table. Without memory for it nothing is remembered, which costs space but loses nothing.
#[derive(Debug, Default)]
pub struct InternTable {
    entries: Option<Table<Line>>,
    count: usize,
    /// Entries at most; no fewer than [`ENTRIES_MAX`].
    most: usize,
}

impl InternTable {
    /// The node under `parent` for `key`, if it is remembered.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, parent: u32, key: usize) -> Option<u32> {
        let lines = self.entries.as_ref()?.values();
        let mask = lines.len() - 1;
        match look(lines.get(home(parent) & mask)?, parent, key) {
            Look::Full => overflowed(lines, parent, key),
            Look::Node(node) => Some(node),
            Look::Nothing => None,
        }
    }

    /// Remembers `node`, which `get` did not find.
    pub fn insert(&mut self, parent: u32, key: usize, node: u32) {
        let length = self
            .entries
            .as_ref()
            .map_or(0, |lines| lines.values().len() * LINE_ENTRIES);
        if self.count >= length / 2 {
            self.make_room(length);
        }
        if let Some(entries) = self.entries.as_mut() {
            let entry = Entry { key, parent, node };
            put(entries.values_mut(), entry);
            self.count += 1;
        }
    }

    /// There are stacks of so many frames.
    pub fn allow(&mut self, frames: usize) {
        self.most = (frames * ENTRIES_A_FRAME).next_power_of_two();
    }

    /// Forgets all nodes; the memory is kept.
    pub fn clear(&mut self) {
        if self.count > 0
            && let Some(entries) = self.entries.as_mut()
        {
            entries.values_mut().fill(Line::default());
        }
        self.count = 0;
    }

    #[cold]
    fn make_room(&mut self, length: usize) {
        let wanted = if length == 0 { ENTRIES_MIN } else { length * 2 };
        let larger = if wanted <= ENTRIES_MAX.max(self.most) {
            Table::new(wanted / LINE_ENTRIES)
        } else {
            None
        };
        let Some(mut larger) = larger else {
            self.clear();
            return;
        };
        if let Some(entries) = &self.entries {
            let entries = entries.values().iter().flat_map(|line| line.0);
            for entry in entries.filter(|entry| entry.node != 0) {
                put(larger.values_mut(), entry);
            }
        }
        self.entries = Some(larger);
    }
}

/// What a line says of an entry.
enum Look {
    Node(u32),
    /// It is not remembered.
    Nothing,
    /// It is not here; it may be elsewhere.
    Full,
}

#[inline(always)]
fn look(line: &Line, parent: u32, key: usize) -> Look {
    for entry in &line.0 {
        if entry.key == key && entry.parent == parent && entry.node != 0 {
            return Look::Node(entry.node);
        }
        if entry.node == 0 {
            return Look::Nothing;
        }
    }
    Look::Full
}

#[inline(never)]
fn overflowed(lines: &[Line], parent: u32, key: usize) -> Option<u32> {
    let mask = lines.len() - 1;
    let mut at = overflow(parent, key);
    // Half of the entries are free at least, so this ends.
    loop {
        match look(lines.get(at & mask)?, parent, key) {
            Look::Full => at += 1,
            Look::Node(node) => return Some(node),
            Look::Nothing => return None,
        }
    }
}

fn put(lines: &mut [Line], new: Entry) {
    let mask = lines.len().wrapping_sub(1);
    let mut at = home(new.parent);
    let mut next = overflow(new.parent, new.key);
    while let Some(line) = lines.get_mut(at & mask) {
        if let Some(free) = line.0.iter_mut().find(|entry| entry.node == 0) {
            *free = new;
            return;
        }
        at = next;
        next += 1;
    }
}

/// The line of a parent: two numbers share it, because half of the entries stay free.
#[inline(always)]
fn home(parent: u32) -> usize {
    const PARENTS: usize = LINE_ENTRIES / 2;
    parent as usize / PARENTS
}

/// Where to go on when that is full.
#[inline(always)]
fn overflow(parent: u32, key: usize) -> usize {
    // Odd constants without pattern (digits of the golden ratio and of pi).
    let mixed = key ^ (parent as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.wrapping_mul(0x2438_6a88_85a3_08d3) >> 40
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

    /// All children of one node, and as many nodes in a row: none gets lost, none is taken for
    /// another.
    #[test]
    fn lines_overflow() {
        let mut table = InternTable::default();
        let count = 20_000u32;
        for node in 1..=count {
            let (parent, key) = if node % 2 == 0 { (7, node) } else { (node, 9) };
            assert_eq!(table.get(parent, key as usize), None);
            table.insert(parent, key as usize, node);
        }
        for node in 1..=count {
            let (parent, key) = if node % 2 == 0 { (7, node) } else { (node, 9) };
            assert_eq!(table.get(parent, key as usize), Some(node));
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
            ENTRIES_MAX / LINE_ENTRIES
        );
    }
}
