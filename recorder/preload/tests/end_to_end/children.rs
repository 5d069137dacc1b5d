//! fork, vfork, posix_spawn, exec: who records what, and who descends from whom.

use crate::drainer::{Process, Recording, Session, Setup};
use heaptape_session::layout::{options, phase};
use std::collections::BTreeMap;

const FORKED: u32 = 1;
const BY_EXEC: u32 = 2;

fn record(arguments: &[&str], setup: Setup) -> Recording {
    let session = Session::new("children", setup);
    let program = session.compile("children.c", "children");
    let recording = session.record(session.command(program).args(arguments));
    assert_eq!(recording.output.stderr, b"");
    assert!(!recording.text().contains("failed"), "{}", recording.text());
    let lost: u64 = recording.streams.iter().map(|stream| stream.lost).sum();
    assert_eq!(lost, 0);
    recording
}

/// How often a process allocated each size from 500 to 999.
fn sizes(recording: &Recording, process: &Process) -> BTreeMap<u64, usize> {
    let mut sizes = BTreeMap::new();
    for event in recording.events_of(process) {
        if (500..1000).contains(&event.size) {
            *sizes.entry(event.size).or_default() += 1;
        }
    }
    sizes
}

#[test]
fn a_forked_child_has_its_own_place_and_the_cut() {
    let recording = record(&["forks"], Setup::default());
    let [parent, libc, raw, silent] = &recording.processes[..] else {
        panic!("{:#?}", recording.processes)
    };
    assert_eq!((parent.origin, parent.parent, parent.exit), (0, 0, Some(0)));
    // `prepare` ran twice in the parent, and its block was freed in both each time.
    assert_eq!(
        sizes(&recording, parent),
        BTreeMap::from([(501, 2), (600, 1)])
    );
    let ends = [(libc, 11, 601), (raw, 12, 602)];
    for (child, code, size) in ends {
        assert_eq!((child.origin, child.parent), (FORKED, parent.index + 1));
        assert_eq!(child.exit, Some(code));
        assert_eq!(sizes(&recording, child), BTreeMap::from([(size, 1)]));
        let streams = recording.streams_of(child);
        assert_eq!(streams.len(), 1);
        assert_eq!((streams[0].number, streams[0].thread_id), (0, child.pid));
    }
    assert_eq!((silent.origin, silent.exit), (FORKED, Some(13)));
    assert_eq!(
        recording.streams_of(silent).len(),
        1,
        "its atfork handler frees a block"
    );
    // What the handlers allocated before the fork is the child's by inheritance: the cut is later.
    let events = recording.events_of(parent);
    let prepared = events
        .iter()
        .find(|event| event.size == 501)
        .expect("the block");
    assert!(libc.cut_ticks >= prepared.ticks);
    let freed: Vec<u64> = recording
        .events_of(libc)
        .iter()
        .filter(|event| event.operation == 32)
        .map(|event| event.old_address)
        .collect();
    assert!(freed.contains(&prepared.address));
    let inherited = events
        .iter()
        .find(|event| event.size == 600)
        .expect("the block");
    assert!(freed.contains(&inherited.address));
    for event in recording.events_of(raw) {
        assert!(event.ticks >= raw.cut_ticks);
    }
}

#[test]
fn a_vforked_child_writes_to_its_parent() {
    let recording = record(&["vforks"], Setup::default());
    let [parent, leaf] = &recording.processes[..] else {
        panic!("{:#?}", recording.processes)
    };
    assert_eq!(recording.output.status.code(), Some(15));
    // The child's _exit(14) is not the parent's end.
    assert_eq!((parent.exit, parent.phase), (Some(15), phase::RUNNING));
    assert_eq!(sizes(&recording, parent), BTreeMap::from([(701, 2)]));
    assert_eq!(recording.streams_of(parent).len(), 1);
    assert_eq!(
        (leaf.origin, leaf.parent, leaf.image),
        (BY_EXEC, parent.index + 1, 0)
    );
    assert_eq!(
        (sizes(&recording, leaf), leaf.exit),
        (BTreeMap::from([(700, 1)]), Some(21))
    );
}

#[test]
fn a_spawned_child_is_recorded_whatever_its_environment() {
    let recording = record(&["spawns"], Setup::default());
    let parent = &recording.processes[0];
    assert_eq!(recording.output.status.code(), Some(16));
    assert_eq!(parent.exit, Some(16), "quick_exit");
    // Four were started; one environment says HEAPTAPE=0.
    assert_eq!(recording.processes.len(), 4);
    for leaf in &recording.processes[1..] {
        assert_eq!((leaf.origin, leaf.parent), (BY_EXEC, parent.index + 1));
        assert_eq!(sizes(&recording, leaf), BTreeMap::from([(800, 1)]));
    }
    let without = Setup {
        options: options::NO_FOLLOW,
        ..Setup::default()
    };
    let recording = record(&["spawns"], without.clone());
    assert_eq!(recording.processes.len(), 1);
    let recording = record(&["forks"], without);
    assert_eq!(recording.processes.len(), 1);
}

#[test]
fn exec_carries_the_session_on_in_every_form() {
    for which in 0..=10 {
        let recording = record(&["execs", &which.to_string()], Setup::default());
        assert_eq!(recording.output.status.code(), Some(21), "exec {which}");
        let images = &recording.processes;
        // `execlp` goes through env: one image more.
        assert_eq!(images.len(), if which == 4 { 3 } else { 2 }, "exec {which}");
        let first = &images[0];
        assert_eq!(
            sizes(&recording, first),
            BTreeMap::from([(901, 1), (902, 1)])
        );
        // A raw system call is not announced; the failed ones before were taken back.
        let expected = if which == 9 {
            phase::RUNNING
        } else {
            phase::EXEC
        };
        assert_eq!((first.phase, first.exit), (expected, None), "exec {which}");
        for (number, pair) in images.windows(2).enumerate() {
            assert_eq!(pair[1].pid, first.pid);
            assert_eq!(
                (pair[1].origin, pair[1].parent),
                (BY_EXEC, pair[0].index + 1)
            );
            assert_eq!(pair[1].image as usize, number + 1);
        }
        let last = &images[images.len() - 1];
        assert_eq!(sizes(&recording, last), BTreeMap::from([(900, 1)]));
        assert_eq!(last.exit, Some(21));
    }
}
