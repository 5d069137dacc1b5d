//! Images that cannot be recorded run as if bare, and are named: static, musl, 32-bit, with a
//! sanitizer.

use heaptape_tests::answers::{array, text};
use heaptape_tests::{Outcome, Room, build};
use std::path::PathBuf;

/// The kinds of images, each with a word that its reason must have.
fn images() -> Vec<(PathBuf, &'static str)> {
    vec![
        (
            build::build("cc", "plain.c", "plain-static", &["-O2", "-static"]),
            "static",
        ),
        (
            build::build("musl-gcc", "plain.c", "plain-musl", &["-O2"]),
            "musl",
        ),
        (
            build::build(
                "musl-gcc",
                "plain.c",
                "plain-musl-static",
                &["-O2", "-static"],
            ),
            "static",
        ),
        (
            build::build("cc", "plain.c", "plain-32", &["-O2", "-m32"]),
            "32-bit",
        ),
        (
            build::build(
                "cc",
                "plain.c",
                "plain-asan",
                &["-O1", "-fsanitize=address"],
            ),
            "asan|sanitizer",
        ),
    ]
}

fn assert_named(reason: &str, word: &str) {
    let reason = reason.to_lowercase();
    let found = word.split('|').any(|word| reason.contains(word));
    assert!(found, "the reason {reason:?} does not say {word:?}");
}

/// Beside the program's own words only ours may stand on the launcher's stderr.
fn ours_after(bare: &Outcome, recorded: &Outcome) -> String {
    let stderr = &recorded.stderr;
    stderr
        .strip_prefix(&bare.stderr)
        .unwrap_or_else(|| panic!("something stands before the program's words: {stderr}"))
        .to_owned()
}

#[test]
fn as_the_command_itself() {
    for (image, word) in images() {
        let room = Room::new();
        let argv = [image.to_str().unwrap(), "the command"];
        let bare = room.bare(&argv);
        assert_eq!(bare.code, 21);

        let recorded = room.record("t.tape", &[], &argv);
        assert_eq!(
            (recorded.code, &recorded.stdout),
            (21, &bare.stdout),
            "{word}"
        );
        ours_after(&bare, &recorded);

        let arguments = ["run", "-o", "u.tape", "--report", "--", argv[0], argv[1]];
        let told = room.heaptape(&arguments);
        assert_eq!((told.code, &told.stdout), (21, &bare.stdout), "{word}");
        let ours = ours_after(&bare, &told);
        assert!(
            ours.contains("not recorded"),
            "the summary does not tell: {ours}"
        );
        assert_named(&ours, word);
    }
}

#[test]
fn as_a_child_of_a_recorded_program() {
    for (image, word) in images() {
        let room = Room::new();
        let script = format!("'{}' child; echo code $?", image.display());
        let outcome = room.record_as_bare("t.tape", &["sh", "-c", &script]);
        assert!(outcome.stdout.contains("code 21"), "{outcome:?}");
        room.wait_for_processes();

        // The shell forked before it executed the image: the fork's tape or the shell's names it.
        let mut reasons = Vec::new();
        for tape in room.tapes() {
            let info = room.json(&["info", &tape]);
            for entry in array(&info, "not_recorded") {
                let command = text(entry, "command").to_owned();
                reasons.push((command, text(entry, "reason").to_owned()));
            }
        }
        let name = image.file_name().unwrap().to_str().unwrap();
        let of_image: Vec<_> = reasons
            .iter()
            .filter(|(command, _)| command.contains(name))
            .collect();
        assert_eq!(of_image.len(), 1, "{word}: {reasons:?}");
        assert_named(&of_image[0].1, word);
    }
}

/// What such an image starts itself is recorded again.
#[test]
fn recording_goes_on_behind_an_image_that_is_not_recorded() {
    let shell = build::build("cc", "start.c", "start-static", &["-O2", "-static"]);
    let family = build::c("family.c", &[]);
    let room = Room::new();
    let argv = [
        shell.to_str().unwrap(),
        family.to_str().unwrap(),
        "work",
        "4",
    ];
    let outcome = room.record("t.tape", &[], &argv);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (4, ""));
    let found = room
        .tapes()
        .iter()
        .any(|tape| crate::truth_of(&room, tape, "after_exec_grabs") == (500 * 30, 500));
    assert!(found, "{:?}", room.tapes());
}

/// `HEAPTAPE=0` turns the recorder off.
#[test]
fn the_recorder_can_be_turned_off() {
    let room = Room::new();
    let family = build::c("family.c", &[]);
    let argv = ["env", "HEAPTAPE=0", family.to_str().unwrap(), "work", "3"];
    let outcome = room.record("t.tape", &[], &argv);
    assert_eq!(outcome.code, 3);
    let grabs = room
        .tapes()
        .iter()
        .filter(|tape| crate::truth_of(&room, tape, "after_exec_grabs").1 > 0)
        .count();
    assert_eq!(grabs, 0);
}

/// A library that is there and never begins to record: the tape does not claim to be complete.
#[test]
fn a_recorder_that_does_not_start_is_told() {
    let room = Room::new();
    let library = build::c_library("plugin.c", "libother.so", &["-DNAME=other", "-DSIZE=1"]);
    let family = build::c("family.c", &[]);
    let argv = [
        "run",
        "-o",
        "t.tape",
        "--",
        family.to_str().unwrap(),
        "work",
        "3",
    ];
    let mut command = room.heaptape_command(&argv);
    command.env("HEAPTAPE_LIB", library);
    let outcome = room.run(&mut command);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (3, ""));
    assert!(
        outcome.stderr.contains("not recorded"),
        "nothing tells: {outcome:?}"
    );
    if !room.tapes().is_empty() {
        let info = room.json(&["info", "t.tape"]);
        assert_eq!(info["complete"], false, "{info:#}");
    }
}
