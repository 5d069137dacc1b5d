//! What is asked of a running program from outside: marks, to pause, to go on.

use crate::wait_for_zombie;
use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Outcome, Room, Running, build, repeats, send, wait_for};
use serde_json::Value;
use std::io::ErrorKind;

/// Starts `targets/steps.c`; its process id.
fn start(room: &Room, options: &[&str]) -> (Running, String) {
    let program = build::c("steps.c", &[]);
    start_argv(room, "t.tape", options, &[program.to_str().unwrap()])
}

/// Starts a program that says its process id first.
fn start_argv(room: &Room, tape: &str, options: &[&str], argv: &[&str]) -> (Running, String) {
    let running = room.start(&mut room.record_command(tape, options, argv));
    let pid = wait_for("the program", || {
        let text = running.stdout_so_far();
        let line = text.lines().next()?;
        text.contains('\n')
            .then(|| line.strip_prefix("pid ").unwrap().to_owned())
    });
    (running, pid)
}

/// Lets the program take a step, and waits until it is done.
fn step(room: &Room, running: &Running, number: &str) {
    room.write(number, "");
    let done = format!("{number}\n");
    wait_for("the step", || {
        running.stdout_so_far().ends_with(&done).then_some(())
    });
}

fn marks(info: &Value) -> Vec<&str> {
    let marks = array(info, "marks").iter();
    marks.map(|mark| text(mark, "name")).collect()
}

fn grabs(room: &Room) -> Vec<(String, (u64, u64))> {
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let mut found = rows(&room.json(&stats));
    found.retain(|name, _| name.ends_with("_grabs"));
    found.into_iter().collect()
}

/// Nothing is recorded while a program is paused but frees of blocks that are known, and the tape
/// says where that was.
#[test]
fn a_paused_program_is_not_recorded() {
    let room = Room::new();
    let (running, pid) = start(&room, &[]);
    step(&room, &running, "1");
    room.heaptape(&["mark", &pid, "before"]).success();
    room.heaptape(&["pause", &pid]).success();
    step(&room, &running, "2");
    room.heaptape(&["resume", &pid]).success();
    room.heaptape(&["mark", &pid, ""]).success();
    room.write("3", "");
    running.finish().success();
    let expected = [("first_grabs", (1000, 10)), ("third_grabs", (3000, 30))];
    assert_eq!(
        grabs(&room),
        expected.map(|(name, sum)| (name.to_owned(), sum))
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(marks(&info), ["before", "paused", "resumed", ""]);
    assert_eq!(info["unknown_frees"], 0, "{info:#}");
    let sizes = ["stats", "t.tape", "--group-by", "size", "--at"];
    let kept = |at: &str| rows(&room.json(&[&sizes[..], &[at]].concat())).contains_key("77");
    assert!(kept("mark:paused") && !kept("mark:resumed"));
    let leaks = [
        "leaks",
        "t.tape",
        "--from",
        "mark:",
        "--group-by",
        "function",
    ];
    assert_eq!(
        rows(&room.json(&leaks)).get("third_grabs"),
        Some(&(3000, 30))
    );
}

/// What was said to be set is on the tape, however soon the launcher is killed; and a gate hears of
/// the pause.
#[test]
fn marks_outlive_the_launcher() {
    let room = Room::new();
    let (running, pid) = start(&room, &[]);
    step(&room, &running, "1");
    room.heaptape(&["mark", &pid, "before"]).success();
    room.heaptape(&["pause", &pid]).success();
    send(running.pid(), libc::SIGKILL);
    wait_for_zombie(running.pid());
    let refused = room.heaptape(&["resume", &pid]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("heaptape recover"), "{refused:?}");
    step(&room, &running, "2");
    room.write("3", "");
    room.wait_for_processes();
    assert_eq!(running.finish().code, 137);
    let sessions = room.sessions();
    let session = sessions[0].to_str().unwrap();
    room.heaptape(&["recover", session, "-o", "r.tape"])
        .success();
    let info = room.json(&["info", "r.tape"]);
    assert_eq!(marks(&info), ["before", "paused"]);
    let gate = room.heaptape(&["check", "r.tape", "--fail-on", "bytes>1GiB"]);
    assert!(
        gate.stderr
            .contains("r.tape: the recording was paused for "),
        "{gate:?}"
    );
}

/// On a full disk marks are refused: those that were said to be set are on the tape, no others. The
/// program does not notice.
#[test]
fn marks_that_a_full_disk_does_not_take_are_refused() {
    let mut room = Room::new();
    let Some(disk) = room.mount_small_disk("disk", 256 << 10) else {
        return;
    };
    let program = build::c("steps.c", &[]);
    let argv = [program.to_str().unwrap()];
    let (running, pid) = start_argv(&room, "disk/t.tape", &[], &argv);
    step(&room, &running, "1");
    room.heaptape(&["mark", &pid, "early"]).success();
    // As much as fits; the rest of a page that the tape has begun takes some marks more.
    let other = std::fs::write(disk.join("other"), vec![1; 256 << 10]).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::StorageFull);
    let mut set = vec!["early".to_owned()];
    let refused = wait_for("the tape to be full", || {
        let name = format!("mark {}", set.len());
        let outcome = room.heaptape(&["mark", &pid, &name]);
        if outcome.code == 0 {
            set.push(name);
        }
        (outcome.code != 0).then_some(outcome)
    });
    let again = room.heaptape(&["mark", &pid, "late"]);
    let paused = room.heaptape(&["pause", &pid]);
    for outcome in [refused, again, paused] {
        assert_eq!(outcome.code, 2, "{outcome:?}");
        let said = format!("the mark is not on the tape of process {pid}");
        assert!(outcome.stderr.contains(&said), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    step(&room, &running, "2");
    room.write("3", "");
    let recorded = running.finish();
    let bare = room.bare(&argv);
    let words = |outcome: &Outcome| outcome.stdout.split_once('\n').unwrap().1.to_owned();
    assert_eq!(
        (recorded.code, words(&recorded)),
        (bare.code, words(&bare)),
        "{recorded:?}"
    );
    assert!(recorded.stderr.contains("no space left"), "{recorded:?}");
    let verified = room.json(&["verify", "disk/t.tape"]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    let info = room.json(&["info", "disk/t.tape", "--no-index"]);
    assert_eq!(marks(&info), set);
}

/// What a stopped launcher is asked is refused, and then nothing was changed; or it is done, and
/// what is missing is told.
#[test]
fn a_launcher_that_is_stopped() {
    let room = Room::new();
    let (running, pid) = start(&room, &[]);
    step(&room, &running, "1");
    send(running.pid(), libc::SIGSTOP);
    let refused = room.heaptape(&["mark", &pid, "m"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("nothing was changed"),
        "{refused:?}"
    );
    let paused = room.heaptape(&["pause", &pid]);
    assert_eq!(paused.code, 0, "{paused:?}");
    assert!(
        paused.stderr.contains("is paused; its tape gets the mark"),
        "{paused:?}"
    );
    let not_resumed = room.heaptape(&["resume", &pid]);
    assert_eq!(not_resumed.code, 2, "{not_resumed:?}");
    step(&room, &running, "2");
    send(running.pid(), libc::SIGCONT);
    for asked in [&["mark", &pid, "m"][..], &["resume", &pid]] {
        let done = room.heaptape(asked).success();
        assert_eq!(done.stderr, "");
    }
    room.write("3", "");
    running.finish().success();
    let expected = [("first_grabs", (1000, 10)), ("third_grabs", (3000, 30))];
    assert_eq!(
        grabs(&room),
        expected.map(|(name, sum)| (name.to_owned(), sum))
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(marks(&info), ["paused", "m", "resumed"]);
}

/// A program goes on when its first thread has left, and so does what is asked of it.
#[test]
fn a_program_without_its_first_thread_is_marked() {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    let argv = [program.to_str().unwrap(), "outlived"];
    let (running, pid) = start_argv(&room, "t.tape", &[], &argv);
    wait_for_zombie(pid.parse().unwrap());
    step(&room, &running, "1");
    room.heaptape(&["mark", &pid, "a"]).success();
    room.heaptape(&["pause", &pid]).success();
    step(&room, &running, "2");
    room.heaptape(&["resume", &pid]).success();
    room.write("3", "");
    let recorded = running.finish();
    assert_eq!(recorded.code, room.bare(&argv).code, "{recorded:?}");
    assert_eq!(recorded.stderr, "");
    let expected = [("first_grabs", (1000, 10)), ("third_grabs", (3000, 30))];
    assert_eq!(
        grabs(&room),
        expected.map(|(name, sum)| (name.to_owned(), sum))
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(marks(&info), ["a", "paused", "resumed"]);
}

/// A process that becomes one image after the other is recorded at any moment: also between two of
/// them it takes marks.
#[test]
fn a_process_between_two_images_is_marked() {
    let room = Room::new();
    room.write("go", "");
    let program = build::c("chain.c", &[]);
    let argv = [program.to_str().unwrap()];
    let (running, pid) = start_argv(&room, "t.tape", &["--no-symbolize"], &argv);
    let mut names: Vec<String> = (100..100 + repeats(40)).map(|k| format!("m{k}")).collect();
    for name in &names {
        room.heaptape(&["mark", &pid, name]).success();
    }
    std::fs::remove_file(room.path("go")).unwrap();
    let recorded = running.finish();
    assert_eq!(recorded.code, 7, "{recorded:?}");
    assert_eq!(recorded.stdout, format!("pid {pid}\nend\n"));
    assert_eq!(recorded.stderr, "");
    // Each is on the tape of one image.
    let mut found = Vec::new();
    for tape in room.tapes() {
        let info = room.json(&["info", "--no-index", &tape]);
        found.extend(marks(&info).into_iter().map(str::to_owned));
    }
    found.sort();
    names.sort();
    assert_eq!(found, names);
}

#[test]
fn a_recording_that_starts_paused() {
    let room = Room::new();
    let (running, pid) = start(&room, &["--start-paused"]);
    step(&room, &running, "1");
    room.heaptape(&["resume", &pid]).success();
    step(&room, &running, "2");
    room.write("3", "");
    running.finish().success();
    let expected = [("second_grabs", (2000, 20)), ("third_grabs", (3000, 30))];
    assert_eq!(
        grabs(&room),
        expected.map(|(name, sum)| (name.to_owned(), sum))
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(marks(&info), ["paused", "resumed"]);
    let stats = room.heaptape(&["stats", "t.tape"]).success();
    let said = "heaptape: note: t.tape: the recording was paused for ";
    assert!(stats.stderr.starts_with(said), "{stats:?}");
    // Somebody chose what is recorded: a gate is about that, and says so.
    let gate = room.heaptape(&["check", "t.tape", "--fail-on", "bytes>1GiB"]);
    assert_eq!(gate.code, 0, "{gate:?}");
    assert!(
        gate.stderr
            .contains("t.tape: the recording was paused for "),
        "{gate:?}"
    );
}

/// What a paused program starts or becomes is paused.
#[test]
fn pausing_is_inherited() {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    for step in ["1", "2", "3"] {
        room.write(step, "");
    }
    let program = program.to_str().unwrap();
    let script = format!("{program}; (exec {program}); exec env {program}");
    let options = ["--start-paused", "--wait"];
    room.record("t.tape", &options, &["sh", "-c", &script])
        .success();
    assert!(!room.tapes().is_empty());
    for tape in room.tapes() {
        let info = room.json(&["info", &tape]);
        assert_eq!(info["events"]["alloc"], 0, "{info:#}");
        assert_eq!(info["complete"], true, "{info:#}");
    }
}

#[test]
fn what_is_not_recorded_cannot_be_asked() {
    let room = Room::new();
    let own = std::process::id().to_string();
    for arguments in [
        &["mark", &own, "x"][..],
        &["pause", &own],
        &["resume", &own],
    ] {
        let refused = room.heaptape(arguments);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(&own), "{refused:?}");
    }
    let refused = room.heaptape(&["mark", &own, "paused"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("heaptape pause"), "{refused:?}");
    let refused = room.heaptape(&["mark", "abc", "x"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("a process id"), "{refused:?}");
}
