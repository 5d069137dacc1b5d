//! The columns of an event chunk, and how addresses are written in them. SPEC.md §6.2.

use crate::ADDRESS_MAX;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, unzigzag, zigzag};
use crate::varint_batch::{self, write_varints};

macro_rules! columns {
    ($($(#[$docs:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// The columns, in the order in which they are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Column {
            $($(#[$docs])* $name = $id,)*
        }

        impl Column {
            /// How many columns this version knows.
            pub const COUNT: usize = Self::ALL.len();
            /// Every column, in the order in which they are stored.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The column's name in SPEC.md.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The column's place in arrays with one element a column.
            #[inline]
            pub(crate) const fn place(self) -> usize {
                self as usize - 1
            }
        }
    };
}

columns! {
    /// Codes of operations, one byte an event.
    Operation = 1, "operation";
    /// Stamps, as differences.
    Stamp = 2, "stamp";
    /// Realloc, remap: from `stamp` to `end_stamp`.
    Duration = 3, "duration";
    /// Free, realloc: back references to the chunk's allocations.
    Reference = 4, "reference";
    /// Addresses that die and have no reference, as differences.
    OldAddress = 5, "old address";
    /// Unmap, remap: bytes that are unmapped.
    OldSize = 6, "old size";
    /// Addresses that begin to live, as differences.
    Address = 7, "address";
    /// Requested bytes.
    Size = 8, "size";
    /// Stack nodes of what begins to live.
    Stack = 9, "stack";
    /// Stack nodes of frees and unmaps.
    FreeStack = 10, "free stack";
    /// Aligned allocations: log2 of the alignment, one byte.
    Alignment = 11, "alignment";
    /// Custom operations: the domain.
    Domain = 12, "domain";
}

/// Where the columns of an event chunk's payload end, as its table says. Nothing is checked.
pub(crate) fn ends(payload: &[u8]) -> impl Iterator<Item = usize> {
    let (&used, rest) = payload.split_first().unwrap_or((&0, &[]));
    let table_bytes = usize::from(used) * 5;
    let (table, _) = rest.get(..table_bytes).unwrap_or_default().as_chunks::<5>();
    table.iter().scan(1 + table_bytes, |end, &[_, a, b, c, d]| {
        *end = end.checked_add(u32::from_le_bytes([a, b, c, d]) as usize)?;
        Some(*end)
    })
}

/// The bytes of one column while its chunk is made. Values wait until there are enough of them to
/// be written together.
pub(crate) struct ColumnBytes {
    /// What is behind `used` has no meaning.
    bytes: Vec<u8>,
    used: usize,
    waiting: [u64; varint_batch::VALUES],
    /// Fewer than a batch, but within a call.
    waiting_count: usize,
}

impl Default for ColumnBytes {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            used: 0,
            waiting: [0; varint_batch::VALUES],
            waiting_count: 0,
        }
    }
}

impl ColumnBytes {
    /// Its bytes, once nothing [waits](ColumnBytes::write_waiting).
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Empties it; the memory stays.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.waiting_count = 0;
    }

    /// Writes the values that wait.
    #[inline(never)]
    pub(crate) fn write_waiting(&mut self) {
        if self.waiting_count > 0 {
            let (values, count) = (&self.waiting, self.waiting_count);
            let room = room(&mut self.bytes, self.used);
            self.used += room.map_or(0, |room| write_varints(values, count, room));
            self.waiting_count = 0;
        }
    }

    /// Appends one byte.
    #[inline(always)]
    pub(crate) fn put_byte(&mut self, byte: u8) {
        if self.waiting_count > 0 {
            self.write_waiting();
        }
        if let Some(place) = self.bytes.get_mut(self.used) {
            *place = byte;
        } else if let Some(room) = room(&mut self.bytes, self.used) {
            room[0] = byte;
        }
        self.used += 1;
    }

    /// Appends a LEB128 integer.
    #[inline(always)]
    pub(crate) fn put_varint(&mut self, value: u64) {
        self.waiting[self.waiting_count % varint_batch::VALUES] = value;
        self.waiting_count += 1;
        if self.waiting_count >= varint_batch::VALUES {
            self.write_waiting();
        }
    }

    /// Appends the difference of two addresses so that multiples of 16 stay short. Both must be
    /// below [`ADDRESS_MAX`]; otherwise bits are lost.
    #[inline(always)]
    pub(crate) fn put_address(&mut self, from: u64, to: u64) {
        let delta = to.wrapping_sub(from) as i64;
        let odd = u64::from(delta & 15 != 0);
        let whole = if odd == 0 { delta >> 4 } else { delta };
        self.put_varint((zigzag(whole) << 1) | odd);
    }
}

/// Room for a batch, from the place `used` on; never `None`.
#[inline(always)]
fn room(bytes: &mut Vec<u8>, used: usize) -> Option<&mut [u8; varint_batch::ROOM_BYTES]> {
    if bytes.len() < used + varint_batch::ROOM_BYTES {
        grow(bytes, used);
    }
    bytes.get_mut(used..)?.first_chunk_mut()
}

#[cold]
#[inline(never)]
fn grow(bytes: &mut Vec<u8>, used: usize) {
    bytes.truncate(used);
    // Twice as much as there was, and all of it usable at once.
    bytes.reserve(used.max(COLUMN_BYTES_MIN));
    bytes.resize(bytes.capacity(), 0);
}

/// Room that a column gets first.
const COLUMN_BYTES_MIN: usize = 1 << 10;
const _: () = assert!(varint_batch::ROOM_BYTES <= COLUMN_BYTES_MIN);

/// The inverse of [`ColumnBytes::put_address`]. Shifts and sums are modulo 2^64; what they give is
/// checked.
#[inline(always)]
pub(crate) fn take_address(cursor: &mut Cursor<'_>, from: u64) -> Result<u64, DecodeError> {
    let tagged = cursor.varint()?;
    let delta = unzigzag(tagged >> 1);
    let delta = if tagged & 1 == 0 { delta << 4 } else { delta };
    let address = from.wrapping_add(delta as u64);
    if address < ADDRESS_MAX {
        Ok(address)
    } else {
        Err(cursor.error(DecodeErrorKind::Limit("address")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint::put_varint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_address_comes_back(from in 0..ADDRESS_MAX, to in 0..ADDRESS_MAX, near: i8) {
            for to in [to, to & !15, from.saturating_add_signed(near.into()).min(ADDRESS_MAX - 1)] {
                let mut bytes = ColumnBytes::default();
                bytes.put_address(from, to);
                bytes.write_waiting();
                prop_assert_eq!(take_address(&mut Cursor::new(bytes.as_slice()), from), Ok(to));
            }
        }

        #[test]
        fn a_column_holds_what_plain_bytes_hold(
            values in proptest::collection::vec((any::<u64>(), 0..64u32), 0..3000),
            rounds in 1..3,
        ) {
            let mut column = ColumnBytes::default();
            for _ in 0..rounds {
                let mut plain = Vec::new();
                column.clear();
                for &(value, shift) in &values {
                    put_varint(&mut plain, value >> shift);
                    column.put_varint(value >> shift);
                    plain.push(shift as u8);
                    column.put_byte(shift as u8);
                }
                column.write_waiting();
                prop_assert_eq!(column.as_slice(), plain);
            }
        }

        #[test]
        fn any_number_gives_an_address_or_an_error(value: u64, from in 0..ADDRESS_MAX) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            match take_address(&mut Cursor::new(&bytes), from) {
                Ok(address) => prop_assert!(address < ADDRESS_MAX),
                Err(error) => prop_assert_eq!(error.kind, DecodeErrorKind::Limit("address")),
            }
        }
    }
}
