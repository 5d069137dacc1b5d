//! What must never harm the target: no drainer, a closed session, limits, closed descriptors.

use crate::drainer::{Recording, Session, Setup};
use heaptape_session::layout::{Layout, options, state, turned_off};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

/// Runs `many PAIRS ARGUMENTS…`; it always ends as it does bare.
fn record(setup: Setup, arguments: &[&str]) -> Recording {
    let session = Session::new("faults", setup);
    let program = session.compile("many.c", "many");
    let recording = session.record(session.command(program).args(arguments));
    assert_eq!(
        recording.text(),
        format!("done {}\n", arguments[0]),
        "{recording:?}"
    );
    assert_eq!(recording.output.stderr, b"");
    assert_eq!(recording.output.status.code(), Some(3));
    recording
}

fn small() -> Setup {
    Setup {
        layout: Layout {
            processes: 4,
            streams: 16,
            chunks: 64,
        },
        chunks_ready: 64,
        ..Setup::default()
    }
}

/// Events recorded, and lost with what reason.
fn counts(recording: &Recording) -> (u64, u64, u32) {
    let events = recording.events_of(&recording.processes[0]).len() as u64;
    let lost = recording.streams.iter().map(|stream| stream.lost).sum();
    let reasons = recording.streams.iter().map(|stream| stream.lost_reason);
    (events, lost, reasons.max().unwrap_or(0))
}

#[test]
fn a_dead_drainer_turns_the_process_off_and_every_event_is_counted() {
    let recording = record(
        Setup {
            is_drained: false,
            ..small()
        },
        &["100000"],
    );
    let (events, lost, reason) = counts(&recording);
    assert_eq!(events + lost, 200_000);
    assert!(events > 40_000, "{events}");
    assert_eq!(reason, 4);
    assert_eq!(
        recording.processes[0].turned_off,
        turned_off::DRAINER_SILENT
    );
    assert_eq!(recording.processes[0].exit, Some(3));
}

#[test]
fn a_lossy_recording_counts_what_it_drops_and_goes_on() {
    let recording = record(
        Setup {
            is_drained: false,
            options: options::LOSSY,
            ..small()
        },
        &["100000"],
    );
    let (events, lost, reason) = counts(&recording);
    assert_eq!(events + lost, 200_000);
    assert!(lost > 0);
    assert_eq!((reason, recording.processes[0].turned_off), (1, 0));
}

#[test]
fn a_slow_drainer_is_waited_for() {
    let recording = record(small(), &["300000"]);
    assert_eq!(counts(&recording), (600_000, 0, 0));
}

#[test]
fn a_closed_session_is_left_alone() {
    let session = Session::new("closed", Setup::default());
    session
        .map
        .header()
        .state
        .store(state::CLOSED, Ordering::Relaxed);
    let program = session.compile("many.c", "many");
    let recording = session.record(session.command(program).arg("1000"));
    assert_eq!(recording.text(), "done 1000\n");
    assert_eq!(recording.processes, []);
}

#[test]
fn a_session_that_closes_turns_the_process_off() {
    let session = Session::new(
        "closing",
        Setup {
            is_drained: false,
            ..small()
        },
    );
    let program = session.compile("many.c", "many");
    let started = std::time::Instant::now();
    let recording = std::thread::scope(|scope| {
        scope.spawn(|| {
            let header = session.map.header();
            while header.waiting.load(Ordering::Relaxed) == 0 && started.elapsed().as_secs() < 20 {
                std::thread::yield_now();
            }
            header.state.store(state::CLOSED, Ordering::Relaxed);
        });
        session.record(session.command(program).arg("100000"))
    });
    assert_eq!(recording.text(), "done 100000\n");
    assert_eq!(recording.processes[0].turned_off, turned_off::CLOSED);
}

#[test]
fn no_session_means_no_recording() {
    let session = Session::new("none", Setup::default());
    let program = session.compile("many.c", "many");
    let open_to_all = session.folder().join("open");
    std::fs::copy(session.folder().join("session"), &open_to_all).expect("a copy");
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&open_to_all, mode).expect("rights");
    let garbage = session.folder().join("garbage");
    std::fs::write(&garbage, vec![7; 100_000]).expect("a file");
    for path in ["/nonexistent", "", "/", "open", "garbage"] {
        let mut command = session.command(&program);
        let path = match path {
            "open" | "garbage" => session.folder().join(path),
            other => other.into(),
        };
        command.arg("10").env("HEAPTAPE_SESSION", path);
        let recording = session.record(&mut command);
        assert_eq!(recording.text(), "done 10\n");
        assert_eq!(recording.output.stderr, b"");
        assert_eq!(recording.processes, []);
    }
    let mut command = session.command(&program);
    let recording = session.record(command.arg("10").env("HEAPTAPE", "0"));
    assert_eq!(
        (recording.text().as_str(), recording.processes.len()),
        ("done 10\n", 0)
    );
}

#[test]
fn closed_descriptors_and_limits_lose_nothing() {
    // Three segments of chunks, mapped one by one while nobody drains. RLIMIT_NOFILE keeps a
    // process from opening the file again: what is mapped leads to the rest of it.
    let whole = Setup {
        is_drained: false,
        ..Setup::default()
    };
    for how in ["close", "chdir", "size", "files"] {
        let recording = record(whole.clone(), &["70000", how]);
        assert_eq!(counts(&recording), (140_000, 0, 0), "{how}");
    }
    for arguments in [["150000", "files"], ["150000", "as=40000000"]] {
        let recording = record(Setup::default(), &arguments);
        assert_eq!(counts(&recording), (300_000, 0, 0), "{arguments:?}");
    }
}

#[test]
fn out_of_reach_chunks_turn_the_process_off() {
    let recording = record(
        Setup {
            is_drained: false,
            ..Setup::default()
        },
        &["100000", "full"],
    );
    let (events, lost, _) = counts(&recording);
    assert_eq!(events + lost, 200_002);
    assert!(events < 100_000 && recording.processes[0].turned_off != 0);
}

#[test]
fn threads_without_a_slot_are_counted() {
    let session = Session::new(
        "slots",
        Setup {
            layout: Layout {
                processes: 1,
                streams: 1,
                chunks: 64,
            },
            chunks_ready: 64,
            ..Setup::default()
        },
    );
    let program = session.compile("short_threads.c", "short");
    let recording = session.record(session.command(program).arg("20"));
    assert_eq!(recording.text(), "done\n");
    let process = &recording.processes[0];
    let [of_main] = &recording.streams[..] else {
        panic!("{:?}", recording.streams)
    };
    assert_eq!(of_main.thread_id, process.pid);
    // Each thread: a malloc and a free, and what its destructors do.
    assert_eq!(process.lost, 20 * 8);
}

#[test]
fn images_without_a_slot_are_counted() {
    let session = Session::new(
        "slots",
        Setup {
            layout: Layout {
                processes: 1,
                streams: 16,
                chunks: 64,
            },
            chunks_ready: 64,
            ..Setup::default()
        },
    );
    let program = session.compile("children.c", "children");
    let recording = session.record(session.command(program).arg("spawns"));
    assert_eq!(recording.output.status.code(), Some(16));
    assert_eq!(
        (recording.processes.len(), recording.refused_images),
        (1, 3)
    );
}
