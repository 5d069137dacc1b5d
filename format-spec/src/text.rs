//! Paths, names of files and arguments as texts, SPEC.md §2: they are bytes, and need not be UTF-8.

use std::fmt::Write;

/// What stands before the two digits of a byte.
const ESCAPE: &str = "\\x";

/// The text of `bytes`: each byte that is not part of a character becomes `\x` and two digits.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{ESCAPE}{byte:02x}");
        }
    }
    text
}

/// The bytes that `text` stands for when it was made from bytes that are not UTF-8; else its own.
/// Which of the two cannot be told by the text: `\xff` may be a name's own letters.
#[must_use]
pub fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(ESCAPE) {
        bytes.extend_from_slice(before.as_bytes());
        let byte = behind.get(..2).and_then(escaped);
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(ESCAPE.as_bytes()),
        }
        rest = match byte {
            Some(_) => behind.get(2..).unwrap_or_default(),
            None => behind,
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// The byte of two lower-case digits; bytes below 0x80 are characters and never escaped.
fn escaped(digits: &str) -> Option<u8> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (digits.bytes().all(is_digit) && byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_characters_are_escaped() {
        for (bytes, text) in [
            (&b"/usr/bin/ls"[..], "/usr/bin/ls"),
            (b"d\xff/a\xc3\xa9\xe2\x82", "d\\xff/a\u{e9}\\xe2\\x82"),
            (b"\xff\\x41\\xFF\\x", "\\xff\\x41\\xFF\\x"),
        ] {
            assert_eq!(of_bytes(bytes), text);
            assert_eq!(to_bytes(text), bytes, "{text}");
        }
        assert_eq!(to_bytes("\\xf\u{e9}"), "\\xf\u{e9}".as_bytes());
    }

    proptest::proptest! {
        #[test]
        fn bytes_without_a_backslash_come_back(bytes: Vec<u8>) {
            let bytes: Vec<u8> = bytes.into_iter().filter(|&byte| byte != b'\\').collect();
            proptest::prop_assert_eq!(to_bytes(&of_bytes(&bytes)), bytes);
        }
    }
}
