//! Records of table chunks: length-prefixed sequences of fields. SPEC.md §8.1.
//!
//! In: records, or a payload. Out: the other. Decoding takes at most 24 bytes for each byte of the
//! payload, whatever the counts in it say.

use crate::chunk::ChunkKind;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_varint};
use crate::{EVENTS_PER_CHUNK_MAX, TABLE_BYTES_MAX};

/// One kind of record in table chunks.
pub trait Record: Sized {
    /// The kind of chunk that holds such records.
    const KIND: ChunkKind;
    /// Names and forms of the fields, in their order, as SPEC.md §8 lists them.
    const FIELDS: &'static [(&'static str, &'static str)];
    /// Appends the record's fields.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads the fields back.
    ///
    /// # Errors
    /// When the bytes are not such a record.
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError>;
}

/// Appends `record` behind its length: one record of a payload. Allocates only to grow `out`.
pub fn put_record<R: Record>(record: &R, out: &mut Vec<u8>) {
    let start = out.len();
    record.encode(out);
    let end = out.len();
    put_varint(out, (end - start) as u64);
    let prefix = out.len() - end;
    // The length stands behind the fields: bring it to the front.
    if let Some(record) = out.get_mut(start..) {
        record.rotate_right(prefix);
    }
}

/// The most bytes of a payload that [`put_records`] fills before it begins another.
const PART_BYTES: usize = 1 << 20;

/// Encodes any number of records as payloads that keep within the limits of chunks, and gives
/// each to `emit` with its count. No record, no payload.
///
/// # Errors
/// The first error of `emit`.
pub fn put_records<'r, R: Record + 'r, E>(
    records: impl IntoIterator<Item = &'r R>,
    mut emit: impl FnMut(u32, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut payload, mut count) = (Vec::new(), 0);
    for record in records {
        put_record(record, &mut payload);
        count += 1;
        if payload.len() >= PART_BYTES || count >= EVENTS_PER_CHUNK_MAX {
            emit(count, &payload)?;
            payload.clear();
            count = 0;
        }
    }
    if count > 0 {
        emit(count, &payload)
    } else {
        Ok(())
    }
}

/// Reads the records of a payload.
///
/// # Errors
/// When the payload is not a sequence of `count` such records.
pub fn records<R: Record>(payload: &[u8], count: u32) -> Result<Vec<R>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    if payload.len() > TABLE_BYTES_MAX as usize {
        return Err(cursor.error(DecodeErrorKind::Limit("payload length")));
    }
    let mut records = Vec::with_capacity(whole_records(cursor, count, R::FIELDS.len()));
    for _ in 0..count {
        let fields = cursor.bytes()?;
        let start = (cursor.position() - fields.len()) as u64;
        let record = R::decode(&mut Cursor::new(fields)).map_err(|error| error.at(start))?;
        records.push(record);
    }
    if !cursor.is_empty() {
        return Err(cursor.error(DecodeErrorKind::Invalid("length of records")));
    }
    Ok(records)
}

/// How many of `count` records are there and have a byte for each field: `count` may be anything,
/// and memory must not be taken for records whose bytes belong to another.
fn whole_records(mut cursor: Cursor<'_>, count: u32, fields: usize) -> usize {
    let records = (0..count).map_while(|_| cursor.bytes().ok());
    records.take_while(|record| record.len() >= fields).count()
}

pub(crate) fn text(cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    let bytes = cursor.bytes()?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(cursor.error(DecodeErrorKind::Utf8)),
    }
}

/// Declares a record: its struct, and both directions of its fields.
macro_rules! record {
    (
        $(#[$docs:meta])* $name:ident in $kind:ident {
            $($(#[$field_docs:meta])* $field:ident: $form:ident,)*
        }
    ) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$field_docs])* pub $field: record!(@type $form),)*
        }

        impl $crate::record::Record for $name {
            const KIND: $crate::ChunkKind = $crate::ChunkKind::$kind;
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), stringify!($form))),*];

            fn encode(&self, out: &mut Vec<u8>) {
                $(record!(@put $form, out, self.$field);)*
            }

            fn decode(
                cursor: &mut $crate::varint::Cursor<'_>,
            ) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $($field: record!(@take $form, cursor),)* })
            }
        }
    };
    (@type u8) => { u8 };
    (@type u16) => { u16 };
    (@type u32) => { u32 };
    (@type u64) => { u64 };
    (@type text) => { String };
    (@type bytes) => { Vec<u8> };
    (@type texts) => { Vec<String> };
    (@put text, $out:ident, $value:expr) => { $crate::varint::put_bytes($out, $value.as_bytes()) };
    (@put bytes, $out:ident, $value:expr) => { $crate::varint::put_bytes($out, &$value) };
    (@put texts, $out:ident, $value:expr) => {{
        $crate::varint::put_varint($out, $value.len() as u64);
        for text in &$value {
            $crate::varint::put_bytes($out, text.as_bytes());
        }
    }};
    (@put $integer:ident, $out:ident, $value:expr) => {
        $crate::varint::put_varint($out, u64::from($value))
    };
    (@take u64, $cursor:ident) => { $cursor.varint()? };
    (@take text, $cursor:ident) => { $crate::record::text($cursor)? };
    (@take bytes, $cursor:ident) => { $cursor.bytes()?.to_vec() };
    (@take texts, $cursor:ident) => {{
        let count = $cursor.varint()?;
        let possible = $cursor.remaining() as u64; // a text takes a byte at least
        let mut texts = Vec::with_capacity(count.min(possible) as usize);
        for _ in 0..count {
            texts.push($crate::record::text($cursor)?);
        }
        texts
    }};
    (@take $integer:ident, $cursor:ident) => {
        $integer::try_from($cursor.varint()?)
            .map_err(|_| $cursor.error($crate::DecodeErrorKind::Limit(stringify!($integer))))?
    };
}

pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{End, Lost, Mark, Module, Process};
    use crate::varint::put_bytes;

    fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        let mut payload = Vec::new();
        put_record(record, &mut payload);
        put_record(record, &mut payload);
        let found = records::<R>(&payload, 2).unwrap();
        assert_eq!(&found[0], record);
        assert_eq!(&found[1], record);
        for length in 0..payload.len() {
            assert!(
                records::<R>(&payload[..length], 2).is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        check(&Module {
            index: 3,
            load_bias: 0x5555_0000_0000,
            start: 1,
            end: 2,
            stamp: 9,
            build_id: vec![1, 2, 3],
            path: "/usr/lib/libc.so.6".into(),
        });
        check(&Process {
            command: vec!["a".into(), "b c".into()],
            ..Process::default()
        });
        check(&Lost {
            stream: u32::MAX,
            count: 1 << 40,
            ..Lost::default()
        });
        check(&End {
            how: 2,
            code: 9,
            message: "disk full".into(),
            ..End::default()
        });
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let mut fields = Vec::new();
        let mark = Mark {
            stamp: 5,
            stream: 1,
            name: "half".into(),
        };
        mark.encode(&mut fields);
        fields.extend_from_slice(b"more");
        let mut payload = Vec::new();
        put_bytes(&mut payload, &fields);
        assert_eq!(records::<Mark>(&payload, 1), Ok(vec![mark]));
    }
    #[test]
    fn the_length_stands_before_records_of_every_length() {
        for length in [0, 1, 100, 120, 127, 128, 300, 20_000] {
            let mark = Mark {
                name: "m".repeat(length),
                ..Mark::default()
            };
            let (mut fields, mut expected) = (Vec::new(), b"front".to_vec());
            mark.encode(&mut fields);
            put_bytes(&mut expected, &fields);
            let mut payload = b"front".to_vec();
            put_record(&mark, &mut payload);
            assert_eq!(payload, expected);
        }
    }

    #[test]
    fn many_records_become_payloads_within_the_limits() {
        let marks: Vec<Mark> = (0..20_000u64)
            .map(|stamp| Mark {
                stamp,
                stream: 1,
                name: "m".repeat(200),
            })
            .collect();
        let (mut found, mut payloads) = (Vec::new(), 0);
        let done: Result<(), DecodeError> = put_records(&marks, |count, payload| {
            assert!(payload.len() < TABLE_BYTES_MAX as usize && count > 0);
            found.extend(records::<Mark>(payload, count)?);
            payloads += 1;
            Ok(())
        });
        assert_eq!((done, payloads), (Ok(()), 4));
        assert_eq!(found, marks);
        let none: [Mark; 0] = [];
        assert_eq!(put_records(&none, |_, _| Err(())), Ok(()));
        assert_eq!(put_records(&marks, |_, _| Err("stop")), Err("stop"));
    }

    #[test]
    fn a_hostile_count_allocates_no_more_than_the_payload_justifies() {
        for count in [3, 1 << 20, u32::MAX] {
            let error = records::<Process>(&[0; 64], count).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Truncated);
        }
        let mut fields = vec![0; 20];
        fields[7] = 0xff; // the command line's count of texts begins here
        fields[8] = 0x7f;
        let mut payload = Vec::new();
        put_bytes(&mut payload, &fields);
        let error = records::<Process>(&payload, 1).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Truncated);
        assert!(
            records::<Mark>(&[0; 3], 0).is_err(),
            "bytes behind the last record"
        );
    }
}
