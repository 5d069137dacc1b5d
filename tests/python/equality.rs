//! What `tracemalloc` says in the same process is what the tape says (see [`super::against`]).

use super::against::{assert_equal, assert_lines, compared, compared_with, theirs_in, total};
use super::packages::{cython_module, packages};
use super::{
    Interpreter, Tracebacks, array, chosen_interpreters, interpreters, is_locked_by_tracemalloc,
    number, script,
};
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
        // 3.14 keeps integers for reuse, too.
        let keeps_integers = ["3.14", "3.15"].contains(&interpreter.version.as_str());
        let least = if keeps_integers { 0.93 } else { 0.95 };
        assert_program(&interpreter, &["objects.py"], least);
    }
}

/// Programs that do much of one thing. What is not under the same line was kept by the interpreter
/// and used again: lists and tuples of what `asyncio`, `ast` and `copy` drop all the time, floats
/// and dictionaries of the others, frames of threads. The programs are warm at once, so that it
/// weighs more than in a long run.
#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn programs() {
    let programs = [
        ("programs/records.py", 0.93),
        ("programs/tasks.py", 0.90),
        ("programs/generators.py", 0.93),
        ("programs/crew.py", 0.93),
        ("programs/documents.py", 0.95),
        ("programs/evaluations.py", 0.70),
        ("programs/recursion.py", 0.85),
        ("programs/interpreters.py", 0.93),
    ];
    for interpreter in chosen_interpreters() {
        for (program, least) in programs {
            if program == "programs/interpreters.py" && is_locked_by_tracemalloc(&interpreter) {
                eprintln!("SKIPPED: {program}, {}", interpreter.program.display());
                continue;
            }
            assert_program(&interpreter, &[program], least);
        }
    }
}

/// Programs made of chance. They are small, so that what the interpreter keeps for reuse is more
/// of them.
#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn random_programs() {
    for seed in 0..repeats(2) {
        for interpreter in chosen_interpreters() {
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

/// Arrays of numpy. It tells tracemalloc of them in a domain of its own. Where it has their memory
/// from the C library, each is one of our native blocks, by its line; where it has it from
/// `PyMem_RawMalloc`, tracemalloc does not have it in Python's domain as well, and we do.
#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn numpy() {
    for interpreter in chosen_interpreters() {
        let Some(folder) = packages(&interpreter, &["numpy"]) else {
            continue;
        };
        let room = Room::new();
        let what = format!("numpy, {}", interpreter.program.display());
        let arguments = ["programs/arrays.py"];
        let [ours, theirs] = compared_with(&room, &interpreter, &arguments, &with_path(folder));
        let arrays = theirs_in(&room, "theirs.json", NUMPY_DOMAIN);
        assert!(total(&arrays).0 > 3_000_000, "{what}: {arrays:#?}");
        let is_raw = total(&ours).0 > total(&theirs).0 + total(&arrays).0 / 2;
        println!("{what}: arrays {:?}, of Python's: {is_raw}", total(&arrays));
        if is_raw {
            let mut all = theirs;
            for (frames, amount) in arrays {
                let sum = all.entry(frames).or_default();
                *sum = (sum.0 + amount.0, sum.1 + amount.1);
            }
            assert_near(&what, &[ours, all]);
        } else {
            assert_equal(&what, &[ours, theirs], 0.93);
            assert_native_arrays(&room, &what, &arrays);
        }
    }
}

/// Small blocks that numpy keeps for reuse are none to tracemalloc.
fn assert_near(what: &str, both: &[Tracebacks; 2]) {
    let [mine, known] = both.each_ref().map(total);
    println!("{what}: {mine:?} beside {known:?} with the arrays");
    assert!((0..64).contains(&(mine.1 - known.1)), "{what}");
    assert!((mine.0 - known.0).abs() < 16 << 10, "{what}");
    assert_lines(what, both, 0.93);
}

/// Each line that makes arrays has their bytes in native blocks.
fn assert_native_arrays(room: &Room, what: &str, arrays: &Tracebacks) {
    let program = script("programs/arrays.py");
    let program = program.to_str().unwrap();
    let window = ["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"];
    let lines = ["--domain", "native", "--lang", "python", "--include"];
    let answer = room.json(&[&window[..], &lines, &[program]].concat());
    let mut found = 0;
    for row in array(&answer, "rows") {
        let line = number(&array(row, "frames")[0], "line");
        let key = (program.to_owned(), line);
        let of_line = arrays.iter().filter(|(frames, _)| frames[0] == key);
        let bytes: i64 = of_line.map(|(_, amount)| amount.0).sum();
        assert!(
            number(row, "bytes") >= bytes.cast_unsigned(),
            "{what}: {row:#}"
        );
        found += bytes;
    }
    assert!(found > 2_000_000, "{what}: {found}");
}

/// A module that Cython made: its functions have no Python frames, and the blocks are those of the
/// Python function that called them, as tracemalloc has it.
#[test]
fn cython() {
    for interpreter in chosen_interpreters() {
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
