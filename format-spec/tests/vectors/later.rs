//! Valid vectors with what later minor versions added.

use crate::build::*;
use crate::content::*;
use heaptape_format::event::{Event, Operation};
use heaptape_format::header::{PYTHON_FRAMES, RETAGS};
use heaptape_format::tables::*;

/// The vectors with their names.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("totals", totals()),
        ("fork_cuts", fork_cuts()),
        ("python", python_frames()),
        ("retags", retags()),
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
