//! Shells that the C library starts by itself, for `system`, `popen` and `wordexp`: they are
//! recorded whatever the program did to its environment, and harmed by nothing.

use heaptape_tests::answers::{array, text};
use heaptape_tests::{Outcome, Room, build};
use std::path::Path;

const FUNCTIONS: [&str; 3] = ["system", "popen", "wordexp"];

fn target() -> String {
    let target = build::build("cc", "shells.c", "shells", &["-O1"]);
    target.to_str().unwrap().to_owned()
}

/// What `tr` is said to have written, and that the environment is as it was.
fn assert_said(said: &Outcome, function: &str) {
    let status = if function == "wordexp" { 0 } else { 3 };
    assert_eq!(
        said.stdout,
        format!("8\nas it was, {status}\n"),
        "{function}"
    );
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{function}");
}

/// Programs that have a tape.
fn recorded(room: &Room) -> Vec<String> {
    let program = |tape: &String| {
        let info = room.json(&["info", tape]);
        let path = text(&info, "executable").to_owned();
        let name = Path::new(&path).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    room.tapes().iter().map(program).collect()
}

#[test]
fn they_are_recorded_whatever_the_program_takes_out_of_its_environment() {
    let target = target();
    for function in FUNCTIONS {
        for change in ["as-it-is", "cleared", "unset"] {
            let room = Room::new();
            let argv = [target.as_str(), function, change];
            assert_said(&room.bare(&argv), function);
            assert_said(&room.record("t.tape", &["--wait"], &argv), function);
            let programs = recorded(&room);
            let has = |name: &str| programs.iter().any(|program| program == name);
            assert!(
                has("shells") && has("tr"),
                "{function} {change}: {programs:?}"
            );
            let info = room.assert_clean("t.tape");
            assert_eq!(array(&info, "not_recorded").len(), 0, "{info:#}");
            assert_ne!(array(&info, "children").len(), 0, "{function} {change}");
        }
    }
}

/// The dynamic loader would complain about a library that it cannot open.
#[test]
fn one_that_could_not_load_the_recorder_gets_nothing_of_it() {
    let target = target();
    for function in FUNCTIONS {
        let room = Room::new();
        let argv = [target.as_str(), function, "removed"];
        let mut command = room.record_command("t.tape", &["--wait"], &argv);
        command.env("XDG_CACHE_HOME", room.path("cache"));
        assert_said(&room.run(&mut command), function);
        let info = room.assert_clean("t.tape");
        let [shell] = array(&info, "not_recorded") else {
            panic!("{function}: {info:#}");
        };
        assert_eq!(text(shell, "command"), "/bin/sh");
        assert!(text(shell, "reason").contains("out of reach"), "{shell}");
    }
}

/// No frame of the recorder is in the stacks of what these functions allocate.
#[test]
fn what_they_allocate_has_the_programs_stacks() {
    let room = Room::new();
    let target = target();
    let argv = [target.as_str(), "popen", "as-it-is"];
    assert_said(&room.record("t.tape", &["--wait"], &argv), "popen");
    let found = room.json(&["churn", "t.tape", "--group-by", "traceback"]);
    let rows = array(&found, "rows").iter();
    let frames = rows.flat_map(|row| array(row, "frames"));
    let mut modules = frames.map(|frame| frame["module"].to_string());
    assert!(
        !modules.any(|module| module.contains("libheaptape")),
        "{found:#}"
    );
}
