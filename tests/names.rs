//! Names of tapes: nothing is overwritten, nothing fails, and the last lines say what was taken.

use heaptape_tests::answers::text;
use heaptape_tests::{Room, build, heaptape_path};
use std::collections::BTreeSet;
use std::fs;

/// `heaptape run -o x.tape OPTIONS… -- ARGV…`; what it said.
fn run(room: &Room, options: &[&str], argv: &[&str]) -> String {
    let arguments = [&["run", "-o", "x.tape"], options, &["--"], argv].concat();
    room.heaptape(&arguments).success().stderr
}

fn names(expected: &[&str]) -> Vec<String> {
    expected.iter().map(|name| (*name).to_owned()).collect()
}

/// The command whose tape this is.
fn command_of(room: &Room, tape: &str) -> String {
    let info = room.json(&["info", tape]);
    let words = info["command"].as_array().unwrap().iter();
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    words.join(" ")
}

#[test]
fn a_second_recording_gets_the_next_name() {
    let room = Room::new();
    let program = build::c("family.c", &[]);
    let argv = [program.to_str().unwrap(), "work"];
    assert_eq!(run(&room, &[], &argv), "heaptape: recorded to x.tape\n");
    let first = fs::read(room.path("x.tape")).unwrap();
    assert_eq!(run(&room, &[], &argv), "heaptape: recorded to x.1.tape\n");
    assert_eq!(run(&room, &["--quiet"], &argv), "");
    let said = run(&room, &["--report"], &argv);
    for line in ["tape          x.3.tape", "heaptape stats x.3.tape"] {
        assert!(said.contains(line), "{said}");
    }
    let all = ["x.1.tape", "x.2.tape", "x.3.tape", "x.tape"];
    assert_eq!(room.tapes(), names(&all));
    assert_eq!(fs::read(room.path("x.tape")).unwrap(), first);
    for tape in all {
        room.assert_clean(tape);
    }
}

#[test]
fn force_replaces_the_tape_and_its_index() {
    let room = Room::new();
    run(&room, &[], &["sh", "-c", "exit 0"]);
    room.heaptape(&["index", "x.tape"]).success();
    let said = run(&room, &["--force"], &["true"]);
    assert_eq!(said, "heaptape: recorded to x.tape\n");
    assert_eq!(room.tapes(), ["x.tape"]);
    assert!(!room.path("x.tape.idx").exists());
    assert_eq!(command_of(&room, "x.tape"), "true");
}

/// `-o NAME -- ./NAME` is soon typed: only a tape, or what is left of one, makes way for a tape.
#[test]
fn force_replaces_nothing_but_tapes() {
    let room = Room::new();
    let program = build::c("nothing.c", &[]);
    heaptape_tests::build::copy(program, room.path("app")).unwrap();
    room.write("text.tape", "no tape");
    for name in ["app", "text.tape"] {
        let before = fs::read(room.path(name)).unwrap();
        let run = ["run", "--force", "-o", name, "--", "touch", "ran"];
        let outcome = room.heaptape(&run);
        assert_eq!(outcome.code, 125, "{outcome:?}");
        let expected = format!("{name} is not a tape, and --force replaces tapes alone");
        assert!(outcome.stderr.contains(&expected), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert_eq!(fs::read(room.path(name)).unwrap(), before);
    }
    assert!(!room.path("ran").exists(), "the command ran");
    run(&room, &[], &["true"]);
    let whole = fs::read(room.path("x.tape")).unwrap();
    for left in [&whole[..], &[], &whole[..3], &whole[..whole.len() / 2]] {
        room.write("x.tape", left);
        room.write("x.tape.idx", "somebody's");
        assert_eq!(
            run(&room, &["--force"], &["true"]),
            "heaptape: recorded to x.tape\n"
        );
        assert_eq!(fs::read(room.path("x.tape.idx")).unwrap(), b"somebody's");
        fs::remove_file(room.path("x.tape.idx")).unwrap();
        room.assert_clean("x.tape");
    }
}

/// The first image moves aside under the name that was really taken; children have it too.
#[test]
fn images_and_children_follow_the_name_that_was_taken() {
    let room = Room::new();
    let program = build::c("family.c", &[]);
    let script = format!("'{0}' work 0; exec '{0}' work 0", program.display());
    room.write("x.tape", "somebody's");
    for number in 1..=2 {
        run(&room, &["--quiet"], &["sh", "-c", &script]);
        let start = format!("x.{number}.");
        let of_run = |name: &&String| name.starts_with(&start);
        let all = room.tapes();
        let tapes: Vec<&String> = all.iter().filter(of_run).collect();
        let root = format!("x.{number}.tape");
        let info = room.assert_clean(&root);
        let pid = info["pid"].as_u64().unwrap();
        let before = format!("x.{number}.{pid}.1.tape");
        assert!(tapes.contains(&&before), "{tapes:?}");
        assert!(command_of(&room, &before).starts_with("sh -c"));
        assert!(command_of(&room, &root).ends_with("work 0"));
        assert_eq!(text(&room.json(&["info", &before]), "ended_by"), "exec");
        // The child of the shell, and nothing else.
        let others: Vec<_> = tapes
            .iter()
            .filter(|name| ![&root, &before].contains(name))
            .collect();
        assert!(!others.is_empty(), "{tapes:?}");
        for tape in others {
            room.assert_clean(tape);
        }
        let children = room.json(&["info", &before])["children"].clone();
        for child in children.as_array().unwrap() {
            let child = child.as_str().unwrap();
            assert!(room.path(child).exists(), "{child} of {tapes:?}");
        }
    }
    assert_eq!(fs::read(room.path("x.tape")).unwrap(), b"somebody's");
}

/// Recordings that start at the same time in one folder never share a tape.
#[test]
fn recordings_at_once_get_a_name_each() {
    let room = Room::new();
    let program = build::c("family.c", &[]);
    let script = format!("exec '{}' work 0", program.display());
    let running: Vec<_> = (0..6)
        .map(|_| {
            let argv = ["run", "-o", "x.tape", "--", "sh", "-c", &script];
            room.start(&mut room.heaptape_command(&argv))
        })
        .collect();
    let mut said = BTreeSet::new();
    for running in running {
        let outcome = running.finish().success();
        let first = outcome.stderr.lines().next().unwrap();
        let name = first
            .strip_prefix("heaptape: recorded to ")
            .unwrap()
            .to_owned();
        let info = room.assert_clean(&name);
        let pid = info["pid"].as_u64().unwrap();
        let stem = name.strip_suffix(".tape").unwrap();
        let before = format!("{stem}.{pid}.1.tape");
        assert!(room.path(&before).exists(), "{before}: {:?}", room.tapes());
        assert_eq!(room.assert_clean(&before)["pid"], info["pid"]);
        said.insert(name);
    }
    let expected: BTreeSet<String> = (1..6).map(|n| format!("x.{n}.tape")).collect();
    assert!(
        said.is_superset(&expected) && said.contains("x.tape"),
        "{said:?}"
    );
    assert_eq!(room.tapes().len(), 12);
}

/// `--quiet` says nothing on either stream: symbols, images that are not recorded, a detached
/// drainer.
#[test]
fn quiet_says_nothing_on_success() {
    let room = Room::new();
    let unrecorded = build::build("cc", "plain.c", "plain-static", &["-O2", "-static"]);
    let script = format!(
        "'{}' x >/dev/null 2>&1; (sleep 0.3; ls / >/dev/null) & :",
        unrecorded.display()
    );
    let outcome = room.record("x.tape", &[], &["sh", "-c", &script]).success();
    assert_eq!(
        (outcome.stdout, outcome.stderr),
        (String::new(), String::new())
    );
    room.wait_for_processes();
    let on_terminal = format!(
        "script -qec \"'{}' run --quiet -o y.tape -- true\" /dev/null",
        heaptape_path().display()
    );
    let outcome = room.bare(&["sh", "-c", &on_terminal]).success();
    assert_eq!(
        (outcome.stdout, outcome.stderr),
        (String::new(), String::new())
    );
    room.assert_clean("x.tape");
    room.assert_clean("y.tape");
}
