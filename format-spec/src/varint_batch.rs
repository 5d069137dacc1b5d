//! Many LEB128 integers at once: as `varint`, but how they are written is decided for all of them,
//! by the longest, and not for each, whose length nobody can guess.

use crate::varint::spread_word;

/// Values of one batch.
pub(crate) const VALUES: usize = 64;
/// Bytes that a batch takes at most, with what is written behind its end.
pub(crate) const ROOM_BYTES: usize = VALUES * 10;

/// Writes the LEB128 forms of the first `count` of `values` to the start of `room`, one behind the
/// other; how many bytes they are. What is behind them has no meaning.
#[inline]
pub(crate) fn write_varints(
    values: &[u64; VALUES],
    count: usize,
    room: &mut [u8; ROOM_BYTES],
) -> usize {
    let values = values.get(..count).unwrap_or_default();
    match values.iter().fold(0, |all, value| all | value) {
        0..0x80 => write_bytes(values, room),
        0x80..0x4000 => write_pairs(values, room),
        0x4000..0x1000_0000 => write_quads(values, room),
        0x1000_0000..0x0100_0000_0000_0000 => write_words(values, room),
        _ => write_longest(values, room),
    }
}

/// Values of seven bits.
fn write_bytes(values: &[u64], room: &mut [u8; ROOM_BYTES]) -> usize {
    for (byte, value) in room.iter_mut().zip(values) {
        *byte = *value as u8;
    }
    values.len()
}

/// Values of 14 bits. No branch between one byte and two: in most columns that is a coin's toss.
fn write_pairs(values: &[u64], room: &mut [u8; ROOM_BYTES]) -> usize {
    let mut at = 0;
    for &value in values {
        let value = value as u32;
        let long = u32::from(value > 0x7f);
        let pair = (value & 0x7f) | (long << 7) | (value >> 7 << 8);
        at += put(room, at, (pair as u16).to_le_bytes(), 1 + long);
    }
    at
}

/// Values of 28 bits: the 7-bit groups are spread over the bytes of one word.
fn write_quads(values: &[u64], room: &mut [u8; ROOM_BYTES]) -> usize {
    let (mut quads, mut lengths) = ([0; VALUES], [0; VALUES]);
    // A loop of its own, that is done for several values at once.
    for ((quad, length), &value) in quads.iter_mut().zip(&mut lengths).zip(values) {
        let value = value as i32;
        let longer = [value > 0x7f, value > 0x3fff, value > 0x1f_ffff].map(i32::from);
        let word = (value & 0x3fff) | ((value & 0x0fff_c000) << 2);
        let word = (word & 0x007f_007f) | ((word & 0x3f80_3f80) << 1);
        *quad = word | (longer[0] << 7) | (longer[1] << 15) | (longer[2] << 23);
        *length = (1 + longer[0] + longer[1] + longer[2]) as u32;
    }
    let mut at = 0;
    for (quad, &length) in quads.iter().zip(&lengths).take(values.len()) {
        at += put(room, at, quad.to_le_bytes(), length);
    }
    at
}

/// Values of 56 bits.
fn write_words(values: &[u64], room: &mut [u8; ROOM_BYTES]) -> usize {
    let mut at = 0;
    for &value in values {
        let (word, length) = spread_word(value);
        at += put(room, at, word.to_le_bytes(), length as u32);
    }
    at
}

#[cold]
fn write_longest(values: &[u64], room: &mut [u8; ROOM_BYTES]) -> usize {
    let mut at = 0;
    for &value in values {
        let mut rest = value;
        while rest > 0x7f {
            at += put(room, at, [rest as u8 | 0x80], 1);
            rest >>= 7;
        }
        at += put(room, at, [rest as u8], 1);
    }
    at
}

/// Writes all of `bytes`, of which `length` count.
#[inline(always)]
fn put<const N: usize>(
    room: &mut [u8; ROOM_BYTES],
    at: usize,
    bytes: [u8; N],
    length: u32,
) -> usize {
    let rest = room.get_mut(at..).unwrap_or_default();
    if let Some(place) = rest.first_chunk_mut::<N>() {
        *place = bytes;
    }
    length as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint::put_varint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_batch_is_what_its_values_are_one_by_one(
            values in proptest::collection::vec(any::<u64>(), VALUES),
            shift in 0..64u32,
            count in 0..=VALUES,
        ) {
            let values: Vec<_> = values.iter().map(|value| value >> shift).collect();
            let values: [u64; VALUES] = values.try_into().unwrap();
            let mut plain = Vec::new();
            for &value in values.iter().take(count) {
                put_varint(&mut plain, value);
            }
            let mut room = [0xaa; ROOM_BYTES];
            let bytes = write_varints(&values, count, &mut room);
            prop_assert_eq!(&room[..bytes], plain);
        }
    }

    #[test]
    fn the_longest_and_the_shortest_of_each_length() {
        let mut room = [0xaa; ROOM_BYTES];
        for bits in 0..64 {
            for value in [1 << bits, (1 << bits) - 1] {
                let values = std::array::from_fn(|place| if place % 3 == 0 { value } else { 0 });
                let mut plain = Vec::new();
                values
                    .iter()
                    .for_each(|&value| put_varint(&mut plain, value));
                let bytes = write_varints(&values, VALUES, &mut room);
                assert_eq!(&room[..bytes], plain, "{value}");
            }
        }
    }
}
