//! Unusual surroundings: a recording inside a recording, images that run as another user or in
//! another root folder, programs with an allocator of their own, and those that only look so.

use crate::truth_of;
use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Outcome, Room, build, heaptape_path, is_root};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn program(name: &str) -> String {
    build::c(name, &[]).to_str().unwrap().to_owned()
}

/// (command, reason) of everything that the tapes of the room say was not recorded.
fn not_recorded(room: &Room) -> Vec<(String, String)> {
    let infos = room.tapes().into_iter().map(|t| room.json(&["info", &t]));
    let entries: Vec<Value> = infos
        .flat_map(|info| array(&info, "not_recorded").to_vec())
        .collect();
    entries
        .iter()
        .map(|entry| {
            let [command, reason] = ["command", "reason"].map(|name| text(entry, name).to_owned());
            (command, reason)
        })
        .collect()
}

/// The inner recording has the command, the outer one the inner launcher, and neither the other's.
#[test]
fn a_recording_inside_a_recording() {
    let family = program("family.c");
    let heaptape = heaptape_path().to_str().unwrap();
    for (role, code, tapes) in [("work", 6, 1), ("spawn", 0, 4)] {
        let room = Room::new();
        fs::create_dir(room.path("inner")).unwrap();
        let inner = ["run", "--quiet", "-o", "inner/i.tape", "--"];
        let argv = [&[heaptape], &inner[..], &[&family, role]].concat();
        let rest: &[&str] = match role {
            "work" => &["6"],
            _ => &[&family, "work", "3"],
        };
        let outcome = room.record("t.tape", &[], &[&argv, rest].concat());
        let bare = room.bare(&[&[family.as_str(), role], rest].concat());
        assert_eq!(outcome, bare);
        assert_eq!(outcome.code, code);
        room.wait_for_processes();

        let info = room.assert_clean("inner/i.tape");
        assert_eq!(text(&info, "ended_by"), format!("exit:{code}"));
        assert_eq!(info["command"][0], family.as_str());
        let function = if role == "work" {
            "after_exec_grabs"
        } else {
            "parent_grabs"
        };
        let (bytes, count) = truth_of(&room, "inner/i.tape", function);
        let expected = if role == "work" {
            (15_000, 500)
        } else {
            (5000, 100)
        };
        assert_eq!((bytes, count), expected);
        let names = fs::read_dir(room.path("inner")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name());
        let made = names.filter(|name| name.to_string_lossy().ends_with(".tape"));
        assert_eq!(made.count(), tapes, "{role}");
        assert_eq!(array(&info, "children").len(), tapes - 1, "{info:#}");

        let outer = room.assert_clean("t.tape");
        assert_eq!(text(&outer, "ended_by"), format!("exit:{code}"));
        assert_eq!(outer["command"][0], heaptape);
        assert!(number(&outer["events"], "alloc") > 0, "{outer:#}");
        for tape in room.tapes() {
            assert_eq!(truth_of(&room, &tape, function), (0, 0), "{tape}");
        }
        assert_eq!(not_recorded(&room), []);
    }
}

/// Bare and recorded the same, nothing of the loader's, and named with the reason; `name` is what
/// the command must have in it.
fn assert_out_of_reach(room: &Room, argv: &[&str], name: &str) -> Outcome {
    let bare = room.bare(argv);
    assert_eq!(room.record("t.tape", &[], argv), bare, "{argv:?}");
    room.wait_for_processes();
    let reasons = not_recorded(room);
    let named: Vec<_> = reasons
        .iter()
        .filter(|(command, reason)| command.contains(name) && reason.contains("out of reach"))
        .collect();
    assert_eq!(named.len(), 1, "{argv:?}: {reasons:?}");
    for tape in room.tapes() {
        assert_eq!(room.json(&["verify", &tape])["damaged"], 0, "{argv:?}");
    }
    // The summary says it too, behind what the program wrote.
    let arguments = [&["run", "--report", "-o", "u.tape", "--"], argv].concat();
    let told = room.heaptape(&arguments);
    assert_eq!((told.code, &told.stdout), (bare.code, &bare.stdout));
    let ours = told.stderr.strip_prefix(&bare.stderr);
    let ours = ours.unwrap_or_else(|| panic!("{argv:?}: {told:?}"));
    assert!(!ours.contains("LD_PRELOAD"), "{argv:?}: {ours}");
    assert!(ours.contains("out of reach"), "{argv:?}: {ours}");
    bare
}

#[test]
fn images_that_run_as_another_user() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so no program can be started as another user");
        return;
    }
    let script = "id -u; echo err >&2; exit 5";
    let by_number = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    for (argv, is_in_child) in [
        ([&["setpriv"], &by_number[..]].concat(), false),
        (vec!["runuser", "-u", "nobody", "--"], true),
    ] {
        let room = Room::new();
        let argv = [&argv[..], &["/bin/sh", "-c", script]].concat();
        let bare = assert_out_of_reach(&room, &argv, "sh");
        assert_eq!((bare.code, bare.stdout.as_str()), (5, "65534\n"));
        assert!(bare.stderr.ends_with("err\n"), "{bare:?}");
        // runuser waits for a child that becomes the command; setpriv becomes it.
        let ended = room.json(&["info", "t.tape"]);
        let expected = if is_in_child { "exit:5" } else { "exec" };
        assert_eq!(text(&ended, "ended_by"), expected, "{argv:?}");
    }
}

/// The files that a dynamic program needs, and the program, below `root`.
fn furnish(root: &Path, program: &Path) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.split_ascii_whitespace();
    for file in files.filter(|word| word.starts_with('/')) {
        let place = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        heaptape_tests::build::copy(file, place).unwrap();
    }
    heaptape_tests::build::copy(program, root.join("plain")).unwrap();
}

#[test]
fn images_that_run_in_another_root_folder() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so no other root folder can be had");
        return;
    }
    let room = Room::new();
    let root = room.path("root");
    fs::create_dir(&root).unwrap();
    furnish(&root, &build::build("cc", "plain.c", "plain", &["-O2"]));
    let argv = ["chroot", root.to_str().unwrap(), "/plain", "elsewhere"];
    let bare = assert_out_of_reach(&room, &argv, "plain");
    assert_eq!(bare.code, 21);
    assert!(bare.stdout.ends_with("of elsewhere\n"), "{bare:?}");
    assert_eq!(bare.stderr, "on stderr\n");

    let room = Room::new();
    let root = room.path("root");
    fs::create_dir(&root).unwrap();
    furnish(&root, &build::build("cc", "plain.c", "plain", &["-O2"]));
    let script = format!("chroot '{}' /plain child; echo code $?", root.display());
    let bare = assert_out_of_reach(&room, &["sh", "-c", &script], "plain");
    assert!(bare.stdout.ends_with("code 21\n"), "{bare:?}");
}

#[test]
fn a_program_with_its_own_allocator_is_named() {
    let own = build::build("cc", "allocator.c", "allocator", &["-O2", "-fno-builtin"]);
    let own = own.to_str().unwrap();
    let room = Room::new();
    let bare = room.bare(&[own]);
    assert_eq!((bare.code, bare.stdout.as_str()), (12, "own\n"));
    assert_eq!(room.record("t.tape", &[], &[own]), bare);
    let named = not_recorded(&room);
    let expected = (own.to_owned(), "brings its own allocator".to_owned());
    assert_eq!(named, [expected]);
    // What holds nothing meets no gate.
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(info["complete"], false, "{info:#}");
    assert_eq!(info["message"], "not recorded: brings its own allocator");
    let gate = room.heaptape(&["check", "t.tape", "--fail-on", "bytes>1TiB"]);
    assert_eq!(gate.code, 2, "{gate:?}");
    // As a child of a program that is recorded.
    let room = Room::new();
    let script = format!("'{own}'; echo code $?");
    let outcome = room.record("t.tape", &[], &["sh", "-c", &script]);
    assert_eq!(outcome.stdout, "own\ncode 12\n");
    room.wait_for_processes();
    let named = not_recorded(&room);
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].1.contains("brings its own allocator"), "{named:?}");
}

#[test]
fn programs_that_use_the_c_librarys_allocator_are_not_named() {
    let fixed = build::c("address.c", &["-no-pie", "-fno-pie"]);
    let movable = build::c("address.c", &["-pie", "-fPIE"]);
    for program in [&fixed, &movable] {
        let room = Room::new();
        room.record_as_bare("t.tape", &[program]);
        assert_eq!(truth_of(&room, "t.tape", "indirect_grabs"), (7200, 80));
        assert_eq!(not_recorded(&room), [], "{program:?}");
    }
    build::needed_program("python3", "python3");
    build::needed_program("git", "git");
    let room = Room::new();
    room.write("empty.c", "int main(void) { return 0; }\n");
    let commands: [&[&str]; 3] = [
        &["python3", "-c", "print(sum(range(10)))"],
        &["git", "version"],
        &["gcc", "empty.c", "-o", "empty"],
    ];
    for (number, argv) in commands.iter().enumerate() {
        let tape = format!("t{number}.tape");
        room.record(&tape, &[], argv).success();
        room.wait_for_processes();
        assert!(
            heaptape_tests::answers::number(&room.assert_clean(&tape)["events"], "alloc") > 10,
            "{argv:?}"
        );
    }
    assert_eq!(not_recorded(&room), []);
}
