//! Functions, files and lines of native frames, by module and offset. SPEC.md §9.
//!
//! A symbol chunk is self-contained: its strings stand in front, each once. In: symbols, or a
//! payload. Out: the other.

use crate::TABLE_BYTES_MAX;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_bytes, put_delta, put_varint};
use std::borrow::Cow;
use std::collections::HashMap;

/// One source-level frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SourceFrame {
    /// Demangled name, empty when unknown. The mangled one where the file is unknown and only that
    /// name tells whether the function belongs to a standard library.
    pub function: String,
    /// Source file, empty when unknown.
    pub file: String,
    /// Line from 1, 0 when unknown.
    pub line: u32,
    /// True when the function was inlined into the next frame of the list.
    pub inlined: bool,
}

/// What one native frame stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Number of the module in the tape.
    pub module: u32,
    /// Offset as in [`crate::tables::Frame::Native`].
    pub offset: u64,
    /// True when the offset is an exact program counter (as in the frame).
    pub exact: bool,
    /// Most recent first: the inlined functions, then the function of the module. Empty: unknown.
    pub frames: Vec<SourceFrame>,
}

/// Longer names and paths are cut to this many bytes, and end with a hash of the whole.
pub const SYMBOL_TEXT_MAX: usize = 16 << 10;
/// The most bytes of text in the symbols of one chunk, each string counted at every use.
pub const SYMBOL_TEXTS_MAX: usize = 64 << 20;
/// Each symbol and each source frame takes three bytes of payload at least.
const SYMBOL_BYTES_MIN: usize = 3;
/// The most bytes that a part takes when no two strings of it are equal.
const PART_BYTES: usize = 6 << 20;

/// Cuts a table of any length into parts that keep within the limits of a chunk: one chunk a part,
/// `put_symbols(part)` its payload, the part's length its count.
pub fn parts(mut symbols: &[Symbol]) -> impl Iterator<Item = &[Symbol]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = symbols.iter().take_while(|symbol| {
            bytes += largest_bytes(symbol);
            bytes <= PART_BYTES
        });
        let length = fitting.count().max(1).min(symbols.len());
        let (part, rest) = symbols.split_at(length);
        symbols = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// The most bytes of payload that a symbol can take.
fn largest_bytes(symbol: &Symbol) -> usize {
    let frames = symbol.frames.iter();
    let text = |text: &str| text.len().min(SYMBOL_TEXT_MAX) + 8;
    let bytes = frames.map(|frame| text(&frame.function) + text(&frame.file) + 8);
    bytes.sum::<usize>() + 24
}

/// Makes the payload of a symbol chunk. Texts longer than [`SYMBOL_TEXT_MAX`] are cut, and end with
/// what tells them from others. A table of unknown length goes through [`parts`] first.
#[must_use]
pub fn put_symbols(symbols: &[Symbol]) -> Vec<u8> {
    let mut strings: Vec<&str> = Vec::new();
    let mut places: HashMap<&str, u64> = HashMap::new();
    let mut body = Vec::new();
    let mut last_offset = 0;
    for symbol in symbols {
        let tag = u64::from(symbol.exact);
        put_varint(&mut body, (u64::from(symbol.module) << 1) | tag);
        put_delta(&mut body, last_offset, symbol.offset);
        last_offset = symbol.offset;
        put_varint(&mut body, symbol.frames.len() as u64);
        for frame in &symbol.frames {
            for string in [frame.function.as_str(), frame.file.as_str()] {
                let place = *places.entry(string).or_insert_with(|| {
                    strings.push(string);
                    strings.len() as u64 - 1
                });
                put_varint(&mut body, place);
            }
            let tag = u64::from(frame.inlined);
            put_varint(&mut body, (u64::from(frame.line) << 1) | tag);
        }
    }
    let mut payload = Vec::new();
    put_varint(&mut payload, strings.len() as u64);
    for string in strings {
        put_bytes(&mut payload, cut(string).as_bytes());
    }
    payload.extend_from_slice(&body);
    payload
}

/// `text`, when it is not too long; else its start, an ellipsis, `#` and the hash of all of it: two
/// long names that differ at their ends stay two.
#[must_use]
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= SYMBOL_TEXT_MAX {
        return Cow::Borrowed(text);
    }
    let end = format!("…#{:016x}", hash(text.as_bytes()));
    let limit = SYMBOL_TEXT_MAX - end.len();
    let mut starts = (0..=limit).rev().filter_map(|end| text.get(..end));
    Cow::Owned(starts.next().unwrap_or_default().to_owned() + &end)
}

/// FNV-1a with 64 bits: the same in every build, as it stands in tapes.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Reads the `count` symbols of a payload.
///
/// # Errors
/// When the payload is not such a table, or its texts are longer than [`SYMBOL_TEXTS_MAX`].
pub fn symbols(payload: &[u8], count: u32) -> Result<Vec<Symbol>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    if payload.len() > TABLE_BYTES_MAX as usize {
        return Err(cursor.error(DecodeErrorKind::Limit("payload length")));
    }
    let mut texts = Texts::read(&mut cursor)?;
    let mut symbols = Vec::new();
    let mut last_offset = 0;
    for _ in 0..count {
        if symbols.len() == symbols.capacity() {
            // Twice as many, but never more than the payload can still hold.
            let possible = cursor.remaining() / SYMBOL_BYTES_MIN + 1;
            symbols.reserve_exact(symbols.len().max(16).min(possible));
        }
        let tagged = cursor.varint()?;
        let module = u32::try_from(tagged >> 1)
            .map_err(|_| cursor.error(DecodeErrorKind::Limit("module number")))?;
        last_offset = cursor.delta(last_offset)?;
        let count = cursor.varint()?;
        let possible = (cursor.remaining() / SYMBOL_BYTES_MIN) as u64;
        let mut frames = Vec::with_capacity(count.min(possible) as usize);
        for _ in 0..count {
            frames.push(source_frame(&mut cursor, &mut texts)?);
        }
        symbols.push(Symbol {
            module,
            offset: last_offset,
            exact: tagged & 1 == 1,
            frames,
        });
    }
    if !cursor.is_empty() {
        return Err(cursor.error(DecodeErrorKind::Invalid("length of symbols")));
    }
    Ok(symbols)
}

/// The strings of a symbol chunk, and how many more bytes may be copied from them: a few bytes of
/// payload can name a long string again and again.
struct Texts<'a> {
    strings: Vec<&'a str>,
    bytes_left: usize,
}

impl<'a> Texts<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let count = cursor.varint()?;
        let possible = count.min(cursor.remaining() as u64);
        let mut strings = Vec::with_capacity(possible as usize);
        for _ in 0..count {
            let text = std::str::from_utf8(cursor.bytes()?);
            strings.push(text.map_err(|_| cursor.error(DecodeErrorKind::Utf8))?);
        }
        Ok(Self {
            strings,
            bytes_left: SYMBOL_TEXTS_MAX,
        })
    }

    fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
        let place = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
        let Some(text) = self.strings.get(place) else {
            return Err(cursor.error(DecodeErrorKind::Invalid("string number")));
        };
        match self.bytes_left.checked_sub(text.len()) {
            Some(left) => self.bytes_left = left,
            None => return Err(cursor.error(DecodeErrorKind::Limit("text of symbols"))),
        }
        Ok((*text).to_owned())
    }
}

fn source_frame(
    cursor: &mut Cursor<'_>,
    texts: &mut Texts<'_>,
) -> Result<SourceFrame, DecodeError> {
    let (function, file) = (texts.take(cursor)?, texts.take(cursor)?);
    let tagged = cursor.varint()?;
    let line = u32::try_from(tagged >> 1)
        .map_err(|_| cursor.error(DecodeErrorKind::Limit("line number")))?;
    Ok(SourceFrame {
        function,
        file,
        line,
        inlined: tagged & 1 == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back() {
        let frame = |function: &str, inlined| SourceFrame {
            function: function.into(),
            file: "a.c".into(),
            line: 4,
            inlined,
        };
        let table = vec![
            Symbol {
                module: 1,
                offset: 77,
                exact: false,
                frames: vec![frame("inner", true), frame("outer", false)],
            },
            Symbol {
                module: 2,
                offset: 5,
                exact: true,
                frames: vec![],
            },
        ];
        let payload = put_symbols(&table);
        assert_eq!(symbols(&payload, 2).unwrap(), table);
        for length in 0..payload.len() {
            assert!(symbols(&payload[..length], 2).is_err());
        }
    }
    fn symbol(offset: u64, function: String) -> Symbol {
        let frame = SourceFrame {
            function,
            ..SourceFrame::default()
        };
        Symbol {
            module: 1,
            offset,
            exact: false,
            frames: vec![frame],
        }
    }

    #[test]
    fn a_large_table_is_cut_into_parts_that_fit() {
        let table: Vec<Symbol> = (0..40_000)
            .map(|number| symbol(number, format!("{number:0>900}")))
            .collect();
        let mut found = Vec::new();
        let mut count = 0;
        for part in parts(&table) {
            let payload = put_symbols(part);
            assert!(payload.len() <= TABLE_BYTES_MAX as usize);
            assert!(payload.len() > PART_BYTES * 9 / 10 || found.len() + part.len() == table.len());
            found.extend(symbols(&payload, part.len() as u32).unwrap());
            count += 1;
        }
        assert_eq!(found, table);
        assert_eq!(count, 7, "6 MiB hold 6,636 symbols of 948 bytes");
        assert_eq!(parts(&[]).count(), 0);
    }

    #[test]
    fn a_string_that_is_named_very_often_is_refused() {
        let mut payload = Vec::new();
        put_varint(&mut payload, 1);
        put_bytes(&mut payload, &[b'x'; 1 << 20]);
        for _ in 0..1000 {
            payload.extend_from_slice(&[2, 0, 1, 0, 0, 0]);
        }
        let error = symbols(&payload, 1000).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Limit("text of symbols"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let table = [
            symbol(0, "ä".repeat(9000) + "end"),
            symbol(1, "x".repeat(20_000)),
        ];
        let found = symbols(&put_symbols(&table), 2).unwrap();
        let start = |text: &str, times| text.repeat(times) + "…#";
        assert!(found[0].frames[0].function.starts_with(&start("ä", 8182)));
        assert_eq!(found[0].frames[0].function.len(), 16384);
        assert!(found[1].frames[0].function.starts_with(&start("x", 16364)));
        assert_eq!(found[1].frames[0].function.len(), 16384);
        let odd = [symbol(0, "x".to_owned() + &"ä".repeat(9000))];
        let found = symbols(&put_symbols(&odd), 1).unwrap();
        assert_eq!(found[0].frames[0].function.len(), 16383);
    }

    #[test]
    fn long_names_stay_apart() {
        // The values of FNV-1a's authors.
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
        let name = |end: &str| "x".repeat(20_000) + end;
        let table = [
            symbol(0, name("a")),
            symbol(1, name("b")),
            symbol(2, name("a")),
            symbol(3, "x".repeat(16384)),
        ];
        let found = symbols(&put_symbols(&table), 4).unwrap();
        let of = |index: usize| &found[index].frames[0].function;
        assert_ne!(of(0), of(1));
        assert_eq!(of(0), of(2));
        assert_eq!(*of(3), "x".repeat(16384), "not too long");
        let hash = format!("#{:016x}", hash(name("a").as_bytes()));
        assert!(of(0).ends_with(&hash));
        assert_eq!(symbols(&put_symbols(&found), 4).unwrap(), found);
    }
}
