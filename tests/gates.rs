//! Gates that compare nothing: they are not met silently.

use heaptape_tests::{Room, build};

/// The exit code of a gate that nothing fails, and what was said.
fn gate(room: &Room, arguments: &[&str]) -> (i32, String) {
    let outcome = room.heaptape(&[arguments, &["--fail-on", "bytes>100GiB"]].concat());
    (outcome.code, outcome.stderr)
}

/// Records `targets/steps.c`, which marks nothing and takes all its steps.
fn record(room: &Room, tape: &str, options: &[&str]) {
    for step in ["1", "2", "3"] {
        room.write(step, "");
    }
    let program = build::c("steps.c", &[]);
    room.record(tape, options, &[program]).success();
}

#[test]
fn no_gate_is_met_by_a_recording_that_was_paused_from_start_to_end() {
    let room = Room::new();
    record(&room, "paused.tape", &["--start-paused"]);
    record(&room, "whole.tape", &[]);
    let both = ["whole.tape", "paused.tape"];
    for arguments in [
        &["check", "paused.tape"][..],
        &["check", both[0], both[1]],
        &["check", both[1], both[0]],
        &["diff", both[0], both[1]],
    ] {
        let (code, said) = gate(&room, arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains("paused.tape: no gate is met"), "{said}");
        assert!(lines[0].contains("paused from start to end"), "{said}");
    }
    // Without gates it is an answer as any other.
    room.heaptape(&["diff", both[0], both[1]]).success();
    assert_eq!(gate(&room, &["check", "whole.tape"]), (0, String::new()));
}

#[test]
fn filters_that_nothing_fits_are_told() {
    let room = Room::new();
    record(&room, "t.tape", &[]);
    for (filter, value, fits) in [
        ("--include", "*/steps.c", true),
        ("--include", "*/stepz.c", false),
        ("--min-size", "1000000000", false),
        ("--max-size", "1000", true),
    ] {
        for verb in [
            &["check", "t.tape"][..],
            &["diff", "t.tape@0%", "t.tape@end"],
        ] {
            let (code, said) = gate(&room, &[verb, &[filter, value]].concat());
            assert_eq!(code, 0, "{filter} {value}: {said}");
            let is_told = said
                .lines()
                .any(|line| line.contains("no allocation fits the filters"));
            assert_eq!(is_told, !fits, "{verb:?} {filter} {value}: {said}");
        }
    }
}
