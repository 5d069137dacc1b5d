//! How interpreters end, and what comes in between: the same output and exit code as bare, known
//! blocks counted exactly, under the functions that made them.

use super::{array, chosen_interpreters, number, script, text};
use heaptape_tests::Room;
use serde_json::Value;

/// Fails unless there are `count` blocks of `size` bytes at a moment, all of them of `functions`,
/// the most recent first.
fn assert_blocks(room: &Room, tape: &str, at: &str, size: u64, count: u64, functions: &[&str]) {
    let size = size.to_string();
    let answer = room.json(&[
        "stats",
        tape,
        "--at",
        at,
        "--group-by",
        "traceback",
        "--domain",
        "mem",
        "--domain",
        "obj",
        "--min-size",
        &size,
        "--max-size",
        &size,
    ]);
    let mut found = 0;
    for row in array(&answer, "rows") {
        let frames = array(row, "frames").iter();
        let python = frames.filter(|frame| frame["language"] == "python");
        let mut names: Vec<&str> = python.map(|frame| text(frame, "function")).collect();
        // A timer's handler may be interrupted by the next.
        names.dedup();
        assert_eq!(names, functions, "{tape}: {row:#}");
        found += number(row, "count");
    }
    assert_eq!(found, count, "{tape}: {size} bytes: {answer:#}");
}

/// Allocations of blocks of `size` bytes in all of the run, by the function that made them.
fn allocations(room: &Room, size: u64, function: &str) -> u64 {
    let size = size.to_string();
    let churn = room.json(&[
        "churn",
        "t.tape",
        "--lang",
        "python",
        "--group-by",
        "function",
        "--min-size",
        &size,
        "--max-size",
        &size,
    ]);
    let is_of = |row: &&Value| text(row, "key").ends_with(function);
    let rows = array(&churn, "rows").iter().filter(is_of);
    rows.map(|row| number(row, "allocations")).sum()
}

/// Bare and recorded, `programs/endings.py HOW` ends with `code` and has said the same. Its tape is
/// whole and says what ended it.
fn ends(room: &Room, python: &str, arguments: &[&str], code: i32, ended_by: &str) {
    let program = script("programs/endings.py");
    let mut argv = vec![python, program.to_str().unwrap()];
    argv.extend(arguments);
    let bare = room.bare(&argv);
    let recorded = room.record("t.tape", &[], &argv);
    assert_eq!(recorded, bare, "recorded (left) differs from bare");
    assert_eq!(recorded.code, code, "{recorded:#?}");
    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(number(&verified, "damaged"), 0, "{verified}");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(text(&info, "ended_by"), ended_by, "{info:#}");
    assert_eq!(number(&info, "lost_events"), 0, "{info:#}");
}

const KEEP: [&str; 3] = ["keep", "run", "<module>"];

/// Whatever ends it in the middle: what it had then is known exactly.
#[test]
fn in_the_middle() {
    for interpreter in chosen_interpreters() {
        let python = interpreter.program.to_str().unwrap();
        for (how, code, ended_by) in [
            ("exit", 7, "exit:7"),
            ("killed", 137, "signal:9"),
            ("aborted", 134, "signal:6"),
        ] {
            let room = Room::new();
            ends(&room, python, &[how], code, ended_by);
            assert_blocks(&room, "t.tape", "end", 8001, 300, &KEEP);
        }
        let room = Room::new();
        ends(&room, python, &["raised"], 1, "exit:1");
        assert_eq!(allocations(&room, 8001, "keep"), 500);
    }
}

/// What runs while the interpreter ends has its functions, too, and everything that a module keeps
/// is freed.
#[test]
fn shutdown() {
    for interpreter in chosen_interpreters() {
        let python = interpreter.program.to_str().unwrap();
        let room = Room::new();
        ends(&room, python, &["usual"], 0, "exit:0");
        assert_eq!(allocations(&room, 8001, "keep"), 500, "{python}");
        assert_eq!(allocations(&room, 8003, "keep"), 70, "{python}");
        assert_eq!(allocations(&room, 8005, "__del__"), 2, "{python}");
        for size in [8001, 8003, 8005] {
            assert_blocks(&room, "t.tape", "end", size, 0, &[]);
        }
        // Threads that still allocate when it ends.
        let room = Room::new();
        ends(&room, python, &["daemons"], 0, "exit:0");
        assert_eq!(allocations(&room, 8001, "keep"), 500, "{python}");
    }
}

/// An interpreter that becomes another one: the first one's tape ends there, the second has its
/// own.
#[test]
fn another_interpreter_in_its_place() {
    let interpreters = chosen_interpreters();
    for (number, interpreter) in interpreters.iter().enumerate() {
        let python = interpreter.program.to_str().unwrap();
        let next = &interpreters[(number + 1) % interpreters.len()];
        let room = Room::new();
        let program = script("programs/endings.py");
        let argv = [
            python,
            program.to_str().unwrap(),
            "exec",
            next.program.to_str().unwrap(),
        ];
        let bare = room.bare(&argv);
        assert_eq!(room.record("t.tape", &[], &argv), bare);
        let mut endings = Vec::new();
        for tape in room.tapes() {
            let info = room.assert_clean(&tape);
            endings.push(text(&info, "ended_by").to_owned());
            assert_blocks(&room, &tape, "end", 8001, 300, &KEEP);
        }
        endings.sort();
        assert_eq!(endings, ["exec", "exit:7"], "{python}");
    }
}

/// Handlers of signals stand on the functions that they interrupted.
#[test]
fn handlers_of_signals() {
    for interpreter in chosen_interpreters() {
        let room = Room::new();
        let program = script("programs/signalled.py");
        let python = interpreter.program.to_str().unwrap();
        let argv = [python, program.to_str().unwrap()];
        let bare = room.bare(&argv);
        assert_eq!(room.record("t.tape", &[], &argv), bare);
        room.assert_clean("t.tape");
        let done = "mark:done";
        let handler = ["handler", "raiser", "<module>"];
        assert_blocks(&room, "t.tape", done, 5001, 300, &handler);
        assert_blocks(
            &room,
            "t.tape",
            done,
            6001,
            50,
            &["tick", "work", "<module>"],
        );
    }
}
