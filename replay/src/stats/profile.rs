//! What lives, without addresses and times: what any grouping and any filter needs of it.
//!
//! In: live blocks. Out: how many there are of each kind; few, where many blocks are alike.

use super::amount::Amount;
use crate::block::{Block, StackId, StreamId};
use heaptape_format::event::{DomainId, Operation};
use rustc_hash::FxHashMap;

/// What blocks have in common that count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    stack: StackId,
    stream: StreamId,
    size: u64,
    operation: Operation,
    domain: DomainId,
}

/// Live blocks, counted by stack, thread, size, domain and entry point. A stack's number is that of
/// the tape that the blocks are of.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    counts: FxHashMap<Kind, u64>,
}

impl Profile {
    /// Counts a block.
    pub fn add(&mut self, block: &Block) {
        let kind = Kind {
            stack: block.stack,
            stream: block.stream,
            size: block.size,
            operation: block.operation,
            domain: block.domain,
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    /// A block of each kind (without address and times), and what those of its kind add up to.
    pub fn sums(&self) -> impl Iterator<Item = (Block, Amount)> + '_ {
        self.counts.iter().map(|(kind, &count)| {
            let block = Block {
                address: 0,
                size: kind.size,
                stack: kind.stack,
                stream: kind.stream,
                operation: kind.operation,
                alignment_log2: 0,
                domain: kind.domain,
                born: 0,
                allocated: 0,
                is_remainder: false,
            };
            let bytes = kind.size.saturating_mul(count);
            (block, Amount { bytes, count })
        })
    }
}
