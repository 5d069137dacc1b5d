//! Transitions: what an event does to one address.
//!
//! In: a chunk of events. Out: its transitions in the stream's order. A realloc is two of them,
//! the old block's death at `stamp` and the new block's birth at `end_stamp`; so is a remap. A
//! chunk that cannot be decoded to its end gives none: half of its history would make frees of
//! blocks that were never born.

use crate::block::{Block, StackId, StreamId};
use crate::tape::Tape;
use crate::tape::chunks::EventChunk;
use heaptape_format::error::{DecodeError, DecodeErrorKind};
use heaptape_format::event::{DomainId, Event, EventReader, Operation, OperationKind};

/// What happens at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransitionKind {
    /// A block begins to live.
    Birth,
    /// The block there dies.
    Death,
    /// The block there goes on under another stack.
    Retag,
    /// Address space is mapped.
    Map,
    /// Address space is unmapped.
    Unmap,
}

/// One thing that happens at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    /// When.
    pub(crate) stamp: u64,
    /// Where.
    pub(crate) address: u64,
    /// Birth, map: requested bytes. Unmap: bytes that are unmapped.
    pub(crate) size: u64,
    /// Allocations and reallocations of the stream up to this event, this one included.
    pub(crate) allocated: u64,
    /// The event's stack. Deaths have one only when the recording kept free stacks.
    pub(crate) stack: StackId,
    /// The stream.
    pub(crate) stream: StreamId,
    /// What happens.
    pub(crate) kind: TransitionKind,
    /// The entry point.
    pub(crate) operation: Operation,
    /// log2 of the alignment.
    pub(crate) alignment_log2: u8,
    /// The domain.
    pub(crate) domain: DomainId,
}

impl Transition {
    /// The block that this birth or map gives, or the reuse that this retag does.
    pub(crate) fn block(&self) -> Block {
        Block {
            address: self.address,
            size: self.size,
            stack: self.stack,
            stream: self.stream,
            operation: self.operation,
            alignment_log2: self.alignment_log2,
            domain: self.domain,
            born: self.stamp,
            allocated: self.stamp,
            is_remainder: false,
        }
    }

    /// Allocations of the stream before this event.
    pub(crate) fn allocated_before(&self) -> u64 {
        let is_new = matches!(
            self.operation.kind(),
            OperationKind::Alloc | OperationKind::Realloc
        );
        self.allocated.saturating_sub(u64::from(is_new))
    }
}

/// True for the domains that count as the heap: native, raw, mem and obj. They share one address
/// space: a block that one of them allocated may be freed through another.
pub(crate) fn is_heap(domain: DomainId) -> bool {
    domain <= DomainId::OBJ
}

/// True when an operation gives address space and no block of an allocator.
pub(crate) fn is_mapping(operation: Operation) -> bool {
    matches!(operation.kind(), OperationKind::Map | OperationKind::Remap)
}

/// The transitions of `chunk`; `allocated` counts from the start of the chunk.
pub(crate) fn decode(tape: &Tape, chunk: &EventChunk) -> Result<Vec<Transition>, DecodeError> {
    let header = &chunk.found.header;
    let at_chunk = |error: DecodeError| error.at(chunk.found.offset);
    let mut payload = Vec::new();
    chunk.found.payload(&tape.bytes, &mut payload)?;
    let events = EventReader::new(&payload, header.count, header.stamp_first).map_err(at_chunk)?;
    let stacks = tape.stacks.stream(header.stream);
    let free_stacks = tape.has_free_stacks();
    // Counts are not trusted for memory: a million events is the most a chunk can hold.
    let mut transitions = Vec::with_capacity(header.count.min(1 << 20) as usize);
    let mut allocated = 0;
    for event in events {
        let event = event.map_err(at_chunk)?;
        if event.end_stamp > header.stamp_last {
            let kind = DecodeErrorKind::Invalid("stamp (outside the chunk's range)");
            return Err(DecodeError::new(chunk.found.offset, kind));
        }
        let mut both = Split {
            event,
            floor: chunk.floor,
            stack: stacks.get(event.stack),
            stream: StreamId(header.stream),
            allocated,
            free_stacks,
        };
        both.push(&mut transitions);
        allocated = both.allocated;
    }
    Ok(transitions)
}

/// An event on its way to become transitions.
struct Split {
    event: Event,
    floor: u64,
    stack: StackId,
    stream: StreamId,
    allocated: u64,
    free_stacks: bool,
}

impl Split {
    #[inline]
    fn push(&mut self, out: &mut Vec<Transition>) {
        match self.event.operation.kind() {
            OperationKind::Alloc => {
                self.allocated += 1;
                out.push(self.new_one(TransitionKind::Birth));
            }
            OperationKind::Free => out.push(self.old_one(TransitionKind::Death)),
            OperationKind::Realloc => {
                self.allocated += 1;
                out.push(self.old_one(TransitionKind::Death));
                out.push(self.new_one(TransitionKind::Birth));
            }
            OperationKind::Map => out.push(self.new_one(TransitionKind::Map)),
            OperationKind::Unmap => out.push(self.old_one(TransitionKind::Unmap)),
            OperationKind::Remap => {
                out.push(self.old_one(TransitionKind::Unmap));
                out.push(self.new_one(TransitionKind::Map));
            }
            OperationKind::Retag => out.push(Transition {
                address: self.event.old_address,
                ..self.new_one(TransitionKind::Retag)
            }),
            OperationKind::Reserved => {}
        }
    }

    #[inline]
    fn new_one(&self, kind: TransitionKind) -> Transition {
        Transition {
            stamp: self.event.end_stamp.max(self.floor),
            address: self.event.address,
            size: self.event.size,
            allocated: self.allocated,
            stack: self.stack,
            stream: self.stream,
            kind,
            operation: self.event.operation,
            alignment_log2: self.event.alignment_log2,
            domain: self.event.domain,
        }
    }

    #[inline]
    fn old_one(&self, kind: TransitionKind) -> Transition {
        Transition {
            stamp: self.event.stamp.max(self.floor),
            address: self.event.old_address,
            size: self.event.old_size,
            stack: if self.free_stacks {
                self.stack
            } else {
                StackId::NONE
            },
            alignment_log2: 0,
            ..self.new_one(kind)
        }
    }
}
