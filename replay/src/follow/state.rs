//! The state of a followed tape: what its events up to a stamp make of the heap.
//!
//! In: a tape, and the stamp up to which it may be told. Out: who is alive there, totals, the
//! highest moment, live bytes over time. The work of the history engine, window by window.

use super::trace::Trace;
use crate::block::{Block, Lifetime};
use crate::history::folded;
use crate::history::heap::{Change, Collector, Heap};
use crate::history::reuses::is_reuse;
use crate::history::transitions::{Transition, TransitionKind, is_heap, is_mapping};
use crate::history::windows::Windows;
use crate::index::build::Others;
use crate::index::steps::Step;
use crate::index::{HeapTotal, Peak};
use crate::recording::Recording;
use crate::tape::Tape;
use std::collections::BTreeSet;

/// Events that are followed in one step, about.
const STEP_EVENTS: u64 = 1 << 19;

/// What one partition of the heap saw of a window: the changes, with their places in it.
#[derive(Debug, Default)]
struct Seen(Vec<(u32, Change)>);

impl Collector for Seen {
    fn ended(&mut self, _: &Lifetime) {}

    fn changed(&mut self, place: u32, change: Change) {
        self.0.push((place, change));
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) heap: Heap,
    /// Every event up to this stamp was followed.
    followed: Option<u64>,
    /// The totals.
    pub(super) now: Step,
    pub(super) peak: Peak,
    pub(super) allocated_bytes: u64,
    pub(super) trace: Trace,
    /// As far as the parent's tape tells.
    pub(super) knows_inherited: bool,
    /// Offsets of event chunks that cannot be read.
    pub(super) damaged: BTreeSet<u64>,
    changes: Vec<Change>,
}

impl State {
    /// That at the first moment of which the tape tells.
    pub(super) fn begin(recording: &Recording) -> Self {
        let tape = recording.tape();
        let inheritance = recording.inheritance();
        let mut heap = Heap::new(tape.header.page_size, inheritance.others != Others::None);
        heap.preload(inheritance.blocks.iter());
        let mut state = Self {
            heap,
            followed: tape.folded_at(),
            now: Step::default(),
            peak: Peak::default(),
            allocated_bytes: 0,
            trace: Trace::new(tape.told_from()),
            knows_inherited: inheritance.others != Others::Unknown,
            damaged: BTreeSet::new(),
            changes: Vec::new(),
        };
        if let Some(stamp) = tape.folded_at() {
            let (_, blocks) = folded::begin(&mut state.heap, tape, Seen::default);
            state.now.total = total(&blocks);
            state.note(stamp);
        }
        state
    }

    /// Every event up to this stamp was followed; `u64::MAX`: all that the tape has.
    pub(super) fn followed_to(&self) -> Option<u64> {
        self.followed
    }

    /// True when `bound` lies behind what was followed.
    pub(super) fn is_before(&self, bound: Option<u64>) -> bool {
        bound > self.followed
    }

    /// Follows some events up to `bound`; false when there is no more to be done.
    pub(super) fn step(&mut self, tape: &Tape, bound: Option<u64>) -> bool {
        let Some(bound) = bound.filter(|_| self.is_before(bound)) else {
            return false;
        };
        let to = self.next_stop(tape, bound);
        let mut windows = Windows::new(tape, self.followed, to);
        while let Some(window) = windows.next_window() {
            self.window(&window);
        }
        self.damaged.extend(windows.damaged);
        self.trace.pass(to.min(tape.end_stamp));
        self.followed = Some(to);
        true
    }

    /// Where to stop on the way to `bound`, behind all of a nanosecond.
    fn next_stop(&self, tape: &Tape, bound: u64) -> u64 {
        let is_new = |stamp: u64| self.followed.is_none_or(|followed| stamp > followed);
        let mut lasts: Vec<(u64, u64)> = Vec::new();
        for stream in &tape.event_streams {
            let old = stream
                .chunks
                .partition_point(|chunk| !is_new(chunk.stamp_last));
            let new = stream.chunks.get(old..).unwrap_or_default();
            let below = new.partition_point(|chunk| chunk.stamp_first <= bound);
            let wanted = new.get(..below).unwrap_or_default().iter();
            lasts.extend(wanted.map(|chunk| (chunk.stamp_last, chunk.found.header.count.into())));
        }
        lasts.sort_unstable();
        let mut sum = 0u64;
        let stop = lasts.iter().find(|(_, count)| {
            sum = sum.saturating_add(*count);
            sum >= STEP_EVENTS
        });
        let header = &tape.header;
        let stop = stop.map(|(last, _)| header.ns_to_stamp(header.stamp_to_ns(*last)));
        stop.filter(|&stop| is_new(stop))
            .map_or(bound, |stop| stop.min(bound))
    }

    fn window(&mut self, window: &[Transition]) {
        let seen = self.heap.apply(window, Seen::default);
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        changes.resize(window.len(), Change::default());
        for (place, change) in seen.into_iter().flat_map(|seen| seen.0) {
            if let Some(slot) = changes.get_mut(place as usize) {
                *slot = change;
            }
        }
        let mut rest = changes.as_slice();
        for group in window.chunk_by(|a, b| a.stamp == b.stamp) {
            let (now, later) = rest.split_at_checked(group.len()).unwrap_or_default();
            rest = later;
            let stamp = group.first().map_or(0, |first| first.stamp);
            if let Some(next) = self.now.followed_by(stamp, now.iter()) {
                self.now = next;
                self.note(stamp);
            }
            for transition in group {
                if transition.kind == TransitionKind::Birth && is_heap(transition.domain) {
                    self.allocated_bytes = self.allocated_bytes.saturating_add(transition.size);
                }
            }
        }
        self.changes = changes;
    }

    /// Notes the totals at `stamp`.
    fn note(&mut self, stamp: u64) {
        let HeapTotal { bytes, count } = self.now.total;
        if bytes > self.peak.bytes {
            self.peak = Peak {
                stamp,
                bytes,
                count,
            };
        }
        self.trace.observe(stamp, bytes);
    }
}

/// What the blocks of a folded tape's first moment add up to.
fn total(blocks: &[Block]) -> HeapTotal {
    let counts = |block: &&Block| {
        let is_block = !is_mapping(block.operation) && !is_reuse(block.operation);
        is_block && is_heap(block.domain)
    };
    blocks
        .iter()
        .filter(counts)
        .fold(HeapTotal::default(), |sum, block| HeapTotal {
            bytes: sum.bytes.wrapping_add(block.size),
            count: sum.count + 1,
        })
}
