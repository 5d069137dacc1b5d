//! Limits (`ulimit -d`, `-v`, `-s`, `-n`) so tight that the launcher itself meets them: the
//! command's exit code and output are its own, and what there is of a tape is whole.

use heaptape_tests::answers::{number, rows};
use heaptape_tests::{Outcome, Room, build, heaptape_path, is_root, repository};
use std::fs;
use std::path::PathBuf;

/// What must never be shown: Rust's words for what went wrong.
const UNWANTED: [&str; 6] = [
    "panicked",
    "memory allocation",
    "backtrace",
    "RUST_",
    "overflowed",
    "internal error",
];

/// Runs a shell command under a limit that nobody can raise again, root neither.
fn under(room: &Room, limit: &str, command: &str) -> Outcome {
    let script = format!("ulimit {limit}; {command}");
    let mut argv = vec!["bash", "-c", &script];
    if is_root() {
        let without = ["setpriv", "--bounding-set=-sys_resource"];
        argv = [&without[..], &["--inh-caps=-sys_resource"], &argv].concat();
    }
    let mut command = room.command(argv[0]);
    // A large environment stands on the stack too: a small one would not hold the bare command.
    let kept = ["PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"];
    for (name, _) in std::env::vars_os() {
        if !kept.iter().any(|kept| name == *kept) {
            command.env_remove(name);
        }
    }
    // A backtrace would need memory of its own.
    command.args(&argv[1..]).env("RUST_BACKTRACE", "1");
    room.run(&mut command)
}

/// Records `command` under `limit` and compares with bare; what heaptape said.
fn same_as_bare(room: &Room, limit: &str, command: &str) -> String {
    let bare = under(room, limit, command);
    let heaptape = heaptape_path().display();
    let recorded = format!("'{heaptape}' run --report --force -o t.tape -- {command}");
    let recorded = under(room, limit, &recorded);
    assert_eq!(recorded.code, bare.code, "{limit}: {recorded:?}");
    assert_eq!(recorded.stdout, bare.stdout, "{limit}: {recorded:?}");
    let said = recorded.stderr;
    // Without memory the command may have something to say too.
    let said = said.strip_prefix(&bare.stderr).unwrap_or(&said).to_owned();
    for unwanted in UNWANTED {
        assert!(!said.contains(unwanted), "{limit}: {said}");
    }
    said
}

/// The tape under `limit`, when there is one, holds everything; and without symbols or summary the
/// last line says so.
fn assert_whole(room: &Room, limit: &str, said: &str, events: u64) {
    let first = said.lines().next().unwrap_or_default();
    if first.starts_with("heaptape: nothing was recorded: the limit of ") {
        assert_eq!(said.lines().count(), 1, "{limit}: {said}");
        assert!(!room.path("t.tape").exists(), "{limit}");
        return;
    }
    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(verified["damaged"], 0, "{limit}: {verified}");
    assert_eq!(number(&verified, "readable_events"), events, "{limit}");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(info["complete"], true, "{limit}: {info:#}");
    if first != "heaptape: recorded" {
        assert!(first.starts_with("heaptape: out of memory ("), "{said}");
        assert!(first.contains("; recorded to t.tape"), "{said}");
        assert!(first.contains("heaptape stats t.tape"), "{said}");
        assert_eq!(said.lines().count(), 1, "{limit}: {said}");
        // What was left out can be had later.
        room.heaptape(&["symbolize", "t.tape"]).success();
    }
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    assert!(rows(&room.json(&stats)).len() > 1, "{limit}");
    fs::remove_file(room.path("t.tape")).unwrap();
}

/// Below this, in MiB, the command is not recorded.
const DATA_MIN: u64 = 4;
/// As above; below 10 MiB the dynamic loader cannot even start heaptape.
const ADDRESSES_MIN: u64 = 24;

#[test]
fn a_launcher_with_little_memory() {
    let limits = build::c("limits.c", &[]);
    let small = format!("'{}' work 2000", limits.display());
    let load = repository().join("tests/targets/load.sql");
    let large = format!("sqlite3 :memory: '.read {}'", load.display());
    let data = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64].map(|mib| ("-d", mib, DATA_MIN));
    let addresses = [12, 16, 20, 24, 32, 48, 64].map(|mib| ("-v", mib, ADDRESSES_MIN));
    for command in [small, large] {
        let room = Room::new();
        // The library is unpacked once for all: not under a limit.
        let argv = ["sh", "-c", &format!("exec {command}")];
        room.record("first.tape", &[], &argv);
        let first = room.json(&["verify", "first.tape"]);
        let events = number(&first, "readable_events");
        for (option, mib, least) in data.into_iter().chain(addresses) {
            let limit = format!("{option} {}", mib << 10);
            let said = same_as_bare(&room, &limit, &command);
            let is_refused = said.contains("nothing was recorded");
            assert_eq!(is_refused, mib < least, "{limit}: {said}");
            if mib >= 64 {
                assert!(said.starts_with("heaptape: recorded\n"), "{limit}: {said}");
            }
            assert_whole(&room, &limit, &said, events);
        }
    }
}

/// A limit that may be raised again is the command's alone.
#[test]
fn a_soft_limit_is_not_the_launchers() {
    let room = Room::new();
    let heaptape = heaptape_path().display();
    let show = "sh -c 'ulimit -d; ulimit -v'";
    let command = format!("'{heaptape}' run --report -o t.tape -- {show}");
    let outcome = under(&room, "-S -d 6000; ulimit -S -v 30000", &command);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "6000\n30000\n")
    );
    let said = outcome.stderr;
    assert!(said.starts_with("heaptape: recorded\n"), "{said}");
}

/// Limits that a recorded program sets for what it starts.
#[test]
fn limits_inside_the_tree() {
    let plain = build::build("cc", "plain.c", "plain", &["-O2"]);
    let plain = plain.display();
    let reason = "its limits (ulimit -d, -v, -s, -n) leave no room for the recorder";
    for limit in [
        "-d 400", "-d 1000", "-d 3000", "-v 3000", "-v 8000", "-v 20000", "-n 3",
    ] {
        let room = Room::new();
        let name = format!("'{plain}' x; sort /dev/null; echo $?");
        let script =
            format!("(ulimit {limit}; {name}); (ulimit {limit}; exec '{plain}' y); exit 3");
        let argv = ["bash", "-c", &script];
        let bare = room.bare(&argv);
        assert_eq!(room.record("t.tape", &["--wait"], &argv), bare, "{limit}");
        let found = crate::not_recorded::reasons_of(&room, "plain");
        assert_eq!(found, [reason; 2], "{limit}");
    }
}

/// A forked child goes on with the memory that its parent's thread had for the recording, whatever
/// the parent does meanwhile.
#[test]
fn children_without_memory_to_have() {
    let room = Room::new();
    let limits = build::c("limits.c", &[]);
    let argv = [limits.to_str().unwrap(), "forks", "50"];
    let bare = room.bare(&argv);
    assert_eq!(bare.stdout, "0 children failed\nend forks\n");
    assert_eq!(room.record("t.tape", &["--wait"], &argv), bare);
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 51);
    for tape in tapes {
        room.assert_clean(&tape);
    }
}

/// So few open files that nothing can be recorded: the command runs in heaptape's place.
#[test]
fn a_launcher_with_few_open_files() {
    let room = Room::new();
    for count in [4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 20] {
        let limit = format!("-n {count}");
        let said = same_as_bare(&room, &limit, "sh -c 'ulimit -n; exit 5'");
        if count < 16 {
            let start =
                format!("heaptape: nothing was recorded: the limit of open files of {count} ");
            assert!(said.starts_with(&start), "{count}: {said}");
            assert_eq!(said.lines().count(), 1, "{count}: {said}");
        } else {
            assert!(said.starts_with("heaptape: recorded\n"), "{count}: {said}");
        }
    }
    let heaptape = heaptape_path().display();
    for (command, code) in [("/nowhere/x", 127), ("/", 126)] {
        let refused = under(&room, "-n 8", &format!("'{heaptape}' run -- {command}"));
        assert_eq!(refused.code, code, "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 2, "{refused:?}");
    }
}

/// The launcher takes the stack that it needs; the command has its own limit.
#[test]
fn a_small_stack() {
    let room = Room::new();
    let small = "nothing was recorded: the limit of the stack of";
    for (kib, expected) in [
        // At 16 KiB not even the dynamic loader has enough, now and then.
        (20, small),
        (24, small),
        (32, "recorded\n"),
        (100, "recorded\n"),
    ] {
        let limit = format!("-S -s {kib}");
        let said = same_as_bare(&room, &limit, "sh -c 'ulimit -s; exit 5'");
        assert!(
            said.starts_with(&format!("heaptape: {expected}")),
            "{kib}: {said}"
        );
    }
    let heaptape = heaptape_path().display();
    for (verb, code) in [("run -- true", 125), ("info t.tape", 2)] {
        let refused = under(&room, "-s 24", &format!("'{heaptape}' {verb}"));
        assert_eq!(refused.code, code, "{refused:?}");
        let said = "heaptape: the limit of the stack of 24 KiB (ulimit -s) is too low";
        assert!(refused.stderr.starts_with(said), "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
}

/// The launcher's memory is used up while the command runs.
#[test]
fn a_launcher_that_gets_no_more_memory() {
    let room = Room::new();
    let limits = build::c("limits.c", &[]);
    // The launcher is the shell's parent; each program has threads of its own to be drained.
    let script = format!(
        "prlimit --pid $PPID --data=1000000; i=0; \
         while [ $i -lt 20 ]; do '{}' work 2000; i=$((i+1)); done; exit 7",
        limits.display()
    );
    let outcome = room.record("t.tape", &[], &["sh", "-c", &script]);
    assert_eq!(outcome.code, 7, "{outcome:?}");
    assert_eq!(outcome.stdout, "end work\n".repeat(20));
    let said = &outcome.stderr;
    let start = "heaptape: out of memory (a limit of `ulimit -d` or `-v`, or the system's); \
                 the recording is not finished; heaptape recover ";
    assert!(said.starts_with(start), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert!(said.contains(sessions[0].to_str().unwrap()), "{said}");
    let arguments: [PathBuf; 4] = [
        "recover".into(),
        sessions[0].clone(),
        "-o".into(),
        "r.tape".into(),
    ];
    assert_eq!(room.heaptape(&arguments).code, 0);
    assert!(room.sessions().is_empty());
    // The tape that was begun has moved to its new name.
    let tapes = room.tapes();
    assert!(tapes.contains(&"r.tape".to_owned()), "{tapes:?}");
    assert!(!tapes.contains(&"t.tape".to_owned()), "{tapes:?}");
    let mut recovered = 0;
    for tape in tapes {
        let verified = room.json(&["verify", &tape]);
        assert_eq!(verified["damaged"], 0, "{tape}: {verified}");
        recovered += number(&verified, "readable_events");
    }
    assert!(recovered > 1000, "{recovered}");
}
