//! Valid vectors with what later minor versions added.

use crate::build::*;
use crate::content::*;
use heaptape_format::chunk::ChunkKind;
use heaptape_format::event::DomainId;
use heaptape_format::event::{Event, Operation};
use heaptape_format::header::{FOLDED, PYTHON_FRAMES, RETAGS};
use heaptape_format::left::{Left, LeftState, put_left};
use heaptape_format::tables::*;

/// The vectors with their names.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("totals", totals()),
        ("fork_cuts", fork_cuts()),
        ("python", python_frames()),
        ("retags", retags()),
        ("folded", folded()),
    ]
}

/// Version 1.1: of several the last holds.
fn totals() -> Vec<u8> {
    let mut header = header();
    header.version = (1, 1);
    let mut tape = Tape::with_header(&header);
    let totals = |allocated_bytes| Totals { allocated_bytes };
    tape.events(0, 0, &[alloc(10, 0x1010, 24, 0), free(11, 0x1010)])
        .table(&[totals(7)])
        .table(&[totals(24)])
        .table(&[totals(u64::MAX)])
        .table(&[totals(24)])
        .table(&[end()]);
    tape.bytes
}

/// Version 1.2: of several for a stream the last holds.
fn fork_cuts() -> Vec<u8> {
    let mut header = header();
    header.version = (1, 2);
    let mut tape = Tape::with_header(&header);
    let cut = |stream, stamp| ForkCut { stream, stamp };
    tape.table(&[cut(3, 20), cut(u32::MAX, u64::MAX)])
        .table(&[cut(3, 21), cut(0, 0)])
        .events(0, 0, &[free(22, 0x1010)])
        .table(&[end()]);
    tape.bytes
}

/// Version 1.3: frames of Python, alone and between native ones.
fn python_frames() -> Vec<u8> {
    let mut header = header();
    header.version = (1, 3);
    header.must_understand = PYTHON_FRAMES;
    let mut tape = Tape::with_header(&header);
    let nodes = [
        native(0, 1, 0x1234, false),
        python(1, 1, 0),
        python(2, 1, 3),
        native(3, 1, 0x1230, false),
        python(0, u32::MAX, u32::MAX),
        python(5, 0, 7),
        native(6, 1, 0x1238, true),
    ];
    tape.table(&modules())
        .table(&code_objects())
        .nodes(0, 1, &nodes)
        .events(0, 0, &[alloc(10, 0x1010, 24, 4), alloc(11, 0x1020, 8, 7)])
        .table(&[end()]);
    tape.bytes
}

/// Version 1.4: a block that is used again, one that nobody knows, and operations of that kind
/// that later versions may name.
fn retags() -> Vec<u8> {
    let mut header = header();
    header.version = (1, 4);
    header.must_understand = PYTHON_FRAMES | RETAGS;
    let mut tape = Tape::with_header(&header);
    let retag = |operation, stamp, address, stack| Event {
        old_address: address,
        stack,
        ..Event::new(Operation(operation), stamp)
    };
    tape.table(&modules())
        .table(&code_objects())
        .nodes(0, 1, &[python(0, 1, 0), python(0, 1, 3)])
        .events(
            0,
            0,
            &[
                alloc(10, 0x1010, 24, 1),
                retag(192, 12, 0x1010, 2),
                retag(192, 13, 0x7f00_0000_0010, 0),
                free(15, 0x1010),
                retag(193, 16, 0x1010, 1),
                retag(223, 17, 0x1020, u32::MAX),
            ],
        )
        .table(&[end()]);
    tape.bytes
}

/// Version 1.5: a tape that begins behind a fold, with one of everything that is left.
fn folded() -> Vec<u8> {
    let mut header = header();
    header.version = (1, 5);
    header.must_understand = FOLDED;
    let mut tape = Tape::with_header(&header);
    tape.sequence = 40;
    let left = |state, address, operation| Left {
        state,
        address,
        size: 24,
        stamp: 90,
        allocated: 90,
        stream: 0,
        stack: 4,
        operation: Operation(operation),
        alignment_log2: 0,
        domain: DomainId::NATIVE,
    };
    let all = [
        left(LeftState::Alive, 0x1010, 0),
        Left {
            domain: DomainId(5000),
            stream: u32::MAX,
            stack: u32::MAX,
            size: u64::MAX,
            ..left(LeftState::Alive, 0x1018, 73)
        },
        Left {
            allocated: 7,
            domain: DomainId::MMAP,
            ..left(LeftState::Remainder, 0x7f00_0000_0000, 96)
        },
        Left {
            size: 0,
            stamp: 12,
            allocated: 12,
            stack: 0,
            ..left(LeftState::Inherited, 0x2000, 32)
        },
        Left {
            alignment_log2: 12,
            ..left(LeftState::Alive, 0x3000, 5)
        },
    ];
    let mut payload = Vec::new();
    put_left(&all, &mut payload);
    let folded = Folded {
        stamp: 100,
        sequence: 40,
        events: 1000,
        allocs: 500,
        frees: 400,
        reallocs: 60,
        maps: 30,
        reuses: 7,
        unknown_frees: 2,
        implied_frees: 1,
        allocated_bytes: 1 << 40,
        high_stamp: 55,
        high_bytes: 1 << 20,
        high_count: 300,
    };
    tape.table(&[folded]);
    tape.raw(ChunkKind::LEFT, all.len() as u32, &payload, |_| ());
    tape.events(0, 1000, &[free(110, 0x1010)]).table(&[end()]);
    tape.bytes
}
