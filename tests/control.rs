//! What is asked of a running program from outside: marks, to pause, to go on.

use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Room, Running, build, send, wait_for};
use serde_json::Value;

/// Starts `targets/steps.c`; its process id.
fn start(room: &Room, options: &[&str]) -> (Running, String) {
    let program = build::c("steps.c", &[]);
    let running = room.start(&mut room.record_command("t.tape", options, &[program]));
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
    let launcher = format!("/proc/{}/stat", running.pid());
    wait_for("the launcher's end", || {
        let stat = std::fs::read_to_string(&launcher).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
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
