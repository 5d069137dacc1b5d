//! What a forked child inherits is what its memory has, however its parent's threads went on
//! while it was forked.

use heaptape_tests::answers::{number, rows};
use heaptape_tests::{Room, build};
use serde_json::json;

/// Nothing tells when a fork happened that the C library did not make: the first that is seen of
/// the child is its first call, and here its parent has other blocks at the same addresses then.
#[test]
fn a_parent_that_went_on_after_an_unseen_fork() {
    let room = Room::new();
    let program = build::c("went_on.c", &[]);
    let command = [program.to_str().unwrap(), "raw"];
    room.record_as_bare("t.tape", &command);
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    let info = room.assert_clean(child);
    assert_eq!(info["inherited"], json!({"bytes": 20_000, "count": 200}));
    assert_eq!(number(&info, "inherited_frees"), 200);
    assert_eq!(number(&info, "unknown_frees"), 0);
    assert_eq!(info["inherited_known"], true);
    for (tape, function) in [("t.tape", "later_takes"), (child, "first_takes")] {
        let moment = if tape == "t.tape" { "end" } else { "start" };
        let stats = ["stats", tape, "--inherited", "--at", moment];
        let stats = room.json(&[&stats[..], &["--group-by", "function"]].concat());
        let expected = [(function.to_owned(), (20_000, 200))];
        assert_eq!(rows(&stats), expected.into(), "{tape}");
    }
}

/// A kernel copies the memory while another thread frees and allocates: what the child frees was
/// there, whatever the copy caught of it.
#[test]
fn a_thread_that_goes_on_while_its_process_forks() {
    let room = Room::new();
    let program = build::c("went_on.c", &[]);
    let command = [program.to_str().unwrap(), "threads", "40"];
    let said = room.record("t.tape", &[], &command);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let mut children = 0;
    for line in said.stdout.lines() {
        let (pid, freed) = line.split_once(' ').unwrap();
        let info = room.assert_clean(&format!("t.{pid}.tape"));
        let freed: u64 = freed.parse().unwrap();
        assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
        assert_eq!(number(&info, "inherited_frees"), freed, "{info:#}");
        let inherited = number(&info["inherited"], "count");
        // Those that the copy caught in the middle are told.
        let is_known = info["inherited_known"] == true;
        assert!(!is_known || inherited >= freed, "{info:#}");
        children += 1;
    }
    assert_eq!(children, 40);
}
