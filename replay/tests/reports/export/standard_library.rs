//! Asking the standard library of Python, of every interpreter that is to be asked.

use crate::tape::Folder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Reads questions, asks the standard library.
pub(crate) const SCRIPT: &str = "../tests/targets/tracemalloc_answers.py";
/// The most recent frame first, as (file, line).
pub(crate) type Traceback = Vec<(String, u64)>;
/// Numbers by traceback; tracebacks of one file and line each are one for `tracemalloc`.
pub(crate) type Rows = BTreeMap<Traceback, Vec<i64>>;

pub(crate) fn ask(python: &str, folder: &Folder, questions: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
    let mut child = Command::new(python)
        .arg(script)
        .current_dir(folder.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let questions = serde_json::to_string(questions).unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(questions.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{python}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of the standard library.
pub(crate) fn theirs(answer: &Value) -> (Rows, Vec<Vec<i64>>) {
    let mut rows = Rows::new();
    let mut order = Vec::new();
    for row in answer.as_array().unwrap() {
        let (key, numbers) = row.as_array().unwrap().split_first().unwrap();
        let numbers: Vec<i64> = numbers.iter().map(|it| it.as_i64().unwrap()).collect();
        add(&mut rows, traceback(key), &numbers);
        order.push(numbers);
    }
    (rows, order)
}

/// Of the standard library, whose oldest frames come first.
pub(crate) fn traceback(frames: &Value) -> Traceback {
    let frames = frames.as_array().unwrap().iter().rev();
    let frame = |frame: &Value| {
        (
            frame[0].as_str().unwrap().into(),
            frame[1].as_u64().unwrap(),
        )
    };
    frames.map(frame).collect()
}

pub(crate) fn add(rows: &mut Rows, key: Traceback, numbers: &[i64]) {
    let sums = rows.entry(key).or_insert_with(|| vec![0; numbers.len()]);
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}

/// The traces of a snapshot: domain, size, traceback, frames it had.
pub(crate) fn traces(answer: &Value) -> Vec<(u64, u64, Traceback, u64)> {
    let trace = |trace: &Value| {
        let number = |place: usize| trace[place].as_u64().unwrap();
        (number(0), number(1), traceback(&trace[2]), number(3))
    };
    let all = answer["traces"].as_array().unwrap().iter().map(trace);
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}
