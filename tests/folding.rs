//! `heaptape fold`: a tape that forgets its beginning, and tells of all later moments as before.

use heaptape_tests::answers::{array, number, rows, text};
use heaptape_tests::{Room, build};
use serde_json::Value;

/// Records `targets/phases.c` as `t.tape` and folds it at its mark `b` as `late.tape`.
fn folded(room: &Room) {
    room.record_as_bare_but_addresses("t.tape", &[build::c("phases.c", &[])]);
    let fold = ["fold", "t.tape", "--until", "mark:b", "-o", "late.tape"];
    let said = room.heaptape(&fold).success();
    assert!(
        said.stdout.starts_with("late.tape: folded up to "),
        "{said:?}"
    );
}

fn answers(room: &Room, tape: &str, questions: &[&[&str]]) -> Vec<Value> {
    let ask = |question: &&[&str]| {
        let [verb, options @ ..] = question else {
            panic!("no verb");
        };
        let mut answer = room.json(&[&[*verb, tape], options].concat());
        if let Some(members) = answer.as_object_mut() {
            members.remove("tape");
        }
        answer
    };
    questions.iter().map(ask).collect()
}

#[test]
fn later_moments_are_as_they_were() {
    let room = Room::new();
    folded(&room);
    let questions: &[&[&str]] = &[
        &["stats", "--at", "mark:c", "--group-by", "traceback"],
        &["stats", "--at", "end", "--group-by", "function"],
        &["stats", "--at", "end", "--group-by", "file", "--cumulative"],
        &["stats", "--at", "end", "--group-by", "thread"],
        &["stats", "--at", "90%", "--group-by", "size", "--no-index"],
        &["leaks", "--group-by", "line"],
        &["leaks", "--from", "mark:a", "--group-by", "traceback"],
        &["churn", "--from", "mark:c", "--group-by", "function"],
    ];
    let whole = answers(&room, "t.tape", questions);
    for (place, answer) in answers(&room, "late.tape", questions).iter().enumerate() {
        assert_eq!(answer, &whole[place], "{:?}", questions[place]);
    }
    let (whole, late) = (room.assert_clean("t.tape"), room.assert_clean("late.tape"));
    for fact in [
        "events",
        "bytes_allocated",
        "end",
        "ended_by",
        "duration_ns",
        "marks",
        "complete",
    ] {
        assert_eq!(late[fact], whole[fact], "{fact}");
    }
    assert_eq!(whole["folded"], Value::Null);
    let gone = &late["folded"];
    assert!(number(gone, "events") > 100, "{gone}");
    assert!(number(&gone["peak"], "bytes") >= 40_500, "{gone}");
    let marks = array(&late, "marks");
    let at_b = marks.iter().find(|mark| text(mark, "name") == "b").unwrap();
    assert_eq!(number(gone, "until_ns"), number(at_b, "at_ns"));
    // Without --from a window begins where the tape does.
    let churn = room.json(&["churn", "late.tape", "--group-by", "function"]);
    assert_eq!(number(&churn, "from_ns"), number(gone, "until_ns"));
    let functions: Vec<&str> = array(&churn, "rows")
        .iter()
        .map(|row| text(row, "key"))
        .collect();
    assert!(functions.contains(&"told_second"), "{functions:?}");
    assert!(!functions.contains(&"phase_b"), "{functions:?}");
    let timeline = room.json(&["timeline", "late.tape", "--points", "10"]);
    assert!(number(&array(&timeline, "points")[0], "t_ns") > number(gone, "until_ns"));
}

#[test]
fn what_is_gone_is_refused() {
    let room = Room::new();
    folded(&room);
    let asked: &[&[&str]] = &[
        &["stats", "late.tape", "--at", "mark:a"],
        &["stats", "late.tape", "--at", "start"],
        &["stats", "late.tape", "--at", "0"],
        &["diff", "late.tape@1%", "late.tape@end"],
        &["churn", "late.tape", "--from", "mark:a"],
        &["check", "late.tape", "--fail-on", "allocations>1"],
        &["check", "late.tape", "--fail-on", "bytes>+1"],
    ];
    for question in asked {
        let refused = room.heaptape(question);
        assert_eq!(refused.code, 2, "{question:?}: {refused:?}");
        let last = refused.stderr.lines().last().unwrap();
        assert!(
            last.contains("late.tape") && last.contains("folded"),
            "{refused:?}"
        );
    }
    let check = |gate| {
        room.heaptape(&["check", "late.tape@end", "--fail-on", gate])
            .code
    };
    assert_eq!((check("bytes>1MiB"), check("bytes>1KiB")), (0, 1));
    // Who asks is told that there was more.
    let stats = room
        .heaptape(&["stats", "late.tape", "--at", "end"])
        .success();
    let note = "heaptape: note: late.tape: folded up to ";
    assert!(stats.stderr.starts_with(note), "{stats:?}");
    let info = room.heaptape(&["info", "late.tape"]).success().stdout;
    assert!(info.contains("folded"), "{info}");
}

#[test]
fn in_its_place_and_again() {
    let room = Room::new();
    folded(&room);
    let at_end = |tape: &str| {
        let stats = ["stats", tape, "--at", "end", "--group-by", "traceback"];
        rows(&room.json(&stats))
    };
    let expected = at_end("t.tape");
    for moment in ["mark:a", "mark:b", "mark:c"] {
        room.heaptape(&["fold", "t.tape", "--until", moment, "--quiet"])
            .success();
        assert_eq!(at_end("t.tape"), expected, "{moment}");
        room.assert_clean("t.tape");
    }
    room.heaptape(&["repack", "t.tape", "--quiet"]).success();
    assert_eq!(at_end("t.tape"), expected);
    // A moment that it has forgotten, a file that is there, and no moment at all.
    let wrong: &[&[&str]] = &[
        &["fold", "t.tape", "--until", "mark:a"],
        &["fold", "late.tape", "--until", "end", "-o", "t.tape"],
        &["fold", "late.tape"],
        &["fold", "late.tape", "--until", "mark:z"],
    ];
    let before = std::fs::read(room.path("t.tape")).unwrap();
    for arguments in wrong {
        let refused = room.heaptape(arguments);
        assert_eq!(refused.code, 2, "{arguments:?}: {refused:?}");
    }
    assert_eq!(std::fs::read(room.path("t.tape")).unwrap(), before);
}
