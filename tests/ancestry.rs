//! The launcher is killed at any moment, and much of what its drainer knew is in no session any
//! more: every tape names its parent all the same, and what it inherited is known.

use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Random, Room, build, repeats, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Recovers the only session of the room; name and facts of each tape, all of them whole.
fn recover(room: &Room, context: &str) -> BTreeMap<String, Value> {
    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{context}: {sessions:?}");
    let arguments = [PathBuf::from("recover"), sessions[0].clone()];
    let outcome = room.heaptape(&arguments);
    assert_eq!((outcome.code, &*outcome.stderr), (0, ""), "{context}");
    let tapes = room.tapes().into_iter();
    tapes
        .map(|tape| {
            let info = room.json(&["info", &tape]);
            let is_whole = info["complete"] == true && info["inherited_known"] == true;
            assert!(is_whole, "{context}: {tape}: {info:#}");
            assert_eq!(number(&info, "unknown_frees"), 0, "{context}: {info:#}");
            (tape, info)
        })
        .collect()
}

/// Name of the tape that `info` names as the parent's.
fn parent(info: &Value) -> Option<&str> {
    info["parent"]["tape"].as_str()
}

/// Fails unless every tape but the first names its parent and is named by it and no other.
fn assert_related(facts: &BTreeMap<String, Value>, context: &str) {
    for (tape, info) in facts {
        let parent = parent(info);
        let context = format!("{context}: {tape}: {info:#}");
        assert_eq!(parent.is_none(), tape == "t.tape", "{context}");
        let names_it = |other: &&String| {
            array(&facts[*other], "children").contains(&Value::from(tape.as_str()))
        };
        let naming: Vec<_> = facts.keys().filter(names_it).collect();
        let expected: Vec<_> = parent.into_iter().collect();
        assert_eq!(naming, expected, "{context}");
    }
}

/// Fails unless the tapes are those of `rounds` rounds of `double_forks.c`.
fn assert_double_forks(facts: &BTreeMap<String, Value>, rounds: u64, context: &str) {
    let with = |allocs: u64| {
        let found = facts
            .iter()
            .filter(move |(_, info)| number(&info["events"], "alloc") == allocs);
        found.collect::<Vec<_>>()
    };
    let (middles, grandchildren) = (with(1), with(7));
    assert_eq!(grandchildren.len() as u64, rounds, "{context}");
    assert_eq!(middles.len() as u64, rounds / 3, "{context}");
    assert_eq!(facts.len() as u64, 1 + rounds + rounds / 3, "{context}");
    let middles: Vec<&str> = middles.iter().map(|(tape, _)| tape.as_str()).collect();
    let mut of_middles = 0;
    for (tape, info) in grandchildren {
        let context = format!("{context}: {tape}: {info:#}");
        let is_of_middle = parent(info).is_some_and(|parent| middles.contains(&parent));
        of_middles += u64::from(is_of_middle);
        let expected = if is_of_middle { (6302, 51) } else { (6225, 50) };
        let inherited = &info["inherited"];
        let inherited = (number(inherited, "bytes"), number(inherited, "count"));
        assert_eq!(inherited, expected, "{context}");
        assert_eq!(number(info, "inherited_frees"), 20, "{context}");
        assert_eq!(text(info, "ended_by"), "exit:6", "{context}");
    }
    assert_eq!(of_middles, rounds / 3, "{context}");
}

#[test]
fn double_forks_around_the_launchers_death() {
    const ROUNDS: u64 = 9;
    let program = build::c("double_forks.c", &[]);
    for seed in 0..repeats(12) {
        let mut random = Random(seed);
        let killed = random.below(ROUNDS).to_string();
        let after = random.below(12_000).to_string();
        let room = Room::new();
        let rounds = ROUNDS.to_string();
        let arguments: [&Path; 4] = [&program, rounds.as_ref(), killed.as_ref(), after.as_ref()];
        let mut command = room.record_command("t.tape", &["--no-symbolize"], &arguments);
        let running = room.start(&mut command);
        // While there are forks to come, one could hide behind another.
        wait_for("the grandchildren", || {
            let said = running.stdout_so_far();
            (said.lines().count() as u64 == ROUNDS).then_some(())
        });
        assert_eq!(running.finish().code, 137);
        room.wait_for_processes();
        let context = format!("seed {seed}: round {killed}, {after} µs");
        let facts = recover(&room, &context);
        assert_double_forks(&facts, ROUNDS, &context);
        assert_related(&facts, &context);
    }
}
