//! The README's commands do what it says.

use heaptape_tests::{Outcome, Room, repository};
use std::fs;
use std::path::Path;

/// The words that the test command of the README consists of: `.ci/run` executes the same.
const TEST_COMMAND: &str = ".ci/packages && cargo test --workspace --release";

fn text(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// The command under the heading that contains `title`.
fn command_under(title: &str) -> String {
    let readme = text("README.md");
    let rest = readme.split(title).nth(1).expect(title);
    let block = rest.split("```").nth(1).unwrap();
    let command = block.strip_prefix("sh\n").unwrap().trim_end();
    assert_eq!(command.lines().count(), 1, "one command: {command}");
    command.to_owned()
}

/// Runs the first command in the room, without what installs and builds.
fn record(room: &Room) -> Outcome {
    let command = command_under("**Record a real program");
    let (_, command) = command.split_once(" && ").unwrap();
    let script = command.replacen("cargo run --release --locked --", "\"$0\"", 1);
    assert_ne!(script, command, "the command runs cargo");
    room.bare(&[
        "sh",
        "-c",
        &script,
        heaptape_tests::heaptape_path().to_str().unwrap(),
    ])
}

/// In a clone it is run again sooner or later: nothing is overwritten, and nothing fails.
#[test]
fn the_first_command_works_twice() {
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIPPED: /usr/bin/python3 is missing (.ci/packages installs it)");
        return;
    }
    let room = Room::new();
    for tape in ["json.tape", "json.1.tape"] {
        let outcome = record(&room).success();
        assert_eq!(outcome.stdout, "200000\n", "{outcome:?}");
        let said = &outcome.stderr;
        assert!(said.starts_with("heaptape: recorded\n"), "{said}");
        for line in [
            "duration",
            "allocations",
            "peak",
            "at the end",
            "The top lines",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        for line in [
            format!("  tape          {tape} ("),
            format!("Next:  heaptape stats {tape} --group-by traceback\n"),
            format!("       heaptape leaks {tape}\n"),
        ] {
            assert!(said.contains(&line), "{line}: {said}");
        }
        assert_dictionaries_are_seen(said);
        room.assert_clean(tape);
    }
    assert_eq!(room.tapes(), ["json.1.tape", "json.tape"]);
}

/// With the debug symbols that the command installs, the summary names lines of CPython.
fn assert_dictionaries_are_seen(said: &str) {
    let has_symbols = Path::new("/usr/lib/debug/.build-id").exists();
    assert!(
        has_symbols,
        "python3-dbg is missing (.ci/packages installs it)"
    );
    let top = said
        .lines()
        .find(|line| line.contains(" MiB") && line.contains("%"));
    let top = said
        .lines()
        .find(|line| line.contains("Objects/"))
        .or(top)
        .unwrap();
    assert!(
        top.contains("dictobject.c:") && top.ends_with("new_keys_object"),
        "{said}"
    );
}

#[test]
fn the_test_command_is_the_one_that_continuous_integration_runs() {
    assert_eq!(command_under("**Pass all tests:**"), TEST_COMMAND);
    let script = text(".ci/run");
    let definition = format!("test_command='{TEST_COMMAND}'");
    assert!(script.contains(&definition), "{script}");
    assert!(
        script.contains("step tests bash -c \"$test_command\""),
        "{script}"
    );
}
