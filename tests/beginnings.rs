//! How processes begin: each has its own place in the recording, whatever interrupts its beginning
//! and whomever it lends its memory to.

use crate::truth_of;
use heaptape_tests::answers::number;
use heaptape_tests::{Room, build, repeats};

/// A signal comes anywhere within a child's first event, and its handler forks: three processes,
/// three tapes.
#[test]
fn a_handler_that_forks_within_the_first_event() {
    let program = build::c("first_event.c", &[]);
    for how in ["raw", "fork"] {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), how, "3989"];
        let said = room.record("t.tape", &[], &argv);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{how}");
        room.wait_for_processes();
        assert!(said.stdout.lines().count() > 8, "{said:?}");
        for line in said.stdout.lines() {
            let (child, grandchild) = line.split_once(' ').unwrap();
            let [child, grandchild] = [child, grandchild].map(|pid| format!("t.{pid}.tape"));
            let info = room.assert_clean(&child);
            assert_eq!(number(&info, "inherited_frees"), 1, "{how} {info:#}");
            assert_eq!(truth_of(&room, &child, "child_grabs"), (2000, 10));
            assert_eq!(truth_of(&room, &child, "grandchild_grabs"), (0, 0));
            assert_eq!(truth_of(&room, &grandchild, "grandchild_grabs"), (6000, 20));
            assert_eq!(truth_of(&room, &grandchild, "child_grabs"), (0, 0));
            let verified = room.json(&["verify", &grandchild]);
            assert_eq!(verified["damaged"], 0, "{how} {verified}");
            // The event that was interrupted, at most.
            assert!(number(&verified, "lost_events") <= 1, "{how} {verified}");
        }
    }
}

/// Memory that is lent at once, by a process that nobody saw begin: what is done in it is its own.
#[test]
fn memory_that_is_lent_before_the_first_event() {
    let program = build::c("lent.c", &[]);
    for how in ["raw", "_Fork", "fork"] {
        for way in ["vfork", "exec", "clone", "share", "spawn"] {
            let room = Room::new();
            let argv = [program.to_str().unwrap(), how, way];
            let said = room.record("t.tape", &[], &argv);
            assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{how} {way}");
            let child = format!("t.{}.tape", said.stdout.trim_end());
            let info = room.assert_clean(&child);
            assert_eq!(truth_of(&room, &child, "child_grabs"), (800, 20));
            let (lent, freed) = match way {
                "spawn" => ((0, 0), 49),
                _ => ((490, 7), 50),
            };
            assert_eq!(truth_of(&room, &child, "lent_grabs"), lent, "{how} {way}");
            assert_eq!(number(&info, "inherited_frees"), freed, "{how} {info:#}");
            assert_eq!(number(&info, "unknown_frees"), 0, "{how} {info:#}");
            for tape in room.tapes().iter().filter(|tape| **tape != child) {
                for function in ["child_grabs", "lent_grabs"] {
                    assert_eq!(truth_of(&room, tape, function), (0, 0), "{how} {way}");
                }
            }
        }
    }
}

/// What runs before all constructors is recorded too: valgrind counts the same.
#[test]
fn allocations_before_the_c_library_is_ready() {
    let room = Room::new();
    room.record("t.tape", &[], &[build::c("early.c", &[])])
        .success();
    let info = room.assert_clean("t.tape");
    assert_eq!(number(&info["events"], "alloc"), 2, "{info:#}");
    assert_eq!(number(&info["events"], "free"), 1, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    assert_eq!(truth_of(&room, "t.tape", "early_grabs"), (4343, 1));
}

/// A handler forks and waits for its child, which returns into what the handler interrupted: often
/// while the parent's next chunk is claimed. Whatever the child does there, the parent's tape is
/// whole.
#[test]
fn a_handlers_child_that_returns() {
    let program = build::c("returns.c", &[]);
    for _ in 0..repeats(2) {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), "60"];
        let said = room.record("t.tape", &["--no-symbolize"], &argv);
        assert_eq!(said.code, 0, "{said:?}");
        room.wait_for_processes();
        let info = room.assert_clean("t.tape");
        let grabbed: u64 = said.stdout.trim_end().parse().unwrap();
        assert_eq!(number(&info["events"], "alloc"), grabbed, "{info:#}");
        assert_eq!(number(&info["events"], "free"), grabbed, "{info:#}");
        assert_eq!(number(&info["end"], "count"), 0, "{info:#}");
    }
}
