//! Frames of Python and their code objects: from rings to a tape.

use crate::Fixture;
use crate::history::Item;
use crate::killed::start;
use crate::map;
use crate::producing::{Process, Thread};
use crate::tapes::Content;
use heaptape_drain::{Settings, recover};
use heaptape_format::TapeHeader;
use heaptape_format::chunk::ChunkKind;
use heaptape_format::header::PYTHON_FRAMES;
use heaptape_format::scan::{Found, Scan};
use heaptape_format::stack::{Frame, StackNode};
use heaptape_format::tables::CodeObject;
use heaptape_session::record::{BLOB_BYTES_MAX, RingEvent, blob, blob_words};
use std::path::Path;

/// A code object with a line table of so many bytes.
fn code(number: u32, table: usize) -> CodeObject {
    CodeObject {
        number,
        form: 3,
        first_line: 7 + number,
        file: format!("/app/m{number}.py"),
        name: format!("Shop.order{number}"),
        line_table: (0..table).map(|at| (at % 251) as u8).collect(),
    }
}

/// The blobs that tell of a code object.
fn parts(code: &CodeObject) -> Vec<Vec<u64>> {
    let length = |text: &str| (text.len() as u32).to_le_bytes();
    let whole = [
        &[code.form][..],
        &code.first_line.to_le_bytes(),
        &length(&code.file),
        code.file.as_bytes(),
        &length(&code.name),
        code.name.as_bytes(),
        &code.line_table,
    ]
    .concat();
    let part_bytes = BLOB_BYTES_MAX - 12;
    let part = |(place, part): (usize, &[u8])| {
        let offset = (place * part_bytes) as u32;
        let numbers = [code.number, whole.len() as u32, offset].map(u32::to_le_bytes);
        blob_words(blob::CODE, 0, &[numbers.as_flattened(), part]).collect()
    };
    whole.chunks(part_bytes).enumerate().map(part).collect()
}

fn allocation(ticks: u64, stack: u32) -> Item {
    Item::Event(RingEvent {
        ticks: ticks * 1000,
        end_ticks: ticks * 1000,
        address: 4096 + ticks * 16,
        size: 8,
        stack,
        ..RingEvent::default()
    })
}

/// Kinds of the chunks of a tape, in order.
fn kinds(path: &Path) -> Vec<ChunkKind> {
    let tape = std::fs::read(path).unwrap();
    let (_, length) = TapeHeader::decode(&tape).unwrap();
    let chunk = |found| match found {
        Found::Chunk(chunk) => Some(chunk.header.kind),
        Found::Damage(_) => None,
    };
    Scan::new(&tape, length).filter_map(chunk).collect()
}

#[test]
fn code_objects_stand_before_their_frames_and_the_header_tells_of_them() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    fixture.drainer.set_root(process.pid, 0, vec![]);
    let mut one = Thread::begin(&fixture.session, &process, 0);
    let mut other = Thread::begin(&fixture.session, &process, 1);
    let codes = [code(1, 10), code(2, 100_000), code(3, 0)];
    // Native stacks alone: no reader need know anything new.
    one.publish_item(&Item::Node(0, 1, 0x10, false), None);
    one.publish_item(&allocation(1, 1), None);
    fixture.drainer.pass();
    let path = fixture.path("x.tape");
    // Two threads tell of the same code object, part by part and in turn.
    let told: Vec<Vec<u64>> = codes.iter().flat_map(parts).collect();
    assert!(told.len() > codes.len() + 5);
    for words in &told {
        one.append(words);
        other.append(words);
    }
    for thread in [&mut one, &mut other] {
        for node in [
            Item::Python(0, 1, 4),
            Item::Python(1, 2, 5),
            Item::Python(2, 9, 6),
        ] {
            thread.publish_item(&node, None);
        }
        thread.publish_item(&allocation(2, 3), None);
    }
    fixture.drainer.root_ended(0);
    fixture.drainer.finish();
    let content = Content::read(&path);
    assert_eq!(content.codes, codes, "each once");
    assert_eq!(content.header.must_understand, PYTHON_FRAMES);
    let frame = |code, instruction| Frame::Python { code, instruction };
    let frames = |stream: u32| content.nodes[&stream].iter().map(|node| node.frame);
    let expected = [frame(1, 4), frame(2, 5), frame(9, 6)];
    assert!(frames(0).skip(1).eq(expected) && frames(1).eq(expected));
    let kinds = kinds(&path);
    let last_codes = kinds
        .iter()
        .position(|kind| *kind == ChunkKind::CODE_OBJECTS);
    let before = &kinds[..last_codes.unwrap()];
    let nodes = before
        .iter()
        .filter(|kind| **kind == ChunkKind::STACK_NODES);
    assert!(
        nodes.count() <= 1,
        "those of native code at most: {kinds:?}"
    );
}

#[test]
fn a_tape_of_native_stacks_needs_nothing_new() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    fixture.drainer.set_root(process.pid, 0, vec![]);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    thread.publish_item(&Item::Node(0, 1, 0x10, false), None);
    thread.publish_item(&allocation(1, 1), None);
    fixture.drainer.root_ended(0);
    let path = fixture.path("x.tape");
    fixture.drainer.finish();
    assert_eq!(Content::read(&path).header.must_understand, 0);
}

#[test]
fn a_code_object_with_a_part_missing_is_unknown_and_costs_nothing_else() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    fixture.drainer.set_root(process.pid, 0, vec![]);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    let broken = parts(&code(1, 50_000));
    for (place, words) in broken.iter().enumerate() {
        if place != 1 {
            thread.append(words);
        }
    }
    thread.append(&broken[1]);
    let empty: Vec<u64> = blob_words(blob::CODE, 0, &[]).collect();
    thread.append(&empty);
    parts(&code(2, 30_000))
        .iter()
        .for_each(|words| thread.append(words));
    for node in [Item::Python(0, 1, 0), Item::Python(1, 2, u32::MAX)] {
        thread.publish_item(&node, None);
    }
    thread.publish_item(&allocation(1, 2), None);
    fixture.drainer.root_ended(0);
    let path = fixture.path("x.tape");
    fixture.drainer.finish();
    let content = Content::read(&path);
    assert_eq!(content.codes, [code(2, 30_000)]);
    let node = |parent, code, instruction| StackNode {
        parent,
        frame: Frame::Python { code, instruction },
    };
    assert_eq!(content.nodes[&0], [node(0, 1, 0), node(1, 2, u32::MAX)]);
    assert_eq!(content.end.unwrap().lost, 0);
}

/// The thread that tells of a code object may make no further event for hours: it comes next when
/// another thread's frames name it.
#[test]
fn a_code_object_that_waits_in_another_threads_ring_is_fetched() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    fixture.drainer.set_root(process.pid, 0, vec![]);
    let mut teller = Thread::begin(&fixture.session, &process, 0);
    let mut busy = Thread::begin(&fixture.session, &process, 1);
    let numbers = [0u64, 0, u64::MAX].map(u64::to_le_bytes);
    let module: &[&[u8]] = &[&1u32.to_le_bytes(), numbers.as_flattened(), &[0], b"/app"];
    let words: Vec<u64> = blob_words(blob::MODULE, 0, module).collect();
    teller.append(&words);
    teller.publish_item(&allocation(1, 0), None);
    fixture.drainer.pass();
    parts(&code(5, 20))
        .iter()
        .for_each(|words| teller.append(words));
    busy.publish_item(&Item::Python(0, 5, 1), None);
    for ticks in 0..100_000 {
        busy.publish_item(&allocation(ticks, 1), Some(std::time::Duration::ZERO));
        if ticks % 1000 == 0 {
            fixture.drainer.pass();
        }
    }
    let path = fixture.path("x.tape");
    let found = kinds(&path);
    assert!(found.contains(&ChunkKind::STACK_NODES), "{found:?}");
    assert!(found.contains(&ChunkKind::CODE_OBJECTS), "{found:?}");
    fixture.drainer.root_ended(0);
    fixture.drainer.finish();
    assert_eq!(Content::read(&path).codes, [code(5, 20)]);
}

/// What the tape of a dead drainer has of code objects is not written again, and its header goes on
/// telling of them.
#[test]
fn a_drainer_that_follows_knows_what_the_dead_one_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.tape");
    let (mut child, path) = start(&output);
    let session = map(&path);
    let process = Process::begin(&session);
    let mut one = Thread::begin(&session, &process, 0);
    let mut other = Thread::begin(&session, &process, 1);
    for words in parts(&code(1, 40)) {
        one.append(&words);
    }
    one.publish_item(&Item::Python(0, 1, 4), None);
    one.publish_item(&allocation(1, 1), None);
    // The tape is written within a second or so.
    while !std::fs::metadata(&output).is_ok_and(|file| file.len() > 192)
        || !kinds(&output).contains(&ChunkKind::EVENTS)
    {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for words in [code(1, 40), code(2, 50)].iter().flat_map(parts) {
        other.append(&words);
    }
    for node in [Item::Python(0, 1, 5), Item::Python(1, 2, 6)] {
        other.publish_item(&node, None);
    }
    other.publish_item(&allocation(2, 2), None);
    recover(&path, None).unwrap();
    let content = Content::read(&output);
    assert_eq!(content.codes, [code(1, 40), code(2, 50)]);
    assert_eq!(content.header.must_understand, PYTHON_FRAMES);
    assert_eq!((content.nodes[&0].len(), content.nodes[&1].len()), (1, 2));
}
