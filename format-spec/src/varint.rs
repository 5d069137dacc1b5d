//! LEB128 integers, zigzag, and a cursor over bytes. SPEC.md §2.

use crate::error::{DecodeError, DecodeErrorKind};

/// Appends `value` as LEB128: 7 bits a byte, least significant first, at most 10 bytes.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
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

    /// A LEB128 integer.
    ///
    /// # Errors
    /// `Truncated`, or `Overflow` when it does not fit in 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.varint_rest(u64::from(first & 0x7f))
    }

    fn varint_rest(&mut self, mut value: u64) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut shift = 7u32;
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(DecodeError::new(start as u64, DecodeErrorKind::Overflow));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(DecodeError::new(start as u64, DecodeErrorKind::Overflow));
            }
        }
    }

    /// A LEB128 integer that must fit in 32 bits.
    ///
    /// # Errors
    /// `Truncated`, `Overflow`.
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
