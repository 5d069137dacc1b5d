//! Memory that an interpreter uses again without freeing it: the block lives on and belongs to
//! another stack.
//!
//! In: retags, and the deaths of the blocks that they name. Out: for each retag a *reuse*, which
//! has the form of a block ([`is_reuse`] tells one): with the address and size of the block that it
//! is about, the stack and stream of the retag, and a life until the block's next retag or death.
//! So the index keeps reuses like blocks, and whoever wants to know whose a block is puts them on
//! it.

use super::heap::{Collector, Live};
use super::transitions::{Transition, is_heap};
use crate::block::{Block, Death, Lifetime, StackId, StreamId};
use heaptape_format::event::{Operation, OperationKind};
use rustc_hash::FxHashMap;

/// True for reuses.
pub(crate) fn is_reuse(operation: Operation) -> bool {
    operation.kind() == OperationKind::Retag
}

/// The reuses that live, by address.
#[derive(Debug, Default)]
pub(super) struct Reuses(FxHashMap<u64, Live>);

impl Reuses {
    /// Makes a reuse live, as it is.
    pub(super) fn preload(&mut self, address: u64, live: Live) {
        self.0.insert(address, live);
    }

    /// `block`, which lives at the address of `retag`, is used again.
    pub(super) fn begin(
        &mut self,
        retag: &Transition,
        block: &Live,
        collector: &mut impl Collector,
    ) {
        let reuse = Live {
            size: block.size,
            domain: block.domain,
            ..Live::of(&retag.block(), u64::MAX)
        };
        if let Some(old) = self.0.insert(retag.address, reuse) {
            collector.ended(&old.ended_by(retag.address, retag));
        }
    }

    /// The block at the address of `end` dies.
    #[inline]
    pub(super) fn end(&mut self, end: &Transition, collector: &mut impl Collector) {
        if self.0.is_empty() {
            return;
        }
        if let Some(old) = self.0.remove(&end.address) {
            collector.ended(&old.ended_by(end.address, end));
        }
    }

    /// Every reuse that lives.
    pub(super) fn live(&self) -> impl Iterator<Item = Block> + '_ {
        self.0.iter().map(|(&address, live)| live.block(address))
    }
}

/// Takes the reuses out of `blocks`, which all live at one moment, and gives each block the stack
/// and the stream of its reuse. Inherited blocks keep their stream, which says what they are.
pub(crate) fn put_on(blocks: &mut Vec<Block>) {
    let mut reuses: FxHashMap<u64, (StackId, StreamId)> = FxHashMap::default();
    blocks.retain(|block| {
        let is_reuse = is_reuse(block.operation);
        if is_reuse {
            reuses.insert(block.address, (block.stack, block.stream));
        }
        !is_reuse
    });
    if reuses.is_empty() {
        return;
    }
    for block in blocks.iter_mut().filter(|block| is_heap(block.domain)) {
        if let Some(&(stack, stream)) = reuses.get(&block.address) {
            block.stack = stack;
            if block.stream != StreamId::INHERITED {
                block.stream = stream;
            }
        }
    }
}

/// Makes of the lives of blocks and reuses those of whom the memory belonged to, one after the
/// other: a block ends where its first reuse begins, and a reuse was allocated when its block was.
/// The lives of one address must stand in the order in which they ended.
pub(crate) fn in_turn(lives: &mut [Lifetime]) {
    lives.sort_by_key(|life| (is_heap(life.block.domain), life.block.address));
    let is_same = |a: &Lifetime, b: &Lifetime| {
        let of = |life: &Lifetime| (is_heap(life.block.domain), life.block.address);
        of(a) == of(b)
    };
    for lives in lives.chunk_by_mut(is_same) {
        turns_at(lives);
    }
}

/// The same for one address. Of a block's reuses only the last one ends after the block.
fn turns_at(lives: &mut [Lifetime]) {
    let mut earlier = 0..0;
    for place in 0..lives.len() {
        let Some((life, behind)) = lives.get_mut(place..).and_then(<[_]>::split_first_mut) else {
            return;
        };
        if is_reuse(life.block.operation) {
            let is_earlier = life.death.is_some_and(|death| is_reuse(death.operation));
            earlier.end = place + usize::from(is_earlier);
            if !is_earlier {
                earlier = place + 1..place + 1;
            }
            continue;
        }
        let allocated = life.block.allocated;
        let is_last = |next: &&mut Lifetime| {
            let is_earlier = next.death.is_some_and(|death| is_reuse(death.operation));
            is_reuse(next.block.operation) && !is_earlier
        };
        let last = behind.first_mut().filter(is_last);
        let mut first = last.map(|last| {
            last.block.allocated = allocated;
            last.block
        });
        for reuse in lives.get_mut(earlier).into_iter().flatten().rev() {
            reuse.block.allocated = allocated;
            first = Some(reuse.block);
        }
        earlier = place + 1..place + 1;
        if let Some((life, first)) = lives.get_mut(place).zip(first) {
            life.death = Some(Death {
                stamp: first.born,
                stream: first.stream,
                stack: StackId::NONE,
                operation: first.operation,
                allocations_between: None,
            });
        }
    }
}
