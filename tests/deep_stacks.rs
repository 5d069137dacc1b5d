//! Deep recursion: every frame is there up to the limit, cut stacks are cut alike in each run, and
//! the answers take no more memory than there are frames.

use heaptape_tests::answers::{array, functions, number};
use heaptape_tests::{Room, build, heaptape_path};
use serde_json::Value;
use std::path::PathBuf;

/// Frames that are recorded of any stack.
const LIMIT: usize = 131_072;
/// More are never recorded.
const MOST: usize = LIMIT + LIMIT / 8;
/// Divides no level: nothing is allocated on the way.
const NEVER: &str = "1000000000";

fn program() -> PathBuf {
    build::c(
        "deep.c",
        &["-O1", "-fno-optimize-sibling-calls", "-pthread"],
    )
}

/// A room with a recording of `deep` with these arguments.
fn recorded(arguments: &[&str]) -> Room {
    let room = Room::new();
    let program = program();
    let mut argv = vec![program.to_str().unwrap()];
    argv.extend(arguments);
    room.record_as_bare("t.tape", &argv);
    room
}

/// The row of the blocks that `function` has alive at the end of `tape`.
fn row_of(room: &Room, tape: &str, function: &str) -> Value {
    let answer = room.json(&["stats", tape, "--at", "end", "--group-by", "traceback"]);
    let row = array(&answer, "rows").iter();
    let mut rows = row.filter(|row| functions(row).first() == Some(&function));
    let row = rows.next().expect("a row").clone();
    assert!(rows.next().is_none(), "one stack");
    row
}

/// How many frames of `down` a row has.
fn downs(row: &Value) -> usize {
    let names = functions(row);
    names.iter().filter(|name| **name == "down").count()
}

#[test]
fn stacks_have_all_their_frames() {
    let room = recorded(&["10", NEVER]);
    let shallow = functions(&row_of(&room, "t.tape", "bottom")).len();
    for frames in [1_000, 4_095, 4_096, 4_097, 20_000, LIMIT - 1, LIMIT] {
        let levels = frames + 10 - shallow;
        for every in [NEVER, "1003"] {
            let room = recorded(&[&levels.to_string(), every]);
            let row = row_of(&room, "t.tape", "bottom");
            assert_eq!(functions(&row).len(), frames);
            assert_eq!(downs(&row), levels);
            assert_eq!(row.get("cut"), None);
        }
    }
}

#[test]
fn deeper_stacks_are_cut_alike_in_each_run() {
    for levels in ["131100", "145000", "300000"] {
        for every in [NEVER, "1003", "17"] {
            let mut seen = Vec::new();
            for _run in 0..2 {
                let room = recorded(&[levels, every]);
                let row = row_of(&room, "t.tape", "bottom");
                let (frames, whole) = (functions(&row).len(), levels.parse::<usize>().unwrap());
                if row.get("cut").is_none() {
                    assert_eq!(downs(&row), whole);
                } else {
                    assert_eq!(row["cut"], "depth");
                    assert_eq!(downs(&row), frames - 1);
                }
                assert!((LIMIT..=MOST).contains(&frames), "{frames} of {levels}");
                seen.push(row);
            }
            assert!(seen[0] == seen[1], "{levels} by {every}");
        }
    }
}

#[test]
fn threads_are_deep_at_once() {
    let room = recorded(&["100000", "997", "4"]);
    let row = row_of(&room, "t.tape", "bottom");
    assert_eq!((downs(&row), number(&row, "count")), (100_000, 4));
}

#[test]
fn a_handler_and_a_forked_child_at_depth() {
    for levels in ["4090", "50000"] {
        let room = recorded(&[levels, NEVER, "1", "handler"]);
        let row = row_of(&room, "t.tape", "handle");
        assert_eq!(downs(&row).to_string(), levels);
        assert_eq!(row.get("cut"), None);
    }
    let room = recorded(&["50000", "100", "1", "fork"]);
    let tapes = room.tapes();
    let child = tapes.iter().find(|name| *name != "t.tape").expect("two");
    let row = row_of(&room, child, "bottom");
    assert_eq!((downs(&row), number(&row, "count")), (50_000, 1));
}

/// An allocation on each level: written out, their stacks would have five thousand million frames.
#[test]
fn answers_take_no_more_memory_than_there_are_frames() {
    let room = recorded(&["100000", "1"]);
    for group_by in ["line", "traceback"] {
        let heaptape = heaptape_path().display();
        let churn = format!("'{heaptape}' churn t.tape --group-by {group_by} --top 3");
        let script = format!("ulimit -v 4000000; exec {churn}");
        let mut command = room.command("bash");
        let said = room.run(command.args(["-c", &script])).success().stdout;
        assert!(said.contains("deep.c"), "{said}");
    }
}
