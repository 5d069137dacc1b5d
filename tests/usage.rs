//! The command line itself: words that are wrong, and words that ask for help.

use crate::bad_input::good_tape;
use heaptape_tests::Room;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Bad usage is exit code 2, of `run` 125: anything else could be the command's own code.
#[test]
fn wrong_usage() {
    let room = Room::new();
    let tape = good_tape(&room);
    room.bare(&["mkfifo", "pipe"]).success();
    let wrong: &[&[&str]] = &[
        &[],
        &["no-such-verb"],
        &["stats"],
        &["stats", &tape, "--group-by", "colour"],
        &["stats", &tape, "--format", "xml"],
        &["stats", &tape, "--top", "many"],
        &["info", &tape, "--format", "csv"],
        &["verify", &tape, "--format", "csv"],
        &["object", &tape, "0x10", "--format", "csv"],
        &["timeline", &tape, "--points", "-1"],
        &["diff", &tape],
        &["run", "-o", "t.tape"],
        &["run"],
        &["run", "--no-such-option", "--", "true"],
        &["run", "--min-size", "1XB", "--", "true"],
        &["run", "--max-depth", "-1", "--", "true"],
        &["run", "--quiet", "--report", "--", "true"],
        &["--color", "never", "run", "--no-such-option", "--", "true"],
        &["run", "-o", ".", "--", "true"],
        &["run", "-o", "/dev/null", "--", "true"],
        &["run", "--force", "-o", "pipe", "--", "true"],
        &["run", "-o", "no-such-folder/t.tape", "--", "true"],
    ];
    for arguments in wrong {
        let outcome = room.heaptape(arguments);
        let is_run = arguments.contains(&"run");
        let code = if is_run { 125 } else { 2 };
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        if !arguments.is_empty() {
            assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        }
        assert!(
            !outcome.stderr.contains("panicked"),
            "{arguments:?}: {outcome:?}"
        );
    }
    assert!(room.path("pipe").exists());
    assert_eq!(room.tapes(), [tape]);
}

/// Words that are empty or no text are named.
#[test]
fn words_that_say_nothing_are_named() {
    let room = Room::new();
    let tape = good_tape(&room);
    let not_text = OsStr::from_bytes(b"mark:\xff");
    let cases: &[(&[&OsStr], &str)] = &[
        (&["stats", ""].map(OsStr::new), "'<TAPE>' is empty"),
        (
            &["run", "-o", "", "--", "true"].map(OsStr::new),
            "'--output <TAPE>' is empty",
        ),
        (
            &["stats".as_ref(), tape.as_ref(), "--at".as_ref(), not_text],
            r#""mark:\xFF" is not text"#,
        ),
        (
            &["check", &tape, "--fail-on", "bytes>+5%"].map(OsStr::new),
            "'bytes>+5%' needs two moments",
        ),
    ];
    for (words, said) in cases {
        let outcome = room.heaptape(words);
        assert!(outcome.stderr.contains(said), "{words:?}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
}

/// What is asked for is no error, of `run` neither.
#[test]
fn help_is_no_error() {
    let room = Room::new();
    // Each verb offers what it has.
    for (verb, has_csv) in [
        ("info", false),
        ("verify", false),
        ("object", false),
        ("stats", true),
    ] {
        let help = room.heaptape(&[verb, "--help"]).success().stdout;
        assert_eq!(help.to_lowercase().contains("csv"), has_csv, "{help}");
    }
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["stats", "-h"],
        &["--version"],
    ] {
        let outcome = room.heaptape(arguments).success();
        assert!(!outcome.stdout.is_empty() && outcome.stderr.is_empty());
    }
}
