//! Address space: maps, unmaps and remaps, as mappings that live and die.
//!
//! In: the map and unmap transitions of a window, in order. Out: every mapping's end, told to a
//! [`Collector`], and those that are still there. Unmapping a part ends the whole mapping; what is
//! left of it begins to live as one or two new ones, with the stack, the thread and the entry
//! point of the old. A map over something (`MAP_FIXED`) unmaps it first.

use super::heap::{Collector, Live};
use super::transitions::{Transition, TransitionKind};
use crate::block::Block;
use heaptape_format::event::Operation;
use std::collections::BTreeMap;

/// A mapping without its start.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    live: Live,
    /// The address behind it: whole pages, except for the break.
    end: u64,
}

/// All mappings. They never overlap.
#[derive(Debug)]
pub(crate) struct Mappings {
    by_start: BTreeMap<u64, Mapping>,
    page_size: u64,
}

impl Mappings {
    pub(crate) fn new(page_size: u32) -> Self {
        Self {
            by_start: BTreeMap::new(),
            page_size: u64::from(page_size.max(1)),
        }
    }

    /// Makes a mapping live, as it is.
    pub(crate) fn preload(&mut self, address: u64, live: Live) {
        let end = self.end(address, live.size, live.operation);
        self.by_start.insert(address, Mapping { live, end });
    }

    /// Every mapping.
    pub(crate) fn live(&self) -> impl Iterator<Item = Block> + '_ {
        let mappings = self.by_start.iter();
        mappings.map(|(&start, mapping)| mapping.live.block(start))
    }

    pub(crate) fn apply(
        &mut self,
        window: &[Transition],
        picks: &[u32],
        collector: &mut impl Collector,
    ) {
        let picked = picks.iter().filter_map(|&place| window.get(place as usize));
        let picked: Vec<&Transition> = picked.collect();
        for group in picked.chunk_by(|a, b| a.stamp == b.stamp) {
            let mut runs: Vec<&[&Transition]> =
                group.chunk_by(|a, b| a.stream == b.stream).collect();
            // Ties: the first stream whose next step fits goes on; the first of all if none does.
            while let Some(run) = self.fitting(&runs) {
                if let Some((step, rest)) = runs.get(run).and_then(|run| run.split_first()) {
                    self.step(step, collector);
                    if let Some(run) = runs.get_mut(run) {
                        *run = rest;
                    }
                }
                runs.retain(|run| !run.is_empty());
            }
        }
    }

    fn fitting(&self, runs: &[&[&Transition]]) -> Option<usize> {
        let fits = |run: &&[&Transition]| run.first().is_some_and(|step| self.fits(step));
        runs.iter()
            .position(fits)
            .or((!runs.is_empty()).then_some(0))
    }

    fn fits(&self, step: &Transition) -> bool {
        let end = self.end(step.address, step.size, step.operation);
        let last = self.by_start.range(..end).next_back();
        let overlaps = last.is_some_and(|(_, mapping)| mapping.end > step.address);
        overlaps == (step.kind == TransitionKind::Unmap)
    }

    /// The address behind a range: the kernel maps whole pages, the break moves by bytes.
    fn end(&self, start: u64, size: u64, operation: Operation) -> u64 {
        let is_break = matches!(operation, Operation::SBRK_GROW | Operation::SBRK_SHRINK);
        let size = match is_break {
            true => size,
            false => size
                .checked_next_multiple_of(self.page_size)
                .unwrap_or(size),
        };
        start.saturating_add(size)
    }

    fn step(&mut self, step: &Transition, collector: &mut impl Collector) {
        let end = self.end(step.address, step.size, step.operation);
        self.unmap(step, end, collector);
        // A mapping of no bytes would be one that no unmap can end; the kernel makes none.
        if step.kind == TransitionKind::Map && end > step.address {
            let live = Live::of(&step.block(), step.allocated);
            self.by_start.insert(step.address, Mapping { live, end });
        }
    }

    /// Unmaps from the step's address to `end`.
    fn unmap(&mut self, step: &Transition, end: u64, collector: &mut impl Collector) {
        let start = step.address;
        let below = self.by_start.range(..end).rev();
        let met: Vec<(u64, Mapping)> = below
            .take_while(|(_, mapping)| mapping.end > start)
            .map(|(&begin, &mapping)| (begin, mapping))
            .collect();
        for (begin, mapping) in met {
            self.by_start.remove(&begin);
            collector.ended(&mapping.live.ended_by(begin, step));
            let size = mapping.live.size;
            if begin < start {
                self.keep(&mapping, begin, start, size.min(start - begin), step.stamp);
            }
            if mapping.end > end {
                let left = size.saturating_sub(end.saturating_sub(begin));
                self.keep(&mapping, end, mapping.end, left, step.stamp);
            }
        }
    }

    /// What is left of a mapping, from `begin` to `end`, alive from `stamp` on.
    fn keep(&mut self, mapping: &Mapping, begin: u64, end: u64, size: u64, stamp: u64) {
        if size == 0 {
            return;
        }
        let live = Live {
            size,
            born: stamp,
            is_remainder: true,
            // A slice that is replayed alone does not know it for a mapping from before.
            allocated: u64::MAX,
            ..mapping.live
        };
        self.by_start.insert(begin, Mapping { live, end });
    }
}
