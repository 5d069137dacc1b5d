//! What a history means, in the plainest way: one list, one map, no index, no threads.
//!
//! In: each stream's events. Out: who is alive after a stamp, every life, and the counts. It shares
//! no code with the replay but the types.

use super::generate::History;
use heaptape::Tape;
use heaptape::block::{Block, Lifetime, StreamId};
use heaptape_format::event::{DomainId, Event, Operation, OperationKind};
use heaptape_format::stack::Frame;
use std::collections::{BTreeMap, BTreeSet};

/// A block's life with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    pub born: u64,
    /// Of what was left of a mapping: when that was mapped; else as `born`.
    pub allocated: u64,
    pub domain: DomainId,
    pub address: u64,
    pub size: u64,
    pub stream: u32,
    pub operation: Operation,
    pub alignment_log2: u8,
    pub frames: Vec<Frame>,
    pub end: Option<LifeEnd>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LifeEnd {
    pub stamp: u64,
    pub stream: u32,
    pub operation: Operation,
    pub frames: Vec<Frame>,
    pub between: Option<u64>,
}

impl Life {
    /// A block of the replay.
    pub fn of_block(tape: &Tape, block: &Block) -> Self {
        Self {
            born: block.born,
            allocated: block.allocated,
            domain: block.domain,
            address: block.address,
            size: block.size,
            stream: block.stream.0,
            operation: block.operation,
            alignment_log2: block.alignment_log2,
            frames: tape.frames(block.stack).collect(),
            end: None,
        }
    }

    /// A lifetime of the replay.
    pub fn of_lifetime(tape: &Tape, lifetime: &Lifetime) -> Self {
        Self {
            end: lifetime.death.map(|death| LifeEnd {
                stamp: death.stamp,
                stream: death.stream.0,
                operation: death.operation,
                frames: tape.frames(death.stack).collect(),
                between: death.allocations_between,
            }),
            ..Self::of_block(tape, &lifetime.block)
        }
    }

    pub fn is_heap(&self) -> bool {
        self.domain.0 <= 3
    }

    pub fn is_inherited(&self) -> bool {
        self.stream == StreamId::INHERITED.0
    }

    pub fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.size.max(1)
    }
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub allocs: u64,
    pub frees: u64,
    pub reallocs: u64,
    pub maps: u64,
    pub unknown_frees: u64,
    pub implied_frees: u64,
    pub inherited_frees: u64,
    pub inherited_pool_frees: u64,
    pub bytes_allocated: u64,
}

/// The state after some stamp.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Blocks by address space and address, each with the place of its event in its stream.
    blocks: BTreeMap<(u16, u64), (Life, usize)>,
    /// Mappings: first address, address behind, life, place of the event in its stream,
    /// and place in `mapped`.
    mappings: Vec<(u64, u64, Life, usize, usize)>,
    /// Every mapping as it was made, and when the last byte of it was unmapped.
    pub mapped: Vec<(Life, Option<u64>)>,
    /// Lives that have ended.
    pub ended: Vec<Life>,
    /// Where something died in an order that is sure.
    over: BTreeSet<(u16, u64)>,
    pub counts: Counts,
}

impl State {
    /// Who is alive, sorted.
    pub fn live(&self) -> Vec<Life> {
        let blocks = self.blocks.values().map(|(life, _)| life.clone());
        let mappings = self.mappings.iter().map(|(_, _, life, ..)| life.clone());
        let mut live: Vec<Life> = blocks.chain(mappings).collect();
        live.sort();
        live
    }

    /// Every life, sorted.
    pub fn lives(&self) -> Vec<Life> {
        let mut lives = self.live();
        lives.extend(self.ended.iter().cloned());
        lives.sort();
        lives
    }

    /// Bytes and blocks of the heap domains, inherited ones left out.
    pub fn heap_total(&self) -> (u64, u64) {
        let live = self.live();
        let heap = live
            .iter()
            .filter(|life| life.is_heap() && !life.is_inherited());
        heap.fold((0, 0), |(bytes, count), life| {
            (bytes + life.size, count + 1)
        })
    }

    pub fn live_keys(&self) -> Vec<(u16, u64)> {
        self.blocks.keys().copied().collect()
    }
}

/// One half of an event.
#[derive(Debug, Clone, Copy)]
struct Half {
    stamp: u64,
    stream: usize,
    /// Place of the event in its stream.
    place: usize,
    is_new: bool,
    event: Event,
}

/// A history with everything that decides what it means.
#[derive(Debug, Clone)]
pub struct Model {
    history: History,
    halves: Vec<Half>,
    pub inherited: Vec<Life>,
    /// Forked from a parent whose tape is not there.
    pub inherits_unknown: bool,
    pub free_stacks: bool,
}

impl Model {
    pub fn new(history: &History) -> Self {
        let mut halves = Vec::new();
        for (stream, recorded) in history.streams.iter().enumerate() {
            for (place, event) in recorded.events.iter().enumerate() {
                let half = |stamp, is_new| Half {
                    stamp,
                    stream,
                    place,
                    is_new,
                    event: *event,
                };
                match event.operation.kind() {
                    OperationKind::Alloc | OperationKind::Map => {
                        halves.push(half(event.end_stamp, true));
                    }
                    OperationKind::Free | OperationKind::Unmap => {
                        halves.push(half(event.stamp, false));
                    }
                    _ => {
                        halves.push(half(event.stamp, false));
                        halves.push(half(event.end_stamp, true));
                    }
                }
            }
        }
        halves.sort_by_key(|half| (half.stamp, half.stream));
        Self {
            history: history.clone(),
            halves,
            inherited: Vec::new(),
            inherits_unknown: false,
            free_stacks: false,
        }
    }

    /// Forgets what the streams did after `last` says of each.
    pub fn end_streams(&mut self, last: impl Fn(usize) -> u64) {
        self.halves.retain(|half| half.stamp <= last(half.stream));
    }

    /// The state that includes every event up to `stamp`.
    pub fn at(&self, stamp: u64) -> State {
        let mut state = State::default();
        for life in &self.inherited {
            if life.domain == DomainId::MMAP {
                let end = life.address + life.size.next_multiple_of(4096);
                state
                    .mappings
                    .push((life.address, end, life.clone(), usize::MAX, usize::MAX));
            } else {
                let key = key(life.domain, life.address);
                state.blocks.insert(key, (life.clone(), usize::MAX));
            }
        }
        let mut rest = self.halves.as_slice();
        while let Some(first) = rest.first().filter(|half| half.stamp <= stamp) {
            let count = rest
                .iter()
                .take_while(|half| half.stamp == first.stamp)
                .count();
            let (now, later) = rest.split_at(count);
            self.blocks_at_one_stamp(&mut state, now);
            self.mappings_at_one_stamp(&mut state, now);
            rest = later;
        }
        state
    }

    /// The state after the last event.
    pub fn end(&self) -> State {
        self.at(u64::MAX)
    }

    fn blocks_at_one_stamp(&self, state: &mut State, now: &[Half]) {
        let mut by_key: BTreeMap<(u16, u64), Vec<Half>> = BTreeMap::new();
        for half in now
            .iter()
            .filter(|half| half.event.domain != DomainId::MMAP)
        {
            by_key.entry(key_of(half)).or_default().push(*half);
        }
        for (key, halves) in by_key {
            let mut runs: Vec<Vec<Half>> = Vec::new();
            for half in halves.iter().copied() {
                match runs.last_mut().filter(|run| run[0].stream == half.stream) {
                    Some(run) => run.push(half),
                    None => runs.push(vec![half]),
                }
            }
            let alive = state.blocks.contains_key(&key);
            let mut failed = BTreeSet::new();
            let is_tied = runs.len() > 1;
            let order = alternating(alive, &mut runs, &mut failed).unwrap_or(halves);
            for half in order {
                match half.is_new {
                    true => self.birth(state, key, &half),
                    false => self.death(state, key, &half, is_tied),
                }
            }
        }
    }

    fn birth(&self, state: &mut State, key: (u16, u64), half: &Half) {
        state.counts.bytes_allocated += half.event.size;
        if half.event.operation.kind() == OperationKind::Alloc {
            state.counts.allocs += 1;
        }
        let new = (self.life(half), half.place);
        if let Some(old) = state.blocks.insert(key, new) {
            state.counts.implied_frees += 1;
            state.ended.push(self.ended(old, half));
        }
    }

    fn death(&self, state: &mut State, key: (u16, u64), half: &Half, is_tied: bool) {
        let is_over = state.over.contains(&key);
        if !is_tied {
            state.over.insert(key);
        }
        let may_be_inherited = self.inherits_unknown && !is_over;
        let is_realloc = half.event.operation.kind() == OperationKind::Realloc;
        let is_heap = key.0 == 0;
        match state.blocks.remove(&key) {
            Some(old) if is_realloc => {
                state.counts.reallocs += 1;
                state.ended.push(self.ended(old, half));
            }
            Some(old) => {
                match old.0.is_inherited() {
                    true if is_heap => state.counts.inherited_frees += 1,
                    true => state.counts.inherited_pool_frees += 1,
                    false => state.counts.frees += 1,
                }
                state.ended.push(self.ended(old, half));
            }
            None if may_be_inherited && is_realloc => state.counts.reallocs += 1,
            None if may_be_inherited && is_heap => state.counts.inherited_frees += 1,
            None if may_be_inherited => state.counts.inherited_pool_frees += 1,
            None => {
                state.counts.unknown_frees += 1;
                state.counts.allocs += u64::from(is_realloc);
            }
        }
    }

    fn life(&self, half: &Half) -> Life {
        let event = &half.event;
        Life {
            born: half.stamp,
            allocated: half.stamp,
            domain: event.domain,
            address: event.address,
            size: event.size,
            stream: half.stream as u32,
            operation: event.operation,
            alignment_log2: event.alignment_log2,
            frames: self.history.frames(half.stream, event.stack),
            end: None,
        }
    }

    fn ended(&self, (life, place): (Life, usize), half: &Half) -> Life {
        let same = life.stream as usize == half.stream && place != usize::MAX;
        let between = same.then(|| {
            let events = &self.history.streams[half.stream].events[place + 1..half.place];
            let new = |event: &&Event| {
                let kind = event.operation.kind();
                matches!(kind, OperationKind::Alloc | OperationKind::Realloc)
            };
            events.iter().filter(new).count() as u64
        });
        let frames = match self.free_stacks && !half.is_new {
            true => self.history.frames(half.stream, half.event.stack),
            false => Vec::new(),
        };
        Life {
            end: Some(LifeEnd {
                stamp: half.stamp,
                stream: half.stream as u32,
                operation: half.event.operation,
                frames,
                between,
            }),
            ..life
        }
    }

    fn mappings_at_one_stamp(&self, state: &mut State, now: &[Half]) {
        let maps = now
            .iter()
            .filter(|half| half.event.domain == DomainId::MMAP);
        let mut left: Vec<Half> = maps.copied().collect();
        while !left.is_empty() {
            // The next half of each stream, the lowest stream first.
            let heads: Vec<usize> = (0..left.len())
                .filter(|&place| place == 0 || left[place - 1].stream != left[place].stream)
                .collect();
            let fits = |half: &Half| {
                let (start, end) = range(half);
                let is_mapped = state.mappings.iter().any(|m| m.0 < end && m.1 > start);
                is_mapped != half.is_new
            };
            let next = heads.iter().find(|&&place| fits(&left[place]));
            let half = left.remove(*next.unwrap_or(&heads[0]));
            self.unmap_or_map(state, &half);
        }
    }

    fn unmap_or_map(&self, state: &mut State, half: &Half) {
        let is_remap = half.event.operation.kind() == OperationKind::Remap;
        state.counts.maps += u64::from(!is_remap || !half.is_new);
        let (start, end) = range(half);
        for (from, to, life, place, origin) in std::mem::take(&mut state.mappings) {
            if to <= start || from >= end {
                state.mappings.push((from, to, life, place, origin));
                continue;
            }
            state.ended.push(self.ended((life.clone(), place), half));
            let mut keep = |left: u64, right: u64, size: u64| {
                if left < right && size > 0 {
                    let rest = Life {
                        born: half.stamp,
                        address: left,
                        size,
                        ..life.clone()
                    };
                    state.mappings.push((left, right, rest, usize::MAX, origin));
                }
            };
            keep(
                from,
                start.max(from),
                life.size.min(start.saturating_sub(from)),
            );
            keep(
                end.min(to),
                to,
                life.size.saturating_sub(end - from.min(end)),
            );
        }
        for (origin, (_, gone)) in state.mapped.iter_mut().enumerate() {
            let is_left = state.mappings.iter().any(|mapping| mapping.4 == origin);
            if gone.is_none() && !is_left {
                *gone = Some(half.stamp);
            }
        }
        if half.is_new && end > start {
            let (life, origin) = (self.life(half), state.mapped.len());
            state.mapped.push((life.clone(), None));
            let mapping = (start, end, life, half.place, origin);
            state.mappings.push(mapping);
        }
    }
}

fn range(half: &Half) -> (u64, u64) {
    let (start, size) = match half.is_new {
        true => (half.event.address, half.event.size),
        false => (half.event.old_address, half.event.old_size),
    };
    (start, start + size.next_multiple_of(4096))
}

fn key(domain: DomainId, address: u64) -> (u16, u64) {
    (if domain.0 <= 3 { 0 } else { domain.0 }, address)
}

fn key_of(half: &Half) -> (u16, u64) {
    let address = match half.is_new {
        true => half.event.address,
        false => half.event.old_address,
    };
    key(half.event.domain, address)
}

/// The first order by stream in which births and deaths alternate, by trying all. `failed` holds
/// how much was left of each stream where trying was in vain.
fn alternating(
    alive: bool,
    runs: &mut Vec<Vec<Half>>,
    failed: &mut BTreeSet<Vec<usize>>,
) -> Option<Vec<Half>> {
    if runs.iter().all(Vec::is_empty) {
        return Some(Vec::new());
    }
    let left: Vec<usize> = runs.iter().map(Vec::len).collect();
    if failed.contains(&left) {
        return None;
    }
    for stream in 0..runs.len() {
        if runs[stream]
            .first()
            .is_some_and(|half| half.is_new != alive)
        {
            let half = runs[stream].remove(0);
            let rest = alternating(!alive, runs, failed);
            runs[stream].insert(0, half);
            if let Some(mut rest) = rest {
                rest.insert(0, half);
                return Some(rest);
            }
        }
    }
    failed.insert(left);
    None
}
