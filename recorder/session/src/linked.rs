//! Programs that are linked with the recorder: how they are told from others that are static.
//!
//! The recorder leaves an ELF note in the image, with the version of the session that it speaks.
//! A file's notes go in, that version comes out. Launcher and recorder both look at an image before
//! it starts and must judge alike. Notes may be damaged: whatever is out of bounds is not there.

use crate::reasons;

/// Owner of the note, with its final zero.
pub const OWNER: &[u8; 9] = b"heaptape\0";
/// The note's type.
pub const KIND: u32 = 1;
/// Type of the program headers that lead to notes.
pub const PT_NOTE: u32 = 4;

/// Notes of one part of a file that are looked at: linkers write a handful.
const NOTES_MAX: u32 = 64;
/// Lengths of owner and value, and type.
const HEAD_BYTES: usize = 12;
/// Head, owner and value of our note.
const BYTES: usize = HEAD_BYTES + OWNER.len().next_multiple_of(4) + 4;

/// The note for recorders of this version, as it stands in an image.
#[must_use]
pub const fn note() -> [u32; BYTES / 4] {
    let [a, b, c, d, e, f, g, h, i] = *OWNER;
    [
        OWNER.len() as u32,
        4,
        KIND,
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, 0, 0, 0]),
        crate::SESSION_VERSION,
    ]
}

/// The version of the recorder in an image, by the notes in `bytes` bytes of its file. `read` fills
/// memory from an offset among them and tells how many bytes it wrote. `alignment` is that of the
/// program header. `None`: there is no recorder in it.
pub fn version_in(
    bytes: u64,
    alignment: u64,
    read: impl Fn(&mut [u8], u64) -> usize,
) -> Option<u32> {
    let padding = if alignment == 8 { 8 } else { 4 };
    let mut at = 0u64;
    for _ in 0..NOTES_MAX {
        let mut memory = [0; BYTES];
        let length = read(&mut memory, at);
        let note = memory.get(..length)?;
        let [owner_bytes, value_bytes, kind] = [word(note, 0)?, word(note, 4)?, word(note, 8)?];
        let owner_end = HEAD_BYTES as u64 + u64::from(owner_bytes);
        let value = owner_end.next_multiple_of(padding);
        let next = (value + u64::from(value_bytes)).next_multiple_of(padding);
        let owner = note.get(HEAD_BYTES..HEAD_BYTES + OWNER.len());
        let is_ours = kind == KIND && owner_bytes as usize == OWNER.len() && value_bytes >= 4;
        if is_ours && owner == Some(OWNER) && at + value + 4 <= bytes {
            return word(note, usize::try_from(value).ok()?);
        }
        at += next;
        if at >= bytes {
            return None;
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Why a static image cannot be recorded, by the recorder in it; `None`: it can.
#[must_use]
pub fn reason_against(version: Option<u32>) -> Option<&'static str> {
    match version {
        Some(crate::SESSION_VERSION) => None,
        Some(_) => Some(reasons::OTHER_RECORDER),
        None => Some(reasons::STATIC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note_of(owner: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [owner.len() as u32, value.len() as u32, kind] {
            bytes.extend(number.to_le_bytes());
        }
        for part in [owner, value] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn ours() -> Vec<u8> {
        note().into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn version(notes: &[u8]) -> Option<u32> {
        let read = |memory: &mut [u8], at: u64| {
            let rest = usize::try_from(at).ok().and_then(|at| notes.get(at..));
            let rest = rest.unwrap_or_default();
            let length = rest.len().min(memory.len());
            memory[..length].copy_from_slice(&rest[..length]);
            length
        };
        version_in(notes.len() as u64, 4, read)
    }

    #[test]
    fn the_note_is_found_among_others() {
        let expected = Some(crate::SESSION_VERSION);
        assert_eq!(
            ours(),
            note_of(OWNER, KIND, &crate::SESSION_VERSION.to_le_bytes())
        );
        assert_eq!(version(&ours()), expected);
        let build_id = note_of(b"GNU\0", 3, &[7; 20]);
        assert_eq!(version(&build_id), None);
        assert_eq!(version(&[build_id.clone(), ours()].concat()), expected);
        let odd = note_of(b"Go\0", 4, b"abc");
        assert_eq!(version(&[odd, build_id, ours()].concat()), expected);
        assert_eq!(version(&note_of(OWNER, KIND, &[9, 0, 0, 0])), Some(9));
    }

    #[test]
    fn what_only_looks_like_it_is_none() {
        let value = crate::SESSION_VERSION.to_le_bytes();
        assert_eq!(version(&note_of(OWNER, KIND + 1, &value)), None);
        assert_eq!(version(&note_of(b"heaptapf\0", KIND, &value)), None);
        assert_eq!(version(&note_of(b"heaptape", KIND, &value)), None);
        assert_eq!(version(&note_of(OWNER, KIND, &[])), None);
        for length in 0..ours().len() {
            assert_eq!(version(&ours()[..length]), None, "{length}");
        }
        // Lengths that lead out of the file, or nowhere.
        assert_eq!(version(&[0xff; 64]), None);
        assert_eq!(version(&[0; 4096]), None);
    }

    #[test]
    fn another_version_is_a_reason() {
        assert_eq!(reason_against(Some(crate::SESSION_VERSION)), None);
        assert_eq!(reason_against(None), Some(reasons::STATIC));
        let other = reason_against(Some(crate::SESSION_VERSION + 1));
        assert_eq!(other, Some(reasons::OTHER_RECORDER));
    }
}
