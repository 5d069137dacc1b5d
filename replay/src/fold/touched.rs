//! Which parts of a forked process's address space it has changed: there, nothing that its parent
//! had mapped is as it was.
//!
//! In: maps and unmaps in order. Out: the parts that each of them is the first to touch.

use crate::history::mappings::end_of;
use crate::history::transitions::{Transition, TransitionKind};
use crate::tape::Tape;
use std::collections::BTreeMap;

/// The parts so far, which do not overlap: first address, address behind.
#[derive(Debug, Default)]
pub(super) struct Touched {
    parts: BTreeMap<u64, u64>,
    page_size: u64,
}

impl Touched {
    /// Those of an earlier fold, for which `before` gets what stands for them. None: the process
    /// inherited nothing.
    pub(super) fn new(tape: &Tape, before: &mut Vec<Transition>) -> Option<Self> {
        if !tape.is_forked() {
            return None;
        }
        let mut touched = Self {
            parts: BTreeMap::new(),
            page_size: u64::from(tape.header.page_size.max(1)),
        };
        for transition in crate::history::folded::of_inherited(tape) {
            before.extend(touched.first(&transition));
        }
        Some(touched)
    }

    /// The parts of what `transition` maps or unmaps that nothing did before, as unmappings.
    pub(super) fn first(&mut self, transition: &Transition) -> Vec<Transition> {
        let is_mapping = matches!(transition.kind, TransitionKind::Map | TransitionKind::Unmap);
        if !is_mapping || transition.size == 0 {
            return Vec::new();
        }
        let start = transition.address;
        let end = end_of(start, transition.size, transition.operation, self.page_size);
        self.add(start, end)
            .into_iter()
            .map(|(start, end)| Transition {
                address: start,
                size: end - start,
                kind: TransitionKind::Unmap,
                ..*transition
            })
            .collect()
    }

    /// Adds a part; what of it is new.
    fn add(&mut self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut new = Vec::new();
        let mut from = start;
        let before = self.parts.range(..start).next_back();
        let overlap = before.filter(|(_, behind)| **behind > start);
        let overlap = overlap.map(|(&first, &behind)| (first, behind));
        let inside = self
            .parts
            .range(start..end)
            .map(|(&first, &behind)| (first, behind));
        let known: Vec<(u64, u64)> = overlap.into_iter().chain(inside).collect();
        for (first, behind) in known {
            if first > from {
                new.push((from, first));
            }
            from = from.max(behind);
        }
        if from < end {
            new.push((from, end));
        }
        self.parts.extend(new.iter().copied());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_new_once() {
        let mut touched = Touched {
            page_size: 1,
            ..Touched::default()
        };
        assert_eq!(touched.add(10, 20), [(10, 20)]);
        assert_eq!(touched.add(12, 18), []);
        assert_eq!(touched.add(5, 25), [(5, 10), (20, 25)]);
        assert_eq!(touched.add(0, 40), [(0, 5), (25, 40)]);
        assert_eq!(touched.add(50, 60), [(50, 60)]);
        assert_eq!(touched.add(39, 55), [(40, 50)]);
        assert_eq!(touched.add(0, 60), []);
    }
}
