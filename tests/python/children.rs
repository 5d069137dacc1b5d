//! Children of `multiprocessing`: each has a tape of its own, which says what a tracemalloc of its
//! own says.

use super::against::{assert_equal, compared_with, ours, theirs};
use super::{Interpreter, chosen_interpreters, number, script, text};
use heaptape_tests::Room;
use heaptape_tests::answers::rows;

/// Blocks of 7001 bytes that the child has inherited, by the line that made them, when it has
/// dropped 400 of 1000.
fn assert_inherits(room: &Room, tape: &str, what: &str) {
    let info = room.json(&["info", tape]);
    assert_eq!(info["inherited_known"], true, "{what}: {info:#}");
    let sizes = ["--min-size", "7001", "--max-size", "7002"];
    let at = |moment: &str| {
        let stats = [
            "stats",
            tape,
            "--at",
            moment,
            "--inherited",
            "--lang",
            "python",
        ];
        rows(&room.json(&[&stats[..], &sizes].concat()))
    };
    let key = format!("{}:10", script("programs/processes.py").display());
    let of = |count: u64| Some((count * 7001, count));
    assert_eq!(at("mark:from").get(&key).copied(), of(1000), "{what}");
    assert_eq!(at("mark:dropped").get(&key).copied(), of(600), "{what}");
}

fn assert_children(interpreter: &Interpreter, method: &str) {
    let room = Room::new();
    let what = format!("{method}, {}", interpreter.program.display());
    let arguments = ["programs/processes.py", method];
    let both = compared_with(&room, interpreter, &arguments, &|command| {
        command.env("PYTHONDONTWRITEBYTECODE", "1");
    });
    assert_equal(&format!("the parent, {what}"), &both, 0.90);
    room.wait_for_processes();
    let mut endings = Vec::new();
    for tape in room.tapes() {
        let info = room.assert_clean(&tape);
        let file = format!("theirs.{}.json", number(&info, "pid"));
        if !room.path(&file).exists() {
            continue;
        }
        // Small programs: more of them is what is used again.
        let both = [ours(&room, &tape), theirs(&room, &file)];
        assert_equal(&format!("{tape}, {what}"), &both, 0.90);
        endings.push(text(&info, "ended_by").to_owned());
        if method == "fork" {
            assert_inherits(&room, &tape, &what);
        }
    }
    endings.sort();
    assert_eq!(endings, ["exit:3", "exit:4", "exit:5"], "{what}");
}

#[test]
fn of_multiprocessing() {
    for interpreter in chosen_interpreters() {
        for method in ["fork", "spawn", "forkserver"] {
            assert_children(&interpreter, method);
        }
    }
}
