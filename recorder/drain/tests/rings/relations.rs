//! Parents and children: of an image that has no tape when a child of its needs one, and of a tape
//! that was begun when its drainer died.

use crate::history::History;
use crate::producing::{Process, Thread};
use crate::tapes::Content;
use crate::{Fixture, Settings};
use heaptape_drain::notes::Notes;
use heaptape_drain::press::Press;
use heaptape_drain::tape::TapeWriter;
use heaptape_drain::{Names, Outcome, recover};
use heaptape_format::TapeHeader;
use heaptape_format::tables;
use heaptape_session::layout::phase;
use heaptape_session::slots::{process_owner, set_process_phase};
use heaptape_session::sync::Ordering;
use std::path::PathBuf;

/// `origin` of an image that was forked, and of one that a recorded process started.
const FORKED: u32 = 1;
const STARTED: u32 = 2;
/// A start time for the first process, which no process has.
const ROOT_START: u64 = 77;

#[test]
fn an_image_without_events_gets_its_tape_when_a_child_needs_it() {
    let mut fixture = Fixture::new(Settings::default());
    let session = &fixture.session;
    let pid = std::process::id();
    fixture
        .drainer
        .set_root(pid, ROOT_START, vec!["first".into()]);
    let root = Process::begin_as(session, pid, ROOT_START, 0, 0, None);
    let mut thread = Thread::begin(session, &root, 0);
    thread.publish(&History::random(1, 10));
    // A program that made no event and was replaced by another one.
    let silent = Process::begin_as(session, 1, 0, 0, STARTED, Some(root.index));
    let slot = session.process(silent.index).unwrap();
    let generation = process_owner(slot).generation;
    set_process_phase(slot, phase::EXEC);
    let _next = Process::begin_as(session, 1, 0, 1, STARTED, Some(silent.index));
    fixture.drainer.pass();
    assert_eq!(process_owner(slot).phase, phase::FREE, "it is over");
    assert!(!fixture.path("x.1.tape").exists());

    // It had forked; the child's first event comes now.
    let other = std::os::unix::process::parent_id();
    let child = Process::begin_as(session, other, 0, 0, FORKED, None);
    let slot = session.process(child.index).unwrap();
    slot.parent.store(silent.index + 1, Ordering::Relaxed);
    slot.parent_generation.store(generation, Ordering::Relaxed);
    let mut thread = Thread::begin(session, &child, 0);
    let history = History::random(2, 10);
    thread.publish(&history);
    fixture.drainer.root_ended(0);
    let [root, late, child] =
        ["x.tape", "x.1.tape", &format!("x.{other}.tape")].map(|name| fixture.path(name));
    let outcome = fixture.drainer.finish();
    assert_eq!(outcome.tapes.len(), 3, "{outcome:?}");
    let [root, late, child] = [root, late, child].map(|path| Content::read(&path));
    let named = |content: &Content| -> Vec<String> {
        content
            .children
            .iter()
            .map(|child| child.tape.clone())
            .collect()
    };
    assert_eq!(named(&root), ["x.1.tape"]);
    assert_eq!(named(&late), [format!("x.{other}.tape")]);
    let (late_end, late_facts) = (late.end.unwrap(), late.process.unwrap());
    assert_eq!((late_end.how, late_end.allocs, late_end.frees), (3, 0, 0));
    assert_eq!(
        (late_facts.pid, late_facts.parent_tape.as_str()),
        (1, "x.tape")
    );
    let facts = child.process.as_ref().unwrap();
    assert_eq!(
        (facts.parent_tape.as_str(), facts.parent_pid),
        ("x.1.tape", 1)
    );
    child.assert_histories(&[history]);
}

#[test]
fn a_tape_that_was_just_begun_gets_its_parent_after_a_recovery() {
    for has_header in [true, false] {
        let mut fixture = Fixture::new(Settings::default());
        let session = &fixture.session;
        let pid = std::process::id();
        fixture
            .drainer
            .set_root(pid, ROOT_START, vec!["first".into()]);
        let root = Process::begin_as(session, pid, ROOT_START, 0, 0, None);
        let mut thread = Thread::begin(session, &root, 0);
        thread.publish(&History::random(1, 1000));
        fixture.drainer.pass();
        let child = Process::begin_as(session, 1, 0, 0, FORKED, Some(root.index));
        let mut thread = Thread::begin(session, &child, 0);
        let history = History::random(2, 10);
        thread.publish(&history);

        // The drainer knew the name of the child's tape, or had written its first bytes.
        let written = std::fs::read(fixture.path("x.tape")).unwrap();
        let (mut header, _) = TapeHeader::decode(&written).unwrap();
        header.tape_id = [9; 16];
        header.pid = 1;
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes.truncate(if has_header { usize::MAX } else { 0 });
        std::fs::write(fixture.path("x.1.tape"), bytes).unwrap();
        for word in &session.process(child.index).unwrap().tape_id {
            word.store(u64::from_le_bytes([9; 8]), Ordering::Relaxed);
        }
        let drainer = &session.header().drainer_pid;
        drainer.store(0, Ordering::Relaxed);
        let path = fixture.drainer.session_path();
        let [root, child] = ["x.tape", "x.1.tape"].map(|name| fixture.path(name));
        let _ = fixture.drainer.leave();
        recover(&path, None).unwrap();

        let files = std::fs::read_dir(fixture.folder.path()).unwrap().count();
        assert_eq!(files, 2, "{has_header}");
        let (root, child) = (Content::read(&root), Content::read(&child));
        assert_eq!(child.header.tape_id == [9; 16], has_header);
        let named: Vec<&str> = root.children.iter().map(|child| &*child.tape).collect();
        assert_eq!(named, ["x.1.tape"], "{has_header}");
        assert_eq!(child.process.as_ref().unwrap().parent_tape, "x.tape");
        child.assert_histories(&[history]);
    }
}

/// Ticks at which the lost image began, its child's line left it, and the child was forked. They
/// are whole stamps.
const BEGAN: u64 = 1 << 20;
const LEFT: u64 = 2 << 20;
const FORK: u64 = 3 << 20;

/// What the child's slot says of the image that forked it.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// Nothing.
    Nothing,
    /// Which one it was, and when it began.
    All,
}

/// What the dead drainer had of the lost image's tape.
#[derive(Debug, Clone, Copy)]
enum Begun {
    Nothing,
    /// The file.
    Empty,
    /// Its first chunk.
    Half,
}

impl Begun {
    fn leave(self, names: &Names, header: TapeHeader) {
        let create = || names.create_other(1).unwrap();
        match self {
            Self::Nothing => {}
            Self::Empty => drop(create()),
            Self::Half => {
                let mut tape = TapeWriter::begin(create(), header);
                let mut notes = Notes::default();
                notes.process = tables::Process {
                    pid: 1,
                    origin: 2,
                    ..tables::Process::default()
                };
                notes.process_changed = true;
                notes.write_first(&mut Press::new(), &mut tape);
            }
        }
    }
}

/// Process 1 forks a child and becomes another program: its slot is somebody else's when the
/// drainer dies. `events`: so many that it had made. The paths of the tapes of the first process,
/// process 1, and the child, whose history comes last.
fn recover_child_of_lost_image(
    events: usize,
    told: Told,
    begun: Begun,
) -> (tempfile::TempDir, [PathBuf; 3], Outcome, History) {
    let mut fixture = Fixture::new(Settings::default());
    let session = &fixture.session;
    let pid = std::process::id();
    fixture
        .drainer
        .set_root(pid, ROOT_START, vec!["first".into()]);
    let root = Process::begin_as(session, pid, ROOT_START, 0, 0, None);
    let mut thread = Thread::begin(session, &root, 0);
    thread.publish(&History::random(1, 1000));
    let lost = Process::begin_as(session, 1, 0, 0, STARTED, Some(root.index));
    if events > 0 {
        let mut thread = Thread::begin(session, &lost, 0);
        thread.publish(&History::random(3, events));
        thread.finish();
    }
    let slot = session.process(lost.index).unwrap();
    let generation = process_owner(slot).generation;
    slot.cut_ticks.store(BEGAN, Ordering::Relaxed);
    set_process_phase(slot, phase::EXEC);
    let _next = Process::begin_as(session, 1, 0, 1, STARTED, Some(lost.index));
    fixture.drainer.pass();
    assert_eq!(process_owner(slot).phase, phase::FREE, "it is over");

    let other = std::os::unix::process::parent_id();
    let child = Process::begin_as(session, other, 0, 0, FORKED, None);
    let slot = session.process(child.index).unwrap();
    slot.parent.store(lost.index + 1, Ordering::Relaxed);
    slot.parent_generation.store(generation, Ordering::Relaxed);
    slot.cut_ticks.store(FORK, Ordering::Relaxed);
    if told == Told::All {
        slot.ancestor_pid.store(1, Ordering::Relaxed);
        slot.ancestor_ticks.store(BEGAN, Ordering::Relaxed);
        slot.left_ticks.store(LEFT, Ordering::Relaxed);
    }
    let mut thread = Thread::begin(session, &child, 0);
    let history = History::random(2, 10);
    thread.publish(&history);

    let paths = ["x.tape", "x.1.tape", &format!("x.{other}.tape")].map(|name| fixture.path(name));
    let written = std::fs::read(&paths[0]).unwrap();
    let (mut header, _) = TapeHeader::decode(&written).unwrap();
    header.tape_id = [9; 16];
    begun.leave(&Names::new(&paths[0]), header);
    let drainer = &session.header().drainer_pid;
    drainer.store(0, Ordering::Relaxed);
    let path = fixture.drainer.session_path();
    let _ = fixture.drainer.leave();
    let outcome = recover(&path, None).unwrap();
    (fixture.folder, paths, outcome, history)
}

fn named(content: &Content) -> Vec<&str> {
    let children = content.children.iter();
    children.map(|child| child.tape.as_str()).collect()
}

#[test]
fn a_fork_knows_the_tape_of_an_image_whose_slot_was_given_back() {
    let (_folder, paths, outcome, history) =
        recover_child_of_lost_image(20, Told::All, Begun::Nothing);
    let problems: Vec<_> = outcome
        .tapes
        .iter()
        .filter_map(|tape| tape.problem.as_ref())
        .collect();
    assert!(
        problems.iter().all(|text| !text.contains("forked")),
        "{problems:?}"
    );
    let [root, parent, child] = paths.each_ref().map(|path| Content::read(path));
    let name = paths[2].file_name().unwrap().to_str().unwrap();
    assert_eq!(named(&root), ["x.1.tape"]);
    assert_eq!(named(&parent), [name]);
    let facts = child.process.as_ref().unwrap();
    let shift = child.header.stamp_shift;
    let expected = ("x.1.tape", 1, LEFT >> shift);
    let found = (
        facts.parent_tape.as_str(),
        facts.parent_pid,
        facts.cut_stamp,
    );
    assert_eq!(found, expected);
    child.assert_histories(&[history]);
}

#[test]
fn an_image_whose_slot_was_given_back_gets_its_tape_when_a_fork_needs_it() {
    for way in [Begun::Nothing, Begun::Empty, Begun::Half] {
        let (folder, paths, _, history) = recover_child_of_lost_image(0, Told::All, way);
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 3, "{way:?}");
        let [root, late, child] = paths.each_ref().map(|path| Content::read(path));
        let name = paths[2].file_name().unwrap().to_str().unwrap();
        assert_eq!(named(&root), ["x.1.tape"], "{way:?}");
        assert_eq!(named(&late), [name], "{way:?}");
        assert_ne!(late.header.tape_id, [9; 16], "{way:?}");
        let (facts, end) = (late.process.unwrap(), late.end.unwrap());
        let shift = late.header.stamp_shift;
        let stamps = (facts.cut_stamp << shift, end.stamp << shift);
        assert_eq!(
            (facts.pid, facts.image, stamps),
            (1, 0, (BEGAN, LEFT)),
            "{way:?}"
        );
        assert_eq!(facts.parent_tape, "x.tape", "{way:?}");
        let facts = child.process.as_ref().unwrap();
        assert_eq!(facts.parent_tape, "x.1.tape", "{way:?}");
        child.assert_histories(&[history]);
    }
}

#[test]
fn a_fork_whose_parent_nobody_knows_says_so() {
    let (_folder, paths, outcome, history) =
        recover_child_of_lost_image(0, Told::Nothing, Begun::Nothing);
    let [root, child] = [&paths[0], &paths[2]].map(|path| Content::read(path));
    let facts = child.process.as_ref().unwrap();
    assert_eq!(facts.parent_tape, "");
    let message = &child.end.as_ref().unwrap().message;
    let of_child = outcome
        .tapes
        .iter()
        .find(|tape| tape.path.as_ref() == Some(&paths[2]));
    assert!(
        message.contains("not known which process forked this one"),
        "{message}"
    );
    // The child lives.
    assert!(of_child.unwrap().problem.is_some(), "{outcome:?}");
    assert_eq!(named(&root).len(), 1, "some tape names it");
    child.assert_histories(&[history]);
}
