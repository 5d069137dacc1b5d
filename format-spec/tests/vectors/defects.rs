//! Chunks whose checksums are right and whose content is wrong: a defective or hostile writer.

use crate::build::*;
use heaptape_format::chunk::{ChunkHeader, ChunkKind, Codec};
use heaptape_format::event::{Event, Operation};
use heaptape_format::tables::Mark;
use heaptape_format::varint::{put_bytes, put_varint};

/// A chunk with codec 2 after `change` of its header and stored bytes; the payload's checksum is
/// made good when `seal` is set. A good chunk follows.
pub(crate) fn zstd(change: impl FnOnce(&mut ChunkHeader, &mut Vec<u8>), seal: bool) -> Vec<u8> {
    let mut tape = Tape::new();
    let payload = table_payload(&[Mark::default()]).repeat(20);
    let (first, rest) = payload.split_at(50);
    let mut stored = frame(&[first, rest]);
    let mut header = ChunkHeader {
        codec: Codec::Zstd,
        payload_bytes: payload.len() as u32,
        payload_checksum: crc32c::crc32c(&stored),
        ..plain_header(ChunkKind::MARKS, 20, &stored)
    };
    change(&mut header, &mut stored);
    header.stored_bytes = stored.len() as u32;
    if seal {
        header.payload_checksum = crc32c::crc32c(&stored);
    }
    tape.raw(ChunkKind::MARKS, 20, &stored, |raw| *raw = header);
    tape.table(&[Mark::default()]);
    tape.bytes
}

/// A zstd frame of blocks that are stored as they are (RFC 8878 §3.1.1), made by hand: no release
/// of a compressor changes it.
fn frame(blocks: &[&[u8]]) -> Vec<u8> {
    let length: usize = blocks.iter().map(|block| block.len()).sum();
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0]; // magic; one segment, 4 bytes of length
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    for (number, block) in blocks.iter().enumerate() {
        let last = u32::from(number + 1 == blocks.len());
        let header = (block.len() as u32) << 3 | last;
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(block);
    }
    bytes
}

/// One chunk with a good checksum and a payload that no correct writer makes, and a good one.
fn payload(kind: ChunkKind, count: u32, first: u64, payload: &[u8]) -> Vec<u8> {
    let mut tape = Tape::new();
    tape.raw(kind, count, payload, |header| {
        header.stream = 0;
        header.first = first;
        header.stamp_first = 10;
    });
    tape.table(&[Mark::default()]);
    tape.bytes
}

/// One record with these fields.
fn record(kind: ChunkKind, fields: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, fields);
    payload(kind, 1, 0, &bytes)
}

/// An events chunk made of columns.
fn columns(count: u32, columns: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![columns.len() as u8];
    for (id, column) in columns {
        bytes.push(*id);
        bytes.extend_from_slice(&(column.len() as u32).to_le_bytes());
    }
    for (_, column) in columns {
        bytes.extend_from_slice(column);
    }
    payload(ChunkKind::EVENTS, count, 0, &bytes)
}

/// Every tape with a good checksum and wrong content.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = event_defects();
    all.extend(table_defects());
    all.extend(left_defects());
    all.extend(python_defects());
    let good = || {
        let events = [alloc(10, 0x1010, 1, 1), free(11, 0x1010)];
        encoded(0, 0, &events).1
    };
    let cut = |bytes: usize| {
        let good = good();
        payload(ChunkKind::EVENTS, 2, 0, &good[..good.len() - bytes])
    };
    all.extend([
        ("zstd_garbage", zstd(|_, stored| stored.fill(7), true)),
        (
            "zstd_two_frames",
            zstd(|_, stored| stored.extend_from_within(..), true),
        ),
        (
            "zstd_longer",
            zstd(|header, _| header.payload_bytes -= 1, true),
        ),
        (
            "zstd_shorter",
            zstd(|header, _| header.payload_bytes += 1, true),
        ),
        (
            "zstd_cut",
            zstd(|_, stored| stored.truncate(stored.len() - 1), true),
        ),
        ("zstd_not_at_all", zstd(|_, stored| stored.clear(), true)),
        (
            "payload_limit",
            zstd(|header, _| header.payload_bytes = (8 << 20) + 1, true),
        ),
        ("codec_unknown", codec_unknown()),
        ("plain_lengths", plain_lengths()),
        ("must_understand", must_understand()),
        ("events_cut", cut(1)),
        ("events_cut_in_table", cut(20)),
        (
            "events_bytes_behind",
            payload(ChunkKind::EVENTS, 2, 0, &[&good()[..], &[0]].concat()),
        ),
        (
            "events_count_more",
            payload(ChunkKind::EVENTS, 3, 0, &good()),
        ),
        (
            "events_count_less",
            payload(ChunkKind::EVENTS, 1, 0, &good()),
        ),
        (
            "events_count_limit",
            payload(ChunkKind::EVENTS, 1_000_001, 0, &good()),
        ),
        ("events_nothing", payload(ChunkKind::EVENTS, 0, 0, &[])),
    ]);
    all
}

fn codec_unknown() -> Vec<u8> {
    let mut tape = Tape::new();
    let start = tape.end();
    tape.table(&[Mark::default()]).table(&[Mark::default()]);
    tape.bytes[start + 6] = 1;
    let checksum = crc32c::crc32c(&tape.bytes[start..start + 60]);
    tape.bytes[start + 60..start + 64].copy_from_slice(&checksum.to_le_bytes());
    tape.bytes
}

fn plain_lengths() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.raw(ChunkKind::MARKS, 1, &[4, 0, 0, 0, 0], |header| {
        header.payload_bytes = 4
    });
    tape.table(&[Mark::default()]);
    tape.bytes
}

fn must_understand() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.raw(ChunkKind(300), 1, b"what must be understood", |header| {
        header.flags = 1
    });
    // Known kinds may have the flag, too.
    tape.raw(ChunkKind::MARKS, 1, &[3, 0, 0, 0], |header| {
        header.flags = 1
    });
    tape.bytes
}

fn event_defects() -> Vec<(&'static str, Vec<u8>)> {
    let mut long = Vec::new();
    put_varint(&mut long, u64::MAX);
    let mut far = Vec::new();
    put_varint(&mut far, 1 << 60); // an address of 2^62, the first that is too large
    let alloc: &[(u8, &[u8])] = &[(1, &[0]), (2, &[0]), (7, &[4]), (8, &[1]), (9, &[1])];
    let with = |id: u8, column: &[u8]| {
        let mut all: Vec<(u8, &[u8])> = alloc.to_vec();
        all.retain(|(other, _)| *other != id);
        all.push((id, column));
        all.sort_by_key(|(id, _)| *id);
        columns(1, &all)
    };
    let custom: &[(u8, &[u8])] = &[(1, &[41]), (2, &[0]), (4, &[0]), (5, &[4])];
    let aligned: &[(u8, &[u8])] = &[(1, &[4]), (2, &[0]), (7, &[4]), (8, &[1]), (9, &[1])];
    vec![
        ("column_order", columns(1, &[(2, &[0]), (1, &[0])])),
        ("column_twice", columns(1, &[(1, &[0]), (1, &[0])])),
        ("column_zero", columns(1, &[(0, &[]), (1, &[0])])),
        ("column_short", with(8, &[])),
        ("column_long", with(8, &[1, 1])),
        ("column_unused", with(12, &[1])),
        ("retag_columns", with(1, &[192])),
        ("operation_reserved", with(1, &[255])),
        ("stamp_overflow", with(2, &long)),
        ("stamp_11_bytes", with(2, &[0x80; 11])),
        (
            "size_overflow",
            with(8, &[[0xff; 9].as_slice(), &[2]].concat()),
        ),
        ("address_limit", with(7, &far)),
        ("address_negative", with(7, &[6])),
        ("stack_overflow", with(9, &[0x80, 0x80, 0x80, 0x80, 0x10])),
        (
            "reference_none",
            columns(1, &[(1, &[32]), (2, &[0]), (4, &[1])]),
        ),
        (
            "reference_far",
            columns(1, &[(1, &[32]), (2, &[0]), (4, &long)]),
        ),
        (
            "domain_limit",
            columns(1, &[custom, &[(12, &[0x80, 0x80, 4])]].concat()),
        ),
        (
            "alignment_limit",
            columns(1, &[aligned, &[(11, &[64])]].concat()),
        ),
        ("free_stack_short", free_stack_short()),
    ]
}

/// A column of free stacks that does not reach to the last free.
fn free_stack_short() -> Vec<u8> {
    let old: &[u8] = &[0, 0];
    let frees: &[(u8, &[u8])] = &[(1, &[32, 32]), (2, old), (4, old), (5, &[4, 4]), (10, &[5])];
    columns(2, frees)
}

fn python_defects() -> Vec<(&'static str, Vec<u8>)> {
    let nodes = |bytes: &[u8]| payload(ChunkKind::STACK_NODES, 1, 1, bytes);
    let wide = |tag: u8| [0x80 + tag, 0x80, 0x80, 0x80, 0x40];
    let code = |fields| record(ChunkKind::CODE_OBJECTS, fields);
    vec![
        ("node_code", nodes(&[&[1][..], &wide(2), &[0]].concat())),
        ("node_instruction", nodes(&[&[1, 6][..], &wide(0)].concat())),
        ("node_instruction_missing", nodes(&[1, 6])),
        ("code_form", code(&[1, 0x80, 2, 0, 0, 0, 0])),
        ("code_cut", code(&[1, 2, 0, 0, 0, 3, 2, 0])),
    ]
}

fn table_defects() -> Vec<(&'static str, Vec<u8>)> {
    let nodes = |first, bytes: &[u8]| payload(ChunkKind::STACK_NODES, 1, first, bytes);
    let symbols = |bytes: &[u8]| payload(ChunkKind::SYMBOLS, 1, 0, bytes);
    let wide = [0x80, 0x80, 0x80, 0x80, 0x40];
    vec![
        (
            "record_utf8",
            record(ChunkKind::MARKS, &[1, 1, 2, 0xc3, 0x28]),
        ),
        (
            "record_u16",
            record(ChunkKind::DOMAINS, &[0x80, 0x80, 4, 0]),
        ),
        ("record_short", record(ChunkKind::EPOCHS, &[1, 1])),
        (
            "record_text_short",
            record(ChunkKind::MARKS, &[1, 1, 9, b'x']),
        ),
        (
            "record_longer_than_payload",
            payload(ChunkKind::MARKS, 1, 0, &[9, 1, 1, 0]),
        ),
        (
            "records_behind",
            payload(ChunkKind::MARKS, 1, 0, &[3, 1, 1, 0, 3, 1, 1, 0]),
        ),
        (
            "records_count",
            payload(ChunkKind::MARKS, u32::MAX, 0, &[3, 1, 1, 0]),
        ),
        (
            "texts_count",
            record(
                ChunkKind::PROCESS,
                &[0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x7f, 0],
            ),
        ),
        ("node_zero", nodes(0, &[1, 3])),
        ("node_limit", nodes(u64::from(u32::MAX), &[1, 3])),
        ("node_id_overflow", nodes(u64::MAX, &[1, 3])),
        ("node_parent_itself", nodes(5, &[0, 3])),
        ("node_parent_negative", nodes(5, &[6, 3])),
        ("node_module", nodes(1, &[&[1][..], &wide, &[0]].concat())),
        ("nodes_behind", nodes(1, &[1, 3, 2, 3])),
        ("symbol_string", symbols(&[1, 0, 2, 0, 1, 0, 1, 0])),
        (
            "symbol_module",
            symbols(&[&[0][..], &wide, &[0, 0]].concat()),
        ),
        (
            "symbol_line",
            symbols(&[&[1, 0, 2, 0, 1, 0, 0][..], &wide].concat()),
        ),
        ("symbol_utf8", symbols(&[1, 1, 0xff, 2, 0, 0])),
        ("symbols_behind", symbols(&[0, 2, 0, 0, 0])),
        ("symbols_strings_count", symbols(&[0xff, 0xff, 0x7f])),
        (
            "symbols_frames_count",
            symbols(&[1, 0, 2, 0, 0xff, 0xff, 0x7f, 0, 0, 0]),
        ),
        ("symbols_text_limit", symbols_text_limit()),
        ("event_order", event_order()),
    ]
}

/// Chunks of what is left whose values are wrong, and those whose payloads are.
fn left_defects() -> Vec<(&'static str, Vec<u8>)> {
    let wide = [0x80, 0x80, 0x80, 0x80, 0x40];
    vec![
        ("left_state", left(&[3, 2, 1, 4, 0, 0, 0, 0, 0, 0])),
        ("left_before", left(&[0, 2, 1, 4, 3, 0, 0, 0, 0, 0])),
        (
            "left_stack",
            left(&[&[0, 2, 1, 4, 0, 0][..], &wide, &[0, 0, 0]].concat()),
        ),
        ("left_operation", left(&[0, 2, 1, 4, 0, 0, 0, 224, 0, 0])),
        ("left_alignment", left(&[0, 2, 1, 4, 0, 0, 0, 0, 64, 0])),
        ("left_short", left(&[0, 2, 1, 4, 0, 0, 0, 0, 0])),
        ("left_behind", left(&[0, 2, 1, 4, 0, 0, 0, 0, 0, 0, 0])),
        (
            "left_count",
            payload(
                ChunkKind::LEFT,
                u32::MAX,
                0,
                &[0, 2, 1, 4, 0, 0, 0, 0, 0, 0],
            ),
        ),
        (
            "left_count_more",
            payload(ChunkKind::LEFT, 11, 0, &[0, 2, 1, 4, 0, 0, 0, 0, 0, 0]),
        ),
    ]
}

/// A chunk of one thing that is left.
fn left(bytes: &[u8]) -> Vec<u8> {
    payload(ChunkKind::LEFT, 1, 0, bytes)
}

/// 2200 frames that name a string of 16 KiB twice each: 72 MB of text from 26 KiB.
fn symbols_text_limit() -> Vec<u8> {
    let mut bytes = vec![1];
    put_bytes(&mut bytes, &[b'x'; 16384]);
    for _ in 0..1100 {
        // module 1, offset + 0, two frames: function 0, file 0, line 0
        bytes.extend_from_slice(&[2, 0, 2, 0, 0, 0, 0, 0, 0]);
    }
    let mut tape = Tape::new();
    tape.raw(ChunkKind::SYMBOLS, 1100, &bytes, |_| ());
    tape.table(&[Mark::default()]);
    tape.bytes
}

/// A stream whose second chunk begins before its first ends: a writer's defect that no payload
/// shows. Readers meet it only when they compare chunks.
fn event_order() -> Vec<u8> {
    let mut tape = Tape::new();
    let late: Event = Event::new(Operation::MALLOC, 100);
    tape.events(0, 0, &[late]);
    tape.events(
        0,
        1,
        &[Event {
            stamp: 50,
            end_stamp: 50,
            ..late
        }],
    );
    tape.bytes
}
