//! Event chunks: what happened to the heap, in columns. SPEC.md §6.
//!
//! An [`EventEncoder`] takes the events of one stream in order and makes the payload of one chunk;
//! [`EventReader`] gives them back. Each column holds one field of those events that have it, so
//! that similar bytes stand together and compress well. A free that finds its allocation in the
//! same chunk names it by a back reference in place of an address. What the encoder accepts, the
//! reader gives back; what the reader would refuse, the encoder refuses.

pub use crate::column::Column;
pub use crate::event_reader::EventReader;
pub use crate::operation::{DomainId, Operation, OperationKind};

use std::mem;

use crate::column::ColumnBytes;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::recent::RecentAllocations;
use crate::{ADDRESS_MAX, ALIGNMENT_LOG2_MAX, EVENTS_PER_CHUNK_MAX};

/// One event. Which fields have a meaning follows from the operation's kind; the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which entry point was called.
    pub operation: Operation,
    /// When: for a free before the block was given back, for an allocation after it was handed
    /// out, for realloc and remap the moment before (the old block dies).
    pub stamp: u64,
    /// Realloc and remap: the moment after (the new block lives). Otherwise equal to `stamp`.
    pub end_stamp: u64,
    /// Free, realloc, unmap, remap: the address that dies. Retag: that of the block.
    pub old_address: u64,
    /// Unmap, remap: bytes that are unmapped.
    pub old_size: u64,
    /// Alloc, realloc, map, remap: the address that begins to live.
    pub address: u64,
    /// Alloc, realloc, map, remap: requested bytes.
    pub size: u64,
    /// The stack node of the call in its stream; 0: none.
    pub stack: u32,
    /// Aligned allocations: log2 of the alignment.
    pub alignment_log2: u8,
    /// The domain.
    pub domain: DomainId,
    /// Free, realloc, as decoded: which allocation of this chunk dies (0 = the chunk's first
    /// alloc or realloc). None: the block was allocated elsewhere. The encoder ignores it.
    pub reference: Option<u32>,
}

impl Event {
    /// An event of `operation` at `stamp` with everything else zero and the implied domain.
    #[must_use]
    pub fn new(operation: Operation, stamp: u64) -> Self {
        Self {
            operation,
            stamp,
            end_stamp: stamp,
            old_address: 0,
            old_size: 0,
            address: 0,
            size: 0,
            stack: 0,
            alignment_log2: 0,
            domain: operation.implied_domain(),
            reference: None,
        }
    }
}

/// Collects the events of one chunk. Reusable: [`EventEncoder::finish`] empties it.
pub struct EventEncoder {
    columns: [ColumnBytes; Column::COUNT],
    recent: RecentAllocations,
    events: u32,
    allocations: u32,
    stamp_first: u64,
    stamp: u64,
    address: u64,
    old_address: u64,
    has_free_stacks: bool,
    /// Frees before the first one that has a stack.
    frees_before: u32,
}

impl std::fmt::Debug for EventEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventEncoder")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Default for EventEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl EventEncoder {
    /// An empty encoder. It takes 11 KiB, and grows with the largest chunk to about 1 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            columns: Default::default(),
            recent: RecentAllocations::new(),
            events: 0,
            allocations: 0,
            stamp_first: 0,
            stamp: 0,
            address: 0,
            old_address: 0,
            has_free_stacks: false,
            frees_before: 0,
        }
    }

    /// Events since the last [`EventEncoder::finish`].
    #[must_use]
    pub fn len(&self) -> u32 {
        self.events
    }

    /// True when no event was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Smallest and largest stamp pushed since the last [`EventEncoder::finish`]; while the encoder
    /// is empty those of the chunk before.
    #[must_use]
    pub fn stamps(&self) -> (u64, u64) {
        (self.stamp_first, self.stamp)
    }

    #[inline]
    fn column(&mut self, column: Column) -> &mut ColumnBytes {
        &mut self.columns[column.place()]
    }

    /// Adds an event. A stamp smaller than the one before is raised to it: stamps of a stream
    /// never decrease. (From chunk to chunk that is the caller's duty.)
    ///
    /// # Errors
    /// `Limit` when the chunk is full, an address or an alignment is out of range, `Invalid` for an
    /// operation without a layout; the event is not added.
    #[inline]
    pub fn push(&mut self, event: &Event) -> Result<(), DecodeError> {
        self.check(event)?;
        self.push_head(event.operation, event.stamp);
        match event.operation.kind() {
            OperationKind::Alloc => self.push_new(event),
            OperationKind::Free => {
                self.push_old(event);
                self.push_free_stack(event.stack);
            }
            OperationKind::Realloc => {
                self.push_end(event);
                self.push_old(event);
                self.push_new(event);
            }
            OperationKind::Map => self.push_block(event.address, event.size, event.stack),
            OperationKind::Unmap => {
                self.push_old_range(event);
                self.push_free_stack(event.stack);
            }
            OperationKind::Remap => {
                self.push_end(event);
                self.push_old_range(event);
                self.push_block(event.address, event.size, event.stack);
            }
            OperationKind::Retag => {
                self.push_old_address(event.old_address);
                self.column(Column::Stack)
                    .put_varint(u64::from(event.stack));
            }
            OperationKind::Reserved => {} // refused by `check`
        }
        if event.operation.is_aligned() {
            self.column(Column::Alignment)
                .put_byte(event.alignment_log2);
        }
        if event.operation.is_custom() {
            self.column(Column::Domain)
                .put_varint(u64::from(event.domain.0));
        }
        Ok(())
    }

    /// As [`EventEncoder::push`] for an allocation that has neither an alignment nor a domain of
    /// its own, which most events are.
    ///
    /// # Errors
    /// As [`EventEncoder::push`]; `Invalid` also for any other operation.
    #[inline(always)]
    pub fn push_allocation(
        &mut self,
        operation: Operation,
        stamp: u64,
        address: u64,
        size: u64,
        stack: u32,
    ) -> Result<(), DecodeError> {
        if operation.kind() != OperationKind::Alloc || has_extra(operation) {
            return Err(DecodeError::new(0, DecodeErrorKind::Invalid("operation")));
        }
        self.check_place(address)?;
        self.push_head(operation, stamp);
        self.recent.insert(address, self.allocations);
        self.allocations += 1;
        self.push_block(address, size, stack);
        Ok(())
    }

    /// As [`EventEncoder::push`] for a free that has neither a stack nor a domain of its own.
    ///
    /// # Errors
    /// As [`EventEncoder::push_allocation`].
    #[inline(always)]
    pub fn push_free(
        &mut self,
        operation: Operation,
        stamp: u64,
        old_address: u64,
    ) -> Result<(), DecodeError> {
        if operation.kind() != OperationKind::Free || has_extra(operation) {
            return Err(DecodeError::new(0, DecodeErrorKind::Invalid("operation")));
        }
        self.check_place(old_address)?;
        self.push_head(operation, stamp);
        self.push_native_old(old_address);
        self.push_free_stack(0);
        Ok(())
    }

    /// Loads what [`EventEncoder::push_allocation`] and [`EventEncoder::push_free`] will look at
    /// for these addresses, so that they need not wait for it one by one. Nothing else changes.
    #[inline(always)]
    pub fn announce(&self, addresses: impl Iterator<Item = u64>) {
        if !self.recent.is_large() {
            return;
        }
        let seen = addresses.fold(0, |seen, address| seen ^ self.recent.touch(address));
        std::hint::black_box(seen);
    }

    #[inline(always)]
    fn check_place(&self, address: u64) -> Result<(), DecodeError> {
        let kind = if self.events >= EVENTS_PER_CHUNK_MAX {
            DecodeErrorKind::Limit("events in a chunk")
        } else if address >= ADDRESS_MAX {
            DecodeErrorKind::Limit("address")
        } else {
            return Ok(());
        };
        Err(DecodeError::new(0, kind))
    }

    #[inline]
    fn check(&self, event: &Event) -> Result<(), DecodeError> {
        let kind = if self.events >= EVENTS_PER_CHUNK_MAX {
            DecodeErrorKind::Limit("events in a chunk")
        } else if (event.address | event.old_address) >= ADDRESS_MAX {
            DecodeErrorKind::Limit("address")
        } else if event.alignment_log2 > ALIGNMENT_LOG2_MAX {
            DecodeErrorKind::Limit("alignment")
        } else if !event.operation.has_layout() {
            DecodeErrorKind::Invalid("operation")
        } else {
            return Ok(());
        };
        Err(DecodeError::new(0, kind))
    }

    #[inline]
    fn push_head(&mut self, operation: Operation, stamp: u64) {
        if self.events == 0 {
            self.stamp_first = stamp;
            self.stamp = stamp;
        }
        self.events += 1;
        self.column(Column::Operation).put_byte(operation.0);
        self.push_stamp(Column::Stamp, stamp);
    }

    #[inline]
    fn push_end(&mut self, event: &Event) {
        self.push_stamp(Column::Duration, event.end_stamp);
    }

    #[inline]
    fn push_stamp(&mut self, column: Column, stamp: u64) {
        let delta = stamp.saturating_sub(self.stamp);
        self.column(column).put_varint(delta);
        self.stamp += delta;
    }

    /// Frees without stacks are the rule: a column of zeros says nothing and is left out.
    #[inline]
    fn push_free_stack(&mut self, stack: u32) {
        if stack == 0 && !self.has_free_stacks {
            self.frees_before += 1;
        } else {
            self.push_said_free_stack(stack);
        }
    }

    #[inline(never)]
    fn push_said_free_stack(&mut self, stack: u32) {
        self.has_free_stacks = true;
        for _ in 0..mem::take(&mut self.frees_before) {
            self.column(Column::FreeStack).put_varint(0);
        }
        self.column(Column::FreeStack).put_varint(u64::from(stack));
    }

    /// The block that dies: a reference into this chunk, else its address.
    #[inline]
    fn push_old(&mut self, event: &Event) {
        // Custom domains have address spaces of their own: a pool's block may begin where the block
        // of malloc does that holds it.
        if event.operation.is_custom() {
            self.column(Column::Reference).put_varint(0);
            self.push_old_address(event.old_address);
        } else {
            self.push_native_old(event.old_address);
        }
    }

    #[inline(always)]
    fn push_native_old(&mut self, old_address: u64) {
        if let Some(ordinal) = self.recent.remove(old_address) {
            let back = u64::from(self.allocations.wrapping_sub(ordinal));
            self.column(Column::Reference).put_varint(back);
        } else {
            self.column(Column::Reference).put_varint(0);
            self.push_old_address(old_address);
        }
    }

    #[inline]
    fn push_old_address(&mut self, old_address: u64) {
        let from = self.old_address;
        self.column(Column::OldAddress)
            .put_address(from, old_address);
        self.old_address = old_address;
    }

    #[inline]
    fn push_old_range(&mut self, event: &Event) {
        self.push_old_address(event.old_address);
        self.column(Column::OldSize).put_varint(event.old_size);
    }

    /// The block that begins to live, with its place among the allocations of this chunk.
    #[inline]
    fn push_new(&mut self, event: &Event) {
        if !event.operation.is_custom() {
            self.recent.insert(event.address, self.allocations);
        }
        self.allocations += 1;
        self.push_block(event.address, event.size, event.stack);
    }

    #[inline]
    fn push_block(&mut self, address: u64, size: u64, stack: u32) {
        let from = self.address;
        self.column(Column::Address).put_address(from, address);
        self.address = address;
        self.column(Column::Size).put_varint(size);
        self.column(Column::Stack).put_varint(u64::from(stack));
    }

    /// Appends the payload to `out` and empties the encoder.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        for column in &mut self.columns {
            column.write_waiting();
        }
        let columns = self.columns.each_ref().map(ColumnBytes::as_slice);
        let used = columns.iter().filter(|column| !column.is_empty());
        out.push(used.count() as u8);
        out.reserve(columns.iter().map(|column| column.len() + 5).sum());
        for (column, bytes) in Column::ALL.iter().zip(columns) {
            if !bytes.is_empty() {
                out.push(*column as u8);
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            }
        }
        for bytes in columns {
            out.extend_from_slice(bytes);
        }
        for column in &mut self.columns {
            column.clear();
        }
        self.recent.clear();
        self.has_free_stacks = false;
        self.frees_before = 0;
        self.events = 0;
        self.allocations = 0;
        self.address = 0;
        self.old_address = 0;
    }
}

/// True for operations whose events have more than the fields of their kind.
#[inline(always)]
fn has_extra(operation: Operation) -> bool {
    operation.is_aligned() || operation.is_custom()
}
