//! Who is alive: births and deaths of blocks, address by address.
//!
//! In: windows of transitions in the order of time. Out: every block's end, told to a
//! [`Collector`], and who is still alive. An address is dead or live: a free of a dead one is an
//! unknown free, a birth at a live one means that a free was lost. Addresses are spread over
//! partitions that work in parallel; a partition sees all that happens at its addresses.

use super::mappings::{Mappings, Parted};
use super::reuses::{Reuses, is_reuse};
use super::ties::alternation;
use super::transitions::{Transition, TransitionKind, is_heap, is_mapping};
use crate::block::{Block, Death, Lifetime, StackId, StreamId};
use heaptape_format::event::{DomainId, Operation, OperationKind};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// Windows with fewer transitions are not worth waking other threads.
const PARALLEL_MIN: usize = 1 << 14;

/// What a transition does to the totals of the heap domains, inherited blocks left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    /// Blocks that begin to live: 0 or 1.
    pub(crate) births: u8,
    /// Blocks that die: 0 or 1.
    pub(crate) deaths: u8,
    /// Bytes that are added, modulo 2^64.
    pub(crate) bytes: u64,
}

/// Is told what happens. Each partition has its own.
pub(crate) trait Collector: Send {
    /// The life of a block, a mapping or a reuse ended.
    fn ended(&mut self, lifetime: &Lifetime);

    /// The death or the reuse of a block that is inherited, or that is not known and may be.
    fn unknown(&mut self, transition: &Transition) {
        let _ = transition;
    }

    /// The transition at `place` of the window changed the totals.
    fn changed(&mut self, place: u32, change: Change) {
        let _ = (place, change);
    }
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) reallocs: u64,
    pub(crate) unknown_frees: u64,
    pub(crate) implied_frees: u64,
    pub(crate) inherited_frees: u64,
    pub(crate) inherited_pool_frees: u64,
    /// Of frees and reallocs: those that were taken for inherited blocks' that are not known.
    pub(crate) inherited_unknown: u64,
    pub(crate) bytes_allocated: u64,
    pub(crate) reuses: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.reallocs += other.reallocs;
        self.unknown_frees += other.unknown_frees;
        self.implied_frees += other.implied_frees;
        self.inherited_frees += other.inherited_frees;
        self.inherited_pool_frees += other.inherited_pool_frees;
        self.inherited_unknown += other.inherited_unknown;
        self.bytes_allocated = self.bytes_allocated.saturating_add(other.bytes_allocated);
        self.reuses += other.reuses;
    }
}

/// A live block without its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    pub(crate) size: u64,
    pub(crate) born: u64,
    /// [`Transition::allocated`] of its birth; `u64::MAX` when that is not known.
    pub(crate) allocated: u64,
    pub(crate) stack: StackId,
    pub(crate) stream: StreamId,
    pub(crate) operation: Operation,
    pub(crate) alignment_log2: u8,
    pub(crate) domain: DomainId,
    pub(crate) is_remainder: bool,
}

impl Live {
    pub(crate) fn of(block: &Block, allocated: u64) -> Self {
        Self {
            size: block.size,
            born: block.born,
            allocated,
            stack: block.stack,
            stream: block.stream,
            operation: block.operation,
            alignment_log2: block.alignment_log2,
            domain: block.domain,
            is_remainder: block.is_remainder,
        }
    }

    pub(crate) fn block(&self, address: u64) -> Block {
        Block {
            address,
            size: self.size,
            stack: self.stack,
            stream: self.stream,
            operation: self.operation,
            alignment_log2: self.alignment_log2,
            domain: self.domain,
            born: self.born,
            allocated: self.born,
            is_remainder: self.is_remainder,
        }
    }

    fn is_inherited(&self) -> bool {
        self.stream == StreamId::INHERITED
    }

    /// The whole life of this block at `address`, ended by `end`.
    pub(crate) fn ended_by(&self, address: u64, end: &Transition) -> Lifetime {
        let known = self.stream == end.stream && self.allocated != u64::MAX;
        let between = end.allocated_before().saturating_sub(self.allocated);
        // What an allocation ended was freed before, elsewhere: its stack is not the free's.
        let is_end = matches!(end.kind, TransitionKind::Death | TransitionKind::Unmap);
        Lifetime {
            block: self.block(address),
            death: Some(Death {
                stamp: end.stamp,
                stream: end.stream,
                stack: if is_end { end.stack } else { StackId::NONE },
                operation: end.operation,
                allocations_between: known.then_some(between),
            }),
        }
    }
}

/// Where a block stands: the heap domains share one address space, each other domain has its own.
fn key(transition: &Transition) -> (u16, u64) {
    let space = match is_heap(transition.domain) {
        true => 0,
        false => transition.domain.0,
    };
    (space, transition.address)
}

/// The blocks of some addresses.
#[derive(Debug, Default)]
struct Partition {
    heap: FxHashMap<u64, Live>,
    others: FxHashMap<(u16, u64), Live>,
    reuses: Reuses,
    counts: Counts,
    /// Blocks of before the recording are not known, so a free of one says nothing.
    inherits_unknown: bool,
    /// Where something died since, when some are not known: nothing inherited is there any more.
    over: FxHashSet<(u16, u64)>,
    /// The transitions that are applied now may stand in another order than they happened in.
    is_tied: bool,
    tied: Vec<u32>,
}

impl Partition {
    fn apply(&mut self, window: &[Transition], picks: &[u32], collector: &mut impl Collector) {
        let at = |place: u32| window.get(place as usize);
        for group in picks.chunk_by(|&a, &b| at(a).map(|t| t.stamp) == at(b).map(|t| t.stamp)) {
            let stream = group.first().and_then(|&place| at(place)).map(|t| t.stream);
            let one_stream = group.len() == 1
                || group
                    .iter()
                    .all(|&place| at(place).map(|t| t.stream) == stream);
            if one_stream {
                self.steps(window, group, collector);
            } else {
                self.tie(window, group, collector);
            }
        }
    }

    #[inline]
    fn steps(&mut self, window: &[Transition], picks: &[u32], collector: &mut impl Collector) {
        for &place in picks {
            if let Some(transition) = window.get(place as usize) {
                self.step(place, transition, collector);
            }
        }
    }

    /// Transitions of several streams at one stamp: the order matters for each address alone.
    fn tie(&mut self, window: &[Transition], picks: &[u32], collector: &mut impl Collector) {
        let mut tied = std::mem::take(&mut self.tied);
        tied.clear();
        tied.extend_from_slice(picks);
        let key_at = |&place: &u32| window.get(place as usize).map(key);
        // Stable: the streams stay in their order, and each stream's transitions in theirs.
        tied.sort_by_key(key_at);
        let stream_at = |&place: &u32| window.get(place as usize).map(|at| at.stream);
        for group in tied.chunk_by(|a, b| key_at(a) == key_at(b)) {
            let first = group.first().and_then(stream_at);
            self.is_tied = group.iter().any(|place| stream_at(place) != first);
            match self.fitting_order(window, group) {
                Some(order) => self.steps(window, &order, collector),
                None => self.steps(window, group, collector),
            }
        }
        self.is_tied = false;
        self.tied = tied;
    }

    /// The transitions of one address at one stamp so that births and deaths alternate; None when
    /// they stand so already or no order fits.
    fn fitting_order(&self, window: &[Transition], group: &[u32]) -> Option<Vec<u32>> {
        let at = |place: &u32| window.get(*place as usize);
        let stream = |place: &u32| at(place).map(|transition| transition.stream);
        let mut runs: Vec<&[u32]> = group.chunk_by(|a, b| stream(a) == stream(b)).collect();
        if runs.len() < 2 {
            return None;
        }
        let is_retag =
            |place: &u32| at(place).is_some_and(|step| step.kind == TransitionKind::Retag);
        let births = |run: &&[u32]| {
            let births = run.iter().filter(|place| !is_retag(place)).filter_map(at);
            births.map(|t| t.kind == TransitionKind::Birth).collect()
        };
        let births: Vec<Vec<bool>> = runs.iter().map(births).collect();
        let order = alternation(self.is_live(group.first().and_then(at)?), &births)?;
        // A retag stands right before the next step of its stream.
        let mut steps = Vec::with_capacity(group.len());
        for stream in order {
            let run = runs.get_mut(stream)?;
            let count = run.iter().take_while(|place| is_retag(place)).count() + 1;
            let (next, rest) = run.split_at_checked(count)?;
            steps.extend_from_slice(next);
            *run = rest;
        }
        steps.extend(runs.into_iter().flatten());
        Some(steps)
    }

    fn is_live(&self, transition: &Transition) -> bool {
        match is_heap(transition.domain) {
            true => self.heap.contains_key(&transition.address),
            false => self.others.contains_key(&key(transition)),
        }
    }

    #[inline]
    fn step(&mut self, place: u32, transition: &Transition, collector: &mut impl Collector) {
        match transition.kind {
            TransitionKind::Birth => self.birth(place, transition, collector),
            TransitionKind::Death => self.death(place, transition, collector),
            TransitionKind::Retag => self.retag(transition, collector),
            TransitionKind::Map | TransitionKind::Unmap => {}
        }
    }

    #[inline]
    fn birth(&mut self, place: u32, transition: &Transition, collector: &mut impl Collector) {
        let size = transition.size;
        self.counts.bytes_allocated = self.counts.bytes_allocated.saturating_add(size);
        if transition.operation.kind() == OperationKind::Alloc {
            self.counts.allocs += 1;
        }
        let live = Live::of(&transition.block(), transition.allocated);
        let is_heap = is_heap(transition.domain);
        let old = match is_heap {
            true => self.heap.insert(transition.address, live),
            false => self.others.insert(key(transition), live),
        };
        let mut change = Change {
            births: 1,
            deaths: 0,
            bytes: size,
        };
        if let Some(old) = old {
            self.counts.implied_frees += 1;
            collector.ended(&old.ended_by(transition.address, transition));
            if is_heap {
                self.reuses.end(transition, collector);
            }
            if !old.is_inherited() {
                change.deaths = 1;
                change.bytes = size.wrapping_sub(old.size);
            }
        }
        if is_heap {
            collector.changed(place, change);
        }
    }

    #[inline]
    fn death(&mut self, place: u32, transition: &Transition, collector: &mut impl Collector) {
        let is_heap = is_heap(transition.domain);
        let old = match is_heap {
            true => self.heap.remove(&transition.address),
            false => self.others.remove(&key(transition)),
        };
        let is_realloc = transition.operation.kind() == OperationKind::Realloc;
        // The first death since a fork may be that of an inherited block, a later one never.
        let is_over = self.inherits_unknown && self.ends_inheritance(transition);
        if old.map_or(self.inherits_unknown && !is_over, |old| old.is_inherited()) {
            collector.unknown(transition);
        }
        let Some(old) = old else {
            return self.unknown_death(is_heap, is_realloc, is_over);
        };
        collector.ended(&old.ended_by(transition.address, transition));
        if is_heap {
            self.reuses.end(transition, collector);
        }
        match (is_realloc, old.is_inherited()) {
            (true, _) => self.counts.reallocs += 1,
            (false, true) if is_heap => self.counts.inherited_frees += 1,
            (false, true) => self.counts.inherited_pool_frees += 1,
            (false, false) => self.counts.frees += 1,
        }
        if is_heap && !old.is_inherited() {
            let change = Change {
                births: 0,
                deaths: 1,
                bytes: 0u64.wrapping_sub(old.size),
            };
            collector.changed(place, change);
        }
    }

    /// Not of a dead address: the block is not recorded, or its allocation was lost.
    #[cold]
    fn retag(&mut self, transition: &Transition, collector: &mut impl Collector) {
        self.counts.reuses += 1;
        let block = self.heap.get(&transition.address);
        let may_be = self.inherits_unknown && !self.over.contains(&key(transition));
        if block.map_or(may_be, Live::is_inherited) {
            collector.unknown(transition);
        }
        if let Some(block) = block {
            self.reuses.begin(transition, block, collector);
        }
    }

    /// Notes that something died at its address; true when something had before.
    fn ends_inheritance(&mut self, transition: &Transition) -> bool {
        let place = key(transition);
        match self.is_tied {
            true => self.over.contains(&place),
            false => !self.over.insert(place),
        }
    }

    #[cold]
    fn unknown_death(&mut self, is_heap: bool, is_realloc: bool, is_over: bool) {
        let may_be_inherited = self.inherits_unknown && !is_over;
        self.counts.inherited_unknown += u64::from(may_be_inherited);
        match (may_be_inherited, is_realloc) {
            (true, true) => self.counts.reallocs += 1,
            (true, false) if is_heap => self.counts.inherited_frees += 1,
            (true, false) => self.counts.inherited_pool_frees += 1,
            (false, _) => {
                self.counts.unknown_frees += 1;
                self.counts.allocs += u64::from(is_realloc);
            }
        }
    }
}

/// All live blocks and mappings. See the module.
#[derive(Debug)]
pub(crate) struct Heap {
    partitions: Vec<Partition>,
    mappings: Mappings,
}

impl Heap {
    /// Nothing alive. `inherits_unknown`: the process was forked and not all blocks of its parent
    /// are known, so frees of unknown blocks are taken for frees of inherited ones, unless
    /// something else has lived or died at the address since.
    pub(crate) fn new(page_size: u32, inherits_unknown: bool) -> Self {
        // More partitions than threads, so that a full one does not hold up the others.
        let count = match rayon::current_num_threads() {
            0 | 1 => 1,
            threads => threads.saturating_mul(2).min(256),
        };
        let partition = || Partition {
            inherits_unknown,
            ..Partition::default()
        };
        Self {
            partitions: (0..count).map(|_| partition()).collect(),
            mappings: Mappings::new(page_size),
        }
    }

    /// Makes `blocks` live, as they are.
    pub(crate) fn preload<'a>(&mut self, blocks: impl Iterator<Item = &'a Block>) {
        for block in blocks {
            let live = Live::of(block, u64::MAX);
            if is_mapping(block.operation) {
                self.mappings.preload(block, live);
                continue;
            }
            let place = partition_of(block.address, self.partitions.len());
            let Some(partition) = self.partitions.get_mut(place) else {
                continue;
            };
            match is_heap(block.domain) {
                true if is_reuse(block.operation) => {
                    partition.reuses.preload(block.address, live);
                    continue;
                }
                true => partition.heap.insert(block.address, live),
                false => partition
                    .others
                    .insert((block.domain.0, block.address), live),
            };
        }
    }

    /// Applies a window. Returns the collectors that were told of it, made by `make`: one for
    /// each partition and one for the mappings.
    pub(crate) fn apply<C: Collector>(
        &mut self,
        window: &[Transition],
        make: impl Fn() -> C + Sync,
    ) -> Vec<C> {
        let count = self.partitions.len();
        let mut picks: Vec<Vec<u32>> = vec![Vec::new(); count];
        if let [picks] = picks.as_mut_slice() {
            picks.reserve(window.len());
        }
        let mut mapped = Vec::new();
        for (place, transition) in (0u32..).zip(window) {
            if matches!(transition.kind, TransitionKind::Map | TransitionKind::Unmap) {
                mapped.push(place);
            } else if let Some(picks) = picks.get_mut(partition_of(transition.address, count)) {
                picks.push(place);
            }
        }
        let work = |(partition, picks): (&mut Partition, &Vec<u32>)| {
            let mut collector = make();
            partition.apply(window, picks, &mut collector);
            collector
        };
        let mut collectors: Vec<C> = match count > 1 && window.len() >= PARALLEL_MIN {
            true => self
                .partitions
                .par_iter_mut()
                .zip(&picks)
                .map(work)
                .collect(),
            false => self.partitions.iter_mut().zip(&picks).map(work).collect(),
        };
        if !mapped.is_empty() {
            let mut collector = make();
            self.mappings.apply(window, &mapped, &mut collector);
            collectors.push(collector);
        }
        collectors
    }

    /// How often what happened so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for partition in &self.partitions {
            counts.add(&partition.counts);
        }
        counts
    }

    /// The mappings so far that were unmapped in parts, in order.
    pub(crate) fn parted(&self) -> Vec<Parted> {
        self.mappings.parted()
    }

    /// Every block and mapping that is alive, and every reuse, in no order.
    pub(crate) fn live(&self) -> impl Iterator<Item = Block> + '_ {
        let blocks = self.partitions.iter().flat_map(|partition| {
            let heap = partition.heap.iter();
            let heap = heap.map(|(&address, live)| live.block(address));
            let others = partition.others.iter();
            heap.chain(others.map(|(&(_, address), live)| live.block(address)))
                .chain(partition.reuses.live())
        });
        blocks.chain(self.mappings.live())
    }
}

#[inline]
fn partition_of(address: u64, count: usize) -> usize {
    // The upper half of a product by an odd number: addresses are multiples of 16.
    let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (hash % count.max(1) as u64) as usize
}
