//! A tape that is still being written: it can be read, and nobody else may change it.

use heaptape_tests::answers::{array, rows};
use heaptape_tests::{Room, Running, build, wait_for};
use std::fs;

/// Starts `targets/steps.c` and waits until its first allocations are in the tape.
fn start(room: &Room) -> Running {
    let program = build::c("steps.c", &[]);
    let running = room.start(&mut room.record_command("t.tape", &[], &[program]));
    room.write("1", "");
    wait_for("the first allocations", || {
        let stats = [
            "stats",
            "t.tape",
            "--group-by",
            "function",
            "--format",
            "json",
        ];
        room.heaptape(&stats)
            .stdout
            .contains("first_grabs")
            .then_some(())
    });
    running
}

/// Lets the program go on to its end.
fn finish(room: &Room, running: Running) -> String {
    room.write("2", "");
    room.write("3", "");
    let outcome = running.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome.stderr
}

#[test]
fn nobody_else_writes_to_it() {
    let room = Room::new();
    let running = start(&room);
    let info = room.heaptape(&["info", "t.tape"]).success().stdout;
    assert!(info.contains("it is being recorded"), "{info}");
    assert!(!info.contains("cut, lost or damaged"), "{info}");
    assert_eq!(room.json(&["info", "t.tape"])["being_written"], true);
    for verb in ["repack", "symbolize"] {
        let refused = room.heaptape(&[verb, "t.tape"]);
        assert_eq!(refused.code, 2, "{verb}: {refused:?}");
        assert!(
            refused.stderr.contains("still being written"),
            "{refused:?}"
        );
    }
    let refused = room.heaptape(&["fold", "t.tape", "--until", "end"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("still being written"),
        "{refused:?}"
    );
    finish(&room, running);
    assert_eq!(room.assert_clean("t.tape")["being_written"], false);
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let functions = rows(&room.json(&stats));
    for (function, sum) in [
        ("first_grabs", (1000, 10)),
        ("second_grabs", (2000, 20)),
        ("third_grabs", (3000, 30)),
    ] {
        assert_eq!(functions.get(function), Some(&sum), "{functions:?}");
    }
    for verb in ["repack", "symbolize"] {
        room.heaptape(&[verb, "t.tape"]).success();
    }
}

/// Whoever moves it away or puts another file in its place is told, and harms no other file.
#[test]
fn it_can_be_moved_away() {
    for replacement in [None, Some("another file")] {
        let room = Room::new();
        let running = start(&room);
        fs::rename(room.path("t.tape"), room.path("moved.tape")).unwrap();
        if let Some(text) = replacement {
            room.write("t.tape", text);
        }
        let said = finish(&room, running);
        assert!(said.contains("moved, removed or replaced"), "{said}");
        room.assert_clean("moved.tape");
        let there = fs::read_to_string(room.path("t.tape")).ok();
        assert_eq!(there.as_deref(), replacement);
    }
}

/// One line says so: nothing is looked for in a tape that is not there.
#[test]
fn it_can_be_removed() {
    for what in ["g/t.tape", "-r g"] {
        let room = Room::new();
        fs::create_dir(room.path("g")).unwrap();
        let script = format!("ls > list; rm {what}; exit 4");
        let run = [
            "run",
            "-o",
            "g/t.tape",
            "--no-follow",
            "--",
            "sh",
            "-c",
            &script,
        ];
        let outcome = room.heaptape(&run);
        assert_eq!(outcome.code, 4, "{outcome:?}");
        assert_eq!(
            outcome.stderr,
            "heaptape: g/t.tape: this tape was moved, removed or replaced while it was written\n"
        );
    }
}

/// The kernel tells the size of a process by its first thread, as long as it has that.
#[test]
fn its_size_is_read_when_its_first_thread_has_left() {
    let room = Room::new();
    let program = build::c("left.c", &[]);
    room.record_as_bare("t.tape", &[program]);
    let timeline = room.json(&["timeline", "t.tape", "--points", "20"]);
    let points = array(&timeline, "points").iter();
    let largest = points.filter_map(|point| point["rss"].as_u64()).max();
    assert!(largest >= Some(30 << 20), "{largest:?}");
}
