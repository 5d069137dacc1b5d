//! Survivors: blocks that live across a border between two slices of time.
//!
//! In: lifetimes, as they end. Out: each survivor once, at the node of an implicit interval tree
//! over the borders: the one border among those it crosses whose number has the most trailing
//! zeros. Who lives across a border then stands at the few nodes above it. Borders count from 1:
//! border 1 is the start of the recording, which only inherited blocks cross.

use crate::block::{Block, Death, Lifetime, StackId, StreamId};
use heaptape_format::error::{DecodeError, DecodeErrorKind};
use heaptape_format::event::{DomainId, Operation};
use heaptape_format::varint::{Cursor, put_delta, put_varint};

/// The borders that the slices of a recording have between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Borders {
    /// The last stamp of each slice, rising.
    pub(crate) ends: Vec<u64>,
    /// Inherited blocks were born up to this stamp, in the parent.
    pub(crate) cut: Option<u64>,
}

impl Borders {
    /// The first and the last border that a block crosses.
    pub(crate) fn crossed(&self, lifetime: &Lifetime) -> Option<(u64, u64)> {
        let block = &lifetime.block;
        let first = match self.is_from_before(block) {
            true => 0,
            false => self.ends.partition_point(|&end| end < block.born) + 1,
        };
        let last = lifetime.death.map_or(self.ends.len(), |death| {
            self.ends.partition_point(|&end| end < death.stamp)
        });
        (first <= last).then_some((first as u64 + 1, last as u64 + 1))
    }

    /// True when a block lived before the recording began.
    fn is_from_before(&self, block: &Block) -> bool {
        block.stream == StreamId::INHERITED && self.cut.is_some_and(|cut| block.born <= cut)
    }

    /// True when a block lives across the border behind `slices` slices.
    pub(crate) fn crosses(&self, slices: usize, lifetime: &Lifetime) -> bool {
        let place = slices.checked_sub(1);
        match place.and_then(|place| self.ends.get(place)) {
            Some(&end) => lifetime.is_alive_at(end),
            None => self.is_from_before(&lifetime.block),
        }
    }
}

/// The node at which a block that crosses the borders `first` to `last` stands.
pub(crate) fn node(first: u64, last: u64) -> u64 {
    match (first ^ last).checked_ilog2() {
        None => first,
        Some(bit) => last & !((1 << bit) - 1),
    }
}

/// True when blocks that cross `border` can stand at `node`: it is the border or above it.
pub(crate) fn is_above(node: u64, border: u64) -> bool {
    let level = node.trailing_zeros();
    // All numbers that share the bits above the node's lowest one bit are below it.
    border.checked_shr(level + 1) == node.checked_shr(level + 1) && border != 0
}

const HAS_DEATH: u8 = 1;
const HAS_BETWEEN: u8 = 2;
const IS_REMAINDER: u8 = 4;
const COLUMNS: usize = 15;

/// Appends `lifetimes`, which must be sorted by birth.
pub(super) fn put_survivors(lifetimes: &[Lifetime], out: &mut Vec<u8>) {
    let mut columns: [Vec<u8>; COLUMNS] = Default::default();
    let [
        flags,
        born,
        address,
        size,
        stack,
        stream,
        operation,
        alignment,
        domain,
        span,
        allocated,
        ends @ ..,
    ] = &mut columns;
    let (mut last_born, mut last_address) = (0, 0);
    for Lifetime { block, death } in lifetimes {
        let between = death.and_then(|death| death.allocations_between);
        let has_between = if between.is_some() { HAS_BETWEEN } else { 0 };
        let is_remainder = if block.is_remainder { IS_REMAINDER } else { 0 };
        flags.push(u8::from(death.is_some()) | has_between | is_remainder);
        put_varint(born, block.born.wrapping_sub(last_born));
        // Addresses are multiples of 16: their low bits stand in front and cancel out.
        let turned = block.address.rotate_right(4);
        put_delta(address, last_address, turned);
        (last_born, last_address) = (block.born, turned);
        put_varint(size, block.size);
        put_varint(stack, u64::from(block.stack.0));
        put_varint(stream, u64::from(block.stream.0));
        operation.push(block.operation.0);
        alignment.push(block.alignment_log2);
        put_varint(domain, u64::from(block.domain.0));
        if block.is_remainder {
            put_varint(allocated, block.born.wrapping_sub(block.allocated));
        }
        if let Some(death) = death {
            put_varint(span, death.stamp.wrapping_sub(block.born));
            put_death(ends, death);
        }
    }
    for column in &columns {
        put_varint(out, column.len() as u64);
    }
    for column in &columns {
        out.extend_from_slice(column);
    }
}

fn put_death(columns: &mut [Vec<u8>; 4], death: &Death) {
    let [stream, stack, operation, between] = columns;
    put_varint(stream, u64::from(death.stream.0));
    put_varint(stack, u64::from(death.stack.0));
    operation.push(death.operation.0);
    if let Some(count) = death.allocations_between {
        put_varint(between, count);
    }
}

/// Reads `count` survivors.
pub(super) fn take_survivors(payload: &[u8], count: u32) -> Result<Vec<Lifetime>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let mut lengths = [0usize; COLUMNS];
    for length in &mut lengths {
        *length = usize::try_from(cursor.varint()?)
            .map_err(|_| DecodeError::new(0, DecodeErrorKind::Overflow))?;
    }
    let mut columns = [Cursor::new(&[]); COLUMNS];
    for (column, length) in columns.iter_mut().zip(lengths) {
        *column = Cursor::new(cursor.take(length)?);
    }
    let (mut born, mut address) = (0u64, 0u64);
    let mut lifetimes = Vec::new();
    for _ in 0..count {
        lifetimes.push(survivor(&mut columns, &mut born, &mut address)?);
    }
    Ok(lifetimes)
}

fn survivor(
    columns: &mut [Cursor<'_>; COLUMNS],
    last_born: &mut u64,
    last_address: &mut u64,
) -> Result<Lifetime, DecodeError> {
    let [
        flags,
        born,
        address,
        size,
        stack,
        stream,
        operation,
        alignment,
        domain,
        span,
        allocated,
        ends @ ..,
    ] = columns;
    let flags = flags.u8()?;
    *last_born = last_born.wrapping_add(born.varint()?);
    *last_address = address.delta(*last_address)?;
    let domain = u16::try_from(domain.varint()?)
        .map_err(|_| domain.error(DecodeErrorKind::Limit("domain")))?;
    let is_remainder = flags & IS_REMAINDER != 0;
    let age = match is_remainder {
        true => allocated.varint()?,
        false => 0,
    };
    let block = Block {
        address: last_address.rotate_left(4),
        size: size.varint()?,
        stack: StackId(stack.varint_u32()?),
        stream: StreamId(stream.varint_u32()?),
        operation: Operation(operation.u8()?),
        alignment_log2: alignment.u8()?,
        domain: DomainId(domain),
        born: *last_born,
        allocated: last_born.wrapping_sub(age),
        is_remainder,
    };
    let death = match flags & HAS_DEATH {
        0 => None,
        _ => {
            let [stream, stack, operation, between] = ends;
            Some(Death {
                stamp: block.born.wrapping_add(span.varint()?),
                stream: StreamId(stream.varint_u32()?),
                stack: StackId(stack.varint_u32()?),
                operation: Operation(operation.u8()?),
                allocations_between: match flags & HAS_BETWEEN {
                    0 => None,
                    _ => Some(between.varint()?),
                },
            })
        }
    };
    Ok(Lifetime { block, death })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_stands_above_each_border_that_it_crosses(
            first in 1u64..5000, length in 0u64..5000, other in 1u64..12_000,
        ) {
            let last = first + length;
            let node = node(first, last);
            prop_assert!((first..=last).contains(&node));
            for border in [first, last, (first + last) / 2, node] {
                prop_assert!(is_above(node, border), "{node} {border}");
            }
            // Nothing is missed: a border that is crossed is below the block's node.
            prop_assert!(is_above(node, other) || !(first..=last).contains(&other));
        }

        #[test]
        fn survivors_come_back(
            seeds in prop::collection::vec(any::<(u64, u64, u32, u16, bool)>(), 0..40),
        ) {
            let mut lifetimes: Vec<Lifetime> = seeds
                .iter()
                .map(|&(a, b, c, d, e)| Lifetime {
                    block: Block {
                        address: a >> 2,
                        size: b,
                        stack: StackId(c),
                        stream: StreamId(c ^ 77),
                        operation: Operation(d as u8),
                        alignment_log2: (d >> 8) as u8,
                        domain: DomainId(d),
                        born: b >> 8,
                        allocated: (b >> 8).wrapping_sub(u64::from(d & 1) * (a >> 3)),
                        is_remainder: d & 1 == 1,
                    },
                    death: e.then_some(Death {
                        stamp: (b >> 8) + a % 1000,
                        stream: StreamId(c),
                        stack: StackId(c / 2),
                        operation: Operation(3),
                        allocations_between: (a & 1 == 1).then_some(b),
                    }),
                })
                .collect();
            lifetimes.sort_by_key(|lifetime| lifetime.block.born);
            let mut payload = Vec::new();
            put_survivors(&lifetimes, &mut payload);
            let count = lifetimes.len() as u32;
            prop_assert_eq!(take_survivors(&payload, count), Ok(lifetimes.clone()));
            if !lifetimes.is_empty() {
                payload.pop();
                prop_assert!(take_survivors(&payload, lifetimes.len() as u32).is_err());
            }
        }
    }
}
