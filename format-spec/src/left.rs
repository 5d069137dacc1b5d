//! What the events that were folded away left behind: blocks that were alive, and what happened to
//! those that a forked process inherited. SPEC.md §8.17.
//!
//! In: what is left, or a payload. Out: the other. One field stands behind the other, each for all
//! of them: what is alike then stands together.

use crate::column::take_address;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::event::{DomainId, Operation, OperationKind};
use crate::varint::{Cursor, put_delta, put_varint, unzigzag, zigzag};
use crate::{ADDRESS_MAX, ALIGNMENT_LOG2_MAX};

/// The most of them in a chunk: the widest fit in its payload.
pub const LEFT_PER_CHUNK_MAX: u32 = 100_000;
/// The most bytes that one takes: state, four integers of 64 bits, two of 32, the operation, the
/// alignment and the domain.
const LEFT_BYTES_MAX: u32 = 1 + 4 * 10 + 2 * 5 + 2 + 3;
const _: () = assert!(LEFT_PER_CHUNK_MAX * LEFT_BYTES_MAX <= crate::TABLE_BYTES_MAX);

/// What something that is left is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LeftState {
    /// A block, a mapping or a reuse that was alive.
    Alive = 0,
    /// A part of a mapping that was unmapped in parts.
    Remainder = 1,
    /// What happened to something that a forked process inherited: the death of a block, its last
    /// reuse, or the first change of what the parent had mapped there.
    Inherited = 2,
}

/// One thing that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    /// What it is.
    pub state: LeftState,
    /// Its address.
    pub address: u64,
    /// Its size in bytes; 0 of the death of a block and of a reuse.
    pub size: u64,
    /// When it was allocated, mapped or used again, or died; of a remainder, when it became one.
    pub stamp: u64,
    /// When its memory was allocated: earlier than `stamp` for remainders.
    pub allocated: u64,
    /// Its stream.
    pub stream: u32,
    /// Its stack node in that stream, 0 none.
    pub stack: u32,
    /// The entry point.
    pub operation: Operation,
    /// log2 of the alignment, where the operation has one.
    pub alignment_log2: u8,
    /// The domain.
    pub domain: DomainId,
}

/// Appends the payload of a chunk that holds `all`, whose addresses are below [`ADDRESS_MAX`].
pub fn put_left(all: &[Left], out: &mut Vec<u8>) {
    out.extend(all.iter().map(|left| left.state as u8));
    let mut last = 0;
    for left in all {
        put_address(out, last, left.address);
        last = left.address;
    }
    for left in all {
        put_varint(out, left.size);
    }
    let mut last = 0;
    for left in all {
        put_delta(out, last, left.stamp);
        last = left.stamp;
    }
    for left in all {
        put_varint(out, left.stamp.saturating_sub(left.allocated));
    }
    for left in all {
        put_varint(out, left.stream.into());
    }
    for left in all {
        put_varint(out, left.stack.into());
    }
    out.extend(all.iter().map(|left| left.operation.0));
    out.extend(all.iter().map(|left| left.alignment_log2));
    for left in all {
        put_varint(out, left.domain.0.into());
    }
}

fn put_address(out: &mut Vec<u8>, from: u64, to: u64) {
    let delta = to.wrapping_sub(from) as i64;
    match delta & 15 {
        0 => put_varint(out, zigzag(delta >> 4) << 1),
        _ => put_varint(out, (zigzag(delta) << 1) | 1),
    }
}

/// What a chunk's payload holds, of which its header states `count`.
///
/// # Errors
/// The first fault in reading order; offsets are those in the payload.
pub fn left(payload: &[u8], count: u32) -> Result<Vec<Left>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    if count > LEFT_PER_CHUNK_MAX {
        return Err(cursor.error(DecodeErrorKind::Limit("count")));
    }
    let mut all = Vec::new();
    // A byte each: no more is made room for than the payload holds.
    for &state in cursor.take(count as usize)? {
        all.push(Left {
            state: match state {
                0 => LeftState::Alive,
                1 => LeftState::Remainder,
                2 => LeftState::Inherited,
                _ => {
                    let place = all.len() as u64;
                    return Err(DecodeError::new(place, DecodeErrorKind::Invalid("state")));
                }
            },
            address: 0,
            size: 0,
            stamp: 0,
            allocated: 0,
            stream: 0,
            stack: 0,
            operation: Operation(0),
            alignment_log2: 0,
            domain: DomainId::NATIVE,
        });
    }
    fields(&mut cursor, &mut all)?;
    match cursor.is_empty() {
        true => Ok(all),
        false => Err(cursor.error(DecodeErrorKind::Invalid("bytes behind the last"))),
    }
}

/// Reads all fields but the first.
fn fields(cursor: &mut Cursor<'_>, all: &mut [Left]) -> Result<(), DecodeError> {
    let mut last = 0;
    for left in &mut *all {
        left.address = take_address(cursor, last)?;
        last = left.address;
    }
    for left in &mut *all {
        left.size = cursor.varint()?;
    }
    let mut last = 0u64;
    for left in &mut *all {
        left.stamp = last.wrapping_add(unzigzag(cursor.varint()?) as u64);
        last = left.stamp;
    }
    for left in &mut *all {
        let before = cursor.varint()?;
        let allocated = left.stamp.checked_sub(before);
        left.allocated = allocated.ok_or_else(|| cursor.error(DecodeErrorKind::Overflow))?;
    }
    for left in &mut *all {
        left.stream = below(cursor, u32::MAX.into(), "stream")? as u32;
    }
    for left in &mut *all {
        left.stack = below(cursor, u32::MAX.into(), "stack")? as u32;
    }
    for left in &mut *all {
        left.operation = Operation(cursor.u8()?);
        if left.operation.kind() == OperationKind::Reserved {
            return Err(cursor.error(DecodeErrorKind::Invalid("operation")));
        }
    }
    for left in &mut *all {
        left.alignment_log2 = cursor.u8()?;
        if left.alignment_log2 > ALIGNMENT_LOG2_MAX {
            return Err(cursor.error(DecodeErrorKind::Limit("alignment")));
        }
    }
    for left in &mut *all {
        left.domain = DomainId(below(cursor, u16::MAX.into(), "domain")? as u16);
    }
    Ok(())
}

fn below(cursor: &mut Cursor<'_>, max: u64, what: &'static str) -> Result<u64, DecodeError> {
    let value = cursor.varint()?;
    match value <= max {
        true => Ok(value),
        false => Err(cursor.error(DecodeErrorKind::Limit(what))),
    }
}

const _: () = assert!(
    ADDRESS_MAX == 1 << 62,
    "differences of addresses keep their sign"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_left() -> impl Strategy<Value = Left> {
        let state = prop_oneof![
            Just(LeftState::Alive),
            Just(LeftState::Remainder),
            Just(LeftState::Inherited)
        ];
        let place = (0..ADDRESS_MAX, any::<u64>(), any::<u64>(), any::<u64>());
        let rest = (any::<u32>(), any::<u32>(), 0..224u8, 0..=63u8, any::<u16>());
        (state, place, rest).prop_map(
            |(state, (address, size, stamp, before), (stream, stack, code, log2, domain))| Left {
                state,
                address,
                size,
                stamp,
                allocated: stamp.saturating_sub(before),
                stream,
                stack,
                operation: Operation(code),
                alignment_log2: log2,
                domain: DomainId(domain),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec(any_left(), 0..50)) {
            let mut payload = Vec::new();
            put_left(&all, &mut payload);
            prop_assert!(payload.len() <= all.len() * LEFT_BYTES_MAX as usize);
            prop_assert_eq!(left(&payload, all.len() as u32), Ok(all.clone()));
            for end in 0..payload.len() {
                prop_assert!(left(&payload[..end], all.len() as u32).is_err());
            }
            payload.push(0);
            prop_assert!(left(&payload, all.len() as u32).is_err());
        }

        #[test]
        fn any_bytes_are_something_or_a_fault(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            count in 0..40u32,
        ) {
            if let Ok(all) = left(&payload, count) {
                let mut again = Vec::new();
                put_left(&all, &mut again);
                prop_assert_eq!(left(&again, count), Ok(all));
            }
        }
    }
}
