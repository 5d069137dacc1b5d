//! The recorder against a program that knows its own heap: `targets/truth.c` writes what was alive
//! at each of its marks by allocating function and path of calls, and the tape must say the same,
//! to the byte, every mark, every function, every path.

use heaptape_tests::answers::{array, assert_rows_add_up, functions, number, rows, text};
use heaptape_tests::{Random, Room, build, repeats};
use std::collections::BTreeMap;
use std::path::Path;

/// (bytes, blocks) that lived.
type Amount = (u64, u64);

const MARKS: usize = 4;

/// What the program says of one mark.
#[derive(Default)]
struct Truth {
    by_function: BTreeMap<String, Amount>,
    /// By the site and the functions of its path, most recent first.
    by_path: BTreeMap<Vec<String>, Amount>,
}

fn add<K: Ord>(map: &mut BTreeMap<K, Amount>, key: K, (bytes, blocks): Amount) {
    let amount = map.entry(key).or_default();
    amount.0 += bytes;
    amount.1 += blocks;
}

fn parse(output: &str) -> Vec<Truth> {
    let mut paths: Vec<Vec<String>> = Vec::new();
    let mut marks: Vec<Truth> = (0..MARKS).map(|_| Truth::default()).collect();
    for line in output.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "path" => paths.push(
                words[2..]
                    .iter()
                    .rev()
                    .map(|name| (*name).to_owned())
                    .collect(),
            ),
            "site" => {
                let truth = &mut marks[words[1].parse::<usize>().unwrap() - 1];
                let amount = (words[4].parse().unwrap(), words[5].parse().unwrap());
                add(&mut truth.by_function, words[2].to_owned(), amount);
                let mut path = vec![words[2].to_owned()];
                path.extend(paths[words[3].parse::<usize>().unwrap()].iter().cloned());
                add(&mut truth.by_path, path, amount);
            }
            _ => panic!("unexpected line: {line}"),
        }
    }
    marks
}

/// The answer by allocating function: the program's own rows.
fn by_function(answer: &serde_json::Value) -> BTreeMap<String, Amount> {
    assert_rows_add_up(answer);
    let mut found = rows(answer);
    found.retain(|key, _| key.starts_with("site_"));
    found
}

/// The answer by traceback: the program's own rows by site and levels.
fn by_path(answer: &serde_json::Value) -> BTreeMap<Vec<String>, Amount> {
    assert_rows_add_up(answer);
    let mut found = BTreeMap::new();
    for row in array(answer, "rows") {
        let names = functions(row);
        let Some(site) = names.iter().position(|name| name.starts_with("site_")) else {
            continue;
        };
        let own = |name: &&str| name.starts_with("site_") || name.starts_with("level_");
        let path: Vec<String> = names[site..]
            .iter()
            .copied()
            .filter(own)
            .map(str::to_owned)
            .collect();
        // Between two levels stands exactly one `descend`: no frame was skipped or doubled.
        let between = names.iter().filter(|name| **name == "descend").count();
        assert_eq!(between, path.len(), "{names:?}");
        let amount = (number(row, "bytes"), number(row, "count"));
        add(&mut found, path, amount);
    }
    found
}

fn check(program: &Path, seed: u64, threads: u32, operations: u32) {
    let room = Room::new();
    let arguments = [
        seed.to_string(),
        threads.to_string(),
        operations.to_string(),
        MARKS.to_string(),
    ];
    let mut argv = vec![program.to_str().unwrap().to_owned()];
    argv.extend(arguments);
    let outcome = room.record("t.tape", &[], &argv).success();
    assert_eq!(outcome.stderr, "");
    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    assert_eq!(number(&info, "threads"), u64::from(threads));
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");

    for (index, truth) in parse(&outcome.stdout).iter().enumerate() {
        let at = format!("mark:truth:{}", index + 1);
        let what = format!("seed {seed}, {threads} threads, {at}");
        let stats = |group: &str| room.json(&["stats", "t.tape", "--at", &at, "--group-by", group]);
        let functions = stats("function");
        assert!(!truth.by_function.is_empty());
        assert_eq!(
            by_function(&functions),
            truth.by_function,
            "{what}, by function"
        );
        let tracebacks = stats("traceback");
        assert_eq!(by_path(&tracebacks), truth.by_path, "{what}, by path");
        assert_eq!(functions["total"], tracebacks["total"], "{what}");
    }
}

fn check_seeds(threads: u32, operations: u32) {
    let program = build::c("truth.c", &[]);
    let mut seeds = Random(u64::from(threads));
    for _ in 0..repeats(2) {
        check(&program, seeds.below(1 << 32), threads, operations);
    }
}

#[test]
fn one_thread() {
    check_seeds(1, 30_000);
}

#[test]
fn two_threads() {
    check_seeds(2, 20_000);
}

#[test]
fn three_threads() {
    check_seeds(3, 20_000);
}

#[test]
fn five_threads() {
    check_seeds(5, 20_000);
}

#[test]
fn eight_threads() {
    check_seeds(8, 20_000);
}

/// The same program without frame pointers in the levels' callers, at another optimisation, and
/// as a position-dependent executable.
#[test]
fn other_builds_of_the_program() {
    for options in [
        &["-O0"][..],
        &["-O3", "-no-pie"],
        &["-Os", "-fno-omit-frame-pointer"],
    ] {
        check(&build::c("truth.c", options), 77, 2, 5_000);
    }
}

/// Tracebacks of frees are a choice that changes no figure of the live heap.
#[test]
fn free_stacks_change_no_figure() {
    let room = Room::new();
    let program = build::c("truth.c", &[]);
    let argv = [program.to_str().unwrap(), "5", "3", "5000", "4"];
    let outcome = room.record("t.tape", &["--free-stacks"], &argv).success();
    let info = room.assert_clean("t.tape");
    assert_eq!(info["free_stacks"], true);
    for (index, truth) in parse(&outcome.stdout).iter().enumerate() {
        let at = format!("mark:truth:{}", index + 1);
        let answer = room.json(&["stats", "t.tape", "--at", &at, "--group-by", "function"]);
        assert_eq!(by_function(&answer), truth.by_function, "{at}");
    }
}

/// Sizes beyond 32 bits, zero, and the largest that a request may have.
#[test]
fn sizes_are_kept_to_the_byte() {
    let room = Room::new();
    let program = build::c("sizes.c", &[]);
    let outcome = room.record_as_bare("s.tape", &[program]);
    let stats = room.json(&[
        "stats",
        "s.tape",
        "--at",
        "mark:all",
        "--group-by",
        "function",
    ]);
    let rows = rows(&stats);
    let mut compared = 0;
    for line in outcome.stdout.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected: Amount = (words[1].parse().unwrap(), words[2].parse().unwrap());
        assert_eq!(
            rows.get(words[0]).copied().unwrap_or_default(),
            expected,
            "{}",
            words[0]
        );
        compared += 1;
    }
    assert_eq!(compared, 7, "{}", outcome.stdout);
}
