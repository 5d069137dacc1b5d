//! Extension modules that do what interpreters do not: switch between C stacks, and allocate
//! without the interpreter's lock.

use super::against::{assert_equal, compared_with, theirs};
use super::packages::{extension_module, packages};
use super::{array, chosen_interpreters, number, script, text};
use heaptape_tests::Room;

/// Stacks of greenlets, which take turns on one C stack: as tracemalloc has them.
#[test]
fn greenlets() {
    let programs = [
        ("programs/switching.py", "greenlet", 0.80),
        ("programs/cooperative.py", "gevent", 0.85),
    ];
    for interpreter in chosen_interpreters() {
        for (program, package, least) in programs {
            let Some(folder) = packages(&interpreter, &[package]) else {
                continue;
            };
            let room = Room::new();
            let both = compared_with(&room, &interpreter, &[program], &|command| {
                command.env("PYTHONPATH", &folder);
            });
            let what = format!("{program}, {}", interpreter.program.display());
            assert_equal(&what, &both, least);
        }
    }
}

/// Four threads allocate 1000 blocks of each kind without the lock, and one that Python does not
/// know 50.
#[test]
fn without_the_lock() {
    let kinds = [("native", "3001"), ("raw", "3003"), ("raw", "3005")];
    for interpreter in chosen_interpreters() {
        let Some(folder) = extension_module(&interpreter, "releasing") else {
            continue;
        };
        let room = Room::new();
        let arguments = ["programs/released.py"];
        let both = compared_with(&room, &interpreter, &arguments, &|command| {
            command.env("PYTHONPATH", &folder);
        });
        let what = format!("released.py, {}", interpreter.program.display());
        assert_equal(&what, &both, 0.95);
        let program = script("programs/released.py");
        let known = theirs(&room, "theirs.json");
        let blocks_of = |file: &str| {
            let of_file = known.iter().filter(|(frames, _)| frames[0].0 == file);
            of_file.map(|(_, amount)| amount.1).sum::<i64>()
        };
        assert!(blocks_of(program.to_str().unwrap()) >= 8000, "{what}");
        assert!(blocks_of("<unknown>") >= 100, "{what}");
        for (domain, size) in kinds {
            let window = ["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"];
            let only = ["--domain", domain, "--min-size", size, "--max-size", size];
            let by = ["--group-by", "traceback"];
            let answer = room.json(&[&window[..], &only, &by].concat());
            let (mut known, mut foreign) = (0, 0);
            for row in array(&answer, "rows") {
                let frames = array(row, "frames");
                let python = frames.iter().find(|frame| frame["language"] == "python");
                match python.map(|frame| text(frame, "function")) {
                    Some("thread_work") => known += number(row, "count"),
                    Some(other) => panic!("{what}: {other}: {row:#}"),
                    None => foreign += number(row, "count"),
                }
                let is_ours = |frame: &serde_json::Value| frame["function"] == "allocate";
                assert!(frames.iter().any(is_ours), "{what}: {row:#}");
            }
            assert_eq!((known, foreign), (4000, 50), "{what}, {domain} {size}");
        }
        let freed = ["stats", "t.tape", "--at", "mark:to", "--min-size", "3007"];
        let answer = room.json(&[&freed[..], &["--max-size", "3007"]].concat());
        assert_eq!(number(&answer["total"], "count"), 0, "{what}");
    }
}
