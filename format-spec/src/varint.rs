//! LEB128 integers, zigzag, and a cursor over bytes. SPEC.md §2.

use crate::error::{DecodeError, DecodeErrorKind};

/// Appends `value` as LEB128: 7 bits a byte, least significant first, at most 10 bytes.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    if value < 1 << 7 {
        out.push(value as u8);
    } else if let Some((word, length)) = varint_word(value) {
        let end = out.len() + length;
        out.extend_from_slice(&word.to_le_bytes());
        out.truncate(end);
    } else {
        put_longest(out, value);
    }
}

/// The LEB128 form of `value` in the low bytes of a word, and how many they are; what stands above
/// them is zero. None: it takes nine or ten bytes.
#[inline(always)]
pub(crate) fn varint_word(value: u64) -> Option<(u64, usize)> {
    // Short ones have no branch between one byte and two: in most columns that is a coin's toss.
    if value < 1 << 14 {
        let long = u64::from(value > 0x7f);
        let word = (value & 0x7f) | (long << 7) | (value >> 7 << 8);
        Some((word, 1 + long as usize))
    } else if value < 1 << 56 {
        Some(spread_word(value))
    } else {
        None
    }
}

/// As [`varint_word`] for `value` below 2^56, whose length may be anything from one byte to eight:
/// the 7-bit groups are spread over the bytes of one word, which is cheaper than a loop whose
/// length the processor must guess.
#[inline(always)]
pub(crate) fn spread_word(value: u64) -> (u64, usize) {
    let bits = 64 - (value | 1).leading_zeros();
    let length = bits.div_ceil(7);
    let word = (value & 0x0fff_ffff) | ((value & 0x00ff_ffff_f000_0000) << 4);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x0fff_c000_0fff_c000) << 2);
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x3f80_3f80_3f80_3f80) << 1);
    let continued = 0x8080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
    (word | continued, length as usize)
}

#[cold]
fn put_longest(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the signed difference `to - from` (modulo 2^64) as a zigzag varint.
#[inline]
pub fn put_delta(out: &mut Vec<u8>, from: u64, to: u64) {
    put_varint(out, zigzag(to.wrapping_sub(from) as i64));
}

/// Appends `bytes` behind their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps small signed numbers to small unsigned ones: 0, -1, 1, -2 → 0, 1, 2, 3.
#[inline]
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Reads values off a slice, front to back; every error carries the offset in that slice.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// An error of `kind` at this position.
    #[must_use]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.at as u64, kind)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(slice) => {
                self.at += count;
                Ok(slice)
            }
            None => Err(self.error(DecodeErrorKind::Truncated)),
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// `Truncated` at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.error(DecodeErrorKind::Truncated)),
        }
    }

    /// A little-endian u16.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian u32.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian u64.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.at;
        let slice = self.take(N)?;
        slice
            .try_into()
            .map_err(|_| DecodeError::new(start as u64, DecodeErrorKind::Truncated))
    }

    /// A LEB128 integer. Longer forms than the shortest are read too, up to 10 bytes.
    ///
    /// # Errors
    /// `Truncated`, or `Overflow` when it does not fit in 64 bits.
    // Always inline: the reader of events calls it in many places, and a call with its result in
    // memory costs as much as the work. A branch for single bytes made it slower, not faster.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        self.varint_word()
    }

    /// Up to eight bytes at once: the inverse of `spread_word`.
    #[inline(always)]
    fn varint_word(&mut self) -> Result<u64, DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<8>() else {
            return self.varint_bytes();
        };
        let word = u64::from_le_bytes(*bytes);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends == 0 {
            return self.varint_bytes();
        }
        // The lowest end bit and everything below it are this integer's.
        self.at += (ends.trailing_zeros() as usize + 1) / 8;
        let word = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
        let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
        let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
        Ok((word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4))
    }

    /// Byte by byte: near the end of the slice, and integers of 9 and 10 bytes.
    #[cold]
    fn varint_bytes(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            // The tenth byte holds the 64th bit alone.
            if shift == 63 && byte > 1 {
                return Err(DecodeError::new(start as u64, DecodeErrorKind::Overflow));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A LEB128 integer that must fit in 32 bits.
    ///
    /// # Errors
    /// `Truncated`, `Overflow`.
    #[inline(always)]
    pub fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        let start = self.at;
        u32::try_from(self.varint()?)
            .map_err(|_| DecodeError::new(start as u64, DecodeErrorKind::Overflow))
    }

    /// `from` plus a zigzag varint (modulo 2^64): the inverse of [`put_delta`].
    ///
    /// # Errors
    /// `Truncated`, `Overflow`.
    #[inline]
    pub fn delta(&mut self, from: u64) -> Result<u64, DecodeError> {
        Ok(from.wrapping_add(unzigzag(self.varint()?) as u64))
    }

    /// Bytes behind their length, as [`put_bytes`] writes them.
    ///
    /// # Errors
    /// `Truncated`, `Overflow`.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let length = usize::try_from(self.varint()?)
            .map_err(|_| DecodeError::new(start as u64, DecodeErrorKind::Overflow))?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, as SPEC.md states it.
    fn by_definition(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value % 128) as u8 + 128);
            value /= 128;
        }
        bytes.push(value as u8);
        bytes
    }

    #[test]
    fn every_width_is_written_as_defined_and_comes_back_in_every_place() {
        for bits in 0..=64u32 {
            let limit = 1u128 << bits;
            for value in [limit - 1, limit / 2, limit / 3].map(|value| value as u64) {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert_eq!(bytes, by_definition(value));
                for behind in 0..9 {
                    let mut padded = bytes.clone();
                    padded.resize(bytes.len() + behind, 0xff);
                    let mut cursor = Cursor::new(&padded);
                    assert_eq!(cursor.varint(), Ok(value));
                    assert_eq!(cursor.position(), bytes.len());
                }
            }
        }
    }

    #[test]
    fn longer_forms_are_read_up_to_ten_bytes() {
        for length in 2..=10usize {
            let mut bytes = vec![0x80; length - 1];
            bytes[0] = 0x85;
            bytes.push(0);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!((cursor.varint(), cursor.position()), (Ok(5), length));
            bytes.extend_from_slice(&[0; 8]);
            assert_eq!(Cursor::new(&bytes).varint(), Ok(5));
        }
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(value: u64, from: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_delta(&mut bytes, from, value);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint(), Ok(value));
            prop_assert_eq!(cursor.delta(from), Ok(value));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn a_cut_integer_is_truncated(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            bytes.pop();
            let error = Cursor::new(&bytes).varint().unwrap_err();
            prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
        }
    }

    #[test]
    fn more_than_64_bits_overflow() {
        let eleven = [0xffu8; 11];
        assert_eq!(
            Cursor::new(&eleven).varint().unwrap_err().kind,
            DecodeErrorKind::Overflow
        );
        let mut too_large = [0xffu8; 10];
        too_large[9] = 2;
        assert_eq!(
            Cursor::new(&too_large).varint().unwrap_err().kind,
            DecodeErrorKind::Overflow
        );
    }
}
