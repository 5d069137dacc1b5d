//! What is not a tape, and questions that have no answer: exit code 2, one line on standard error
//! that names what is wrong, and never a panic.

use heaptape_tests::answers::{array, text};
use heaptape_tests::{Outcome, Room, build, heaptape_path, is_root};
use std::fs;
use std::path::Path;

/// Every verb that reads a tape, with the arguments behind the tape.
const VERBS: &[(&str, &[&str])] = &[
    ("info", &[]),
    ("index", &[]),
    ("stats", &[]),
    ("leaks", &[]),
    ("churn", &[]),
    ("timeline", &[]),
    ("object", &["0x1000"]),
    ("top", &["--once"]),
    ("symbolize", &[]),
    ("verify", &[]),
];

/// Fails unless the command was refused in one line that names `culprit`.
pub(crate) fn assert_refused(outcome: &Outcome, culprit: &str, what: &str) {
    assert_eq!(outcome.code, 2, "{what}: {outcome:?}");
    assert_eq!(outcome.stdout, "", "{what}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{what}: {outcome:?}");
    assert!(
        outcome.stderr.contains(culprit),
        "{what}: {culprit} is not named: {outcome:?}"
    );
    assert!(!outcome.stderr.contains("panicked"), "{what}: {outcome:?}");
}

fn every_verb_refuses(room: &Room, tape: &str) {
    for (verb, rest) in VERBS {
        let arguments = [&[*verb, tape], *rest].concat();
        assert_refused(&room.heaptape(&arguments), tape, verb);
    }
    let good = good_tape(room);
    for pair in [[tape, &good], [&good, tape]] {
        let outcome = room.heaptape(&["diff", pair[0], pair[1]]);
        assert_refused(&outcome, tape, "diff");
    }
    assert_eq!(
        fs::metadata(room.path(&format!("{tape}.idx")))
            .ok()
            .map(|_| ()),
        None
    );
}

pub(crate) fn good_tape(room: &Room) -> String {
    let name = "good.tape";
    if !room.path(name).exists() {
        let family = build::c("family.c", &[]);
        room.record(name, &[], &[family.to_str().unwrap(), "work"])
            .success();
    }
    name.to_owned()
}

#[test]
fn no_such_file() {
    every_verb_refuses(&Room::new(), "missing.tape");
}

#[test]
fn an_empty_file() {
    let room = Room::new();
    room.write("empty.tape", "");
    every_verb_refuses(&room, "empty.tape");
}

#[test]
fn not_a_tape() {
    let room = Room::new();
    room.write("text.tape", "This is a letter.\n".repeat(100));
    room.write("short.tape", "x");
    room.write("zeros.tape", [0u8; 100_000]);
    for tape in ["text.tape", "short.tape", "zeros.tape"] {
        every_verb_refuses(&room, tape);
    }
}

#[test]
fn a_folder() {
    let room = Room::new();
    fs::create_dir(room.path("folder.tape")).unwrap();
    every_verb_refuses(&room, "folder.tape");
}

#[test]
fn a_header_that_is_cut() {
    let room = Room::new();
    let whole = fs::read(room.path(&good_tape(&room))).unwrap();
    for length in [1, 8, 12, 100] {
        room.write("cut.tape", &whole[..length]);
        every_verb_refuses(&room, "cut.tape");
    }
}

/// Bytes 8 and 9 of a tape are the major version.
#[test]
fn a_newer_version_names_both() {
    let room = Room::new();
    let mut whole = fs::read(room.path(&good_tape(&room))).unwrap();
    let ours = u16::from_le_bytes([whole[8], whole[9]]);
    whole[8..10].copy_from_slice(&999u16.to_le_bytes());
    room.write("newer.tape", whole);
    every_verb_refuses(&room, "newer.tape");
    let outcome = room.heaptape(&["info", "newer.tape"]);
    for version in ["999", &ours.to_string()] {
        assert!(
            outcome.stderr.contains(version),
            "{version} is not named: {outcome:?}"
        );
    }
}

#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let room = Room::new();
    let tape = room.path(&good_tape(&room));
    fs::set_permissions(&tape, fs::Permissions::from_mode(0o000)).unwrap();
    if !is_root() {
        for (verb, rest) in VERBS {
            let arguments = [&[*verb, "good.tape"], *rest].concat();
            assert_refused(&room.heaptape(&arguments), "good.tape", verb);
        }
        return;
    }
    // Root may read anything: somebody else tries, with a copy of the executable.
    let folder = tape.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = room.path("heaptape");
    heaptape_tests::build::copy(heaptape_path(), &copy).unwrap();
    for (verb, rest) in VERBS {
        let mut command = room.command(&copy);
        command
            .args([*verb, "good.tape"])
            .args(*rest)
            .uid(65534)
            .gid(65534);
        assert_refused(&room.run(&mut command), "good.tape", verb);
    }
}

/// A tape that ends in the middle is answered from what is there.
#[test]
fn a_truncated_tape_is_answered() {
    let room = Room::new();
    let whole = fs::read(room.path(&good_tape(&room))).unwrap();
    let all = room.json(&["verify", "good.tape"]);
    let mut last = 0;
    for part in 1..=10 {
        let length = (whole.len() * part / 10).max(400);
        room.write("cut.tape", &whole[..length]);
        let info = room.json(&["info", "cut.tape"]);
        assert!(info["tape"].as_str().unwrap().ends_with("cut.tape"));
        let verified = room.heaptape(&["verify", "cut.tape", "--format", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
        let events = answer["readable_events"].as_u64().unwrap();
        assert!(events >= last, "a longer tape has fewer events");
        last = events;
        assert_eq!(verified.code, i32::from(answer["damaged"] != 0), "{answer}");
        // Behind the end stand the symbols.
        let has_end = answer["has_end"].as_bool().unwrap();
        assert!(if has_end { part > 5 } else { part < 10 }, "{answer}");
        let text = room.heaptape(&["verify", "cut.tape"]).stdout;
        assert_eq!(text.contains("the tape has no end"), !has_end, "{text}");
        assert_gates(&room, "cut.tape", part == 10, &format!("{part} tenths"));
    }
    assert_eq!(last, all["readable_events"].as_u64().unwrap());
}

/// One flipped byte anywhere: an answer or a refusal, never a panic, and `verify` sees it.
#[test]
fn flipped_bytes_are_seen() {
    let room = Room::new();
    let whole = fs::read(room.path(&good_tape(&room))).unwrap();
    for step in 0..24 {
        let mut bytes = whole.clone();
        let at = whole.len() * step / 24;
        bytes[at] ^= 0x10;
        room.write("flipped.tape", bytes);
        let verified = room.heaptape(&["verify", "flipped.tape"]);
        let expected = match at {
            0..192 => 2,
            _ if is_padding(&whole, at) => 0,
            _ => 1,
        };
        assert_eq!(verified.code, expected, "byte {at}: {verified:?}");
        if expected < 2 {
            assert_gates(&room, "flipped.tape", expected == 0, &format!("byte {at}"));
        }
        for verb in ["info", "stats", "churn", "timeline"] {
            let outcome = room.heaptape(&[verb, "flipped.tape"]);
            assert!(
                [0, 2].contains(&outcome.code),
                "byte {at}, {verb}: {outcome:?}"
            );
            assert!(
                !outcome.stderr.contains("panicked"),
                "byte {at}, {verb}: {outcome:?}"
            );
        }
    }
}

/// A gate is met or not by a whole tape alone, and `info` agrees: of what is left of a tape both
/// allocations and the frees of others may be missing.
fn assert_gates(room: &Room, tape: &str, whole: bool, what: &str) {
    let info = room.json(&["info", tape]);
    assert_eq!(info["complete"], whole, "{what}: {info:#}");
    for other in [tape, "good.tape"] {
        for (verb, tapes) in [("check", [other, tape]), ("diff", [tape, other])] {
            if tapes[0] == tapes[1] && verb == "diff" {
                continue;
            }
            let gate = |limit: &str| {
                let arguments = [verb, tapes[0], tapes[1], "--fail-on", limit];
                room.heaptape(&arguments)
            };
            let met = gate("bytes>1TiB");
            assert_eq!(met.code, if whole { 0 } else { 2 }, "{what}: {met:?}");
            if !whole {
                let error = met.stderr.lines().last().unwrap_or_default();
                assert!(error.contains(tape), "{what}: {met:?}");
                assert!(error.contains("no gate is met"), "{what}: {met:?}");
                assert!(!met.stdout.contains("met"), "{what}: {met:?}");
            }
        }
    }
    let failed = room.heaptape(&["check", tape, "good.tape", "--fail-on", "bytes>1"]);
    assert_eq!(failed.code, if whole { 1 } else { 2 }, "{what}: {failed:?}");
}

/// Threads that allocate refer to modules that the first thread told of, which makes no event more.
#[test]
fn a_truncated_tape_of_many_threads_has_names() {
    let room = Room::new();
    let program = build::c("crew.c", &["-pthread"]);
    let argv = [program.as_os_str(), "400000".as_ref()];
    room.record("t.tape", &["--no-symbolize"], &argv).success();
    let whole = fs::read(room.path("t.tape")).unwrap();
    for part in 1..4 {
        room.write("cut.tape", &whole[..whole.len() * part / 4]);
        room.heaptape(&["symbolize", "cut.tape"]).success();
        let churn = ["churn", "cut.tape", "--group-by", "function"];
        let churn = room.json(&churn);
        let most = text(&array(&churn, "rows")[0], "key");
        assert_eq!(most, "crew_grabs", "{part} quarters: {churn:#}");
    }
}

/// True for the up to seven zeros in front of a chunk: nothing is said of them.
fn is_padding(tape: &[u8], at: usize) -> bool {
    let rest = &tape[at..];
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    (1..8).contains(&zeros) && (rest[zeros..].is_empty() || rest[zeros..].starts_with(b"HTck"))
}

/// An index that does not belong to the tape is not believed.
#[test]
fn a_wrong_index_is_rebuilt() {
    let room = Room::new();
    let tape = good_tape(&room);
    let stats = || room.json(&["stats", &tape, "--at", "end"]);
    let right = stats();
    let index = room.path("good.tape.idx");
    let of_this_tape = fs::read(&index).unwrap();

    let family = build::c("family.c", &[]);
    let argv = [family.to_str().unwrap(), "failed-exec"];
    room.record("other.tape", &[], &argv).success();
    room.heaptape(&["index", "other.tape"]).success();
    let of_another = fs::read(room.path("other.tape.idx")).unwrap();

    let mut damaged = of_this_tape.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let cut = of_this_tape[..of_this_tape.len() / 2].to_vec();
    for wrong in [of_another, damaged, cut, Vec::new(), b"no index".to_vec()] {
        fs::write(&index, wrong).unwrap();
        assert_eq!(stats(), right);
    }
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_eq!(stats(), right, "a folder in the index's place");
}

#[test]
fn moments_that_are_none() {
    let room = Room::new();
    let tape = good_tape(&room);
    for moment in [
        "nonsense",
        "12parsecs",
        "-5s",
        "101%",
        "peak:0",
        "mark:",
        "",
        "1e400s",
        "peak:x",
    ] {
        let outcome = room.heaptape(&["stats", &tape, "--at", moment]);
        assert_refused(&outcome, moment, &format!("--at {moment:?}"));
        let outcome = room.heaptape(&["diff", &format!("{tape}@{moment}"), &tape]);
        assert_eq!(outcome.code, 2, "diff @{moment}: {outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    }
}

#[test]
fn an_unknown_mark_lists_the_known_ones() {
    let room = Room::new();
    let program = build::c("sizes.c", &[]);
    room.record("m.tape", &[], &[program]).success();
    let outcome = room.heaptape(&["stats", "m.tape", "--at", "mark:unknown"]);
    assert_refused(&outcome, "unknown", "an unknown mark");
    assert!(
        outcome.stderr.contains("all"),
        "the known mark is not listed: {outcome:?}"
    );
    let outcome = room.heaptape(&["stats", "m.tape", "--at", "mark:all:2"]);
    assert_refused(&outcome, "all", "a mark that came once");
}

#[test]
fn addresses_that_are_none() {
    let room = Room::new();
    let tape = good_tape(&room);
    for address in ["0xnothing", "here", "", "0x1ffffffffffffffff"] {
        let outcome = room.heaptape(&["object", &tape, address]);
        assert_refused(&outcome, address, &format!("object {address:?}"));
    }
    let nobody = room.json(&["object", &tape, "0x10"]);
    assert_eq!(nobody["owners"], serde_json::json!([]));
}

#[test]
fn sessions_that_are_none() {
    let room = Room::new();
    room.write("not-a-session", "text".repeat(2000));
    for session in ["missing-session", "not-a-session"] {
        let path = room.path(session);
        let path = path.to_str().unwrap();
        let outcome = room.heaptape(&["recover", path, "-o", "r.tape"]);
        assert_refused(&outcome, session, "recover");
        assert!(!Path::new(&room.path("r.tape")).exists());
    }
}

/// `run --min-size` takes sizes as other verbs do.
#[test]
fn sizes_are_written_in_one_way() {
    let program = build::c("limits.c", &[]);
    let recorded_with = |size: &str| {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), "work", "20"];
        let options = ["--min-size", size];
        let outcome = room.record("t.tape", &options, &argv);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (17, ""), "{size}");
        let info = room.json(&["info", "t.tape"]);
        (info["events"].clone(), info["bytes_allocated"].clone())
    };
    let exact = recorded_with("1024");
    for size in ["1KiB", "1K"] {
        assert_eq!(recorded_with(size), exact, "{size}");
    }
    for other in ["0", "1000", "1kB", "1.5KiB"] {
        assert_ne!(recorded_with(other), exact, "{other}");
    }
    // No block is as large.
    for size in ["1M", "1MiB", "1048576"] {
        assert_eq!(recorded_with(size).1, 0, "{size}");
    }
}

/// A reader that leaves early is no error.
#[test]
fn a_broken_pipe_is_quiet() {
    let room = Room::new();
    let tape = good_tape(&room);
    let script = format!(
        "'{}' stats {tape} --at end --format csv | head -c 1 >/dev/null; \
                          echo ${{PIPESTATUS[0]}}",
        heaptape_path().display()
    );
    let outcome = room.bare(&["bash", "-c", &script]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("0\n", "")
    );
}

/// Nobody gets the answer: that is told, whether the output is closed or full.
#[test]
fn an_answer_that_cannot_be_written() {
    let room = Room::new();
    let tape = good_tape(&room);
    let pair = format!("diff {tape}@1% {tape}");
    let mut asked = vec![pair, "recover".into(), "--help".into(), "--version".into()];
    for (verb, rest) in VERBS {
        asked.push(format!("{verb} {tape} {}", rest.join(" ")));
    }
    asked.push(format!("info {tape} --format json"));
    for arguments in asked {
        for (output, reason) in [
            (">&-", "Bad file descriptor"),
            (">/dev/full", "No space left on device"),
        ] {
            let heaptape = heaptape_path().display();
            let script = format!("exec '{heaptape}' {arguments} {output}");
            let outcome = room.bare(&["sh", "-c", &script]);
            let told = format!("heaptape: cannot write the output: {reason}");
            assert_refused(&outcome, &told, &script);
        }
    }
}
