//! Snapshots for `tracemalloc` of real programs: what the standard library of each interpreter
//! computes from them is what heaptape says of the tape.

use super::{Place, array, interpreters, number, script, text};
use heaptape_tests::{Room, build, repeats};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Numbers by frames, the most recent first.
type Rows = BTreeMap<Vec<Place>, Vec<i64>>;

/// A grouping of ours and theirs, and whether it is cumulative.
type Grouping = (&'static str, &'static str, bool);
const GROUPINGS: [Grouping; 5] = [
    ("file", "filename", false),
    ("line", "lineno", false),
    ("traceback", "traceback", false),
    ("file", "filename", true),
    ("line", "lineno", true),
];
/// The heap of Python's allocators.
const DOMAINS: [&str; 6] = ["--domain", "raw", "--domain", "mem", "--domain", "obj"];

/// What heaptape says; rows of one traceback of files and lines are one.
fn ours(answer: &Value, members: &[&str]) -> Rows {
    let mut rows = Rows::new();
    for row in array(answer, "rows") {
        let frames = array(row, "frames").iter();
        let place = |frame: &Value| {
            let line = frame["line"].as_u64().unwrap_or(0);
            (text(frame, "file").to_owned(), line)
        };
        let mut key: Vec<Place> = frames.map(place).collect();
        if key.is_empty() {
            key.push(("<unknown>".to_owned(), 0));
        }
        let numbers = members.iter().map(|member| row[member].as_i64().unwrap());
        add(&mut rows, key, numbers.collect());
    }
    rows
}

/// What the standard library says, whose oldest frames come first.
fn theirs(answer: &Value) -> Rows {
    let mut rows = Rows::new();
    for row in answer.as_array().unwrap() {
        let row = row.as_array().unwrap();
        let frames = row[0].as_array().unwrap().iter().rev();
        let place = |frame: &Value| {
            let file = frame[0].as_str().unwrap();
            (file.to_owned(), frame[1].as_u64().unwrap())
        };
        let numbers = row[1..].iter().map(|number| number.as_i64().unwrap());
        add(&mut rows, frames.map(place).collect(), numbers.collect());
    }
    rows
}

fn add(rows: &mut Rows, key: Vec<Place>, numbers: Vec<i64>) {
    let sums = rows.entry(key).or_insert_with(|| vec![0; numbers.len()]);
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}

/// Asks the standard library of `python`.
fn ask(room: &Room, python: &Path, questions: &[Value]) -> Vec<Value> {
    let questions = serde_json::to_string(questions).unwrap();
    let questions = room.write("questions.json", questions);
    let mut command = room.command(python);
    command.arg(build::source("tracemalloc_answers.py"));
    command.stdin(std::fs::File::open(questions).unwrap());
    let outcome = room.run(&mut command).success();
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn export(room: &Room, words: &[&str]) {
    let fixed = ["export", "--to", "tracemalloc", "--force", "--quiet"];
    room.heaptape(&[&fixed, words].concat()).success();
}

/// A verb with its words, what of its rows counts, the snapshots and the groupings.
struct Asked {
    words: Vec<&'static str>,
    members: &'static [&'static str],
    snapshots: Value,
    groupings: &'static [Grouping],
}

fn asked() -> Vec<Asked> {
    let stats = ["stats", "t.tape", "--at", "mark:to"];
    let leaks = ["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"];
    let diff = ["diff", "t.tape@mark:from", "@mark:to"];
    vec![
        Asked {
            words: [&leaks[..], &DOMAINS].concat(),
            members: &["bytes", "count"],
            snapshots: json!({"snapshot": "window"}),
            groupings: &GROUPINGS,
        },
        Asked {
            words: [&diff[..], &DOMAINS].concat(),
            members: &["bytes", "count", "bytes_diff", "count_diff"],
            snapshots: json!({"snapshot": "late", "old": "early"}),
            groupings: &GROUPINGS[..2],
        },
        Asked {
            words: [&leaks[..], &DOMAINS, &["--include", "<program *"]].concat(),
            members: &["bytes", "count"],
            snapshots: json!({"snapshot": "window", "filters": [["Filter", true, "<program *"]]}),
            groupings: &GROUPINGS,
        },
        Asked {
            words: [
                &leaks[..],
                &DOMAINS,
                &[
                    "--all-frames",
                    "--include",
                    "<program *",
                    "--exclude",
                    "<string>",
                ],
            ]
            .concat(),
            members: &["bytes", "count"],
            snapshots: json!({"snapshot": "window", "filters": [
                ["Filter", true, "<program *", null, true],
                ["Filter", false, "<string>", null, true],
            ]}),
            groupings: &GROUPINGS,
        },
        Asked {
            words: stats.to_vec(),
            members: &["bytes", "count"],
            snapshots: json!({"snapshot": "native"}),
            groupings: &GROUPINGS[1..2],
        },
    ]
}

#[test]
fn the_standard_library_computes_what_heaptape_says() {
    for interpreter in interpreters() {
        for seed in 0..repeats(1) {
            assert_computes_the_same(interpreter.program.as_path(), 7 + seed);
        }
    }
}

fn assert_computes_the_same(python: &Path, seed: u64) {
    let room = Room::new();
    let [traced, program] = ["traced.py", "random_program.py"].map(script);
    let program_name = program.to_str().unwrap();
    let mut argv = vec![python.to_str().unwrap(), traced.to_str().unwrap()];
    let seed = seed.to_string();
    argv.extend(["theirs.json", "25", program_name, &seed]);
    room.record("t.tape", &[], &argv).success();
    let late = "t.tape@mark:to";
    export(&room, &["t.tape@mark:from", "-o", "early"]);
    export(&room, &[late, "-o", "late"]);
    export(&room, &[late, "--from", "mark:from", "-o", "window"]);
    export(&room, &[late, "--domain", "native", "-o", "native"]);
    let mut all = Vec::new();
    let mut questions = Vec::new();
    for asked in asked() {
        for &(group_by, key_type, cumulative) in asked.groupings {
            let grouping = ["--lang", "python", "--group-by", group_by];
            let mut args = [&asked.words[..], &grouping].concat();
            if cumulative {
                args.extend(["--cumulative", "--tracemalloc-compat"]);
            }
            let mut question = asked.snapshots.clone();
            question["group_by"] = key_type.into();
            question["cumulative"] = cumulative.into();
            all.push((args, asked.members));
            questions.push(question);
        }
    }
    let answers = ask(&room, python, &questions);
    for ((args, members), answer) in all.iter().zip(&answers) {
        let expected = theirs(answer);
        assert!(!expected.is_empty(), "{args:?}");
        let found = ours(&room.json(args), members);
        assert_eq!(found, expected, "{python:?}: {args:?}");
    }
    // The program's own lines are there.
    let lines = ours(&room.json(&all[1].0), &["bytes", "count"]);
    let in_program = lines.keys().filter(|key| key[0].0 == program_name);
    assert!(in_program.count() > 5, "{lines:#?}");
}

/// The traces of a window are those that `tracemalloc.start` at its beginning would have had: as
/// many, and as many bytes.
#[test]
fn a_window_is_what_tracemalloc_would_have_seen() {
    for interpreter in interpreters() {
        let room = Room::new();
        let python = interpreter.program.as_path();
        let code = "import ctypes\nmark = ctypes.PyDLL(None).heaptape_mark; kept = gone = 0\n\
                    before = [object() for _ in range(1000)]\nmark(b'from')\n\
                    kept = [bytes(968) for _ in range(500)]\ndel before\n\
                    gone = [bytes(2968) for _ in range(100)]\ndel gone\n\
                    mark(b'to')\n";
        room.record("t.tape", &[], &[python.to_str().unwrap(), "-c", code])
            .success();
        let words = ["t.tape@mark:to", "--from", "mark:from", "--frames", "1"];
        export(&room, &[&words[..], &["-o", "window"]].concat());
        let answers = ask(&room, python, &[json!({"snapshot": "window"})]);
        let traces = array(&answers[0], "traces");
        let line = |trace: &Value| trace[2][0][1].as_u64().unwrap();
        let of_line = |wanted: u64| {
            let found = traces.iter().filter(move |trace| line(trace) == wanted);
            found.map(|trace| trace[1].as_u64().unwrap())
        };
        // The list of them all is there too.
        assert_eq!(of_line(5).filter(|size| *size == 1001).count(), 500);
        assert!((501..505).contains(&of_line(5).count()), "{python:?}");
        assert_eq!(of_line(3).chain(of_line(7)).count(), 0, "{python:?}");
        // Up to 3.11 the comprehension has a frame of its own, which is the one that is kept.
        let is_cut = |trace: &Value| {
            trace[2].as_array().unwrap().len() == 1 && trace[3].as_u64().unwrap() <= 2
        };
        assert!(traces.iter().all(|trace| trace[0] == 0 && is_cut(trace)));
        let total = room.json(
            &[
                &["leaks", "t.tape", "--from", "mark:from", "--to", "mark:to"][..],
                &DOMAINS,
            ]
            .concat(),
        )["total"]
            .clone();
        assert_eq!(number(&total, "count"), traces.len() as u64);
    }
}
