//! What is no tape, no moment, no address, no option: exit code 2 and one helpful line.

use crate::tape::{Folder, Tape};
use crate::verbs::folder;
use heaptape_format::header::HEADER_BYTES;

/// Every verb that reads one tape, with what else it needs.
const VERBS: &[&[&str]] = &[
    &["info"],
    &["info", "--no-index"],
    &["index"],
    &["stats"],
    &["leaks"],
    &["churn"],
    &["timeline"],
    &["verify"],
    &["symbolize"],
    &["check", "--fail-on", "bytes>1"],
];

fn on(verb: &[&str], name: &str) -> Vec<String> {
    let mut args: Vec<String> = verb.iter().map(|&word| word.to_owned()).collect();
    args.insert(1, name.to_owned());
    args
}

fn each_verb_refuses(folder: &Folder, name: &str, says: &str) {
    for verb in VERBS {
        let args = on(verb, name);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let complaint = folder.fails(&args, 2);
        assert!(complaint.contains(name), "names the file: {complaint}");
        assert!(complaint.contains(says), "{args:?}: {complaint}");
    }
    let complaint = folder.fails(&["object", name, "0x1000"], 2);
    assert!(complaint.contains(says), "{complaint}");
    let complaint = folder.fails(&["diff", name, "other.tape"], 2);
    assert!(complaint.contains(says), "{complaint}");
}

#[test]
fn what_is_no_tape_is_refused_by_every_verb() {
    let folder = Folder::new();
    let good = Tape::new().bytes();
    let mut newer = Tape::new().header();
    newer.version = (9, 0);
    let mut newer_bytes = Vec::new();
    newer.encode(&mut newer_bytes);
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    std::fs::write(
        folder.path("text.tape"),
        "this is no tape at all, only words\n",
    )
    .unwrap();
    std::fs::write(folder.path("empty.tape"), "").unwrap();
    std::fs::write(folder.path("short.tape"), &good[..HEADER_BYTES - 1]).unwrap();
    std::fs::write(folder.path("newer.tape"), &newer_bytes).unwrap();
    std::fs::write(folder.path("flipped.tape"), &flipped).unwrap();
    std::fs::create_dir(folder.path("folder.tape")).unwrap();
    each_verb_refuses(&folder, "text.tape", "not a heaptape tape");
    each_verb_refuses(&folder, "empty.tape", "empty");
    each_verb_refuses(&folder, "short.tape", "cut");
    each_verb_refuses(&folder, "newer.tape", "newer heaptape");
    each_verb_refuses(&folder, "flipped.tape", "damaged");
    each_verb_refuses(&folder, "folder.tape", "folder");
    each_verb_refuses(&folder, "missing.tape", "No such file");
    for (name, says) in [
        ("text.tape", "magic bytes"),
        ("missing.tape", "No such file"),
    ] {
        let complaint = folder.fails(&["stats", name], 2);
        assert_eq!(complaint.matches(says).count(), 1, "{complaint}");
    }
}

#[test]
fn a_tape_that_is_cut_anywhere_answers_or_is_refused_in_one_line() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    tape.symbol(0x10, &[("grow", "/src/a.c", 3)]);
    let stack = tape.stack(0, &[crate::tape::app(0x10)]);
    for block in 0..50u64 {
        tape.alloc(0, block * 10, 0x1000 + block * 64, 8, stack);
    }
    let good = tape.bytes();
    let path = folder.path("cut.tape");
    for length in (0..good.len()).step_by(53) {
        std::fs::write(&path, &good[..length]).unwrap();
        let output = folder.run(&["stats", "cut.tape", "--at", "end", "--format", "json"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => {
                let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert!(json["total"]["count"].as_u64().unwrap() <= 50);
            }
            Some(2) => assert_eq!(complaint.lines().count(), 1, "{complaint}"),
            code => panic!("cut at {length}: {code:?} {complaint}"),
        }
    }
}

#[test]
fn a_wrong_index_is_built_anew() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    let stack = tape.stack(0, &[crate::tape::app(0x10)]);
    tape.alloc(0, 5, 0x1000, 77, stack);
    tape.write(&folder.path("x.tape"));
    let right = folder.json(&["stats", "x.tape"]);
    let index = folder.path("x.tape.idx");
    let good = std::fs::read(&index).unwrap();
    for garbage in [
        b"garbage".to_vec(),
        Vec::new(),
        good[..good.len() / 2].to_vec(),
    ] {
        std::fs::write(&index, garbage).unwrap();
        assert_eq!(folder.json(&["stats", "x.tape"]), right);
    }
    assert_eq!(right["total"]["bytes"], 77);
}

#[test]
fn moments_and_addresses_that_are_none_are_explained() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    tape.mark(10, "loaded");
    tape.mark(20, "loaded");
    tape.mark(30, "done");
    tape.write(&folder.path("x.tape"));
    let refused = |args: &[&str], says: &[&str]| {
        let complaint = folder.fails(args, 2);
        for text in says {
            assert!(complaint.contains(text), "{args:?}: {complaint}");
        }
    };
    refused(
        &["stats", "x.tape", "--at", "soon"],
        &["soon", "12.5s", "mark:NAME"],
    );
    refused(&["stats", "x.tape", "--at", "101%"], &["101%"]);
    refused(&["stats", "x.tape", "--at", "-5s"], &["-5s"]);
    refused(
        &["stats", "x.tape", "--at", "mark:load"],
        &["mark", "load", "loaded", "done"],
    );
    refused(&["stats", "x.tape", "--at", "mark:loaded:3"], &["loaded"]);
    refused(&["stats", "x.tape", "--at", "peak:9"], &["peak:9"]);
    refused(&["stats", "x.tape", "--at", "rss-peak"], &["resident"]);
    refused(
        &["leaks", "x.tape", "--from", "end", "--to", "start"],
        &["swap"],
    );
    refused(&["diff", "x.tape@", "x.tape@end"], &["moment"]);
    refused(
        &["diff", "x.tape", "x.tape"],
        &["two moments", "x.tape@90%"],
    );
    refused(&["object", "x.tape", "7f00zz"], &["7f00zz", "0x"]);
    refused(&["object", "x.tape", ""], &["0x"]);
    refused(
        &["stats", "x.tape", "--thread", "nobody"],
        &["nobody", "main (4711)"],
    );
    refused(
        &["stats", "x.tape", "--domain", "heap"],
        &["heap", "native", "mmap"],
    );
    refused(
        &["stats", "x.tape", "--cumulative", "--group-by", "size"],
        &["--cumulative", "size"],
    );
    refused(
        &["stats", "x.tape", "--sort", "temporary"],
        &["--sort temporary", "use bytes, count, average, key\n"],
    );
    refused(
        &["churn", "x.tape", "--sort", "live-bytes"],
        &["temporary-bytes, lifetime, max-lifetime\n"],
    );
    refused(
        &["diff", "@1s", "@2s"],
        &["'@1s' names no tape", "app.tape@1s"],
    );
    refused(
        &["diff", "x.tape@0", "x.tape@end", "--fail-on", "x>1"],
        &["METRIC>LIMIT"],
    );
}

#[test]
fn bad_usage_is_one_line_with_a_way_out() {
    let folder = Folder::new();
    let cases: &[(&[&str], &str)] = &[
        (&["stat"], "'stats'"),
        (&["stats"], "not provided: <TAPE>; heaptape stats --help"),
        (&["stats", "x.tape", "--groupby", "line"], "--group-by"),
        (&["stats", "x.tape", "--group-by", "lines"], "line"),
        (&["stats", "x.tape", "--min-size", "big"], "64KiB"),
        (&["nonsense-verb"], "heaptape --help"),
        (&["timeline", "x.tape", "--points", "0"], "0"),
    ];
    for (args, says) in cases {
        let complaint = folder.fails(args, 2);
        assert!(complaint.contains(says), "{args:?}: {complaint}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let mut tape = Tape::new();
    for block in 0..20_000u64 {
        tape.alloc(0, block, 0x1000 + block * 16, block, 0);
    }
    tape.write(&folder.path("x.tape"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_heaptape"))
        .args(["stats", "x.tape", "--group-by", "size", "--format", "json"])
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// One of them would have no effect.
#[test]
fn options_that_exclude_each_other_are_refused() {
    let folder = folder();
    let complaint = folder.fails(&["stats", "x.tape", "--raw-sites", "--wrapper", "x"], 2);
    assert!(complaint.contains("--wrapper"), "{complaint}");
    assert!(complaint.contains("--raw-sites"), "{complaint}");
}

/// What a verb is told in place of a moment is an option that it has.
#[test]
fn a_moment_where_none_is_taken_is_refused_with_what_is() {
    let folder = folder();
    for (verb, advice) in [
        ("stats", "name x.tape, and the moment by --at 5ms"),
        ("leaks", "name x.tape, and a window by --from T and --to T"),
        ("churn", "name x.tape, and a window by --from T and --to T"),
        ("info", "name x.tape alone; heaptape stats x.tape --at 5ms"),
        (
            "timeline",
            "name x.tape alone; heaptape stats x.tape --at 5ms",
        ),
    ] {
        let complaint = folder.fails(&[verb, "x.tape@5ms"], 2);
        assert!(complaint.contains(advice), "{complaint}");
    }
}

#[test]
fn a_session_that_is_none_is_refused_with_where_they_are_listed() {
    let folder = folder();
    for name in ["nonsense", "x.tape"] {
        let complaint = folder.fails(&["recover", name], 2);
        let advice = "heaptape recover lists the sessions that are left";
        assert!(complaint.contains(name), "{complaint}");
        assert!(complaint.contains(advice), "{complaint}");
    }
}
