//! Recordings that are unusual: many children, images that start late, cut stacks, moments after
//! the end. What reports say of them must be short and true.

use crate::tape::{Folder, Tape, app};
use crate::verbs::{folder, sample};
use heaptape_format::event::{Event, Operation};
use heaptape_format::tables::{Child, CutReason, Frame};
use serde_json::{Value, json};

#[test]
fn info_is_short_whatever_the_recording() {
    let folder = Folder::new();
    let mut tape = sample();
    let child = tape.children[0].clone();
    tape.children = (0..25)
        .map(|pid| Child {
            pid,
            tape: format!("x.{pid}.tape"),
            ..child.clone()
        })
        .collect();
    tape.process.command = vec!["sh".into(), "-c".into(), "a\nb".into()];
    tape.write(&folder.path("x.tape"));
    let text = folder.text(&["info", "x.tape"]);
    assert!(text.contains("x.8.tape, x.9.tape and 15 more\n"), "{text}");
    assert!(text.contains(r"sh -c $'a\nb'"), "{text}");
    assert!(text.contains("duration      1.00 ms\n"), "{text}");
    assert!(!text.contains("cut stacks"), "{text}");
    let info = folder.json(&["info", "x.tape"]);
    assert_eq!(info["children"].as_array().unwrap().len(), 25);
    assert_eq!(info["cut_stacks"], json!({"depth": 0, "unknown": 0}));
    (tape.process.origin, tape.process.cut_stamp) = (2, 250_000);
    tape.write(&folder.path("late.tape"));
    let text = folder.text(&["info", "late.tape"]);
    let words = "750.0 µs (from 250.0 µs of the recording on)";
    assert!(text.contains(words), "{text}");
}

#[test]
fn cut_stacks_are_marked() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    tape.symbol(0x10, &[("deep", "/src/a.c", 3)]);
    tape.symbol(0x20, &[("lost", "/src/b.c", 5)]);
    tape.symbol(0x30, &[("whole", "/src/c.c", 7)]);
    let deep = [app(0x10), app(0x10), Frame::Cut(CutReason::Depth)];
    let deep = tape.stack(0, &deep);
    let lost = tape.stack(0, &[app(0x20), Frame::Cut(CutReason::Unknown)]);
    let whole = tape.stack(0, &[app(0x30)]);
    for (place, stack) in [(1, deep), (2, lost), (3, whole)] {
        tape.alloc(0, place * 10, place * 0x1000, 40 - place, stack);
    }
    tape.write(&folder.path("x.tape"));
    let traceback = ["stats", "x.tape", "--group-by", "traceback"];
    let rows = folder.json(&traceback)["rows"].clone();
    let cuts: Vec<Option<&str>> = (0..3).map(|row| rows[row]["cut"].as_str()).collect();
    assert_eq!(cuts, [Some("depth"), Some("unknown"), None]);
    assert_eq!(rows[0]["frames"].as_array().unwrap().len(), 2);
    assert_eq!(rows[2].get("cut"), None);
    let text = folder.text(&traceback);
    let below = |frame: &str, line: &str| {
        let mut lines = text.lines().skip_while(|text| !text.contains(frame));
        lines.find(|text| !text.contains(frame)).unwrap().trim() == line
    };
    assert!(
        below("deep", "[cut: the depth limit was reached]"),
        "{text}"
    );
    assert!(
        below("lost", "[cut: the callers could not be found]"),
        "{text}"
    );
    assert_eq!(text.matches("[cut").count(), 2, "{text}");
    let by_line = folder.json(&["stats", "x.tape"]);
    assert_eq!(by_line["rows"][0].get("cut"), None);
    let object = folder.json(&["object", "x.tape", "0x1000"]);
    assert_eq!(object["owners"][0]["allocated"]["cut"], "depth");
    let object = folder.text(&["object", "x.tape", "0x1000"]);
    assert!(
        object.contains("[cut: the depth limit was reached]"),
        "{object}"
    );
    let info = folder.json(&["info", "x.tape"]);
    assert_eq!(info["cut_stacks"], json!({"depth": 1, "unknown": 1}));
    let info = folder.text(&["info", "x.tape"]);
    assert!(info.contains("1: the depth limit was reached"), "{info}");
}

#[test]
fn a_moment_after_the_end_is_the_end() {
    let folder = folder();
    let output = folder.run(&["stats", "x.tape", "--at", "99999s", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let note = String::from_utf8(output.stderr).unwrap();
    let words = "heaptape: note: x.tape: 99999s is after the end (1.00 ms)\n";
    assert_eq!(note, words);
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stats["at_ns"], 1_000_000);
    assert_eq!(stats["total"], json!({"bytes": 82, "count": 3}));
    // The last moment itself needs no note.
    assert_eq!(
        folder.json(&["stats", "x.tape", "--at", "1ms"])["at_ns"],
        1_000_000
    );
}

/// An index that something else made huge is not read: it would not fit.
#[test]
fn a_huge_index_is_built_again() {
    let folder = folder();
    let stats = folder.text(&["stats", "x.tape"]);
    let index = folder.path("x.tape.idx");
    let whole = std::fs::read(&index).unwrap();
    let file = std::fs::File::options().write(true).open(&index).unwrap();
    file.set_len(6 << 30).unwrap();
    let script = "ulimit -v 3000000 && exec \"$0\" stats x.tape";
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_heaptape")])
        .current_dir(folder.0.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stats);
    assert_eq!(std::fs::metadata(&index).unwrap().len(), whole.len() as u64);
}

#[test]
fn keys_with_numbers_are_sorted_by_value() {
    let folder = folder();
    let args = ["stats", "x.tape", "--group-by", "size", "--sort", "key"];
    let stats = folder.json(&args);
    let rows = stats["rows"].as_array().unwrap().iter();
    let keys: Vec<&str> = rows.map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["5", "7", "70", "100"]);
}

/// Nothing of a domain that was not recorded is no answer of its own.
#[test]
fn mappings_that_were_not_recorded_are_told() {
    let folder = Folder::new();
    let mut tape = sample();
    tape.write(&folder.path("x.tape"));
    tape.process.options = 2;
    tape.write(&folder.path("mapped.tape"));
    for verb in ["stats", "leaks", "churn"] {
        let told = |name: &str| {
            let output = folder.run(&[verb, name, "--domain", "mmap"]);
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let note = "heaptape: note: x.tape: mappings were not recorded; \
                    heaptape run --mmap records them\n";
        assert_eq!(told("x.tape"), note, "{verb}");
        assert_eq!(told("mapped.tape"), "", "{verb}");
        assert_eq!(folder.run(&[verb, "x.tape"]).stderr, b"", "{verb}");
    }
    let output = folder.run(&["diff", "x.tape@start", "@end", "--domain", "mmap"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes.lines().count(), 1, "{notes}");
}

/// A mapping lives until its last byte is unmapped, and what is left of it was allocated with it.
#[test]
fn a_mapping_that_was_unmapped_in_part_lives_on() {
    let folder = Folder::new();
    let mut tape = sample();
    let (start, whole) = (0x7000_0000_0000, 10 << 20);
    let mut event = Event::new(Operation::MMAP, 710_000);
    (event.address, event.size) = (start, whole);
    tape.event(0, event);
    let mut event = Event::new(Operation::MUNMAP, 720_000);
    (event.old_address, event.old_size) = (start + whole - 4096, 4096);
    tape.event(0, event);
    tape.write(&folder.path("left.tape"));
    let mut event = Event::new(Operation::MUNMAP, 910_000);
    (event.old_address, event.old_size) = (start, whole);
    tape.event(0, event);
    tape.write(&folder.path("gone.tape"));
    for (name, life, left) in [("left.tape", 290_000, 1), ("gone.tape", 200_000, 0)] {
        let churn = folder.json(&["churn", name, "--domain", "mmap"]);
        assert_eq!(churn["total"]["allocations"], 1, "{churn:#}");
        assert_eq!(churn["total"]["mean_lifetime_ns"], life, "{churn:#}");
        assert_eq!(churn["total"]["max_lifetime_ns"], life, "{churn:#}");
        let leaks = folder.json(&["leaks", name, "--domain", "mmap"]);
        let bytes = left * (whole - 4096);
        assert_eq!(leaks["total"], json!({"bytes": bytes, "count": left}));
        // It was allocated before.
        let leaks = folder.json(&["leaks", name, "--domain", "mmap", "--from", "715us"]);
        assert_eq!(leaks["total"], json!({"bytes": 0, "count": 0}));
    }
    let text = folder.text(&["object", "left.tape", "0x700000000000"]);
    for words in [
        "2 owners",
        "allocated by mmap in thread",
        "unmapped in part by munmap in thread",
        "left of what was mapped at 710.0 µs by mmap in thread",
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("ended by"), "{text}");
    let object = folder.json(&["object", "left.tape", "0x700000000000"]);
    assert_eq!(object["owners"][0]["mapped_ns"], Value::Null);
    assert_eq!(object["owners"][1]["mapped_ns"], 710_000);
}
