//! The events of one payload, read back. SPEC.md §6; the encoder is in [`crate::event`].
//!
//! In: the payload of an event chunk and the two facts of its header. Out: its events in order,
//! then, when the payload holds anything else, an error. It allocates 8 bytes for each event.
//!
//! Everything on the way of one event is always inlined: left to itself the compiler makes calls
//! that hand each small result over in memory, and decodes a third slower.

use crate::column::{Column, take_address};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::event::Event;
use crate::operation::{DomainId, Operation, OperationKind};
use crate::varint::Cursor;
use crate::{ALIGNMENT_LOG2_MAX, EVENTS_PER_CHUNK_MAX};

/// Gives back the events of one payload, in order. After an error it ends. Error offsets count
/// from the start of the payload.
#[derive(Debug)]
pub struct EventReader<'a> {
    columns: [Cursor<'a>; Column::COUNT],
    /// Where in the payload each column begins.
    starts: [u64; Column::COUNT],
    /// Addresses of the allocations so far: what references name.
    allocated: Vec<u64>,
    left: u32,
    stamp: u64,
    address: u64,
    old_address: u64,
    has_free_stacks: bool,
    ended: bool,
}

impl<'a> EventReader<'a> {
    /// A reader of `payload`, which holds `count` events from `stamp_first` on (both stand in the
    /// chunk's header).
    ///
    /// # Errors
    /// `Truncated`, `Limit`, `Invalid`: the column table is damaged.
    pub fn new(payload: &'a [u8], count: u32, stamp_first: u64) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(payload);
        if count > EVENTS_PER_CHUNK_MAX {
            return Err(cursor.error(DecodeErrorKind::Limit("events in a chunk")));
        }
        let used = usize::from(cursor.u8()?);
        let (table, _) = cursor.take(used * 5)?.as_chunks::<5>();
        if table.first().is_some_and(|[id, ..]| *id == 0) || !table.is_sorted_by(|a, b| a[0] < b[0])
        {
            return Err(cursor.error(DecodeErrorKind::Invalid("order of columns")));
        }
        let mut columns = [Cursor::new(&[]); Column::COUNT];
        let mut starts = [payload.len() as u64; Column::COUNT];
        for &[id, a, b, c, d] in table {
            let start = cursor.position() as u64;
            let bytes = cursor.take(u32::from_le_bytes([a, b, c, d]) as usize)?;
            // Columns that this version does not know are skipped.
            let place = usize::from(id).wrapping_sub(1);
            if let (Some(column), Some(at)) = (columns.get_mut(place), starts.get_mut(place)) {
                *column = Cursor::new(bytes);
                *at = start;
            }
        }
        if !cursor.is_empty() {
            return Err(cursor.error(DecodeErrorKind::Invalid("length of columns")));
        }
        // Every event has an operation: a hostile count allocates nothing.
        let [operations, ..] = &columns;
        if operations.remaining() != count as usize {
            return Err(cursor.error(DecodeErrorKind::Invalid("count of events")));
        }
        let has_free_stacks = !columns[Column::FreeStack.place()].is_empty();
        Ok(Self {
            columns,
            starts,
            allocated: Vec::with_capacity(count as usize),
            left: count,
            stamp: stamp_first,
            address: 0,
            old_address: 0,
            has_free_stacks,
            ended: false,
        })
    }

    #[inline(always)]
    fn read<T>(
        &mut self,
        column: Column,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let start = self.starts[column.place()];
        read(&mut self.columns[column.place()]).map_err(|error| error.at(start))
    }

    /// An error of `kind` where `column` was read last.
    #[cold]
    fn error(&self, column: Column, kind: DecodeErrorKind) -> DecodeError {
        let error = self.columns[column.place()].error(kind);
        error.at(self.starts[column.place()])
    }

    #[inline(always)]
    fn event(&mut self) -> Result<Event, DecodeError> {
        let operation = Operation(self.read(Column::Operation, Cursor::u8)?);
        if !operation.has_layout() {
            let kind = DecodeErrorKind::Invalid("operation");
            return Err(self.error(Column::Operation, kind));
        }
        let mut event = Event::new(operation, self.advance(Column::Stamp)?);
        match operation.kind() {
            OperationKind::Alloc => self.new_block(&mut event)?,
            OperationKind::Free => {
                self.old_block(&mut event)?;
                self.free_stack(&mut event)?;
            }
            OperationKind::Realloc => {
                event.end_stamp = self.advance(Column::Duration)?;
                self.old_block(&mut event)?;
                self.new_block(&mut event)?;
            }
            OperationKind::Map => self.block(&mut event)?,
            OperationKind::Unmap => {
                self.old_range(&mut event)?;
                self.free_stack(&mut event)?;
            }
            OperationKind::Remap => {
                event.end_stamp = self.advance(Column::Duration)?;
                self.old_range(&mut event)?;
                self.block(&mut event)?;
            }
            OperationKind::Retag => {
                self.old_place(&mut event)?;
                event.stack = self.read(Column::Stack, Cursor::varint_u32)?;
            }
            OperationKind::Reserved => {} // refused above
        }
        if operation.is_aligned() {
            event.alignment_log2 = self.read(Column::Alignment, Cursor::u8)?;
            if event.alignment_log2 > ALIGNMENT_LOG2_MAX {
                let kind = DecodeErrorKind::Limit("alignment");
                return Err(self.error(Column::Alignment, kind));
            }
        }
        if operation.is_custom() {
            let domain = self.read(Column::Domain, Cursor::varint)?;
            match u16::try_from(domain) {
                Ok(domain) => event.domain = DomainId(domain),
                Err(_) => {
                    return Err(self.error(Column::Domain, DecodeErrorKind::Limit("domain")));
                }
            }
        }
        Ok(event)
    }

    #[inline(always)]
    fn advance(&mut self, column: Column) -> Result<u64, DecodeError> {
        let delta = self.read(column, Cursor::varint)?;
        match self.stamp.checked_add(delta) {
            Some(stamp) => {
                self.stamp = stamp;
                Ok(stamp)
            }
            None => Err(self.error(column, DecodeErrorKind::Overflow)),
        }
    }

    #[inline(always)]
    fn old_block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        let back = self.read(Column::Reference, Cursor::varint)?;
        if back == 0 {
            return self.old_place(event);
        }
        // A reference that is too far wraps to a place behind the last.
        let ordinal = (self.allocated.len() as u64).wrapping_sub(back);
        let place = usize::try_from(ordinal).unwrap_or(usize::MAX);
        let Some(&address) = self.allocated.get(place) else {
            let kind = DecodeErrorKind::Invalid("back reference");
            return Err(self.error(Column::Reference, kind));
        };
        event.old_address = address;
        event.reference = Some(ordinal as u32);
        Ok(())
    }

    #[inline(always)]
    fn old_place(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        let from = self.old_address;
        event.old_address = self.read(Column::OldAddress, |cursor| take_address(cursor, from))?;
        self.old_address = event.old_address;
        Ok(())
    }

    fn old_range(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        self.old_place(event)?;
        event.old_size = self.read(Column::OldSize, Cursor::varint)?;
        Ok(())
    }

    #[inline(always)]
    fn free_stack(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        if self.has_free_stacks {
            event.stack = self.read(Column::FreeStack, Cursor::varint_u32)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn new_block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        self.block(event)?;
        self.allocated.push(event.address);
        Ok(())
    }

    #[inline(always)]
    fn block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        let from = self.address;
        event.address = self.read(Column::Address, |cursor| take_address(cursor, from))?;
        self.address = event.address;
        event.size = self.read(Column::Size, Cursor::varint)?;
        event.stack = self.read(Column::Stack, Cursor::varint_u32)?;
        Ok(())
    }

    /// After the last event: every column must have been read to its end.
    fn finish(&mut self) -> Option<Result<Event, DecodeError>> {
        if self.ended {
            return None;
        }
        self.ended = true;
        let left = Column::ALL
            .iter()
            .find(|column| !self.columns[column.place()].is_empty())?;
        let kind = DecodeErrorKind::Invalid("length of a column");
        Some(Err(self.error(*left, kind)))
    }
}

impl Iterator for EventReader<'_> {
    type Item = Result<Event, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return self.finish();
        }
        self.left -= 1;
        let event = self.event();
        if event.is_err() {
            self.left = 0;
            self.ended = true;
        }
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left as usize;
        (left.min(1), Some(left + usize::from(!self.ended)))
    }
}
