//! Programs that forbid themselves system calls or the time stamp counter, on pain of death: they
//! live as they do bare, what was recorded before is whole, and the tape says what is missing.

use crate::truth_of;
use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Room, build, heaptape_path, is_root};
use serde_json::Value;

const BEFORE: (u64, u64) = (300 * 100, 300);
const AFTER: (u64, u64) = (200 * 50, 200);
const NOTHING: (u64, u64) = (0, 0);
/// Blocks of the thread that runs while all threads are forbidden something.
const OTHERS: u64 = 200_000;

const COUNTER: &str = "the recorder stopped: the program forbids itself the time stamp counter";
const CALLS: &str = "the recorder stopped: the program forbids itself system calls";
const THREADS: &str = "some threads are not recorded: they began after the program had forbidden \
     itself system calls";
const STARTER: &str = "its starter forbids it system calls that recording needs";

fn program() -> String {
    build::c("forbidden.c", &[]).to_str().unwrap().to_owned()
}

/// Runs `forbidden WORDS…` bare and recorded: both end alike. The tape's facts, and the launcher's
/// last lines.
fn as_bare(room: &Room, words: &[&str]) -> (Value, String) {
    let program = program();
    let argv = [&[program.as_str()], words].concat();
    let bare = room.bare(&argv);
    assert!((5..=12).contains(&bare.code), "{words:?}: {bare:?}");
    let recorded = room.record("t.tape", &[], &argv);
    assert_eq!(
        (recorded.code, &recorded.stdout),
        (bare.code, &bare.stdout),
        "{words:?}: {recorded:?}"
    );
    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(verified["damaged"], 0, "{words:?}: {verified}");
    assert_eq!(
        truth_of(room, "t.tape", "before_grabs"),
        BEFORE,
        "{words:?}"
    );
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(number(&info, "unknown_frees"), 0, "{words:?}: {info:#}");
    (info, recorded.stderr)
}

/// The recording ended at the ban: `lost` events were counted, and all of it is said.
fn assert_ended(words: &[&str], reason: &str, ended_by: &str, lost: u64) {
    let room = Room::new();
    let (info, stderr) = as_bare(&room, words);
    assert_eq!(info["complete"], false, "{words:?}: {info:#}");
    assert_eq!(number(&info, "lost_events"), lost, "{words:?}: {info:#}");
    assert_eq!(number(&info["events"], "alloc"), 300, "{words:?}: {info:#}");
    assert_eq!(text(&info, "ended_by"), ended_by, "{words:?}");
    assert!(stderr.contains(reason), "{words:?}: {stderr}");
    let told = room.heaptape(&["info", "t.tape"]).success().stdout;
    assert!(told.contains(reason), "{words:?}: {told}");
    assert_eq!(
        truth_of(&room, "t.tape", "after_grabs"),
        NOTHING,
        "{words:?}"
    );
    room.wait_for_processes();
    assert_eq!(room.tapes(), ["t.tape"], "{words:?}");
}

#[test]
fn a_program_without_the_time_stamp_counter() {
    for ban in ["counter", "counter-by-syscall"] {
        assert_ended(&[ban], COUNTER, "exit:11", 0);
        assert_ended(&[ban, "after", "exit"], COUNTER, "exit:5", 200);
        assert_ended(&[ban, "after", "_exit"], COUNTER, "exit:6", 200);
        assert_ended(&[ban, "fork", "after", "exit"], COUNTER, "exit:5", 200);
        // The block that the C library allocates for the thread, and the thread's own.
        assert_ended(&[ban, "thread", "exit"], COUNTER, "exit:5", 41);
        assert_ended(&[ban, "vfork-end", "-"], COUNTER, "exit:11", 10);
    }
}

#[test]
fn a_program_in_strict_mode() {
    for ban in ["strict", "strict-by-syscall"] {
        assert_ended(&[ban, "raw-exit"], CALLS, "exit:7", 0);
        assert_ended(&[ban, "after", "raw-exit"], CALLS, "exit:7", 200);
    }
}

/// Nobody can say where a stack may be read.
#[test]
fn a_filter_that_leaves_too_little() {
    let lost = 200 + 2 * (1 << 16);
    assert_ended(
        &["all-but-few", "after", "branches", "exit"],
        CALLS,
        "exit:5",
        lost,
    );
}

/// Recording goes on after the ban: all of the first thread's events are there, and `lost` of
/// threads that could not begin to record.
fn assert_goes_on(words: &[&str], lost: u64) {
    let room = Room::new();
    let (info, _) = as_bare(&room, words);
    assert_eq!(number(&info, "lost_events"), lost, "{words:?}: {info:#}");
    assert_eq!(info["complete"], lost == 0, "{words:?}: {info:#}");
    let told = room.heaptape(&["info", "t.tape"]).success().stdout;
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [text(&info, "message"), &told] {
        assert_eq!(told.contains(THREADS), lost > 0, "{words:?}: {told}");
    }
    let why = format!("lost events {lost}: see the message");
    assert_eq!(told.contains(&why), lost > 0, "{words:?}: {told}");
    assert_eq!(truth_of(&room, "t.tape", "after_grabs"), AFTER, "{words:?}");
    let thread = if words.contains(&"thread") && lost == 0 {
        (40 * 30, 40)
    } else {
        NOTHING
    };
    assert_eq!(
        truth_of(&room, "t.tape", "thread_grabs"),
        thread,
        "{words:?}"
    );
    let branches = room.json(&["churn", "t.tape", "--group-by", "function"]);
    let row = array(&branches, "rows")
        .iter()
        .find(|row| row["key"] == "branch");
    let expected = if words.contains(&"branches") {
        1 << 16
    } else {
        0
    };
    assert_eq!(row.map_or(0, |row| number(row, "allocations")), expected);
    // A child that could not say who it is has no tape, and the parent's says so.
    let is_told = array(&info, "not_recorded")
        .iter()
        .any(|image| image["reason"] == STARTER);
    assert_eq!(is_told, words.contains(&"fork"), "{words:?}: {info:#}");
    room.wait_for_processes();
    assert_eq!(room.tapes(), ["t.tape"], "{words:?}");
}

#[test]
fn a_filter_that_leaves_enough() {
    for ban in [
        "all-but-needed",
        "all-but-needed-by-syscall",
        "all-but-needed-trap",
        "unneeded",
        "unneeded-fail",
    ] {
        assert_goes_on(&[ban, "after"], 0);
        assert_goes_on(&[ban, "after", "branches", "exit"], 0);
        // A stream belongs to a thread that the kernel has named.
        assert_goes_on(&[ban, "after", "thread", "fork", "_exit"], 40);
    }
    // Two filters, by both doors: what either forbids is forbidden.
    assert_goes_on(&["twice", "after", "thread", "fork", "exit"], 0);
}

/// What fails forbids nothing, and nothing is missing.
#[test]
fn bans_that_fail() {
    let room = Room::new();
    let program = program();
    let words = ["nothing", "after", "branches", "thread", "vfork-end", "-"];
    let argv = [&[program.as_str()], &words[..]].concat();
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.code, 11, "{outcome:?}");
    assert_eq!(outcome.stdout.matches(" -1 ").count(), 4, "{outcome:?}");
    assert_eq!(truth_of(&room, "t.tape", "before_grabs"), BEFORE);
    assert_eq!(truth_of(&room, "t.tape", "after_grabs"), AFTER);
    assert_eq!(truth_of(&room, "t.tape", "thread_grabs"), (40 * 30, 40));
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(number(&info["events"], "free"), 1 << 16, "{info:#}");
}

/// All threads at once, while another one allocates.
#[test]
fn bans_of_all_threads() {
    let room = Room::new();
    let (info, _) = as_bare(&room, &["threads", "after", "exit"]);
    assert_eq!(info["complete"], true, "{info:#}");
    assert_eq!(truth_of(&room, "t.tape", "after_grabs"), AFTER);
    assert_eq!(
        truth_of(&room, "t.tape", "other_grabs"),
        (OTHERS * 16, OTHERS)
    );

    let room = Room::new();
    let (info, stderr) = as_bare(&room, &["threads-few", "after", "exit"]);
    assert_eq!(info["complete"], false, "{info:#}");
    assert!(stderr.contains(CALLS), "{stderr}");
    let (_, recorded) = truth_of(&room, "t.tape", "other_grabs");
    assert!((1000..OTHERS).contains(&recorded), "{recorded}");
    assert_eq!(
        recorded + number(&info, "lost_events"),
        OTHERS + 200,
        "{info:#}"
    );
}

/// A filter that forbids nothing that a forked child needs to record: it has a tape of its own. An
/// image would not know what is forbidden: it runs as if bare.
#[test]
fn children_and_images_after_a_ban() {
    let room = Room::new();
    let program = program();
    let (info, _) = as_bare(
        &room,
        &["sleep", "after", "fork", "exec", &program, "-", "after"],
    );
    room.wait_for_processes();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    assert_eq!(truth_of(&room, &tapes[0], "child_grabs"), (30 * 20, 30));
    assert_eq!(text(&room.assert_clean(&tapes[0]), "ended_by"), "exit:3");
    assert_eq!(number(&info["events"], "alloc"), 500, "{info:#}");
    let refused = array(&info, "not_recorded");
    assert_eq!(refused.len(), 1, "{info:#}");
    assert_eq!(text(&refused[0], "reason"), STARTER);
    assert_eq!(text(&refused[0], "command"), program);

    // Without a look at it.
    let room = Room::new();
    let words = ["unneeded-by-loader", "exec", &program, "-", "after"];
    let (info, _) = as_bare(&room, &words);
    assert_eq!(text(&array(&info, "not_recorded")[0], "reason"), STARTER);
    assert_eq!(number(&info["events"], "alloc"), 300, "{info:#}");
}

/// What a child of `vfork` forbids itself is its own affair.
#[test]
fn bans_of_a_child_that_shares_the_memory() {
    for words in [
        &["-", "vfork-end", "strict"][..],
        &["-", "vfork-end", "counter"],
        &["-", "vfork-end", "all-but-few"],
        &[
            "-",
            "vfork-forbid",
            "unneeded-by-loader",
            &program(),
            "-",
            "after",
        ],
    ] {
        let room = Room::new();
        let program = program();
        let argv = [&[program.as_str()], words].concat();
        let bare = room.bare(&argv);
        let recorded = room.record("t.tape", &[], &argv);
        assert_eq!((recorded.code, &recorded.stdout), (bare.code, &bare.stdout));
        let info = room.assert_clean("t.tape");
        // The parent has gone on recording.
        assert_eq!(truth_of(&room, "t.tape", "before_grabs"), BEFORE);
        assert_eq!(
            truth_of(&room, "t.tape", "parent_grabs"),
            (10 * 5, 10),
            "{words:?}"
        );
        assert_eq!(text(&info, "ended_by"), "exit:11");
        room.wait_for_processes();
        assert_eq!(room.tapes(), ["t.tape"], "{words:?}");
    }
}

/// Where it may not sleep it waits for the drainer without, and loses nothing.
#[test]
fn waiting_without_sleep() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so /dev/shm cannot be made small");
        return;
    }
    let room = Room::new();
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs /dev/shm && unset XDG_RUNTIME_DIR && exec \
         '{}' run --quiet -o t.tape -- '{}' all-but-needed branches after",
        heaptape_path().display(),
        program()
    );
    let outcome = room.bare(&["unshare", "-m", "sh", "-c", &script]);
    assert_eq!(outcome.code, 11, "{outcome:?}");
    let info = room.assert_clean("t.tape");
    assert_eq!(number(&info["events"], "alloc"), 300 + (1 << 16) + 200);
    assert_eq!(truth_of(&room, "t.tape", "after_grabs"), AFTER);
}
