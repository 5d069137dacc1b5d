//! Event chunks: what happened to the heap, in columns. SPEC.md §6.
//!
//! An [`EventEncoder`] takes the events of one stream in order and makes the payload of one chunk;
//! [`EventReader`] gives them back. Each column holds one field of those events that have it, so
//! that similar bytes stand together and compress well. A free that finds its allocation in the
//! same chunk names it by a back reference in place of an address.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_varint, unzigzag, zigzag};
use crate::{ADDRESS_MAX, EVENTS_PER_CHUNK_MAX};

/// What an operation does to blocks: the upper three bits of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationKind {
    /// A new block begins to live.
    Alloc = 0,
    /// A block dies.
    Free = 1,
    /// A block dies at `stamp`, another one begins to live at `end_stamp`.
    Realloc = 2,
    /// Address space is mapped.
    Map = 3,
    /// Address space is unmapped, perhaps a part of a mapping.
    Unmap = 4,
    /// A mapping is moved or resized.
    Remap = 5,
    /// Reserved: a live block gets a new stack.
    Retag = 6,
    /// Reserved.
    Reserved = 7,
}

/// Which entry point was called. Codes that this version does not name keep their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation(pub u8);

macro_rules! operations {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        #[allow(missing_docs, reason = "the names are those of the entry points")]
        impl Operation {
            $(pub const $name: Self = Self($code);)*

            /// Every operation that this version names.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The entry point's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unknown",
                }
            }
        }
    };
}

operations! {
    MALLOC = 0, "malloc";
    CALLOC = 1, "calloc";
    REALLOC_NEW = 2, "realloc";
    REALLOCARRAY_NEW = 3, "reallocarray";
    POSIX_MEMALIGN = 4, "posix_memalign";
    ALIGNED_ALLOC = 5, "aligned_alloc";
    MEMALIGN = 6, "memalign";
    VALLOC = 7, "valloc";
    PVALLOC = 8, "pvalloc";
    CUSTOM_ALLOC = 9, "heaptape_report_alloc";
    RAW_MALLOC = 16, "PyMem_RawMalloc";
    RAW_CALLOC = 17, "PyMem_RawCalloc";
    RAW_REALLOC_NEW = 18, "PyMem_RawRealloc";
    MEM_MALLOC = 19, "PyMem_Malloc";
    MEM_CALLOC = 20, "PyMem_Calloc";
    MEM_REALLOC_NEW = 21, "PyMem_Realloc";
    OBJ_MALLOC = 22, "PyObject_Malloc";
    OBJ_CALLOC = 23, "PyObject_Calloc";
    OBJ_REALLOC_NEW = 24, "PyObject_Realloc";
    FREE = 32, "free";
    CFREE = 33, "cfree";
    FREE_SIZED = 34, "free_sized";
    FREE_ALIGNED_SIZED = 35, "free_aligned_sized";
    REALLOC_FREE = 36, "realloc";
    CUSTOM_FREE = 41, "heaptape_report_free";
    RAW_FREE = 48, "PyMem_RawFree";
    MEM_FREE = 51, "PyMem_Free";
    OBJ_FREE = 54, "PyObject_Free";
    REALLOC = 64, "realloc";
    REALLOCARRAY = 65, "reallocarray";
    CUSTOM_REALLOC = 73, "heaptape_report_realloc";
    RAW_REALLOC = 80, "PyMem_RawRealloc";
    MEM_REALLOC = 83, "PyMem_Realloc";
    OBJ_REALLOC = 86, "PyObject_Realloc";
    MMAP = 96, "mmap";
    SBRK_GROW = 97, "sbrk";
    MUNMAP = 128, "munmap";
    SBRK_SHRINK = 129, "sbrk";
    MREMAP = 160, "mremap";
}

/// Number of a domain; user-defined ones begin at [`DomainId::FIRST_CUSTOM`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u16);

#[allow(missing_docs, reason = "the names are those of SPEC.md §6")]
impl DomainId {
    pub const NATIVE: Self = Self(0);
    pub const RAW: Self = Self(1);
    pub const MEM: Self = Self(2);
    pub const OBJ: Self = Self(3);
    pub const MMAP: Self = Self(4);
    pub const ARENA: Self = Self(5);
    pub const FIRST_CUSTOM: Self = Self(16);
}

impl Operation {
    /// What the operation does.
    #[must_use]
    #[inline]
    pub fn kind(self) -> OperationKind {
        match self.0 >> 5 {
            0 => OperationKind::Alloc,
            1 => OperationKind::Free,
            2 => OperationKind::Realloc,
            3 => OperationKind::Map,
            4 => OperationKind::Unmap,
            5 => OperationKind::Remap,
            6 => OperationKind::Retag,
            _ => OperationKind::Reserved,
        }
    }

    /// True when the event has an alignment.
    #[must_use]
    #[inline]
    pub fn is_aligned(self) -> bool {
        matches!(
            self,
            Self::POSIX_MEMALIGN | Self::ALIGNED_ALLOC | Self::MEMALIGN
        )
    }

    /// True when the event names a user-defined domain.
    #[must_use]
    #[inline]
    pub fn is_custom(self) -> bool {
        matches!(
            self,
            Self::CUSTOM_ALLOC | Self::CUSTOM_FREE | Self::CUSTOM_REALLOC
        )
    }

    /// The domain that the entry point implies; custom operations name theirs themselves.
    #[must_use]
    #[inline]
    pub fn implied_domain(self) -> DomainId {
        match self.0 {
            16..=18 | 48 | 80 => DomainId::RAW,
            19..=21 | 51 | 83 => DomainId::MEM,
            22..=24 | 54 | 86 => DomainId::OBJ,
            96..=191 => DomainId::MMAP,
            _ => DomainId::NATIVE,
        }
    }
}

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
    /// Free, realloc, unmap, remap: the address that dies.
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

/// The columns, in the order in which they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    Operation = 1,
    Stamp = 2,
    Duration = 3,
    Reference = 4,
    OldAddress = 5,
    OldSize = 6,
    Address = 7,
    Size = 8,
    Stack = 9,
    FreeStack = 10,
    Alignment = 11,
    Domain = 12,
}

const COLUMNS: [Column; 12] = [
    Column::Operation,
    Column::Stamp,
    Column::Duration,
    Column::Reference,
    Column::OldAddress,
    Column::OldSize,
    Column::Address,
    Column::Size,
    Column::Stack,
    Column::FreeStack,
    Column::Alignment,
    Column::Domain,
];

/// Writes the difference of two addresses so that multiples of 16 stay short.
#[inline]
fn put_address(out: &mut Vec<u8>, from: u64, to: u64) {
    let delta = to.wrapping_sub(from) as i64;
    if delta & 15 == 0 {
        put_varint(out, zigzag(delta >> 4) << 1);
    } else {
        put_varint(out, (zigzag(delta) << 1) | 1);
    }
}

#[inline]
fn take_address(cursor: &mut Cursor<'_>, from: u64) -> Result<u64, DecodeError> {
    let value = cursor.varint()?;
    let delta = unzigzag(value >> 1);
    let delta = if value & 1 == 0 { delta << 4 } else { delta };
    let address = from.wrapping_add(delta as u64);
    if address < ADDRESS_MAX {
        Ok(address)
    } else {
        Err(cursor.error(DecodeErrorKind::Limit("address")))
    }
}

/// Remembers where in this chunk an address was allocated: a direct-mapped table, so that a
/// collision only costs the short form of a reference, never its truth.
struct RecentAllocations {
    entries: Vec<(u64, u32)>,
}

impl RecentAllocations {
    const SLOTS_LOG2: u32 = 15;

    fn new() -> Self {
        Self {
            entries: vec![(u64::MAX, 0); 1 << Self::SLOTS_LOG2],
        }
    }

    #[inline]
    fn slot(&mut self, address: u64) -> Option<&mut (u64, u32)> {
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::SLOTS_LOG2);
        self.entries.get_mut(hash as usize)
    }

    #[inline]
    fn insert(&mut self, address: u64, ordinal: u32) {
        if let Some(slot) = self.slot(address) {
            *slot = (address, ordinal);
        }
    }

    #[inline]
    fn remove(&mut self, address: u64) -> Option<u32> {
        let slot = self.slot(address)?;
        if slot.0 != address {
            return None;
        }
        slot.0 = u64::MAX;
        Some(slot.1)
    }

    fn clear(&mut self) {
        self.entries.fill((u64::MAX, 0));
    }
}

/// Collects the events of one chunk. Reusable: [`EventEncoder::finish`] empties it.
pub struct EventEncoder {
    columns: [Vec<u8>; 12],
    recent: RecentAllocations,
    events: u32,
    allocations: u32,
    stamp_first: u64,
    stamp: u64,
    address: u64,
    old_address: u64,
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
    /// An empty encoder. It takes about 1 MiB.
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

    /// Smallest and largest stamp pushed.
    #[must_use]
    pub fn stamps(&self) -> (u64, u64) {
        (self.stamp_first, self.stamp)
    }

    #[inline]
    fn column(&mut self, column: Column) -> &mut Vec<u8> {
        // The enum has 12 values from 1, the array 12 places.
        &mut self.columns[column as usize - 1]
    }

    /// Adds an event. A stamp smaller than the one before is raised to it: stamps of a stream
    /// never decrease.
    ///
    /// # Errors
    /// `Limit` when the chunk is full or an address is out of range; the event is not added.
    #[inline]
    pub fn push(&mut self, event: &Event) -> Result<(), DecodeError> {
        if self.events >= EVENTS_PER_CHUNK_MAX {
            return Err(DecodeError::new(
                0,
                DecodeErrorKind::Limit("events in a chunk"),
            ));
        }
        if (event.address | event.old_address) >= ADDRESS_MAX {
            return Err(DecodeError::new(0, DecodeErrorKind::Limit("address")));
        }
        self.push_head(event);
        match event.operation.kind() {
            OperationKind::Alloc => self.push_new(event),
            OperationKind::Free => {
                self.push_old(event);
                put_varint(self.column(Column::FreeStack), u64::from(event.stack));
            }
            OperationKind::Realloc => {
                self.push_old(event);
                self.push_new(event);
            }
            OperationKind::Map => self.push_block(event),
            OperationKind::Unmap => {
                self.push_old_range(event);
                put_varint(self.column(Column::FreeStack), u64::from(event.stack));
            }
            OperationKind::Remap => {
                self.push_old_range(event);
                self.push_block(event);
            }
            OperationKind::Retag | OperationKind::Reserved => {}
        }
        if event.operation.is_aligned() {
            self.column(Column::Alignment).push(event.alignment_log2);
        }
        if event.operation.is_custom() {
            put_varint(self.column(Column::Domain), u64::from(event.domain.0));
        }
        Ok(())
    }

    #[inline]
    fn push_head(&mut self, event: &Event) {
        if self.events == 0 {
            self.stamp_first = event.stamp;
            self.stamp = event.stamp;
        }
        self.events += 1;
        let operation = event.operation;
        self.column(Column::Operation).push(operation.0);
        let stamp = event.stamp.max(self.stamp);
        let delta = stamp - self.stamp;
        put_varint(self.column(Column::Stamp), delta);
        self.stamp = stamp;
        if matches!(
            operation.kind(),
            OperationKind::Realloc | OperationKind::Remap
        ) {
            let end = event.end_stamp.max(stamp);
            put_varint(self.column(Column::Duration), end - stamp);
            self.stamp = end;
        }
    }

    /// The block that dies: a reference into this chunk, else its address.
    #[inline]
    fn push_old(&mut self, event: &Event) {
        match self.recent.remove(event.old_address) {
            Some(ordinal) => {
                let back = u64::from(self.allocations - ordinal);
                put_varint(self.column(Column::Reference), back);
            }
            None => {
                self.column(Column::Reference).push(0);
                self.push_old_address(event);
            }
        }
    }

    #[inline]
    fn push_old_address(&mut self, event: &Event) {
        let from = self.old_address;
        put_address(self.column(Column::OldAddress), from, event.old_address);
        self.old_address = event.old_address;
    }

    #[inline]
    fn push_old_range(&mut self, event: &Event) {
        self.push_old_address(event);
        put_varint(self.column(Column::OldSize), event.old_size);
    }

    /// The block that begins to live, with its place among the allocations of this chunk.
    #[inline]
    fn push_new(&mut self, event: &Event) {
        self.recent.insert(event.address, self.allocations);
        self.allocations += 1;
        self.push_block(event);
    }

    #[inline]
    fn push_block(&mut self, event: &Event) {
        let from = self.address;
        put_address(self.column(Column::Address), from, event.address);
        self.address = event.address;
        put_varint(self.column(Column::Size), event.size);
        put_varint(self.column(Column::Stack), u64::from(event.stack));
    }

    /// Appends the payload to `out` and empties the encoder.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        // Frees without stacks are the rule: a column of zeros says nothing and is left out.
        if self.column(Column::FreeStack).iter().all(|&byte| byte == 0) {
            self.column(Column::FreeStack).clear();
        }
        let used = self
            .columns
            .iter()
            .filter(|column| !column.is_empty())
            .count();
        out.push(used as u8);
        for (column, bytes) in COLUMNS.iter().zip(&self.columns) {
            if !bytes.is_empty() {
                out.push(*column as u8);
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            }
        }
        for bytes in &mut self.columns {
            out.extend_from_slice(bytes);
            bytes.clear();
        }
        self.recent.clear();
        self.events = 0;
        self.allocations = 0;
        self.address = 0;
        self.old_address = 0;
    }
}

/// Gives back the events of one payload, in order. After an error it ends.
#[derive(Debug)]
pub struct EventReader<'a> {
    columns: [Cursor<'a>; 12],
    starts: [u64; 12],
    allocated: Vec<u64>,
    left: u32,
    stamp: u64,
    address: u64,
    old_address: u64,
    has_free_stacks: bool,
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
        let mut lengths = Vec::new();
        for _ in 0..cursor.u8()? {
            lengths.push((cursor.u8()?, cursor.u32()? as usize));
        }
        let mut columns = [Cursor::new(&[]); 12];
        let mut starts = [payload.len() as u64; 12];
        for (id, length) in lengths {
            let start = cursor.position() as u64;
            let bytes = cursor.take(length)?;
            // Columns that this version does not know are skipped.
            let place = usize::from(id).wrapping_sub(1);
            if let (Some(column), Some(at)) = (columns.get_mut(place), starts.get_mut(place)) {
                *column = Cursor::new(bytes);
                *at = start;
            }
        }
        let has_free_stacks = !columns[Column::FreeStack as usize - 1].is_empty();
        Ok(Self {
            columns,
            starts,
            allocated: Vec::new(),
            left: count,
            stamp: stamp_first,
            address: 0,
            old_address: 0,
            has_free_stacks,
        })
    }

    #[inline]
    fn read<T>(
        &mut self,
        column: Column,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let place = column as usize - 1;
        let start = self.starts[place];
        read(&mut self.columns[place]).map_err(|error| error.at(start))
    }

    fn event(&mut self) -> Result<Event, DecodeError> {
        let operation = Operation(self.read(Column::Operation, Cursor::u8)?);
        let kind = operation.kind();
        let mut event = Event::new(operation, self.advance(Column::Stamp)?);
        if matches!(kind, OperationKind::Realloc | OperationKind::Remap) {
            event.end_stamp = self.advance(Column::Duration)?;
        }
        match kind {
            OperationKind::Alloc => self.new_block(&mut event)?,
            OperationKind::Free => {
                self.old_block(&mut event)?;
                self.free_stack(&mut event)?;
            }
            OperationKind::Realloc => {
                self.old_block(&mut event)?;
                self.new_block(&mut event)?;
            }
            OperationKind::Map => self.block(&mut event)?,
            OperationKind::Unmap => {
                self.old_range(&mut event)?;
                self.free_stack(&mut event)?;
            }
            OperationKind::Remap => {
                self.old_range(&mut event)?;
                self.block(&mut event)?;
            }
            OperationKind::Retag | OperationKind::Reserved => {
                return Err(DecodeError::new(0, DecodeErrorKind::Invalid("operation")));
            }
        }
        if operation.is_aligned() {
            event.alignment_log2 = self.read(Column::Alignment, Cursor::u8)?;
        }
        if operation.is_custom() {
            let domain = self.read(Column::Domain, Cursor::varint)?;
            let domain = u16::try_from(domain)
                .map_err(|_| DecodeError::new(0, DecodeErrorKind::Invalid("domain")))?;
            event.domain = DomainId(domain);
        }
        Ok(event)
    }

    #[inline]
    fn advance(&mut self, column: Column) -> Result<u64, DecodeError> {
        let delta = self.read(column, Cursor::varint)?;
        self.stamp = self
            .stamp
            .checked_add(delta)
            .ok_or(DecodeError::new(0, DecodeErrorKind::Overflow))?;
        Ok(self.stamp)
    }

    #[inline]
    fn old_block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        let back = self.read(Column::Reference, Cursor::varint)?;
        if back == 0 {
            return self.old_place(event);
        }
        let ordinal = usize::try_from(back)
            .ok()
            .and_then(|b| self.allocated.len().checked_sub(b));
        match ordinal.and_then(|ordinal| Some((ordinal, *self.allocated.get(ordinal)?))) {
            Some((ordinal, address)) => {
                event.old_address = address;
                event.reference = Some(ordinal as u32);
                Ok(())
            }
            None => Err(DecodeError::new(
                self.starts[Column::Reference as usize - 1],
                DecodeErrorKind::Invalid("back reference"),
            )),
        }
    }

    #[inline]
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

    #[inline]
    fn free_stack(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        if self.has_free_stacks {
            event.stack = self.read(Column::FreeStack, Cursor::varint_u32)?;
        }
        Ok(())
    }

    #[inline]
    fn new_block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        self.block(event)?;
        self.allocated.push(event.address);
        Ok(())
    }

    #[inline]
    fn block(&mut self, event: &mut Event) -> Result<(), DecodeError> {
        let from = self.address;
        event.address = self.read(Column::Address, |cursor| take_address(cursor, from))?;
        self.address = event.address;
        event.size = self.read(Column::Size, Cursor::varint)?;
        event.stack = self.read(Column::Stack, Cursor::varint_u32)?;
        Ok(())
    }
}

impl Iterator for EventReader<'_> {
    type Item = Result<Event, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let event = self.event();
        if event.is_err() {
            self.left = 0;
        }
        Some(event)
    }
}
