//! Building the index: one pass over the tape in the order of time.
//!
//! In: a tape and the blocks that it inherited. Out: the bytes of an index. Memory: the live
//! blocks, one window, and a bounded number of survivors that wait to be written.

use super::file::{IndexWriter, Parts};
use super::peaks::PeakFinder;
use super::steps::{Step, StepMaker};
use super::survivors::{Borders, node};
use super::{HeapTotal, Peak, Summary};
use crate::block::{Block, Lifetime};
use crate::history::folded;
use crate::history::heap::{Change, Collector, Counts, Heap};
use crate::history::reuses::is_reuse;
use crate::history::transitions::{Transition, TransitionKind, is_heap, is_mapping};
use crate::history::windows::Windows;
use crate::tape::Tape;
use heaptape_format::event::OperationKind;
use heaptape_format::tables::Folded;
use rustc_hash::FxHashMap;

/// Transitions in a slice of time, at least.
const SLICE_EVENTS: u64 = 1 << 16;
/// Transitions in a slice for each live block, at least: each of them may have to be written as a
/// survivor of the slice, and the index should stay smaller than the tape.
const SLICE_EVENTS_PER_BLOCK: u64 = 2;
/// Survivors of one node that are written together.
const NODE_SURVIVORS: usize = 1 << 14;
/// Survivors that wait at most, over all nodes.
const WAITING_MAX: usize = 1 << 20;

/// What the process had before its recording began.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Blocks of its parent.
    pub(crate) blocks: Vec<Block>,
    pub(crate) others: Others,
}

/// Other blocks of the parent than those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Others {
    /// There are none.
    #[default]
    None,
    /// Perhaps some; frees tell of them.
    MayBe,
    /// Nobody knows: the parent's tape is not there or not whole.
    Unknown,
}

/// The sizes that a build works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grain {
    /// None: as many as suit the live heap.
    pub(crate) slice_events: Option<u64>,
    pub(crate) window_events: Option<u64>,
}

/// Builds the index of `tape`. `progress` is told how far it is, from 0 to 1.
pub(crate) fn build(
    tape: &Tape,
    inheritance: &Inheritance,
    grain: Grain,
    progress: &dyn Fn(f64),
) -> Vec<u8> {
    let mut windows = match grain.window_events {
        Some(events) => Windows::with_events(tape, tape.folded_at(), u64::MAX, events),
        None => Windows::new(tape, tape.folded_at(), u64::MAX),
    };
    let mut builder = Builder::new(tape, inheritance, grain);
    if let Some(folded) = &tape.folded {
        builder.begin(folded);
    }
    while let Some(window) = windows.next_window() {
        if let Some(last) = window.last() {
            let done = last.stamp.saturating_sub(tape.start_stamp);
            progress(done as f64 / tape.duration_stamp.max(1) as f64);
        }
        builder.window(&window);
    }
    builder.finish(windows.readable_events, windows.damaged)
}

/// What one partition saw in one window.
struct Seen<'a> {
    borders: &'a Borders,
    /// Survivors with their nodes.
    survivors: Vec<(u64, Lifetime)>,
    changes: Vec<(u32, Change)>,
}

impl Collector for Seen<'_> {
    fn ended(&mut self, lifetime: &Lifetime) {
        if let Some((first, last)) = self.borders.crossed(lifetime) {
            self.survivors.push((node(first, last), *lifetime));
        }
    }

    fn changed(&mut self, place: u32, change: Change) {
        self.changes.push((place, change));
    }
}

/// Is not interested in what happened before a fold.
struct Nobody;

impl Collector for Nobody {
    fn ended(&mut self, _: &Lifetime) {}
}

struct Builder<'t> {
    tape: &'t Tape,
    grain: Grain,
    heap: Heap,
    borders: Borders,
    /// Transitions since the last border, and the last stamp met.
    in_slice: u64,
    last_stamp: Option<u64>,
    writer: IndexWriter,
    waiting: FxHashMap<u64, Vec<Lifetime>>,
    waiting_count: usize,
    changes: Vec<Change>,
    /// The state after what was followed so far.
    now: Step,
    maps: u64,
    /// The live heap at the start of the run.
    start: HeapTotal,
    peaks: PeakFinder,
    steps: StepMaker,
    allocating: Vec<bool>,
    summary: Summary,
}

impl<'t> Builder<'t> {
    fn new(tape: &'t Tape, inheritance: &Inheritance, grain: Grain) -> Self {
        let Inheritance { blocks, others } = inheritance;
        let mut heap = Heap::new(tape.header.page_size, *others != Others::None);
        let mut inherited = HeapTotal::default();
        heap.preload(blocks.iter());
        let mut inherited_pools = HeapTotal::default();
        for block in blocks.iter().filter(|block| !is_mapping(block.operation)) {
            let total = match is_heap(block.domain) {
                true => &mut inherited,
                false => &mut inherited_pools,
            };
            total.bytes = total.bytes.wrapping_add(block.size);
            total.count += 1;
        }
        let chunks = tape.event_streams.iter().flat_map(|stream| &stream.chunks);
        let events = chunks
            .map(|chunk| u64::from(chunk.found.header.count))
            .sum();
        Self {
            tape,
            grain,
            heap,
            borders: Borders {
                ends: Vec::new(),
                cut: tape.is_forked().then_some(tape.process.cut_stamp),
            },
            in_slice: 0,
            last_stamp: None,
            writer: IndexWriter::new(),
            waiting: FxHashMap::default(),
            waiting_count: 0,
            changes: Vec::new(),
            now: Step::default(),
            maps: 0,
            start: HeapTotal::default(),
            peaks: PeakFinder::default(),
            steps: StepMaker::new(events),
            allocating: vec![false; tape.stack_id_max() as usize + 1],
            summary: Summary {
                inherited,
                inherited_known: *others != Others::Unknown,
                inherited_pools,
                ..Summary::default()
            },
        }
    }

    /// The state that a folded tape begins with stands at a border of its own.
    fn begin(&mut self, folded: &Folded) {
        let (_, blocks) = folded::begin(&mut self.heap, self.tape, || Nobody);
        let mut total = HeapTotal::default();
        for block in &blocks {
            if let Some(slot) = self.allocating.get_mut(block.stack.0 as usize) {
                *slot = true;
            }
            let counts = !is_mapping(block.operation) && !is_reuse(block.operation);
            if counts && is_heap(block.domain) {
                total.bytes = total.bytes.wrapping_add(block.size);
                total.count += 1;
            }
        }
        self.borders.ends.push(folded.stamp);
        self.last_stamp = Some(folded.stamp);
        self.now = Step {
            first: folded.stamp,
            last: folded.stamp,
            total,
            high: total.bytes,
            births: 0,
            deaths: 0,
        };
        // So many that no other step joins it.
        self.observe(u64::MAX);
    }

    fn window(&mut self, window: &[Transition]) {
        self.cut_slices(window);
        let borders = &self.borders;
        let seen = self.heap.apply(window, || Seen {
            borders,
            survivors: Vec::new(),
            changes: Vec::new(),
        });
        self.changes.clear();
        self.changes.resize(window.len(), Change::default());
        let mut survivors = Vec::new();
        for seen in seen {
            for (place, change) in seen.changes {
                if let Some(slot) = self.changes.get_mut(place as usize) {
                    *slot = change;
                }
            }
            survivors.push(seen.survivors);
        }
        for (node, lifetime) in survivors.into_iter().flatten() {
            self.keep(node, lifetime);
        }
        self.follow(window);
    }

    /// Puts borders into the window, each behind a whole stamp.
    fn cut_slices(&mut self, window: &[Transition]) {
        let suitable = self.now.total.count.saturating_mul(SLICE_EVENTS_PER_BLOCK);
        let slice_events = match self.grain.slice_events {
            Some(events) => events.max(1),
            None => suitable.max(SLICE_EVENTS),
        };
        for group in window.chunk_by(|a, b| a.stamp == b.stamp) {
            let stamp = group.first().map(|transition| transition.stamp);
            if self.in_slice >= slice_events {
                self.borders.ends.extend(self.last_stamp);
                self.in_slice = 0;
            }
            self.in_slice += group.len() as u64;
            self.last_stamp = stamp;
        }
    }

    /// Follows the totals from stamp to stamp.
    fn follow(&mut self, window: &[Transition]) {
        let changes = std::mem::take(&mut self.changes);
        let mut rest = changes.as_slice();
        for group in window.chunk_by(|a, b| a.stamp == b.stamp) {
            let (now, later) = rest.split_at_checked(group.len()).unwrap_or_default();
            rest = later;
            let stamp = group.first().map_or(0, |first| first.stamp);
            if let Some(next) = self.now.followed_by(stamp, now.iter()) {
                self.now = next;
                let changed = now
                    .iter()
                    .map(|change| u64::from(change.births | change.deaths));
                self.observe(changed.sum());
            }
            for transition in group {
                self.note(transition);
            }
        }
        self.changes = changes;
    }

    /// Takes note of the state after `changes` changes at one stamp.
    fn observe(&mut self, changes: u64) {
        let Step { last, total, .. } = self.now;
        if last <= self.tape.told_from() {
            self.start = total;
        }
        self.peaks.observe(Peak {
            stamp: last,
            bytes: total.bytes,
            count: total.count,
        });
        let header = &self.tape.header;
        self.steps.observe(self.now, changes, |a, b| {
            header.stamp_to_ns(a) == header.stamp_to_ns(b)
        });
    }

    fn note(&mut self, transition: &Transition) {
        match transition.kind {
            TransitionKind::Birth | TransitionKind::Retag => {
                let slot = self.allocating.get_mut(transition.stack.0 as usize);
                if let Some(slot) = slot {
                    *slot = true;
                }
            }
            // A remap is one event and two transitions.
            TransitionKind::Map if transition.operation.kind() == OperationKind::Remap => {}
            TransitionKind::Map | TransitionKind::Unmap => self.maps += 1,
            TransitionKind::Death => {}
        }
    }

    /// Puts a survivor to its node.
    fn keep(&mut self, node: u64, lifetime: Lifetime) {
        let waiting = self.waiting.entry(node).or_default();
        waiting.push(lifetime);
        self.waiting_count += 1;
        if waiting.len() >= NODE_SURVIVORS {
            let mut full = std::mem::take(waiting);
            self.waiting_count -= full.len();
            self.writer.survivors(node, &mut full);
        } else if self.waiting_count >= WAITING_MAX {
            self.write_waiting();
        }
    }

    fn write_waiting(&mut self) {
        let mut nodes: Vec<(u64, Vec<Lifetime>)> = self.waiting.drain().collect();
        nodes.sort_by_key(|(node, _)| *node);
        for (node, mut lifetimes) in nodes {
            if !lifetimes.is_empty() {
                self.writer.survivors(node, &mut lifetimes);
            }
        }
        self.waiting_count = 0;
    }

    fn finish(mut self, readable_events: u64, mut damaged: Vec<u64>) -> Vec<u8> {
        self.borders.ends.extend(self.last_stamp);
        self.borders.ends.dedup();
        let alive: Vec<Block> = self.heap.live().collect();
        for block in alive {
            let lifetime = Lifetime { block, death: None };
            if let Some((first, last)) = self.borders.crossed(&lifetime) {
                self.keep(node(first, last), lifetime);
            }
        }
        self.write_waiting();
        damaged.sort_unstable();
        let peaks = self.peaks.finish();
        let Counts {
            allocs,
            frees,
            reallocs,
            unknown_frees,
            implied_frees,
            inherited_frees,
            inherited_pool_frees,
            inherited_unknown,
            bytes_allocated,
            reuses,
        } = self.heap.counts();
        let inherited_known = self.summary.inherited_known && inherited_unknown == 0;
        // Without a byte alive at any moment, the first moment is the highest.
        let start = Peak {
            stamp: self.tape.told_from(),
            bytes: self.start.bytes,
            count: self.start.count,
        };
        let none = self.allocating.first().copied().unwrap_or(false);
        let stacks = self.allocating.iter().filter(|&&used| used).count() as u64;
        let gone = self.tape.folded.clone().unwrap_or_default();
        let summary = Summary {
            allocs: allocs.saturating_add(gone.allocs),
            frees: frees.saturating_add(gone.frees),
            reallocs: reallocs.saturating_add(gone.reallocs),
            maps: self.maps.saturating_add(gone.maps),
            unknown_frees: unknown_frees.saturating_add(gone.unknown_frees),
            implied_frees: implied_frees.saturating_add(gone.implied_frees),
            inherited_known,
            inherited_frees,
            inherited_pool_frees,
            bytes_allocated: bytes_allocated.saturating_add(gone.allocated_bytes),
            reuses: reuses.saturating_add(gone.reuses),
            peak: peaks.first().copied().unwrap_or(start),
            end: self.now.total,
            readable_events,
            damaged_chunks: damaged.len() as u64,
            stacks: stacks - u64::from(none),
            ..self.summary
        };
        self.writer.finish(&Parts {
            summary,
            ends: self.borders.ends,
            steps: self.steps.finish(),
            peaks,
            damaged,
            parted: self.heap.parted(),
        })
    }
}
