//! What users are told beside an answer or in its place: notes about tapes that are not whole, and
//! refusals that say what to write.

use crate::bad_input::{assert_refused, good_tape};
use heaptape_tests::{Room, build};

/// Who asks a tape that is not whole is told so, beside the answer; `info` has it in the answer.
#[test]
fn answers_from_a_tape_that_is_not_whole_say_so() {
    let room = Room::new();
    // Without symbols the end is the last chunk.
    let family = build::c("family.c", &[]);
    let argv = [family.to_str().unwrap(), "work"];
    room.record("good.tape", &["--no-symbolize"], &argv)
        .success();
    let whole = std::fs::read(room.path("good.tape")).unwrap();
    let mut damaged = whole.clone();
    // The first chunk's magic number.
    damaged[192] ^= 1;
    room.write("damaged.tape", damaged);
    let is_chunk = |at: &usize| whole[*at..].starts_with(b"HTck");
    let last = (0..whole.len()).rfind(is_chunk).unwrap();
    room.write("cut.tape", &whole[..last]);
    for verb in ["stats", "leaks", "churn", "timeline"] {
        let outcome = room.heaptape(&[verb, "good.tape"]).success();
        assert_eq!(outcome.stderr, "", "{verb}");
        for (tape, what) in [("damaged.tape", "is damaged"), ("cut.tape", "has no end")] {
            let outcome = room.heaptape(&[verb, tape]).success();
            let note = format!("heaptape: note: {tape}: the tape {what}");
            assert!(outcome.stderr.starts_with(&note), "{verb}: {outcome:?}");
            assert_eq!(outcome.stderr.lines().count(), 1, "{verb}: {outcome:?}");
        }
    }
    let info = room.heaptape(&["info", "cut.tape"]).success();
    assert_eq!(info.stderr, "");
    assert!(info.stdout.contains("not complete"), "{info:?}");
}

/// What is nearly right is refused with what is right.
#[test]
fn refusals_tell_what_to_write() {
    let room = Room::new();
    let tape = good_tape(&room);
    let moment = format!("{tape}@end");
    for (arguments, advice) in [
        (&["stats", &tape, "--top", "-1"][..], "0 for all"),
        (&["stats", &moment], "--at end"),
        (&["timeline", &tape, "--points", "-1"], "from 1 to 1000000"),
        (&["timeline", &tape, "--points", "x"], "from 1 to 1000000"),
        (
            &["churn", &tape, "--temporary-within", "-1"],
            "how many allocations",
        ),
        (&["repack", &tape, "--level", "23"], "from 1 to 22"),
        (&["object", &tape, "-1"], "'-1' is not an address"),
        (
            &["object", &tape, "--at", "end", "+5"],
            "'+5' is not an address",
        ),
        (
            &["object", &tape, "1", "--att", "end"],
            "unexpected argument '--att'",
        ),
        (&["stats", &tape, "--min-size", "-1"], "4096, 64KiB"),
        (&["stats", &tape, "--threads", "-1"], "from 1 to 1024"),
        (&["index", &tape, "--threads", "x"], "from 1 to 1024"),
        (
            &["stats", &tape, "--min-size", "9", "--max-size", "8"],
            "--min-size 9 is above --max-size 8",
        ),
    ] {
        assert_refused(&room.heaptape(arguments), advice, &format!("{arguments:?}"));
    }
    let outcome = room.heaptape(&["run", "--max-depth", "x", "--", "true"]);
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.stderr.contains("or 0 for all"), "{outcome:?}");
}

/// The parser's own advice would lead to the next refusal.
#[test]
fn refusals_do_not_tell_what_does_not_help() {
    let room = Room::new();
    let tape = good_tape(&room);
    for arguments in [
        &["leaks", &tape, "--at", "end"][..],
        &["symbolize", &tape, "-o", "x"],
    ] {
        let refused = room.heaptape(arguments);
        assert_refused(&refused, "unexpected argument", "unknown option");
        assert!(!refused.stderr.contains("to pass"), "{refused:?}");
    }
}

/// A mark without a name, and names that are as long as the recorder keeps them.
#[test]
fn names_of_marks_and_domains_are_shown_and_shortened() {
    let room = Room::new();
    let program = build::cpp("wide.cpp", &["-std=c++17"]);
    room.record("m.tape", &[], &[program]).success();
    let unknown = ["stats", "m.tape", "--at", "mark:none"];
    let refused = room.heaptape(&unknown);
    assert_refused(&refused, "mark:none", "an unknown mark");
    let named = "this tape has a mark with a name o…eds room of its own, \"\" (1 to 2)";
    assert!(refused.stderr.contains(named), "{refused:?}");
    let long = "x".repeat(3000);
    for arguments in [
        ["stats", "m.tape", "--at", &format!("mark:{long}")],
        ["stats", "m.tape", "--domain", &long],
    ] {
        let refused = room.heaptape(&arguments);
        assert_refused(&refused, "xx…xx", arguments[2]);
        assert!(refused.stderr.len() < 400, "{refused:?}");
    }
    let info = room.heaptape(&["info", "m.tape"]).success().stdout;
    assert!(
        info.contains("eds room of its own, \"\" (2 times)"),
        "{info}"
    );

    let at = |moment: &str| room.json(&["stats", "m.tape", "--at", moment])["at_ns"].clone();
    let marks = &room.json(&["info", "m.tape"])["marks"];
    assert_eq!(at("mark:"), marks[1]["at_ns"]);
    assert_eq!(at("mark::2"), marks[2]["at_ns"]);
    assert_refused(
        &room.heaptape(&["stats", "m.tape", "--at", "mark::3"]),
        "mark::3",
        "a third mark without a name",
    );
}

/// A file with a build-id, where the recorded one had none, is not said to have another one.
/// Opening a pipe waits for its writer.
#[test]
fn a_pipe_in_a_programs_place_is_no_program() {
    let room = Room::new();
    let program = room.path("phases");
    heaptape_tests::build::copy(build::c("phases.c", &[]), &program).unwrap();
    room.record("t.tape", &["--no-symbolize"], &[&program])
        .success();
    std::fs::remove_file(&program).unwrap();
    room.bare(&["mkfifo", "phases"]).success();
    for verb in ["stats", "symbolize"] {
        let said = room.heaptape(&[verb, "t.tape"]).success();
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(
            text.contains("what is at its path now is no file"),
            "{said:?}"
        );
    }
}

#[test]
fn symbols_that_cannot_be_checked_are_not_called_different() {
    let room = Room::new();
    let program = room.path("phases");
    let without = build::c("phases.c", &["-Wl,--build-id=none"]);
    heaptape_tests::build::copy(without, &program).unwrap();
    let phases = [program.to_str().unwrap()];
    room.record("t.tape", &["--no-symbolize"], &phases)
        .success();
    heaptape_tests::build::copy(build::c("phases.c", &[]), &program).unwrap();
    let said = room.heaptape(&["symbolize", "t.tape"]).success();
    let said = format!("{}{}", said.stdout, said.stderr);
    let expected = format!(
        "{}: the recording has no build-id of the file",
        program.display()
    );
    assert!(said.contains(&expected), "{said}");
    assert!(!said.contains("differs"), "{said}");

    // Neither is one that has none itself, and came later.
    for copies in [false, true] {
        let room = Room::new();
        let program = room.path("phases");
        let without = build::c("phases.c", &["-Wl,--build-id=none"]);
        heaptape_tests::build::copy(&without, &program).unwrap();
        room.record("t.tape", &["--no-symbolize"], &[&program])
            .success();
        if copies {
            std::fs::rename(&program, room.path("old")).unwrap();
            heaptape_tests::build::copy(&without, &program).unwrap();
        }
        let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
        let said = room.heaptape(&stats).success();
        assert_eq!(said.stdout.contains("told_second"), !copies, "{said:?}");
        let note = "it was changed after it was met, and has no build-id";
        assert_eq!(said.stderr.contains(note), copies, "{said:?}");
    }
}
