//! Code objects of Python: from the parts that a ring has of them to records of a tape.
//!
//! In: blobs of one stream, of which each holds a part of a code object; a long one has several.
//! Out: whole code objects. A part that does not fit what came before is left out, and with it its
//! code object: frames of it have no name.

use crate::notes::Fields;
use heaptape_format::line_table::LINE_TABLE_BYTES_MAX;
use heaptape_format::symbols::cut;
use heaptape_format::tables::CodeObject;
use heaptape_format::text;

/// The most bytes of a code object; damaged records may state any number.
const WHOLE_BYTES_MAX: usize = 4 << 20;

/// The code object of which a stream has told a part.
#[derive(Debug, Default)]
pub(crate) struct CodeParts {
    /// Its number; 0: none has begun.
    number: u32,
    /// Bytes of the whole.
    whole: usize,
    /// What is there of it.
    bytes: Vec<u8>,
}

impl CodeParts {
    /// Takes the contents of a blob; the code object when it was its last part.
    pub(crate) fn take(&mut self, content: &[u8]) -> Option<CodeObject> {
        let mut so_far = std::mem::take(self);
        let mut fields = Fields(content);
        let number = fields.number::<4>()? as u32;
        let whole = fields.number::<4>()? as usize;
        let offset = fields.number::<4>()? as usize;
        let part = fields.0;
        if offset == 0 {
            so_far.bytes.clear();
            (so_far.number, so_far.whole) = (number, whole);
        }
        let fits = number != 0
            && (number, whole, offset) == (so_far.number, so_far.whole, so_far.bytes.len())
            && part.len() <= whole - offset.min(whole)
            && whole <= WHOLE_BYTES_MAX;
        if !fits {
            return None;
        }
        so_far.bytes.extend_from_slice(part);
        if so_far.bytes.len() == whole {
            return code_object(number, &so_far.bytes);
        }
        *self = so_far;
        None
    }
}

fn code_object(number: u32, whole: &[u8]) -> Option<CodeObject> {
    let mut fields = Fields(whole);
    let form = fields.number::<1>()? as u8;
    let first_line = fields.number::<4>()? as u32;
    let mut name = || {
        let bytes = fields.number::<4>()?;
        let bytes = fields.take(bytes as usize)?;
        Some(cut(&text::of_bytes(bytes)).into_owned())
    };
    let (file, name) = (name()?, name()?);
    let line_table = fields.0;
    let kept = line_table.len().min(LINE_TABLE_BYTES_MAX);
    Some(CodeObject {
        number,
        form,
        first_line,
        file,
        name,
        line_table: line_table.get(..kept)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaptape_format::symbols::SYMBOL_TEXT_MAX;

    fn whole(file: &[u8], name: &[u8], table: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        [
            &[2][..],
            &7u32.to_le_bytes(),
            &length(file),
            file,
            &length(name),
            name,
            table,
        ]
        .concat()
    }

    fn part(number: u32, whole: &[u8], from: usize, to: usize) -> Vec<u8> {
        let numbers = [number, whole.len() as u32, from as u32].map(u32::to_le_bytes);
        [numbers.as_flattened(), &whole[from..to]].concat()
    }

    #[test]
    fn parts_become_one_code_object() {
        let bytes = whole(b"/app/\xff.py", b"Shop.<locals>.order", &[2, 0, 4, 0x80]);
        let expected = CodeObject {
            number: 5,
            form: 2,
            first_line: 7,
            file: "/app/\\xff.py".into(),
            name: "Shop.<locals>.order".into(),
            line_table: vec![2, 0, 4, 0x80],
        };
        let mut parts = CodeParts::default();
        assert_eq!(
            parts.take(&part(5, &bytes, 0, bytes.len())),
            Some(expected.clone())
        );
        for at in [1, 9, bytes.len() - 1] {
            assert_eq!(parts.take(&part(5, &bytes, 0, at)), None);
            assert_eq!(
                parts.take(&part(5, &bytes, at, bytes.len())),
                Some(expected.clone())
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let bytes = whole(b"/a.py", b"f", &[2, 0]);
        let end = bytes.len();
        let mut parts = CodeParts::default();
        let last = part(5, &bytes, 9, end);
        let mut longer = bytes.clone();
        longer.push(0);
        for before in [
            vec![],
            part(6, &bytes, 0, 9),
            part(5, &bytes, 0, 8),
            part(5, &bytes, 0, 10),
            part(5, &longer, 0, 9),
            part(5, &bytes, 8, 9),
        ] {
            assert_eq!(parts.take(&before), None);
            assert_eq!(parts.take(&last), None, "{before:?}");
            assert_eq!(parts.take(&last), None);
        }
        // A part that does not fit ends what came before.
        for between in [
            part(6, &bytes, 9, end),
            part(5, &longer, 9, end + 1),
            vec![1, 2],
        ] {
            assert_eq!(parts.take(&part(5, &bytes, 0, 9)), None);
            assert_eq!(parts.take(&between), None);
            assert_eq!(parts.take(&last), None, "{between:?}");
        }
        // A new beginning takes the place of the old one.
        assert_eq!(parts.take(&part(6, &bytes, 0, 9)), None);
        assert_eq!(parts.take(&part(5, &bytes, 0, 9)), None);
        assert!(parts.take(&last).is_some());
        assert_eq!(parts.take(&part(0, &bytes, 0, end)), None, "no number");
        for cut in 0..5 {
            assert_eq!(parts.take(&part(5, &bytes[..cut], 0, cut)), None);
        }
        let huge = vec![0; WHOLE_BYTES_MAX + 1];
        assert_eq!(parts.take(&part(5, &huge, 0, 9)), None);
        assert!(parts.bytes.is_empty(), "nothing waits for the rest");
    }

    #[test]
    fn long_names_and_tables_are_cut() {
        let bytes = whole(
            &[b'x'; 40_000],
            &[0xff; 20_000],
            &vec![1; LINE_TABLE_BYTES_MAX + 9],
        );
        let code = CodeParts::default().take(&part(1, &bytes, 0, bytes.len()));
        let code = code.unwrap();
        assert!(code.file.len() <= SYMBOL_TEXT_MAX && code.file.starts_with("xxx"));
        assert!(code.name.len() <= SYMBOL_TEXT_MAX && code.name.starts_with("\\xff\\xff"));
        assert_eq!(code.line_table.len(), LINE_TABLE_BYTES_MAX);
    }
}
