//! stress-ng's stressors of memory, processes and threads, each for a fixed number of operations,
//! with its own checks.

use super::{LIMIT, events_of_whole_tape, whole_tapes};
use heaptape_tests::{Outcome, Room, build};

/// What stress-ng says, without process ids, times and rates.
fn words(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.stdout.lines().chain(outcome.stderr.lines());
    let words = lines.filter_map(|line| {
        // `stress-ng: info:  [4711] dispatching hogs: 2 malloc`
        let (kind, text) = line.split_once('[')?;
        let (_, text) = text.split_once("] ")?;
        let text = text.split(" completed in ").next()?;
        if !kind.contains("metrc") {
            return Some(format!("{kind}{text}"));
        }
        // A table of rates: a stressor, its operations, and then times.
        let mut columns = text.split_whitespace();
        let (stressor, operations) = (columns.next()?, columns.next()?);
        operations.parse::<u64>().ok()?;
        Some(format!("{stressor} {operations}"))
    });
    words.collect()
}

/// Runs stress-ng bare and recorded: it finds no fault, and does as much.
fn same_as_bare(arguments: &[&str], operations: &str) {
    let room = Room::new();
    let stress = build::needed_program("stress-ng", "stress-ng");
    let mut argv = vec![stress.to_str().unwrap()];
    argv.extend(["--verify", "--metrics-brief", "--no-rand-seed"]);
    argv.extend(["--temp-path", ".", "--timeout", "300"]);
    argv.extend(arguments);
    let mut bare = room.command(&stress);
    let bare = room.start(bare.args(&argv[1..])).finish_within(LIMIT);
    assert_eq!(bare.code, 0, "{bare:#?}");
    let bare_words = words(&bare);
    let said = |word: &str| bare_words.iter().any(|line| line.contains(word));
    assert!(said("successful run"), "{bare:#?}");
    assert!(said(operations), "{operations}: {bare:#?}");

    let mut recorded = room.record_command("t.tape", &[], &argv);
    let recorded = room.start(&mut recorded).finish_within(LIMIT);
    assert_eq!(recorded.code, bare.code, "{recorded:#?}");
    assert_eq!(words(&recorded), bare_words, "recorded differs from bare");
    events_of_whole_tape(&room, "t.tape");
    room.wait_for_processes();
    let tapes = whole_tapes(&room);
    println!("stress-ng {}: as bare, {tapes} tapes", arguments.join(" "));
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn blocks() {
    same_as_bare(
        &["--malloc", "2", "--malloc-ops", "200000"],
        "malloc 200000",
    );
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn blocks_of_threads() {
    let arguments = [
        "--malloc",
        "2",
        "--malloc-ops",
        "200000",
        "--malloc-pthreads",
        "4",
    ];
    same_as_bare(&arguments, "malloc ");
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn forks() {
    same_as_bare(&["--fork", "2", "--fork-ops", "2000"], "fork 2000");
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn threads() {
    same_as_bare(
        &["--pthread", "2", "--pthread-ops", "10000"],
        "pthread 10000",
    );
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn mapped_memory() {
    let arguments = ["--vm", "2", "--vm-bytes", "32m", "--vm-ops", "10000"];
    same_as_bare(&arguments, "vm 10000");
}
