//! Files that are no tapes: one message that names the file, what is wrong, and what to do.

use crate::harness::file;
use crate::support::generate::History;
use crate::support::write::{Layout, header, tape};
use heaptape::{OpenOptions, Recording};
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo, ChunkKind, FLAG_MUST_UNDERSTAND};
use std::path::Path;

fn message(path: &Path) -> String {
    let error = Recording::open(path, &OpenOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(!text.contains('\n'), "{text}");
    text
}

fn message_of(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    message(&path)
}

#[test]
fn each_kind_of_wrong_file_is_told() {
    assert!(message(Path::new("/no/such.tape")).contains("No such file"));
    assert!(message(Path::new("/proc")).contains("a folder"));
    assert!(message(Path::new("/dev/null")).contains("not a regular file"));
    assert!(message_of(b"").contains("empty"));
    assert!(message_of(b"hello world").contains("not a heaptape tape"));
    assert!(message_of(b"\x89HTAP").contains("cut before the header was whole"));
}

#[test]
fn newer_versions_and_features_are_named() {
    let mut newer = header(&Layout::default());
    newer.version = (7, 2);
    let mut bytes = Vec::new();
    newer.encode(&mut bytes);
    let text = message_of(&bytes);
    assert!(
        text.contains("version 7") && text.contains("newer heaptape"),
        "{text}"
    );

    let mut feature = header(&Layout::default());
    feature.must_understand = 1 << 40;
    bytes.clear();
    feature.encode(&mut bytes);
    assert!(message_of(&bytes).contains("newer heaptape"));
}

#[test]
fn a_damaged_header_is_told_with_its_place() {
    let (mut bytes, _) = tape(&History::default(), &Layout::default());
    bytes[50] ^= 1;
    let text = message_of(&bytes);
    assert!(
        text.contains("checksum") && text.contains("offset 0"),
        "{text}"
    );
}

#[test]
fn an_unknown_chunk_is_skipped_unless_it_must_be_understood() {
    let (bytes, chunks) = tape(&History::default(), &Layout::default());
    let offset = bytes.len();
    for flags in [0, FLAG_MUST_UNDERSTAND] {
        let mut longer = bytes.clone();
        let info = ChunkInfo::table(ChunkKind(900), 1, chunks.len() as u64);
        ChunkEncoder::new(1)
            .encode(&info, b"?", &mut longer)
            .unwrap();
        // The flags stand in byte 7 of a chunk, its checksum in the last four of 64.
        longer[offset + 7] = flags;
        let checksum = crc32c_of(&longer[offset..offset + 60]);
        longer[offset + 60..offset + 64].copy_from_slice(&checksum.to_le_bytes());
        let (_folder, path) = file(&longer);
        if flags == 0 {
            let recording = Recording::open(&path, &OpenOptions::default()).unwrap();
            assert_eq!(recording.tape().verify().damaged, 0);
        } else {
            let text = message(&path);
            assert!(
                text.contains("kind 900") && text.contains("newer"),
                "{text}"
            );
            assert!(text.contains(&format!("offset {offset}")), "{text}");
        }
    }
}

/// CRC32C bit by bit, from its definition.
fn crc32c_of(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for &byte in bytes {
        rest ^= u32::from(byte);
        for _ in 0..8 {
            rest = (rest >> 1) ^ if rest & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !rest
}
