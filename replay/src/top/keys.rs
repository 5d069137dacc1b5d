//! Bytes of a terminal, as keys.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter, a digit, a sign, a space.
    Letter(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// Ctrl and this letter.
    Ctrl(char),
}

const ESCAPE: u8 = 0x1b;

/// Bytes that came, not all of which are keys yet.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    /// Takes `bytes`; the keys that they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.bytes.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some((key, length)) = first(&self.bytes) {
            self.bytes.drain(..length.min(self.bytes.len()));
            keys.extend(key);
        }
        keys
    }

    /// Nothing followed for a moment: what began an escape sequence was the key Escape.
    pub fn settle(&mut self) -> Option<Key> {
        let is_escape = self.bytes.first() == Some(&ESCAPE);
        self.bytes.clear();
        is_escape.then_some(Key::Escape)
    }

    /// True when something waits for more.
    #[must_use]
    pub fn are_begun(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// The first key and how many bytes it takes; no key: bytes that mean nothing here. None: more must
/// come.
fn first(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let (&byte, rest) = bytes.split_first()?;
    match byte {
        ESCAPE => sequence(rest).map(|(key, length)| (key, length + 1)),
        b'\r' | b'\n' => Some((Some(Key::Enter), 1)),
        8 | 0x7f => Some((Some(Key::Backspace), 1)),
        1..0x1b => Some((Some(Key::Ctrl(char::from(byte - 1 + b'a'))), 1)),
        0 | 0x1c..0x20 => Some((None, 1)),
        _ => letter(bytes),
    }
}

fn letter(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let length = match bytes.first()? {
        0..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Some((None, 1)),
    };
    let text = bytes.get(..length)?;
    let letter = std::str::from_utf8(text).ok();
    match letter.and_then(|text| text.chars().next()) {
        Some(letter) => Some((Some(Key::Letter(letter)), length)),
        None => Some((None, 1)),
    }
}

/// What stands behind an escape.
fn sequence(rest: &[u8]) -> Option<(Option<Key>, usize)> {
    match rest.first()? {
        b'O' => Some((named(*rest.get(1)?), 2)),
        b'[' => {
            let is_last = |byte: &u8| (0x40..0x7f).contains(byte);
            let body = rest.get(1..)?;
            let length = body.iter().position(is_last)?;
            let last = *body.get(length)?;
            let key = match (last, body.get(..length)?) {
                (b'~', b"1" | b"7") => Some(Key::Home),
                (b'~', b"4" | b"8") => Some(Key::End),
                (b'~', b"5") => Some(Key::PageUp),
                (b'~', b"6") => Some(Key::PageDown),
                (b'~', _) => None,
                _ => named(last),
            };
            Some((key, length + 2))
        }
        _ => Some((Some(Key::Escape), 0)),
    }
}

fn named(last: u8) -> Option<Key> {
    match last {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_terminals_are_known() {
        let keys = |bytes: &[u8]| Keys::default().take(bytes);
        assert_eq!(
            keys(b"q\x03\r\x7f g"),
            [
                Key::Letter('q'),
                Key::Ctrl('c'),
                Key::Enter,
                Key::Backspace,
                Key::Letter(' '),
                Key::Letter('g'),
            ]
        );
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~"),
            [
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Home,
                Key::End,
            ]
        );
        assert_eq!(keys(b"\x1b[1;5C\x1b[200~x"), [Key::Letter('x')]);
        assert_eq!(keys("é\u{4e2d}".as_bytes()).len(), 2);
        assert_eq!(keys(b"\xff\x80a"), [Key::Letter('a')]);
    }

    #[test]
    fn what_comes_in_pieces_is_put_together() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"\x1b"), []);
        assert!(keys.are_begun());
        assert_eq!(keys.take(b"[5"), []);
        assert_eq!(keys.take(b"~"), [Key::PageUp]);
        assert_eq!(keys.take(&[0xc3]), []);
        assert_eq!(keys.take(&[0xa9]), [Key::Letter('é')]);
        assert_eq!(keys.take(b"\x1b"), []);
        assert_eq!(keys.settle(), Some(Key::Escape));
        assert!(!keys.are_begun());
        assert_eq!(keys.take(b"\x1bq"), [Key::Escape, Key::Letter('q')]);
    }
}
