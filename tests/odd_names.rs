//! Paths, commands and tapes whose names are bytes that are not UTF-8.

use crate::truth_of;
use heaptape_tests::answers::array;
use heaptape_tests::{Room, build};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path in the room of bytes.
fn path(room: &Room, name: &[u8]) -> PathBuf {
    room.path("").join(OsStr::from_bytes(name))
}

/// The program `family` as `d\xff/app\xfe`.
fn oddly_named(room: &Room) -> PathBuf {
    let app = path(room, b"d\xff/app\xfe");
    fs::create_dir(app.parent().unwrap()).unwrap();
    heaptape_tests::build::copy(build::c("family.c", &[]), &app).unwrap();
    app
}

fn run(room: &Room, arguments: &[&OsStr], argv: &[&OsStr]) -> String {
    let start = [OsStr::new("run")];
    let all = [&start[..], arguments, &[OsStr::new("--")], argv].concat();
    room.heaptape(&all).success().stderr
}

#[test]
fn a_program_in_an_oddly_named_folder_has_symbols_and_a_tape_with_a_name() {
    let room = Room::new();
    let app = oddly_named(&room);
    run(&room, &[], &[app.as_os_str(), OsStr::new("work")]);
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 1, "{tapes:?}");
    let tape = tapes[0].as_str();
    assert!(tape.starts_with(r"heaptape.app\xfe."), "{tape}");
    let info = room.assert_clean(tape);
    let executable = info["executable"].as_str().unwrap();
    assert!(executable.ends_with(r"/d\xff/app\xfe"), "{executable}");
    assert_eq!(info["command"][0], executable);
    assert!(truth_of(&room, tape, "after_exec_grabs").1 > 0);
    let modules = room.json(&["stats", tape, "--at", "end", "--group-by", "module"]);
    let of_app = |row: &serde_json::Value| row["key"] == r"app\xfe";
    assert!(array(&modules, "rows").iter().any(of_app), "{modules:#}");
    // Symbols are found later, too.
    room.record("late.tape", &["--no-symbolize"], &[&app, Path::new("work")])
        .success();
    room.heaptape(&["symbolize", "late.tape"]).success();
    fs::remove_file(&app).unwrap();
    assert!(truth_of(&room, "late.tape", "after_exec_grabs").1 > 0);
}

#[test]
fn tapes_of_oddly_named_trees_name_each_other() {
    let room = Room::new();
    let app = oddly_named(&room);
    let root = OsString::from(OsStr::from_bytes(b"x\xff.tape"));
    let script = b"x=$(\"$0\" work); (y=$x; z=$y; :); \"$0\" work; :";
    let argv = [
        OsStr::new("bash"),
        OsStr::new("-c"),
        OsStr::from_bytes(script),
        app.as_os_str(),
    ];
    let output = [OsStr::new("-o"), root.as_os_str()];
    run(&room, &output, &argv);
    let info = [OsStr::new("info"), &root].map(OsStr::to_owned);
    let json = ["--format", "json"].map(OsString::from);
    let info = room.heaptape(&[&info[..], &json].concat()).success();
    let info: serde_json::Value = serde_json::from_str(&info.stdout).unwrap();
    let children = array(&info, "children");
    assert!(children.len() >= 2, "{info:#}");
    for child in children {
        room.assert_clean(child.as_str().unwrap());
    }
    let (mut programs, mut forked) = (0, 0);
    for tape in room.tapes() {
        // The room's list has names made text in another way.
        if tape.contains('\u{fffd}') {
            continue;
        }
        let info = room.assert_clean(&tape);
        let parent = info["parent"]["tape"].as_str().unwrap();
        let is_named = parent == r"x\xff.tape" || room.path(parent).is_file();
        assert!(is_named, "{tape}: {info:#}");
        if info["inherited"]["count"].as_u64().unwrap() > 0 {
            forked += 1;
            assert_eq!(info["inherited_known"], true, "{tape}: {info:#}");
        }
        if info["command"][0].as_str().unwrap().ends_with(r"app\xfe") {
            programs += 1;
            assert!(truth_of(&room, &tape, "after_exec_grabs").1 > 0, "{tape}");
        }
    }
    assert!(programs == 2 && forked >= 1, "{:?}", room.tapes());
}

/// A thread's name is bytes too: it is shown, and found, as other names are.
#[test]
fn an_oddly_named_thread() {
    let room = Room::new();
    let name_itself = "import ctypes; ctypes.CDLL(None).prctl(15, b'\\xff\\xfex', 0, 0, 0)";
    let argv = ["/usr/bin/python3", "-c", name_itself];
    room.record("t.tape", &[], &argv).success();
    let question = ["stats", "t.tape", "--at", "50%", "--group-by", "thread"];
    let all = room.json(&question);
    let chosen = room.json(&[&question[..], &["--thread", r"\xff\xfex"]].concat());
    for found in [all, chosen] {
        let [row] = array(&found, "rows") else {
            panic!("{found:#}");
        };
        let key = row["key"].as_str().unwrap();
        assert!(key.starts_with(r"\xff\xfex ("), "{found:#}");
    }
}
