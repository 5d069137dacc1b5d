//! Debug information that is not in the program's own file: where it is found, that what is no
//! file is left alone.

use heaptape_tests::answers::rows;
use heaptape_tests::{Room, build};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program `app` in the room that links to `app.debug`, which has its debug information.
fn linking(room: &Room) -> PathBuf {
    let objcopy = build::needed_program("objcopy", "binutils");
    let app = room.path("app");
    fs::copy(build::c("phases.c", &[]), &app).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = room.command(&objcopy);
        room.run(command.args(arguments)).success();
    };
    run(&["--only-keep-debug", "app", "app.debug"]);
    let link = "--add-gnu-debuglink=app.debug";
    run(&["--strip-debug", link, "app"]);
    app
}

/// What `phase_a` has at mark `a`, by line and by function.
fn phase_a(room: &Room, app: &Path) -> [Option<(u64, u64)>; 2] {
    room.record("t.tape", &["--force"], &[app]).success();
    ["line", "function"].map(|group| {
        let stats = ["stats", "t.tape", "--at", "mark:a", "--group-by", group];
        let rows = rows(&room.json(&stats));
        let mut rows = rows.into_iter();
        let of_phase = |key: &str| match group {
            "line" => key.contains("phases.c:"),
            _ => key == "phase_a",
        };
        rows.find(|(key, _)| of_phase(key)).map(|row| row.1)
    })
}

#[test]
fn debug_files_are_found_beside_the_program_and_in_its_debug_folder() {
    let room = Room::new();
    let app = linking(&room);
    let amount = Some((1000, 100));
    assert_eq!(phase_a(&room, &app), [amount, amount]);
    fs::create_dir(room.path(".debug")).unwrap();
    fs::rename(room.path("app.debug"), room.path(".debug/app.debug")).unwrap();
    assert_eq!(phase_a(&room, &app), [amount, amount]);
    // Of two, the one beside the program counts: this one is not the program's.
    room.write("app.debug", "other");
    assert_eq!(phase_a(&room, &app), [None, amount]);
    fs::remove_file(room.path("app.debug")).unwrap();
    room.write(".debug/app.debug", "other");
    assert_eq!(phase_a(&room, &app), [None, amount]);
}

/// A pipe would be waited for without end; the program's own symbols are there all the same.
#[test]
fn pipes_are_not_opened_for_debug_information() {
    for place in ["app.debug", ".debug/app.debug", "app.dwp"] {
        let room = Room::new();
        let app = linking(&room);
        fs::create_dir(room.path(".debug")).unwrap();
        fs::remove_file(room.path("app.debug")).unwrap();
        let made = Command::new("mkfifo").arg(room.path(place)).status();
        assert!(made.unwrap().success());
        let expected = [None, Some((1000, 100))];
        assert_eq!(phase_a(&room, &app), expected, "{place}");
    }
}

#[test]
fn folders_and_devices_are_no_debug_information() {
    let room = Room::new();
    let app = linking(&room);
    let expected = [None, Some((1000, 100))];
    fs::remove_file(room.path("app.debug")).unwrap();
    fs::create_dir(room.path("app.debug")).unwrap();
    assert_eq!(phase_a(&room, &app), expected);
    fs::remove_dir(room.path("app.debug")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", room.path("app.debug")).unwrap();
    assert_eq!(phase_a(&room, &app), expected);
}
