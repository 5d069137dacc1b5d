//! What a history means, in the plainest way: one list, one map, no index, no threads.
//!
//! In: each stream's events. Out: who is alive after a stamp, every life, and the counts. It shares
//! no code with the replay but the types.

use super::generate::History;
pub use super::life::{Life, LifeEnd};
use super::order::{alternating, with_reuses};
use heaptape_format::event::{DomainId, Event, OperationKind};
use heaptape_format::stack::Frame;
use std::collections::{BTreeMap, BTreeSet};

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
    pub reuses: u64,
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
    /// Of heap blocks that live and were used again: the last use.
    uses: BTreeMap<u64, Life>,
    /// What was once whose, and is no more: as `ended`, but a block's life in parts where its
    /// memory was used again.
    over_turns: Vec<Life>,
    /// Where something died in an order that is sure.
    over: BTreeSet<(u16, u64)>,
    pub counts: Counts,
}

impl State {
    /// Who is alive, sorted, each with the stack and the stream of its last use.
    pub fn live(&self) -> Vec<Life> {
        let mut live = self.allocated();
        for life in live.iter_mut().filter(|life| life.is_heap()) {
            if let Some(last) = self.uses.get(&life.address) {
                life.frames.clone_from(&last.frames);
                if !life.is_inherited() {
                    life.stream = last.stream;
                }
            }
        }
        live.sort();
        live
    }

    /// Whether the memory of a block that lives was used again in this recording.
    pub fn is_used_again(&self, life: &Life) -> bool {
        life.is_heap() && self.uses.contains_key(&life.address)
    }

    /// Who is alive, sorted, as they were allocated.
    fn allocated(&self) -> Vec<Life> {
        let blocks = self.blocks.values().map(|(life, _)| life.clone());
        let mappings = self.mappings.iter().map(|(_, _, life, ..)| life.clone());
        let mut live: Vec<Life> = blocks.chain(mappings).collect();
        live.sort();
        live
    }

    /// What was whose, sorted: as `lives`, but in parts where memory was used again.
    pub fn turns(&self) -> Vec<Life> {
        let now = self.allocated().into_iter().map(|life| {
            let last = self.uses.get(&life.address).filter(|_| life.is_heap());
            last.cloned().unwrap_or(life)
        });
        let mut turns: Vec<Life> = self.over_turns.iter().cloned().chain(now).collect();
        turns.sort();
        turns
    }

    /// Every life, sorted.
    pub fn lives(&self) -> Vec<Life> {
        let mut lives = self.allocated();
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

    /// The life of the block at `key` is over.
    fn end_block(&mut self, key: (u16, u64), ended: Life) {
        let last = match key.0 {
            0 => self.uses.remove(&key.1),
            _ => None,
        };
        let turn = last.map(|last| Life {
            end: ended.end.clone().map(|end| LifeEnd {
                between: None,
                ..end
            }),
            ..last
        });
        self.over_turns.push(turn.unwrap_or(ended.clone()));
        self.ended.push(ended);
    }

    pub fn live_keys(&self) -> Vec<(u16, u64)> {
        self.blocks.keys().copied().collect()
    }
}

/// One half of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Half {
    stamp: u64,
    pub(super) stream: usize,
    /// Place of the event in its stream.
    place: usize,
    pub(super) is_new: bool,
    event: Event,
}

impl Half {
    pub(super) fn is_reuse(&self) -> bool {
        self.event.operation.kind() == OperationKind::Retag
    }
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
                    OperationKind::Free | OperationKind::Unmap | OperationKind::Retag => {
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
            let mut steps = runs.clone();
            for run in &mut steps {
                run.retain(|half| !half.is_reuse());
            }
            let order = alternating(alive, &mut steps, &mut failed);
            for half in order.map_or(halves, |order| with_reuses(&order, runs)) {
                match half.is_new {
                    _ if half.is_reuse() => self.reuse(state, key, &half),
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
            let ended = self.ended(old, half);
            state.end_block(key, ended);
        }
    }

    fn reuse(&self, state: &mut State, key: (u16, u64), half: &Half) {
        state.counts.reuses += 1;
        let Some((block, _)) = state.blocks.get(&key) else {
            return;
        };
        let mut before = state.uses.get(&key.1).unwrap_or(block).clone();
        before.end = Some(LifeEnd {
            stamp: half.stamp,
            stream: half.stream as u32,
            operation: half.event.operation,
            frames: Vec::new(),
            between: None,
        });
        let last = Life {
            allocated: block.allocated,
            domain: block.domain,
            address: block.address,
            size: block.size,
            ..self.life(half)
        };
        state.over_turns.push(before);
        state.uses.insert(key.1, last);
    }

    /// The frames of all reuses.
    pub fn frames_of_reuses(&self) -> impl Iterator<Item = Vec<Frame>> {
        let reuses = self.halves.iter().filter(|half| half.is_reuse());
        let frames = reuses.map(|half| self.history.frames(half.stream, half.event.stack));
        frames.filter(|frames| !frames.is_empty())
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
                let ended = self.ended(old, half);
                state.end_block(key, ended);
            }
            Some(old) => {
                match old.0.is_inherited() {
                    true if is_heap => state.counts.inherited_frees += 1,
                    true => state.counts.inherited_pool_frees += 1,
                    false => state.counts.frees += 1,
                }
                let ended = self.ended(old, half);
                state.end_block(key, ended);
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
            let ended = self.ended((life.clone(), place), half);
            state.over_turns.push(ended.clone());
            state.ended.push(ended);
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
