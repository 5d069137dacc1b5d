//! Threads: their streams, names and ends.

use crate::drainer::{Session, Setup};
use heaptape_session::layout::Layout;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn each_thread_has_a_stream_with_its_name() {
    let session = Session::new("threads", Setup::default());
    let program = session.compile("threads.c", "threads");
    let recording = session.record(&mut session.command(program));
    assert_eq!(
        recording.output.status.code(),
        Some(0),
        "{}",
        recording.text()
    );
    let [process] = &recording.processes[..] else {
        panic!("{:?}", recording.processes)
    };
    let streams = recording.streams_of(process);
    let names: BTreeSet<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    let expected = ["threads", "worker-0", "worker-1", "worker-2", "worker-3"];
    assert_eq!(names, BTreeSet::from(expected));
    let threads: BTreeSet<u32> = streams.iter().map(|stream| stream.thread_id).collect();
    assert_eq!(threads.len(), 5);
    let mut born: BTreeMap<u64, u64> = BTreeMap::new();
    for stream in &streams {
        let is_worker = stream.name.starts_with("worker-");
        assert_eq!(stream.is_finished, is_worker, "{}", stream.name);
        let sizes: BTreeSet<u64> = stream
            .events()
            .iter()
            .filter(|event| event.operation == 0)
            .map(|event| event.size)
            .collect();
        if is_worker {
            let number: u64 = stream.name["worker-".len()..].parse().expect("a number");
            assert_eq!(sizes, BTreeSet::from([8 + number]));
            let frees = stream
                .events()
                .iter()
                .filter(|event| event.operation == 32)
                .count();
            assert_eq!(frees, 2000);
        }
    }
    // Over all threads, in time's order, each address is born and dies in turn.
    for event in recording.events_of(process) {
        match event.operation {
            0 | 1 => assert_eq!(born.insert(event.address, event.size), None),
            32 => assert!(born.remove(&event.old_address).is_some()),
            other => panic!("operation {other}"),
        }
    }
}

#[test]
fn short_threads_use_the_same_slots_again() {
    let setup = Setup {
        layout: Layout {
            processes: 4,
            streams: 16,
            chunks: 64,
        },
        chunks_ready: 64,
        ..Setup::default()
    };
    let session = Session::new("short", setup);
    let program = session.compile("short_threads.c", "short");
    let recording = session.record(session.command(program).arg("1000"));
    assert_eq!(recording.text(), "done\n");
    let process = &recording.processes[0];
    let mut counts: BTreeMap<(u8, u64), u64> = BTreeMap::new();
    for event in recording.events_of(process) {
        *counts.entry((event.operation, event.size)).or_default() += 1;
    }
    // Destructors ran in three rounds, and what they allocated is there.
    for size in [100, 300, 301, 302] {
        assert_eq!(counts.get(&(0, size)), Some(&1000), "{size}: {counts:?}");
    }
    assert_eq!(counts.get(&(32, 0)), Some(&4000));
    let lost: u64 = recording.streams.iter().map(|stream| stream.lost).sum();
    assert_eq!((lost, process.lost), (0, 0));
    let workers = recording.streams.iter().filter(|stream| stream.is_finished);
    assert_eq!(workers.count(), 1000);
}

#[test]
fn what_a_thread_allocates_after_its_last_destructors_has_a_stream_of_its_own() {
    let session = Session::new("late", Setup::default());
    let program = session.compile("short_threads.c", "late");
    // The library's own destructor ends the stream in the fourth round, before the program's.
    let recording = session.record(session.command(program).args(["5", "9"]));
    assert_eq!(recording.text(), "done\n");
    let process = &recording.processes[0];
    let streams = recording.streams_of(process);
    let late: Vec<_> = streams[1..]
        .iter()
        .filter(|stream| !stream.is_finished)
        .collect();
    assert_eq!(late.len(), 5);
    for stream in &late {
        let operations: Vec<(u8, u64)> = stream
            .events()
            .iter()
            .map(|event| (event.operation, event.size))
            .collect();
        assert_eq!(operations, [(32, 0), (0, 304)]);
        let twins = streams
            .iter()
            .filter(|other| other.thread_id == stream.thread_id);
        assert_eq!(twins.count(), 2);
    }
}
