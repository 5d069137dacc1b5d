//! Programs that are started through the dynamic loader, as a command: they are the program, and
//! the loader is a library of theirs.

use crate::not_recorded::{images, reasons_of};
use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Outcome, Room, build};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// The program's functions are named, and the tape is the program's.
#[test]
fn a_program_started_through_the_loader_is_the_program() {
    let program = build::c("steps.c", &[]);
    let name = program.to_str().unwrap();
    let copy = "in a folder/the program";
    for (options, program) in [
        (&[][..], name),
        (&["--argv0", "some other"], name),
        (&["--library-path", "/nowhere"], name),
        (&["--preload", "libm.so.6"], name),
        (&[], copy),
    ] {
        let room = Room::new();
        std::fs::create_dir(room.path("in a folder")).unwrap();
        heaptape_tests::build::copy(name, room.path(copy)).unwrap();
        for step in ["1", "2", "3"] {
            room.write(step, "");
        }
        let argv = [&[LOADER], options, &[program]].concat();
        room.record("t.tape", &[], &argv).success();
        assert_eq!(room.tapes(), ["t.tape"], "{argv:?}");
        let info = room.assert_clean("t.tape");
        let path = room.path(program).canonicalize().unwrap();
        assert_eq!(
            text(&info, "executable"),
            path.to_str().unwrap(),
            "{argv:?}"
        );
        assert_eq!(array(&info, "command").len(), argv.len(), "{argv:?}");
        let found = |group: &str| {
            let stats = ["stats", "t.tape", "--at", "end", "--group-by", group];
            rows(&room.json(&stats))
        };
        let functions = found("function");
        for (function, sum) in [("first_grabs", (1000, 10)), ("third_grabs", (3000, 30))] {
            assert_eq!(
                functions.get(function),
                Some(&sum),
                "{argv:?} {functions:?}"
            );
        }
        let modules = found("module");
        let module = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            modules.get(module),
            Some(&(6000, 60)),
            "{argv:?} {modules:?}"
        );
    }
}

/// The dynamic loader as a command is no way around: it would load us into the image.
#[test]
fn what_cannot_be_recorded_runs_as_bare() {
    for (image, reason) in images() {
        let image = image.to_str().unwrap();
        for options in [&[][..], &["--argv0", "some name"]] {
            let room = Room::new();
            let argv = [&[LOADER], options, &[image, "x"]].concat();
            let bare = room.bare(&argv);
            assert_eq!(room.record("t.tape", &[], &argv), bare, "{argv:?}");
            let expected = serde_json::json!([{"command": LOADER, "reason": reason}]);
            let info = room.json(&["info", "t.tape"]);
            assert_eq!(info["not_recorded"], expected, "{info:#}");
        }
        let line = format!("#!{LOADER} {image}\n");
        for argv in [
            &["sh", "-c", &format!("{LOADER} '{image}' x; exit 3")][..],
            &["sh", "-c", "./run-it x; exit 3"],
            &["env", "./run-it", "x"],
            &["./run-it", "x"],
        ] {
            let room = Room::new();
            let script = room.write("run-it", &line);
            std::fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
            let bare = room.bare(argv);
            assert_eq!(room.record("t.tape", &[], argv), bare, "{argv:?}");
            room.wait_for_processes();
            assert_eq!(reasons_of(&room, ""), [reason], "{argv:?}");
        }
    }
}

/// Who asks what would be loaded is told what bare programs load.
#[test]
fn nothing_of_ours_stands_in_lists_of_libraries() {
    let room = Room::new();
    let without_addresses = |outcome: Outcome| {
        let lines = outcome.stdout.lines();
        let names: Vec<_> = lines
            .map(|line| line.split(" (0x").next().unwrap())
            .collect();
        (outcome.code, names.join("\n"), outcome.stderr.clone())
    };
    for argv in [
        &["ldd", "/bin/sh"][..],
        &["env", "LD_TRACE_LOADED_OBJECTS=1", "/bin/sh"],
        &["sh", "-c", "LD_TRACE_LOADED_OBJECTS=1 /bin/sh; exit 3"],
        &["sh", "-c", &format!("{LOADER} --list /bin/sh; exit 3")],
        &[LOADER, "--list", "/bin/sh"],
        &[LOADER, "--help"],
    ] {
        let bare = without_addresses(room.bare(argv));
        assert!(
            bare.1.contains("libc.so.6") || argv.contains(&"--help"),
            "{bare:?}"
        );
        let recorded = without_addresses(room.record("t.tape", &["--force"], argv));
        assert_eq!(recorded, bare, "{argv:?}");
    }
}

/// A sanitizer's library that the user preloads must come first, too.
#[test]
fn with_a_preloaded_sanitizer() {
    let asked = Command::new("cc")
        .arg("-print-file-name=libasan.so")
        .output();
    let library = String::from_utf8(asked.unwrap().stdout).unwrap();
    let library = library.trim_end();
    let plain = build::build("cc", "plain.c", "plain", &["-O2"]);
    let plain = plain.to_str().unwrap();
    let reason = "a sanitizer is preloaded into it";
    for argv in [
        &["env", &format!("LD_PRELOAD={library}"), plain, "x"][..],
        &[
            "sh",
            "-c",
            &format!("LD_PRELOAD={library} {plain} x; exit 3"),
        ],
        &[LOADER, "--preload", library, plain, "x"],
    ] {
        let room = Room::new();
        let bare = room.bare(argv);
        assert!(bare.stdout.contains("of x"), "{bare:?}");
        assert_eq!(room.record("t.tape", &[], argv), bare, "{argv:?}");
        room.wait_for_processes();
        assert_eq!(reasons_of(&room, ""), [reason], "{argv:?}");
    }
}
