//! Address space: maps, unmaps and remaps, as mappings that live and die.
//!
//! In: the map and unmap transitions of a window, in order. Out: every mapping's end, told to a
//! [`Collector`], and those that are still there. Unmapping a part ends the whole mapping; what is
//! left of it begins to live as one or two new ones, with the stack, the thread, the entry point
//! and the time of allocation of the old. Which mappings were unmapped in parts, and when the last
//! part went, is told in the end. A map over something (`MAP_FIXED`) unmaps it first.

use super::heap::{Collector, Live};
use super::transitions::{Transition, TransitionKind};
use crate::block::{Block, Lifetime};
use heaptape_format::event::Operation;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// What tells a mapping, as it was made, from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Mapped {
    pub(crate) born: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

impl Mapped {
    /// That of a mapping that is no remainder.
    pub(crate) fn of(block: &Block) -> Self {
        Self {
            born: block.born,
            address: block.address,
            size: block.size,
        }
    }
}

/// A mapping that was unmapped in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parted {
    pub(crate) origin: Mapped,
    /// When its last part was unmapped; `u64::MAX` while one is left.
    pub(crate) end: u64,
}

/// A mapping without its start.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    live: Live,
    origin: Mapped,
    /// The address behind it: whole pages, except for the break.
    end: u64,
}

impl Mapping {
    fn block(&self, start: u64) -> Block {
        Block {
            allocated: self.origin.born,
            ..self.live.block(start)
        }
    }
}

/// All mappings. They never overlap.
#[derive(Debug)]
pub(crate) struct Mappings {
    by_start: BTreeMap<u64, Mapping>,
    /// How many parts are left of mappings of which parts were unmapped.
    parts: FxHashMap<Mapped, u64>,
    /// Those of which none is left.
    gone: Vec<Parted>,
    page_size: u64,
}

impl Mappings {
    pub(crate) fn new(page_size: u32) -> Self {
        Self {
            by_start: BTreeMap::new(),
            parts: FxHashMap::default(),
            gone: Vec::new(),
            page_size: u64::from(page_size.max(1)),
        }
    }

    /// Makes a mapping live, as it is.
    pub(crate) fn preload(&mut self, block: &Block, live: Live) {
        let end = self.end(block.address, live.size, live.operation);
        // Of a remainder no more is known of it, and nobody asks.
        let origin = Mapped {
            born: block.allocated,
            ..Mapped::of(block)
        };
        let mapping = Mapping { live, origin, end };
        self.by_start.insert(block.address, mapping);
    }

    /// The mappings that were unmapped in parts, in order.
    pub(crate) fn parted(&self) -> Vec<Parted> {
        let left = self.parts.keys().map(|&origin| Parted {
            origin,
            end: u64::MAX,
        });
        let mut parted: Vec<Parted> = left.chain(self.gone.iter().copied()).collect();
        parted.sort_unstable();
        // Two mappings of one place, size and stamp: the one that lived longer.
        parted.reverse();
        parted.dedup_by_key(|parted| parted.origin);
        parted.reverse();
        parted
    }

    /// Every mapping.
    pub(crate) fn live(&self) -> impl Iterator<Item = Block> + '_ {
        let mappings = self.by_start.iter();
        mappings.map(|(&start, mapping)| mapping.block(start))
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

    fn end(&self, start: u64, size: u64, operation: Operation) -> u64 {
        end_of(start, size, operation, self.page_size)
    }

    fn step(&mut self, step: &Transition, collector: &mut impl Collector) {
        let end = self.end(step.address, step.size, step.operation);
        self.unmap(step, end, collector);
        // A mapping of no bytes would be one that no unmap can end; the kernel makes none.
        if step.kind == TransitionKind::Map && end > step.address {
            let block = step.block();
            let mapping = Mapping {
                live: Live::of(&block, step.allocated),
                origin: Mapped::of(&block),
                end,
            };
            self.by_start.insert(step.address, mapping);
        }
    }

    /// Unmaps from the step's address to `end`.
    fn unmap(&mut self, step: &Transition, end: u64, collector: &mut impl Collector) {
        let start = step.address;
        if end <= start {
            return;
        }
        let below = self.by_start.range(..end).rev();
        let met: Vec<(u64, Mapping)> = below
            .take_while(|(_, mapping)| mapping.end > start)
            .map(|(&begin, &mapping)| (begin, mapping))
            .collect();
        for (begin, mapping) in met {
            self.by_start.remove(&begin);
            let ended = mapping.live.ended_by(begin, step);
            collector.ended(&Lifetime {
                block: mapping.block(begin),
                ..ended
            });
            let size = mapping.live.size;
            let mut kept = 0;
            if begin < start {
                kept += self.keep(&mapping, begin, start, size.min(start - begin), step.stamp);
            }
            if mapping.end > end {
                let left = size.saturating_sub(end.saturating_sub(begin));
                kept += self.keep(&mapping, end, mapping.end, left, step.stamp);
            }
            self.count_parts(&mapping, kept, step.stamp);
        }
    }

    /// Notes that `mapping`, whole or a part itself, has become `kept` parts.
    fn count_parts(&mut self, mapping: &Mapping, kept: u64, stamp: u64) {
        let was_part = mapping.live.is_remainder;
        if !was_part && kept == 0 {
            return;
        }
        let parts = self.parts.entry(mapping.origin).or_default();
        *parts = (*parts + kept).saturating_sub(u64::from(was_part));
        if *parts == 0 {
            self.parts.remove(&mapping.origin);
            self.gone.push(Parted {
                origin: mapping.origin,
                end: stamp,
            });
        }
    }

    /// What is left of a mapping, from `begin` to `end`, alive from `stamp` on. Returns how many
    /// parts that are: one or none.
    fn keep(&mut self, mapping: &Mapping, begin: u64, end: u64, size: u64, stamp: u64) -> u64 {
        if size == 0 {
            return 0;
        }
        let live = Live {
            size,
            born: stamp,
            is_remainder: true,
            // A slice that is replayed alone does not know it for a mapping from before.
            allocated: u64::MAX,
            ..mapping.live
        };
        let origin = mapping.origin;
        self.by_start.insert(begin, Mapping { live, origin, end });
        1
    }
}

/// The address behind a range: the kernel maps whole pages, the break moves by bytes.
pub(crate) fn end_of(start: u64, size: u64, operation: Operation, page_size: u64) -> u64 {
    let is_break = matches!(operation, Operation::SBRK_GROW | Operation::SBRK_SHRINK);
    let size = match is_break {
        true => size,
        false => size.checked_next_multiple_of(page_size).unwrap_or(size),
    };
    start.saturating_add(size)
}
