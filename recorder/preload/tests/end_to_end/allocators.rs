//! Other allocators behind ours, and the time before the real one is known.

use crate::calls::{bare, said};
use crate::drainer::{Session, Setup};
use crate::target::{compile, library};
use heaptape_session::layout::options;
use heaptape_session::record::blob;
use std::path::Path;
use std::process::Command;

fn preload(command: &mut Command, libraries: &[&Path]) {
    let all = std::iter::once(library()).chain(libraries.iter().copied());
    let texts: Vec<String> = all.map(|path| path.display().to_string()).collect();
    command.env("LD_PRELOAD", texts.join(":"));
}

#[test]
fn calls_inside_another_allocator_count_once() {
    for options in [0, options::MMAP] {
        let session = Session::new(
            "allocator",
            Setup {
                options,
                ..Setup::default()
            },
        );
        let shared = ["-shared", "-fPIC"];
        let allocator = compile(session.folder(), "allocator.c", "liballocator.so", &shared);
        let program = session.compile("threads.c", "threads");
        let mut command = session.command(program);
        preload(&mut command, &[&allocator]);
        let recording = session.record(&mut command);
        assert_eq!(recording.output.status.code(), Some(0), "{recording:?}");
        let process = &recording.processes[0];
        let events = recording.events_of(process);
        let count = |operation| {
            events
                .iter()
                .filter(|event| event.operation == operation)
                .count()
        };
        assert_eq!(count(0), 8000);
        assert_eq!(count(32), 8000);
        // Threads' own blocks of the C library: one calloc each, and not the malloc inside it.
        assert_eq!(count(1), 4);
        let paths = recording.blobs_of(process, blob::ALLOCATOR);
        assert_eq!(paths, [allocator.display().to_string().into_bytes()]);
        // Its mappings are address space, and recorded when that is asked for.
        assert_eq!(count(96) > 0, options == options::MMAP);
    }
}

#[test]
fn a_dlsym_that_allocates_gets_its_memory() {
    let session = Session::new("dlsym", Setup::default());
    let shared = ["-shared", "-fPIC"];
    let dlsym = compile(session.folder(), "old_dlsym.c", "libdlsym.so", &shared);
    let program = session.compile("calls.c", "calls");
    let mut command = session.command(program);
    preload(&mut command, &[&dlsym]);
    let recording = session.record(&mut command);
    assert_eq!(recording.output.status.code(), Some(7), "{recording:?}");
    let events = recording.events_of(&recording.processes[0]);
    let got: Vec<_> = events
        .iter()
        .map(bare)
        .filter(|event| event.size != 40)
        .collect();
    // Its own blocks after the start are real ones, and recorded like anybody's.
    let own = |event: &&heaptape_session::record::RingEvent| said(&recording).contains(event);
    let got: Vec<_> = got.iter().filter(own).copied().collect();
    assert_eq!(got, said(&recording));
}

#[test]
fn what_constructors_allocate_is_recorded() {
    let session = Session::new("early", Setup::default());
    let shared = ["-shared", "-fPIC"];
    let early = compile(session.folder(), "early.c", "libearly.so", &shared);
    let rpath = format!("-Wl,-rpath,{}", session.folder().display());
    let early = early.display().to_string();
    let program = compile(session.folder(), "early_main.c", "early", &[&early, &rpath]);
    let recording = session.record(&mut session.command(program));
    let events = recording.events_of(&recording.processes[0]);
    let got: Vec<_> = events.iter().map(bare).collect();
    assert_eq!(got, said(&recording));
    assert_eq!(got.len(), 2);
}

#[test]
fn a_program_with_its_own_allocator_says_so() {
    let session = Session::new("own", Setup::default());
    let program = compile(session.folder(), "own_malloc.c", "own", &["-rdynamic"]);
    let recording = session.record(&mut session.command(&program));
    assert_eq!(recording.text(), "own\n");
    let process = &recording.processes[0];
    assert_eq!(recording.events_of(process), []);
    let mut expected = b"\x18brings its own allocator".to_vec();
    expected.extend(program.display().to_string().bytes());
    assert_eq!(recording.blobs_of(process, blob::NOT_RECORDED), [expected]);
    let ordinary = session.compile("plain.c", "plain");
    let recording = session.record(&mut session.command(ordinary));
    let blobs = recording
        .streams
        .iter()
        .flat_map(|stream| stream.blobs(blob::NOT_RECORDED));
    assert_eq!(blobs.count(), 1);
}
