//! The columns of an event chunk, and how addresses are written in them. SPEC.md §6.2.

use crate::ADDRESS_MAX;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_varint, unzigzag, zigzag};

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

/// Writes the difference of two addresses so that multiples of 16 stay short. Both must be below
/// [`ADDRESS_MAX`]; otherwise bits are lost.
#[inline]
pub(crate) fn put_address(out: &mut Vec<u8>, from: u64, to: u64) {
    let delta = to.wrapping_sub(from) as i64;
    let tagged = if delta & 15 == 0 {
        zigzag(delta >> 4) << 1
    } else {
        (zigzag(delta) << 1) | 1
    };
    put_varint(out, tagged);
}

/// The inverse of [`put_address`]. Shifts and sums are modulo 2^64; what they give is checked.
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_address_comes_back(from in 0..ADDRESS_MAX, to in 0..ADDRESS_MAX, near: i8) {
            for to in [to, to & !15, from.saturating_add_signed(near.into()).min(ADDRESS_MAX - 1)] {
                let mut bytes = Vec::new();
                put_address(&mut bytes, from, to);
                prop_assert_eq!(take_address(&mut Cursor::new(&bytes), from), Ok(to));
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
