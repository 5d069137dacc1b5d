//! The recorded program does not notice, second part: libraries that come and go, unusual ways to
//! begin, to go on and to end, and a drainer that is stopped or killed. The table of all that is
//! tried stands in `harmless.rs`.

use crate::harmless::{alike_and_made, assert_made, in_tape, program, same_and_made};
use crate::terminals::state_of;
use crate::truth_of;
use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Room, Running, build, heaptape_path, is_root, send, wait_for};
use serde_json::Value;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// What `first_grabs` and `second_grabs` of `ways.c` make.
const FIRST: (u64, u64) = (100, 100 * 50);
const SECOND: (u64, u64) = (20, 20 * 30);
const IMAGE: (u64, u64) = (50, 50 * 20);
/// Nobody, as a user and as a group.
const NOBODY: u32 = 65534;

/// What leads nowhere is the kernel's to refuse.
#[test]
fn bad_pointers_to_exec() {
    let room = Room::new();
    let outcome = room.record_as_bare("t.tape", &[program("bad_pointers.c")]);
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    let refused = outcome
        .stdout
        .lines()
        .filter(|line| *line == "-1 14")
        .count();
    assert_eq!(refused, 18, "{}", outcome.stdout);
    // The long environment came through: the image that has it is recorded too.
    assert_eq!(room.tapes().len(), 2, "{:?}", room.tapes());
}

/// The recorder reaches the rest of the session though its file has no name any more.
#[test]
fn a_session_whose_file_is_removed() {
    let room = Room::new();
    let outcome = room
        .record("t.tape", &[], &[program("unlinker.c")])
        .success();
    assert_made(&room, "t.tape", &outcome.stdout);
    room.assert_clean("t.tape");
}

#[test]
fn a_storm_of_libraries() {
    let [a, b] = ["a", "b"].map(|letter| {
        let name = format!("-DNAME=storm_{letter}");
        let output = format!("libstorm_{letter}.so");
        let path = build::c_library("storm_library.c", &output, &[&name]);
        path.to_str().unwrap().to_owned()
    });
    let room = Room::new();
    alike_and_made(&room, &[&program("storm.c"), &a, &b, "200"], 10);
    room.wait_for_processes();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 11, "{tapes:?}");
    for tape in tapes.iter().filter(|tape| *tape != "t.tape") {
        room.assert_clean(tape);
        let made = in_tape(&room, tape);
        assert_eq!(made.get("forked_makes"), Some(&(1, 50)), "{tape}");
    }
}

fn scoped_library() -> String {
    let path = build::c_library("scoped_library.c", "libscoped.so", &[]);
    path.to_str().unwrap().to_owned()
}

/// Its own calls go past us: the program's are all there, and the blocks that the library made and
/// the program frees are unknown.
#[test]
fn a_library_that_binds_itself_first() {
    let room = Room::new();
    let argv = [&program("scopes.c"), "deep", &scoped_library()];
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.code, 11, "{outcome:?}");
    let made = in_tape(&room, "t.tape");
    assert_eq!(made.get("scopes_makes"), Some(&(1500, 75_000)), "{made:?}");
    assert_eq!(made.get("scoped_makes"), None, "{made:?}");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(number(&info, "unknown_frees"), 1000, "{info:#}");
}

#[test]
fn a_library_in_its_own_namespace() {
    let room = Room::new();
    let argv = [&program("scopes.c"), "space", &scoped_library()];
    let stdout = same_and_made(&room, &argv, 11);
    assert!(stdout.starts_with("1505 blocks of the library's\n"));
}

/// Runs a role of `ways.c` bare and recorded; its tapes' facts and functions, by name.
fn go(room: &Room, role: &[&str], code: i32) -> Vec<(String, Value)> {
    let program = program("ways.c");
    let argv = [&[program.as_str()], role].concat();
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.code, code, "{role:?}: {outcome:?}");
    room.wait_for_processes();
    let tapes = room.tapes().into_iter();
    tapes
        .map(|tape| {
            let info = room.assert_clean(&tape);
            assert_eq!(number(&info, "unknown_frees"), 0, "{tape}: {info:#}");
            (tape, info)
        })
        .collect()
}

fn assert_has(room: &Room, tape: &str, expected: &[(&str, (u64, u64))]) {
    let made = in_tape(room, tape);
    for (function, amount) in expected {
        assert_eq!(made.get(*function), Some(amount), "{function} in {tape}");
    }
}

#[test]
fn another_image_from_a_thread() {
    for _ in 0..5 {
        let room = Room::new();
        let tapes = go(&room, &["exec-from-thread"], 14);
        assert_eq!(tapes.len(), 2, "{tapes:#?}");
        let (before, info) = &tapes[0];
        assert_eq!(text(info, "ended_by"), "exec", "{info:#}");
        let expected = [("first_grabs", FIRST), ("second_grabs", SECOND)];
        assert_has(&room, before, &expected);
        assert_eq!(text(&tapes[1].1, "ended_by"), "exit:14");
        assert_has(&room, "t.tape", &[("image_grabs", IMAGE)]);
    }
}

/// What an image tells by its exit code: 20, 10 for each descriptor that is open, and the number
/// of the next one.
#[test]
fn spawned_without_descriptors() {
    let room = Room::new();
    let tapes = go(&room, &["spawn-closed"], 15);
    assert_eq!(tapes.len(), 5, "{tapes:#?}");
    for (tape, info) in &tapes[..4] {
        assert_has(&room, tape, &[("image_grabs", IMAGE)]);
        assert!(text(info, "ended_by").starts_with("exit:"), "{info:#}");
    }
    let expected = [("first_grabs", FIRST), ("second_grabs", SECOND)];
    assert_has(&room, "t.tape", &expected);
}

/// What such a child allocates is its parent's, as with `vfork`.
#[test]
fn children_in_the_same_memory() {
    let room = Room::new();
    let tapes = go(&room, &["clone"], 15);
    assert_eq!(tapes.len(), 4, "{tapes:#?}");
    for (tape, info) in &tapes[..3] {
        assert_has(&room, tape, &[("image_grabs", IMAGE)]);
        assert_eq!(text(info, "ended_by"), "exit:14", "{info:#}");
    }
    let expected = [
        ("first_grabs", FIRST),
        ("shared_grabs", (6 * 40, 6 * 40 * 60)),
        ("second_grabs", (20 + 6 * 5, (20 + 6 * 5) * 30)),
    ];
    assert_has(&room, "t.tape", &expected);
    assert_eq!(text(&tapes[3].1, "ended_by"), "exit:15");
}

/// `daemon(3)`, with and without the caller's folder and standard descriptors. The parent leaves
/// inside the C library.
#[test]
fn daemons() {
    let program = program("ways.c");
    for (role, words) in [
        ("daemon", "before\n"),
        ("daemon-keeps", "before\nend daemon-keeps\n"),
    ] {
        let [bare, room] = [Room::new(), Room::new()];
        let said = |room: &Room, is_recorded: bool| {
            let file = room.path("said");
            let argv = [program.as_str(), role, file.to_str().unwrap()];
            let mut command = if is_recorded {
                room.record_command("t.tape", &["--wait"], &argv)
            } else {
                let mut command = room.command(argv[0]);
                command.args(&argv[1..]);
                command
            };
            let running = room.start(&mut command);
            // Whoever is forked while the processes are listed may not be in the list: what the
            // daemon writes tells that it has come to its end.
            wait_for_words(&running, "the daemon's words", |text| text == words);
            let told = wait_for("the daemon's file", || {
                let text = fs::read_to_string(&file).ok()?;
                text.ends_with('\n').then_some(text)
            });
            let outcome = running.finish();
            room.wait_for_processes();
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
            (outcome.stdout, told)
        };
        let recorded = said(&room, true);
        assert_eq!(recorded, said(&bare, false), "{role}");
        assert_eq!(recorded.0, words, "{role}");
        let tapes = room.tapes();
        assert_eq!(tapes.len(), 2, "{role}: {tapes:?}");
        let of_daemon = room.assert_clean(&tapes[0]);
        assert_eq!(text(&of_daemon, "ended_by"), "exit:15", "{of_daemon:#}");
        let expected = [("daemon_grabs", (60, 60 * 25)), ("second_grabs", SECOND)];
        assert_has(&room, &tapes[0], &expected);
        let info = room.assert_clean("t.tape");
        assert_eq!(text(&info, "ended_by"), "exit:0", "{info:#}");
        assert_has(&room, "t.tape", &[("first_grabs", FIRST)]);
    }
}

#[test]
fn closed_from_below() {
    let room = Room::new();
    let tapes = go(&room, &["closefrom"], 15);
    assert_eq!(tapes.len(), 1, "{tapes:#?}");
    let expected = [("first_grabs", FIRST), ("second_grabs", SECOND)];
    assert_has(&room, "t.tape", &expected);
    assert_eq!(number(&tapes[0].1["events"], "free"), 100_000);
}

/// A first stack of 64 KiB, threads of as much and of less, and blocks that are made where one
/// page of it is left.
#[test]
fn small_stacks() {
    let room = Room::new();
    let tapes = go(&room, &["small-stack"], 15);
    assert_eq!(tapes.len(), 2, "{tapes:#?}");
    let deep = (10 * 10 * 3, 10 * 10 * 3 * 50);
    assert_has(&room, "t.tape", &[("deep_grabs", deep)]);
}

/// As another user from then on, when the tests run as root: root has no such limit.
#[test]
fn no_more_threads_and_processes() {
    let room = Room::new();
    let tapes = go(&room, &["few-processes"], 15);
    assert_eq!(tapes.len(), 1, "{tapes:#?}");
    let expected = [("first_grabs", FIRST), ("second_grabs", SECOND)];
    assert_has(&room, "t.tape", &expected);
}

/// Gives the file a capability; false where the file system keeps none.
fn make_capable(path: &Path) -> bool {
    // Version 2, effective; CAP_NET_RAW permitted, nothing inheritable.
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = c"security.capability";
    // SAFETY: two zero-terminated texts, and a value of the given length.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    result == 0
}

/// The loader ignores a preloaded library where the kernel gives more rights than the user has:
/// all works as bare, and the program is named.
#[test]
fn an_executable_with_capabilities() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so no file can be given capabilities");
        return;
    }
    let room = Room::new();
    let capable = room.path("capable");
    heaptape_tests::build::copy(build::build("cc", "plain.c", "plain", &["-O2"]), &capable)
        .unwrap();
    // The launcher runs as the user too: wherever it was built, here he can reach it.
    let heaptape = room.path("heaptape");
    heaptape_tests::build::copy(heaptape_path(), &heaptape).unwrap();
    for place in [capable.parent().unwrap(), room.runtime()] {
        chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for file in [&capable, &heaptape] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if !make_capable(&capable) {
        eprintln!("SKIPPED: the file system keeps no capabilities of files");
        return;
    }
    let as_nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let heaptape = heaptape.to_str().unwrap();
    let recording = [heaptape, "run", "--quiet", "-o", "t.tape", "--"];
    let script = ["sh", "-c", "./capable x; echo code $?"];
    let bare = room.bare(&[&as_nobody[..], &script].concat());
    assert!(bare.stdout.ends_with("code 21\n"), "{bare:?}");
    let recorded = room.bare(&[&as_nobody[..], &recording, &script].concat());
    assert_eq!(recorded, bare);
    let info = room.json(&["info", "t.tape"]);
    let named = array(&info, "not_recorded");
    assert_eq!(named.len(), 1, "{info:#}");
    let reason = text(&named[0], "reason");
    assert_eq!(reason, "executable with file capabilities", "{info:#}");
}

/// A file whose first byte tells `stubborn.c` to go on.
fn signpost(room: &Room) -> PathBuf {
    room.write("go", [0; 4096])
}

fn let_go(signpost: &Path) {
    let file = fs::OpenOptions::new().write(true).open(signpost).unwrap();
    file.write_all_at(&[1], 0).unwrap();
}

fn wait_for_words(running: &Running, what: &str, ready: impl Fn(&str) -> bool) -> String {
    wait_for(what, || {
        Some(running.stdout_so_far()).filter(|text| ready(text))
    })
}

/// The launcher dies while the program runs in a loop without any call.
#[test]
fn a_busy_program_outlives_its_drainer() {
    let room = Room::new();
    let go = signpost(&room);
    let script = format!(
        "'{}' spin '{}'; echo code $?",
        program("stubborn.c"),
        go.display()
    );
    let running = room.start(&mut room.record_command("t.tape", &[], &["sh", "-c", &script]));
    wait_for_words(&running, "the program", |text| text.starts_with("pid "));
    send(running.pid(), libc::SIGKILL);
    wait_for("the launcher to die", || {
        matches!(state_of(running.pid()), 'Z' | '?').then_some(())
    });
    let_go(&go);
    let words = wait_for_words(&running, "the program's end", |text| {
        text.ends_with("code 16\n")
    });
    assert!(words.ends_with("\nend\ncode 16\n"), "{words}");
    assert_eq!(running.finish().code, 137);
    room.wait_for_processes();

    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session = sessions[0].to_str().unwrap();
    room.heaptape(&["recover", session, "-o", "r.tape"])
        .success();
    let tapes = room.tapes();
    let of_program = tapes
        .iter()
        .find(|tape| truth_of(&room, tape, "early_grabs") == (4800, 100));
    let of_program = of_program.unwrap_or_else(|| panic!("no tape of {tapes:?} has its blocks"));
    let verified = room.json(&["verify", of_program]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    assert_eq!(truth_of(&room, of_program, "late_grabs"), (2400, 100));
}

/// The program waits for a while, not for ever; what was lost is counted to the last event.
#[test]
fn a_stopped_drainer_is_waited_for_and_left() {
    let room = Room::new();
    let go = signpost(&room);
    let argv = [&program("stubborn.c"), "flood", go.to_str().unwrap()];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    wait_for_words(&running, "the program", |text| text.starts_with("pid "));
    send(running.pid(), libc::SIGSTOP);
    wait_for("the launcher to stop", || {
        (state_of(running.pid()) == 'T').then_some(())
    });
    let_go(&go);
    wait_for_words(&running, "the program's end", |text| {
        text.ends_with("\nend\n")
    });
    assert_eq!(state_of(running.pid()), 'T', "it went on by itself");
    send(running.pid(), libc::SIGCONT);
    let outcome = running.finish();
    assert_eq!(outcome.code, 16, "{outcome:?}");
    assert!(outcome.stderr.contains("t.tape"), "{outcome:?}");

    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(info["complete"], false, "{info:#}");
    assert_eq!(text(&info, "ended_by"), "exit:16", "{info:#}");
    let events = &info["events"];
    let recorded = number(events, "alloc") + number(events, "free");
    let lost = number(&info, "lost_events");
    assert!(lost > 0 && recorded > 100_000, "{info:#}");
    let all = 2 * 3_000_000 + 200;
    assert_eq!(recorded + lost, all, "{info:#}");
    assert_eq!(truth_of(&room, "t.tape", "early_grabs"), (4800, 100));
}
