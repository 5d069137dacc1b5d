//! Debug information that is not in the program's own file: where it is found, that what is no
//! file is left alone, and what is said where it is not found.

use crate::truth_of;
use heaptape_tests::answers::rows;
use heaptape_tests::{Room, build};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program `app` in the room that links to `app.debug`, which has its debug information.
fn linking(room: &Room) -> PathBuf {
    let objcopy = build::needed_program("objcopy", "binutils");
    let app = room.path("app");
    heaptape_tests::build::copy(build::c("phases.c", &[]), &app).unwrap();
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

/// A debug file that is there and does not belong to the program is told of once, with the reason.
#[test]
fn a_debug_file_that_is_passed_over_is_told() {
    let room = Room::new();
    let app = linking(&room);
    let told = |arguments: &[&str]| {
        let outcome = room.heaptape(arguments).success();
        let lines = outcome.stderr.lines();
        let of_file = lines.filter(|line| line.contains("app.debug"));
        of_file.map(str::to_owned).collect::<Vec<_>>()
    };
    let app = app.to_str().unwrap();
    let twice = ["sh", "-c", "./app; ./app; :"];
    let run = |options: &[&str]| {
        let head = ["run", "--force", "-o", "t.tape"];
        told(&[&head[..], options, &["--"], &twice].concat())
    };
    assert_eq!(run(&[]), [""; 0], "the right one");
    let right = fs::read(room.path("app.debug")).unwrap();
    let mut damaged = right.clone();
    damaged.extend_from_slice(b"more");
    let other = fs::read(build::c("churn.c", &[])).unwrap();
    for (content, why) in [
        (damaged, "it belongs to another build or is damaged"),
        (other, "its build-id is another one"),
        (b"other".to_vec(), "it is no ELF file"),
    ] {
        let debug_file = room.write("app.debug", content);
        let line = format!(
            "heaptape: note: {app}: the debug file {} was passed over: {why}",
            debug_file.display()
        );
        assert_eq!(run(&[]), [line.as_str()]);
        assert_eq!(run(&["--quiet"]), [""; 0]);
        assert_eq!(run(&["--no-symbolize"]), [""; 0]);
        room.record("u.tape", &["--force", "--no-symbolize"], &[app])
            .success();
        assert_eq!(told(&["symbolize", "u.tape"]), [line.as_str()]);
        assert_eq!(told(&["stats", "u.tape"]), [""; 0], "told before");
    }
}

/// The link's checksum fits, but the build-id says that it is another program's.
#[test]
fn a_debug_file_of_another_build_names_nothing() {
    let objcopy = build::needed_program("objcopy", "binutils");
    let room = Room::new();
    let app = linking(&room);
    let other = build::c("churn.c", &[]);
    let run = |arguments: &[&str]| {
        let mut command = room.command(&objcopy);
        room.run(command.args(arguments)).success();
    };
    run(&["--only-keep-debug", other.to_str().unwrap(), "app.debug"]);
    run(&["--remove-section=.gnu_debuglink", "app"]);
    run(&["--add-gnu-debuglink=app.debug", "app"]);
    assert_eq!(phase_a(&room, &app), [None, Some((1000, 100))]);
    let outcome = room.heaptape(&["run", "--force", "-o", "t.tape", "--", "./app"]);
    let note = format!(
        "the debug file {} was passed over: its build-id is another one",
        room.path("app.debug").display()
    );
    assert!(outcome.stderr.contains(&note), "{}", outcome.stderr);
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

/// What stands where a package of split debug information would be, and is none, is told of, and
/// the program's own debug information is used.
#[test]
fn a_package_that_is_none_is_passed_over() {
    let room = Room::new();
    let app = room.path("app");
    build::copy(build::c("phases.c", &[]), &app).unwrap();
    let amount = Some((1000, 100));
    let put = |content: Option<&str>| match content {
        Some(content) => drop(room.write("app.dwp", content)),
        None => fs::create_dir(room.path("app.dwp")).unwrap(),
    };
    for content in [Some(""), Some("no package"), None] {
        put(content);
        let outcome = room.heaptape(&["run", "--force", "-o", "t.tape", "--", "./app"]);
        let line = format!(
            "heaptape: note: {}: the debug file {}.dwp was passed over: ",
            app.display(),
            app.display()
        );
        assert!(outcome.stderr.contains(&line), "{outcome:?}");
        assert_eq!(phase_a(&room, &app), [amount, amount], "{content:?}");
        let _folder = fs::remove_file(room.path("app.dwp"));
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

/// Without the files of split debug information, what is inlined into a function is not known. The
/// line table then has the library's lines, and the function is the program's.
#[test]
fn a_function_is_not_passed_over_for_want_of_split_debug_information() {
    let cpp = ["-std=c++20", "-gsplit-dwarf"];
    let functions = [
        ("store::fill_vector(", 8000, 1),
        ("store::grow_vector(", 512, 1),
        ("store::fill_string(", 501, 1),
        ("store::make_new(", 333, 1),
    ];
    for level in ["-O0", "-O1", "-O2", "-O3"] {
        let program = build::cpp("containers.cpp", &[&cpp[..], &[level]].concat());
        has_functions(&program, &functions, level);
    }
    let functions = [
        ("containers::fill_vector", 8000, 1),
        ("containers::grow_vector", 512, 1),
        ("containers::make_box", 800, 1),
        ("containers::make_rc", 216, 1),
    ];
    for level in ["-Copt-level=0", "-Copt-level=2", "-Copt-level=3"] {
        let options = ["-Csplit-debuginfo=unpacked", level];
        has_functions(&build::rust("containers.rs", &options), &functions, level);
    }
}

fn has_functions(program: &Path, functions: &[(&str, u64, u64)], level: &str) {
    let room = Room::new();
    let copy = room.path("app");
    heaptape_tests::build::copy(program, &copy).unwrap();
    room.record("t.tape", &[], &[&copy]).success();
    for &(function, bytes, blocks) in functions {
        let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
        let stats = room.json(&stats);
        let rows = rows(&stats);
        let found = rows.iter().find(|(key, _)| key.starts_with(function));
        let found = found.map(|(_, amount)| *amount);
        assert_eq!(found, Some((bytes, blocks)), "{level} {function} {rows:#?}");
    }
}

/// A package of split debug information (`.dwp`) beside the program has all.
#[test]
fn split_debug_information_in_a_package_is_read() {
    let options = ["-Csplit-debuginfo=packed", "-Copt-level=2"];
    let built = build::rust("containers.rs", &options);
    let mut files = fs::read_dir(built.parent().unwrap()).unwrap();
    let package = files.find_map(|file| {
        let path = file.unwrap().path();
        path.extension()
            .is_some_and(|end| end == "dwp")
            .then_some(path)
    });
    let room = Room::new();
    heaptape_tests::build::copy(&built, room.path("app")).unwrap();
    heaptape_tests::build::copy(package.expect("a package"), room.path("app.dwp")).unwrap();
    room.record("t.tape", &[], &["./app"]).success();
    assert_eq!(
        truth_of(&room, "t.tape", "containers::fill_vector"),
        (8000, 1)
    );
    let lines = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "line"]);
    let keys = rows(&lines);
    let of_source = |key: &&String| key.contains("containers.rs:");
    assert!(keys.keys().filter(of_source).count() >= 8, "{keys:#?}");
}
