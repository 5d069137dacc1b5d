//! Libraries that come and go at the same addresses: every block belongs to the one that was
//! loaded when it was made.

use crate::holes::PAGE_SIZES;
use heaptape_tests::answers::{array, functions, rows, text};
use heaptape_tests::{Outcome, Room, build, repeats};
use std::path::PathBuf;

fn plugin(name: &str, size: &str, options: &[&str]) -> PathBuf {
    let [name_option, size_option] = [format!("-DNAME={name}"), format!("-DSIZE={size}")];
    let output = format!("lib{name}.so");
    let named = [name_option.as_str(), size_option.as_str()];
    build::c_library("plugin.c", &output, &[&named, options].concat())
}

fn number_after(outcome: &Outcome, word: &str) -> u64 {
    let line = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word} in {outcome:?}"))
        .trim()
        .parse()
        .unwrap()
}

/// Runs 200 rounds with `threads` and compares what each plugin made; program and plugins are
/// linked with `options`.
fn check(threads: &str, options: &[&str]) {
    let room = Room::new();
    let program = build::c("plugins.c", &[&["-ldl"], options].concat());
    let a = plugin("plugin_a", "100", options);
    let b = plugin("plugin_b", "200", options);
    let [program, a, b] = [&program, &a, &b].map(|path| path.to_str().unwrap());
    let outcome = room
        .record("t.tape", &[], &[program, a, b, "200", threads])
        .success();
    assert!(
        number_after(&outcome, "reused ") > 100,
        "no address was reused: {outcome:?}"
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    assert_eq!(info["cut_stacks"]["unknown"], 0);

    let stats = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "function"]);
    let found = rows(&stats);
    for (name, word, size) in [("plugin_a", "a ", 100), ("plugin_b", "b ", 200)] {
        let blocks = number_after(&outcome, word) * 10;
        assert_eq!(found.get(name), Some(&(blocks * size, blocks)), "{name}");
    }
    // No block of one size stands in the other's rows, in any grouping that has frames.
    for row in array(&stats, "rows") {
        let module = row["frames"][0]["module"].as_str().unwrap_or("");
        let key = text(row, "key");
        if key.starts_with("plugin_") {
            assert_eq!(module, format!("lib{key}.so"), "{row:#}");
        }
    }
    let modules = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "module"]);
    let modules = rows(&modules);
    assert_eq!(modules.get("libplugin_a.so"), found.get("plugin_a"));
    assert_eq!(modules.get("libplugin_b.so"), found.get("plugin_b"));

    let tracebacks = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "traceback"]);
    for row in array(&tracebacks, "rows") {
        let names = functions(row);
        if names[0].starts_with("plugin_") {
            let is_called = names.contains(&"main") || names.contains(&"run");
            assert!(names[1] == "call" && is_called, "{names:?}");
        }
    }
}

#[test]
fn reused_addresses_belong_to_the_library_that_was_there() {
    check("0", &[]);
}

#[test]
fn also_while_four_threads_allocate_through_both() {
    for _ in 0..repeats(1) {
        check("4", &[]);
    }
}

/// Load segments that lie apart: the loader tells the program's one by one, and reserves the holes
/// of a library.
#[test]
fn also_when_there_are_holes_between_segments() {
    for page_size in PAGE_SIZES {
        check("0", &[page_size]);
        check("4", &[page_size]);
    }
}
