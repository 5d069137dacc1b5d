//! The answers of each verb, to the byte, on a small tape whose heap is known.

use crate::tape::{Folder, Tape, app};
use heaptape_format::tables::{Child, ResidentSample};
use serde_json::{Value, json};

/// Two threads; `grow` (a.c:3) and `table` (b.c:9), the latter through a wrapper.
pub(crate) fn sample() -> Tape {
    let mut tape = Tape::new();
    tape.symbol(0x10, &[("grow", "/src/a.c", 3)]);
    tape.symbol(0x20, &[("operator new(unsigned long)", "", 0)]);
    tape.symbol(0x30, &[("table(int)", "/src/b.c", 9)]);
    tape.symbol(0x40, &[("main", "/src/main.c", 20)]);
    tape.nameless(0x99);
    let worker = tape.thread("worker");
    let grow = tape.stack(0, &[app(0x10), app(0x40)]);
    let table = tape.stack(worker, &[app(0x20), app(0x30), app(0x40)]);
    let unknown = tape.stack(0, &[app(0x99)]);
    tape.alloc(0, 100, 0x1000, 10, grow);
    tape.alloc(0, 200, 0x2000, 20, grow);
    tape.mark(250, "half");
    tape.alloc(worker, 300, 0x3000, 100, table);
    tape.free(0, 400, 0x1000);
    tape.realloc(0, 500, (0x2000, 0x2800), 70, grow);
    tape.alloc(0, 600, 0x4000, 7, unknown);
    tape.alloc(0, 610, 0x5000, 5, 0);
    tape.free(worker, 700, 0x3000);
    tape.resident = vec![ResidentSample {
        stamp: 500_000,
        resident_bytes: 8192,
        shared_bytes: 0,
    }];
    tape.children = vec![
        Child {
            stamp: 10,
            pid: 4712,
            origin: 1,
            tape: "x.4712.tape".into(),
            command: "child".into(),
            reason: String::new(),
        },
        Child {
            stamp: 20,
            pid: 4713,
            origin: 2,
            tape: String::new(),
            command: "busybox".into(),
            reason: "static executable".into(),
        },
    ];
    tape
}

pub(crate) fn folder() -> Folder {
    let folder = Folder::new();
    sample().write(&folder.path("x.tape"));
    folder
}

fn keys(json: &Value) -> Vec<(String, u64, u64)> {
    let rows = json["rows"].as_array().unwrap().iter().map(|row| {
        let number = |name: &str| row[name].as_u64().unwrap();
        (
            row["key"].as_str().unwrap().to_owned(),
            number("bytes"),
            number("count"),
        )
    });
    rows.collect()
}

fn key(text: &str, bytes: u64, count: u64) -> (String, u64, u64) {
    (text.to_owned(), bytes, count)
}

#[test]
fn info_has_the_members_of_the_contract() {
    let folder = folder();
    let info = folder.json(&["info", "x.tape"]);
    let expected = json!({
        "tape": "x.tape", "format_version": 1, "command": ["app", "a b"], "pid": 4711,
        "started_unix_ns": 1_700_000_000_000_000_000u64, "duration_ns": 1_000_000,
        "start_ns": 0, "end_ns": 1_000_000,
        "complete": true, "ended_by": "exit:0",
        "events": {"alloc": 5, "free": 2, "realloc": 1},
        "lost_events": 0, "unknown_frees": 0, "inherited": {"bytes": 0, "count": 0},
        "inherited_frees": 0, "free_stacks": false, "stacks_mode": "both",
        "bytes_allocated": 212, "peak": {"at_ns": 610, "bytes": 182, "count": 4},
        "end": {"bytes": 82, "count": 3}, "threads": 2,
        "children": ["x.4712.tape"],
        "not_recorded": [{"command": "busybox", "reason": "static executable"}],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&info[name], value, "{name}");
    }
    for name in ["stacks", "frames", "tape_bytes"] {
        assert!(info[name].as_u64().unwrap() > 0, "{name}");
    }
    let quick = folder.json(&["info", "x.tape", "--no-index"]);
    assert_eq!(quick["peak"], Value::Null);
    assert_eq!(quick["end"], Value::Null);
    for (name, value) in info.as_object().unwrap() {
        if !["peak", "end"].contains(&name.as_str()) {
            assert_eq!(&quick[name], value, "{name}");
        }
    }
    let text = folder.text(&["info", "x.tape", "--exact"]);
    assert!(text.contains("app 'a b'") && text.contains("182 bytes in 4 blocks at 610 ns"));
    assert!(text.contains("busybox: static executable"));
}

#[test]
fn stats_groups_by_every_key() {
    let folder = folder();
    let stats = |group_by: &str| {
        let json = folder.json(&["stats", "x.tape", "--at", "610", "--group-by", group_by]);
        assert_eq!(json["total"], json!({"bytes": 182, "count": 4}));
        assert_eq!(json["group_by"], group_by);
        assert_eq!(json["at_ns"], 610);
        assert_eq!(json["cumulative"], false);
        keys(&json)
    };
    let line = vec![
        key("/src/b.c:9", 100, 1),
        key("/src/a.c:3", 70, 1),
        key("app+0x99", 7, 1),
        key("<unknown>", 5, 1),
    ];
    assert_eq!(stats("line"), line);
    assert_eq!(stats("file")[0], key("/src/b.c", 100, 1));
    assert_eq!(stats("function")[0], key("table(int)", 100, 1));
    assert_eq!(stats("function")[1], key("grow", 70, 1));
    assert_eq!(
        stats("module"),
        vec![key("app", 177, 3), key("<unknown>", 5, 1)]
    );
    assert_eq!(
        stats("thread"),
        vec![key("worker (4712)", 100, 1), key("main (4711)", 82, 3)]
    );
    assert_eq!(stats("size")[0], key("100", 100, 1));
    assert_eq!(stats("domain"), vec![key("native", 182, 4)]);
    let kinds = vec![
        key("new", 100, 1),
        key("realloc", 70, 1),
        key("malloc", 12, 2),
    ];
    assert_eq!(stats("kind"), kinds);
    let traceback = "operator new(unsigned long) (app) < table(int) (/src/b.c:9) < main \
                     (/src/main.c:20)";
    assert_eq!(stats("traceback")[0], key(traceback, 100, 1));
}

#[test]
fn rows_carry_their_frames() {
    let folder = folder();
    let rows = |group_by: &str| {
        let json = folder.json(&["stats", "x.tape", "--at", "610", "--group-by", group_by]);
        json["rows"].clone()
    };
    let line = rows("line");
    let table = json!({"function": "table(int)", "file": "/src/b.c", "line": 9, "module": "app",
        "language": "native"});
    assert_eq!(line[0]["frames"], json!([table]));
    assert_eq!(line[2]["frames"][0]["function"], Value::Null);
    assert_eq!(line[3]["frames"], json!([]));
    assert_eq!(line[0]["percent"], json!(100.0 * 100.0 / 182.0));
    let traceback = rows("traceback");
    let functions: Vec<&str> = traceback[0]["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|frame| frame["function"].as_str().unwrap())
        .collect();
    assert_eq!(
        functions,
        ["operator new(unsigned long)", "table(int)", "main"]
    );
    assert_eq!(rows("thread")[0]["frames"], json!([]));
}

#[test]
fn filters_and_attribution_options_choose() {
    let folder = folder();
    let stats = |args: &[&str]| {
        let mut all = vec!["stats", "x.tape", "--at", "610"];
        all.extend(args);
        keys(&folder.json(&all))
    };
    assert_eq!(
        stats(&["--include", "*/a.c"]),
        vec![key("/src/a.c:3", 70, 1)]
    );
    assert_eq!(stats(&["--include", "*/a.c:4"]), vec![]);
    assert_eq!(stats(&["--include", "*/main.c"]), vec![]);
    assert_eq!(stats(&["--include", "*/main.c", "--all-frames"]).len(), 2);
    assert_eq!(stats(&["--exclude", "/src/*"]).len(), 2);
    assert_eq!(
        stats(&["--thread", "worker"]),
        vec![key("/src/b.c:9", 100, 1)]
    );
    assert_eq!(stats(&["--thread", "4711"]).len(), 3);
    assert_eq!(stats(&["--min-size", "7", "--max-size", "70"]).len(), 2);
    assert_eq!(stats(&["--domain", "mmap"]), vec![]);
    assert_eq!(
        stats(&["--raw-sites"])[0].0,
        "app!operator new(unsigned long)"
    );
    for pattern in ["table*", "table", "table(int)"] {
        assert_eq!(stats(&["--wrapper", pattern])[0].0, "/src/main.c:20");
    }
    assert_eq!(stats(&["--top", "1"]).len(), 1);
    assert_eq!(stats(&["--lang", "python"]), vec![key("<unknown>", 182, 4)]);
    let by_module = stats(&["--group-by", "function", "--by-module"]);
    assert_eq!(by_module[0].0, "app!table(int)");
    let cumulative = stats(&["--cumulative", "--group-by", "function"]);
    assert!(cumulative.contains(&key("main", 170, 2)));
    assert!(cumulative.contains(&key("operator new(unsigned long)", 100, 1)));
}

#[test]
fn recursion_counts_once_unless_as_in_tracemalloc() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    tape.symbol(0x10, &[("walk", "/src/a.c", 3)]);
    tape.symbol(0x20, &[("main", "/src/a.c", 9)]);
    let frames = [app(0x10), app(0x10), app(0x10), app(0x20)];
    let stack = tape.stack(0, &frames);
    tape.alloc(0, 5, 0x1000, 10, stack);
    tape.write(&folder.path("x.tape"));
    let stats = |args: &[&str]| {
        let mut all = vec!["stats", "x.tape", "--cumulative"];
        all.extend(args);
        let json = folder.json(&all);
        assert_eq!(json["total"], json!({"bytes": 10, "count": 1}));
        keys(&json)
    };
    assert_eq!(
        stats(&[]),
        vec![key("/src/a.c:9", 10, 1), key("/src/a.c:3", 10, 1)]
    );
    assert_eq!(stats(&["--group-by", "file"]), vec![key("/src/a.c", 10, 1)]);
    let compat = stats(&["--tracemalloc-compat"]);
    assert_eq!(
        compat,
        vec![key("/src/a.c:3", 30, 3), key("/src/a.c:9", 10, 1)]
    );
    let compat = stats(&["--tracemalloc-compat", "--group-by", "file"]);
    assert_eq!(compat, vec![key("/src/a.c", 40, 4)]);
}

#[test]
fn diff_is_to_minus_from() {
    let folder = folder();
    let diff = folder.json(&["diff", "x.tape@mark:half", "@end"]);
    assert_eq!(diff["tape"], "x.tape");
    let from = json!({"tape": "x.tape", "at_ns": 250, "bytes": 30, "count": 2});
    assert_eq!(diff["from"], from);
    let to = json!({"tape": "x.tape", "at_ns": 1_000_000, "bytes": 82, "count": 3});
    assert_eq!(diff["to"], to);
    let rows: Vec<(&str, i64, i64, i64, i64)> = diff["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let number = |name: &str| row[name].as_i64().unwrap();
            (
                row["key"].as_str().unwrap(),
                number("bytes"),
                number("bytes_diff"),
                number("count"),
                number("count_diff"),
            )
        })
        .collect();
    let expected = [
        ("/src/a.c:3", 70, 40, 1, -1),
        ("app+0x99", 7, 7, 1, 1),
        ("<unknown>", 5, 5, 1, 1),
    ];
    assert_eq!(rows, expected);
    let gone = folder.json(&["diff", "x.tape@650", "x.tape@end"]);
    let row = &gone["rows"][0];
    assert_eq!(row["key"], "/src/b.c:9");
    assert_eq!(
        (&row["bytes"], &row["bytes_diff"]),
        (&json!(0), &json!(-100))
    );
}

#[test]
fn nothing_changes_from_a_moment_to_itself() {
    let folder = folder();
    let diff = folder.json(&["diff", "x.tape@end", "x.tape@end"]);
    assert_eq!(diff["from"], diff["to"]);
    let rows = diff["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert!(
        rows.iter()
            .all(|row| row["bytes_diff"] == 0 && row["count_diff"] == 0)
    );
}

#[test]
fn gates_decide_the_exit_code() {
    let folder = folder();
    let code = |args: &[&str]| {
        let output = folder.run(args);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let diff = |gate: &str| code(&["diff", "x.tape@mark:half", "@end", "--fail-on", gate]);
    assert_eq!(diff("bytes>82"), (0, String::new()));
    assert_eq!(diff("bytes>+52").0, 0);
    assert_eq!(diff("bytes>+200%").0, 0);
    assert_eq!(diff("row:bytes>+40").0, 0);
    assert_eq!(diff("allocations>6").0, 0);
    let (failed, complaint) = diff("bytes>81");
    assert_eq!(failed, 1);
    assert!(
        complaint.contains("bytes>81") && complaint.contains("/src/a.c:3"),
        "{complaint}"
    );
    assert_eq!(diff("bytes>+51").0, 1);
    assert_eq!(diff("bytes>+100%").0, 1);
    assert_eq!(diff("row:bytes>+39").0, 1);
    assert_eq!(diff("allocations>+3").0, 1);
    let check = |gate: &str| code(&["check", "x.tape@end", "--fail-on", gate]).0;
    assert_eq!(check("count>3"), 0);
    assert_eq!(check("count>2"), 1);
}

#[test]
fn leaks_are_born_in_the_window_and_alive_at_its_end() {
    let folder = folder();
    let leaks = folder.json(&["leaks", "x.tape"]);
    assert_eq!(leaks["total"], json!({"bytes": 82, "count": 3}));
    assert_eq!(leaks["at_ns"], 1_000_000);
    // The reallocated block was born again at 501.
    let late = folder.json(&["leaks", "x.tape", "--from", "450"]);
    assert_eq!(late["total"], json!({"bytes": 82, "count": 3}));
    let late = folder.json(&["leaks", "x.tape", "--from", "502"]);
    assert_eq!(late["total"], json!({"bytes": 12, "count": 2}));
    let early = folder.json(&["leaks", "x.tape", "--to", "mark:half"]);
    assert_eq!(keys(&early), vec![key("/src/a.c:3", 30, 2)]);
}

#[test]
fn churn_counts_allocations_lifetimes_and_temporaries() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    tape.symbol(0x10, &[("a", "/src/a.c", 1)]);
    tape.symbol(0x20, &[("b", "/src/b.c", 2)]);
    let other = tape.thread("other");
    let a = tape.stack(0, &[app(0x10)]);
    let b = tape.stack(0, &[app(0x20)]);
    tape.alloc(0, 100, 0x1000, 10, a); // temporary: freed next
    tape.free(0, 140, 0x1000);
    tape.alloc(0, 200, 0x2000, 20, a); // one allocation in between
    tape.alloc(0, 210, 0x3000, 30, b); // freed by another thread
    tape.free(0, 260, 0x2000);
    tape.free(other, 310, 0x3000);
    tape.alloc(0, 400, 0x4000, 40, b); // never freed
    tape.write(&folder.path("x.tape"));
    let churn = |args: &[&str]| {
        let mut all = vec!["churn", "x.tape"];
        all.extend(args);
        folder.json(&all)
    };
    let strict = churn(&[]);
    let row = |key: &str, numbers: [u64; 6]| {
        json!({"key": key, "allocations": numbers[0], "bytes_allocated": numbers[1],
            "temporary": numbers[2], "temporary_bytes": numbers[3],
            "mean_lifetime_ns": numbers[4], "max_lifetime_ns": numbers[5]})
    };
    let bare = |json: &Value| {
        let mut rows = json["rows"].clone();
        for row in rows.as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("frames");
        }
        rows
    };
    let b_row = row("/src/b.c:2", [2, 70, 0, 0, (100 + 999_600) / 2, 999_600]);
    let expected = json!([b_row, row("/src/a.c:1", [2, 30, 1, 10, 50, 60])]);
    assert_eq!(bare(&strict), expected);
    let within = churn(&["--temporary-within", "1", "--sort", "temporary"]);
    let expected = json!([row("/src/a.c:1", [2, 30, 2, 30, 50, 60]), b_row]);
    assert_eq!(bare(&within), expected);
    let window = churn(&["--from", "150", "--to", "300"]);
    assert_eq!(window["total"]["allocations"], 2);
    assert_eq!(window["total"]["bytes_allocated"], 50);
}

#[test]
fn the_timeline_ends_with_the_run() {
    let folder = folder();
    let timeline = folder.json(&["timeline", "x.tape", "--points", "10"]);
    let points = timeline["points"].as_array().unwrap();
    assert_eq!(points.len(), 10);
    let last = &points[9];
    assert_eq!(last["t_ns"], 1_000_000);
    assert_eq!((&last["bytes"], &last["count"]), (&json!(82), &json!(3)));
    assert_eq!(last["rss"], 8192);
    assert_eq!(points[0]["rss"], Value::Null);
    let sum = |name: &str| {
        points
            .iter()
            .map(|point| point[name].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((sum("allocations"), sum("frees")), (6, 3));
    let high = points
        .iter()
        .map(|point| point["high"].as_u64().unwrap())
        .max();
    assert_eq!(high, Some(182));
    let csv = folder.text(&["timeline", "x.tape", "--points", "10", "--format", "csv"]);
    assert_eq!(csv.matches("\r\n").count(), 11);
    let text = folder.text(&["timeline", "x.tape"]);
    assert!(text.contains("182 B") && text.contains('█'), "{text}");
}

#[test]
fn an_address_has_its_owners() {
    let folder = folder();
    let object = folder.json(&["object", "x.tape", "0x3008"]);
    let owner = &object["owners"][0];
    assert_eq!(object["address"], "0x3008");
    assert_eq!(object["owners"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&owner["from_ns"], &owner["to_ns"]),
        (&json!(300), &json!(700))
    );
    assert_eq!(
        (&owner["base"], &owner["bytes"]),
        (&json!("0x3000"), &json!(100))
    );
    assert_eq!(owner["domain"], "native");
    assert_eq!(owner["allocated"]["thread"], 4712);
    assert_eq!(owner["allocated"]["frames"][1]["function"], "table(int)");
    assert_eq!(owner["freed"], json!({"thread": 4712, "frames": []}));
    let gone = folder.json(&["object", "x.tape", "0x3008", "--at", "700"]);
    assert_eq!(gone["owners"], json!([]));
    let alive = folder.json(&["object", "x.tape", "0x2800"]);
    assert_eq!(alive["owners"][0]["freed"], Value::Null);
    let text = folder.text(&["object", "x.tape", "0x3008", "--exact"]);
    assert!(
        text.contains("100 bytes at 0x3000, 8 bytes into it"),
        "{text}"
    );
    assert!(
        text.contains("worker (4712)") && text.contains("/src/b.c:9"),
        "{text}"
    );
}

#[test]
fn verify_finds_a_flipped_bit() {
    let folder = folder();
    let whole = folder.json(&["verify", "x.tape"]);
    assert_eq!(
        (&whole["damaged"], &whole["first_damage_offset"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(whole["readable_events"], 8);
    let mut bytes = std::fs::read(folder.path("x.tape")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(folder.path("bad.tape"), &bytes).unwrap();
    let output = folder.run(&["verify", "bad.tape", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["damaged"], 1);
    let offset = found["first_damage_offset"].as_u64().unwrap() as usize;
    assert!(offset <= middle && middle - offset < 4096);
}
