//! The damaged vectors: tapes with which something is wrong by accident. Writers' defects are in
//! [`crate::defects`].

use crate::build::*;
use heaptape_format::TapeHeader;
use heaptape_format::chunk::{CHUNK_HEADER_BYTES, ChunkKind};
use heaptape_format::tables::Mark;

/// Every damaged vector with its name.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = headers();
    all.extend(accidents());
    all.extend(larger_accidents());
    all.extend(crate::defects::vectors());
    all
}

/// A tape of six chunks of marks and events, and where each begins.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut tape = Tape::new();
    let mut starts = Vec::new();
    for number in 0..6u64 {
        starts.push(tape.end());
        if number % 2 == 0 {
            tape.table(&[Mark {
                stamp: number,
                stream: 0,
                name: format!("mark {number}"),
            }]);
        } else {
            let address = 0x1000 * number;
            tape.events(
                0,
                number - 1,
                &[alloc(number, address, 8, 0), free(9, address)],
            );
        }
    }
    starts.push(tape.end());
    (tape.bytes, starts)
}

/// The sample after `change`, which gets its bytes and the starts of its chunks.
fn changed(change: impl FnOnce(&mut Vec<u8>, &[usize])) -> Vec<u8> {
    let (mut bytes, starts) = sample();
    change(&mut bytes, &starts);
    bytes
}

/// Faults that refuse the whole tape.
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let with = |change: &dyn Fn(&mut TapeHeader)| {
        let mut header = header();
        change(&mut header);
        Tape::with_header(&header).bytes
    };
    // Bytes that `TapeHeader` cannot state, with a good checksum.
    let patched = |offset: usize, value: u8| {
        changed(|bytes, _| {
            bytes[offset] = value;
            let checksum = crc32c::crc32c(&bytes[..188]);
            bytes[188..192].copy_from_slice(&checksum.to_le_bytes());
        })
    };
    vec![
        ("nothing", Vec::new()),
        ("not_a_tape", b"#!/bin/sh\necho this is no tape\n".to_vec()),
        ("magic_flip", changed(|bytes, _| bytes[3] ^= 0x10)),
        ("magic_only", changed(|bytes, _| bytes.truncate(8))),
        ("magic_cut", changed(|bytes, _| bytes.truncate(5))),
        ("header_cut", changed(|bytes, _| bytes.truncate(191))),
        ("header_flip", changed(|bytes, _| bytes[85] ^= 0x01)),
        ("header_version_flip", changed(|bytes, _| bytes[8] ^= 0x02)),
        ("newer_version", with(&|header| header.version = (2, 1))),
        ("version_zero", with(&|header| header.version = (0, 9))),
        (
            "unknown_feature",
            with(&|header| header.must_understand = 1 << 40),
        ),
        ("ticks_zero", with(&|header| header.ticks_per_second = 0)),
        ("stamp_shift_33", with(&|header| header.stamp_shift = 33)),
        ("header_length_odd", patched(12, 193)),
        ("header_length_small", patched(12, 184)),
        ("header_length_large", patched(14, 2)),
        ("byte_order_big", patched(131, 2)),
        ("clock_unknown", patched(132, 3)),
    ]
}

/// What kills and disks do to tapes.
fn accidents() -> Vec<(&'static str, Vec<u8>)> {
    let header = CHUNK_HEADER_BYTES;
    vec![
        (
            "tail_in_payload",
            changed(|bytes, at| bytes.truncate(at[5] + header + 3)),
        ),
        (
            "tail_in_chunk_header",
            changed(|bytes, at| bytes.truncate(at[5] + 40)),
        ),
        (
            "tail_in_magic",
            changed(|bytes, at| bytes.truncate(at[5] + 2)),
        ),
        (
            "tail_behind_header",
            changed(|bytes, at| bytes.truncate(at[5] + header)),
        ),
        (
            "flip_chunk_header",
            changed(|bytes, at| bytes[at[2] + 30] ^= 0x80),
        ),
        (
            "flip_chunk_magic",
            changed(|bytes, at| bytes[at[2]] ^= 0x01),
        ),
        (
            "flip_chunk_checksum",
            changed(|bytes, at| bytes[at[2] + 63] ^= 0x01),
        ),
        (
            "flip_payload",
            changed(|bytes, at| bytes[at[3] + header + 5] ^= 0x04),
        ),
        (
            "flip_last_payload",
            changed(|bytes, at| bytes[at[5] + header] ^= 0x04),
        ),
        (
            "flip_two_headers",
            changed(|bytes, at| {
                bytes[at[2] + 8] ^= 0x01;
                bytes[at[3] + 60] ^= 0x01;
            }),
        ),
        (
            "flip_first_and_last",
            changed(|bytes, at| {
                bytes[at[0] + 5] ^= 0x01;
                bytes[at[5] + 5] ^= 0x01;
            }),
        ),
    ]
}

/// What copies, file systems and half-done writes do to tapes.
fn larger_accidents() -> Vec<(&'static str, Vec<u8>)> {
    let header = CHUNK_HEADER_BYTES;
    vec![
        (
            "hole",
            changed(|bytes, at| bytes[at[2] + 24..at[4] + 24].fill(0)),
        ),
        (
            "hole_in_payload",
            changed(|bytes, at| bytes[at[3] + header..at[4]].fill(0)),
        ),
        (
            "chunks_missing",
            changed(|bytes, at| drop(bytes.drain(at[1]..at[3]))),
        ),
        (
            "bytes_missing",
            changed(|bytes, at| drop(bytes.drain(at[1] + header + 8..at[3]))),
        ),
        (
            "bytes_missing_odd",
            changed(|bytes, at| drop(bytes.drain(at[3] + 9..at[3] + 12))),
        ),
        (
            "bytes_added",
            changed(|bytes, at| drop(bytes.splice(at[3]..at[3], [0xee; 24]))),
        ),
        (
            "written_halfway",
            changed(|bytes, at| {
                bytes[at[5] + header + 4..].fill(0);
                bytes.resize(bytes.len() + 500, 0);
            }),
        ),
        (
            "header_halfway",
            changed(|bytes, at| {
                bytes[at[5] + 17..].fill(0);
                bytes.resize(bytes.len() + 500, 0);
            }),
        ),
        (
            "garbage_behind",
            changed(|bytes, _| bytes.extend_from_slice(b"garbage that is no chunk")),
        ),
        ("chunk_in_payload", chunk_in_payload()),
        ("length_of_a_lie", length_of_a_lie()),
        (
            "zstd_flip",
            crate::defects::zstd(|_, stored| stored[9] ^= 0x10, false),
        ),
    ]
}

/// A payload that holds a whole chunk, intact (it is not looked at) and damaged (it is).
fn chunk_in_payload() -> Vec<u8> {
    let mut inner = Tape::new();
    let start = inner.end();
    inner.table(&[Mark::default()]);
    let inner = inner.bytes[start..].to_vec();
    let mut tape = Tape::new();
    tape.raw(ChunkKind(77), 0, &inner, |_| ());
    let second = tape.end();
    tape.raw(ChunkKind(77), 0, &inner, |_| ());
    tape.bytes[second + 20] ^= 1;
    tape.bytes
}

/// A good header that states more bytes than the tape has, in front of a good chunk.
fn length_of_a_lie() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.raw(ChunkKind::EVENTS, 0, &[], |header| {
        (header.stored_bytes, header.payload_bytes) = (1 << 20, 1 << 20);
    });
    tape.table(&[Mark::default()]);
    tape.bytes
}
