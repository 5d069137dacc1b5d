//! The valid vectors: tapes that a reader decodes without a complaint.

use crate::build::*;
use crate::content::*;
use heaptape_format::ADDRESS_MAX;
use heaptape_format::chunk::{ChunkInfo, ChunkKind};
use heaptape_format::event::{DomainId, Event, Operation};
use heaptape_format::stack::CutReason;
use heaptape_format::symbols::{Symbol, put_symbols};
use heaptape_format::tables::*;
use heaptape_format::varint::{put_bytes, put_varint};

/// Every valid vector with its name.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = crate::later::vectors();
    all.extend([
        ("empty", Tape::new().bytes),
        ("spec_example", spec_example()),
        ("every_kind", every_kind()),
        ("every_kind_zstd", every_kind_zstd()),
        ("zstd_by_hand", crate::defects::zstd(|_, _| (), true)),
        ("operations", operations()),
        ("unknown_operations", unknown_operations()),
        ("extremes", extremes()),
        ("free_stacks", free_stacks()),
        ("references", references()),
        ("realloc", reallocs()),
        ("mappings", mappings()),
        ("streams", streams()),
        ("stack_nodes", stack_nodes()),
        ("long_integers", long_integers()),
        ("address_wraps", address_wraps()),
        ("unknown_kind", unknown_kind()),
        ("unknown_column", unknown_column()),
        ("trailing_fields", trailing_fields()),
        ("longer_header", longer_header()),
        ("trailing_zeros", trailing_zeros()),
        ("padding_missing", padding_missing()),
        ("padding_used", padding_used()),
    ]);
    all
}

/// The example of SPEC.md §6.5.
fn spec_example() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.events(0, 0, &[alloc(100, 0x1010, 24, 3), free(105, 0x1010)]);
    tape.bytes
}

fn every_kind() -> Vec<u8> {
    let mut tape = Tape::new();
    let streams = |level, name: &str| Stream {
        index: u32::from(level),
        thread_id: 4711,
        level,
        stamp: 3,
        name: name.into(),
    };
    let domain = |id, name: &str| Domain {
        id,
        name: name.into(),
    };
    let epoch = Epoch {
        number: 1,
        watermark: 60,
        inexact_streams: 2,
    };
    tape.table(&[process()])
        .table(&[clock_pair()])
        .table(&[streams(0, "main"), streams(1, ""), streams(0, "renamed")])
        .table(&[domain(16, "pool"), domain(u16::MAX, "")])
        .table(&modules())
        .nodes(0, 1, &some_nodes())
        .events(0, 0, &[alloc(10, 0x1010, 1, 3), free(11, 0x1010)])
        .table(&samples())
        .table(&marks())
        .table(&lost())
        .table(&[epoch])
        .table(&children())
        .table(&[end()])
        .symbols(&symbol_table())
        .events(0, 2, &[])
        .table::<Mark>(&[]);
    tape.bytes
}

/// `records` again and again, so that they compress.
fn many<R: Record>(tape: &mut Tape, records: &[R]) {
    let payload = table_payload(records).repeat(16);
    let count = records.len() as u32 * 16;
    tape.zstd(ChunkInfo::table(R::KIND, count, 0), &payload);
}

fn every_kind_zstd() -> Vec<u8> {
    let mut tape = Tape::new();
    many(&mut tape, &[process()]);
    many(&mut tape, &[clock_pair()]);
    many(&mut tape, &[Stream::default()]);
    many(&mut tape, &[Domain::default(), Domain::default()]);
    many(&mut tape, &modules());
    let mut nodes = Vec::new();
    heaptape_format::stack::put_stack_nodes(&[some_nodes()[0]; 100], 1, &mut nodes);
    let mut info = ChunkInfo::table(ChunkKind::STACK_NODES, 100, 0);
    (info.stream, info.first) = (0, 1);
    tape.zstd(info, &nodes);
    let mut events = Vec::new();
    for number in 0..200 {
        events.push(alloc(number * 3, 0x1000 + number % 7 * 16, number, 3));
        events.push(free(number * 3 + 1, 0x1000 + number % 7 * 16));
    }
    let (info, payload) = encoded(0, 0, &events);
    tape.zstd(info, &payload);
    many(&mut tape, &samples());
    many(&mut tape, &marks());
    many(&mut tape, &lost());
    many(&mut tape, &[Epoch::default(), Epoch::default()]);
    many(&mut tape, &children());
    many(&mut tape, &[end()]);
    let symbols: Vec<Symbol> = (0..30).flat_map(|_| symbol_table()).collect();
    let info = ChunkInfo::table(ChunkKind::SYMBOLS, symbols.len() as u32, 0);
    tape.zstd(info, &put_symbols(&symbols));
    tape.bytes
}

fn operations() -> Vec<u8> {
    let mut tape = Tape::new();
    let until_1_3 = Operation::ALL.iter().filter(|code| code.0 < 192);
    let events = until_1_3.zip(1..);
    let events: Vec<Event> = events
        .map(|(&code, number)| full_event(code, number))
        .collect();
    tape.events(0, 0, &events);
    tape.bytes
}

fn unknown_operations() -> Vec<u8> {
    let mut tape = Tape::new();
    let unknown = (0..192u8)
        .map(Operation)
        .filter(|code| !Operation::ALL.contains(code));
    let events: Vec<Event> = unknown
        .zip(1..)
        .map(|(code, number)| full_event(code, number))
        .collect();
    tape.events(0, 0, &events);
    tape.bytes
}

fn extremes() -> Vec<u8> {
    let mut tape = Tape::new();
    let aligned = |operation, stamp, address, alignment_log2| Event {
        alignment_log2,
        ..Event {
            operation,
            ..alloc(stamp, address, 1, 1)
        }
    };
    let mut whole = Event::new(Operation::MREMAP, u64::MAX - 1);
    whole.end_stamp = u64::MAX;
    (whole.old_size, whole.size) = (u64::MAX, u64::MAX);
    whole.old_address = ADDRESS_MAX - 1;
    tape.events(
        0,
        u64::MAX,
        &[
            alloc(0, 0x5555_0010, 5 << 30, 1),
            alloc(1, 0x01ff_ffff_ffff_fff0, 8, u32::MAX),
            alloc(2, 0x0100_0000_0000_0001, 0, 1),
            alloc(3, 0x0100_0000_0000_0008, u64::MAX, 1),
            alloc(4, 7, 7, 7),
            aligned(Operation::MEMALIGN, 5, 0x4000_0000, 30),
            aligned(Operation::POSIX_MEMALIGN, 6, 0, 63),
            free(1 << 40, 0x0100_0000_0000_0001),
            free(1 << 50, 7),
            free(1 << 62, ADDRESS_MAX - 1),
            alloc(1 << 63, ADDRESS_MAX - 1, 1, 0),
            alloc(1 << 63, 0, 1, 0),
            whole,
        ],
    );
    tape.bytes
}

fn free_stacks() -> Vec<u8> {
    let mut tape = Tape::new();
    let with = |stack, event: Event| Event { stack, ..event };
    let unmap = Event {
        old_address: 0x10000,
        old_size: 4096,
        ..Event::new(Operation::MUNMAP, 9)
    };
    tape.events(
        0,
        0,
        &[
            alloc(1, 0x1010, 1, 1),
            with(2, free(2, 0x1010)),
            free(3, 0x2020),
            with(u32::MAX, free(4, 0x3030)),
            with(300, unmap),
        ],
    );
    tape.bytes
}

/// Reuse, far references, blocks of elsewhere, a pool inside a block, and a pairing that is wrong:
/// block 0x5000 is freed and allocated again by another stream in between.
fn references() -> Vec<u8> {
    let mut tape = Tape::new();
    let custom = |operation, stamp| Event {
        domain: DomainId(16),
        ..Event::new(operation, stamp)
    };
    let mut events: Vec<Event> = (0..150).map(|n| alloc(n, 0x1000 + n * 16, n, 1)).collect();
    events.extend([
        free(200, 0x1000),
        free(201, 0x1000 + 149 * 16),
        alloc(202, 0x1000, 5, 1),
        free(203, 0x1000),
        free(204, 0x1000),
        free(205, 0x9000),
        alloc(206, 0x5000, 64, 1),
        Event {
            address: 0x5000,
            size: 8,
            ..custom(Operation::CUSTOM_ALLOC, 207)
        },
        Event {
            old_address: 0x5000,
            address: 0x5008,
            end_stamp: 209,
            ..custom(Operation::CUSTOM_REALLOC, 208)
        },
        Event {
            old_address: 0x5008,
            ..custom(Operation::CUSTOM_FREE, 210)
        },
        free(300, 0x5000),
    ]);
    tape.events(0, 0, &events);
    tape.events(1, 0, &[free(250, 0x5000), alloc(251, 0x5000, 65, 1)]);
    tape.bytes
}

fn reallocs() -> Vec<u8> {
    let mut tape = Tape::new();
    let freed = Event {
        operation: Operation::REALLOC_FREE,
        ..free(40, 0x3000)
    };
    let new = Event {
        operation: Operation::REALLOC_NEW,
        ..alloc(1, 0x1000, 5, 1)
    };
    tape.events(
        0,
        0,
        &[
            new,
            realloc((2, 6), 0x1000, 0x1000, 50),
            realloc((6, 6), 0x1000, 0x2008, 500),
            realloc((7, 30), 0x8888, 0x3000, 5000),
            freed,
            free(41, 0x2008),
        ],
    );
    tape.bytes
}

fn mappings() -> Vec<u8> {
    let mut tape = Tape::new();
    let map = |operation, stamp, address, size| Event {
        address,
        size,
        stack: 2,
        ..Event::new(operation, stamp)
    };
    let unmap = |operation, stamp, old_address, old_size| Event {
        old_address,
        old_size,
        ..Event::new(operation, stamp)
    };
    let moved = Event {
        end_stamp: 8,
        old_address: 0x7f00_0000_1000,
        old_size: 0x1000,
        address: 0x7f00_0010_0000,
        size: 0x4000,
        ..Event::new(Operation::MREMAP, 6)
    };
    tape.events(
        0,
        0,
        &[
            map(Operation::MMAP, 1, 0x7f00_0000_0000, 0x3000),
            alloc(2, 0x7f00_0000_0010, 10, 1),
            unmap(Operation::MUNMAP, 3, 0x7f00_0000_0000, 0x1000),
            map(Operation::SBRK_GROW, 4, 0x5555_0000, 0x21000),
            unmap(Operation::SBRK_SHRINK, 5, 0x5556_0000, 0x11000),
            moved,
            free(9, 0x7f00_0000_0010),
        ],
    );
    tape.bytes
}

/// Two streams that hand blocks over, with equal stamps; a nested stream; chunks out of step.
fn streams() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.events(0, 0, &[alloc(5, 0x1010, 1, 1), alloc(9, 0x1010, 2, 1)]);
    tape.events(
        7,
        0,
        &[free(9, 0x1010), free(9, 0x1010), alloc(9, 0x1010, 3, 1)],
    );
    tape.events(8, 0, &[alloc(6, 0x2020, 4, 0), free(7, 0x2020)]);
    tape.events(0, 2, &[free(9, 0x1010)]);
    tape.bytes
}

fn stack_nodes() -> Vec<u8> {
    let mut tape = Tape::new();
    let nodes = [
        cut(0, CutReason::Unknown),
        native(1, 1, 0x1234, false),
        native(1, 1, 0x1234, false),
        native(2, 0, 0x7fff_f7fc_1000, true),
        native(0, u32::MAX, u64::MAX, false),
        native(5, 3, 0, false),
    ];
    tape.nodes(0, 1, &nodes);
    tape.nodes(1, 1, &nodes[..2]);
    tape.nodes(0, 7, &[native(3, 1, 0x10, false)]);
    let largest = heaptape_format::STACK_NODES_MAX;
    tape.nodes(2, largest, &[native(largest - 1, 1, 1, false)]);
    // A cut for a reason of a later version.
    tape.raw(ChunkKind::STACK_NODES, 1, &[1, (9 << 2) | 3], |header| {
        (header.stream, header.first) = (3, 1);
    });
    tape.bytes
}

/// Integers in longer forms than the shortest.
fn long_integers() -> Vec<u8> {
    let mut tape = Tape::new();
    let record = [
        &[0x8e, 0x80, 0x00][..],
        &[0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x81, 0x00],
        &[0x81, 0x00],
        b"m",
    ];
    let mut payload = record.concat();
    payload[0] = 0x80 + (payload.len() - 3) as u8;
    tape.raw(ChunkKind::MARKS, 1, &payload, |_| ());
    tape.bytes
}

/// Address differences of 2^64 and more: they are taken modulo 2^64.
fn address_wraps() -> Vec<u8> {
    let mut payload = vec![5];
    for (id, length) in [(1, 3), (2, 3), (7, 20), (8, 3), (9, 3)] {
        payload.extend_from_slice(&[id, length, 0, 0, 0]);
    }
    payload.extend_from_slice(&[0; 6]);
    let start = payload.len();
    put_varint(&mut payload, 1 << 62); // + 16 × 2^60
    put_varint(&mut payload, (1 << 62) + 4); // + 16 × (2^60 + 1)
    put_varint(&mut payload, u64::MAX - 1); // - 16 × 2^62
    payload[12] = (payload.len() - start) as u8;
    payload.extend_from_slice(&[8, 8, 8, 1, 1, 1]);
    let mut tape = Tape::new();
    tape.raw(ChunkKind::EVENTS, 3, &payload, |header| header.stream = 0);
    tape.bytes
}

fn unknown_kind() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.table(&marks());
    for kind in [0, 14, 17, 999, u16::MAX] {
        tape.raw(
            ChunkKind(kind),
            3,
            b"whatever a later version holds",
            |header| {
                header.flags = 0xfe;
                header.stream = 5;
            },
        );
    }
    tape.table(&marks());
    tape.bytes
}

/// A payload with two columns that this version does not know, one of them empty.
fn unknown_column() -> Vec<u8> {
    let (info, payload) = encoded(0, 0, &[alloc(1, 0x1010, 1, 1), free(2, 0x1010)]);
    let columns = usize::from(payload[0]);
    let (table, bytes) = payload[1..].split_at(columns * 5);
    let mut payload = vec![columns as u8 + 2];
    payload.extend_from_slice(table);
    payload.extend_from_slice(&[13, 0, 0, 0, 0, 200, 3, 0, 0, 0]);
    payload.extend_from_slice(bytes);
    payload.extend_from_slice(b"new");
    let mut tape = Tape::new();
    tape.raw(ChunkKind::EVENTS, info.count, &payload, |header| {
        header.stamp_first = 1;
        header.stamp_last = 2;
        header.stream = 0;
    });
    tape.bytes
}

fn trailing_fields() -> Vec<u8> {
    let mut tape = Tape::new();
    let mut payload = Vec::new();
    for mark in marks() {
        let mut fields = Vec::new();
        mark.encode(&mut fields);
        fields.extend_from_slice(b"\xffof a later version");
        put_bytes(&mut payload, &fields);
    }
    tape.raw(ChunkKind::MARKS, 3, &payload, |_| ());
    tape.bytes
}

/// A later minor version with a header of 256 bytes.
fn longer_header() -> Vec<u8> {
    let mut header = header();
    header.version.1 = 7;
    let mut bytes = Tape::with_header(&header).bytes;
    bytes.truncate(188);
    bytes[12..16].copy_from_slice(&256u32.to_le_bytes());
    bytes.extend((0..64).map(|place| 0xa0 ^ place));
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let mut tape = Tape::new();
    let start = tape.end();
    tape.table(&marks());
    bytes.extend_from_slice(&tape.bytes[start..]);
    bytes
}

/// The reserved end of a tape whose writer died.
fn trailing_zeros() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.table(&marks());
    tape.bytes.resize(tape.bytes.len() + 777, 0);
    tape.bytes
}

/// Payloads of five bytes, so that three bytes of padding follow.
const PADDED: [u8; 5] = [4, 70, 0, 1, b'm'];

fn padding_missing() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.table(&marks());
    tape.raw(ChunkKind::MARKS, 1, &PADDED, |_| ());
    tape.bytes.truncate(tape.end() - 3);
    tape.bytes
}

/// Padding that is not zero: a reader does not look at it.
fn padding_used() -> Vec<u8> {
    let mut tape = Tape::new();
    tape.raw(ChunkKind::MARKS, 1, &PADDED, |_| ());
    let end = tape.end();
    tape.bytes[end - 3..].fill(0xff);
    tape.table(&marks());
    tape.bytes
}
