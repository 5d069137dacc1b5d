//! `heaptape export --to tracemalloc` against the standard library of Python: what that computes
//! from a snapshot is what heaptape says of the tape.

#[path = "../../../../tests/pythons.rs"]
#[allow(unreachable_pub, reason = "the file is of more than one package")]
mod pythons;
mod standard_library;
mod tapes;

use crate::tape::{Folder, Tape, app};
use heaptape_format::event::{Event, Operation};
use pythons::pythons;
use serde_json::{Value, json};
use standard_library::{Rows, Traceback, add, ask, theirs, traces};
use tapes::{empty_tape, python, random_tape};

/// The heap of Python's allocators, for verbs that mean the whole heap without it.
const PYTHON_ONLY: [&str; 6] = ["--domain", "raw", "--domain", "mem", "--domain", "obj"];

/// heaptape's rows: `members` by traceback.
fn ours(answer: &Value, members: &[&str]) -> (Rows, Vec<Vec<i64>>) {
    let group_by = answer["group_by"].as_str().unwrap();
    let mut rows = Rows::new();
    let mut order = Vec::new();
    for row in answer["rows"].as_array().unwrap() {
        let frame = |frame: &Value| {
            assert_eq!(frame["language"], "python");
            let line = frame["line"].as_u64().unwrap_or(0);
            (frame["file"].as_str().unwrap().to_owned(), line)
        };
        let mut key: Traceback = row["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(frame)
            .collect();
        let text = row["key"].as_str().unwrap();
        match (key.first(), group_by) {
            (None, _) => {
                assert_eq!(text, "<unknown>");
                key.push(("<unknown>".into(), 0));
            }
            (Some((file, line)), "line") => assert_eq!(text, format!("{file}:{line}")),
            (Some((file, _)), "file") => assert_eq!(text, file),
            _ => {}
        }
        let numbers = |name: &&str| row[name].as_i64().unwrap();
        let numbers: Vec<i64> = members.iter().map(numbers).collect();
        add(&mut rows, key, &numbers);
        order.push(numbers);
    }
    (rows, order)
}

/// A question to both: to heaptape as its arguments, to the standard library as JSON.
struct Asked {
    args: Vec<String>,
    question: Value,
}

const STATS: [&str; 2] = ["bytes", "count"];
const DIFF: [&str; 4] = ["bytes", "count", "bytes_diff", "count_diff"];
const GROUPS: [(&str, &str); 3] = [
    ("file", "filename"),
    ("line", "lineno"),
    ("traceback", "traceback"),
];

/// Questions that differ in grouping, for each of `choices`: words for heaptape, and filters.
fn questions(base: &[&str], snapshots: &Value, choices: &[(Vec<&str>, Value)]) -> Vec<Asked> {
    let mut all = Vec::new();
    for (words, filters) in choices {
        for (ours, theirs) in GROUPS {
            for cumulative in [false, true] {
                if cumulative && ours == "traceback" {
                    continue;
                }
                let mut args: Vec<&str> = base.to_vec();
                args.extend(["--lang", "python", "--group-by", ours]);
                if cumulative {
                    args.extend(["--cumulative", "--tracemalloc-compat"]);
                }
                args.extend(words);
                let mut question = snapshots.clone();
                question["group_by"] = theirs.into();
                question["cumulative"] = cumulative.into();
                question["filters"] = filters.clone();
                all.push(Asked {
                    args: args.into_iter().map(str::to_owned).collect(),
                    question,
                });
            }
        }
    }
    all
}

/// Filters in both languages.
fn filters() -> Vec<(Vec<&'static str>, Value)> {
    vec![
        (vec![], json!([])),
        (
            vec!["--include", "/app/*"],
            json!([["Filter", true, "/app/*"]]),
        ),
        (
            vec!["--exclude", "/app/lib/*"],
            json!([["Filter", false, "/app/lib/*"]]),
        ),
        (
            vec!["--include", "*/main.py:12", "--include", "<unknown>"],
            json!([
                ["Filter", true, "*/main.py", 12],
                ["Filter", true, "<unknown>"]
            ]),
        ),
        (
            vec![
                "--include",
                "*.py",
                "--exclude",
                "*/decoder.py",
                "--all-frames",
            ],
            json!([
                ["Filter", true, "*.py", null, true],
                ["Filter", false, "*/decoder.py", null, true]
            ]),
        ),
        (
            vec!["--exclude", "<unknown>", "--all-frames"],
            json!([["Filter", false, "<unknown>", null, true]]),
        ),
        (
            vec!["--include", "*/?odd] *"],
            json!([["Filter", true, "*/?odd] *"]]),
        ),
    ]
}

/// All that heaptape says of the tape is what the standard library says of the snapshots.
fn compare(folder: &Folder, asked: &[Asked]) {
    let questions: Vec<Value> = asked.iter().map(|asked| asked.question.clone()).collect();
    let answers: Vec<Value> = asked
        .iter()
        .map(|asked| folder.json(&asked.args.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    for python in pythons() {
        let said = ask(&python, folder, &questions);
        let mut some = 0;
        for ((asked, answer), said) in asked.iter().zip(&answers).zip(&said) {
            let members = if asked.args[0] == "diff" {
                &DIFF[..]
            } else {
                &STATS[..]
            };
            let (rows, order) = ours(answer, members);
            let (expected, expected_order) = theirs(said);
            let words = format!("{python}: {:?} {}", asked.args, asked.question);
            if answer["group_by"] != "traceback" {
                assert_eq!(order, expected_order, "{words}");
            }
            assert_eq!(rows, expected, "{words}");
            some += usize::from(!expected.is_empty());
        }
        assert!(some > asked.len() * 3 / 4, "{some} of {}", asked.len());
    }
}

fn export(folder: &Folder, words: &[&str]) {
    let mut args = vec!["export", "--to", "tracemalloc", "--quiet"];
    args.extend(words);
    assert_eq!(folder.text(&args), "");
}

#[test]
fn the_standard_library_computes_what_heaptape_says() {
    for seed in 1..=6 {
        let folder = Folder::new();
        random_tape(seed).write(&folder.path("x.tape"));
        let (early, late) = ("x.tape@200000", "x.tape@90%");
        export(&folder, &[early, "-o", "early"]);
        export(&folder, &[late, "-o", "late"]);
        export(&folder, &[late, "--from", "200000", "-o", "window"]);
        export(&folder, &[late, "--domain", "native", "-o", "native"]);
        let stats = ["stats", "x.tape", "--at", "90%"];
        let python: Vec<&str> = stats.into_iter().chain(PYTHON_ONLY).collect();
        let mut asked = questions(&python, &json!({"snapshot": "late"}), &filters());
        let domains = [
            (vec![], json!([])),
            (PYTHON_ONLY.to_vec(), json!([["DomainFilter", true, 0]])),
            (PYTHON_ONLY.to_vec(), json!([["DomainFilter", false, 1]])),
            (
                vec!["--domain", "native"],
                json!([["DomainFilter", true, 1]]),
            ),
            (
                vec!["--domain", "native", "--include", "/app/*"],
                json!([["Filter", true, "/app/*", null, false, 1]]),
            ),
        ];
        asked.extend(questions(&stats, &json!({"snapshot": "native"}), &domains));
        let leaks = ["leaks", "x.tape", "--from", "200000", "--to", "90%"];
        let leaks: Vec<&str> = leaks.into_iter().chain(PYTHON_ONLY).collect();
        asked.extend(questions(
            &leaks,
            &json!({"snapshot": "window"}),
            &filters()[..2],
        ));
        let diff = ["diff", early, late];
        let diff: Vec<&str> = diff.into_iter().chain(PYTHON_ONLY).collect();
        let both = json!({"snapshot": "late", "old": "early"});
        asked.extend(questions(&diff, &both, &filters()));
        compare(&folder, &asked);
    }
}

#[test]
fn exported_traces_are_cut_and_chosen_as_asked() {
    let folder = Folder::new();
    random_tape(77).write(&folder.path("x.tape"));
    let tape = "x.tape@end";
    export(&folder, &[tape, "-o", "all"]);
    export(&folder, &[tape, "-o", "two", "--frames", "2"]);
    let chosen = [
        "--include",
        "/app/lib/*",
        "--all-frames",
        "--max-size",
        "1000",
    ];
    export(&folder, &[&[tape, "-o", "chosen"], &chosen[..]].concat());
    export(
        &folder,
        &[tape, "-o", "raw", "--domain", "raw", "--thread", "worker"],
    );
    let ask_for = |name: &str| json!({"snapshot": name});
    let filter = json!([["Filter", true, "/app/lib/*", null, true]]);
    let filtered = json!({"snapshot": "all", "filters": filter});
    let mut questions: Vec<Value> = ["all", "two", "chosen", "raw"].map(ask_for).to_vec();
    questions.push(filtered);
    for python in pythons() {
        let answers = ask(&python, &folder, &questions);
        let limits: Vec<u64> = answers
            .iter()
            .map(|it| it["limit"].as_u64().unwrap())
            .collect();
        assert_eq!(limits, [65_535, 2, 65_535, 65_535, 65_535]);
        let [all, two, chosen, raw, filtered] = [0, 1, 2, 3, 4].map(|it| traces(&answers[it]));
        assert!(all.len() > 100);
        assert!(all.iter().all(|trace| trace.2.len() as u64 == trace.3));
        let mut cut = all.clone();
        cut.iter_mut().for_each(|trace| trace.2.truncate(2));
        cut.sort();
        assert_eq!(two, cut);
        let small: Vec<_> = filtered
            .iter()
            .filter(|trace| trace.1 <= 1000)
            .cloned()
            .collect();
        assert_eq!(chosen, small);
        let args = [
            "stats", "x.tape", "--at", "end", "--domain", "raw", "--thread", "worker",
        ];
        let total = folder.json(&args)["total"].clone();
        assert_eq!(total["count"].as_u64(), Some(raw.len() as u64));
        let bytes: u64 = raw.iter().map(|trace| trace.1).sum();
        assert_eq!(total["bytes"].as_u64(), Some(bytes));
    }
}

#[test]
fn one_block_is_one_trace_down_to_the_tuple() {
    let mut tape = empty_tape();
    let stack = tape.stack(
        0,
        &[app(1), python(2, 3), app(3), python(0, 9), python(1, 0)],
    );
    for address in [0x1000, 0x2000, 0x3000] {
        let mut event = Event::new(Operation::OBJ_MALLOC, address);
        (event.address, event.size, event.stack) = (address, 56, stack);
        tape.event(0, event);
    }
    let folder = Folder::new();
    tape.write(&folder.path("x.tape"));
    let said = folder.text(&[
        "export",
        "--to",
        "tracemalloc",
        "x.tape@end",
        "-o",
        "x.pickle",
    ]);
    assert_eq!(
        said,
        "x.pickle: 168 B in 3 blocks, alive at end (1.00 ms)\n"
    );
    let frames = [("/app/main.py", 13), ("<unknown>", 0), ("/app/main.py", 1)];
    let expected = (
        0,
        56,
        frames.map(|(file, line)| (file.to_owned(), line)).to_vec(),
        3,
    );
    for python in pythons() {
        let answers = ask(&python, &folder, &[json!({"snapshot": "x.pickle"})]);
        assert_eq!(traces(&answers[0]), vec![expected.clone(); 3]);
    }
    let output = folder.run(&["export", "--to", "tracemalloc", "x.tape@end", "-o", "-"]);
    assert_eq!(
        output.stdout,
        std::fs::read(folder.path("x.pickle")).unwrap()
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn a_million_blocks_stay_small() {
    let mut tape = empty_tape();
    let stacks: Vec<u32> = (0..100)
        .map(|line| {
            tape.stack(
                0,
                &[python(1 + line % 5, line / 5), python(6, 1), python(7, 2)],
            )
        })
        .collect();
    for place in 0..1_000_000 {
        let mut event = Event::new(Operation::OBJ_MALLOC, place);
        (event.address, event.size) = (0x1000 + 16 * place, 16 * (1 + place % 32));
        event.stack = stacks[(place % 100) as usize];
        tape.event(0, event);
    }
    let folder = Folder::new();
    tape.write(&folder.path("x.tape"));
    export(&folder, &["x.tape@end", "-o", "x.pickle"]);
    let bytes = folder.path("x.pickle").metadata().unwrap().len();
    assert!((1_000_000..1_100_000).contains(&bytes), "{bytes}");
    let question = json!({"snapshot": "x.pickle", "group_by": "lineno"});
    for python in pythons() {
        let answers = ask(&python, &folder, std::slice::from_ref(&question));
        let rows = answers[0].as_array().unwrap();
        let count: u64 = rows.iter().map(|row| row[2].as_u64().unwrap()).sum();
        // 31 lines of two functions of main.py, 20 of each other one.
        assert_eq!((count, rows.len()), (1_000_000, 71));
    }
}

#[test]
fn what_is_there_is_not_replaced_by_a_slip() {
    let folder = Folder::new();
    random_tape(5).write(&folder.path("x.tape"));
    let go = ["export", "--to", "tracemalloc", "x.tape", "-o"];
    let fails = |words: &[&str]| folder.fails(&[&go, words].concat(), 2);
    std::fs::write(folder.path("program"), b"\x7fELF").unwrap();
    assert!(fails(&["program"]).contains("--force replaces it"));
    assert!(fails(&["program", "--force"]).contains("program is not a pickle"));
    assert!(fails(&["x.tape", "--force"]).contains("x.tape is not a pickle"));
    assert!(fails(&[".", "--force"]).contains("this is a folder"));
    assert!(fails(&["none/x"]).contains("none/x: cannot write the export: No such file"));
    assert!(fails(&["x", "--from", "90%"]).contains("--from 90% lies behind @peak"));
    assert!(fails(&["x", "--frames", "0"]).contains("from 1 to 65535"));
    assert!(fails(&["x", "--domain", "pool"]).contains("no domain 'pool'"));
    assert_eq!(std::fs::read(folder.path("program")).unwrap(), b"\x7fELF");
    assert!(!folder.path("x").exists());
    std::fs::write(folder.path("old"), b"\x80\x05old").unwrap();
    folder.text(&[&go[..], &["old", "--force"]].concat());
    folder.text(&[&go[..], &["new"]].concat());
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert_eq!(read("old"), read("new"));
    let left = std::fs::read_dir(folder.path("")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() <= 6, "{names:?}");
}

#[test]
fn a_program_without_python_has_nothing_to_export_but_its_native_blocks() {
    let mut tape = Tape::new();
    tape.nameless(1);
    let stack = tape.stack(0, &[app(1)]);
    tape.alloc(0, 10, 0x1000, 7, stack);
    let folder = Folder::new();
    tape.write(&folder.path("x.tape"));
    let output = folder.run(&["export", "--to", "tracemalloc", "x.tape", "-o", "none"]);
    assert_eq!(output.status.code(), Some(0));
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("--domain native"), "{note}");
    let native = ["x.tape", "-o", "native", "--domain", "native"];
    let said = folder.text(&[&["export", "--to", "tracemalloc"], &native[..]].concat());
    assert!(
        said.contains("1 block (1 without a frame of Python)"),
        "{said}"
    );
    for python in pythons() {
        let names = ["none", "native"].map(|name| json!({"snapshot": name}));
        let answers = ask(&python, &folder, &names);
        assert_eq!(traces(&answers[0]), []);
        let unknown = vec![("<unknown>".to_owned(), 0)];
        assert_eq!(traces(&answers[1]), [(1, 7, unknown, 1)]);
    }
}
