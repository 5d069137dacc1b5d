//! `heaptape top` as lines: what it says of a program that runs is what `stats` says of that
//! moment, then and afterwards.

use heaptape_tests::answers::{array, assert_rows_add_up, number, rows, text};
use heaptape_tests::{Outcome, Room, Running, build, send, wait_for};
use serde_json::Value;
use std::fs;

/// The answers of `top --format json`.
fn answers(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// One answer about `what`, by function.
fn once(room: &Room, what: &str) -> Value {
    let top = ["top", what, "--once", "--group-by", "function"];
    room.json(&top)
}

/// Waits until `what` has rows of `function`, and gives them.
fn wait_for_function(room: &Room, what: &str, function: &str) -> (u64, u64) {
    wait_for("the function's blocks", || {
        rows(&once(room, what)).get(function).copied()
    })
}

/// Asked of the same moment, `stats` has the same rows.
fn compare_with_stats(room: &Room, tape: &str, answer: &Value) {
    let at = number(answer, "at_ns").to_string();
    let group_by = text(answer, "group_by");
    let stats = room.json(&["stats", tape, "--at", &at, "--group-by", group_by]);
    assert_eq!(rows(answer), rows(&stats), "at {at}");
    for member in ["bytes", "count"] {
        assert_eq!(answer["total"][member], stats["total"][member], "at {at}");
        assert_eq!(answer["heap"][member], stats["total"][member], "at {at}");
    }
    assert_rows_add_up(answer);
}

fn start(room: &Room, program: &str, options: &[&str]) -> Running {
    let program = build::c(program, &[]);
    room.start(&mut room.record_command("t.tape", options, &[program]))
}

#[test]
fn a_program_is_watched_while_it_runs() {
    let room = Room::new();
    let running = start(&room, "steps.c", &[]);
    room.write("1", "");
    wait_for("the tape", || room.path("t.tape").exists().then_some(()));
    let mut top = room.heaptape_command(&["top", "t.tape", "--batch", "0", "--interval", "0.1"]);
    top.args(["--group-by", "function", "--format", "json"]);
    let watching = room.start(&mut top);
    for (function, next) in [("first_grabs", "2"), ("second_grabs", "3")] {
        wait_for("the blocks", || {
            let said = watching.stdout_so_far();
            said.contains(function).then_some(())
        });
        room.write(next, "");
    }
    running.finish().success();
    let answers = answers(&watching.finish().success().stdout);
    assert!(answers.len() > 2, "{answers:#?}");
    let mut last = 0;
    for answer in &answers {
        let at = number(answer, "at_ns");
        assert!(at >= last, "{at} after {last}");
        last = at;
        compare_with_stats(&room, "t.tape", answer);
    }
    let end = answers.last().unwrap();
    assert_eq!(text(end, "state"), "ended");
    assert_eq!(text(end, "ended_by"), "exit:0");
    assert_eq!(rows(end).get("third_grabs"), Some(&(3000, 30)));
    assert_eq!(text(&answers[0], "state"), "recording");
    let grown = answers.iter().flat_map(|answer| array(answer, "rows"));
    let mut grown = grown.filter(|row| text(row, "key") == "second_grabs");
    let first = grown.next().unwrap();
    assert_eq!((number(first, "bytes"), number(first, "count")), (2000, 20));
    let peak = number(&end["peak"], "bytes");
    let stats = room.json(&["stats", "t.tape", "--at", "peak"]);
    assert_eq!(peak, number(&stats["total"], "bytes"));
    assert_eq!(end["peak"]["at_ns"], stats["at_ns"]);
}

#[test]
fn a_process_and_its_child_are_found_by_their_ids() {
    let room = Room::new();
    let running = start(&room, "watched.c", &[]);
    let [parent, child] = ["parent ", "child "].map(|who| {
        wait_for("the process ids", || {
            let said = running.stdout_so_far();
            let line = said.lines().find(|line| line.starts_with(who))?;
            said.ends_with('\n').then(|| line[who.len()..].to_owned())
        })
    });
    room.write("1", "");
    assert_eq!(
        wait_for_function(&room, &parent, "parent_grabs"),
        (2100, 30)
    );
    assert_eq!(wait_for_function(&room, &child, "child_grabs"), (1000, 20));
    let of_child = once(&room, &child);
    assert_eq!(number(&of_child, "pid").to_string(), child);
    let tape = text(&of_child, "tape").to_owned();
    assert_ne!(tape, text(&once(&room, &parent), "tape"));
    assert!(
        !rows(&of_child).contains_key("before_grabs"),
        "{of_child:#}"
    );
    let top = [
        "top",
        &child,
        "--once",
        "--group-by",
        "function",
        "--inherited",
    ];
    let inherited = room.json(&top);
    assert_eq!(rows(&inherited).get("before_grabs"), Some(&(5000, 5)));
    // A file of that name is meant before a process is.
    room.write(&child, "no tape");
    let refused = room.heaptape(&["top", &child, "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    room.write("end", "");
    running.finish().success();
    compare_with_stats(&room, &tape, &of_child);
}

#[test]
fn what_is_no_recorded_process_is_said() {
    let room = Room::new();
    let us = std::process::id().to_string();
    for pid in [us.as_str(), "1", "4194304", "0"] {
        let refused = room.heaptape(&["top", pid, "--once"]);
        assert_refused(&refused, "is not being recorded");
    }
    // Its drainer is gone.
    let running = start(&room, "steps.c", &[]);
    let pid = wait_for("the program", || {
        let said = running.stdout_so_far();
        said.strip_prefix("pid ")
            .and_then(|pid| pid.strip_suffix('\n'))
            .map(str::to_owned)
    });
    room.write("1", "");
    wait_for_function(&room, &pid, "first_grabs");
    send(running.pid(), libc::SIGKILL);
    running.finish();
    let refused = wait_for("the end of the launcher", || {
        let outcome = room.heaptape(&["top", &pid, "--once"]);
        (outcome.code != 0).then_some(outcome)
    });
    assert_refused(&refused, "is gone; heaptape recover");
    // What it wrote is there.
    let cut = room.json(&["top", "t.tape", "--once", "--group-by", "function"]);
    assert_eq!(rows(&cut).get("first_grabs"), Some(&(1000, 10)));
    room.write("2", "");
    room.write("3", "");
    room.wait_for_processes();
    for session in room.sessions() {
        let session = session.to_str().unwrap();
        room.heaptape(&["recover", session, "-o", "r.tape"])
            .success();
    }
}

fn assert_refused(outcome: &Outcome, words: &str) {
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains(words), "{outcome:?}");
}

#[test]
fn a_process_that_made_no_tape_yet_is_said_to_have_none() {
    let room = Room::new();
    let program = build::c("nothing.c", &[]);
    let script = format!("{} & sleep 600 & echo $!; wait -n; wait", program.display());
    let running = room.start(&mut room.record_command("t.tape", &[], &["sh", "-c", &script]));
    let pid = wait_for("the process id", || {
        let said = running.stdout_so_far();
        said.ends_with('\n').then(|| said.trim().to_owned())
    });
    let outcome = room.heaptape(&["top", &pid, "--once"]);
    // `sleep` may allocate, and then has a tape.
    if outcome.code != 0 {
        assert_refused(&outcome, "no tape yet");
    }
    send(pid.parse().unwrap(), libc::SIGKILL);
    running.finish();
}

#[test]
fn without_a_terminal_lines_must_be_asked_for() {
    let room = Room::new();
    let program = build::c("sizes.c", &[]);
    room.record("t.tape", &[], &[program]);
    assert_refused(&room.heaptape(&["top", "t.tape"]), "--batch N or --once");
    let csv = ["top", "t.tape", "--once", "--format", "csv"];
    assert_refused(&room.heaptape(&csv), "no --format csv");
    for interval in ["0", "0.01", "-1", "nan", "x"] {
        let wrong = ["top", "t.tape", "--once", "--interval", interval];
        assert_refused(&room.heaptape(&wrong), "write seconds");
    }
    let sort = ["top", "t.tape", "--once", "--sort", "lifetime"];
    assert_refused(&room.heaptape(&sort), "does not fit");
}

/// A finished tape, as `stats` shows its end.
#[test]
fn a_finished_tape_is_shown_as_stats_shows_its_end() {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    for step in ["1", "2", "3"] {
        room.write(step, "");
    }
    room.record("t.tape", &[], &[program]).success();
    let top = room.heaptape(&["top", "t.tape", "--batch", "5"]).success();
    let stats = room.heaptape(&["stats", "t.tape", "--at", "end"]).success();
    let below = |text: &str| {
        let rows = text.split_once("\n\n").map(|(_, rows)| rows.to_owned());
        rows.unwrap()
    };
    assert_eq!(below(&top.stdout), below(&stats.stdout));
    assert!(top.stdout.contains("ended (exit:0); peak"), "{top:?}");
    let chosen = ["--include", "*/steps.c", "--sort", "count", "--top", "1"];
    for format in ["text", "json"] {
        let with = |verb: &[&'static str]| {
            let format: &[&'static str] = match format {
                "json" => &["--format", "json"],
                _ => &[],
            };
            [verb, &chosen, format].concat()
        };
        let top = room.heaptape(&with(&["top", "t.tape", "--once"])).success();
        let stats = room
            .heaptape(&with(&["stats", "t.tape", "--at", "end"]))
            .success();
        match format {
            "json" => {
                let [top, stats] = [&top, &stats].map(|outcome| {
                    let whole: Value = serde_json::from_str(&outcome.stdout).unwrap();
                    rows(&whole)
                });
                assert_eq!(top.len(), 1);
                assert_eq!(top, stats);
            }
            _ => assert_eq!(below(&top.stdout), below(&stats.stdout)),
        }
    }
}

/// What is readable is shown, and that it is not all.
#[test]
fn a_damaged_tape_is_shown_as_far_as_it_can_be_read() {
    let room = Room::new();
    let program = build::c("churn.c", &[]);
    let argv = [program.to_str().unwrap(), "50000"];
    room.record("t.tape", &[], &argv).success();
    let mut bytes = fs::read(room.path("t.tape")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    room.write("t.tape", &bytes);
    let answer = room.json(&["top", "t.tape", "--once"]);
    let notes = answer["notes"].to_string();
    assert!(notes.contains("damaged in"), "{answer:#}");
    let stats = room.json(&["stats", "t.tape", "--at", "end"]);
    assert_eq!(rows(&answer), rows(&stats));
    // Cut, and nobody writes to it.
    room.write("cut.tape", &bytes[..middle - 1000]);
    let cut = room.json(&["top", "cut.tape", "--once"]);
    let at = number(&cut, "at_ns").to_string();
    let stats = room.json(&["stats", "cut.tape", "--at", &at]);
    assert_eq!(rows(&cut), rows(&stats));
}
