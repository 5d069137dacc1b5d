//! Death at random moments, limits and full disks: the target is unharmed, and what was published
//! is in the tape.

use crate::truth_of;
use heaptape_tests::answers::{number, text};
use heaptape_tests::{
    Outcome, Random, Room, build, heaptape_path, is_root, repeats, send, wait_for,
};
use std::path::Path;
use std::time::Duration;

/// The words of `survivor`'s file: the pid, then each thread's count.
fn report(path: &Path) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let words = bytes
        .chunks_exact(8)
        .map(|w| u64::from_le_bytes(w.try_into().unwrap()));
    words.collect()
}

fn size_of_block(k: u64) -> u64 {
    16 + k * 7919 % 500
}

/// Checks thread `thread`'s blocks in the tape against its known sequence; how many there are.
fn assert_sequence(room: &Room, tape: &str, thread: u64, reported: u64) -> u64 {
    let function = format!("make_block_{thread}");
    let churn = room.json(&["churn", tape, "--group-by", "function"]);
    let rows = churn["rows"].as_array().unwrap();
    let Some(row) = rows.iter().find(|row| row["key"] == function.as_str()) else {
        assert_eq!(reported, 0, "{function} is not in the tape");
        return 0;
    };
    let made = number(row, "allocations");
    assert!(
        made >= reported,
        "{function}: {reported} were reported, {made} are in the tape"
    );
    let bytes: u64 = (0..made).map(size_of_block).sum();
    assert_eq!(
        number(row, "bytes_allocated"),
        bytes,
        "{function}: not the first {made} blocks"
    );

    // The free of block k - 100 comes right before block k.
    let (live_bytes, live) = truth_of(room, tape, &function);
    let freed = made - live;
    assert!(freed == made.saturating_sub(100) || freed == (made + 1).saturating_sub(100));
    assert_eq!(
        live_bytes,
        (freed..made).map(size_of_block).sum::<u64>(),
        "{function}: wrong frees"
    );
    made
}

fn kill_at_a_random_moment(threads: u64, random: &mut Random) {
    let room = Room::new();
    let file = room.write("report", [0u8; 4096]);
    let program = build::c("survivor.c", &[]);
    let arguments = [
        program.to_str().unwrap(),
        file.to_str().unwrap(),
        &threads.to_string(),
    ];
    let running = room.start(&mut room.record_command("t.tape", &[], &arguments));
    let pid = wait_for("the program", || {
        Some(report(&file)[0]).filter(|pid| *pid != 0)
    });
    std::thread::sleep(Duration::from_micros(random.below(60_000)));
    send(u32::try_from(pid).unwrap(), libc::SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert_eq!(outcome.stderr, "");

    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "signal:9");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let reported = report(&file);
    for thread in 0..threads {
        let count = reported[1 + usize::try_from(thread).unwrap()];
        assert_sequence(&room, "t.tape", thread, count);
    }
}

#[test]
fn kill_9_loses_nothing_of_one_thread() {
    let mut random = Random(1);
    for _ in 0..repeats(10) {
        kill_at_a_random_moment(1, &mut random);
    }
}

#[test]
fn kill_9_loses_nothing_of_four_threads() {
    let mut random = Random(4);
    for _ in 0..repeats(10) {
        kill_at_a_random_moment(4, &mut random);
    }
}

/// Runs a role of `limits.c` bare and recorded, and compares. `options`: of `run`.
fn same_as_bare(room: &Room, tape: &str, role: &[&str]) -> Outcome {
    let program = build::c("limits.c", &[]);
    let argv = [&[program.to_str().unwrap()], role].concat();
    let bare = room.bare(&argv);
    assert_eq!(bare.code, 17, "{bare:?}");
    let recorded = room.record(tape, &[], &argv);
    assert_eq!(
        (recorded.code, &recorded.stdout),
        (17, &bare.stdout),
        "{recorded:?}"
    );
    recorded
}

fn assert_both_grabs(room: &Room, tape: &str) {
    room.assert_clean(tape);
    assert_eq!(truth_of(room, tape, "before_grabs"), (64_000, 1000));
    assert_eq!(truth_of(room, tape, "after_grabs"), (96_000, 1000));
}

#[test]
fn a_target_that_closes_all_descriptors() {
    for role in ["descriptors", "all-descriptors"] {
        let room = Room::new();
        if role == "all-descriptors" {
            let program = build::c("limits.c", &[]);
            // Its last words have nowhere to go: it aborts, bare and recorded.
            let argv = [program.to_str().unwrap(), role];
            assert_eq!(room.record("t.tape", &[], &argv), room.bare(&argv));
        } else {
            same_as_bare(&room, "t.tape", &[role]);
        }
        assert_both_grabs(&room, "t.tape");
    }
}

#[test]
fn a_target_that_changes_its_folder() {
    let room = Room::new();
    same_as_bare(&room, "t.tape", &["folder"]);
    assert_both_grabs(&room, "t.tape");
}

#[test]
fn a_target_under_a_file_size_limit() {
    let room = Room::new();
    same_as_bare(&room, "t.tape", &["file-size"]);
    assert_both_grabs(&room, "t.tape");
}

/// Without a free descriptor, or without address space, recording may stop: then the tape says so.
#[test]
fn a_target_without_descriptors_or_address_space() {
    for role in [
        &["open-files"][..],
        &["address-space", "16"],
        &["address-space", "64"],
    ] {
        let room = Room::new();
        let recorded = same_as_bare(&room, "t.tape", role);
        let verified = room.json(&["verify", "t.tape"]);
        assert_eq!(verified["damaged"], 0, "{role:?}: {verified}");
        assert_eq!(
            truth_of(&room, "t.tape", "before_grabs"),
            (64_000, 1000),
            "{role:?}"
        );
        let info = room.json(&["info", "t.tape"]);
        if truth_of(&room, "t.tape", "after_grabs") == (96_000, 1000) {
            assert_eq!(info["complete"], true, "{role:?}: {info:#}");
        } else {
            assert_eq!(info["complete"], false, "{role:?}: {info:#}");
            assert!(recorded.stderr.contains("t.tape"), "{role:?}: {recorded:?}");
        }
    }
}

/// Runs `limits work` recorded by a launcher under `ulimit LIMIT`.
fn launched_under(room: &Room, limit: &str) -> Outcome {
    let program = build::c("limits.c", &[]);
    let script = format!(
        "ulimit {limit}; exec '{}' run --quiet -o t.tape -- '{}' work 2000",
        heaptape_path().display(),
        program.display()
    );
    room.bare(&["sh", "-c", &script])
}

/// Limits of the user apply to the launcher as well.
#[test]
fn a_launcher_under_limits() {
    for limit in ["-n 20", "-v 4000000", "-f 1000000"] {
        let room = Room::new();
        let outcome = launched_under(&room, limit);
        assert_eq!(outcome.code, 17, "{limit}: {outcome:?}");
        assert_eq!(outcome.stdout, "end work\n", "{limit}");
        assert_both_grabs(&room, "t.tape");
    }
}

#[test]
fn a_launcher_that_may_open_few_files() {
    let room = Room::new();
    for limit in 4..9 {
        let outcome = launched_under(&room, &format!("-n {limit}"));
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (17, "end work\n"),
            "{limit}"
        );
        assert_eq!(outcome.stderr.lines().count(), 1, "{limit}: {outcome:?}");
        assert!(outcome.stderr.contains("(ulimit -n)"), "{outcome:?}");
        assert!(!outcome.stderr.contains("XDG_CACHE_HOME"), "{outcome:?}");
        assert_eq!(room.tapes(), [""; 0], "{limit}");
    }
}

/// Runs `limits work ROUNDS` recorded by a launcher that may write files of `kib` KiB: a limit that
/// can be raised again (`-S`), or one that cannot (`-H`), by root neither.
fn with_files_of(room: &Room, kib: u64, limit: &str, rounds: u64) -> Outcome {
    let program = build::c("limits.c", &[]);
    // The library is unpacked once for all: not under the limit.
    room.record("first.tape", &[], &["true"]).success();
    let script = format!(
        "ulimit {limit} -f {kib}; exec '{}' run --quiet -o t.tape -- '{}' work {rounds}",
        heaptape_path().display(),
        program.display()
    );
    let mut argv = vec!["bash", "-c", &script];
    if is_root() {
        let without = ["setpriv", "--bounding-set=-sys_resource"];
        argv = [&without[..], &["--inh-caps=-sys_resource"], &argv].concat();
    }
    let outcome = room.bare(&argv);
    assert_eq!(outcome.code, 17, "{kib} KiB: {outcome:?}");
    assert_eq!(outcome.stdout, "end work\n", "{kib} KiB: {outcome:?}");
    outcome
}

/// The tape ends at the limit, which is named; the command does not notice.
fn assert_cut_at(room: &Room, outcome: &Outcome, kib: u64, named: &str) {
    let cut = format!("t.tape: the tape met the file size limit of {named} (ulimit -f)");
    assert!(outcome.stderr.contains(&cut), "{kib} KiB: {outcome:?}");
    assert!(outcome.stderr.contains("events were lost"), "{outcome:?}");
    let bytes = std::fs::metadata(room.path("t.tape")).unwrap().len();
    assert!(bytes <= kib << 10, "{kib} KiB: the tape has {bytes}");
    let verified = room.json(&["verify", "t.tape"]);
    assert_eq!(verified["damaged"], 0, "{kib} KiB: {verified}");
    assert_eq!(room.json(&["info", "t.tape"])["complete"], false);
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let rows = heaptape_tests::answers::rows(&room.json(&stats));
    assert_eq!(rows.get("before_grabs"), Some(&(64_000, 1000)));
}

#[test]
fn a_launcher_that_may_write_no_large_file() {
    let cases = [
        (500, "-S", 2_000, "500 KiB"),
        (512, "-H -S", 4_000, "512 KiB"),
        (2048, "-H -S", 20_000, "2 MiB"),
        (20480, "-H -S", 80_000, "20 MiB"),
    ];
    for (kib, limit, rounds, named) in cases {
        let room = Room::new();
        let outcome = with_files_of(&room, kib, limit, rounds);
        assert_cut_at(&room, &outcome, kib, named);
    }
}

/// Not even the session may be written: the command runs bare, and the limit is named.
#[test]
fn a_launcher_that_may_write_no_session() {
    let room = Room::new();
    let outcome = with_files_of(&room, 100, "-H -S", 2_000);
    assert_eq!(room.tapes(), ["first.tape"]);
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    for part in [
        "nothing was recorded: the file size limit of 100 KiB (ulimit -f)",
        "raise it",
    ] {
        assert!(outcome.stderr.contains(part), "{outcome:?}");
    }
}

#[test]
fn no_space_left_for_the_tape() {
    let mut room = Room::new();
    let Some(disk) = room.mount_small_disk("disk", 2 << 20) else {
        return;
    };
    let recorded = same_as_bare(&room, "disk/t.tape", &["work", "30000"]);
    assert!(recorded.stderr.contains("t.tape"), "{recorded:?}");
    assert!(recorded.stderr.contains("no space left"), "{recorded:?}");
    let tape = disk.join("t.tape");
    let tape = tape.to_str().unwrap();
    let verified = room.json(&["verify", tape]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    assert!(number(&verified, "readable_events") > 100_000, "{verified}");
    let info = room.json(&["info", tape, "--no-index"]);
    assert_eq!(info["complete"], false, "{info:#}");
    // To that point it is whole: the first allocations are there.
    let stats = ["stats", tape, "--at", "end", "--group-by", "function"];
    let rows = heaptape_tests::answers::rows(&room.json(&stats));
    assert_eq!(rows.get("before_grabs"), Some(&(64_000, 1000)));
}

/// A disk that is full before: there is no tape, and the command runs all the same.
#[test]
fn no_space_for_a_tape_at_all() {
    let mut room = Room::new();
    let Some(disk) = room.mount_small_disk("disk", 8 << 10) else {
        return;
    };
    std::fs::write(disk.join("other"), [1; 8 << 10]).unwrap();
    for options in [&[][..], &["--force"]] {
        let recorded = room.record("disk/t.tape", options, &["sh", "-c", "echo end; exit 17"]);
        let said = (recorded.code, recorded.stdout.as_str());
        assert_eq!(said, (17, "end\n"), "{options:?}: {recorded:?}");
        assert_eq!(
            recorded.stderr.lines().count(),
            1,
            "{options:?}: {recorded:?}"
        );
        for part in ["nothing was recorded: no space left", "t.tape", "-o"] {
            assert!(recorded.stderr.contains(part), "{options:?}: {recorded:?}");
        }
        let left: Vec<_> = std::fs::read_dir(&disk).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{options:?}: {left:?}");
        assert!(room.sessions().is_empty(), "{options:?}");
    }
}

/// A disk with room for next to nothing: what can be written is a tape, that says what is missing.
#[test]
fn hardly_any_space_for_the_tape() {
    for kib in [4, 8, 12, 16] {
        let mut room = Room::new();
        let Some(disk) = room.mount_small_disk("disk", kib << 10) else {
            return;
        };
        let recorded = same_as_bare(&room, "disk/t.tape", &["work", "3000"]);
        assert!(recorded.stderr.contains("no space left"), "{recorded:?}");
        assert!(recorded.stderr.contains("valid up to"), "{recorded:?}");
        let tape = disk.join("t.tape");
        let tape = tape.to_str().unwrap();
        let verified = room.json(&["verify", tape]);
        assert_eq!(verified["damaged"], 0, "{kib} KiB: {verified}");
        let info = room.json(&["info", tape]);
        assert_eq!(info["complete"], false, "{kib} KiB: {info:#}");
        assert_eq!(info["format_version"], 1, "{kib} KiB: {info:#}");
        assert_eq!(number(&info["peak"], "count"), 0, "{kib} KiB: {info:#}");
    }
}

/// Shared memory as small as containers have it, and smaller.
#[test]
fn little_shared_memory() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so /dev/shm cannot be made small");
        return;
    }
    let program = build::c("limits.c", &[]);
    for (mib, lossless) in [(64, true), (4, false), (1, false)] {
        let room = Room::new();
        let script = format!(
            "mount -t tmpfs -o size={mib}m tmpfs /dev/shm && unset XDG_RUNTIME_DIR && exec \
             '{}' run --quiet -o t.tape -- '{}' work 5000",
            heaptape_path().display(),
            program.display()
        );
        let outcome = room.bare(&["unshare", "-m", "sh", "-c", &script]);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (17, "end work\n"),
            "{mib} MiB"
        );
        if lossless {
            assert_both_grabs(&room, "t.tape");
        } else {
            let verified = room.json(&["verify", "t.tape"]);
            assert_eq!(verified["damaged"], 0, "{mib} MiB: {verified}");
            let info = room.json(&["info", "t.tape"]);
            let complete = info["complete"] == true;
            assert_eq!(
                complete,
                outcome.stderr.is_empty(),
                "{mib} MiB: {outcome:?} {info:#}"
            );
        }
    }
}

/// No place for a session anywhere: each is named with what is free there.
#[test]
fn no_shared_memory() {
    let mut room = Room::new();
    let Some(disk) = room.mount_small_disk("small", 100 << 10) else {
        return;
    };
    let program = build::c("limits.c", &[]);
    let script = format!(
        "mount -t tmpfs -o size=60k tmpfs /dev/shm && unset XDG_RUNTIME_DIR && \
         TMPDIR='{}' exec '{}' run --quiet -o t.tape -- '{}' work 100",
        disk.display(),
        heaptape_path().display(),
        program.display()
    );
    let outcome = room.bare(&["unshare", "-m", "sh", "-c", &script]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (17, "end work\n"));
    assert_eq!(room.tapes(), [""; 0]);
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    let place = format!("{}: no space left, 100 KiB free", disk.display());
    for part in [
        "nothing was recorded: no room",
        "/dev/shm: no space left, 60 KiB free",
        &place,
        "HEAPTAPE_SESSION_FOLDER",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}
