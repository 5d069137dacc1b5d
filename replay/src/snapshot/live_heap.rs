//! The live heap at a moment.
//!
//! In: a stamp. Out: every block that is alive in the state that includes all events up to it: the
//! survivors of the last border before, and what the slice behind it did since.

use super::{Fault, check};
use crate::block::Block;
use crate::history::heap::{Collector, Heap};
use crate::history::transitions::{Transition, TransitionKind, is_mapping};
use crate::history::windows::Windows;
use crate::index::Index;
use crate::tape::Tape;
use heaptape_format::tables::ForkCut;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

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
        let mut windows = Windows::new(tape, border, at);
        let mut history = Vec::new();
        while let Some(window) = windows.next_window() {
            history.push(window);
        }
        check(index, &windows.damaged)?;
        replay(tape, &mut blocks, &history);
    }
    blocks.par_sort_unstable_by_key(|block| (block.domain, block.address, block.born));
    Ok(blocks)
}

/// Every block that a forked child inherited, by domain and address: those that are alive at `at`,
/// but for what the streams that `cuts` name did up to the stamps there.
pub(crate) fn at_fork(
    tape: &Tape,
    index: &Index,
    at: u64,
    cuts: &[ForkCut],
) -> Result<Vec<Block>, Fault> {
    let stamps: FxHashMap<u32, u64> = cuts.iter().map(|cut| (cut.stream, cut.stamp)).collect();
    let first = stamps.values().copied().min().unwrap_or(at).min(at);
    let last = stamps.values().copied().max().unwrap_or(at).max(at);
    let mut blocks = live_heap(tape, index, first)?;
    let mut windows = Windows::new(tape, Some(first), last).only(move |transition| {
        transition.stamp <= stamps.get(&transition.stream.0).copied().unwrap_or(at)
    });
    let mut history = Vec::new();
    while let Some(window) = windows.next_window() {
        history.push(window);
    }
    check(index, &windows.damaged)?;
    replay(tape, &mut blocks, &history);
    blocks.par_sort_unstable_by_key(|block| (block.domain, block.address, block.born));
    Ok(blocks)
}

/// Applies `history` to the live blocks. Those that it does not touch are left alone.
fn replay(tape: &Tape, blocks: &mut Vec<Block>, history: &[Vec<Transition>]) {
    let mut touched: FxHashSet<u64> = FxHashSet::default();
    let mut touches_mappings = false;
    for transition in history.iter().flatten() {
        match transition.kind {
            TransitionKind::Map | TransitionKind::Unmap => touches_mappings = true,
            TransitionKind::Birth | TransitionKind::Death => {
                touched.insert(transition.address);
            }
        }
    }
    let mut heap = Heap::new(tape.header.page_size, false);
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
    for window in history {
        heap.apply(window, || Nobody);
    }
    blocks.extend(heap.live());
}
