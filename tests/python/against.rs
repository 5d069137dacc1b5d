//! What `tracemalloc` says beside what a tape says: reading both, and how far they agree.
//!
//! The interpreter keeps objects of some types for reuse (lists, tuples, dictionaries, floats,
//! frames), and `tracemalloc` then says that a block belongs to its last user, where we say who
//! allocated it. So totals are equal, and lines but for that.

use super::{Interpreter, Tracebacks, array, script, text, tracebacks_of};
use heaptape_tests::Room;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

/// Frames of a traceback that are compared.
pub(super) const FRAMES: usize = 25;
/// Blocks that the harness itself allocates between `tracemalloc.start` and the mark, or the mark
/// and the snapshot.
const HARNESS_BLOCKS: i64 = 3;
/// Their bytes.
const HARNESS_BYTES: i64 = 600;
/// The domains of Python's allocators, whose blocks tracemalloc knows without being told.
pub(super) const ALLOCATORS: [&str; 6] = ["--domain", "raw", "--domain", "mem", "--domain", "obj"];

/// What tracemalloc wrote down of one of its domains.
pub(super) fn theirs_in(room: &Room, file: &str, domain: u64) -> Tracebacks {
    let content = std::fs::read(room.path(file)).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&content).unwrap();
    let mut found = Tracebacks::new();
    for row in rows.iter().filter(|row| row[4] == domain) {
        let frames = row[0].as_array().unwrap().iter();
        let frames = frames.map(|frame| {
            let file = frame[0].as_str().unwrap().to_owned();
            (file, frame[1].as_u64().unwrap())
        });
        let amount = found.entry(frames.collect()).or_default();
        amount.0 += row[2].as_i64().unwrap();
        amount.1 += row[3].as_i64().unwrap();
    }
    found
}

/// What tracemalloc wrote down of Python's allocators.
pub(super) fn theirs(room: &Room, file: &str) -> Tracebacks {
    theirs_in(room, file, 0)
}

/// What the tape says of the time between the marks, without what tracemalloc allocates itself.
pub(super) fn ours(room: &Room, tape: &str) -> Tracebacks {
    let window = ["leaks", tape, "--from", "mark:from", "--to", "mark:to"];
    let how = ["--group-by", "traceback", "--format", "json"];
    let words = [&window[..], &how, &ALLOCATORS].concat();
    let output = room.path("ours.json");
    let mut command = room.heaptape_command(&words);
    command.stdout(File::create(&output).unwrap());
    assert!(command.status().unwrap().success(), "{command:?}");
    let is_not_own = |row: &Value| {
        let frames = array(row, "frames").iter();
        let mut functions = frames.filter_map(|frame| frame["function"].as_str());
        !functions.any(|function| function == "raw_malloc")
    };
    let mut found = Tracebacks::new();
    for row in rows_in(&output).filter(is_not_own) {
        for (frames, amount) in tracebacks_of([&row].into_iter(), FRAMES) {
            let sum = found.entry(frames).or_default();
            *sum = (sum.0 + amount.0, sum.1 + amount.1);
        }
    }
    found
}

/// The rows of an answer, of which each has a line, one after another: with the native frames of
/// all tracebacks of a large program they would take gigabytes at once.
fn rows_in(answer: &Path) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(File::open(answer).unwrap()).lines();
    let lines = lines.map(|line| line.unwrap());
    lines
        .filter(|line| line.starts_with("{\"key\""))
        .map(|line| {
            let row = line.trim_end_matches(',');
            let row = row
                .strip_suffix("]}")
                .filter(|row| row.ends_with('}'))
                .unwrap_or(row);
            serde_json::from_str(row).unwrap_or_else(|error| panic!("{error}: {row}"))
        })
}

/// Bytes and blocks in all.
pub(super) fn total(tracebacks: &Tracebacks) -> (i64, i64) {
    let amounts = tracebacks.values();
    amounts.fold((0, 0), |sum, amount| (sum.0 + amount.0, sum.1 + amount.1))
}

/// By the `depth` most recent frames.
pub(super) fn by_depth(tracebacks: &Tracebacks, depth: usize) -> Tracebacks {
    let mut found = Tracebacks::new();
    for (frames, amount) in tracebacks {
        let key = frames.iter().take(depth).cloned().collect();
        let sum = found.entry(key).or_default();
        sum.0 += amount.0;
        sum.1 += amount.1;
    }
    found
}

/// The part of the bytes of `theirs` that `ours` has under the same key.
fn agreement(ours: &Tracebacks, theirs: &Tracebacks) -> f64 {
    let common = theirs.iter().map(|(key, amount)| {
        let known = ours.get(key).map_or(0, |amount| amount.0);
        known.min(amount.0)
    });
    common.sum::<i64>() as f64 / total(theirs).0 as f64
}

/// The keys with the largest differences, for messages.
pub(super) fn largest_differences(ours: &Tracebacks, theirs: &Tracebacks) -> String {
    let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let amount = |of: &Tracebacks, key| of.get(key).copied().unwrap_or_default();
    let mut differences: Vec<_> = keys
        .into_iter()
        .map(|key| (amount(ours, key), amount(theirs, key), key))
        .collect();
    differences.sort_by_key(|(mine, known, _)| -(mine.0 - known.0).abs());
    differences.truncate(10);
    let lines = differences.iter().map(|(mine, known, key)| {
        let inner = &key[..key.len().min(4)];
        format!("  {mine:?} in place of {known:?}: {inner:?}\n")
    });
    lines.collect()
}

/// A script and its arguments, under `traced.py`; what tracemalloc says goes to `out`, or with `-`
/// it says nothing.
pub(super) fn traced_argv(interpreter: &Interpreter, out: &str, arguments: &[&str]) -> Vec<String> {
    let mut argv = vec![
        interpreter.program.to_str().unwrap().to_owned(),
        script("traced.py").to_str().unwrap().to_owned(),
        out.to_owned(),
        FRAMES.to_string(),
        script(arguments[0]).to_str().unwrap().to_owned(),
    ];
    argv.extend(arguments[1..].iter().map(|argument| (*argument).to_owned()));
    argv
}

/// Runs a script under tracemalloc and us, and returns both answers. `prepare` may change the
/// command.
pub(super) fn compared_with(
    room: &Room,
    interpreter: &Interpreter,
    arguments: &[&str],
    prepare: &dyn Fn(&mut Command),
) -> [Tracebacks; 2] {
    compared_in(room, interpreter, (&[], arguments), prepare)
}

/// As [`compared_with`]; `options` are those of `run`.
pub(super) fn compared_with_options(
    room: &Room,
    interpreter: &Interpreter,
    options: &[&str],
    arguments: &[&str],
) -> [Tracebacks; 2] {
    compared_in(room, interpreter, (options, arguments), &|_| ())
}

fn compared_in(
    room: &Room,
    interpreter: &Interpreter,
    (options, arguments): (&[&str], &[&str]),
    prepare: &dyn Fn(&mut Command),
) -> [Tracebacks; 2] {
    let argv = traced_argv(interpreter, "theirs.json", arguments);
    let mut command = room.record_command("t.tape", &[&["--force"], options].concat(), &argv);
    prepare(&mut command);
    let outcome = room.run(&mut command).success();
    assert_eq!(outcome.stderr, "", "{arguments:?}");
    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    [ours(room, "t.tape"), theirs(room, "theirs.json")]
}

/// As [`compared_with`], without changes.
pub(super) fn compared(
    room: &Room,
    interpreter: &Interpreter,
    arguments: &[&str],
) -> [Tracebacks; 2] {
    compared_with(room, interpreter, arguments, &|_| ())
}

/// The same bytes and blocks in all, but for the harness's own.
pub(super) fn assert_same_totals(what: &str, [ours, theirs]: &[Tracebacks; 2]) {
    let (mine, known) = (total(ours), total(theirs));
    assert!(
        (mine.0 - known.0).abs() <= HARNESS_BYTES && (mine.1 - known.1).abs() <= HARNESS_BLOCKS,
        "{what}: {mine:?} in place of {known:?}\n{}",
        largest_differences(&by_depth(ours, 1), &by_depth(theirs, 1))
    );
}

/// The same totals, and at least the part `least` of the bytes under the same keys.
pub(super) fn assert_equal(what: &str, both: &[Tracebacks; 2], least: f64) {
    assert_same_totals(what, both);
    assert_lines(what, both, least);
}

/// At least the part `least` of the bytes under the same keys.
pub(super) fn assert_lines(what: &str, both: &[Tracebacks; 2], least: f64) {
    let parts = [1, FRAMES].map(|depth| {
        let [ours, theirs] = both.each_ref().map(|one| by_depth(one, depth));
        let found = agreement(&ours, &theirs);
        let differences = largest_differences(&ours, &theirs);
        assert!(
            found >= least,
            "{what}: {found} by {depth} frames\n{differences}"
        );
        found * 100.0
    });
    let (bytes, blocks) = total(&both[1]);
    println!(
        "{what}: {bytes} bytes in {blocks} blocks; by line {:.2} %, by {FRAMES} frames {:.2} %",
        parts[0], parts[1]
    );
}
