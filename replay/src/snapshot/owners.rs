//! Every block that ever contained an address.
//!
//! In: addresses. Out: for each, lifetimes in the order of time; a block that was used again is
//! several, one after the other. The tape is read twice, however many are asked for: once to find
//! the blocks that contain one, once to resolve what happened at the addresses of those alone.

use super::{Fault, check};
use crate::block::{Block, Lifetime};
use crate::history::folded;
use crate::history::heap::{Collector, Heap};
use crate::history::reuses;
use crate::history::transitions::{Transition, TransitionKind, decode};
use crate::history::windows::Windows;
use crate::index::Index;
use crate::tape::Tape;
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// Keeps the lives of blocks that contain one of the addresses, which are sorted.
struct Owners<'a> {
    addresses: &'a [u64],
    found: Vec<Lifetime>,
}

impl Collector for Owners<'_> {
    fn ended(&mut self, lifetime: &Lifetime) {
        let block = &lifetime.block;
        if is_any_in(block.address, block.size, self.addresses) {
            self.found.push(*lifetime);
        }
    }
}

/// True when a block contains one of the addresses, which are sorted.
fn is_any_in(start: u64, size: u64, addresses: &[u64]) -> bool {
    let first = addresses.partition_point(|address| *address < start);
    let candidate = addresses.get(first);
    candidate.is_some_and(|address| is_in(start, size, *address))
}

/// True when `address` lies in the block. A block of no bytes contains its own address.
fn contains(block: &Block, address: u64) -> bool {
    is_in(block.address, block.size, address)
}

fn is_in(start: u64, size: u64, address: u64) -> bool {
    let offset = address.checked_sub(start);
    offset.is_some_and(|offset| offset < size.max(1))
}

/// For each of `addresses` the blocks that contained it, `inherited` being those that lived before
/// the recording. Of a folded tape, what died before it was folded is gone.
pub(crate) fn owners(
    tape: &Tape,
    index: &Index,
    inherited: &[Block],
    addresses: &[u64],
) -> Result<Vec<Vec<Lifetime>>, Fault> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let sorted = sorted.as_slice();
    let mut heap = Heap::new(tape.header.page_size, false);
    heap.preload(inherited.iter());
    let make = || Owners {
        addresses: sorted,
        found: Vec::new(),
    };
    let (seen, left) = folded::begin(&mut heap, tape, make);
    let mut found: Vec<Lifetime> = seen.into_iter().flat_map(|owners| owners.found).collect();
    let starts = starts(tape, &[inherited, &left].concat(), sorted);
    let mut windows =
        Windows::new(tape, tape.folded_at(), u64::MAX).only(move |transition: &Transition| {
            match transition.kind {
                TransitionKind::Map | TransitionKind::Unmap => true,
                TransitionKind::Birth | TransitionKind::Death | TransitionKind::Retag => {
                    starts.contains(&transition.address)
                }
            }
        });
    while let Some(window) = windows.next_window() {
        let seen = heap.apply(&window, make);
        found.extend(seen.into_iter().flat_map(|owners| owners.found));
    }
    check(index, &windows.damaged)?;
    let is_asked = |block: &Block| is_any_in(block.address, block.size, sorted);
    let alive = heap.live().filter(is_asked);
    found.extend(alive.map(|block| Lifetime { block, death: None }));
    reuses::in_turn(&mut found);
    found.sort_by_key(|lifetime| {
        let block = &lifetime.block;
        let death = lifetime.death.map_or(u64::MAX, |death| death.stamp);
        (block.born, death, block.domain, block.address)
    });
    let of = |address: &u64| {
        let owners = found
            .iter()
            .filter(|owner| contains(&owner.block, *address));
        owners.copied().collect()
    };
    Ok(addresses.par_iter().map(of).collect())
}

/// The addresses of the blocks that contain one of `addresses`, which are sorted.
fn starts(tape: &Tape, before: &[Block], addresses: &[u64]) -> FxHashSet<u64> {
    let born = tape
        .event_streams
        .par_iter()
        .flat_map_iter(|stream| stream.chunks.iter())
        .flat_map_iter(|chunk| {
            let transitions = decode(tape, chunk).unwrap_or_default();
            transitions.into_iter().filter_map(move |transition| {
                let is_owner = transition.kind == TransitionKind::Birth
                    && is_any_in(transition.address, transition.size, addresses);
                is_owner.then_some(transition.address)
            })
        });
    let mut starts: FxHashSet<u64> = born.collect::<Vec<u64>>().into_iter().collect();
    let is_asked = |block: &&Block| is_any_in(block.address, block.size, addresses);
    let before = before.iter().filter(is_asked);
    starts.extend(before.map(|block| block.address));
    starts
}
