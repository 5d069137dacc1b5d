//! `heaptape run --limit`: tapes that stay under a size, forget what happened first, and know the
//! live heap to the block. The program knows its own (`targets/limited.c`).

use heaptape_tests::answers::{number, rows, text};
use heaptape_tests::{Random, Room, build, repeats, send, wait_for};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// What the program says of itself, or of its child.
struct Told {
    allocations: u64,
    frees: u64,
    /// (bytes, blocks).
    small: (u64, u64),
    large: (u64, u64),
}

fn told(output: &str, who: &str) -> Told {
    let line = output.lines().find(|line| line.starts_with(who)).unwrap();
    let numbers = line.split(' ').skip(1).map(|word| word.parse().unwrap());
    let numbers: Vec<u64> = numbers.collect();
    let &[allocations, frees, small, small_bytes, large, large_bytes] = &*numbers else {
        panic!("{line}");
    };
    Told {
        allocations,
        frees,
        small: (small_bytes, small),
        large: (large_bytes, large),
    }
}

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Records the program with `limit` bytes a tape; its output. No tape is ever longer.
fn record(room: &Room, limit: u64, options: &[&str], arguments: &[&str]) -> String {
    let program = build::c("limited.c", &[]);
    let argv = [&[program.to_str().unwrap()], arguments].concat();
    let limit_option = format!("--limit={limit}");
    let options = [&[&*limit_option], options].concat();
    let mut running = room.start(&mut room.record_command("t.tape", &options, &argv));
    while running.is_running() {
        for tape in room.tapes() {
            let bytes = bytes_of(&room.path(&tape));
            assert!(bytes <= limit, "{tape} has {bytes} bytes");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let outcome = running.finish();
    assert_eq!((outcome.code, &*outcome.stderr), (3, ""), "{outcome:?}");
    for tape in room.tapes() {
        let bytes = bytes_of(&room.path(&tape));
        assert!(bytes <= limit, "{tape} has {bytes} bytes");
    }
    assert_nothing_is_left(room);
    outcome.stdout
}

/// No file of a fold is left.
fn assert_nothing_is_left(room: &Room) {
    let entries = std::fs::read_dir(room.path(".")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.contains("folding")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The tape was folded, and what it says of the heap at the end is what the program said.
fn assert_as_told(room: &Room, tape: &str, told: &Told) -> Value {
    let info = room.assert_clean(tape);
    assert!(number(&info["folded"], "events") > 0, "{info:#}");
    let stats = ["stats", tape, "--at", "end", "--group-by", "function"];
    let found = rows(&room.json(&stats));
    assert_eq!(found.get("grab_small"), Some(&told.small), "{tape}");
    assert_eq!(found.get("grab_large"), Some(&told.large), "{tape}");
    info
}

fn check(limit: u64, arguments: &[&str]) {
    let room = Room::new();
    let output = record(&room, limit, &[], arguments);
    let told = told(&output, "all");
    let info = assert_as_told(&room, "t.tape", &told);
    // The C library and the threads have a few of their own, which are as many at the end.
    let events = &info["events"];
    let others = number(events, "alloc") - told.allocations;
    assert!(others < 10 + 10 * number(&info, "threads"), "{info:#}");
    assert!(number(events, "free") >= told.frees, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let start = room.heaptape(&["stats", "t.tape", "--at", "start"]);
    assert_eq!(start.code, 2, "{start:?}");
    assert!(start.stderr.contains("folded"), "{start:?}");
}

#[test]
fn one_thread() {
    check(1 << 20, &["1", "1500000", "3000"]);
}

#[test]
fn threads() {
    check(1 << 20, &["3", "400000", "500"]);
    check(3 << 20, &["16", "200000", "300", "2"]);
}

#[test]
fn many_short_threads() {
    check(1 << 20, &["2", "4000", "10", "150"]);
}

#[test]
fn a_child_has_a_tape_of_its_own() {
    let room = Room::new();
    let arguments = ["2", "400000", "300", "3", "fork"];
    let output = record(&room, 1 << 20, &[], &arguments);
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    assert_as_told(&room, "t.tape", &told(&output, "all"));
    let info = assert_as_told(&room, child, &told(&output, "child"));
    assert_eq!(text(&info, "ended_by"), "exit:0");
}

/// One image after the other in one process, each of which allocates: the last one has the name,
/// and each tape has what its image did.
#[test]
fn images_in_a_row() {
    let room = Room::new();
    let program = build::c("limited.c", &[]);
    let program = program.to_str().unwrap();
    let script = format!(
        "i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); x=\"$x$i\"; done; \
         if [ $1 -lt 4 ]; then exec sh \"$0\" $(($1 + 1)); fi; exec {program} 1 1000000 300"
    );
    let script = room.write("images.sh", script);
    let argv = ["sh", script.to_str().unwrap(), "0"];
    let outcome = room.record("t.tape", &["--limit=1MiB"], &argv);
    assert_eq!((outcome.code, &*outcome.stderr), (3, ""), "{outcome:?}");
    let tapes = room.tapes();
    assert!(tapes.len() >= 6, "{tapes:?}");
    for tape in tapes.iter().filter(|tape| *tape != "t.tape") {
        assert_adds_up(&room, tape);
    }
    assert_as_told(&room, "t.tape", &told(&outcome.stdout, "all"));
}

/// Nothing is forgotten that fits.
#[test]
fn a_large_limit_changes_nothing() {
    let room = Room::new();
    let output = record(&room, 1 << 30, &[], &["2", "20000", "300"]);
    let info = room.assert_clean("t.tape");
    assert_eq!(info["folded"], Value::Null);
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let found = rows(&room.json(&stats));
    assert_eq!(found.get("grab_small"), Some(&told(&output, "all").small));
}

/// The program goes on, and its tape is good up to where it was full.
#[test]
fn what_is_alive_does_not_fit() {
    let room = Room::new();
    let program = build::c("limited.c", &[]);
    let argv = [program.to_str().unwrap(), "1", "900000", "800000"];
    let outcome = room.record("t.tape", &["--limit=1MiB"], &argv);
    assert_eq!(outcome.code, 3, "{outcome:?}");
    let limit = "t.tape: the tape met its limit of 1 MiB (--limit): what is alive";
    assert!(outcome.stderr.contains(limit), "{outcome:?}");
    assert!(bytes_of(&room.path("t.tape")) <= 1 << 20);
    assert_nothing_is_left(&room);
    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    assert!(number(&verified, "lost_events") > 0, "{verified}");
    let stats = room.json(&["stats", "t.tape", "--at", "end"]);
    assert!(number(&stats["total"], "count") > 1000, "{stats}");
}

/// Every free found its block, and what was allocated and not freed is alive: nothing is missing or
/// doubled in it, whenever it ended. The tape has not more than 1 MiB.
fn assert_adds_up(room: &Room, tape: &str) -> Value {
    let verified = room.json(&["verify", tape]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    let info = room.json(&["info", tape]);
    let events = &info["events"];
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    assert!(bytes_of(&room.path(tape)) <= 1 << 20, "{info:#}");
    let stats = room.json(&["stats", tape, "--at", "end"]);
    let alive = number(events, "alloc") - number(events, "free");
    assert_eq!(number(&stats["total"], "count"), alive, "{info:#}");
    info
}

#[test]
fn the_program_is_killed() {
    let program = build::c("limited.c", &[]);
    let mut random = Random(17);
    for _ in 0..repeats(2) {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), "2", "900000000", "2000"];
        let options = ["--limit=1MiB"];
        let running = room.start(&mut room.record_command("t.tape", &options, &argv));
        let target = wait_for("the program", || child_of(running.pid()));
        wait_for("a fold", || is_folded(&room).then_some(()));
        std::thread::sleep(Duration::from_millis(random.below(300)));
        send(target, libc::SIGKILL);
        let outcome = running.finish();
        assert_eq!(outcome.code, 137, "{outcome:?}");
        let info = assert_adds_up(&room, "t.tape");
        assert_eq!(number(&info, "lost_events"), 0, "{info:#}");
        assert_nothing_is_left(&room);
    }
}

/// The launcher is killed, in the middle of a fold as likely as not: what it had written and what
/// is in the rings make one history.
#[test]
fn the_launcher_is_killed() {
    let program = build::c("limited.c", &[]);
    let mut random = Random(23);
    for _ in 0..repeats(3) {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), "2", "30000000", "2000"];
        let options = ["--limit=1MiB"];
        let running = room.start(&mut room.record_command("t.tape", &options, &argv));
        wait_for("a fold", || is_folded(&room).then_some(()));
        std::thread::sleep(Duration::from_millis(random.below(300)));
        send(running.pid(), libc::SIGKILL);
        running.finish();
        room.wait_for_processes();
        let sessions = room.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        let session = sessions[0].to_str().unwrap();
        room.heaptape(&["recover", session, "-o", "t.tape"])
            .success();
        assert_adds_up(&room, "t.tape");
        assert_nothing_is_left(&room);
    }
}

/// True when the tape has forgotten something.
fn is_folded(room: &Room) -> bool {
    let info = room.heaptape(&["info", "t.tape", "--format", "json", "--no-index"]);
    let facts: Option<Value> = serde_json::from_str(&info.stdout).ok();
    facts.is_some_and(|facts| facts["folded"] != Value::Null)
}

/// A child of the launcher that runs the program.
fn child_of(launcher: u32) -> Option<u32> {
    let path = format!("/proc/{launcher}/task/{launcher}/children");
    let children = std::fs::read_to_string(path).ok()?;
    let mut children = children.split_whitespace();
    children.find_map(|child| {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        name.starts_with("limited").then(|| child.parse().ok())?
    })
}

#[test]
fn limits_that_make_no_sense() {
    let room = Room::new();
    for limit in ["0", "100KiB", "-5", "much"] {
        let refused = room.heaptape(&["run", "--limit", limit, "--", "true"]);
        assert_eq!(refused.code, 125, "{limit}: {refused:?}");
        assert!(refused.stderr.contains("--limit"), "{refused:?}");
    }
    assert!(room.tapes().is_empty());
}
