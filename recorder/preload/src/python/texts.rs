//! Reads the interpreter's texts and bytes without asking it: a text comes out as UTF-8, bytes as
//! they are.

use super::layout::{BYTES_DATA, Layout, OBJECT_LENGTH, TEXT_STATE, load};

/// Longer texts and tables are cut.
const LENGTH_MAX: usize = 1 << 20;

/// A text of the interpreter's, in the form that it is stored in.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    data: usize,
    length: usize,
    /// Bytes of a character: 1, 2 or 4; 0: it is stored in a way that is not read.
    width: usize,
}

impl Text {
    /// The text at `object`; empty when there is none.
    ///
    /// # Safety
    /// 0, or a text of the interpreter with this layout, alive.
    #[must_use]
    pub unsafe fn at(object: usize, layout: &Layout) -> Self {
        if object == 0 {
            return Self {
                data: 0,
                length: 0,
                width: 0,
            };
        }
        // SAFETY: every text has the field.
        let length = unsafe { load(object + OBJECT_LENGTH) };
        // SAFETY: as before.
        let state = unsafe { load(object + TEXT_STATE) };
        let (kind, is_compact, is_ascii) = (state >> 2 & 7, state >> 5 & 1, state >> 6 & 1);
        let is_known = is_compact == 1 && matches!(kind, 1 | 2 | 4);
        let start = if is_ascii == 1 {
            layout.text_ascii
        } else {
            layout.text_other
        };
        Self {
            data: object + start,
            length: length.min(LENGTH_MAX),
            width: if is_known { kind } else { 0 },
        }
    }

    /// The stored bytes.
    ///
    /// # Safety
    /// The text is alive.
    #[must_use]
    pub unsafe fn stored(&self) -> &[u8] {
        if self.width == 0 {
            return &[];
        }
        let bytes = self.length * self.width;
        // SAFETY: so many characters of this width lie there, by the contract.
        unsafe { core::slice::from_raw_parts(self.data as *const u8, bytes) }
    }

    /// Bytes of a character as it is stored: the same bytes may be two texts.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes it as UTF-8 and returns how many bytes it takes; what finds no room is counted only.
    /// A byte that the interpreter could not decode (a lone surrogate from U+DC80 on) is that
    /// byte again.
    ///
    /// # Safety
    /// The text is alive.
    pub unsafe fn write(&self, out: &mut [u8]) -> usize {
        // SAFETY: as for this function.
        let stored = unsafe { self.stored() };
        let mut written = 0;
        for stored in stored.chunks_exact(self.width.max(1)) {
            let code = stored
                .iter()
                .rev()
                .fold(0u32, |code, &byte| code << 8 | u32::from(byte));
            let (bytes, length) = utf8_of(code);
            let character = bytes.get(..length).unwrap_or_default();
            let place = out.get_mut(written..written + character.len());
            for (to, from) in place.unwrap_or_default().iter_mut().zip(character) {
                *to = *from;
            }
            written += character.len();
        }
        written
    }
}

/// A character in UTF-8, and how many bytes it takes.
fn utf8_of(code: u32) -> ([u8; 4], usize) {
    let rest = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    match code {
        0xdc80..0xdd00 => ([code as u8, 0, 0, 0], 1),
        0..0x80 => ([code as u8, 0, 0, 0], 1),
        0x80..0x800 => ([0xc0 | (code >> 6) as u8, rest(0), 0, 0], 2),
        // A surrogate without the other half is no character: U+FFFD.
        0xd800..0xe000 | 0x11_0000.. => ([0xef, 0xbf, 0xbd, 0], 3),
        0x800..0x1_0000 => ([0xe0 | (code >> 12) as u8, rest(6), rest(0), 0], 3),
        _ => ([0xf0 | (code >> 18) as u8, rest(12), rest(6), rest(0)], 4),
    }
}

/// The bytes at `object`, an object of bytes; empty when there is none.
///
/// # Safety
/// 0, or such an object of the interpreter, alive for as long as the result is used.
#[must_use]
pub unsafe fn bytes_at<'a>(object: usize) -> &'a [u8] {
    if object == 0 {
        return &[];
    }
    // SAFETY: every such object has the field.
    let length = unsafe { load(object + OBJECT_LENGTH) };
    // SAFETY: so many bytes follow, by the contract.
    unsafe {
        core::slice::from_raw_parts((object + BYTES_DATA) as *const u8, length.min(LENGTH_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf8(width: usize, stored: &[u8]) -> Vec<u8> {
        let text = Text {
            data: stored.as_ptr() as usize,
            length: stored.len() / width,
            width,
        };
        // SAFETY: the bytes are alive.
        let length = unsafe { text.write(&mut []) };
        let mut out = vec![0; length];
        // SAFETY: as before.
        assert_eq!(unsafe { text.write(&mut out) }, length);
        out
    }

    #[test]
    fn texts_become_utf8() {
        assert_eq!(utf8(1, b"plain"), b"plain");
        assert_eq!(utf8(1, &[b'a', 0xe9]), "aé".as_bytes());
        let wide: Vec<u8> = "a→é".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf8(2, &wide), "a→é".as_bytes());
        let widest: Vec<u8> = "a😀"
            .chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect();
        assert_eq!(utf8(4, &widest), "a😀".as_bytes());
        // A byte of a file name that is no UTF-8, and a lone surrogate that is none.
        let escaped = [b'x', 0, 0xff, 0xdc, 0x00, 0xd8];
        assert_eq!(
            utf8(2, &escaped),
            [b"x\xff", "\u{fffd}".as_bytes()].concat()
        );
    }
}
