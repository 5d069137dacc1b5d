//! Random histories: what several threads do to one simulated heap.
//!
//! In: a script of small steps, or a seed. Out: each stream's events as a recorder would have
//! written them, and which addresses were truly alive after each stamp. Addresses are few and
//! reused at once, stamps repeat, reallocs span other threads' steps.

pub use super::script::{Act, Step};
use heaptape_format::event::{DomainId, Event, Operation};
use heaptape_format::stack::{CutReason, Frame, StackNode};
use std::collections::{BTreeMap, BTreeSet};

/// What one stream recorded.
#[derive(Debug, Clone, Default)]
pub struct StreamHistory {
    /// Its events in order.
    pub events: Vec<Event>,
    /// Its stack nodes; the first has the id 1.
    pub nodes: Vec<StackNode>,
}

/// What all streams recorded.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The streams by index.
    pub streams: Vec<StreamHistory>,
    /// The addresses (with their address space) that were alive after each stamp.
    pub truth: BTreeMap<u64, BTreeSet<(u16, u64)>>,
    /// The clock after the last step.
    pub end_stamp: u64,
}

impl History {
    /// Every stamp at which something happens.
    pub fn stamps(&self) -> BTreeSet<u64> {
        let events = self.streams.iter().flat_map(|stream| &stream.events);
        events
            .flat_map(|event| [event.stamp, event.end_stamp])
            .collect()
    }

    /// The frames of a stream's stack node, the most recent first.
    pub fn frames(&self, stream: usize, node: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut at = node;
        while let Some(place) = at.checked_sub(1) {
            let node = self.streams[stream].nodes[place as usize];
            frames.push(node.frame);
            at = node.parent;
        }
        frames
    }
}

const ENTRIES: [Operation; 8] = [
    Operation::MALLOC,
    Operation::CALLOC,
    Operation::POSIX_MEMALIGN,
    Operation::REALLOC_NEW,
    Operation::RAW_MALLOC,
    Operation::MEM_MALLOC,
    Operation::OBJ_CALLOC,
    Operation::MALLOC,
];
/// Distance of two neighbouring addresses of the simulated heap.
pub const SLOT_BYTES: u64 = 64;
/// The simulated heap begins here, and so does every pool: their addresses are the same.
pub const HEAP_START: u64 = 0x5555_0000_0040;
/// The simulated mappings begin here.
pub const MAP_START: u64 = 0x7f00_0000_0000;
/// Pages that scripts map.
pub const PAGES: u8 = 24;
const PAGE_BYTES: u64 = 4096;

/// One address space of a simulated allocator: what was freed last is handed out next.
#[derive(Debug, Default, Clone)]
struct Space {
    free: Vec<u64>,
    fresh: u64,
    live: Vec<u64>,
}

impl Space {
    fn take(&mut self) -> u64 {
        let address = self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            HEAP_START + (self.fresh - 1) * SLOT_BYTES
        });
        self.live.push(address);
        address
    }

    fn pick(&mut self, pick: u32) -> Option<u64> {
        if self.live.is_empty() {
            return None;
        }
        let address = self.live.swap_remove(pick as usize % self.live.len());
        self.free.push(address);
        Some(address)
    }

    fn give_back(&mut self, address: u64) {
        if let Some(place) = self.live.iter().position(|&live| live == address) {
            self.live.swap_remove(place);
            self.free.push(address);
        }
    }
}

/// A realloc whose new block is not there yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    event: Event,
    space: u16,
    is_lost: bool,
}

/// A process with its heap, recorded while it does the steps of a script.
#[derive(Debug, Clone)]
pub struct Simulation {
    history: History,
    spaces: BTreeMap<u16, Space>,
    pending: Vec<Option<Pending>>,
    clock: u64,
    keep_truth: bool,
}

/// Plays `script` with `streams` streams. `keep_truth` fills [`History::truth`] (slow).
pub fn play(script: &[Step], streams: usize, keep_truth: bool) -> History {
    let mut simulation = Simulation::new(streams, keep_truth);
    simulation.play(script);
    simulation.finish()
}

/// Stack nodes of each stream.
pub const NODES: u32 = 14;

/// Stack nodes of which some are the same in all streams, some differ, and one stands twice.
fn nodes(stream: usize) -> Vec<StackNode> {
    let native = |module, offset, exact| Frame::Native {
        module,
        offset,
        exact,
    };
    let python = |code, instruction| Frame::Python { code, instruction };
    let node = |parent, frame| StackNode { parent, frame };
    vec![
        node(0, native(1, 0x100, false)),
        node(1, native(1, 0x200, false)),
        node(1, native(2, 0x200, false)),
        node(2, native(2, 0x300 + stream as u64 * 16, false)),
        node(1, native(1, 0x200, false)),
        node(5, native(2, 0x300, true)),
        node(0, Frame::Cut(CutReason::Depth)),
        node(7, native(0, 0xdead, false)),
        node(2, python(1, 5)),
        node(9, python(2, 7 + stream as u32)),
        node(10, native(1, 0x400, false)),
        node(9, python(2, 7)),
        node(0, python(3, u32::MAX)),
        node(13, python(0, 1)),
    ]
}

impl Simulation {
    /// A process that has nothing yet.
    pub fn new(streams: usize, keep_truth: bool) -> Self {
        let recorded = |stream| StreamHistory {
            events: Vec::new(),
            nodes: nodes(stream),
        };
        Self {
            history: History {
                streams: (0..streams).map(recorded).collect(),
                ..History::default()
            },
            spaces: BTreeMap::new(),
            pending: vec![None; streams],
            clock: 0,
            keep_truth,
        }
    }

    /// Does the steps.
    pub fn play(&mut self, script: &[Step]) {
        for step in script {
            self.step(step, step.stream as usize % self.pending.len());
        }
    }

    /// Forks: the stamp of the cut, and the child, which has a copy of the heap and a recording
    /// of its own.
    pub fn fork(&mut self, streams: usize) -> (u64, Self) {
        let cut = self.clock;
        self.clock += 1;
        let mut child = Self {
            spaces: self.spaces.clone(),
            clock: self.clock,
            ..Self::new(streams, self.keep_truth)
        };
        child.note_truth();
        (cut, child)
    }

    /// The history, after all that is under way has ended.
    pub fn finish(mut self) -> History {
        for stream in 0..self.pending.len() {
            self.clock += 1;
            self.finish_realloc(stream);
        }
        self.history.end_stamp = self.clock;
        self.history
    }

    fn step(&mut self, step: &Step, stream: usize) {
        self.clock += u64::from(step.advance);
        self.finish_realloc(stream);
        let node = u32::from(step.node) % (NODES + 1);
        match step.act {
            Act::Alloc { entry, size } => {
                let operation = ENTRIES[entry as usize % ENTRIES.len()];
                self.alloc(stream, operation, 0, size, node, step.is_lost);
            }
            Act::PoolAlloc { pool, size } => {
                let space = 16 + u16::from(pool % 2);
                self.alloc(
                    stream,
                    Operation::CUSTOM_ALLOC,
                    space,
                    size,
                    node,
                    step.is_lost,
                );
            }
            Act::Free { pick } => self.free(stream, 0, pick, node, step.is_lost),
            Act::PoolFree { pool, pick } => {
                self.free(stream, 16 + u16::from(pool % 2), pick, node, step.is_lost);
            }
            Act::Realloc { pick, size } => {
                self.realloc(stream, 0, pick, size, node, step.is_lost);
            }
            Act::PoolRealloc { pool, pick, size } => {
                let space = 16 + u16::from(pool % 2);
                self.realloc(stream, space, pick, size, node, step.is_lost);
            }
            Act::WildFree { slot } => {
                let address = HEAP_START + u64::from(slot) * SLOT_BYTES;
                self.spaces.entry(0).or_default().give_back(address);
                let mut event = Event::new(Operation::FREE, self.clock);
                event.old_address = address;
                event.stack = node;
                self.record(stream, event, step.is_lost);
            }
            Act::Reuse { pick } => {
                let live = &self.spaces.entry(0).or_default().live;
                let address = match live.len() {
                    0 => HEAP_START,
                    blocks => live[pick as usize % blocks],
                };
                self.reuse(stream, address, node, step.is_lost);
            }
            Act::WildReuse { slot } => {
                let address = HEAP_START + u64::from(slot) * SLOT_BYTES;
                self.reuse(stream, address, node, step.is_lost);
            }
            Act::Map { .. } | Act::Unmap { .. } | Act::Remap { .. } => {
                self.pages(stream, step.act, node, step.is_lost);
            }
        }
        self.note_truth();
    }

    fn reuse(&mut self, stream: usize, address: u64, node: u32, is_lost: bool) {
        let mut event = Event::new(Operation::PYTHON_REUSE, self.clock);
        event.old_address = address;
        event.stack = node;
        self.record(stream, event, is_lost);
    }

    fn record(&mut self, stream: usize, event: Event, is_lost: bool) {
        if !is_lost {
            self.history.streams[stream].events.push(event);
        }
    }

    fn alloc(
        &mut self,
        stream: usize,
        operation: Operation,
        space: u16,
        size: u32,
        node: u32,
        is_lost: bool,
    ) {
        let mut event = Event::new(operation, self.clock);
        event.address = self.spaces.entry(space).or_default().take();
        event.size = u64::from(size);
        event.stack = node;
        if operation.is_aligned() {
            event.alignment_log2 = 6;
        }
        if space > 0 {
            event.domain = DomainId(space);
        }
        self.record(stream, event, is_lost);
    }

    fn free(&mut self, stream: usize, space: u16, pick: u32, node: u32, is_lost: bool) {
        let Some(address) = self.spaces.entry(space).or_default().pick(pick) else {
            return;
        };
        let operation = match (space, pick % 3) {
            (0, 0) => Operation::RAW_FREE,
            (0, _) => Operation::FREE,
            _ => Operation::CUSTOM_FREE,
        };
        let mut event = Event::new(operation, self.clock);
        event.old_address = address;
        event.stack = node;
        if space > 0 {
            event.domain = DomainId(space);
        }
        self.record(stream, event, is_lost);
    }

    fn realloc(
        &mut self,
        stream: usize,
        space: u16,
        pick: u32,
        size: u32,
        node: u32,
        is_lost: bool,
    ) {
        let Some(address) = self.spaces.entry(space).or_default().pick(pick) else {
            return;
        };
        let operation = match space {
            0 => Operation::REALLOC,
            _ => Operation::CUSTOM_REALLOC,
        };
        let mut event = Event::new(operation, self.clock);
        event.old_address = address;
        event.size = u64::from(size);
        event.stack = node;
        if space > 0 {
            event.domain = DomainId(space);
        }
        self.pending[stream] = Some(Pending {
            event,
            space,
            is_lost,
        });
    }

    fn finish_realloc(&mut self, stream: usize) {
        let Some(mut pending) = self.pending[stream].take() else {
            return;
        };
        pending.event.end_stamp = self.clock;
        pending.event.address = self.spaces.entry(pending.space).or_default().take();
        self.record(stream, pending.event, pending.is_lost);
        self.note_truth();
    }

    fn pages(&mut self, stream: usize, act: Act, node: u32, is_lost: bool) {
        let address = |page: u8| MAP_START + u64::from(page % PAGES) * PAGE_BYTES;
        let bytes = |pages: u8| (u64::from(pages % 6) + 1) * PAGE_BYTES;
        // Requested sizes need not be whole pages.
        let asked = |pages: u8| bytes(pages) - u64::from(pages / 8) * 50;
        let mut event = match act {
            Act::Map { page, pages } => {
                let mut event = Event::new(Operation::MMAP, self.clock);
                event.address = address(page);
                event.size = asked(pages);
                event
            }
            Act::Unmap { page, pages } => {
                let mut event = Event::new(Operation::MUNMAP, self.clock);
                event.old_address = address(page);
                event.old_size = asked(pages);
                event
            }
            Act::Remap {
                page,
                pages,
                to,
                to_pages,
            } => {
                let mut event = Event::new(Operation::MREMAP, self.clock);
                event.old_address = address(page);
                event.old_size = bytes(pages);
                event.address = address(to);
                event.size = asked(to_pages);
                event.end_stamp = self.clock + u64::from(pages % 2);
                self.clock = event.end_stamp;
                event
            }
            _ => return,
        };
        event.stack = node;
        self.record(stream, event, is_lost);
    }

    fn note_truth(&mut self) {
        if !self.keep_truth {
            return;
        }
        let live = self
            .spaces
            .iter()
            .flat_map(|(&space, blocks)| blocks.live.iter().map(move |&address| (space, address)));
        let live = live.collect();
        self.history.truth.insert(self.clock, live);
    }
}

/// A small generator of random numbers: the same from a seed everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// A long valid script: allocations, frees and reallocs of about `live` live blocks.
pub fn long_script(seed: u64, steps: usize, live: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let mut alive = 0u64;
    let mut script = Vec::with_capacity(steps);
    for _ in 0..steps {
        let size = random.below(500) as u32;
        let pick = random.next() as u32;
        let grows = random.below(2 * live) >= alive;
        let act = match random.below(20) {
            0 if alive > 0 => Act::Realloc { pick, size },
            1 => Act::PoolAlloc { pool: 0, size },
            2 => Act::PoolFree { pool: 0, pick },
            _ if grows => {
                alive += 1;
                let entry = random.below(8) as u8;
                Act::Alloc { entry, size }
            }
            _ => {
                alive = alive.saturating_sub(1);
                Act::Free { pick }
            }
        };
        script.push(Step {
            stream: random.below(256) as u8,
            advance: [0, 0, 1, 1, 2, 9][random.below(6) as usize],
            act,
            node: random.below(u64::from(NODES) + 1) as u8,
            is_lost: false,
        });
    }
    script
}
