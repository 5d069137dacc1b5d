//! Reads numbers from unwind tables: bytes of a mapped section and a position go in, values come
//! out, or `None` where the bytes end. It never reads outside its slice and never panics: the
//! tables belong to the target and may be damaged.

/// Bytes mapped at a known address.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Address of the first byte, as the target sees it.
    pub address: usize,
}

impl<'a> Section<'a> {
    /// A reader that stands at `address`, when that lies inside.
    #[must_use]
    pub fn reader_at(&self, address: usize) -> Option<Reader<'a>> {
        let at = address.checked_sub(self.address)?;
        (at <= self.bytes.len()).then_some(Reader {
            bytes: self.bytes,
            at,
            address: self.address,
        })
    }
}

/// How a pointer is stored: the format in the low bits, what it is relative to in the high ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointerEncoding(pub u8);

impl PointerEncoding {
    /// A plain 8-byte address.
    pub const ABSOLUTE: Self = Self(0x00);
    /// No pointer is stored at all.
    pub const OMITTED: Self = Self(0xff);
    /// Four signed bytes, relative to the start of `.eh_frame_hdr`.
    pub const HEADER_SIGNED_4: Self = Self(0x3b);
    const INDIRECT: u8 = 0x80;
}

/// A position in a section; every method moves it past what it read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    address: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes` alone, as if they were mapped at zero.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            address: 0,
        }
    }

    /// Offset in the bytes of the section.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Address of the position in the target.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address.wrapping_add(self.at)
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The same reader, ending `count` bytes on.
    #[must_use]
    pub fn first(&self, count: usize) -> Option<Self> {
        let end = self.at.checked_add(count)?;
        Some(Self {
            bytes: self.bytes.get(..end)?,
            at: self.at,
            address: self.address,
        })
    }

    /// Moves by `count` bytes.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    /// Moves forward or back; the new position must lie inside.
    pub fn jump(&mut self, distance: isize) -> Option<()> {
        let at = self.at.checked_add_signed(distance)?;
        (at <= self.bytes.len()).then(|| self.at = at)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes with a sign.
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// A LEB128 number without sign; bits beyond the 64th are lost.
    pub fn uleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            if shift < u64::BITS {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    /// A LEB128 number with sign.
    pub fn sleb(&mut self) -> Option<i64> {
        let mut value = 0i64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            if shift < u64::BITS {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift < u64::BITS {
                    value |= -1i64 << shift;
                }
                return Some(value);
            }
        }
    }

    /// The bytes up to the next NUL, which is passed over.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == 0)?;
        let text = rest.get(..length)?;
        self.at += length + 1;
        Some(text)
    }

    /// A pointer. `header` is what header-relative pointers are relative to. An indirect pointer
    /// is not followed: nothing that unwinding needs is stored so.
    pub fn pointer(&mut self, encoding: PointerEncoding, header: usize) -> Option<usize> {
        let at = self.address();
        let value = match encoding.0 & 0x0f {
            0x00 | 0x04 | 0x0c => self.u64()?,
            0x01 => self.uleb()?,
            0x02 => u64::from(self.u16()?),
            0x03 => u64::from(self.u32()?),
            0x09 => self.sleb()? as u64,
            0x0a => i64::from(self.u16()?.cast_signed()) as u64,
            0x0b => i64::from(self.i32()?) as u64,
            _ => return None,
        } as usize;
        let base = match encoding.0 & 0x70 {
            0x00 => 0,
            0x10 => at,
            0x30 => header,
            _ => return None,
        };
        Some(base.wrapping_add(value))
    }

    /// Passes over a pointer, indirect or not.
    pub fn skip_pointer(&mut self, encoding: PointerEncoding) -> Option<()> {
        if encoding == PointerEncoding::OMITTED {
            return Some(());
        }
        let plain = PointerEncoding(encoding.0 & !PointerEncoding::INDIRECT & 0x0f);
        self.pointer(plain, 0).map(|_| ())
    }

    /// The plain size of a value in this encoding, read as the length of a range.
    pub fn range(&mut self, encoding: PointerEncoding) -> Option<usize> {
        self.pointer(PointerEncoding(encoding.0 & 0x0f), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leb_numbers() {
        assert_eq!(Reader::new(&[0xe5, 0x8e, 0x26]).uleb(), Some(624_485));
        assert_eq!(Reader::new(&[0xc0, 0xbb, 0x78]).sleb(), Some(-123_456));
        assert_eq!(Reader::new(&[0x7f]).sleb(), Some(-1));
        assert_eq!(Reader::new(&[0x80]).uleb(), None);
        let long = [0xff; 40];
        assert_eq!(Reader::new(&long).uleb(), None);
    }

    #[test]
    fn pointers_relative_to_themselves_and_to_the_header() {
        let bytes = [0, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff];
        let section = Section {
            bytes: &bytes,
            address: 0x1000,
        };
        let mut reader = section.reader_at(0x1004).expect("inside");
        assert_eq!(reader.pointer(PointerEncoding(0x1b), 0), Some(0x1000));
        let mut reader = section.reader_at(0x1004).expect("inside");
        assert_eq!(
            reader.pointer(PointerEncoding::HEADER_SIGNED_4, 0x2000),
            Some(0x1ffc)
        );
        assert!(section.reader_at(0x1009).is_none());
        assert!(section.reader_at(0xfff).is_none());
    }

    #[test]
    fn jumps_stay_inside() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.jump(2), Some(()));
        assert_eq!(reader.u8(), Some(3));
        assert_eq!(reader.jump(-4), None);
        assert_eq!(reader.jump(1), None);
        assert_eq!(reader.jump(-3), Some(()));
        assert_eq!(reader.u8(), Some(1));
    }
}
