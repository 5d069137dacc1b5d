//! Programs of Python: blocks, tracebacks and lines as the interpreter's own `tracemalloc` has
//! them, native frames in between, on every interpreter that is there.

mod against;
mod apart;
mod behaviour;
mod children;
mod endings;
mod equality;
mod export;
mod extensions;
mod owners;
mod packages;
mod reuses;
mod stacks;

use heaptape_tests::Room;
use heaptape_tests::answers::{array, number, text};
use heaptape_tests::pythons::pythons;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Versions whose frames are read.
const VERSIONS: [&str; 7] = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"];

/// An interpreter.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

/// Debian's Python, those of pyenv, and those that [`pythons`] names.
pub(crate) fn interpreters() -> Vec<Interpreter> {
    let mut programs: Vec<PathBuf> = pythons().into_iter().map(PathBuf::from).collect();
    programs.push(PathBuf::from("/usr/bin/python3"));
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = Path::new(&home).join(".pyenv/versions");
    let folders = std::fs::read_dir(versions).into_iter().flatten().flatten();
    programs.extend(folders.map(|folder| folder.path().join("bin/python3")));
    let mut found: Vec<Interpreter> = programs.into_iter().filter_map(interpreter_at).collect();
    found.sort_by(|one, other| one.program.cmp(&other.program));
    found.dedup_by(|one, other| one.program == other.program);
    let is_there = |version: &&&str| !found.iter().any(|known| known.version == **version);
    let missing: Vec<&&str> = VERSIONS.iter().filter(is_there).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: no interpreter of these versions of Python is here: {missing:?}");
    }
    assert!(!found.is_empty(), "these tests need the package python3");
    found
}

/// Debian's Python and the newest one that is there; in a long run (`HEAPTAPE_TEST_REPEAT`) all of
/// them. For what takes minutes with all.
fn chosen_interpreters() -> Vec<Interpreter> {
    let all = interpreters();
    if heaptape_tests::repeats(1) > 1 {
        return all;
    }
    let newest = all.iter().map(|one| one.version.clone());
    let newest = newest.max_by_key(|version| version.trim_start_matches("3.").parse::<u32>().ok());
    let usual = usual_interpreter().canonicalize().ok();
    let is_chosen = |one: &Interpreter| {
        Some(&one.version) == newest.as_ref() || one.program.canonicalize().ok() == usual
    };
    all.into_iter().filter(is_chosen).collect()
}

/// True where tracemalloc and interpreters beside the first wait for each other for ever, bare as
/// well.
fn is_locked_by_tracemalloc(interpreter: &Interpreter) -> bool {
    ["3.9", "3.10", "3.11", "3.12"].contains(&interpreter.version.as_str())
}

/// What it says of itself: `program` may be a link to it, or a script that starts it.
fn interpreter_at(program: PathBuf) -> Option<Interpreter> {
    let question = "import os, sys; print('%d.%d' % sys.version_info[:2]); \
                    print(os.path.realpath(sys.executable))";
    let mut command = std::process::Command::new(program);
    let output = command.args(["-c", question]).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let (version, program) = answer.trim_end().split_once('\n')?;
    let is_known = VERSIONS.contains(&version);
    is_known.then(|| Interpreter {
        program: program.into(),
        version: version.to_owned(),
    })
}

/// Debian's Python.
fn usual_interpreter() -> PathBuf {
    let program = PathBuf::from("/usr/bin/python3");
    assert!(program.exists(), "this test needs the package python3");
    program
}

/// A script that the tests have.
fn script(name: &str) -> PathBuf {
    heaptape_tests::repository()
        .join("tests/targets/python")
        .join(name)
}

/// A Python frame: file, line (0: none).
type Place = (String, u64);
/// Traceback of Python frames, the most recent call first, to bytes and blocks.
type Tracebacks = BTreeMap<Vec<Place>, (i64, i64)>;

/// The Python frames of a row.
fn python_frames(row: &Value) -> Vec<Place> {
    let frames = array(row, "frames").iter();
    let python = frames.filter(|frame| frame["language"] == "python");
    python
        .map(|frame| {
            let line = frame["line"].as_u64().unwrap_or(0);
            (text(frame, "file").to_owned(), line)
        })
        .collect()
}

/// Rows by the `depth` most recent Python frames.
fn tracebacks_of<'a>(rows: impl Iterator<Item = &'a Value>, depth: usize) -> Tracebacks {
    let mut found = Tracebacks::new();
    for row in rows {
        let mut frames = python_frames(row);
        frames.truncate(depth);
        if frames.is_empty() {
            frames.push(("<unknown>".to_owned(), 0));
        }
        let amount = found.entry(frames).or_default();
        amount.0 += number(row, "bytes").cast_signed();
        amount.1 += number(row, "count").cast_signed();
    }
    found
}

/// The answer of `stats` by traceback, at a moment.
fn live_at(room: &Room, tape: &str, moment: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["stats", tape, "--at", moment, "--group-by", "traceback"];
    arguments.extend(more);
    room.json(&arguments)
}
