//! Programs that are linked with the recorder: static ones are recorded by it, dynamic ones by the
//! preloaded library, and every block once.

use crate::not_recorded::reasons_of;
use crate::truth_of;
use heaptape_tests::answers::{array, functions, number, rows, text};
use heaptape_tests::build::{self, Linkage};
use heaptape_tests::{Room, heaptape_path, is_root};
use std::path::Path;

/// What each function keeps: bytes and blocks.
const KEPT: [(&str, (u64, u64)); 6] = [
    ("linked::keep_plain", (51_225, 50)),
    ("linked::keep_zeroed", (60_000, 20)),
    ("linked::keep_aligned", (2560, 10)),
    ("linked::keep_grown", (8192, 1)),
    ("linked::keep_shrunk", (123, 1)),
    ("linked::hold", (77_777, 1)),
];

/// All linkages that can be built here.
fn linkages() -> Vec<Linkage> {
    use Linkage::{Dynamic, Musl, Static, StaticPie};
    let mut all = vec![StaticPie, Static, Dynamic, Musl];
    all.retain(|linkage| linkage.is_possible());
    all
}

/// The static ones.
fn static_linkages() -> Vec<Linkage> {
    let mut all = linkages();
    all.retain(|linkage| *linkage != Linkage::Dynamic);
    all
}

fn linked(linkage: Linkage) -> String {
    path_of(&build::linked("linked", linkage))
}

fn path_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What the functions have alive at a moment of the tape.
fn kept(room: &Room, tape: &str, at: &str) -> Vec<(u64, u64)> {
    let stats = room.json(&["stats", tape, "--at", at, "--group-by", "function"]);
    let rows = rows(&stats);
    let of = |(name, _): &(&str, _)| rows.get(*name).copied().unwrap_or_default();
    KEPT.iter().map(of).collect()
}

/// [`KEPT`] with other amounts for its first and last function.
fn expected(plain: (u64, u64), held: (u64, u64)) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = KEPT.iter().map(|(_, amount)| *amount).collect();
    all[0] = plain;
    all[5] = held;
    all
}

#[test]
fn known_blocks_are_known_at_every_moment() {
    for linkage in linkages() {
        let room = Room::new();
        let program = linked(linkage);
        let outcome = room.record_as_bare("t.tape", &[&program, "work"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (7, "done\n"));
        // One image: nobody else has recorded it too.
        assert_eq!(room.tapes(), ["t.tape"], "{linkage:?}");
        let info = room.json(&["info", "t.tape"]);
        assert_eq!(text(&info, "ended_by"), "exit:7", "{linkage:?}");
        assert_eq!(info["not_recorded"], serde_json::json!([]), "{linkage:?}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{linkage:?}");
        assert_eq!(number(&info, "threads"), 5, "{linkage:?}");

        let of = |at| kept(&room, "t.tape", at);
        let held = (77_777, 1);
        assert_eq!(of("mark:kept"), expected((51_225, 50), held), "{linkage:?}");
        let of_five = (5 * 51_225, 5 * 50);
        assert_eq!(of("mark:joined"), expected(of_five, held), "{linkage:?}");
        assert_eq!(of("end"), expected(of_five, (0, 0)), "{linkage:?}");
    }
}

#[test]
fn stacks_are_whole() {
    for linkage in linkages() {
        let room = Room::new();
        let program = linked(linkage);
        room.record("t.tape", &[], &[&program, "work"]);
        let stats = ["stats", "t.tape", "--at", "mark:joined"];
        let answer = room.json(&[&stats[..], &["--group-by", "traceback"]].concat());
        let (mut of_main, mut of_threads) = (0, 0);
        for row in array(&answer, "rows") {
            let names = functions(row);
            let has = |wanted: &str| names.iter().any(|name| name.contains(wanted));
            if !has("linked::keep_") && !has("linked::hold") {
                continue;
            }
            // The allocator's frame stays in tracebacks; where it records nothing it may only jump.
            let is_there = linkage == Linkage::Dynamic || has("GlobalAlloc>::");
            assert!(is_there, "{linkage:?}: {names:?}");
            if has("linked::main") {
                // `main` itself may only jump there. Musl has no unwind tables before it.
                let is_whole = linkage == Linkage::Musl || names.last() == Some(&"_start");
                assert!(has("std::rt::lang_start"), "{linkage:?}: {names:?}");
                assert!(is_whole, "{linkage:?}: {names:?}");
                of_main += 1;
            } else {
                assert!(has("thread_start"), "{linkage:?}: {names:?}");
                of_threads += 1;
            }
        }
        assert!(of_main >= KEPT.len(), "{linkage:?}: {answer:#}");
        assert_eq!(of_threads, 1, "{linkage:?}: {answer:#}");
        // No place is one of ours.
        let keys = rows(&room.json(&[&stats[..], &["--group-by", "function"]].concat()));
        let is_ours = |key: &&String| key.contains("heaptape") || key.contains("GlobalAlloc");
        assert_eq!(keys.keys().find(is_ours), None, "{linkage:?}");
    }
}

/// Zeroed and aligned blocks are known as such.
#[test]
fn kinds_are_told_apart() {
    for linkage in static_linkages() {
        let room = Room::new();
        room.record("t.tape", &[], &[&linked(linkage), "work"]);
        let stats = ["stats", "t.tape", "--at", "mark:kept", "--group-by"];
        let kinds = rows(&room.json(&[&stats[..], &["kind"]].concat()));
        assert_eq!(kinds["calloc"], (60_000, 20), "{linkage:?}: {kinds:?}");
        assert_eq!(kinds["aligned_alloc"], (2560, 10), "{linkage:?}: {kinds:?}");
        assert_eq!(kinds["realloc"].1, 2, "{linkage:?}: {kinds:?}");
        // What C code says of its pools by heaptape.h.
        let pools = ["stats", "t.tape", "--at", "end", "--domain", "pool"];
        let total = &room.json(&pools)["total"];
        assert_eq!((number(total, "bytes"), number(total, "count")), (2000, 2));
    }
}

/// An allocator that counts, with the recorder around it: every call is an event.
#[test]
fn every_call_is_counted() {
    for linkage in static_linkages() {
        let room = Room::new();
        let program = path_of(&build::linked("counted", linkage));
        let outcome = room.record("t.tape", &[], &[&program]).success();
        let info = room.assert_clean("t.tape");
        let events = |name| number(&info["events"], name);
        let found = [
            events("alloc"),
            events("free"),
            events("realloc"),
            number(&info, "bytes_allocated"),
            number(&info["end"], "bytes"),
        ];
        let found = found.map(|count| count.to_string()).join(" ");
        assert_eq!(found, outcome.stdout.trim_end(), "{linkage:?}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{linkage:?}");
        assert!(events("free") > 20_000 && events("realloc") > 1000);
    }
}

/// Options that make the recorder leave its short path.
#[test]
fn options_hold() {
    let room = Room::new();
    let program = linked(Linkage::StaticPie);
    let options = ["--min-size", "1000", "--free-stacks"];
    room.record("t.tape", &options, &[&program, "work"]);
    let small = rows(&room.json(&["stats", "t.tape", "--at", "mark:kept", "--group-by", "size"]));
    assert!(
        small.values().all(|(bytes, count)| bytes / count >= 1000),
        "{small:?}"
    );
    let of_five = (5 * 51_225, 5 * 50);
    let plain = truth_of(&room, "t.tape", "linked::keep_plain");
    assert_eq!(plain, of_five);
    // It was recorded until it shrank.
    assert_eq!(truth_of(&room, "t.tape", "linked::keep_shrunk"), (0, 0));
    room.assert_clean("t.tape");

    room.record("u.tape", &["--start-paused"], &[&program, "work"]);
    assert_eq!(room.json(&["info", "u.tape"])["events"]["alloc"], 0);
}

#[test]
fn a_forked_child_has_its_own_tape() {
    for linkage in linkages() {
        let room = Room::new();
        let program = linked(linkage);
        let outcome = room.record_as_bare("t.tape", &[&program, "fork"]);
        assert_eq!(outcome.stdout, "the child ended with 3\n");
        let info = room.json(&["info", "t.tape"]);
        let children = array(&info, "children");
        assert_eq!((children.len(), room.tapes().len()), (1, 2), "{linkage:?}");
        let child = children[0].as_str().unwrap();
        let info = room.assert_clean(child);
        assert_eq!(text(&info, "ended_by"), "exit:3", "{linkage:?}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{linkage:?}");
        assert_eq!(number(&info, "inherited_frees"), 1, "{linkage:?}");
        let own = truth_of(&room, child, "linked::keep_plain");
        assert_eq!(own, (51_225, 50), "{linkage:?}");
        let parents = kept(&room, "t.tape", "end");
        let of_five = (5 * 51_225, 5 * 50);
        assert_eq!(parents, expected(of_five, (0, 0)), "{linkage:?}");
    }
}

#[test]
fn a_killed_program_is_recorded_to_its_last_event() {
    for linkage in linkages() {
        let room = Room::new();
        let outcome = room.record("t.tape", &[], &[&linked(linkage), "kill"]);
        assert_eq!(outcome.code, 137, "{linkage:?}");
        let info = room.assert_clean("t.tape");
        assert_eq!(text(&info, "ended_by"), "signal:9", "{linkage:?}");
        let of_five = (5 * 51_225, 5 * 50);
        let at_end = kept(&room, "t.tape", "end");
        assert_eq!(at_end, expected(of_five, (77_777, 1)), "{linkage:?}");
    }
}

/// The launcher judges the command, the recorder what a recorded program starts: alike.
#[test]
fn as_a_child_of_a_recorded_program() {
    for linkage in static_linkages() {
        let room = Room::new();
        let program = linked(linkage);
        let script = format!("'{program}' work; '{program}' environment; exit 5");
        let outcome = room.record("t.tape", &[], &["sh", "-c", &script]);
        let (code, told) = (outcome.code, outcome.stdout.as_str());
        assert_eq!((code, told), (5, "done\nHEAPTAPE_SESSION\n"), "{linkage:?}");
        assert_eq!(reasons_of(&room, "linked"), [""; 0], "{linkage:?}");
        let names = room.tapes();
        let of_work = |tape: &&String| truth_of(&room, tape, "linked::keep_plain").1 == 5 * 50;
        assert_eq!(names.iter().filter(of_work).count(), 2, "{names:?}");
        for tape in &names {
            room.assert_clean(tape);
        }
    }
}

/// What it starts is recorded when that is linked with the recorder as well, or when the user asks
/// for `--through-static`.
#[test]
fn what_it_starts() {
    let family = path_of(&build::c("family.c", &[]));
    for linkage in static_linkages() {
        let room = Room::new();
        let program = linked(linkage);
        room.record("t.tape", &[], &[&*program, "start", &*family, "work", "4"]);
        assert_eq!(room.tapes(), ["t.tape"], "{linkage:?}");

        room.record("u.tape", &[], &[&*program, "start", &*program, "fork"]);
        let info = room.json(&["info", "u.tape"]);
        let child = array(&info, "children")[0].as_str().unwrap();
        assert_eq!(truth_of(&room, child, "linked::keep_plain").1, 5 * 50);

        let argv = [&*program, "start", &*program, "fork"];
        room.record("w.tape", &["--no-follow"], &argv);
        let info = room.json(&["info", "w.tape"]);
        assert_eq!(array(&info, "children").len(), 0, "{linkage:?}: {info:#}");

        let options = ["--through-static"];
        let argv = [&*program, "start", &*family, "work", "4"];
        room.record("v.tape", &options, &argv);
        let info = room.json(&["info", "v.tape"]);
        assert_eq!(truth_of(&room, "v.tape", "linked::keep_plain").1, 5 * 50);
        let child = array(&info, "children")[0].as_str().unwrap();
        let grabs = truth_of(&room, child, "after_exec_grabs");
        assert_eq!(grabs, (500 * 30, 500), "{linkage:?}");
    }
}

/// Without a launcher, as with the preloaded library.
#[test]
fn by_hand() {
    let room = Room::new();
    let mut command = room.command(linked(Linkage::StaticPie));
    command.arg("work").env("HEAPTAPE_OUT", room.path("t.tape"));
    command.env("HEAPTAPE_DRAINER", heaptape_path());
    assert_eq!(room.run(&mut command).stdout, "done\n");
    room.wait_for_processes();
    room.assert_clean("t.tape");
    assert_eq!(truth_of(&room, "t.tape", "linked::keep_plain").1, 5 * 50);

    room.run(
        command
            .env("HEAPTAPE", "0")
            .env("HEAPTAPE_OUT", room.path("u.tape")),
    );
    assert_eq!(room.tapes(), ["t.tape"]);

    // Where there can be no tape there is no recording, and nothing stays behind.
    for _ in 0..3 {
        command.env("HEAPTAPE", "1");
        command.env("HEAPTAPE_OUT", room.path("no/such/folder.tape"));
        assert_eq!(room.run(&mut command).stdout, "done\n");
        room.wait_for_processes();
        assert!(room.sessions().is_empty(), "{:?}", room.sessions());
    }
}

/// A program with more rights than its starter must not start what the environment names.
#[test]
fn a_setuid_program_does_not_do_what_the_environment_says() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !is_root() {
        eprintln!("SKIPPED: not root, so no file can be given to another user");
        return;
    }
    let room = Room::new();
    let copy = room.path("suid");
    let script = room.write(
        "drainer",
        format!("#!/bin/sh\ntouch '{}'", room.path("ran").display()),
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (user, runs) in [(0, true), (65534, false)] {
        heaptape_tests::build::copy(linked(Linkage::Static), &copy).unwrap();
        chown(&copy, Some(user), Some(user)).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let mut command = room.command(&copy);
        command
            .args(["work"])
            .env("HEAPTAPE_OUT", room.path("t.tape"));
        command.env("HEAPTAPE_DRAINER", &script);
        assert_eq!(room.run(&mut command).stdout, "done\n");
        room.wait_for_processes();
        assert_eq!(room.path("ran").exists(), runs);
        let _absent = std::fs::remove_file(room.path("ran"));
    }
}

/// A recorder of another version cannot join the session: nothing is recorded, and that is said.
#[test]
fn another_version_is_named() {
    let room = Room::new();
    let mut image = std::fs::read(linked(Linkage::StaticPie)).unwrap();
    let owner = b"heaptape\0\0\0\0";
    let places = image.windows(owner.len()).enumerate();
    let is_note = |(at, bytes): &(usize, &[u8])| {
        *bytes == owner && image[at - 12..*at] == [9, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]
    };
    let notes: Vec<usize> = places.filter(is_note).map(|(at, _)| at).collect();
    assert!(!notes.is_empty());
    for at in notes {
        image[at + owner.len()] ^= 0x40;
    }
    let copy = room.write("other", image);
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let told = room.heaptape(&["run", "-o", "t.tape", "--", "./other", "work"]);
    let reason = "links another version of heaptape_recorder";
    let start = format!("heaptape: ./other: not recorded: {reason}; to record it, build it with ");
    assert!(told.stderr.starts_with(&start), "{told:?}");
    assert_eq!((told.code, told.stdout.as_str()), (7, "done\n"));
    room.record("u.tape", &[], &["sh", "-c", "./other work; exit 5"]);
    assert_eq!(reasons_of(&room, "other"), [reason, reason]);
}

/// Who has a static program is told of the recorder.
#[test]
fn others_are_told_of_it() {
    let room = Room::new();
    let plain = path_of(&build::build(
        "cc",
        "plain.c",
        "plain-static",
        &["-O2", "-static"],
    ));
    let told = room
        .heaptape(&["run", "-o", "t.tape", "--", &plain, "x"])
        .stderr;
    let advice = "to record it, link it dynamically or link heaptape_recorder; ";
    assert!(told.contains(advice), "{told}");
}
