//! The pickle of a Python object, protocol 4 (Python 3.4 and later), written as it is made.
//!
//! In: what a program for Python's unpickling machine is to do. Out: its bytes. The machine has a
//! stack, from which objects are put together, and a memo, in which they keep their numbers: what
//! is needed often is written once. Frames of the protocol are optional, and there are none.

use std::io::{self, Write};

const PROTO: u8 = 0x80;
const VERSION: u8 = 4;
const STOP: u8 = b'.';
const MARK: u8 = b'(';
const DUP: u8 = b'2';
const BININT: u8 = b'J';
const BININT1: u8 = b'K';
const BININT2: u8 = b'M';
const LONG1: u8 = 0x8a;
const SHORT_BINUNICODE: u8 = 0x8c;
const BINUNICODE: u8 = b'X';
const EMPTY_DICT: u8 = b'}';
const SETITEM: u8 = b's';
const EMPTY_LIST: u8 = b']';
const APPENDS: u8 = b'e';
const EMPTY_TUPLE: u8 = b')';
const TUPLE1: u8 = 0x85;
const TUPLE2: u8 = 0x86;
const TUPLE3: u8 = 0x87;
const TUPLE: u8 = b't';
const MEMOIZE: u8 = 0x94;
const BINGET: u8 = b'h';
const LONG_BINGET: u8 = b'j';
const STACK_GLOBAL: u8 = 0x93;
const NEWOBJ: u8 = 0x81;
const BUILD: u8 = b'b';

/// True when a file that begins with `start` may be a pickle of protocol 2 or later.
pub(super) fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [PROTO, 2..=5, ..] | [PROTO] | [])
}

/// The number of an object in the memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memo(u32);

/// A pickle that is being written. Every method writes what it says; putting the objects together
/// in the right order is the caller's.
#[derive(Debug)]
pub(super) struct Pickle<W> {
    out: W,
    memos: u32,
}

impl<W: Write> Pickle<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[PROTO, VERSION])?;
        Ok(Self { out, memos: 0 })
    }

    /// The object on the stack is the pickle's.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.code(STOP)?;
        self.out.flush()
    }

    fn code(&mut self, code: u8) -> io::Result<()> {
        self.out.write_all(&[code])
    }

    fn code_with(&mut self, code: u8, bytes: &[u8]) -> io::Result<()> {
        self.code(code)?;
        self.out.write_all(bytes)
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        match (u8::try_from(text.len()), u32::try_from(text.len())) {
            (Ok(length), _) => self.code_with(SHORT_BINUNICODE, &[length])?,
            (_, Ok(length)) => self.code_with(BINUNICODE, &length.to_le_bytes())?,
            _ => return Err(io::Error::other("a text of more than 4 GiB")),
        }
        self.out.write_all(text.as_bytes())
    }

    pub(super) fn number(&mut self, number: u64) -> io::Result<()> {
        if let Ok(byte) = u8::try_from(number) {
            return self.code_with(BININT1, &[byte]);
        }
        if let Ok(short) = u16::try_from(number) {
            return self.code_with(BININT2, &short.to_le_bytes());
        }
        if let Ok(int) = i32::try_from(number) {
            return self.code_with(BININT, &int.to_le_bytes());
        }
        // As many bytes as it needs, the last one with its sign.
        let bytes = i128::from(number).to_le_bytes();
        let bits = u64::BITS - number.leading_zeros() + 1;
        let length = bits.div_ceil(8) as u8;
        self.code_with(LONG1, &[length])?;
        let bytes = bytes.get(..usize::from(length)).unwrap_or(&bytes);
        self.out.write_all(bytes)
    }

    /// An object of a class, without its constructor being called. [`Pickle::end_object`] follows
    /// its attributes.
    pub(super) fn begin_object(&mut self, module: &str, class: &str) -> io::Result<()> {
        self.text(module)?;
        self.text(class)?;
        for code in [STACK_GLOBAL, EMPTY_TUPLE, NEWOBJ, EMPTY_DICT] {
            self.code(code)?;
        }
        Ok(())
    }

    /// The text and the object on the stack are an attribute.
    pub(super) fn attribute(&mut self) -> io::Result<()> {
        self.code(SETITEM)
    }

    pub(super) fn end_object(&mut self) -> io::Result<()> {
        self.code(BUILD)
    }

    pub(super) fn list(&mut self) -> io::Result<()> {
        self.code(EMPTY_LIST)
    }

    /// What comes until [`Pickle::end_items`] or [`Pickle::end_tuple`] belongs together.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        self.code(MARK)
    }

    /// The list below the mark has what stands above it.
    pub(super) fn end_items(&mut self) -> io::Result<()> {
        self.code(APPENDS)
    }

    /// What stands above the mark is a tuple.
    pub(super) fn end_tuple(&mut self) -> io::Result<()> {
        self.code(TUPLE)
    }

    /// The last one, two or three objects are a tuple: no mark is needed.
    pub(super) fn tuple1(&mut self) -> io::Result<()> {
        self.code(TUPLE1)
    }

    pub(super) fn tuple2(&mut self) -> io::Result<()> {
        self.code(TUPLE2)
    }

    pub(super) fn tuple3(&mut self) -> io::Result<()> {
        self.code(TUPLE3)
    }

    /// The last object, `more` times again.
    pub(super) fn repeat(&mut self, more: u64) -> io::Result<()> {
        (0..more).try_for_each(|_| self.code(DUP))
    }

    /// Gives the last object a number.
    pub(super) fn memoize(&mut self) -> io::Result<Memo> {
        let memo = Memo(self.memos);
        let Some(next) = self.memos.checked_add(1) else {
            return Err(io::Error::other("more than 2^32 different objects"));
        };
        self.memos = next;
        self.code(MEMOIZE)?;
        Ok(memo)
    }

    /// An object again.
    pub(super) fn again(&mut self, memo: Memo) -> io::Result<()> {
        match u8::try_from(memo.0) {
            Ok(byte) => self.code_with(BINGET, &[byte]),
            Err(_) => self.code_with(LONG_BINGET, &memo.0.to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Pickle<&mut Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pickle = Pickle::new(&mut bytes).unwrap();
        write(&mut pickle).unwrap();
        pickle.finish().unwrap();
        bytes
    }

    #[test]
    fn numbers_take_as_few_bytes_as_they_can() {
        // What Python's pickle.dumps(number, 4) writes.
        let cases: [(u64, &[u8]); 9] = [
            (0, b"\x80\x04K\x00."),
            (255, b"\x80\x04K\xff."),
            (256, b"\x80\x04M\x00\x01."),
            (65_536, b"\x80\x04J\x00\x00\x01\x00."),
            (0x7fff_ffff, b"\x80\x04J\xff\xff\xff\x7f."),
            (0x8000_0000, b"\x80\x04\x8a\x05\x00\x00\x00\x80\x00."),
            (0x7f_ffff_ffff, b"\x80\x04\x8a\x05\xff\xff\xff\xff\x7f."),
            (
                0x7fff_ffff_ffff_ffff,
                b"\x80\x04\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.",
            ),
            (
                u64::MAX,
                b"\x80\x04\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.",
            ),
        ];
        for (number, bytes) in cases {
            assert_eq!(written(|pickle| pickle.number(number)), bytes, "{number}");
        }
    }

    #[test]
    fn texts_have_their_length_in_bytes() {
        assert_eq!(
            written(|pickle| pickle.text("äb")),
            b"\x80\x04\x8c\x03\xc3\xa4b."
        );
        let long = written(|pickle| pickle.text(&"x".repeat(256)));
        assert_eq!(long.get(2..8), Some(&b"X\x00\x01\x00\x00x"[..]));
    }

    #[test]
    fn what_is_in_the_memo_is_not_written_again() {
        let bytes = written(|pickle| {
            let mut last = None;
            for number in 0..300 {
                pickle.number(number)?;
                last = Some(pickle.memoize()?);
            }
            pickle.again(Memo(7))?;
            last.map_or(Ok(()), |memo| pickle.again(memo))
        });
        assert!(bytes.ends_with(b"h\x07j\x2b\x01\x00\x00."), "{bytes:?}");
    }

    #[test]
    fn pickles_are_known_by_their_start() {
        for start in [&b""[..], b"\x80", b"\x80\x04", b"\x80\x05\x95"] {
            assert!(is_pickle(start), "{start:?}");
        }
        for start in [&b"\x7fELF"[..], b"\x80\x01", b"\x89HTAPE\r\n", b"import os"] {
            assert!(!is_pickle(start), "{start:?}");
        }
    }
}
