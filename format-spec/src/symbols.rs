//! Functions, files and lines of native frames, by module and offset. SPEC.md §8.
//!
//! A symbol chunk is self-contained: its strings stand in front, each once.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_bytes, put_varint};
use std::collections::HashMap;

/// One source-level frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SourceFrame {
    /// Demangled name, empty when unknown.
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

/// Makes the payload of a symbol chunk.
#[must_use]
pub fn put_symbols(symbols: &[Symbol]) -> Vec<u8> {
    let mut strings: Vec<&str> = Vec::new();
    let mut places: HashMap<&str, u64> = HashMap::new();
    let mut body = Vec::new();
    let mut last_offset = 0;
    for symbol in symbols {
        put_varint(
            &mut body,
            (u64::from(symbol.module) << 1) | u64::from(symbol.exact),
        );
        crate::varint::put_delta(&mut body, last_offset, symbol.offset);
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
            put_varint(
                &mut body,
                (u64::from(frame.line) << 1) | u64::from(frame.inlined),
            );
        }
    }
    let mut payload = Vec::new();
    put_varint(&mut payload, strings.len() as u64);
    for string in strings {
        put_bytes(&mut payload, string.as_bytes());
    }
    payload.extend_from_slice(&body);
    payload
}

/// Reads the `count` symbols of a payload.
///
/// # Errors
/// When the payload is not such a table.
pub fn symbols(payload: &[u8], count: u32) -> Result<Vec<Symbol>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let mut strings = Vec::new();
    for _ in 0..cursor.varint()? {
        let bytes = cursor.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| cursor.error(DecodeErrorKind::Utf8))?;
        strings.push(text);
    }
    let mut symbols = Vec::new();
    let mut last_offset = 0;
    for _ in 0..count {
        let tagged = cursor.varint()?;
        let module = u32::try_from(tagged >> 1)
            .map_err(|_| cursor.error(DecodeErrorKind::Limit("module number")))?;
        last_offset = cursor.delta(last_offset)?;
        let mut frames = Vec::new();
        for _ in 0..cursor.varint()? {
            frames.push(source_frame(&mut cursor, &strings)?);
        }
        symbols.push(Symbol {
            module,
            offset: last_offset,
            exact: tagged & 1 == 1,
            frames,
        });
    }
    Ok(symbols)
}

fn source_frame(cursor: &mut Cursor<'_>, strings: &[&str]) -> Result<SourceFrame, DecodeError> {
    let mut string = || {
        let place = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
        match strings.get(place) {
            Some(text) => Ok((*text).to_owned()),
            None => Err(cursor.error(DecodeErrorKind::Invalid("string number"))),
        }
    };
    let (function, file) = (string()?, string()?);
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
}
