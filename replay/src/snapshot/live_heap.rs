//! The live heap at a moment.
//!
//! In: a stamp. Out: every block that is alive in the state that includes all events up to it: the
//! survivors of the last border before, and what the slice behind it did since.

use super::{Fault, check};
use crate::block::Block;
use crate::history::heap::{Collector, Heap};
use crate::history::reuses;
use crate::history::transitions::{Transition, TransitionKind, decode, is_mapping};
use crate::history::windows::Windows;
use crate::index::Index;
use crate::tape::Tape;
use crate::tape::chunks::EventChunk;
use crate::tape::fork_cuts::ForkCuts;
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// Is not interested in who died.
struct Nobody;

impl Collector for Nobody {
    fn ended(&mut self, _: &crate::block::Lifetime) {}
}

/// Every live block at `at`, inherited ones included, by domain and address.
pub(crate) fn live_heap(tape: &Tape, index: &Index, at: u64) -> Result<Vec<Block>, Fault> {
    let ends = &index.borders.ends;
    let slices = ends.partition_point(|&end| end <= at);
    let border = slices
        .checked_sub(1)
        .and_then(|place| ends.get(place))
        .copied();
    let alive = index.alive_behind(slices)?;
    let mut blocks: Vec<Block> = alive.into_iter().map(|lifetime| lifetime.block).collect();
    if border != Some(at) && slices < ends.len() {
        replay(index, &mut blocks, Windows::new(tape, border, at))?;
    }
    reuses::put_on(&mut blocks);
    blocks.par_sort_unstable_by_key(|block| (block.domain, block.address, block.born));
    Ok(blocks)
}

/// Every block that a forked child inherited, by domain and address: what was alive when each
/// stream had come as far as `cuts` says.
pub(crate) fn at_fork(tape: &Tape, index: &Index, cuts: &ForkCuts) -> Result<Vec<Block>, Fault> {
    // Up to there it makes no difference from which stream an event is.
    let mut same = cuts.others;
    let mut damaged = Vec::new();
    for stream in &tape.event_streams {
        let of_stream = cuts.of(stream.stream);
        match next_stamp(tape, &stream.chunks, of_stream, cuts.last()) {
            Ok(next) => same = next.map_or(same, |next| same.min(next.saturating_sub(1))),
            Err(offset) => damaged.push(offset),
        }
    }
    check(index, &damaged)?;
    let mut blocks = live_heap(tape, index, same)?;
    let own = cuts.clone();
    let windows = Windows::new(tape, Some(same), cuts.last())
        .only(move |transition| transition.stamp <= own.of(transition.stream.0));
    replay(index, &mut blocks, windows)?;
    reuses::put_on(&mut blocks);
    blocks.par_sort_unstable_by_key(|block| (block.domain, block.address, block.born));
    Ok(blocks)
}

/// The stamp of a stream's first event behind `after`, when it is not behind `to`; or the offset of
/// a chunk that cannot be read.
fn next_stamp(tape: &Tape, chunks: &[EventChunk], after: u64, to: u64) -> Result<Option<u64>, u64> {
    let place = chunks.partition_point(|chunk| chunk.stamp_last <= after);
    let Some(chunk) = chunks.get(place).filter(|chunk| chunk.stamp_first <= to) else {
        return Ok(None);
    };
    let transitions = decode(tape, chunk).map_err(|_| chunk.found.offset)?;
    let stamps = transitions.iter().map(|transition| transition.stamp);
    Ok(stamps.filter(|&stamp| stamp > after && stamp <= to).min())
}

/// Applies what happens in `windows` to the live blocks. Those that it does not touch are left
/// alone.
fn replay(index: &Index, blocks: &mut Vec<Block>, mut windows: Windows<'_>) -> Result<(), Fault> {
    let mut history: Vec<Vec<Transition>> = Vec::new();
    while let Some(window) = windows.next_window() {
        history.push(window);
    }
    check(index, &windows.damaged)?;
    let mut touched: FxHashSet<u64> = FxHashSet::default();
    let mut touches_mappings = false;
    for transition in history.iter().flatten() {
        match transition.kind {
            TransitionKind::Map | TransitionKind::Unmap => touches_mappings = true,
            TransitionKind::Birth | TransitionKind::Death | TransitionKind::Retag => {
                touched.insert(transition.address);
            }
        }
    }
    let mut heap = Heap::new(windows.page_size(), false);
    let mut met = Vec::new();
    blocks.retain(|block| {
        let is_met = match is_mapping(block.operation) {
            true => touches_mappings,
            false => touched.contains(&block.address),
        };
        if is_met {
            met.push(*block);
        }
        !is_met
    });
    heap.preload(met.iter());
    for window in &history {
        heap.apply(window, || Nobody);
    }
    blocks.extend(heap.live());
    Ok(())
}
