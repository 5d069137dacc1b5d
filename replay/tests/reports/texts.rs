//! What a person reads: tables and notes in text, CSV, and the summary of a run.

use crate::tape::{Folder, Tape, app};
use crate::verbs::folder;
use heaptape::report::{Style, summary_for_run};
use heaptape::{OpenOptions, Recording};

#[test]
fn text_is_aligned_and_whole_in_a_file() {
    let folder = Folder::new();
    let source = folder.path("a.c");
    std::fs::write(&source, "int main(void) {\n\n  char *p = malloc(10);\n}\n").unwrap();
    let mut tape = Tape::new();
    tape.start_realtime_ns = u64::MAX;
    let long = format!("deep<{}>(int)", "std::pair<int, int>, ".repeat(20));
    tape.symbol(0x10, &[("grow", source.to_str().unwrap(), 3)]);
    tape.symbol(0x20, &[(&long, "/src/b.cc", 9)]);
    let (small, large) = (tape.stack(0, &[app(0x10)]), tape.stack(0, &[app(0x20)]));
    tape.alloc(0, 100, 0x1000, 1_500_000, large);
    tape.alloc(0, 200, 0x2000, 10, small);
    tape.write(&folder.path("x.tape"));
    let text = folder.text(&["stats", "x.tape"]);
    assert!(text.contains("char *p = malloc(10);"), "{text}");
    assert!(
        text.contains("1465 KiB") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(
        !folder
            .text(&["stats", "x.tape", "--no-source"])
            .contains("char *p")
    );
    let exact = folder.text(&["stats", "x.tape", "--exact", "--group-by", "function"]);
    assert!(
        exact.contains("1,500,000") && exact.contains(&long),
        "{exact}"
    );
    let colored = folder.text(&["stats", "x.tape", "--color", "always"]);
    assert!(colored.contains("\x1b[36m1465 KiB"), "{colored}");
    let csv = folder.text(&[
        "stats",
        "x.tape",
        "--group-by",
        "function",
        "--format",
        "csv",
    ]);
    let header = "key,function,file,line,module,bytes,count,percent\r\n";
    assert!(csv.starts_with(header), "{csv}");
    assert!(
        csv.contains(&format!("\"{long}\",\"{long}\",/src/b.cc,9,app,1500000,1,")),
        "{csv}"
    );
}

/// Recursion is told, not shown; what is no recursion stays as it is.
#[test]
fn recursion_is_shown_once() {
    let folder = Folder::new();
    let mut tape = Tape::new();
    for (offset, name) in [
        (0x10, "leaf"),
        (0x20, "odd"),
        (0x30, "even"),
        (0x40, "main"),
    ] {
        tape.symbol(offset, &[(name, "/src/a.c", offset as u32)]);
    }
    let pair = [app(0x20), app(0x30)];
    let frames = [&[app(0x10)][..], &pair.repeat(500), &[app(0x40)]].concat();
    let deep = tape.stack(0, &frames);
    let frames = [&[app(0x10); 4][..], &pair.repeat(3), &[app(0x40)]].concat();
    let flat = tape.stack(0, &frames);
    tape.alloc(0, 100, 0x1000, 20, deep);
    tape.alloc(0, 200, 0x2000, 10, flat);
    tape.write(&folder.path("x.tape"));
    let text = folder.text(&["stats", "x.tape", "--group-by", "traceback"]);
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("      "))
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    let expected = [
        &[
            "leaf",
            "odd",
            "even",
            "[the 2 frames above, 499 more times]",
            "main",
        ][..],
        &["leaf", "[the frame above, 3 more times]"],
        &["odd", "even", "odd", "even", "odd", "even", "main"],
    ];
    assert_eq!(names, expected.concat(), "{text}");
    let json = folder.json(&["stats", "x.tape", "--group-by", "traceback"]);
    assert_eq!(json["rows"][0]["frames"].as_array().unwrap().len(), 1002);
}

/// A file that was changed after the recording shows other lines than those that ran.
#[test]
fn lines_of_a_file_that_was_changed_are_not_shown() {
    let folder = Folder::new();
    let source = folder.path("a.c");
    std::fs::write(&source, "p = malloc(10);\n").unwrap();
    let changed = std::fs::metadata(&source).unwrap().modified().unwrap();
    let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap();
    let changed = u64::try_from(changed.as_nanos()).unwrap();
    for (name, recorded) in [("old.tape", changed - 1), ("new.tape", changed + 1)] {
        let mut tape = Tape::new();
        tape.process.pid = recorded as u32;
        tape.start_realtime_ns = recorded;
        tape.symbol(0x10, &[("grow", source.to_str().unwrap(), 1)]);
        let stack = tape.stack(0, &[app(0x10)]);
        tape.alloc(0, 100, 0x1000, 10, stack);
        tape.write(&folder.path(name));
    }
    let shows = |arguments: &[&str]| folder.text(arguments).contains("p = malloc");
    assert!(!shows(&["stats", "old.tape"]));
    assert!(shows(&["stats", "new.tape"]));
    // Rows of both have what the second has.
    assert!(shows(&["diff", "old.tape", "new.tape"]));
    assert!(!shows(&["diff", "new.tape", "old.tape"]));
}

#[test]
fn a_small_tape_of_a_tree_names_the_large_one() {
    let folder = folder();
    let mut large = Tape::new();
    large.process.pid = 4712;
    large.process.command = vec!["cc1plus".into()];
    for block in 0..5000u64 {
        large.alloc(0, block, 0x1000 + block * 16, block * 977 % 100_003, 0);
    }
    large.write(&folder.path("x.4712.tape"));
    let output = folder.run(&["stats", "x.tape"]);
    let note = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        note.contains("note:") && note.contains("x.4712.tape (cc1plus)"),
        "{note}"
    );
    assert_eq!(folder.run(&["stats", "x.4712.tape"]).stderr, b"");
    // Another session's tape is no part of the tree.
    large.session = 8;
    large.write(&folder.path("x.4712.tape"));
    assert_eq!(folder.run(&["stats", "x.tape"]).stderr, b"");
}

#[test]
fn marks_that_are_not_shown_are_counted() {
    let folder = Folder::new();
    for (marks, more) in [
        (20, None),
        (21, Some(" and 1 more\n")),
        (40, Some(" and 20 more\n")),
    ] {
        let mut tape = Tape::new();
        // Each twice: names are counted, not marks.
        for number in (0..marks).chain(0..marks) {
            tape.mark(10, &format!("m{number}"));
        }
        tape.write(&folder.path("x.tape"));
        let text = folder.text(&["info", "x.tape"]);
        assert!(text.contains("m19 (2 times)"), "{text}");
        match more {
            Some(more) => assert!(text.contains(&format!("m19 (2 times){more}")), "{text}"),
            None => assert!(!text.contains(" more"), "{text}"),
        }
    }
}

#[test]
fn the_summary_of_a_run_says_what_matters() {
    let folder = folder();
    let path = folder.path("x.tape");
    let recording = Recording::open(&path, &OpenOptions::default()).unwrap();
    let text = summary_for_run(&recording, None, &Style::PLAIN).unwrap();
    for part in [
        "1.00 ms",
        "6 (212 B in total)",
        "182 B in 4 blocks at 610 ns",
        "82 B in 3 blocks",
        "/src/b.c:9",
        "/src/a.c:3",
        "heaptape stats",
        "heaptape leaks",
        path.to_str().unwrap(),
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
