//! CPython's own regression tests, by Debian's Python: the outcome of every single test.
//!
//! What differs is tried again, alone, bare and recorded. A test whose outcome is chance without
//! us is left out, and named. One that always ends so bare must not end otherwise recorded even
//! once.

use super::{LIMIT, events_of_whole_tape, whole_tapes};
use heaptape_tests::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Debian's, and no other that comes first in the path.
const PYTHON: &str = "/usr/bin/python3";
/// How often a test that differs is tried again, bare and recorded.
const TRIES: usize = 5;
/// More tests than this differ by a common cause, and are not tried again.
const TRIED_MAX: usize = 20;
/// What hangs on some machines, bare as well: it needs a host for virtual machines' sockets.
const LEFT_OUT: &str = "*.ThreadedVSOCKSocketStreamTest.*";

/// Test → outcome.
type Outcomes = BTreeMap<String, String>;

/// A module of tests, and where Python gets its objects from: `pymalloc`, as usual, or `malloc`,
/// so that every object is an event.
#[derive(Debug, Clone, Copy)]
struct Module {
    name: &'static str,
    allocator: &'static str,
}

/// Exit code and outcomes of a run of `module`. `only`: these tests of it, if any are named.
fn outcomes(room: &Room, module: Module, tape: Option<&str>, only: &[&str]) -> (i32, Outcomes) {
    assert!(
        Path::new(PYTHON).exists(),
        "this test needs the package python3"
    );
    let report = room.path("outcomes.xml");
    let _ = std::fs::remove_file(&report);
    let work = room.path("work");
    let mut argv = vec![PYTHON, "-m", "test", "--verbose", "--timeout", "900"];
    argv.extend(["--junit-xml", report.to_str().unwrap()]);
    argv.extend(["--tempdir", work.to_str().unwrap(), "--ignore", LEFT_OUT]);
    argv.extend(only.iter().flat_map(|name| ["--match", *name]));
    argv.push(module.name);
    let mut command = match tape {
        Some(tape) => room.record_command(tape, &["--force"], &argv),
        None => {
            let mut command = room.command(PYTHON);
            command.args(&argv[1..]);
            command
        }
    };
    command.env("PYTHONMALLOC", module.allocator);
    let outcome = room.start(&mut command).finish_within(LIMIT);
    let report = std::fs::read_to_string(&report)
        .unwrap_or_else(|error| panic!("{}: {error}: {outcome:#?}", module.name));
    let mut found = in_report(&report);
    // Subtests that fail, and what goes wrong around the tests, are in the text alone:
    // `FAIL: test_name (test.test_module.Class.test_name) (subtest)`.
    for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
        if line.starts_with("FAIL: ") || line.starts_with("ERROR: ") {
            let name = line.split(['(', ')']).nth(1).unwrap_or(line);
            found.insert(name.to_owned(), "failed".to_owned());
        }
    }
    (outcome.code, found)
}

/// Reads what `--junit-xml` wrote.
fn in_report(report: &str) -> Outcomes {
    let mut found = Outcomes::new();
    for case in report.split("<testcase ").skip(1) {
        let name = case.split("name=\"").nth(1).unwrap();
        let name = name.split('"').next().unwrap().to_owned();
        let outcome = if case.contains("<failure") || case.contains("<error") {
            "failed"
        } else if case.contains("<skipped") {
            "skipped"
        } else {
            "passed"
        };
        let all = found.entry(name).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(outcome);
    }
    found
}

/// The names whose outcomes differ.
fn differing<'a>(one: &'a Outcomes, other: &'a Outcomes) -> Vec<&'a str> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = names.into_iter().filter(|n| one.get(*n) != other.get(*n));
    differing.map(String::as_str).collect()
}

/// Runs `module`, of which at least `least` tests pass, bare and recorded.
fn same_as_bare(module: Module, least: usize) {
    let room = Room::new();
    let (bare_code, bare) = outcomes(&room, module, None, &[]);
    let passed = bare.values().filter(|outcome| *outcome == "passed").count();
    assert!(passed >= least, "{passed} passed of {bare:#?}");
    let (code, recorded) = outcomes(&room, module, Some("t.tape"), &[]);
    let events = events_of_whole_tape(&room, "t.tape");
    room.wait_for_processes();
    let tapes = whole_tapes(&room);
    let differing = differing(&bare, &recorded);
    println!(
        "{}, {}: {} tests, {passed} pass bare, {} differ recorded; {tapes} tapes, \
         {events} allocations in the first",
        module.name,
        module.allocator,
        bare.len(),
        differing.len()
    );
    assert!(differing.len() <= TRIED_MAX, "{differing:#?}");
    if differing.is_empty() {
        assert_eq!(code, bare_code, "the exit codes differ");
    } else {
        assert_all_chance(&room, module, &bare, &differing);
    }
}

/// Tries tests again that differed. `first`: their outcomes bare.
fn assert_all_chance(room: &Room, module: Module, first: &Outcomes, tests: &[&str]) {
    let again = |tape| -> Vec<Outcomes> {
        let tries = (0..TRIES).map(|_| outcomes(room, module, tape, tests).1);
        tries.collect()
    };
    let (bare, recorded) = (again(None), again(Some("again.tape")));
    let mut unexplained = Vec::new();
    for test in tests {
        let all = |runs: &[Outcomes]| -> Vec<Option<String>> {
            runs.iter().map(|run| run.get(*test).cloned()).collect()
        };
        let (first, bare, recorded) = (first.get(*test), all(&bare), all(&recorded));
        let line = format!("{test}: bare {first:?} {bare:?}, recorded again {recorded:?}");
        if bare.iter().any(|outcome| outcome.as_ref() != first) {
            println!("left out, chance without us: {line}");
        } else {
            unexplained.push(line);
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

/// A test for each module: its name, the allocator, and how many of its tests pass at least.
macro_rules! modules {
    ($($name:ident $allocator:ident $least:literal,)*) => {
        $(
            #[test]
            #[ignore = "takes minutes: .ci/long runs it"]
            fn $name() {
                let (name, allocator) = (stringify!($name), stringify!($allocator));
                same_as_bare(Module { name, allocator }, $least);
            }
        )*
    };
}

// The longest have the usual allocator: they start hundreds of interpreters, or make millions of
// objects.
modules! {
    test_asyncio pymalloc 1500,
    test_ctypes malloc 300,
    test_faulthandler malloc 30,
    test_gc malloc 30,
    test_mmap malloc 25,
    test_multiprocessing_fork pymalloc 200,
    test_multiprocessing_forkserver pymalloc 200,
    test_multiprocessing_spawn pymalloc 200,
    test_os malloc 200,
    test_posix malloc 80,
    test_signal malloc 35,
    test_socket malloc 300,
    test_subprocess malloc 200,
    test_threading malloc 100,
    test_weakref malloc 80,
}
