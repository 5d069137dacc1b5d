//! Suites and programs of other projects, as those projects run them: recorded, the same tests
//! pass, fail and are skipped as bare. They take minutes and need packages that no other test
//! needs: `.ci/long` installs these, and runs them.

mod compilers;
mod python;
mod redis;
mod stress;

use heaptape_tests::Room;
use heaptape_tests::answers::number;
use std::time::Duration;

/// How long one run of a suite may take, on a machine that has other things to do as well.
const LIMIT: Duration = Duration::from_secs(1000);

/// How many tapes the room has: all of them whole, and nothing lost.
fn whole_tapes(room: &Room) -> usize {
    let tapes = room.tapes();
    for tape in &tapes {
        let verified = room.json(&["verify", tape]);
        for member in ["damaged", "lost_events", "unreadable_events"] {
            assert_eq!(number(&verified, member), 0, "{tape}: {verified:#}");
        }
    }
    tapes.len()
}

/// Allocations in the command's own tape, which is complete.
fn events_of_whole_tape(room: &Room, tape: &str) -> u64 {
    let info = room.assert_clean(tape);
    let events = number(&info["events"], "alloc");
    assert!(events > 0, "{info:#}");
    events
}
