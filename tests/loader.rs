//! Programs that are started through the dynamic loader, as a command: they are the program, and
//! the loader is a library of theirs.

use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Room, build};

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
        std::fs::copy(name, room.path(copy)).unwrap();
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
