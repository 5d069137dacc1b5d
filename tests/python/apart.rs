//! The same program in two runs: one under `tracemalloc` alone, one recorded without it. They
//! agree but for what the interpreter keeps for reuse (see [`super::against`]).

use super::against::{by_depth, largest_differences, ours, theirs, total, traced_argv};
use super::{Interpreter, Tracebacks, chosen_interpreters, is_locked_by_tracemalloc};
use heaptape_tests::{Room, repeats};
use std::collections::BTreeSet;
use std::process::Command;

/// How much of the bytes may be under other lines: as much less, and as much more.
const LIMIT: f64 = 0.04;
/// As many times more of the blocks may be: what is kept for reuse is small.
const OF_BLOCKS: f64 = 1.5;

/// Both answers, of runs in which hashes, and so the orders of sets, are the same.
fn apart(room: &Room, interpreter: &Interpreter, arguments: &[&str]) -> [Tracebacks; 2] {
    let same = |command: &mut Command| {
        command.env("PYTHONHASHSEED", "1");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
    };
    let traced = traced_argv(interpreter, "theirs.json", arguments);
    let mut command = room.command(&traced[0]);
    same(command.args(&traced[1..]));
    room.run(&mut command).success();
    let alone = traced_argv(interpreter, "-", arguments);
    let mut command = room.record_command("t.tape", &["--force"], &alone);
    same(&mut command);
    room.run(&mut command).success();
    room.assert_clean("t.tape");
    [ours(room, "t.tape"), theirs(room, "theirs.json")]
}

/// How much of `amount` is less, and more, in `ours` than in `theirs`, key by key, as a part of all
/// of theirs.
fn less_and_more([ours, theirs]: &[Tracebacks; 2], amount: impl Fn((i64, i64)) -> i64) -> [f64; 2] {
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let of = |all: &Tracebacks, key| amount(all.get(key).copied().unwrap_or_default());
    let differences = keys.into_iter().map(|key| of(ours, key) - of(theirs, key));
    let (mut less, mut more) = (0, 0);
    for difference in differences {
        less += (-difference).max(0);
        more += difference.max(0);
    }
    let all = amount(total(theirs)) as f64;
    [less as f64 / all, more as f64 / all]
}

/// Prints how far they agree, and fails when they differ by more than `limit` of bytes.
fn assert_agree(what: &str, both: &[Tracebacks; 2], limit: f64) {
    let both = both.each_ref().map(|one| by_depth(one, 1));
    let bytes = less_and_more(&both, |amount| amount.0);
    let blocks = less_and_more(&both, |amount| amount.1);
    let percent = |parts: [f64; 2]| {
        parts
            .map(|part| format!("{:.2} %", part * 100.0))
            .join(" and ")
    };
    let (mine, known) = (total(&both[0]), total(&both[1]));
    println!(
        "{what}: {mine:?} in all beside {known:?}; by line {} of bytes are less and more, {} of \
         blocks",
        percent(bytes),
        percent(blocks)
    );
    let differences = largest_differences(&both[0], &both[1]);
    let is_near = |mine: i64, known: i64| (mine - known).abs() as f64 <= known as f64 * limit;
    assert!(
        is_near(mine.0, known.0) && is_near(mine.1, known.1),
        "{what}\n{differences}"
    );
    let blocks = blocks.map(|part| part / OF_BLOCKS);
    let worst = bytes.into_iter().chain(blocks).fold(0.0, f64::max);
    assert!(worst <= limit, "{what}: {worst}\n{differences}");
}

/// Programs that do the same in every run. What is evaluated drops lists and dictionaries all the
/// time, and the next one gets them; recursions up to 3.10 do so with frames: more is used again.
#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn two_runs() {
    let programs = [
        ("objects.py", LIMIT),
        ("programs/records.py", LIMIT),
        ("programs/generators.py", LIMIT),
        ("programs/documents.py", LIMIT),
        ("programs/evaluations.py", 0.25),
        ("programs/recursion.py", 0.10),
        ("programs/interpreters.py", LIMIT),
    ];
    for interpreter in chosen_interpreters() {
        for (program, limit) in programs {
            if program == "programs/interpreters.py" && is_locked_by_tracemalloc(&interpreter) {
                eprintln!("SKIPPED: {program}, {}", interpreter.program.display());
                continue;
            }
            let room = Room::new();
            let both = apart(&room, &interpreter, &[program]);
            let what = format!("{program}, {}", interpreter.program.display());
            assert_agree(&what, &both, limit);
        }
    }
}

/// Random programs are small, so that what is kept for reuse is more of them.
#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn two_runs_of_random_programs() {
    for seed in 0..repeats(1) {
        let seed = seed.to_string();
        for interpreter in chosen_interpreters() {
            let room = Room::new();
            let both = apart(&room, &interpreter, &["random_program.py", &seed]);
            let what = format!("seed {seed}, {}", interpreter.program.display());
            assert_agree(&what, &both, 0.15);
        }
    }
}
