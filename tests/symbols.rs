//! The tapes of a tree get their symbols together, and each the same as if it were alone.

use crate::truth_of;
use heaptape_tests::answers::{array, functions, number};
use heaptape_tests::{Room, build, wait_for};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The code of chunks of symbols, SPEC.md §4.3.
const SYMBOLS: u16 = 15;

/// A tape up to its first chunk of symbols, which `heaptape run` puts behind all others.
fn without_symbols(tape: &[u8]) -> &[u8] {
    let words = tape.chunks(8);
    let mut at = words.take_while(|word| !word.starts_with(b"HTck")).count() * 8;
    while let Some(header) = tape.get(at..at + 64) {
        if u16::from_le_bytes([header[4], header[5]]) == SYMBOLS {
            return &tape[..at];
        }
        let stored = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        at = (at + 64 + stored as usize).next_multiple_of(8);
    }
    panic!("no symbols");
}

/// Forked children, a compiler and an assembler, a program and a plugin that are replaced while the
/// tree runs: of the replaced ones, the first images must get no names.
#[test]
fn each_tape_gets_what_it_gets_alone() {
    let room = Room::new();
    let plugin = |size: &str| {
        let options = ["-DNAME=plugin_a", size];
        build::c_library("plugin.c", "libplugin_a.so", &options)
    };
    let copy = |from: &std::path::Path, name: &str| {
        heaptape_tests::build::copy(from, room.path(name)).unwrap();
    };
    copy(&build::c("phases.c", &[]), "app");
    copy(&build::c("phases.c", &["-O1"]), "app.new");
    copy(&plugin("-DSIZE=100"), "plugin.so");
    copy(&plugin("-DSIZE=300"), "plugin.new");
    let other = ["-DNAME=plugin_b", "-DSIZE=200"];
    let other = build::c_library("plugin.c", "libplugin_b.so", &other);
    let script = format!(
        "for i in 1 2 3 4; do (x=$i); done
         load() {{ '{}' ./plugin.so '{}' 2 0; }}
         ./app && load && mv app.new app && mv plugin.new plugin.so && ./app && load
         '{}' -g -c '{}' -o small.o",
        build::c("plugins.c", &["-ldl"]).display(),
        other.display(),
        build::needed_program("g++", "g++").display(),
        build::source("small.cpp").display(),
    );
    room.record("t.tape", &[], &["bash", "-c", &script])
        .success();
    std::fs::create_dir(room.path("alone")).unwrap();
    let (mut commands, mut phases) = (Vec::new(), Vec::new());
    for name in room.tapes() {
        let info = room.json(&["info", &name]);
        let command = info["command"][0].as_str().unwrap();
        commands.push(command.rsplit('/').next().unwrap().to_owned());
        let together = std::fs::read(room.path(&name)).unwrap();
        if info["events"]["alloc"] == 0 && info["events"]["free"] == 0 {
            continue;
        }
        let alone = format!("alone/{name}");
        room.write(&alone, without_symbols(&together));
        room.heaptape(&["symbolize", &alone]).success();
        let alone = std::fs::read(room.path(&alone)).unwrap();
        assert!(together == alone, "{name} {command}: symbols differ");
        if command == "./app" {
            let stats = room.json(&["stats", &name, "--at", "mark:a"]);
            phases.push(stats.to_string().contains("phase_a"));
        }
    }
    let count = |name: &str| commands.iter().filter(|command| *command == name).count();
    assert!(count("bash") >= 5, "{commands:?}");
    assert_eq!(count("plugins"), 2, "{commands:?}");
    assert_eq!((count("cc1plus"), count("as")), (1, 1), "{commands:?}");
    phases.sort_unstable();
    assert_eq!(phases, [false, true], "one of the two builds is gone");
}

/// Symbols that were found by an earlier run are found again in the user's cache, and whatever is
/// there they are the same.
#[test]
fn the_users_cache_changes_no_symbol() {
    let room = Room::new();
    let script = "import json; json.dumps(list(range(100)))";
    let argv = ["python3", "-c", script];
    room.record("t.tape", &["--no-symbolize"], &argv).success();
    let tape = std::fs::read(room.path("t.tape")).unwrap();
    let symbolized = |cache: &Path| {
        room.write("copy.tape", &tape);
        let mut command = room.heaptape_command(&["symbolize", "copy.tape"]);
        let outcome = room.run(command.env("XDG_CACHE_HOME", cache)).success();
        assert_eq!(outcome.stderr, "");
        std::fs::read(room.path("copy.tape")).unwrap()
    };
    let expected = symbolized(Path::new("/proc/none"));
    assert!(expected.len() > tape.len());
    let cache = room.path("cache");
    assert!(symbolized(&cache) == expected, "an empty cache");
    let entries = || {
        let entries = std::fs::read_dir(cache.join("heaptape/symbols")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let inodes = || {
        let inode = |path: &PathBuf| std::fs::metadata(path).unwrap().ino();
        entries().iter().map(inode).collect::<Vec<_>>()
    };
    let before = inodes();
    assert!(before.len() >= 2, "the interpreter and the C library");
    assert!(symbolized(&cache) == expected, "a full cache");
    assert_eq!(inodes(), before, "nothing new was found");
    for (number, path) in entries().iter().enumerate() {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / (number % 2 + 2)]).unwrap();
    }
    assert!(symbolized(&cache) == expected, "a damaged cache");
    assert!(symbolized(&cache) == expected, "a cache that was damaged");
}

/// Whoever may open too few files finds fewer names, and no later run has them from there.
#[test]
fn names_that_could_not_be_found_are_looked_for_again() {
    let room = Room::new();
    build::copy(build::c("phases.c", &[]), room.path("app")).unwrap();
    room.record("t.tape", &["--no-symbolize"], &["./app"])
        .success();
    let tape = std::fs::read(room.path("t.tape")).unwrap();
    let cache = room.path("cache");
    let symbolized = |before: &[&str]| {
        room.write("copy.tape", &tape);
        let command = room.heaptape_command(&["symbolize", "copy.tape"]);
        let mut limited = room.command("prlimit");
        limited.args(before).arg(command.get_program());
        limited
            .args(command.get_args())
            .env("XDG_CACHE_HOME", &cache);
        let outcome = room.run(&mut limited);
        (outcome.code, std::fs::read(room.path("copy.tape")).unwrap())
    };
    let whole = symbolized(&["--nofile=1024"]);
    assert_eq!(whole.0, 0);
    std::fs::remove_dir_all(&cache).unwrap();
    for files in 3..12 {
        symbolized(&[&format!("--nofile={files}")]);
    }
    assert!(symbolized(&["--nofile=1024"]) == whole);
}

/// What outlives the command gets its symbols in the background: they are in its tape when the
/// program is gone.
#[test]
fn a_tape_that_is_finished_in_the_background_has_symbols() {
    let room = Room::new();
    heaptape_tests::build::copy(build::c("family.c", &[]), room.path("app")).unwrap();
    let argv = ["./app", "daemon", "done.txt", "400"];
    room.record("t.tape", &[], &argv).success();
    wait_for("the daemon", || {
        room.path("done.txt").exists().then_some(())
    });
    room.wait_for_processes();
    std::fs::remove_file(room.path("app")).unwrap();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    let end = |tape: &str| {
        let info = room.assert_clean(tape);
        number(&info, "started_unix_ns") + number(&info, "duration_ns")
    };
    let daemon = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    assert!(
        end(daemon) > end("t.tape"),
        "it did not outlive the command"
    );
    let tape = std::fs::read(room.path(daemon)).unwrap();
    assert!(without_symbols(&tape).len() < tape.len());
    let grabs = truth_of(&room, daemon, "child_grabs");
    assert_eq!(grabs, (300 * 200, 300));
}

/// Names that are longer than a tape holds are cut, but no two functions become one.
#[test]
fn functions_of_long_names_stay_apart() {
    let room = Room::new();
    let program = build::cpp("long_names.cpp", &["-O1"]);
    room.record("t.tape", &[], &[&program]).success();
    for group in ["function", "traceback"] {
        let stats = room.json(&["stats", "t.tape", "--at", "end", "--group-by", group]);
        let deep = array(&stats, "rows").iter().filter(|row| {
            let mut names = functions(row).into_iter();
            names.any(|name| name.starts_with("Deep<") && name.contains("…#"))
        });
        let bytes: Vec<u64> = deep.map(|row| number(row, "bytes")).collect();
        assert_eq!(bytes, [4004, 2002, 1001], "{group}");
    }
}
