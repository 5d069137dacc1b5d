//! A verb that is given a tape with next to nothing of what its process tree allocated says which
//! tape has the most: however large the files are, and however many there are.

use heaptape_tests::answers::{array, number};
use heaptape_tests::{Room, build};

/// Each tape's name, what its first argument was, and how many bytes were allocated in it.
fn tapes(room: &Room) -> Vec<(String, String, u64)> {
    let facts = |name: String| {
        let info = room.json(&["info", &name]);
        let command = array(&info, "command")[0].to_string();
        let bytes = number(&info, "bytes_allocated");
        (name, command, bytes)
    };
    room.tapes().into_iter().map(facts).collect()
}

#[test]
fn the_tape_with_the_most_is_named() {
    let room = Room::new();
    let amounts = build::c("amounts.c", &[]);
    let amounts = amounts.display();
    // The file of the first is the larger one, the second has allocated more.
    let script = format!("'{amounts}' 100000 16; '{amounts}' 1000 100000; true");
    let argv = ["bash", "-c", &script];
    room.record("t.tape", &["--wait"], &argv).success();
    let copied = ["repack", "t.tape", "-o", "copy.tape"];
    room.heaptape(&copied).success();

    let tapes = tapes(&room);
    let total: u64 = tapes.iter().map(|(_, _, bytes)| bytes).sum();
    let (largest, _, most) = tapes.iter().max_by_key(|(_, _, bytes)| *bytes).unwrap();
    assert!(*most >= 100_000_000 && total < 110_000_000, "{tapes:?}");
    let is_larger = |name: &str| room.path(name).metadata().unwrap().len();
    let files: Vec<u64> = tapes.iter().map(|(name, ..)| is_larger(name)).collect();
    assert!(
        files.iter().any(|bytes| *bytes > 2 * is_larger(largest)),
        "{files:?}"
    );
    for (name, command, bytes) in &tapes {
        let outcome = room.heaptape(&["stats", name, "--top", "1"]);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let said = outcome.stderr;
        if name == largest {
            assert_eq!(said, "", "{command}");
            continue;
        }
        assert!(bytes * 20 < total, "{tapes:?}");
        let note = format!("the most is in {largest} ({amounts})\n");
        assert!(said.ends_with(&note), "{name} ({command}): {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// A tape with its share of what was allocated has no note, and neither has one without a tree.
#[test]
fn a_tape_with_its_share_has_no_note() {
    let room = Room::new();
    let amounts = build::c("amounts.c", &[]);
    let amounts = amounts.display();
    let script = format!("'{amounts}' 300 100000 & '{amounts}' 30 100000; wait");
    let argv = ["bash", "-c", &script];
    room.record("t.tape", &["--wait"], &argv).success();
    let small = tapes(&room)
        .into_iter()
        .find(|(_, _, bytes)| (3_000_000..4_000_000).contains(bytes));
    let (small, ..) = small.unwrap();
    let outcome = room.heaptape(&["stats", &small]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));

    // Cut tapes do not say what they add up to: then they are read.
    let bash = room.heaptape(&["stats", "t.tape"]);
    assert!(bash.stderr.contains("the most is in"), "{bash:?}");
    for (name, _, bytes) in tapes(&room) {
        if bytes > 20_000_000 {
            let path = room.path(&name);
            let length = path.metadata().unwrap().len();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(length - 300).unwrap();
        }
    }
    let bash = room.heaptape(&["stats", "t.tape"]);
    assert!(bash.stderr.contains("the most is in"), "{bash:?}");
}

/// The summary of a run has the same note, and names the same tape for what comes next.
#[test]
fn the_summary_names_the_tape_with_the_most() {
    let room = Room::new();
    let amounts = build::c("amounts.c", &[]);
    let amounts = amounts.display();
    let script = format!("'{amounts}' 1000 100000; exit 3");
    let arguments = [
        "run", "--report", "-o", "t.tape", "--", "bash", "-c", &script,
    ];
    let outcome = room.heaptape(&arguments);
    assert_eq!(outcome.code, 3, "{outcome:?}");
    let tapes = tapes(&room);
    let (largest, ..) = tapes.iter().max_by_key(|(_, _, bytes)| *bytes).unwrap();
    assert_ne!(largest, "t.tape");
    let note = room.heaptape(&["stats", "t.tape"]).stderr;
    let note = note.strip_prefix("heaptape: note: ").unwrap();
    assert!(
        outcome.stderr.contains(note),
        "{note} is not in {outcome:?}"
    );
    let next = format!(
        "\nNext:  heaptape stats {largest} --group-by traceback\n       heaptape leaks {largest}\n"
    );
    assert!(outcome.stderr.contains(&next), "{outcome:?}");

    // Without a tree, and where the tape has its share, there is no note.
    let alone = format!("exec '{amounts}' 1000 100000");
    let arguments = [
        "run", "--report", "-o", "u.tape", "--", "bash", "-c", &alone,
    ];
    let said = room.heaptape(&arguments).stderr;
    assert!(!said.contains("the most is in"), "{said}");
    assert!(said.contains("heaptape leaks u.tape\n"), "{said}");
}
