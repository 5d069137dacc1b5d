//! A life of a block, as the model and the replay tell it.

use heaptape::Tape;
use heaptape::block::{Block, Lifetime, StreamId};
use heaptape_format::event::{DomainId, Operation};
use heaptape_format::stack::Frame;

/// A block's life with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    pub born: u64,
    /// Of what was left of a mapping: when that was mapped; else as `born`.
    pub allocated: u64,
    pub domain: DomainId,
    pub address: u64,
    pub size: u64,
    pub stream: u32,
    pub operation: Operation,
    pub alignment_log2: u8,
    pub frames: Vec<Frame>,
    pub end: Option<LifeEnd>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LifeEnd {
    pub stamp: u64,
    pub stream: u32,
    pub operation: Operation,
    pub frames: Vec<Frame>,
    pub between: Option<u64>,
}

impl Life {
    /// A block of the replay.
    pub fn of_block(tape: &Tape, block: &Block) -> Self {
        Self {
            born: block.born,
            allocated: block.allocated,
            domain: block.domain,
            address: block.address,
            size: block.size,
            stream: block.stream.0,
            operation: block.operation,
            alignment_log2: block.alignment_log2,
            frames: tape.frames(block.stack).collect(),
            end: None,
        }
    }

    /// A lifetime of the replay.
    pub fn of_lifetime(tape: &Tape, lifetime: &Lifetime) -> Self {
        Self {
            end: lifetime.death.map(|death| LifeEnd {
                stamp: death.stamp,
                stream: death.stream.0,
                operation: death.operation,
                frames: tape.frames(death.stack).collect(),
                between: death.allocations_between,
            }),
            ..Self::of_block(tape, &lifetime.block)
        }
    }

    pub fn is_heap(&self) -> bool {
        self.domain.0 <= 3
    }

    pub fn is_inherited(&self) -> bool {
        self.stream == StreamId::INHERITED.0
    }

    pub fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.size.max(1)
    }
}
