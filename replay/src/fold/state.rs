//! What the events up to a moment leave, and what they add up to.
//!
//! In: a tape and a stamp. Out: the record that says that the tape is folded, and everything that
//! is alive at that stamp. Memory: the live blocks, one window, and the addresses at which anything
//! died.

use super::chunks::Unreadable;
use super::touched::Touched;
use crate::block::{Block, StackId, StreamId};
use crate::history::folded::begin;
use crate::history::heap::{Change, Collector, Heap};
use crate::history::reuses::is_reuse;
use crate::history::transitions::{Transition, TransitionKind, is_heap, is_mapping};
use crate::history::windows::Windows;
use crate::index::build::{Inheritance, Others};
use crate::index::{HeapTotal, Peak};
use crate::tape::Tape;
use heaptape_format::event::OperationKind;
use heaptape_format::left::{Left, LeftState};
use heaptape_format::tables::Folded;
use rustc_hash::{FxHashMap, FxHashSet};

/// See the module.
pub(super) struct State {
    /// What the events that go add up to. Its `sequence` and `events` are not known yet.
    pub(super) folded: Folded,
    /// What they leave, by address.
    pub(super) left: Vec<Left>,
    /// How many of that are alive.
    pub(super) alive: u64,
}

/// What one partition saw in one window.
#[derive(Default)]
struct Seen {
    changes: Vec<(u32, Change)>,
    inherited: Vec<Transition>,
}

impl Collector for Seen {
    fn ended(&mut self, _: &crate::block::Lifetime) {}

    fn changed(&mut self, place: u32, change: Change) {
        self.changes.push((place, change));
    }

    fn unknown(&mut self, transition: &Transition) {
        self.inherited.push(*transition);
    }
}

/// The state of `tape`, whose process began with `inheritance`, at `stamp`, which includes every
/// event up to it.
pub(super) fn at(tape: &Tape, inheritance: &Inheritance, stamp: u64) -> Result<State, Unreadable> {
    let mut follower = Follower::new(tape, inheritance);
    let mut windows = Windows::new(tape, tape.folded_at(), stamp);
    while let Some(mut window) = windows.next_window() {
        window.truncate(window.partition_point(|transition| transition.stamp <= stamp));
        follower.window(&window);
    }
    match windows.damaged.first() {
        Some(&offset) => Err(Unreadable::at(offset, "events")),
        None => Ok(follower.finish(stamp)),
    }
}

/// Follows the events that go.
struct Follower<'t> {
    tape: &'t Tape,
    heap: Heap,
    high: High,
    inherited: Inherited,
    touched: Option<Touched>,
    maps: u64,
}

impl<'t> Follower<'t> {
    fn new(tape: &'t Tape, inheritance: &Inheritance) -> Self {
        let may_be_others = inheritance.others != Others::None;
        let mut heap = Heap::new(tape.header.page_size, may_be_others);
        heap.preload(inheritance.blocks.iter());
        let (seen, blocks) = begin(&mut heap, tape, Seen::default);
        let mut inherited = Inherited::default();
        inherited.add(seen.into_iter().flat_map(|seen| seen.inherited));
        let before = tape.folded.as_ref();
        let peak = before.map_or_else(Peak::default, |before| Peak {
            stamp: before.high_stamp,
            bytes: before.high_bytes,
            count: before.high_count,
        });
        Self {
            tape,
            heap,
            high: High {
                total: total(&blocks),
                peak,
            },
            touched: Touched::new(tape, &mut inherited.others),
            inherited,
            maps: 0,
        }
    }

    fn window(&mut self, window: &[Transition]) {
        let mut changes = vec![Change::default(); window.len()];
        for seen in self.heap.apply(window, Seen::default) {
            for (place, change) in seen.changes {
                if let Some(slot) = changes.get_mut(place as usize) {
                    *slot = change;
                }
            }
            self.inherited.add(seen.inherited.into_iter());
        }
        self.high.follow(window, &changes);
        if let Some(touched) = &mut self.touched {
            let first = window
                .iter()
                .flat_map(|transition| touched.first(transition));
            self.inherited.others.extend(first);
        }
        self.maps += window
            .iter()
            .filter(|transition| is_map(transition))
            .count() as u64;
    }

    fn finish(mut self, stamp: u64) -> State {
        // What is inherited stands in the parent's tape, and what happened to it apart from the
        // rest.
        let own = self.heap.live().filter(is_own_heap_block);
        let own: FxHashSet<u64> = own.map(|block| block.address).collect();
        self.inherited
            .retags
            .retain(|address, _| !own.contains(address));
        let is_own = |block: &Block| match is_reuse(block.operation) {
            true => own.contains(&block.address),
            false => block.stream != StreamId::INHERITED,
        };
        let blocks: Vec<Block> = self.heap.live().filter(is_own).collect();
        let mut nodes = Nodes::default();
        let mut left: Vec<Left> = blocks
            .iter()
            .map(|block| Left {
                stack: nodes.node(self.tape, block.stream, block.stack),
                ..alive_one(block)
            })
            .collect();
        left.extend(self.inherited.all().map(|happened| Left {
            stack: nodes.node(self.tape, happened.stream, happened.stack),
            ..inherited_one(happened)
        }));
        left.sort_unstable_by_key(|left| (left.address, left.domain, left.stamp, left.state as u8));
        State {
            folded: self.folded(stamp),
            left,
            alive: blocks.len() as u64,
        }
    }

    /// What the events add up to.
    fn folded(&self, stamp: u64) -> Folded {
        let counts = self.heap.counts();
        let before = self.tape.folded.clone().unwrap_or_default();
        let is_realloc = |it: &&Transition| it.operation.kind() == OperationKind::Realloc;
        // Who reads what happened to inherited blocks counts it.
        let inherited_reallocs = self.inherited.others.iter().filter(is_realloc).count() as u64;
        let inherited_reuses = self.inherited.retags.len() as u64;
        Folded {
            stamp,
            sequence: 0,
            events: 0,
            allocs: before.allocs.saturating_add(counts.allocs),
            frees: before.frees.saturating_add(counts.frees),
            reallocs: before
                .reallocs
                .saturating_add(counts.reallocs.saturating_sub(inherited_reallocs)),
            maps: before.maps.saturating_add(self.maps),
            reuses: before
                .reuses
                .saturating_add(counts.reuses.saturating_sub(inherited_reuses)),
            unknown_frees: before.unknown_frees.saturating_add(counts.unknown_frees),
            implied_frees: before.implied_frees.saturating_add(counts.implied_frees),
            allocated_bytes: before
                .allocated_bytes
                .saturating_add(counts.bytes_allocated),
            high_stamp: self.high.peak.stamp,
            high_bytes: self.high.peak.bytes,
            high_count: self.high.peak.count,
        }
    }
}

fn is_own_heap_block(block: &Block) -> bool {
    let is_of_heap = is_heap(block.domain) && !is_mapping(block.operation);
    is_of_heap && !is_reuse(block.operation) && block.stream != StreamId::INHERITED
}

/// What happened to blocks and mappings that the tape does not know.
#[derive(Default)]
struct Inherited {
    /// By address: the last retag of a block that still lives.
    retags: FxHashMap<u64, Transition>,
    others: Vec<Transition>,
}

impl Inherited {
    fn add(&mut self, happened: impl Iterator<Item = Transition>) {
        for transition in happened {
            match transition.kind {
                TransitionKind::Retag => {
                    self.retags.insert(transition.address, transition);
                }
                _ => {
                    if is_heap(transition.domain) {
                        self.retags.remove(&transition.address);
                    }
                    self.others.push(transition);
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Transition> {
        self.others.iter().chain(self.retags.values())
    }
}

/// A map is one event, and so is a remap.
fn is_map(transition: &Transition) -> bool {
    match transition.kind {
        TransitionKind::Map => transition.operation.kind() == OperationKind::Map,
        TransitionKind::Unmap => true,
        _ => false,
    }
}

fn total(blocks: &[Block]) -> HeapTotal {
    let mut total = HeapTotal::default();
    for block in blocks {
        if is_own_heap_block(block) {
            total.bytes = total.bytes.wrapping_add(block.size);
            total.count += 1;
        }
    }
    total
}

/// The highest live bytes so far.
struct High {
    total: HeapTotal,
    peak: Peak,
}

impl High {
    fn follow(&mut self, window: &[Transition], changes: &[Change]) {
        let mut rest = changes;
        for group in window.chunk_by(|a, b| a.stamp == b.stamp) {
            let (now, later) = rest.split_at_checked(group.len()).unwrap_or_default();
            rest = later;
            for change in now {
                let HeapTotal { bytes, count } = &mut self.total;
                *bytes = bytes.wrapping_add(change.bytes);
                *count = count.wrapping_add(change.births.into());
                *count = count.wrapping_sub(change.deaths.into());
            }
            if self.total.bytes > self.peak.bytes {
                self.peak = Peak {
                    stamp: group.first().map_or(0, |first| first.stamp),
                    bytes: self.total.bytes,
                    count: self.total.count,
                };
            }
        }
    }
}

/// The nodes of stacks, by stream: what events of the stream call them.
#[derive(Default)]
struct Nodes(FxHashMap<u32, FxHashMap<StackId, u32>>);

impl Nodes {
    fn node(&mut self, tape: &Tape, stream: StreamId, stack: StackId) -> u32 {
        let stream = stream.0;
        let nodes = self
            .0
            .entry(stream)
            .or_insert_with(|| tape.stacks.stream(stream).nodes().collect());
        nodes.get(&stack).copied().unwrap_or(0)
    }
}

fn alive_one(block: &Block) -> Left {
    Left {
        state: match block.is_remainder {
            true => LeftState::Remainder,
            false => LeftState::Alive,
        },
        address: block.address,
        size: block.size,
        stamp: block.born,
        allocated: block.allocated,
        stream: block.stream.0,
        stack: 0,
        operation: block.operation,
        alignment_log2: block.alignment_log2,
        domain: block.domain,
    }
}

fn inherited_one(happened: &Transition) -> Left {
    Left {
        state: LeftState::Inherited,
        address: happened.address,
        size: match happened.kind {
            TransitionKind::Unmap => happened.size,
            _ => 0,
        },
        stamp: happened.stamp,
        allocated: happened.stamp,
        stream: happened.stream.0,
        stack: 0,
        operation: happened.operation,
        alignment_log2: 0,
        domain: happened.domain,
    }
}
