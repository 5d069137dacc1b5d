//! What `tracemalloc` says in the same process is what the tape says.
//!
//! The interpreter keeps objects of some types for reuse (lists, tuples, dictionaries, floats,
//! frames), and `tracemalloc` then says that a block belongs to its last user, where we say who
//! allocated it. So totals are equal, and lines but for that.

use super::{Interpreter, Tracebacks, array, interpreters, script, text, tracebacks_of};
use heaptape_tests::{Room, repeats};
use serde_json::Value;

/// Frames of a traceback that are compared.
const FRAMES: usize = 25;
/// Blocks that the harness itself allocates between `tracemalloc.start` and the mark, or the mark
/// and the snapshot.
const HARNESS_BLOCKS: i64 = 3;
/// Their bytes.
const HARNESS_BYTES: i64 = 600;

/// What tracemalloc wrote down.
fn theirs(room: &Room, file: &str) -> Tracebacks {
    let content = std::fs::read(room.path(file)).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&content).unwrap();
    let mut found = Tracebacks::new();
    for row in rows {
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

/// What the tape says of the time between the marks, without what tracemalloc allocates itself.
fn ours(room: &Room, tape: &str) -> Tracebacks {
    let answer = room.json(&[
        "leaks",
        tape,
        "--from",
        "mark:from",
        "--to",
        "mark:to",
        "--group-by",
        "traceback",
        "--domain",
        "raw",
        "--domain",
        "mem",
        "--domain",
        "obj",
    ]);
    let is_own = |row: &&Value| {
        let frames = array(row, "frames").iter();
        let mut functions = frames.filter_map(|frame| frame["function"].as_str());
        !functions.any(|function| function == "raw_malloc")
    };
    tracebacks_of(array(&answer, "rows").iter().filter(is_own), FRAMES)
}

fn total(tracebacks: &Tracebacks) -> (i64, i64) {
    let amounts = tracebacks.values();
    amounts.fold((0, 0), |sum, amount| (sum.0 + amount.0, sum.1 + amount.1))
}

/// By the `depth` most recent frames.
fn by_depth(tracebacks: &Tracebacks, depth: usize) -> Tracebacks {
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

/// Runs a script under tracemalloc and us, and returns both answers.
fn compared(room: &Room, interpreter: &Interpreter, arguments: &[&str]) -> [Tracebacks; 2] {
    let frames = FRAMES.to_string();
    let traced = script("traced.py");
    let program = script(arguments[0]);
    let mut argv = vec![
        interpreter.program.to_str().unwrap(),
        traced.to_str().unwrap(),
        "theirs.json",
        &frames,
        program.to_str().unwrap(),
    ];
    argv.extend(&arguments[1..]);
    room.run(&mut room.record_command("t.tape", &["--force"], &argv))
        .success();
    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    [ours(room, "t.tape"), theirs(room, "theirs.json")]
}

fn assert_equal(what: &str, [ours, theirs]: &[Tracebacks; 2], least: f64) {
    let (mine, known) = (total(ours), total(theirs));
    assert!(
        (mine.0 - known.0).abs() <= HARNESS_BYTES && (mine.1 - known.1).abs() <= HARNESS_BLOCKS,
        "{what}: {mine:?} in place of {known:?}"
    );
    for depth in [1, FRAMES] {
        let (ours, theirs) = (by_depth(ours, depth), by_depth(theirs, depth));
        let found = agreement(&ours, &theirs);
        println!("{what}: {:.2} % of bytes, {depth} frames", found * 100.0);
        let mut differences: Vec<_> = theirs
            .iter()
            .map(|(key, amount)| (ours.get(key).map_or(0, |mine| mine.0) - amount.0, key))
            .collect();
        differences.sort_by_key(|(bytes, _)| -bytes.abs());
        differences.truncate(10);
        assert!(found >= least, "{what}: {found}: {differences:#?}");
    }
}

/// A program that makes objects in many ways.
#[test]
fn objects() {
    for interpreter in interpreters() {
        let room = Room::new();
        let both = compared(&room, &interpreter, &["objects.py"]);
        let what = format!("objects.py, {}", interpreter.program.display());
        assert_equal(&what, &both, 0.95);
    }
}

/// Programs made of chance. They are small, so that what the interpreter keeps for reuse is more
/// of them.
#[test]
fn random_programs() {
    let interpreters = interpreters();
    let room = Room::new();
    for seed in 0..repeats(2) {
        for interpreter in &interpreters {
            let both = compared(
                &room,
                interpreter,
                &["random_program.py", &seed.to_string()],
            );
            let what = format!("seed {seed}, {}", interpreter.program.display());
            assert_equal(&what, &both, 0.85);
        }
    }
}
