//! The vocabulary of replay: blocks, their lifetimes, and the stacks that made them.
//!
//! The engine (tape → history → index → snapshot) produces these values; statistics and reports
//! consume them. Stamps are those of the tape ([`heaptape_format::TapeHeader::stamp_to_ns`]).

use heaptape_format::event::{DomainId, Operation};

/// A whole call stack, interned over all streams of a tape: an index into the stack table.
/// [`StackId::NONE`] stands for an event with no known frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub u32);

impl StackId {
    /// No known frame.
    pub const NONE: Self = Self(0);
}

/// One thread's sequence of events in a tape: the index of its [`heaptape_format::tables::Stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl StreamId {
    /// The stream of blocks that were inherited from a parent's tape: none of this tape's.
    pub const INHERITED: Self = Self(u32::MAX);
}

/// A block of memory as an allocation function handed it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// Its address.
    pub address: u64,
    /// Requested bytes.
    pub size: u64,
    /// Who allocated it (or reallocated it last).
    pub stack: StackId,
    /// The stream of that event.
    pub stream: StreamId,
    /// The entry point.
    pub operation: Operation,
    /// log2 of the alignment that was asked for, 0 when none was.
    pub alignment_log2: u8,
    /// Its domain.
    pub domain: DomainId,
    /// Stamp from which on it lives.
    pub born: u64,
    /// Stamp at which it was allocated: `born`, but of what was left of a mapping the stamp at
    /// which that was mapped.
    pub allocated: u64,
    /// It is what was left of a mapping of which a part was unmapped: nobody allocated it then.
    pub is_remainder: bool,
}

/// How a block's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Death {
    /// Stamp from which on it is dead.
    pub stamp: u64,
    /// The stream that freed it.
    pub stream: StreamId,
    /// Stack of the free, [`StackId::NONE`] unless the recording kept free stacks.
    pub stack: StackId,
    /// The entry point that ended it: a free, a realloc, or (implied: the free was lost) the
    /// allocation that found the address taken.
    pub operation: Operation,
    /// Allocations and reallocations that the allocating stream made between this block's
    /// allocation and its death; None when another stream ended it, and for what was left of a
    /// mapping of which a part was unmapped.
    pub allocations_between: Option<u64>,
}

/// A block from birth to death.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// The block.
    pub block: Block,
    /// Its end; None while it is alive at the end of the tape.
    pub death: Option<Death>,
}

impl Lifetime {
    /// True when the block is alive in the state that includes every event up to `stamp`.
    #[must_use]
    pub fn is_alive_at(&self, stamp: u64) -> bool {
        self.block.born <= stamp && self.death.is_none_or(|death| death.stamp > stamp)
    }
}
