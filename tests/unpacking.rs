//! Where the recorder's library is unpacked to, and what is done where that does not work.

use heaptape_tests::{Outcome, Room, heaptape_path, is_root};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Runs `sh -c SCRIPT`, with `RUN` for a copy of the executable that has no library beside it. It
/// prints what is preloaded.
fn shell(room: &Room, script: &str) -> Outcome {
    let copy = room.path("heaptape");
    if !copy.exists() {
        heaptape_tests::build::copy(heaptape_path(), &copy).unwrap();
    }
    let run = format!(
        "'{}' run --quiet --force -o t.tape -- printenv LD_PRELOAD",
        copy.display()
    );
    room.bare(&["unshare", "-m", "sh", "-c", &script.replace("RUN", &run)])
}

fn needs_root() -> bool {
    if !is_root() {
        eprintln!("SKIPPED: not root, so nothing can be mounted");
    }
    !is_root()
}

#[test]
fn a_cache_folder_without_execution_is_passed_over() {
    if needs_root() {
        return;
    }
    let room = Room::new();
    for name in ["cache", "other"] {
        fs::create_dir(room.path(name)).unwrap();
    }
    let script = "mount -t tmpfs -o noexec tmpfs cache && \
                  XDG_CACHE_HOME=$PWD/cache TMPDIR=$PWD/other RUN";
    let outcome = shell(&room, script).success();
    let expected = room.path("other/heaptape-0/libheaptape-");
    assert!(
        outcome.stdout.starts_with(expected.to_str().unwrap()),
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr, "");
    room.assert_clean("t.tape");
}

#[test]
fn a_full_or_read_only_cache_folder_is_passed_over() {
    if needs_root() {
        return;
    }
    let room = Room::new();
    for name in ["cache", "other"] {
        fs::create_dir(room.path(name)).unwrap();
    }
    for options in ["ro", "size=64k"] {
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs cache && \
             XDG_CACHE_HOME=$PWD/cache TMPDIR=$PWD/other RUN && \
             find cache -type f ! -regex '.*/symbols/[0-9a-f]+-[0-9a-f]+'"
        );
        let outcome = shell(&room, &script).success();
        let expected = room.path("other/heaptape-0/libheaptape-");
        assert!(
            outcome.stdout.starts_with(expected.to_str().unwrap()),
            "{options}: {outcome:?}"
        );
        // Nothing half-written is left.
        assert_eq!(outcome.stdout.lines().count(), 1, "{options}: {outcome:?}");
    }
}

/// What was unpacked while the home could be written serves when it no longer can.
#[test]
fn a_home_that_became_read_only_still_serves() {
    if needs_root() {
        return;
    }
    let room = Room::new();
    fs::create_dir(room.path("cache")).unwrap();
    let script = "mount -t tmpfs tmpfs cache && export XDG_CACHE_HOME=$PWD/cache && RUN && \
                  mount -o remount,ro cache && RUN";
    let outcome = shell(&room, script).success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0].starts_with(room.path("cache").to_str().unwrap()));
}

/// No folder at all: the command does not start, and one line says where was looked.
#[test]
fn without_any_folder_that_may_execute() {
    if needs_root() {
        return;
    }
    let room = Room::new();
    fs::create_dir(room.path("cache")).unwrap();
    // The executable itself may lie below /tmp.
    fs::create_dir(room.path("bin")).unwrap();
    let script = "mount -t tmpfs -o noexec tmpfs cache; \
                  mount -t tmpfs tmpfs bin && cp HEAPTAPE bin/heaptape; \
                  mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp; \
                  mount --bind /var/tmp /var/tmp && mount -o remount,bind,noexec /var/tmp; \
                  unset TMPDIR; XDG_CACHE_HOME=$PWD/cache RUNNING";
    let script = script
        .replace("HEAPTAPE", &format!("'{}'", heaptape_path().display()))
        .replace("RUNNING", "bin/heaptape run --quiet -o t.tape -- printenv");
    let outcome = room.bare(&["unshare", "-m", "sh", "-c", &script]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (125, ""),
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    for part in [
        "cache/heaptape",
        "/tmp/heaptape-0",
        "/var/tmp/heaptape-0",
        "noexec",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    assert!(outcome.stderr.contains("XDG_CACHE_HOME"), "{outcome:?}");
    assert_eq!(room.tapes(), [""; 0]);
}

/// A folder that others may write to could hold anything.
#[test]
fn a_cache_folder_of_others_is_passed_over() {
    let room = Room::new();
    let folder = room.path("cache/heaptape");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(room.path("other")).unwrap();
    let mut command = room.record_command("t.tape", &[], &["printenv", "LD_PRELOAD"]);
    command.env("XDG_CACHE_HOME", room.path("cache"));
    command.env("TMPDIR", room.path("other"));
    let outcome = room.run(&mut command).success();
    assert!(!outcome.stdout.contains("/cache/"), "{outcome:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
