//! Process trees: every way to make a process, one tape for each image, names, lineage, endings;
//! and wrappers in front of the program.

use crate::truth_of;
use heaptape_tests::answers::{number, text};
use heaptape_tests::{Room, build, wait_for};
use serde_json::Value;
use std::path::PathBuf;

fn family() -> String {
    build::c("family.c", &[]).to_str().unwrap().to_owned()
}

/// The pid in the name `t.PID.tape` or `t.PID.N.tape`.
fn pid_in(name: &str) -> u32 {
    name.split('.')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("no pid in {name}"))
}

/// Checks a child's tape that `child_grabs` made after a fork that inherited the parent's blocks.
fn assert_forked_child(room: &Room, tape: &str, endings: &[&str]) {
    let info = room.assert_clean(tape);
    assert_eq!(
        truth_of(room, tape, "child_grabs"),
        (300 * 200, 300),
        "{tape}"
    );
    assert_eq!(
        truth_of(room, tape, "parent_grabs"),
        (0, 0),
        "inherited blocks are left out"
    );
    assert!(number(&info["inherited"], "count") >= 110, "{info:#}");
    assert!(
        number(&info["inherited"], "bytes") >= 100 * 50 + 10 * 1000,
        "{info:#}"
    );
    assert_eq!(number(&info, "inherited_frees"), 10, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let ended = text(&info, "ended_by");
    assert!(endings.contains(&ended), "{ended} is none of {endings:?}");
}

fn names(value: &Value) -> Vec<String> {
    let mut names: Vec<String> = value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn forked_children_have_their_own_tapes() {
    let endings: [(&str, &[&str]); 5] = [
        ("exit", &["exit:3"]),
        ("_exit", &["exit:4"]),
        // Only newer kernels tell how a process ended that is not the recorder's child.
        ("raw", &["exit:5", "unknown"]),
        ("kill", &["signal:9", "unknown"]),
        ("abort", &["signal:15", "unknown"]),
    ];
    for how in ["fork", "_Fork", "clone"] {
        for (ending, allowed) in endings {
            let room = Room::new();
            room.record_as_bare("t.tape", &[&family(), "fork", how, ending]);
            room.wait_for_processes();
            let tapes = room.tapes();
            assert_eq!(tapes.len(), 2, "{how} {ending}: {tapes:?}");
            assert_forked_child(&room, &tapes[0], allowed);
            let info = room.assert_clean("t.tape");
            assert_eq!(text(&info, "ended_by"), "exit:0");
            assert_eq!(names(&info["children"]), [tapes[0].as_str()]);
            assert_eq!(truth_of(&room, "t.tape", "parent_grabs"), (100 * 50, 100));
            assert_eq!(
                truth_of(&room, "t.tape", "after_child_grabs"),
                (20 * 70, 20)
            );
            assert_eq!(truth_of(&room, "t.tape", "child_grabs"), (0, 0));
        }
    }
}

#[test]
fn exec_of_the_root_gives_its_last_image_the_name() {
    let room = Room::new();
    let family = family();
    let outcome = room.record_as_bare("t.tape", &[&family, "exec", &family, "work", "6"]);
    assert_eq!(outcome.code, 6);
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    let last = room.assert_clean("t.tape");
    assert_eq!(text(&last, "ended_by"), "exit:6");
    assert_eq!(
        truth_of(&room, "t.tape", "after_exec_grabs"),
        (500 * 30, 500)
    );
    let first = room.assert_clean(&tapes[0]);
    assert_eq!(text(&first, "ended_by"), "exec");
    assert_eq!(truth_of(&room, &tapes[0], "parent_grabs"), (100 * 50, 100));
    assert_eq!(number(&first, "pid"), number(&last, "pid"));
    assert_eq!(tapes[0], format!("t.{}.1.tape", number(&last, "pid")));
}

#[test]
fn exec_of_a_child_gives_its_images_numbers() {
    let room = Room::new();
    let family = family();
    room.record_as_bare("t.tape", &[&family, "fork-exec", &family, "work", "6"]);
    room.wait_for_processes();
    let tapes = room.tapes();
    let pid = pid_in(&tapes[0]);
    assert_eq!(
        tapes,
        [
            format!("t.{pid}.1.tape"),
            format!("t.{pid}.tape"),
            "t.tape".to_owned()
        ]
    );
    let before = room.assert_clean(&tapes[1]);
    assert_eq!(text(&before, "ended_by"), "exec");
    assert_eq!(truth_of(&room, &tapes[1], "child_grabs"), (30 * 20, 30));
    let after = room.assert_clean(&tapes[0]);
    assert_eq!(text(&after, "ended_by"), "exit:6");
    assert_eq!(
        number(&after["inherited"], "count"),
        0,
        "exec inherits no blocks"
    );
    assert_eq!(
        truth_of(&room, &tapes[0], "after_exec_grabs"),
        (500 * 30, 500)
    );
}

#[test]
fn what_a_vfork_child_allocates_is_its_parents() {
    let family = family();
    let room = Room::new();
    room.record_as_bare("t.tape", &[family.as_str(), "vfork"]);
    assert_eq!(room.tapes(), ["t.tape"]);
    assert_eq!(
        truth_of(&room, "t.tape", "vfork_child_grabs"),
        (40 * 60, 40)
    );
    assert_eq!(
        truth_of(&room, "t.tape", "after_child_grabs"),
        (20 * 70, 20)
    );
    assert_eq!(text(&room.assert_clean("t.tape"), "ended_by"), "exit:0");

    let room = Room::new();
    room.record_as_bare("t.tape", &[&family, "vfork", &family, "work", "9"]);
    room.wait_for_processes();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    assert_eq!(
        truth_of(&room, "t.tape", "vfork_child_grabs"),
        (40 * 60, 40)
    );
    assert_eq!(
        truth_of(&room, "t.tape", "after_child_grabs"),
        (20 * 70, 20)
    );
    assert_eq!(
        truth_of(&room, &tapes[0], "after_exec_grabs"),
        (500 * 30, 500)
    );
    assert_eq!(text(&room.assert_clean(&tapes[0]), "ended_by"), "exit:9");
    assert_eq!(text(&room.assert_clean("t.tape"), "ended_by"), "exit:0");
}

#[test]
fn spawned_programs_have_their_own_tapes() {
    let room = Room::new();
    let family = family();
    room.record_as_bare("t.tape", &[&family, "spawn", &family, "work", "3"]);
    room.wait_for_processes();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 4, "{tapes:?}");
    for tape in &tapes[..3] {
        assert_eq!(text(&room.assert_clean(tape), "ended_by"), "exit:3");
        assert_eq!(
            truth_of(&room, tape, "after_exec_grabs"),
            (500 * 30, 500),
            "{tape}"
        );
    }
    let info = room.assert_clean("t.tape");
    assert_eq!(names(&info["children"]), tapes[..3]);
}

#[test]
fn a_failed_exec_changes_nothing() {
    let room = Room::new();
    room.record_as_bare("t.tape", &[family().as_str(), "failed-exec"]);
    assert_eq!(room.tapes(), ["t.tape"]);
    assert_eq!(truth_of(&room, "t.tape", "parent_grabs"), (100 * 50, 100));
    assert_eq!(truth_of(&room, "t.tape", "after_exec_grabs"), (60 * 40, 60));
    assert_eq!(text(&room.assert_clean("t.tape"), "ended_by"), "exit:0");
}

#[test]
fn no_follow_records_the_first_image_alone() {
    let room = Room::new();
    let family = family();
    let argv = [&family, "spawn", &family, "work", "3"];
    let outcome = room.record("t.tape", &["--no-follow"], &argv);
    assert_eq!(outcome, room.bare(&argv));
    assert_eq!(room.tapes(), ["t.tape"]);
    room.assert_clean("t.tape");
}

/// The command's end is the run's end; a detached drainer finishes the daemon's tape.
#[test]
fn a_daemon_is_recorded_to_its_end() {
    let room = Room::new();
    let argv = [&family(), "daemon", "done.txt", "700"];
    let outcome = room.record("t.tape", &[], &argv).success();
    assert!(!room.path("done.txt").exists(), "run waited for the daemon");
    assert_eq!(outcome.stdout, "child 0\n");
    wait_for("the daemon", || {
        room.path("done.txt").exists().then_some(())
    });
    room.wait_for_processes();
    assert_daemon_tapes(&room);
}

#[test]
fn wait_waits_for_the_whole_tree() {
    let room = Room::new();
    let argv = [&family(), "daemon", "done.txt", "300"];
    room.record("t.tape", &["--wait"], &argv).success();
    assert!(
        room.path("done.txt").exists(),
        "run did not wait for the daemon"
    );
    assert_daemon_tapes(&room);
}

fn assert_daemon_tapes(room: &Room) {
    room.assert_clean("t.tape");
    let of_daemon: Vec<String> = room
        .tapes()
        .into_iter()
        .filter(|tape| truth_of(room, tape, "child_grabs") == (300 * 200, 300))
        .collect();
    assert_eq!(of_daemon.len(), 1, "{:?}", room.tapes());
    assert_eq!(
        text(&room.assert_clean(&of_daemon[0]), "ended_by"),
        "exit:0"
    );
}

/// `-o` names the program's own tape, whatever stands in front of it.
#[test]
fn wrappers_do_not_take_the_name() {
    let family = family();
    let shim = Room::new();
    let script = format!("#!/bin/sh\nPATH=/nonexistent:$PATH\nexec '{family}' \"$@\"\n");
    let shim_path = shim.write("shim", script);
    make_executable(&shim_path);
    let script = format!("exec '{family}' work 5");
    let wrappers: [Vec<&str>; 5] = [
        vec!["env", "A=1", &family, "work", "5"],
        vec!["nice", "-n", "1", &family, "work", "5"],
        vec!["sh", "-c", &script],
        vec![shim_path.to_str().unwrap(), "work", "5"],
        vec!["env", "nice", "sh", "-c", &script],
    ];
    for argv in wrappers {
        let room = Room::new();
        let outcome = room.record_as_bare("t.tape", &argv);
        assert_eq!(outcome.code, 5);
        assert_eq!(
            truth_of(&room, "t.tape", "after_exec_grabs"),
            (500 * 30, 500),
            "{argv:?}"
        );
        let info = room.assert_clean("t.tape");
        assert_eq!(text(&info, "ended_by"), "exit:5", "{argv:?}");
        assert_eq!(info["command"][0], family.as_str(), "{argv:?}");
    }
}

fn make_executable(path: &PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_thousand_short_threads_are_exact() {
    let room = Room::new();
    let program = build::c("threads.c", &[]);
    let outcome = room.record_as_bare("t.tape", &[program.to_str().unwrap(), "1000"]);
    assert_eq!(outcome.stdout, "1000 threads\n");
    let info = room.assert_clean("t.tape");
    assert_eq!(number(&info, "threads"), 1001);
    assert_eq!(number(&info, "unknown_frees"), 0);
    assert_eq!(
        truth_of(&room, "t.tape", "thread_keeps"),
        (1000 * 5 * 40, 5000)
    );
    assert_eq!(
        truth_of(&room, "t.tape", "thread_hands_over"),
        (0, 0),
        "all were freed by main"
    );
    let churn = room.json(&["churn", "t.tape", "--group-by", "function"]);
    let row = |key: &str| {
        let rows = churn["rows"].as_array().unwrap();
        rows.iter()
            .find(|row| row["key"] == key)
            .unwrap_or_else(|| panic!("no row {key}"))
    };
    assert_eq!(number(row("thread_keeps"), "allocations"), 5000);
    assert_eq!(number(row("thread_hands_over"), "allocations"), 3000);
    assert_eq!(
        number(row("thread_hands_over"), "temporary"),
        0,
        "freed by another thread"
    );
    assert_eq!(number(row("thread_wastes"), "temporary"), 2000);
}

/// Where the current folder is gone, a tape with an absolute path has all it needs.
#[test]
fn a_current_folder_that_is_gone() {
    let room = Room::new();
    let heaptape = heaptape_tests::heaptape_path();
    let run = |option: &str| {
        let script = format!(
            "mkdir gone && cd gone && rmdir ../gone && exec '{}' run {option} -- ls /",
            heaptape.display()
        );
        room.run(room.command("sh").args(["-c", &script]))
    };
    let outcome = run(&format!("--quiet -o '{}'", room.path("t.tape").display()));
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("proc"), "{outcome:?}");
    room.assert_clean("t.tape");
    let refused = run("");
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("with -o"), "{refused:?}");
}
