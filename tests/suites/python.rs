//! CPython's own regression tests: the outcome of every single test, on each interpreter that has
//! its tests with it.
//!
//! What differs is tried again, alone, bare and recorded. A test whose outcome is chance without
//! us is left out, and named. One that always ends so bare must not end otherwise recorded even
//! once, unless [`EXPLAINED`] says why it must.

mod outcomes;
mod versions;

use super::{LIMIT, events_of_whole_tape, whole_tapes};
use crate::python::interpreters;
use heaptape_tests::Room;
use outcomes::{Outcomes, Run};
use std::path::{Path, PathBuf};

/// How often a test that differs is tried again, bare and recorded.
const TRIES: usize = 5;
/// More tests than this differ by a common cause, and are not tried again.
const TRIED_MAX: usize = 20;

/// Tests that must differ: part of the name, and why.
const EXPLAINED: [(&str, &str); 0] = [];

/// Debian's, and no other that comes first in the path.
fn debian() -> PathBuf {
    let python = Path::new("/usr/bin/python3");
    assert!(python.exists(), "this test needs the package python3");
    python.to_path_buf()
}

/// The interpreter of a version that has the tests of `module` with it, or says that there is none.
fn of_version(version: &str, module: &str) -> Option<PathBuf> {
    let has_tests = |python: &PathBuf| {
        let find =
            format!("import importlib.util as u; exit(u.find_spec('test.{module}') is None)");
        let mut command = std::process::Command::new(python);
        let output = command.args(["-c", &find]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let all = interpreters().into_iter();
    let of_version = all.filter(|interpreter| interpreter.version == version);
    let found = of_version.map(|it| it.program).find(has_tests);
    if found.is_none() {
        eprintln!("SKIPPED: no Python {version} here has {module}");
    }
    found
}

/// Runs a module, of which at least `least` tests pass, bare and recorded.
fn same_as_bare(run: &Run, least: usize) {
    let room = Room::new();
    let (bare_code, bare) = run.outcomes(&room, None, &[]);
    let passed = bare.values().filter(|outcome| *outcome == "passed").count();
    assert!(passed >= least, "{passed} passed of {bare:#?}");
    let (code, recorded) = run.outcomes(&room, Some("t.tape"), &[]);
    let events = events_of_whole_tape(&room, "t.tape");
    room.wait_for_processes();
    let tapes = whole_tapes(&room);
    let mut differing = outcomes::differing(&bare, &recorded);
    println!(
        "{run}: {} tests, {passed} pass bare, {} differ recorded; {tapes} tapes, \
         {events} allocations in the first",
        bare.len(),
        differing.len()
    );
    if differing.is_empty() {
        assert_eq!(code, bare_code, "the exit codes differ");
    }
    differing.retain(|test| {
        let known = EXPLAINED.iter().find(|(part, _)| test.contains(part));
        if let Some((_, reason)) = known {
            println!("differs, {reason}: {test}");
        }
        known.is_none()
    });
    assert!(differing.len() <= TRIED_MAX, "{differing:#?}");
    if !differing.is_empty() {
        assert_all_chance(&room, run, &bare, &differing);
    }
}

/// Tries tests again that differed. `first`: their outcomes bare.
fn assert_all_chance(room: &Room, run: &Run, first: &Outcomes, tests: &[&str]) {
    let again = |tape| -> Vec<Outcomes> {
        let tries = (0..TRIES).map(|_| run.outcomes(room, tape, tests).1);
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
    ($python:expr; $($name:ident $allocator:ident $least:literal,)*) => {
        $(
            #[test]
            #[ignore = "takes minutes: .ci/long runs it"]
            fn $name() {
                let (module, allocator) = (stringify!($name), stringify!($allocator));
                let python: Option<std::path::PathBuf> = $python(module);
                if let Some(python) = python {
                    let run = Run { python, module, allocator };
                    same_as_bare(&run, $least);
                }
            }
        )*
    };
}
use modules;

/// Much of what touches memory, processes, threads and signals. The longest have the usual
/// allocator: they start hundreds of interpreters, or make millions of objects.
mod of_debian {
    use super::{Run, same_as_bare};

    super::modules! { |_| Some(super::debian());
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
}
