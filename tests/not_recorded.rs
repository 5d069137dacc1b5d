//! Images that cannot be recorded run as if bare, and are named: static, musl, 32-bit, with a
//! sanitizer.

use heaptape_tests::answers::{array, text};
use heaptape_tests::{Outcome, Room, build, is_root};
use std::path::PathBuf;

/// The kinds of images, each with its reason.
pub(crate) fn images() -> Vec<(PathBuf, &'static str)> {
    vec![
        (
            build::build("cc", "plain.c", "plain-static", &["-O2", "-static"]),
            "static executable",
        ),
        (
            build::build("musl-gcc", "plain.c", "plain-musl", &["-O2"]),
            "musl executable",
        ),
        (
            build::build(
                "musl-gcc",
                "plain.c",
                "plain-musl-static",
                &["-O2", "-static"],
            ),
            "static executable",
        ),
        (
            build::build("cc", "plain.c", "plain-32", &["-O2", "-m32"]),
            "32-bit executable",
        ),
        (
            build::build(
                "cc",
                "plain.c",
                "plain-asan",
                &["-O1", "-fsanitize=address"],
            ),
            "ASan-linked executable",
        ),
        (
            build::build(
                "cc",
                "plain.c",
                "plain-asan-inside",
                &["-O1", "-fsanitize=address", "-static-libasan"],
            ),
            "sanitizer-linked executable",
        ),
        (
            build::build("cc", "plain.c", "plain-tsan", &["-O1", "-fsanitize=thread"]),
            "TSan-linked executable",
        ),
    ]
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
    for (image, reason) in images() {
        let room = Room::new();
        let argv = [image.to_str().unwrap(), "the command"];
        let bare = room.bare(&argv);
        assert_eq!(bare.code, 21);
        assert_eq!(room.record("t.tape", &[], &argv), bare, "{reason}");

        for report in [&["--report"][..], &[]] {
            let options = [&["run", "--force", "-o", "u.tape"], report, &["--"]].concat();
            let told = room.heaptape(&[options, argv.to_vec()].concat());
            assert_eq!((told.code, &told.stdout), (21, &bare.stdout), "{reason}");
            assert_told(&ours_after(&bare, &told), argv[0], reason);
        }
        for tape in ["t.tape", "u.tape"] {
            let info = room.json(&["info", tape]);
            let expected = serde_json::json!([{"command": argv[0], "reason": reason}]);
            assert_eq!(info["not_recorded"], expected, "{info:#}");
        }
    }
}

/// One line: who, why, what to do, where that stands. No figures, and nothing to look at.
fn assert_told(ours: &str, command: &str, reason: &str) {
    let start = format!("heaptape: {command}: not recorded: {reason}; to record it, ");
    assert!(ours.starts_with(&start), "{ours}");
    assert!(ours.ends_with(" (u.tape says only this)\n"), "{ours}");
    assert_eq!(ours.lines().count(), 1, "{ours}");
}

/// The kernel would start it as another user. Only root can make such a file.
#[test]
fn a_setuid_executable() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !is_root() {
        eprintln!("SKIPPED: not root, so no file can be given to another user");
        return;
    }
    let room = Room::new();
    let plain = build::build("cc", "plain.c", "plain", &["-O2"]);
    let copy = room.path("suid");
    heaptape_tests::build::copy(plain, &copy).unwrap();
    chown(&copy, Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let bare = room.bare(&["./suid", "x"]);
    let told = room.heaptape(&["run", "-o", "u.tape", "--", "./suid", "x"]);
    assert_eq!((told.code, &told.stdout), (21, &bare.stdout));
    assert_told(&ours_after(&bare, &told), "./suid", "setuid executable");
    std::fs::remove_file(room.path("u.tape")).unwrap();
    let started = room.record("t.tape", &[], &["sh", "-c", "./suid x; exit 5"]);
    assert_eq!(started.code, 5, "{started:?}");
    assert_eq!(reasons_of(&room, "suid"), ["setuid executable"]);
}

/// What the tapes in the room say of the command that is called `name`.
pub(crate) fn reasons_of(room: &Room, name: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for tape in room.tapes() {
        let info = room.json(&["info", &tape]);
        for entry in array(&info, "not_recorded") {
            if text(entry, "command").contains(name) {
                reasons.push(text(entry, "reason").to_owned());
            }
        }
    }
    reasons
}

#[test]
fn as_a_child_of_a_recorded_program() {
    for (image, reason) in images() {
        let room = Room::new();
        let script = format!("'{}' child; echo code $?", image.display());
        let outcome = room.record_as_bare("t.tape", &["sh", "-c", &script]);
        assert!(outcome.stdout.contains("code 21"), "{outcome:?}");
        room.wait_for_processes();

        // The shell forked before it executed the image: the fork's tape or the shell's names it.
        let name = image.file_name().unwrap().to_str().unwrap();
        assert_eq!(reasons_of(&room, name), [reason]);
    }
}

/// Nobody judges what a static program starts: so it gets nothing from us, wherever it stands.
#[test]
fn behind_a_static_program() {
    let start = build::build("cc", "start.c", "start-static", &["-O2", "-static"]);
    for (image, reason) in images() {
        let room = Room::new();
        let direct = [&start, &image].map(|path| path.to_str().unwrap());
        let script = format!("exec '{}' '{}'", direct[0], direct[1]);
        let replaced = ["sh", "-c", &script];
        let script = format!("'{}' '{}'; exit 3", direct[0], direct[1]);
        let child = ["sh", "-c", &script];
        for argv in [&direct[..], &replaced, &child] {
            let bare = room.bare(argv);
            let outcome = room.record("t.tape", &["--force"], argv);
            assert_eq!(outcome, bare, "{reason}: {argv:?}");
        }
    }
}

/// What such an image starts itself is recorded again, on request.
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
    let outcome = room.record("t.tape", &["--through-static"], &argv);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (4, ""));
    assert_eq!(
        crate::truth_of(&room, "t.tape", "after_exec_grabs"),
        (500 * 30, 500)
    );

    // The last image has the name; the one before is told of all the same.
    let options = "run --force -o t.tape --report --through-static --".split(' ');
    let options: Vec<_> = options.collect();
    let told = room.heaptape(&[&options[..], &argv].concat()).stderr;
    assert!(told.contains("after_exec_grabs"), "{told}");
    let refused = format!("heaptape: {}: not recorded: static executable\n", argv[0]);
    assert!(told.starts_with(&refused), "{told}");
}

/// The command has no tape worth a look: the last lines lead to what it started.
#[test]
fn the_last_lines_lead_to_what_was_recorded() {
    let parent = build::build("cc", "parent.c", "parent-static", &["-O2", "-static"]);
    let family = build::c("family.c", &[]);
    let room = Room::new();
    let argv = [
        parent.to_str().unwrap(),
        family.to_str().unwrap(),
        "work",
        "4",
    ];
    let options = "run -o u.tape --report --through-static --".split(' ');
    let options: Vec<_> = options.collect();
    let outcome = room.heaptape(&[&options[..], &argv].concat());
    assert_eq!(outcome.code, 4, "{outcome:?}");
    let (first, rest) = outcome.stderr.split_once('\n').unwrap();
    assert_told(&format!("{first}\n"), argv[0], "static executable");
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "u.tape").unwrap();
    for part in [
        "after_exec_grabs",
        &format!("tape          {child}"),
        &format!("heaptape stats {child} "),
    ] {
        assert!(rest.contains(part), "{part}: {rest}");
    }
    assert!(
        !rest.contains("u.tape ") && !rest.contains("more tape"),
        "{rest}"
    );
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

/// `HEAPTAPE=0 heaptape run`: the command alone, no tape, and a word on it unless `--quiet`.
#[test]
fn the_launcher_can_be_turned_off() {
    let room = Room::new();
    let family = build::c("family.c", &[]);
    let argv = [family.to_str().unwrap(), "work", "3"];
    for (option, said) in [("--report", 1), ("--quiet", 0)] {
        let mut command = room.heaptape_command(&["run", "-o", "t.tape", option, "--"]);
        command.args(argv).env("HEAPTAPE", "0");
        let outcome = room.run(&mut command);
        assert_eq!(outcome.code, 3, "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), said, "{outcome:?}");
        assert_eq!(outcome.stderr.contains("HEAPTAPE=0"), said == 1);
    }
    assert_eq!(room.tapes(), [""; 0]);
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
    command.env("HEAPTAPE_LIB", &library);
    let outcome = room.run(&mut command);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (3, ""));
    assert!(
        outcome.stderr.contains("not recorded"),
        "nothing tells: {outcome:?}"
    );
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(info["complete"], false, "{info:#}");

    // Something went wrong: --quiet does not hide it.
    let mut quiet = room.record_command("u.tape", &[], &argv[4..]);
    let said = room.run(quiet.env("HEAPTAPE_LIB", library)).stderr;
    assert!(said.contains("not recorded"), "{said:?}");
    assert_eq!(said.lines().count(), 1, "{said:?}");
}

/// As long as they may be bare: the image then does without us, and is named.
#[test]
fn arguments_that_leave_no_room_for_ours() {
    let room = Room::new();
    let program = build::c("long_arguments.c", &[]);
    let outcome = room.record_as_bare("t.tape", &[&program]);
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:?}");
    let info = room.json(&["info", "t.tape"]);
    let mut reasons = array(&info, "not_recorded").iter();
    let expected = "its arguments leave no room for the recorder's variables";
    assert!(
        reasons.any(|image| text(image, "reason") == expected),
        "{info:#}"
    );
}
