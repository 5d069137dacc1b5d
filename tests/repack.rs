//! `heaptape repack`: a smaller tape that says the same, or the tape as it was.

use heaptape_tests::{Outcome, Room, heaptape_path, is_root, send, wait_for};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Records the shell that starts another program: two tapes, one of which names the other.
fn record(room: &Room) {
    let script = "sqlite3 :memory: 'create table t(a); insert into t select value from \
                  generate_series(1, 20000); select count(*), sum(a) from t;'; true";
    room.record("t.tape", &[], &["sh", "-c", script]).success();
    assert_eq!(room.tapes().len(), 2, "{:?}", room.tapes());
}

/// The tape of sqlite3.
fn larger(room: &Room) -> String {
    let size = |name: &String| fs::metadata(room.path(name)).unwrap().len();
    room.tapes().into_iter().max_by_key(size).unwrap()
}

/// What the verbs say of a tape, but for its size.
fn said(room: &Room, tape: &str) -> Vec<Value> {
    let verbs: [&[&str]; 8] = [
        &["info"],
        &["stats", "--at", "peak", "--group-by", "traceback"],
        &["stats", "--at", "37%"],
        &["leaks"],
        &["churn"],
        &["timeline", "--points", "20"],
        &["verify"],
        &[
            "stats",
            "--at",
            "end",
            "--group-by",
            "function",
            "--no-index",
        ],
    ];
    let mut answers = Vec::new();
    for verb in verbs {
        let [name, options @ ..] = verb else { continue };
        let mut answer = room.json(&[&[*name, tape], options].concat());
        if let Some(facts) = answer.as_object_mut() {
            facts.remove("tape_bytes");
        }
        answers.push(answer);
    }
    answers
}

#[test]
fn a_repacked_tape_is_smaller_and_says_the_same() {
    let room = Room::new();
    record(&room);
    let tape = larger(&room);
    let bytes = |name: &str| fs::metadata(room.path(name)).unwrap().len();
    fs::set_permissions(room.path(&tape), fs::Permissions::from_mode(0o640)).unwrap();
    let (before, expected) = (bytes(&tape), said(&room, &tape));
    symlink(&tape, room.path("link.tape")).unwrap();
    let outcome = room.heaptape(&["repack", "link.tape"]).success();
    assert!(outcome.stdout.contains(" chunks, "), "{}", outcome.stdout);
    assert!(bytes(&tape) < before, "{} bytes of {before}", bytes(&tape));
    assert!(room.path("link.tape").is_symlink());
    assert_eq!(said(&room, &tape), expected);
    let mode = fs::metadata(room.path(&tape)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let once = bytes(&tape);
    let quiet = [
        "repack",
        &tape,
        "-o",
        "hard.tape",
        "--level",
        "19",
        "--quiet",
    ];
    let outcome = room.heaptape(&quiet).success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert!(bytes("hard.tape") < once && bytes(&tape) == once);
    // What is there is replaced when that is wanted, and nothing but a file ever is.
    let kept = fs::read(room.path("hard.tape")).unwrap();
    let outcome = room.heaptape(&["repack", &tape, "-o", "hard.tape"]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--force"), "{}", outcome.stderr);
    assert_eq!(fs::read(room.path("hard.tape")).unwrap(), kept);
    let replacing = ["repack", &tape, "-o", "hard.tape", "--force"];
    room.heaptape(&replacing).success();
    assert!(bytes("hard.tape") > kept.len() as u64);
    fs::create_dir(room.path("folder")).unwrap();
    room.run(room.command("mkfifo").arg("pipe")).success();
    for other in ["folder", "pipe"] {
        let outcome = room.heaptape(&["repack", &tape, "-o", other, "--force"]);
        assert_eq!(outcome.code, 2, "{}", outcome.stderr);
        assert!(!room.path(other).is_file());
    }
    assert!(fs::read_dir(room.path("folder")).unwrap().next().is_none());
    room.write("program", "not a tape");
    let outcome = room.heaptape(&["repack", &tape, "-o", "program", "--force"]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("is not a tape"),
        "{}",
        outcome.stderr
    );
    assert_eq!(fs::read(room.path("program")).unwrap(), b"not a tape");
    // Nothing is left beside the tapes and their indexes.
    let names = fs::read_dir(room.path(".")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strange: Vec<String> = names
        .filter(|name| name.contains(".tape.") && !name.ends_with(".idx"))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_damaged_tape_stays_as_it_is() {
    let room = Room::new();
    record(&room);
    let tape = larger(&room);
    let mut bytes = fs::read(room.path(&tape)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(room.path(&tape), &bytes).unwrap();
    let outcome = room.heaptape(&["repack", &tape]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    let says_where = outcome.stderr.contains("damaged at offset ");
    assert!(
        says_where && outcome.stderr.contains(&tape),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert_eq!(fs::read(room.path(&tape)).unwrap(), bytes);
    let outcome = room.heaptape(&["repack", &tape, "-o", "other.tape"]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(!room.path("other.tape").exists());
}

#[test]
fn a_full_disk_and_a_folder_that_is_closed_leave_the_tape() {
    let mut room = Room::new();
    record(&room);
    let tape = larger(&room);
    let whole = fs::read(room.path(&tape)).unwrap();
    let limited = format!(
        "ulimit -f 4; exec {} repack {tape} -o l.tape",
        heaptape_path().display()
    );
    let outcome = room.run(room.command("sh").args(["-c", &limited]));
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("as before"), "{}", outcome.stderr);
    let mut targets = vec!["nowhere/t.tape".to_owned()];
    if let Some(disk) = room.mount_small_disk("disk", 8192) {
        targets.push(disk.join("t.tape").display().to_string());
    }
    if !is_root() {
        fs::create_dir(room.path("closed")).unwrap();
        fs::set_permissions(room.path("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        targets.push("closed/t.tape".to_owned());
    }
    for target in targets {
        let outcome = room.heaptape(&["repack", &tape, "-o", &target]);
        assert_eq!(outcome.code, 2, "{target}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("t.tape"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("as before"), "{}", outcome.stderr);
        let folder = room.path(&target);
        let left = folder.parent().and_then(|folder| fs::read_dir(folder).ok());
        assert_eq!(left.map_or(0, Iterator::count), 0, "{target}");
        assert_eq!(fs::read(room.path(&tape)).unwrap(), whole);
    }
}

#[test]
fn a_tape_that_is_being_written_is_left_alone() {
    let room = Room::new();
    record(&room);
    let tape = larger(&room);
    // The lock that a drainer holds while it writes.
    let script = "echo held; while ! test -e go; do sleep 0.01; done";
    let mut writer = room.command("flock");
    let writer = room.start(writer.args(["--exclusive", &tape, "sh", "-c", script]));
    wait_for("the lock", || {
        writer.stdout_so_far().contains("held").then_some(())
    });
    let whole = fs::read(room.path(&tape)).unwrap();
    let outcome = room.heaptape(&["repack", &tape]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("still being written"),
        "{}",
        outcome.stderr
    );
    assert_eq!(fs::read(room.path(&tape)).unwrap(), whole);
    room.write("go", "");
    writer.finish().success();
    room.heaptape(&["repack", &tape]).success();
    room.assert_clean(&tape);
}

/// Repacks slowly, and sends a signal when the new tape is begun.
fn repack_under(room: &Room, signal: i32, arguments: &[&str]) -> Outcome {
    let arguments = [&["repack", "--level", "22"], arguments].concat();
    let mut running = room.start(&mut room.heaptape_command(&arguments));
    let pid = format!(".{}.", running.pid());
    wait_for("the new tape", || {
        let is_begun = files(room).iter().any(|name| name.contains(&pid));
        (is_begun || !running.is_running()).then_some(())
    });
    send(running.pid(), signal);
    running.finish()
}

/// What is interrupted leaves the tape and nothing else, and says so.
#[test]
fn an_interrupted_repack_leaves_nothing() {
    let room = Room::new();
    record(&room);
    let tape = larger(&room);
    let before = (files(&room), fs::read(room.path(&tape)).unwrap());
    let repack: [&[&str]; 2] = [&[], &["-o", "new.tape", "--force"]];
    for (signal, target) in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1]
        .into_iter()
        .zip(repack.into_iter().cycle())
    {
        // It may be done before the signal comes.
        wait_for("an interrupted repack", || {
            let outcome = repack_under(&room, signal, &[&[tape.as_str()], target].concat());
            if outcome.code == 0 {
                fs::write(room.path(&tape), &before.1).unwrap();
                let _ = fs::remove_file(room.path("new.tape"));
                return None;
            }
            assert_eq!(outcome.code, 128 + signal, "{outcome:?}");
            let said = format!("heaptape: interrupted; {tape} holds the same as before\n");
            assert_eq!((outcome.stdout.as_str(), outcome.stderr), ("", said));
            Some(())
        });
        assert_eq!((files(&room), fs::read(room.path(&tape)).unwrap()), before);
    }
}

/// What ends it without asking, and what Rust's own `abort` raises.
#[test]
fn an_aborted_repack_leaves_no_file() {
    let room = Room::new();
    record(&room);
    let tape = larger(&room);
    let before = files(&room);
    for signal in [libc::SIGABRT, libc::SIGSYS] {
        // It may be done before the signal comes.
        wait_for("an aborted repack", || {
            let outcome = repack_under(&room, signal, &[&tape, "-o", "new.tape"]);
            let _ = fs::remove_file(room.path("new.tape"));
            (outcome.code != 0).then_some(())
        });
        assert_eq!(files(&room), before);
    }
}

/// The names of all files of the room but those that are hidden.
fn files(room: &Room) -> Vec<String> {
    let entries = fs::read_dir(room.path("")).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let names = entries.map(|entry| name(entry.unwrap()));
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}
