//! From rings to tapes, with producers in this process in place of a recorded program: what was
//! published is in the tape, event by event, also when the drainer is killed at any moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod history;
mod killed;
mod pausing;
mod producing;
mod python;
mod relations;
mod tapes;

use heaptape_drain::{Drainer, Ending, Names, Settings};
use heaptape_session::layout::{options, phase};
use heaptape_session::map::SessionMap;
use heaptape_session::record::{blob, blob_words};
use heaptape_session::slots::{set_process_phase, set_stream_phase};
use heaptape_session::sync::Ordering;
use history::{History, Item};
use pausing::Sleeper;
use producing::{Process, Thread};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tapes::Content;

/// A drainer with a tape in a folder of its own, and the session as a recorder sees it.
struct Fixture {
    folder: tempfile::TempDir,
    drainer: Drainer,
    session: SessionMap,
}

impl Fixture {
    fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tape");
        let mut drainer = Drainer::create(&settings, &path).unwrap();
        drainer.create_tape(Names::new(&path)).unwrap();
        let session = map(&drainer.session_path());
        Self {
            folder,
            drainer,
            session,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn map(path: &Path) -> SessionMap {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    SessionMap::open(&name).unwrap()
}

#[test]
fn every_event_of_many_threads_is_in_the_tape_in_order() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    fixture
        .drainer
        .set_root(process.pid, 0, vec!["fake".into()]);
    let histories: Vec<History> = (0..4).map(|seed| History::random(seed, 90_000)).collect();
    std::thread::scope(|scope| {
        let session = &fixture.session;
        let producers: Vec<_> = histories
            .iter()
            .enumerate()
            .map(|(number, history)| {
                let mut thread = Thread::begin(session, &process, number as u32);
                scope.spawn(move || {
                    thread.publish(history);
                    thread
                })
            })
            .collect();
        while producers.iter().any(|producer| !producer.is_finished()) {
            fixture.drainer.pass();
        }
        for (number, producer) in producers.into_iter().enumerate() {
            let thread = producer.join().unwrap();
            if number % 2 == 0 {
                thread.finish();
            }
        }
    });
    let root = fixture.path("x.tape");
    let path = fixture.drainer.session_path();
    fixture.drainer.root_ended(7 << 8);
    let outcome = fixture.drainer.finish();
    assert!(!path.exists(), "the session is still there");
    assert_eq!(outcome.tapes.len(), 1);
    assert_eq!(outcome.tapes[0].ending, Ending::Exit(7));

    let content = Content::read(&root);
    content.assert_histories(&histories);
    let end = content.end.as_ref().unwrap();
    assert_eq!((end.how, end.code, end.lost), (1, 7, 0));
    let kinds = |code: u8| -> u64 {
        let events = histories.iter().flat_map(History::events);
        events.filter(|event| event.operation >> 5 == code).count() as u64
    };
    assert_eq!((end.allocs, end.frees), (kinds(0), kinds(1)));
    assert_eq!(
        (end.reallocs, end.maps),
        (kinds(2), kinds(3) + kinds(4) + kinds(5))
    );
    assert_eq!(
        outcome.tapes[0].counts.events(),
        end.allocs + end.frees + end.reallocs + end.maps
    );
    let names: Vec<&str> = content.streams.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["worker 0", "worker 1", "worker 2", "worker 3"]);
    assert_eq!(content.process.as_ref().unwrap().pid, process.pid);
    assert!(content.pairs.first().is_some_and(|pair| pair.stamp == 0));
    assert!(
        content
            .resident
            .iter()
            .all(|sample| sample.resident_bytes > 0)
    );
    assert!(!content.resident.is_empty());
}

/// A process that ends soon has its resident size too: it is read as soon as the process is met.
#[test]
fn a_short_process_is_sampled() {
    let mut fixture = Fixture::new(Settings::default());
    fixture.drainer.pass();
    let sleeper = Sleeper::start();
    let process = Process::begin_as(&fixture.session, sleeper.pid(), 0, 0, 0, None);
    fixture
        .drainer
        .set_root(process.pid, 0, vec!["fake".into()]);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    thread.publish(&History::random(1, 10));
    fixture.drainer.pass();
    drop(sleeper);
    fixture.drainer.root_ended(0);
    let path = fixture.path("x.tape");
    fixture.drainer.finish();
    let content = Content::read(&path);
    assert!(content.resident[0].resident_bytes > 0);
}

/// Below a watermark nothing new appears: every event of a later chunk is at it or above.
#[test]
fn epochs_cut_through_all_threads() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (session, stop) = (&fixture.session, &stop);
        for number in 0..2 {
            let mut thread = Thread::begin(session, &process, number);
            let history = History::random(u64::from(number), 1000);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    thread.publish_by_the_clock(&history);
                }
            });
        }
        // Cuts are made once a second.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(2500) {
            fixture.drainer.pass();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let name = format!("x.{}.tape", process.pid);
    let root = fixture.path(&name);
    fixture.drainer.finish();
    let content = Content::read(&root);
    assert!(!content.epochs.is_empty());
    for (at, epoch) in &content.epochs {
        for chunk in content.event_chunks.iter().filter(|chunk| chunk.at > *at) {
            let below = chunk.stamp_first < epoch.watermark;
            assert!(!below || epoch.inexact_streams > 0, "{epoch:?} {chunk:?}");
        }
    }
}

/// One record of each kind that is not an event.
fn publish_blobs(thread: &mut Thread<'_>) {
    let module = [
        &1u32.to_le_bytes()[..],
        &0x1000u64.to_le_bytes(),
        &0x2000u64.to_le_bytes(),
        &0x3000u64.to_le_bytes(),
        &[2, 0xab, 0xcd],
        b"/lib/a.so",
    ];
    let lost = [&9u32.to_le_bytes()[..], &6400u64.to_le_bytes(), &[1]];
    let blobs: [(u8, &[&[u8]]); 9] = [
        (blob::EXECUTABLE, &[b"/bin/app"]),
        (blob::COMMAND, &[b"app\0--flag\0two words\0"]),
        (blob::WORKING_FOLDER, &[b"/home"]),
        (blob::ALLOCATOR, &[b"/lib/libc.so.6"]),
        (blob::MODULE, &module),
        (blob::MARK, &[b"half", b"way"]),
        (blob::DOMAIN, &[&17u16.to_le_bytes(), b"pool"]),
        (blob::NOT_RECORDED, &[&[6], b"static", b"busybox sh"]),
        (blob::LOST, &lost),
    ];
    for (kind, parts) in blobs {
        let words: Vec<u64> = blob_words(kind, 640, parts).collect();
        thread.append(&words);
    }
}

#[test]
fn what_stands_between_events_is_kept() {
    let settings = Settings {
        options: options::FREE_STACKS | options::LOSSY,
        depth_max: 64,
        size_min: 3,
    };
    let mut fixture = Fixture::new(settings);
    let process = Process::begin(&fixture.session);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    publish_blobs(&mut thread);
    // Damaged: it must cost no more than itself and what stands behind it in its piece.
    thread.append(&[0xff]);
    fixture.drainer.pass();
    let outcome = fixture.drainer.finish();
    let refused = ("busybox sh".to_owned(), "static".to_owned());
    // The command that this session was made for never joins it here.
    let command = (String::new(), "the recorder did not start in it".to_owned());
    assert_eq!(outcome.not_recorded, [refused, command]);
    let content = Content::read(outcome.tapes[0].path.as_ref().unwrap());
    let facts = content.process.unwrap();
    assert_eq!(facts.executable, "/bin/app");
    assert_eq!(facts.command, ["app", "--flag", "two words"]);
    assert_eq!(
        (facts.working_folder, facts.allocator),
        ("/home".into(), "/lib/libc.so.6".into())
    );
    assert_eq!(
        (facts.options, facts.depth_max, facts.size_min),
        (1 | 8, 64, 3)
    );
    let shift = content.header.stamp_shift;
    let module = &content.modules[0];
    assert_eq!((module.index, module.load_bias), (1, 0x1000));
    assert_eq!(
        (module.start, module.end, module.stamp),
        (0x2000, 0x3000, 640 >> shift)
    );
    assert_eq!(
        (module.build_id.as_slice(), module.path.as_str()),
        (&[0xab, 0xcd][..], "/lib/a.so")
    );
    assert_eq!(
        (content.marks[0].name.as_str(), content.marks[0].stamp),
        ("halfway", 640 >> shift)
    );
    assert_eq!(
        (content.domains[0].id, content.domains[0].name.as_str()),
        (17, "pool")
    );
    assert_eq!(content.children[0].reason, "static");
    assert_eq!(
        (content.lost[0].count, content.lost[0].stamp_last),
        (9, 6400 >> shift)
    );
    assert_eq!(
        content.end.unwrap().lost,
        9 + 1,
        "nine that were told, one that was damaged"
    );
}

/// An image that execs, its successor, a forked child: names and lineage.
#[test]
fn images_of_one_tree_name_each_other() {
    let mut fixture = Fixture::new(Settings::default());
    let (pid, mut start) = (std::process::id(), vec![]);
    fixture.drainer.set_root(pid, 77, vec!["first".into()]);
    for (image, origin) in [(0, 0), (1, 2)] {
        let parent = start.last().map(|process: &Process| process.index);
        let process = Process::begin_as(&fixture.session, pid, 77, image, origin, parent);
        let mut thread = Thread::begin(&fixture.session, &process, 0);
        thread.publish(&History::random(u64::from(image), 1000));
        if image == 0 {
            let slot = fixture.session.process(process.index).unwrap();
            set_process_phase(slot, phase::EXEC);
        }
        start.push(process);
    }
    // A child of the second image, by another process that we can see.
    let child = Process::begin_as(&fixture.session, 1, 0, 0, 1, Some(start[1].index));
    let mut thread = Thread::begin(&fixture.session, &child, 0);
    thread.publish(&History::random(5, 10));
    fixture.drainer.pass();
    fixture.drainer.root_ended(0);
    let root = fixture.path("x.tape");
    let first = fixture.path(&format!("x.{pid}.1.tape"));
    let other = fixture.path("x.1.tape");
    let outcome = fixture.drainer.finish();
    let mut paths: Vec<_> = outcome
        .tapes
        .iter()
        .map(|tape| tape.path.clone().unwrap())
        .collect();
    paths.sort();
    let mut expected = [root.clone(), first.clone(), other.clone()];
    expected.sort();
    assert_eq!(paths, expected);
    assert_eq!(outcome.root_tape().unwrap().path.as_ref(), Some(&root));
    let (root, first, other) = (
        Content::read(&root),
        Content::read(&first),
        Content::read(&other),
    );
    assert_eq!(first.end.unwrap().how, 3, "exec");
    assert_eq!(first.children[0].tape, "x.tape");
    let facts = root.process.unwrap();
    assert_eq!(
        (facts.parent_tape, facts.image),
        (format!("x.{pid}.1.tape"), 1)
    );
    assert_eq!(root.end.unwrap().how, 1);
    assert_eq!(root.children[0].tape, "x.1.tape");
    let facts = other.process.unwrap();
    assert_eq!(
        (facts.parent_tape.as_str(), facts.parent_pid),
        ("x.tape", pid)
    );
    let sessions = [&root.header, &first.header, &other.header].map(|header| {
        (
            header.session_id,
            header.start_ticks,
            header.ticks_per_second,
        )
    });
    assert!(
        sessions.iter().all(|clock| *clock == sessions[0]),
        "one clock for all"
    );
}

#[test]
fn slots_are_given_back_and_used_again() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    let mut histories = Vec::new();
    for number in 0..300 {
        let history = History::random(number, 40);
        let mut thread = Thread::begin(&fixture.session, &process, number as u32);
        assert!(
            thread.slot() < 64,
            "slot {} for thread {number}",
            thread.slot()
        );
        thread.publish(&history);
        thread.finish();
        if number % 50 == 49 {
            fixture.drainer.pass();
        }
        histories.push(history);
    }
    let outcome = fixture.drainer.finish();
    Content::read(outcome.tapes[0].path.as_ref().unwrap()).assert_histories(&histories);
}

#[test]
fn a_thread_that_never_said_goodbye_is_found_dead() {
    let mut fixture = Fixture::new(Settings::default());
    let process = Process::begin(&fixture.session);
    let history = History::random(3, 100);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    thread.publish(&history);
    let slot = fixture.session.stream_slot(thread.slot());
    // No thread of ours has the id of the first process of the system.
    slot.thread_id.store(1, Ordering::Relaxed);
    let owner = slot.owner.load(Ordering::Relaxed);
    while slot.owner.load(Ordering::Relaxed) == owner {
        fixture.drainer.pass();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let outcome = fixture.drainer.finish();
    Content::read(outcome.tapes[0].path.as_ref().unwrap()).assert_histories(&[history]);
}

#[test]
fn a_full_tape_is_valid_and_counts_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tape");
    let mut drainer = Drainer::create(&Settings::default(), &path).unwrap();
    let names = Names::new(&path).with_file_bytes_max(2 << 20);
    drainer.create_tape(names).unwrap();
    let session = map(&drainer.session_path());
    let process = Process::begin(&session);
    drainer.set_root(process.pid, 0, vec![]);
    let history = History::random(1, 300_000);
    let mut thread = Thread::begin(&session, &process, 0);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| thread.publish(&history));
        while !producer.is_finished() {
            drainer.pass();
        }
    });
    let slot = session.process(process.index).unwrap();
    drainer.root_ended(0);
    let turned_off = slot.turned_off.load(Ordering::Relaxed);
    let outcome = drainer.finish();
    assert_eq!(turned_off, heaptape_session::layout::turned_off::TAPE_FULL);
    assert!(std::fs::metadata(&path).unwrap().len() <= 2 << 20);
    let content = Content::read(&path);
    let kept = content.events.get(&0).map_or(0, Vec::len);
    assert!(kept >= 32_768, "{kept}");
    content.assert_prefix(0, &history);
    let end = content.end.unwrap();
    assert_eq!(end.lost + kept as u64, history.events().count() as u64);
    assert!(
        end.message.contains("file size limit of 2 MiB (ulimit -f)"),
        "{}",
        end.message
    );
    assert_eq!(
        outcome.tapes[0].problem.as_deref(),
        Some(end.message.as_str())
    );
    assert_eq!(content.lost[0].count, end.lost);
}

/// Finds the slot for tests that look into it.
trait StreamSlots {
    fn stream_slot(&self, index: u32) -> &heaptape_session::layout::StreamSlot;
}

impl StreamSlots for SessionMap {
    fn stream_slot(&self, index: u32) -> &heaptape_session::layout::StreamSlot {
        heaptape_session::ring::Memory::stream(self, index).unwrap()
    }
}

/// Marks a stream as finished, as its thread does when it ends.
fn finish_stream(session: &SessionMap, index: u32) {
    set_stream_phase(session.stream_slot(index), phase::FINISHED);
}

/// The events of a history.
impl History {
    fn events(&self) -> impl Iterator<Item = heaptape_session::record::RingEvent> + '_ {
        self.0.iter().filter_map(|item| match item {
            Item::Event(event) => Some(*event),
            _ => None,
        })
    }
}
