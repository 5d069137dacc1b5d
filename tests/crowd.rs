//! Many threads at once where shared memory is small: each has its chunk, and nothing is lost.

use heaptape_tests::answers::{number, rows};
use heaptape_tests::{Room, build, heaptape_path, is_root};

/// Threads that live at the same time. Half of 64 MiB holds 2,048 chunks, one for each thread.
const THREADS: u64 = 2000;

#[test]
fn two_thousand_threads_in_the_shared_memory_of_a_container() {
    if !is_root() {
        eprintln!("SKIPPED: not root, so /dev/shm cannot be made small");
        return;
    }
    let program = build::c("crowd.c", &[]);
    let room = Room::new();
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs /dev/shm && unset XDG_RUNTIME_DIR && exec \
         '{}' run --quiet -o t.tape -- '{}' {THREADS}",
        heaptape_path().display(),
        program.display()
    );
    let outcome = room.bare(&["unshare", "-m", "sh", "-c", &script]);
    let expected = format!("{THREADS} live at once\n");
    assert_eq!((outcome.code, outcome.stdout), (0, expected));
    assert_eq!(outcome.stderr, "");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(number(&info, "lost_events"), 0, "{info:#}");
    assert_eq!(info["complete"], true, "{info:#}");
    assert_eq!(number(&info, "threads"), THREADS + 1, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let live = rows(&room.json(&stats));
    let kept = (THREADS * 40 * 24, THREADS * 40);
    assert_eq!(live.get("crowd_keeps"), Some(&kept));
    let churn = room.json(&["churn", "t.tape", "--group-by", "function"]);
    let wasted = churn["rows"].as_array().unwrap().iter();
    let wasted = wasted.map(|row| (row["key"].as_str(), number(row, "allocations")));
    let wasted: Vec<_> = wasted
        .filter(|(key, _)| *key == Some("crowd_wastes"))
        .collect();
    assert_eq!(wasted, [(Some("crowd_wastes"), THREADS * 60)]);
}
