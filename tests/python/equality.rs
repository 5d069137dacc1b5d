//! What `tracemalloc` says in the same process is what the tape says (see [`super::against`]).

use super::against::{assert_equal, compared, compared_with, theirs_in};
use super::packages::{cython_module, packages};
use super::{Interpreter, array, interpreters, number, script};
use heaptape_tests::{Room, repeats};
use std::path::PathBuf;
use std::process::Command;

/// The domain by which numpy tells tracemalloc of its arrays.
const NUMPY_DOMAIN: u64 = 389_047;

fn assert_program(interpreter: &Interpreter, arguments: &[&str], least: f64) -> Room {
    let room = Room::new();
    let both = compared(&room, interpreter, arguments);
    let what = format!("{}, {}", arguments.join(" "), interpreter.program.display());
    assert_equal(&what, &both, least);
    room
}

/// A program that makes objects in many ways.
#[test]
fn objects() {
    for interpreter in interpreters() {
        assert_program(&interpreter, &["objects.py"], 0.95);
    }
}

/// Programs that do much of one thing. What is not under the same line was kept by the interpreter
/// and used again: lists and tuples of what `asyncio`, `ast` and `copy` drop all the time, floats
/// and dictionaries of the others, frames of threads. The programs are warm at once, so that it
/// weighs more than in a long run.
#[test]
fn programs() {
    let programs = [
        ("programs/records.py", 0.95),
        ("programs/tasks.py", 0.90),
        ("programs/generators.py", 0.95),
        ("programs/crew.py", 0.95),
        ("programs/documents.py", 0.95),
        ("programs/evaluations.py", 0.95),
        ("programs/recursion.py", 0.95),
        ("programs/interpreters.py", 0.95),
    ];
    for interpreter in interpreters() {
        for (program, least) in programs {
            assert_program(&interpreter, &[program], least);
        }
    }
}

/// Programs made of chance. They are small, so that what the interpreter keeps for reuse is more
/// of them.
#[test]
fn random_programs() {
    for seed in 0..repeats(2) {
        for interpreter in interpreters() {
            let seed = seed.to_string();
            assert_program(&interpreter, &["random_program.py", &seed], 0.85);
        }
    }
}

/// Puts a folder on the path of modules.
fn with_path(folder: PathBuf) -> impl Fn(&mut Command) {
    move |command| {
        command.env("PYTHONPATH", &folder);
    }
}

/// Arrays of numpy, which are blocks of the C library: each that numpy tells tracemalloc of is
/// one of ours, by its line. It keeps small ones for reuse, so that they are compared by the
/// interpreter's blocks alone.
#[test]
fn numpy() {
    for interpreter in interpreters() {
        let Some(folder) = packages(&interpreter, &["numpy"]) else {
            continue;
        };
        let room = Room::new();
        let what = format!("numpy, {}", interpreter.program.display());
        let arguments = ["programs/arrays.py"];
        let prepare = with_path(folder);
        let both = compared_with(&room, &interpreter, &arguments, &prepare);
        assert_equal(&what, &both, 0.95);
        let program = script("programs/arrays.py");
        let program = program.to_str().unwrap();
        let known = theirs_in(&room, "theirs.json", NUMPY_DOMAIN);
        let window = ["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"];
        let lines = ["--domain", "native", "--lang", "python", "--include"];
        let native = [&lines[..], &[program]].concat();
        let answer = room.json(&[&window[..], &native[..]].concat());
        let mut found = 0;
        for row in array(&answer, "rows") {
            let line = number(&array(row, "frames")[0], "line");
            let key = (program.to_owned(), line);
            let of_line = known.iter().filter(|(frames, _)| frames[0] == key);
            let bytes: i64 = of_line.map(|(_, amount)| amount.0).sum();
            println!("{what}, line {line}: {bytes} of {}", number(row, "bytes"));
            assert!(
                number(row, "bytes") >= bytes.cast_unsigned(),
                "{what}: {row:#}"
            );
            found += bytes;
        }
        assert!(found > 5_000_000, "{what}: {found}");
    }
}

/// A module that Cython made: its functions have no Python frames, and the blocks are those of the
/// Python function that called them, as tracemalloc has it.
#[test]
fn cython() {
    for interpreter in interpreters() {
        let Some(module) = cython_module(&interpreter, "shapes") else {
            continue;
        };
        let room = Room::new();
        let what = format!("Cython, {}", interpreter.program.display());
        let arguments = ["programs/through_cython.py"];
        let both = compared_with(&room, &interpreter, &arguments, &with_path(module));
        assert_equal(&what, &both, 0.95);
        let window = ["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"];
        let answer = room.json(&[&window[..], &["--group-by", "traceback"]].concat());
        // Its frames stand between those of the functions that it calls and that call it.
        let is_through = |row: &&serde_json::Value| {
            let frames = array(row, "frames");
            let name = |frame: &serde_json::Value| frame["function"].as_str().map(str::to_owned);
            let inner = frames.iter().position(|frame| {
                frame["language"] == "python" && name(frame).as_deref() == Some("called_back")
            });
            inner.is_some_and(|inner| {
                let outside = frames[inner + 1..].iter();
                let mut native = outside.take_while(|frame| frame["language"] == "native");
                native.any(|frame| frame["module"].as_str().is_some_and(is_of_shapes))
            })
        };
        let rows = array(&answer, "rows").iter().filter(is_through);
        let blocks: u64 = rows.map(|row| number(row, "count")).sum();
        assert!(blocks >= 400, "{what}: {blocks}");
    }
}

fn is_of_shapes(module: &str) -> bool {
    module.contains("shapes.") && module.contains(".so")
}
